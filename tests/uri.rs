//! What a Secret says of a connection, read back by a client's own parser: a value is never more
//! than a value.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use domicile_core::connection::{Connection, Home, Login, render};
use domicile_core::names::DatabaseName;
use proptest::prelude::*;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

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

/// What the Secret says under `uri` for this login.
fn uri(host: &str, port: u16, username: &str, password: &str) -> String {
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
        port,
        hosts: None,
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
    rendered.unwrap().data["uri"].expose().to_owned()
}

/// The client reads what was put in, and nothing besides.
fn reads_back(host: &str, port: u16, username: &str, password: &str) {
    let uri = uri(host, port, username, password);
    let read: Config = uri.parse().unwrap();
    assert_eq!(read.get_user(), Some(username), "{uri}");
    assert_eq!(read.get_password(), Some(password.as_bytes()), "{uri}");
    assert_eq!(read.get_dbname(), Some("tenant_acme"), "{uri}");
    assert_eq!(read.get_hosts(), [Host::Tcp(host.to_owned())], "{uri}");
    assert_eq!(read.get_ports(), [port], "{uri}");
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
            reads_back("10.0.0.1", 5432, nasty, other);
        }
        reads_back("fd00::1", 65_535, "tenant_acme_a", nasty);
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
    ) {
        reads_back(&host, port, &username, &password);
    }
}
