//! What a Secret says of a connection, read back by a client's own parser: a value is never more
//! than a value.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use domicile_core::connection::{Connection, Home, Login, render};
use domicile_core::names::DatabaseName;
use domicile_core::replica::Address;
use proptest::prelude::*;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Texts that are more than a value where they are not encoded.
const NASTY: [&str; 16] = [
    "a@b",
    "a:b",
    "a/b",
    "/tmp",
    "a?options=-csearch_path%3Devil",
    "a&sslmode=disable",
    "a#b",
    "a%41",
    "%",
    "a%zz",
    "a+b c",
    "[::1]",
    "a,b:1",
    "' host=evil user='",
    "back\\slash\"quote",
    "\u{fc}\u{1f980}\n\u{202e}",
];

/// What the Secret says for this login: under `libpq-uri` where it names several servers.
fn uri(hosts: &[Address], username: &str, password: &str) -> String {
    let several = (hosts.len() > 1).then_some(hosts);
    let Address { host, port } = &hosts[0];
    let database = DatabaseName::parse("tenant_acme").unwrap();
    let login = Login {
        name: "rw",
        username,
        password,
    };
    let home = Home {
        name: "eu-west",
        key: "EU_WEST",
        jurisdiction: "EU",
    };
    let rendered = render(&Connection {
        host,
        port: *port,
        hosts: several,
        reads: None,
        database: &database,
        read_write: Some(login),
        read_only: None,
        ca_pem: "",
        folder: "/run/db",
        home,
        serving_key: Some("EU_WEST"),
        keys: None,
        region_env: true,
    });
    let key = several.map_or("uri", |_| "libpq-uri");
    rendered.unwrap().data[key].expose().to_owned()
}

fn address(host: &str, port: u16) -> Address {
    let host = host.to_owned();
    Address { host, port }
}

/// The client reads what was put in, and nothing besides.
fn reads_back(hosts: &[Address], username: &str, password: &str) {
    let uri = uri(hosts, username, password);
    let read: Config = uri.parse().unwrap();
    assert_eq!(read.get_user(), Some(username), "{uri}");
    assert_eq!(read.get_password(), Some(password.as_bytes()), "{uri}");
    assert_eq!(read.get_dbname(), Some("tenant_acme"), "{uri}");
    let names = hosts.iter().map(|one| Host::Tcp(one.host.clone()));
    assert_eq!(read.get_hosts(), names.collect::<Vec<_>>(), "{uri}");
    let ports: Vec<u16> = hosts.iter().map(|one| one.port).collect();
    assert_eq!(read.get_ports(), ports, "{uri}");
    let choice = match hosts {
        [_] => TargetSessionAttrs::Any,
        _ => TargetSessionAttrs::ReadWrite,
    };
    assert_eq!(read.get_target_session_attrs(), choice, "{uri}");
    let more = (read.get_options(), read.get_application_name());
    assert_eq!(more, (None, None), "{uri}");
    assert_eq!(read.get_hostaddrs().len(), 0, "{uri}");
    assert_eq!(read.get_ssl_mode(), SslMode::Require, "{uri}");
}

/// Faults: 15.
#[test]
fn what_would_be_more_than_a_value_stays_one() {
    for nasty in NASTY {
        for other in NASTY {
            reads_back(&[address("10.0.0.1", 5432)], nasty, other);
        }
        let two = [address("fd00::1", 65_535), address("10.0.0.1", 5432)];
        reads_back(&two[..1], "tenant_acme_a", nasty);
        reads_back(&two, nasty, nasty);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Hosts are of the letters that the schema of a Region takes.
    ///
    /// Faults: 15.
    #[test]
    fn a_client_reads_back_any_login_of_any_server(
        host in "[A-Za-z0-9]([A-Za-z0-9.-]{0,40}[A-Za-z0-9])?", port in 1..=u16::MAX,
        username in "[^\0]{1,40}", password in "[^\0]{1,60}",
        other in "[A-Za-z0-9]([A-Za-z0-9.-]{0,40}[A-Za-z0-9])?",
    ) {
        let two = [address(&host, port), address(&other, 5432)];
        reads_back(&two[..1], &username, &password);
        reads_back(&two, &username, &password);
    }
}
