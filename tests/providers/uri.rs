//! The connection string of a Secret, read by libpq itself.

use domicile_core::connection::{Connection, Home, Login, render};
use domicile_core::names::{DatabaseName, quote_identifier, quote_literal};
use domicile_lab::postgres::Binaries;

use crate::world::{World, on_both_versions};

on_both_versions!(libpq_logs_in_with_what_was_put_in);

/// Faults: 15.
async fn libpq_logs_in_with_what_was_put_in(binaries: &Binaries) {
    let world = World::new(binaries);
    world.sql("postgres", "CREATE DATABASE acme");
    for text in [
        "a@b:c/d",
        "a?options=-csearch_path%3Devil&sslmode=disable",
        "a%41%",
        "a+b c#d",
        "' user=postgres host='/tmp",
        "[::1],b\\\"",
        "\u{fc}\u{1f980}",
    ] {
        let (role, password) = (quote_identifier(text), quote_literal(text));
        let make = format!("CREATE ROLE {role} LOGIN PASSWORD {password}");
        world.sql("postgres", &make);
        let login = Login {
            name: "rw",
            username: text,
            password: text,
        };
        let rendered = render(&Connection {
            host: &world.primary.address().to_string(),
            port: world.primary.port(),
            hosts: None,
            reads: None,
            database: &DatabaseName::parse("acme").unwrap(),
            read_write: Some(login),
            read_only: None,
            ca_pem: "",
            folder: "/run/db",
            home: Home {
                name: "eu-west",
                key: "EU_WEST",
                jurisdiction: "EU",
            },
            serving_key: Some("EU_WEST"),
            keys: None,
            region_env: true,
        })
        .unwrap();
        let who = "SELECT current_database(), ssl, current_setting('search_path'), current_user
                   FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let uri = rendered.data["uri"].expose();
        let said = world.primary.uri_sql(uri, who).unwrap();
        assert_eq!(said, format!("acme|t|\"$user\", public|{text}"));
    }
}
