//! The clients: how each is built once, by the tools of its stack, and run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A client of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// libpq with `DATABASE_URL`.
    Libpq,
    /// libpq with its own variables.
    LibpqVariables,
    /// `pg` on Node.
    Node,
    /// pgx on Go.
    Pgx,
    /// lib/pq on Go.
    Pq,
    /// pgjdbc with `JDBC_URL`, `JDBC_USER` and `JDBC_PASSWORD`.
    Jdbc,
    /// pgjdbc with the key `jdbc-url` alone.
    JdbcBinding,
    /// Spring Boot with spring-cloud-bindings.
    Spring,
}

impl Client {
    /// What it says of a server whose authority it does not know, and of one whose certificate
    /// does not name the host.
    pub(crate) fn refusals(self) -> (&'static str, &'static str) {
        match self {
            Self::Libpq | Self::LibpqVariables => (
                "certificate verify failed",
                "does not match host name \"127.0.0.1\"",
            ),
            Self::Node => ("SELF_SIGNED_CERT_IN_CHAIN", "ERR_TLS_CERT_ALTNAME_INVALID"),
            Self::Pgx | Self::Pq => (
                "x509: certificate signed by unknown authority",
                "x509: certificate is valid for",
            ),
            Self::Jdbc | Self::JdbcBinding | Self::Spring => {
                ("PKIX path", "The hostname 127.0.0.1 could not be verified")
            }
        }
    }

    /// A command that ends, on a starved machine too, and knows nothing of this process, not even
    /// its home.
    pub(crate) fn command(self, home: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.env_clear().current_dir(home).stdin(Stdio::null());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        // Java reads variables in the encoding of the locale.
        command.env("HOME", home).env("LANG", "C.UTF-8").arg("300");
        match self {
            Self::Libpq => command.arg(libpq()),
            Self::LibpqVariables => command.arg(libpq()).arg("variables"),
            // The server listens on no address of IPv6, and older Nodes try one address alone.
            Self::Node => command
                .args(["node", "--dns-result-order=ipv4first"])
                .arg(node()),
            Self::Pgx => command.arg(go()).arg("pgx"),
            Self::Pq => command.arg(go()).arg("pq"),
            Self::Jdbc => java(&mut command, "Jdbc").arg("JDBC_URL"),
            Self::JdbcBinding => java(&mut command, "Jdbc").arg("jdbc-url"),
            Self::Spring => {
                command.env("SPRING_MAIN_BANNER_MODE", "off");
                command.env("LOGGING_LEVEL_ROOT", "warn");
                java(&mut command, "Spring")
            }
        };
        command
    }
}

fn libpq() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = folder("libpq").join("client");
        let says = |what| said(tool("pg_config").arg(what));
        let mut build = tool("cc");
        build.args(["-Wall", "-Werror", "-o"]).arg(&program);
        build.arg(source("libpq/main.c"));
        build.arg(format!("-I{}", says("--includedir")));
        build.arg(format!("-L{}", says("--libdir"))).arg("-lpq");
        said(&mut build);
        program
    })
}

fn node() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        said(tool("node").arg("--version"));
        let folder = folder("node");
        for file in ["package.json", "package-lock.json", "main.js"] {
            fs::copy(source("node").join(file), folder.join(file)).unwrap();
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        said(tool("npm").args(install).current_dir(&folder));
        folder.join("main.js")
    })
}

fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = folder("go").join("client");
        let mut build = tool("go");
        build.args(["build", "-mod=readonly", "-o"]).arg(&program);
        said(build.arg(".").current_dir(source("go")));
        program
    })
}

fn java<'a>(command: &'a mut Command, main: &str) -> &'a mut Command {
    static BUILT: OnceLock<String> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        said(tool("java").arg("-version"));
        let folder = folder("java");
        let (libraries, classes) = (folder.join("lib"), folder.join("classes"));
        let mut fetch = tool("mvn");
        fetch.args(["-B", "-q", "dependency:copy-dependencies", "-f"]);
        fetch.arg(source("java/pom.xml"));
        said(fetch.arg(format!("-DoutputDirectory={}", libraries.display())));
        let libraries = libraries.join("*").display().to_string();
        let mut build = tool("javac");
        build.arg("-d").arg(&classes).args(["-cp", &libraries]);
        for file in fs::read_dir(source("java/dev/domicile/clients")).unwrap() {
            build.arg(file.unwrap().path());
        }
        said(&mut build);
        format!("{}:{libraries}", classes.display())
    });
    // It lives for a second: no time to optimise.
    command.args([
        "java",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        path,
    ]);
    command.arg(format!("dev.domicile.clients.{main}"))
}

/// A new folder for what is built.
fn folder(stack: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients/{stack}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn source(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    folder.join(path)
}

/// A tool that must be there: a client that is not built proves nothing.
fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(there, "{name} is not installed: run `make install`");
    Command::new(name)
}

/// Runs a tool to its end; what it printed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}\n{errors}");
    said
}
