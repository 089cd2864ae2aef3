//! Patroni, from Python packages: installed once into the cache by pip, for the system's Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{cache_key, cached, remove_folder};
use crate::error::{LabError, Result};
use crate::process::{installed, run_ok};

/// Version of Patroni that the lab runs.
pub const PATRONI_VERSION: &str = "4.1.5";

/// The system's own: one below a home folder is closed to the unprivileged user of the servers.
const PYTHON: &str = "/usr/bin/python3";
const REQUIREMENTS: &str = include_str!("../modules/patroni/requirements.txt");
const LIMIT: Duration = Duration::from_mins(5);

/// Where Patroni is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patroni {
    /// The Python that runs it.
    pub python: PathBuf,
    /// The folder of its packages.
    pub packages: PathBuf,
    /// The program of etcd, its store.
    pub etcd: PathBuf,
}

impl Patroni {
    /// Finds Patroni in the cache, or installs it. Errors: the system has no Python, pip is
    /// missing, or the packages cannot be had.
    pub fn ensure(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let etcd = super::go::etcd().ensure(cache, progress)?.join("bin/etcd");
        let python = Path::new(PYTHON);
        if !python.exists() {
            let hint = "apt-get install python3; Patroni runs on it";
            return Err(LabError::missing(PYTHON, hint));
        }
        let version = run_ok(Command::new(python).arg("--version"), LIMIT)?.stdout;
        let key = cache_key("patroni", PATRONI_VERSION, &[REQUIREMENTS, version.trim()]);
        let packages = cached(cache, &key, |draft| {
            progress(&format!("installing Patroni {PATRONI_VERSION} (once)"));
            install(draft)
        })?;
        Ok(Self {
            python: python.to_owned(),
            packages: packages.join("site"),
            etcd,
        })
    }
}

/// By the pip at hand, whichever Python it belongs to, and with the caller's environment:
/// registries and their mirrors are configured there.
fn install(draft: &Path) -> Result<()> {
    if !installed("pip")? {
        let hint = "apt-get install python3-pip; it installs Patroni";
        return Err(LabError::missing("pip", hint));
    }
    let list = draft.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(LabError::file("write", &list))?;
    let mut command = Command::new("pip");
    command.args(["--python", PYTHON, "install", "--quiet", "--no-deps"]);
    command.args([
        "--prefer-binary",
        "--no-compile",
        "--root-user-action=ignore",
    ]);
    command.arg("--target").arg(draft.join("site"));
    command.arg("--requirement").arg(&list);
    run_ok(&mut command, LIMIT)?;
    remove_folder(&draft.join("site/bin"))?;
    run_ok(Command::new("chmod").args(["-R", "a+rX"]).arg(draft), LIMIT).map(drop)
}
