//! What later processes need to know about the regions.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{How, REGIONS, Region};
use crate::error::{LabError, Result};
use crate::pki::{Authority, Usage};
use crate::postgres::{Engine, Passwords, TlsMaterial};
use crate::state::write_atomically;

const RECORD: &str = "regions.json";
const SECRETS: &str = "secrets";

/// How the regions were started, and which of them are lost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Folder of the PostgreSQL programs.
    pub(super) programs: PathBuf,
    pub(super) synchronous: bool,
    pub(super) engine: Engine,
    pub(super) lost: BTreeMap<String, How>,
}

impl Record {
    pub(super) fn load(dir: &Path) -> Result<Option<Self>> {
        read_json(&dir.join(RECORD))
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(RECORD), self)
    }
}

/// Passwords and certificates of all regions.
#[derive(Debug)]
pub(super) struct Secrets(BTreeMap<String, RegionSecrets>);

#[derive(Debug)]
struct RegionSecrets {
    passwords: Passwords,
    ca: String,
    tls: TlsMaterial,
}

/// As kept in a file that only root can read.
#[derive(Serialize, Deserialize)]
struct Stored {
    admin: String,
    replicator: String,
    patroni: String,
    ca: String,
    cert: String,
    key: String,
    trust: String,
}

/// What the certificate of a region's server carries. The address in hexadecimal is a name for
/// everybody but a resolver, which needs no DNS for it. `us-east` stands for a server whose
/// certificate nobody prepared for Services.
fn names(region: &Region) -> Vec<String> {
    let mut names = vec![
        region.address.to_string(),
        format!("0x{:08x}", region.address.to_bits()),
        format!("{}.db.lab.test", region.name),
    ];
    if region.peer().is_some() {
        names.push("*.tenant-acme.svc".to_owned());
    }
    names
}

impl Secrets {
    /// New authorities, certificates, and passwords. Regions of one group share the passwords
    /// and trust each other's authority; no other region does.
    pub(super) fn new() -> Result<Self> {
        let mut authorities = BTreeMap::new();
        let mut passwords = BTreeMap::new();
        for region in &REGIONS {
            let name = format!("Domicile lab, {}", region.name);
            authorities.insert(region.name, Authority::new(&name)?);
            if region.standby_of.is_none() {
                passwords.insert(region.name, Passwords::random()?);
            }
        }
        let absent = |region: &Region| LabError::State(format!("{} lacks a secret", region.name));
        let made = REGIONS.iter().map(|region| {
            let authority = authorities.get(region.name).ok_or_else(|| absent(region))?;
            let group = region.standby_of.unwrap_or(region.name);
            let passwords = passwords
                .get(group)
                .cloned()
                .ok_or_else(|| absent(region))?;
            let names = names(region);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (cert, key) = authority.issue(region.name, None, &names, &[Usage::Server])?;
            let peer = region.peer().and_then(|peer| authorities.get(peer.name));
            let trust = [Some(authority), peer]
                .into_iter()
                .flatten()
                .map(Authority::cert_pem);
            let tls = TlsMaterial {
                cert,
                key: key.into(),
                trust: trust.collect(),
            };
            let ca = authority.cert_pem().to_owned();
            Ok((region.name.to_owned(), RegionSecrets { passwords, ca, tls }))
        });
        made.collect::<Result<_>>().map(Self)
    }

    pub(super) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(SECRETS).join(RECORD);
        let gone = || LabError::State(format!("{} is gone", path.display()));
        let stored: BTreeMap<String, Stored> = read_json(&path)?.ok_or_else(gone)?;
        Ok(Self(
            stored
                .into_iter()
                .map(|(name, stored)| (name, stored.into()))
                .collect(),
        ))
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let folder = make_folder(&dir.join(SECRETS))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
            .map_err(LabError::file("protect", &folder))?;
        let stored: BTreeMap<&str, Stored> = self
            .0
            .iter()
            .map(|(name, secrets)| (name.as_str(), secrets.into()))
            .collect();
        write_json(&folder.join(RECORD), &stored)
    }

    pub(super) fn ca_pem(&self, region: &Region) -> Result<&str> {
        Ok(&self.of(region)?.ca)
    }

    pub(super) fn passwords(&self, region: &Region) -> Result<&Passwords> {
        Ok(&self.of(region)?.passwords)
    }

    pub(super) fn tls(&self, region: &Region) -> Result<TlsMaterial> {
        Ok(self.of(region)?.tls.clone())
    }

    fn of(&self, region: &Region) -> Result<&RegionSecrets> {
        let absent = || LabError::State(format!("{} has no secrets", region.name));
        self.0.get(region.name).ok_or_else(absent)
    }
}

impl From<Stored> for RegionSecrets {
    fn from(stored: Stored) -> Self {
        let Stored {
            admin,
            replicator,
            patroni,
            ca,
            cert,
            key,
            trust,
        } = stored;
        let passwords = Passwords {
            admin: admin.into(),
            replicator: replicator.into(),
            patroni: patroni.into(),
        };
        Self {
            passwords,
            ca,
            tls: TlsMaterial {
                cert,
                key: key.into(),
                trust,
            },
        }
    }
}

impl From<&RegionSecrets> for Stored {
    fn from(secrets: &RegionSecrets) -> Self {
        let RegionSecrets { passwords, ca, tls } = secrets;
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        Self {
            admin: text(&passwords.admin),
            replicator: text(&passwords.replicator),
            patroni: text(&passwords.patroni),
            ca: ca.clone(),
            cert: tls.cert.clone(),
            key: text(&tls.key),
            trust: tls.trust.clone(),
        }
    }
}

/// Makes a folder through which the servers' user may pass; returns it.
pub(super) fn make_folder(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(LabError::file("make", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
        .map_err(LabError::file("protect", dir))?;
    Ok(dir.to_owned())
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LabError::file("read", path)(source)),
    };
    let wrong = |source| LabError::Json {
        what: path.display().to_string(),
        source,
    };
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

fn write_json(path: &Path, content: &impl Serialize) -> Result<()> {
    let wrong = |source| LabError::Json {
        what: path.display().to_string(),
        source,
    };
    write_atomically(
        path,
        serde_json::to_string(content).map_err(wrong)?.as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_the_file_and_stay_within_their_group() {
        let dir = make_folder(&std::env::temp_dir().join(format!("rec-{}", std::process::id())));
        let dir = dir.unwrap();
        let made = Secrets::new().unwrap();
        made.save(&dir).unwrap();
        let mode = fs::metadata(dir.join(SECRETS))
            .unwrap()
            .permissions()
            .mode();
        let read = Secrets::load(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(mode & 0o077, 0);
        let [west, central, east] = REGIONS.each_ref();
        for region in &REGIONS {
            assert_eq!(
                made.tls(region).unwrap().trust,
                read.tls(region).unwrap().trust
            );
        }
        let admin = |region| {
            read.passwords(region)
                .unwrap()
                .admin
                .expose_secret()
                .to_owned()
        };
        assert_eq!(admin(west), admin(central));
        assert_ne!(admin(west), admin(east));
        let trust = |region| read.tls(region).unwrap().trust;
        assert!(trust(west).contains(read.ca_pem(central).unwrap()));
        assert!(!trust(east).contains(read.ca_pem(west).unwrap()));
    }
}
