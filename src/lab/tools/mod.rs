//! The programs of the lab: built from Go modules or unpacked from Debian packages, once, into
//! the cache, so that the machine itself is not changed and only the first run pays.

mod debian;
mod go;
mod patroni;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::state::hex;

pub use patroni::{PATRONI_VERSION, Patroni};

/// Version of Kubernetes that the lab runs.
pub const KUBERNETES_VERSION: &str = "1.36.3";
/// Version of etcd that the lab runs.
pub const ETCD_VERSION: &str = "3.7.3";
/// Version of Helm that installs the chart in the lab.
pub const HELM_VERSION: &str = "4.3.1";
/// Version of kwok that fakes pods where thousands are asked for.
pub const KWOK_VERSION: &str = "0.8.0";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    folders: Vec<PathBuf>,
    cni: PathBuf,
}

impl Tools {
    /// Finds all programs in the cache, and builds or unpacks what is not there. The first time
    /// takes about six minutes on two cores. Errors: Go or apt is missing, or a build fails.
    pub fn ensure(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let node = debian::node_packages(cache, progress)?;
        let mut folders = vec![node.join("bin")];
        for module in [go::etcd(), go::kubernetes(), go::helm()] {
            folders.push(module.ensure(cache, progress)?.join("bin"));
        }
        Ok(Self {
            folders,
            cni: node.join("root/usr/lib/cni"),
        })
    }

    /// Folder of the CNI plugins.
    pub fn cni(&self) -> &Path {
        &self.cni
    }

    /// Links every program into `folder`, which is first in the search path of the space.
    pub fn link_into(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
        for source in &self.folders {
            let entries = fs::read_dir(source).map_err(LabError::file("read", source))?;
            for entry in entries.flatten() {
                let link = folder.join(entry.file_name());
                std::os::unix::fs::symlink(entry.path(), &link)
                    .map_err(LabError::file("create", &link))?;
            }
        }
        Ok(())
    }
}

/// Finds kwok in the cache, and builds it when it is not there; only what asks for it pays. Errors:
/// Go is missing, or the build fails.
pub fn kwok(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let folder = go::kwok().ensure(cache, progress)?;
    Ok(folder.join("bin/kwok"))
}

/// Name of a cache folder: the same inputs give the same name, any other input another one.
pub fn cache_key(name: &str, version: &str, inputs: &[&str]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input.as_bytes());
    }
    hash.update(std::env::consts::ARCH);
    let digest = hex(&hash.finalize());
    format!("{name}-{version}-{}", &digest[..16])
}

/// The folder `key` of the cache; when it is not there, `fill` makes its content in a draft
/// folder that is renamed at the end. An interrupted `fill` leaves nothing that looks complete,
/// and two at a time wait for each other.
pub fn cached(cache: &Path, key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(key);
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(cache).map_err(LabError::file("create", cache))?;
    let lock = cache.join(format!("{key}.lock"));
    let file = File::create(&lock).map_err(LabError::file("create", &lock))?;
    let patience = Patience::new(format!("the lock of {key}"), Duration::from_hours(1));
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                patience.pause(|| "another process builds it".to_owned())?;
            }
            Err(TryLockError::Error(source)) => return Err(LabError::file("lock", &lock)(source)),
        }
    }
    if folder.exists() {
        return Ok(folder);
    }
    let draft = cache.join(format!("{key}.draft"));
    remove_folder(&draft)?;
    fs::create_dir(&draft).map_err(LabError::file("create", &draft))?;
    if let Err(error) = fill(&draft) {
        remove_folder(&draft)?;
        return Err(error);
    }
    fs::rename(&draft, &folder).map_err(LabError::file("create", &folder))?;
    Ok(folder)
}

/// Removes a folder with all it holds; one that is not there is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("domicile-{name}-{}", std::process::id()));
        remove_folder(&folder).unwrap();
        folder
    }

    #[test]
    fn a_changed_input_changes_the_cache_key() {
        let key = cache_key("kubernetes", "1.36.3", &["go.mod", "go.sum"]);
        assert_eq!(
            key,
            cache_key("kubernetes", "1.36.3", &["go.mod", "go.sum"])
        );
        assert_ne!(
            key,
            cache_key("kubernetes", "1.36.3", &["go.mod", "go.sum "])
        );
        assert_ne!(key, cache_key("kubernetes", "1.36.3", &["go.modgo.sum"]));
        assert_ne!(
            key,
            cache_key("kubernetes", "1.36.4", &["go.mod", "go.sum"])
        );
    }

    #[test]
    fn a_failed_build_leaves_nothing_that_looks_complete() {
        let cache = scratch("failed-build");
        let failed = cached(&cache, "tool-1", |draft| {
            fs::write(draft.join("half"), "").unwrap();
            Err(LabError::Interrupted)
        });
        assert!(failed.is_err());
        assert!(!cache.join("tool-1").exists() && !cache.join("tool-1.draft").exists());
        remove_folder(&cache).unwrap();
    }

    #[test]
    fn a_complete_build_is_not_repeated() {
        let cache = scratch("complete-build");
        let first = cached(&cache, "tool-1", |draft| {
            fs::write(draft.join("program"), "v1").map_err(LabError::file("write", draft))
        });
        let folder = first.unwrap();
        let again = cached(&cache, "tool-1", |_| Err(LabError::Interrupted)).unwrap();
        assert_eq!(folder, again);
        assert_eq!(fs::read_to_string(again.join("program")).unwrap(), "v1");
        remove_folder(&cache).unwrap();
    }
}
