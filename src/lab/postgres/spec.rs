//! What a server is made from.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::binaries::Binaries;
use super::engine::Engine;
use super::place::Place;
use super::settings::Settings;
use crate::error::{LabError, Result};

/// The passwords of a server's login roles. A standby has those of its primary.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Of [`ADMIN`].
    pub admin: SecretString,
    /// Of [`REPLICATOR`].
    pub replicator: SecretString,
    /// Of Patroni's REST API, where there is one.
    pub patroni: SecretString,
}

impl Passwords {
    /// New random passwords.
    pub fn random() -> Result<Self> {
        Ok(Self {
            admin: random_password()?,
            replicator: random_password()?,
            patroni: random_password()?,
        })
    }
}

/// Certificates of one server, all PEM.
#[derive(Debug, Clone)]
pub struct TlsMaterial {
    /// The server's certificate; it names the server's address.
    pub cert: String,
    /// The key of that certificate.
    pub key: SecretString,
    /// The certificates of all authorities that this server's peers may have.
    pub trust: String,
}

/// All that makes one server differ from another.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// The region: name of the server in its peers' lists of standbys.
    pub region: String,
    /// Folder of this server's own; the lab's unprivileged user must be able to reach it.
    pub dir: PathBuf,
    /// The one address it listens on.
    pub address: Ipv4Addr,
    /// The port it listens on.
    pub port: u16,
    /// The programs.
    pub binaries: Binaries,
    /// The certificates.
    pub tls: TlsMaterial,
    /// The passwords.
    pub passwords: Passwords,
    /// Where it runs.
    pub place: Place,
    /// How it is tuned.
    pub settings: Settings,
    /// What starts it and keeps it up.
    pub engine: Engine,
    /// The regions that may follow it, for which Patroni keeps slots.
    pub peers: Vec<String>,
}

fn random_password() -> Result<SecretString> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 20];
    fs::File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(LabError::file("read", source))?;
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    });
    Ok(text.into())
}
