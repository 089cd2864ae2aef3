//! A server that Patroni runs: its configuration and its processes. etcd and Patroni live and die
//! together with the server, as in a region whose store is lost with it.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::engine::{ETCD_CLIENT, ETCD_PEER, Engine, REST_PORT};
use super::files::write;
use super::launch::Program;
use super::place::{ENVIRONMENT, Place};
use super::process::Process;
use super::server::Server;
use super::settings::{REPLICATOR, SUPERUSER, slot_name};
use crate::error::{LabError, Result};
use crate::process::ProcessId;

/// Name of the login of Patroni's REST API.
pub const REST_USER: &str = "patroni";

impl Server {
    /// Writes Patroni's configuration, for a server that begins as a standby of `primary` or as a
    /// primary. Only the first start heeds what is said of that: later on etcd holds it.
    pub(crate) fn configure_patroni(&self, primary: Option<&Self>) -> Result<()> {
        let text = self.patroni_configuration(primary).to_string();
        write(&self.patroni_file(), &text, 0o600)
    }

    /// Starts etcd and Patroni; Patroni comes first in the answer.
    pub(crate) fn spawn_patroni(&self) -> Result<Option<Vec<Process>>> {
        let Engine::Patroni {
            python,
            packages,
            etcd,
        } = &self.spec.engine
        else {
            return Ok(None);
        };
        let store = self.spawn_program(&self.etcd(etcd))?;
        let mut environment: Vec<String> = ENVIRONMENT
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        environment.push(format!("PYTHONPATH={}", packages.display()));
        environment.push("PYTHONDONTWRITEBYTECODE=1".to_owned());
        let patroni = self.spawn_program(&Program {
            path: python,
            arguments: vec![
                "-m".to_owned(),
                "patroni".to_owned(),
                self.patroni_file().display().to_string(),
            ],
            environment,
            log: self.log(),
            unprivileged: true,
            last_order: "TERM",
        })?;
        Ok(Some(vec![patroni, store]))
    }

    /// The postmaster, which is no child of Patroni's, when one runs.
    pub(crate) fn postmaster(&self) -> Option<Process> {
        let note = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        let pid = note.lines().next()?.trim().parse().ok()?;
        let id = match &self.spec.place {
            Place::Loopback => ProcessId::find(pid),
            Place::Space { space, .. } => space.host_process(pid),
        }?;
        // The note of a killed server stays, and another process may have its number by now.
        let name = fs::read_to_string(format!("/proc/{}/comm", id.pid)).ok()?;
        (name.trim() == "postgres").then(|| Process::foreign(id))
    }

    fn patroni_file(&self) -> PathBuf {
        self.spec.dir.join("conf/patroni.yml")
    }

    /// Root's, for its program lies in root's cache; it knows nobody but Patroni.
    fn etcd<'a>(&self, program: &'a Path) -> Program<'a> {
        let address = self.spec.address;
        let client = format!("http://{address}:{ETCD_CLIENT}");
        let peer = format!("http://{address}:{ETCD_PEER}");
        let data = self.spec.dir.join("etcd").display().to_string();
        let arguments = [
            ("--name", "store".to_owned()),
            ("--data-dir", data),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("store={peer}")),
            ("--log-level", "warn".to_owned()),
            // Its only member may be kept waiting for the processor.
            ("--heartbeat-interval", "500".to_owned()),
            ("--election-timeout", "5000".to_owned()),
        ];
        let mut words: Vec<String> = arguments
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect();
        words.push("--unsafe-no-fsync".to_owned());
        Program {
            path: program,
            arguments: words,
            environment: Vec::new(),
            log: self.spec.dir.join("etcd.log"),
            unprivileged: false,
            last_order: "TERM",
        }
    }

    fn patroni_configuration(&self, primary: Option<&Self>) -> Value {
        let spec = &self.spec;
        let (address, port) = (spec.address, spec.port);
        let path = |name: &str| spec.dir.join(name).display().to_string();
        let login = json!({
            "username": REPLICATOR,
            "password": spec.passwords.replicator.expose_secret(),
            "sslmode": "verify-full",
            "sslrootcert": path("tls/trust.crt"),
        });
        let listen = format!("{address}:{port}");
        let rest = format!("{address}:{REST_PORT}");
        let bin = spec.binaries.program("");
        json!({
            "scope": spec.region,
            "name": spec.region,
            "restapi": {
                "listen": rest, "connect_address": rest,
                "certfile": path("tls/server.crt"), "keyfile": path("tls/server.key"),
                "authentication": {
                    "username": REST_USER,
                    "password": spec.passwords.patroni.expose_secret(),
                },
            },
            "etcd3": {"host": format!("{address}:{ETCD_CLIENT}")},
            "bootstrap": {
                "dcs": self.first_settings(primary),
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "no-sync"],
            },
            "postgresql": {
                "listen": listen, "connect_address": listen,
                "data_dir": self.data_dir().display().to_string(),
                "bin_dir": bin.display().to_string(),
                "custom_conf": path("conf/postgresql.conf"),
                "pgpass": path("run/pgpass"),
                "use_unix_socket": true,
                "authentication": {
                    "superuser": {"username": SUPERUSER},
                    "replication": login, "rewind": login,
                },
                "parameters": {
                    "unix_socket_directories": path("run"),
                    "hba_file": path("conf/pg_hba.conf"),
                    "ident_file": path("conf/pg_ident.conf"),
                },
                "basebackup": [{"checkpoint": "fast"}],
            },
        })
    }

    /// What etcd holds at first. The slots are those of both servers: each keeps the other's.
    fn first_settings(&self, primary: Option<&Self>) -> Value {
        let own = slot_name(self.region());
        // On a busy machine etcd may take seconds to answer, and a primary without it is stopped.
        let mut settings = json!({
            "ttl": 60, "loop_wait": 1, "retry_timeout": 20,
            "postgresql": {
                "use_pg_rewind": true,
                "parameters": {"max_connections": self.spec.settings.max_connections},
            },
        });
        let peers = self.spec.peers.iter();
        let slots: serde_json::Map<_, _> = peers
            .map(|peer| (slot_name(peer), json!({"type": "physical"})))
            .collect();
        settings["slots"] = Value::Object(slots);
        if let Some(primary) = primary {
            settings["standby_cluster"] = json!({
                "host": primary.address().to_string(), "port": primary.port(),
                "primary_slot_name": own, "create_replica_methods": ["basebackup"],
            });
        }
        settings
    }
}

/// What Patroni's tools need beside those of a plain server.
pub(crate) fn check_programs(server: &Server) -> Result<()> {
    for name in ["pg_ctl", "pg_isready"] {
        if !server.spec.binaries.program(name).is_file() {
            let hint = "Patroni needs it; use the system's PostgreSQL";
            return Err(LabError::missing(name, hint));
        }
    }
    Ok(())
}
