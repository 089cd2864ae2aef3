//! The configuration files of a server.
//!
//! They lie outside the data directory: `pg_basebackup` and `pg_rewind` copy that whole, and a
//! server must never come up with the settings of another. What `ALTER SYSTEM` wrote lies inside
//! and is written anew by [`standby_overrides`] after each copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// The role that standbys stream and rewind with. Not a superuser.
pub const REPLICATOR: &str = "replicator";

/// The role that Domicile's operator logs in with. Not a superuser.
pub const ADMIN: &str = "domicile_admin";

/// The superuser; it can log in over the server's own socket only.
pub const SUPERUSER: &str = "postgres";

/// What a server is tuned with. The defaults suit the lab's timers of one second.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether commits reach the disk before they are acknowledged.
    pub fsync: bool,
    /// After how long a silent replication connection counts as broken, on both sides.
    pub replication_timeout: Duration,
    /// How many sessions the server takes.
    pub max_connections: u16,
    /// More settings, by name; these win.
    pub extra: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fsync: true,
            replication_timeout: Duration::from_secs(2),
            max_connections: 100,
            extra: BTreeMap::new(),
        }
    }
}

/// The paths and names that a configuration is made of.
pub(crate) struct Site<'a> {
    pub(crate) region: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) data: &'a Path,
    pub(crate) conf: &'a Path,
    pub(crate) run: &'a Path,
    pub(crate) tls: &'a Path,
}

/// The text of `postgresql.conf`.
pub(crate) fn postgresql_conf(site: &Site<'_>, settings: &Settings) -> String {
    let Site {
        region,
        address,
        port,
        data,
        conf,
        run,
        tls,
    } = site;
    let timeout = format!("{}ms", settings.replication_timeout.as_millis());
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    let path = |folder: &Path, file: &str| folder.join(file).display().to_string();
    let mut lines: BTreeMap<String, String> = [
        ("data_directory", data.display().to_string()),
        ("hba_file", path(conf, "pg_hba.conf")),
        ("ident_file", path(conf, "pg_ident.conf")),
        ("external_pid_file", path(run, "postmaster.pid")),
        ("cluster_name", (*region).to_owned()),
        ("listen_addresses", address.to_string()),
        ("port", port.to_string()),
        ("unix_socket_directories", run.display().to_string()),
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", path(tls, "server.crt")),
        ("ssl_key_file", path(tls, "server.key")),
        ("ssl_ca_file", path(tls, "trust.crt")),
        ("ssl_min_protocol_version", "TLSv1.2".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("authentication_timeout", "10s".to_owned()),
        ("wal_level", "replica".to_owned()),
        ("wal_log_hints", "on".to_owned()),
        ("hot_standby", "on".to_owned()),
        ("hot_standby_feedback", "on".to_owned()),
        ("max_wal_senders", "10".to_owned()),
        ("max_replication_slots", "10".to_owned()),
        ("wal_keep_size", "64MB".to_owned()),
        // A lost standby must not fill the disk of the region that still works.
        ("max_slot_wal_keep_size", "1GB".to_owned()),
        ("max_wal_size", "256MB".to_owned()),
        ("wal_sender_timeout", timeout.clone()),
        ("wal_receiver_timeout", timeout),
        ("wal_receiver_status_interval", "1s".to_owned()),
        ("wal_retrieve_retry_interval", "500ms".to_owned()),
        ("max_connections", settings.max_connections.to_string()),
        ("shared_buffers", "32MB".to_owned()),
        // In the data directory, so that a killed server leaves nothing in the machine's /dev/shm.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
        ("fsync", on_off(settings.fsync)),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    lines.extend(settings.extra.clone());
    render(&lines)
}

/// The text of `pg_hba.conf`: TLS and SCRAM for everyone from outside; the superuser by the
/// server's own socket only.
pub(crate) fn hba_conf() -> String {
    format!(
        "local   all          {SUPERUSER}                peer map=lab\n\
         hostssl all          {SUPERUSER}   0.0.0.0/0    reject\n\
         hostssl replication  {REPLICATOR} 0.0.0.0/0    scram-sha-256\n\
         hostssl all          all        0.0.0.0/0    scram-sha-256\n"
    )
}

/// The text of `pg_ident.conf`: which users of this machine may be the superuser.
pub(crate) fn ident_conf(users: &[String]) -> String {
    users.iter().fold(String::new(), |mut text, user| {
        let _infallible = writeln!(text, "lab \"{user}\" {SUPERUSER}");
        text
    })
}

/// The text of `postgresql.auto.conf` of a standby that follows the server in `conninfo` by its
/// slot. It replaces what a copy brought along, the other server's synchronous standbys above all.
pub(crate) fn standby_overrides(conninfo: &str, slot: &str) -> String {
    let lines = [("primary_conninfo", conninfo), ("primary_slot_name", slot)];
    render(
        &lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    )
}

/// The name of the replication slot of a region's standby: slots know no hyphens.
pub(crate) fn slot_name(region: &str) -> String {
    region
        .to_lowercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn render(lines: &BTreeMap<String, String>) -> String {
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _infallible = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_settings_win_and_quotes_are_doubled() {
        let here = Path::new("/x");
        let site = Site {
            region: "it's",
            address: Ipv4Addr::LOCALHOST,
            port: 1,
            data: here,
            conf: here,
            run: here,
            tls: here,
        };
        let mut settings = Settings {
            fsync: false,
            ..Settings::default()
        };
        settings
            .extra
            .insert("shared_buffers".to_owned(), "1MB".to_owned());
        let text = postgresql_conf(&site, &settings);
        assert!(text.contains("cluster_name = 'it''s'\n"), "{text}");
        assert!(text.contains("fsync = 'off'\n"), "{text}");
        assert!(text.contains("shared_buffers = '1MB'\n"), "{text}");
        assert!(!text.contains("32MB"), "{text}");
    }

    #[test]
    fn nobody_gets_in_from_outside_without_tls() {
        let outside: Vec<String> = hba_conf()
            .lines()
            .filter(|line| !line.starts_with("local"))
            .map(str::to_owned)
            .collect();
        assert_eq!(outside.len(), 3);
        assert!(
            outside.iter().all(|line| line.starts_with("hostssl")),
            "{outside:?}"
        );
    }

    #[test]
    fn slot_names_are_legal() {
        assert_eq!(slot_name("eu-Central.1"), "eu_central_1");
    }
}
