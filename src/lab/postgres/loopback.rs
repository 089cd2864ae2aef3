//! Servers on loopback addresses, for tests that need a database but no network of regions.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::binaries::Binaries;
use super::engine::Engine;
use super::place::Place;
use super::server::Server;
use super::settings::Settings;
use super::spec::{Passwords, ServerSpec, TlsMaterial};
use crate::error::{LabError, Result};
use crate::pki::{Authority, Usage};
use crate::tools::Patroni;

/// A place for a few servers of one version that share an authority and passwords. Declare it
/// before its servers: its folder is removed when it is dropped.
pub struct Loopback {
    dir: PathBuf,
    binaries: Binaries,
    authority: Authority,
    passwords: Passwords,
    settings: Settings,
    engine: Engine,
    peers: Vec<String>,
}

impl Loopback {
    /// A new folder below the machine's temporary one, a new authority, new passwords.
    pub fn new(binaries: &Binaries, settings: Settings) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket below it may have 107 bytes.
        let dir = std::env::temp_dir().join(format!("domicile-pg-{}-{count}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o711)
            .create(&dir)
            .map_err(LabError::file("make", &dir))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))
            .map_err(LabError::file("protect", &dir))?;
        let binaries = binaries.reachable(&dir)?;
        let authority = Authority::new("Domicile lab, loopback")?;
        Ok(Self {
            dir,
            binaries,
            authority,
            passwords: Passwords::random()?,
            settings,
            engine: Engine::Plain,
            peers: Vec::new(),
        })
    }

    /// As [`Loopback::new`], with servers that Patroni runs; each keeps a slot for each of `peers`.
    pub fn with_patroni(
        binaries: &Binaries,
        settings: Settings,
        patroni: &Patroni,
        peers: &[&str],
    ) -> Result<Self> {
        let mut place = Self::new(binaries, settings)?;
        place.engine = Engine::patroni(patroni, &place.dir)?;
        place.peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        Ok(place)
    }

    /// The certificate of the authority, PEM: what clients verify servers against.
    pub fn ca_pem(&self) -> &str {
        self.authority.cert_pem()
    }

    /// The passwords of all its servers.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The folder of all its servers.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A certificate for `server` whose time is over, and its key, both PEM.
    pub fn expired_certificate(&self, server: &Server) -> Result<(String, String)> {
        let address = server.address().to_string();
        self.authority.issue_expired(server.region(), &[&address])
    }

    /// Starts a primary.
    pub fn primary(&self, region: &str) -> Result<Server> {
        Server::primary(self.spec(region)?)
    }

    /// Starts a standby of `primary`; it streams when this returns.
    pub fn standby(&self, region: &str, primary: &Server) -> Result<Server> {
        Server::standby(self.spec(region)?, primary)
    }

    /// What a server for `region` is made from: an address and port of its own.
    pub fn spec(&self, region: &str) -> Result<ServerSpec> {
        let (address, port) = free_endpoint(self.engine.ports())?;
        let names = [address.to_string(), format!("{region}.db.lab.test")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (cert, key) = self
            .authority
            .issue(region, None, &names, &[Usage::Server])?;
        Ok(ServerSpec {
            region: region.to_owned(),
            dir: self.dir.join(region),
            address,
            port,
            binaries: self.binaries.clone(),
            tls: TlsMaterial {
                cert,
                key: key.into(),
                trust: self.ca_pem().to_owned(),
            },
            passwords: self.passwords.clone(),
            place: Place::Loopback,
            settings: self.settings.clone(),
            engine: self.engine.clone(),
            peers: self.peers.clone(),
        })
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // A folder that stays harms nobody, and there is no one to tell.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// An address of the loopback network and a port that this process has not used yet; `others` are
/// free at that address too.
///
/// The port is not kept open meanwhile; that it lies outside what the system hands out for
/// outgoing connections is what keeps it free.
fn free_endpoint(others: &[u16]) -> Result<(Ipv4Addr, u16)> {
    static USED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    let own = (std::process::id() % 50) as u16 * 200;
    for offset in 0..10_000_u16 {
        let port = 20_000 + (own + offset) % 10_000;
        let address = Ipv4Addr::new(127, 0, 1, 1 + (port % 250) as u8);
        let free = |port: u16| TcpListener::bind((address, port)).is_ok();
        if used.insert(port) && free(port) && others.iter().all(|other| free(*other)) {
            return Ok((address, port));
        }
    }
    Err(LabError::State(
        "no free port between 20000 and 30000 on 127.0.1.x".to_owned(),
    ))
}
