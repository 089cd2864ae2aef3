//! Container images from local files: one layer, no registry, the same bytes for the same files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::error::{LabError, Result};
use crate::process::{run, run_ok};
use crate::state::{hex, write_atomically};

/// User and group that the images of the lab run as.
pub const IMAGE_USER: u32 = 65_532;

const LIMIT: Duration = Duration::from_mins(1);
const ACCOUNTS: &str = "root:x:0:0:root:/:/sbin/nologin\nlab:x:65532:65532:lab:/:/sbin/nologin\n";

/// A file of an image.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Absolute path in the image.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// What a file of an image holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A copy of this file, executable when it is.
    Copy(PathBuf),
    /// These bytes, readable by all.
    Bytes(Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
}

/// What an image is, apart from its files.
#[derive(Clone, Debug)]
pub struct ImageSpec<'a> {
    /// Name with tag, such as `local.test/domicile:dev`.
    pub name: &'a str,
    /// Program and first arguments.
    pub entrypoint: &'a [&'a str],
    /// Further arguments, which a pod may replace.
    pub arguments: &'a [&'a str],
    /// User and group.
    pub user: u32,
}

/// Packs `binary` (a copy without debug symbols, where `strip` is installed) with the shared
/// libraries that it needs and `extra` files into the archive `out`, for user [`IMAGE_USER`].
/// The entry point is the binary. Returns the digest of the manifest.
pub fn pack(name: &str, binary: &Path, extra: &[ImageFile], out: &Path) -> Result<String> {
    let program = binary
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let inside = format!("/usr/local/bin/{program}");
    let mut files = vec![ImageFile {
        path: inside.clone(),
        content: stripped(binary, out)?,
    }];
    for library in shared_libraries(binary)? {
        let path = library.display().to_string();
        files.push(ImageFile {
            path,
            content: Content::Copy(library),
        });
    }
    files.push(ImageFile {
        path: "/etc/passwd".to_owned(),
        content: Content::Bytes(ACCOUNTS.as_bytes().to_vec()),
    });
    files.extend_from_slice(extra);
    let spec = ImageSpec {
        name,
        entrypoint: &[&inside],
        arguments: &[],
        user: IMAGE_USER,
    };
    write(&spec, &files, out)
}

/// Writes an archive in the OCI image layout. Returns the digest of the manifest.
pub fn write(spec: &ImageSpec<'_>, files: &[ImageFile], out: &Path) -> Result<String> {
    let layer = layer(files).map_err(LabError::file("pack", out))?;
    let created = "1970-01-01T00:00:00Z";
    let config = document(&json!({
        "architecture": architecture(), "os": "linux", "created": created,
        "config": {
            "Entrypoint": spec.entrypoint, "Cmd": spec.arguments, "WorkingDir": "/",
            "User": format!("{0}:{0}", spec.user),
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        "history": [{"created": created}],
    }));
    let kind = |name: &str| format!("application/vnd.oci.image.{name}");
    let manifest = document(&json!({
        "schemaVersion": 2, "mediaType": kind("manifest.v1+json"),
        "config": descriptor(&kind("config.v1+json"), &config),
        "layers": [descriptor(&kind("layer.v1.tar"), &layer)],
    }));
    let mut entry = descriptor(&kind("manifest.v1+json"), &manifest);
    entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": spec.name,
        "org.opencontainers.image.ref.name": spec.name.rsplit(':').next(),
    });
    let index = document(&json!({
        "schemaVersion": 2, "mediaType": kind("index.v1+json"), "manifests": [entry],
    }));
    let mut archive = Builder::new(Vec::new());
    let packed = (|| {
        add_file(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
            0o644,
        )?;
        add_file(&mut archive, "index.json", &index, 0o644)?;
        for blob in [&layer, &config, &manifest] {
            let name = format!("blobs/{}", digest(blob).replace(':', "/"));
            add_file(&mut archive, &name, blob, 0o644)?;
        }
        archive.into_inner()
    })();
    write_atomically(out, &packed.map_err(LabError::file("pack", out))?)?;
    Ok(digest(&manifest))
}

/// The libraries that the dynamic linker would load, by the paths where it looks for them.
fn shared_libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let output = run(Command::new("ldd").arg(binary), LIMIT)?;
    if !output.status.success() {
        // ldd says so and fails on a static binary; anything else that is wrong shows at start.
        return Ok(Vec::new());
    }
    if let Some(line) = output
        .stdout
        .lines()
        .find(|line| line.contains("not found"))
    {
        return Err(LabError::missing(
            line.trim(),
            format!("needed by {}", binary.display()),
        ));
    }
    Ok(parse_ldd(&output.stdout))
}

fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let paths = text.lines().filter_map(|line| {
        let target = line
            .split_once("=> ")
            .map_or(line, |(_, target)| target)
            .trim();
        let path = target.split(" (").next().unwrap_or(target);
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    paths.collect::<BTreeSet<_>>().into_iter().collect()
}

fn stripped(binary: &Path, out: &Path) -> Result<Content> {
    let copy = out.with_extension("stripped");
    let mut command = Command::new("strip");
    command.arg("-o").arg(&copy).arg(binary);
    match run_ok(&mut command, LIMIT) {
        Ok(_) => {
            let bytes = fs::read(&copy).map_err(LabError::file("read", &copy))?;
            fs::remove_file(&copy).map_err(LabError::file("remove", &copy))?;
            Ok(Content::Bytes(bytes))
        }
        Err(LabError::Missing { .. }) => Ok(Content::Copy(binary.to_owned())),
        Err(error) => Err(error),
    }
}

fn layer(files: &[ImageFile]) -> std::io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut folders = BTreeSet::from(["tmp".to_owned()]);
    add(
        &mut archive,
        EntryType::Directory,
        "tmp/",
        None,
        &[],
        0o1777,
    )?;
    for file in files {
        let name = file.path.trim_start_matches('/');
        for (end, _) in name.match_indices('/') {
            let folder = name[..end].to_owned();
            if folders.insert(folder.clone()) {
                let entry = format!("{folder}/");
                add(&mut archive, EntryType::Directory, &entry, None, &[], 0o755)?;
            }
        }
        match &file.content {
            Content::Copy(source) => {
                let executable = fs::metadata(source)?.permissions().mode() & 0o111 != 0;
                let mode = if executable { 0o755 } else { 0o644 };
                add_file(&mut archive, name, &fs::read(source)?, mode)?;
            }
            Content::Bytes(bytes) => {
                let mode = if name.starts_with("usr/local/bin/") {
                    0o755
                } else {
                    0o644
                };
                add_file(&mut archive, name, bytes, mode)?;
            }
            Content::Link(target) => {
                add(
                    &mut archive,
                    EntryType::Symlink,
                    name,
                    Some(target),
                    &[],
                    0o777,
                )?;
            }
        }
    }
    archive.into_inner()
}

fn add_file(
    archive: &mut Builder<impl Write>,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    add(archive, EntryType::Regular, name, None, bytes, mode)
}

/// Times and owners are zero, so that the same files give the same digest.
fn add(
    archive: &mut Builder<impl Write>,
    kind: EntryType,
    name: &str,
    link: Option<&str>,
    bytes: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(bytes.len() as u64);
    match link {
        Some(target) => archive.append_link(&mut header, name, target),
        None => archive.append_data(&mut header, name, bytes),
    }
}

fn descriptor(kind: &str, blob: &[u8]) -> serde_json::Value {
    json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()})
}

fn document(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("domicile-image-{name}-{}.tar", std::process::id()))
    }

    fn entries(archive: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mtime().unwrap(), bytes)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (first, second) = (scratch("first"), scratch("second"));
        let binary = Path::new("/bin/ls");
        let one = pack("local.test/ls:1", binary, &[], &first).unwrap();
        let two = pack("local.test/ls:1", binary, &[], &second).unwrap();
        let (first_bytes, second_bytes) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
        fs::remove_file(first).unwrap();
        fs::remove_file(second).unwrap();
        assert_eq!(one, two);
        assert!(first_bytes == second_bytes);
    }

    #[test]
    fn every_blob_is_named_by_its_digest_and_carries_no_time() {
        let out = scratch("blobs");
        pack("local.test/ls:1", Path::new("/bin/ls"), &[], &out).unwrap();
        let all = entries(&fs::read(&out).unwrap());
        fs::remove_file(out).unwrap();
        let blobs: Vec<_> = all
            .iter()
            .filter(|(path, ..)| path.starts_with("blobs/"))
            .collect();
        assert_eq!(blobs.len(), 3);
        for (path, _, bytes) in &blobs {
            assert_eq!(**path, format!("blobs/{}", digest(bytes).replace(':', "/")));
        }
        let layer = entries(&blobs[0].2);
        assert!(layer.iter().any(|(path, ..)| path == "usr/local/bin/ls"));
        assert!(
            layer.iter().any(|(path, ..)| path.contains("libc.so.6")),
            "its libraries"
        );
        assert!(all.iter().chain(&layer).all(|(_, time, _)| *time == 0));
    }

    #[test]
    fn another_content_gives_another_digest() {
        let out = scratch("digest");
        let spec = ImageSpec {
            name: "a:1",
            entrypoint: &["/a"],
            arguments: &[],
            user: 1,
        };
        let file = |bytes: &[u8]| {
            vec![ImageFile {
                path: "/a".to_owned(),
                content: Content::Bytes(bytes.to_vec()),
            }]
        };
        let one = write(&spec, &file(b"1"), &out).unwrap();
        let two = write(&spec, &file(b"2"), &out).unwrap();
        fs::remove_file(out).unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn libraries_are_read_from_each_form_of_line() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00)\n";
        let want = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(text), want);
    }
}
