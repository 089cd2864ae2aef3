//! Programs of the node that Debian packages: unpacked into the cache, not installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{cache_key, cached};
use crate::error::{LabError, Result};
use crate::process::{installed, run_ok};

const LIMIT: Duration = Duration::from_mins(10);

/// Packages, with the libraries of nft, which a small system may lack.
const PACKAGES: [&str; 14] = [
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "libbsd0",
    "libedit2",
    "libgmp10",
    "libjansson4",
    "libmd0",
    "libmnl0",
    "libnftables1",
    "libnftnl11",
    "libxtables12",
    "nftables",
    "runc",
];

/// Programs of the packages; where they put them differs between releases of Debian.
const PROGRAMS: [&str; 5] = [
    "busybox",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
];
const FOLDERS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// nft finds its libraries beside itself.
const NFT: &str = r#"#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root
for folder in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu; do
    LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$root/usr/sbin/nft" "$@"
"#;

/// The cache folder with `bin` (programs) and `root` (the packages' files).
pub(super) fn node_packages(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let release = release()?;
    let inputs: Vec<_> = PACKAGES.into_iter().chain([NFT]).collect();
    cached(cache, &cache_key("node", &release, &inputs), |draft| {
        progress("unpacking containerd, runc, CNI plugins, busybox and nft (once)");
        fill(draft)
    })
}

fn fill(draft: &Path) -> Result<()> {
    let (packages, root, bin) = (
        draft.join("packages"),
        draft.join("root"),
        draft.join("bin"),
    );
    for folder in [&packages, &root, &bin] {
        fs::create_dir(folder).map_err(LabError::file("create", folder))?;
    }
    download(&packages)?;
    let entries = fs::read_dir(&packages).map_err(LabError::file("read", &packages))?;
    for entry in entries.flatten() {
        run_ok(
            Command::new("dpkg").arg("-x").arg(entry.path()).arg(&root),
            LIMIT,
        )?;
    }
    super::remove_folder(&packages)?;
    for name in PROGRAMS {
        let path = FOLDERS.map(|folder| Path::new(folder).join(name));
        let path = path
            .iter()
            .find(|path| root.join(path).exists())
            .ok_or_else(|| {
                LabError::missing(name, "its Debian package does not hold it where it used to")
            })?;
        let link = bin.join(name);
        symlink(Path::new("../root").join(path), &link).map_err(LabError::file("create", &link))?;
    }
    let nft = bin.join("nft");
    fs::write(&nft, NFT).map_err(LabError::file("write", &nft))?;
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755))
        .map_err(LabError::file("write", &nft))
}

fn download(folder: &Path) -> Result<()> {
    let fetch = || {
        let mut command = Command::new("apt-get");
        command
            .args(["download", "-q"])
            .args(PACKAGES)
            .current_dir(folder);
        run_ok(&mut command, LIMIT)
    };
    match fetch() {
        Ok(_) => Ok(()),
        Err(LabError::Program { .. }) => {
            // The lists of packages may be absent or older than the archive.
            run_ok(Command::new("apt-get").args(["update", "-q"]), LIMIT)?;
            fetch().map(drop)
        }
        Err(error) => Err(error),
    }
}

fn release() -> Result<String> {
    let debian = "Debian (the node's programs come from its packages)";
    let hint = "use Debian 12 or newer, or kind with kind-config.yaml";
    let version = fs::read_to_string("/etc/debian_version");
    match version {
        Ok(version) if installed("dpkg")? && installed("apt-get")? => {
            Ok(version.trim().replace('/', "-"))
        }
        Ok(_) | Err(_) => Err(LabError::missing(debian, hint)),
    }
}
