use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

mod hosts;
mod places;
mod region;

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn database() -> DatabaseName {
    DatabaseName::parse("tenant_acme").unwrap()
}

fn facts<'a>(
    database: &'a DatabaseName,
    keys: Option<&'a BTreeMap<String, String>>,
) -> Connection<'a> {
    Connection {
        host: "pg.example.net",
        port: 5432,
        hosts: None,
        reads: None,
        database,
        read_write: Some(Login {
            name: "rw",
            username: "tenant_acme_a",
            password: "s3cretRW",
        }),
        read_only: Some(Login {
            name: "ro",
            username: "tenant_acme_ro_a",
            password: "s3cretRO",
        }),
        ca_pem: CA,
        folder: "/run/db",
        home: Home {
            name: "eu-west",
            key: "EU_WEST",
            jurisdiction: "EU",
        },
        serving_key: Some("EU_CENTRAL"),
        keys,
        region_env: true,
    }
}

fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn problem(pairs: &[(&str, &str)]) -> RenderError {
    let (database, keys) = (database(), keys(pairs));
    render(&facts(&database, Some(&keys))).unwrap_err()
}

fn value<'a>(rendered: &'a Rendered, key: &str) -> &'a str {
    rendered
        .data
        .get(key)
        .unwrap_or_else(|| panic!("no key {key}"))
        .expose()
}

#[test]
fn a_placement_without_keys_gets_the_default_ones() {
    let database = database();
    let rendered = render(&facts(&database, None)).unwrap();
    let uri = "postgresql://tenant_acme_a:s3cretRW@pg.example.net:5432/tenant_acme?sslmode=require";
    assert_eq!(value(&rendered, "DATABASE_URL"), uri);
    assert_eq!(value(&rendered, "DATABASE_URL_EU_WEST"), uri);
    assert_eq!(
        value(&rendered, "DATABASE_REPLICA_URL"),
        "postgresql://tenant_acme_ro_a:s3cretRO@pg.example.net:5432/tenant_acme?sslmode=require"
    );
    let variables: Vec<&str> = rendered.variables.iter().map(String::as_str).collect();
    assert_eq!(
        variables,
        [
            "DATABASE_REGION",
            "DATABASE_REPLICA_URL",
            "DATABASE_URL",
            "DATABASE_URL_EU_WEST",
            "REGION_HEADER_NAME",
            "REGION_HEADER_VALUE",
        ]
    );
}

#[test]
fn the_service_binding_keys_are_complete() {
    let database = database();
    let rendered = render(&facts(&database, None)).unwrap();
    for (key, expected) in [
        ("type", "postgresql"),
        ("provider", "domicile"),
        ("host", "pg.example.net"),
        ("port", "5432"),
        ("database", "tenant_acme"),
        ("username", "tenant_acme_a"),
        ("password", "s3cretRW"),
        ("sslmode", "verify-full"),
        ("certificates", CA),
        ("host-ro", "pg.example.net"),
        ("port-ro", "5432"),
        ("username-ro", "tenant_acme_ro_a"),
        ("password-ro", "s3cretRO"),
        (
            "jdbc-url",
            "jdbc:postgresql://pg.example.net:5432/tenant_acme\
             ?user=tenant_acme_a&password=s3cretRW&sslmode=require",
        ),
    ] {
        assert_eq!(value(&rendered, key), expected, "{key}");
    }
    assert_eq!(value(&rendered, "uri"), value(&rendered, "DATABASE_URL"));
    assert_eq!(
        value(&rendered, "uri-ro"),
        value(&rendered, "DATABASE_REPLICA_URL")
    );
}

#[test]
fn a_placement_that_only_writes_has_no_reading_keys() {
    let database = database();
    let facts = Connection {
        read_only: None,
        ..facts(&database, None)
    };
    let rendered = render(&facts).unwrap();
    assert!(rendered.data.contains_key("DATABASE_URL"));
    for key in ["DATABASE_REPLICA_URL", "uri-ro", "host-ro", "port-ro"] {
        assert!(!rendered.data.contains_key(key), "{key}");
    }
}

#[test]
fn each_bad_template_is_an_error_that_names_its_field() {
    for (pairs, field, text) in [
        (
            &[("A", "{{ rw.urI }}")][..],
            "keys[\"A\"]",
            "unknown variable \"rw.urI\"",
        ),
        (&[("A", "{{ rw.uri }")], "keys[\"A\"]", "without"),
        (&[("A B", "x")], "keys[\"A B\"]", "gives the key \"A B\""),
        (&[("", "x")], "keys[\"\"]", "gives the key \"\""),
        (&[("..a", "x")], "keys[\"..a\"]", "gives the key \"..a\""),
        (
            &[("{{ rw.password }}", "x")],
            "keys[\"{{ rw.password }}\"]",
            "holds a secret",
        ),
        (
            &[("{{ rw.uri }}", "x")],
            "keys[\"{{ rw.uri }}\"]",
            "holds a secret",
        ),
        (
            &[("password", "x")],
            "keys[\"password\"]",
            "Domicile writes itself",
        ),
        (
            &[("DATABASE_REGION", "x")],
            "keys[\"DATABASE_REGION\"]",
            "Domicile writes itself",
        ),
        (
            &[("U_EU_WEST", "x"), ("U_{{ region.key }}", "y")],
            "keys[\"U_{{ region.key }}\"]",
            "the entry \"U_EU_WEST\" gives too",
        ),
    ] {
        let error = problem(pairs);
        assert!(error.field().ends_with(field), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[test]
fn every_variable_can_be_used() {
    let template = "{{ rw.host }} {{rw.port}} {{ rw.database }} {{ rw.username }} \
                    {{ rw.password }} {{ ro.username }} {{ region.name }} {{ region.key }} \
                    {{ region.jurisdiction }}";
    let (database, keys) = (database(), keys(&[("ALL", template), ("CA", "{{ca}}")]));
    let rendered = render(&facts(&database, Some(&keys))).unwrap();
    assert_eq!(
        value(&rendered, "ALL"),
        "pg.example.net 5432 tenant_acme tenant_acme_a s3cretRW tenant_acme_ro_a eu-west EU_WEST EU"
    );
    assert_eq!(value(&rendered, "CA"), CA);
}

#[test]
fn what_verifies_carries_the_authority_or_names_its_file() {
    let template = "{{ ca-file }} {{ rw.uri-base }} {{ rw.uri-file }} {{ rw.datasource-url-file }}";
    let pairs = [("A", template), ("B", "{{ ro.datasource-url }}")];
    let (database, keys) = (database(), keys(&pairs));
    let several = format!("Issued by: somebody\n{CA}{CA}");
    for (ca_pem, folder) in [(CA, "/run/db"), (several.as_str(), "/run/a b&c")] {
        let rendered = render(&Connection {
            ca_pem,
            folder,
            ..facts(&database, Some(&keys))
        })
        .unwrap();
        let server = "pg.example.net:5432/tenant_acme";
        let base = format!("postgresql://tenant_acme_a:s3cretRW@{server}");
        let path = folder
            .replace('/', "%2F")
            .replace(' ', "%20")
            .replace('&', "%26");
        let query = format!("sslmode=verify-full&sslrootcert={path}%2Fcertificates");
        let jdbc = format!("jdbc:postgresql://{server}?{query}");
        let expected = format!("{folder}/certificates {base} {base}?{query} {jdbc}");
        assert_eq!(value(&rendered, "A"), expected);
        // One certificate, and nothing before it: pgjdbc's factory reads no more.
        let expected = format!(
            "jdbc:postgresql://{server}?sslmode=verify-full\
             &sslfactory=org.postgresql.ssl.SingleCertValidatingFactory\
             &sslfactoryarg=-----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----"
        );
        assert_eq!(value(&rendered, "B"), expected);
    }
}

#[test]
fn a_login_of_another_name_is_known_by_it() {
    let database = database();
    let app = Login {
        name: "app",
        username: "tenant_acme_a",
        password: "s3cretRW",
    };
    let facts = Connection {
        read_write: Some(app),
        ..facts(&database, None)
    };
    let rendered = render(&facts).unwrap();
    assert_eq!(value(&rendered, "DATABASE_URL"), value(&rendered, "uri"));
    let keys = keys(&[("A", "{{ rw.uri }}")]);
    let error = render(&Connection {
        keys: Some(&keys),
        ..facts
    })
    .unwrap_err();
    assert!(
        error.to_string().contains("known are app.database"),
        "{error}"
    );
}

#[test]
fn nothing_secret_is_printed() {
    let database = database();
    let rendered = render(&facts(&database, None)).unwrap();
    assert!(!format!("{rendered:?}").contains("s3cret"));
}

#[test]
fn a_change_of_value_key_or_variable_changes_the_canonical_bytes() {
    let database = database();
    let base = render(&facts(&database, None)).unwrap();
    let moved = render(&Connection {
        host: "other",
        ..facts(&database, None)
    })
    .unwrap();
    assert_ne!(base.canonical(), moved.canonical());
    let mut hidden = base.clone();
    hidden.variables.remove("DATABASE_URL");
    assert_ne!(base.canonical(), hidden.canonical());
    assert_eq!(
        base.canonical(),
        render(&facts(&database, None)).unwrap().canonical()
    );
}

/// The parts of a libpq URI, read as RFC 3986 says.
fn parse(uri: &str) -> (String, String, String, String, String) {
    let rest = uri.strip_prefix("postgresql://").unwrap();
    let (rest, query) = rest.split_once('?').unwrap();
    assert_eq!(query, "sslmode=require");
    let (authority, path) = rest.split_once('/').unwrap();
    let (userinfo, hostport) = authority.rsplit_once('@').unwrap();
    let (user, password) = userinfo.split_once(':').unwrap();
    let (host, port) = hostport.rsplit_once(':').unwrap();
    (
        decode(user),
        decode(password),
        decode(host),
        port.to_owned(),
        decode(path),
    )
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn a_uri_reads_back_as_what_was_put_in(
        username in "\\PC{1,20}", password in "\\PC{1,40}", host in "[a-z0-9.-]{1,30}", port: u16,
    ) {
        let database = database();
        let login = Login { name: "rw", username: &username, password: &password };
        let facts = Connection {
            host: &host, port, read_write: Some(login), ..facts(&database, None)
        };
        let rendered = render(&facts).unwrap();
        let (user, pass, read_host, read_port, path) = parse(value(&rendered, "uri"));
        prop_assert_eq!(user, username);
        prop_assert_eq!(pass, password);
        prop_assert_eq!(read_host, host);
        prop_assert_eq!(read_port, port.to_string());
        prop_assert_eq!(path, "tenant_acme");
    }

    #[test]
    fn any_template_renders_or_fails_and_never_panics(
        key in "[A-Z{} .a-z]{0,30}", template in "[{} .a-z]{0,40}",
    ) {
        let (database, keys) = (database(), keys(&[(&key, &template)]));
        if let Ok(rendered) = render(&facts(&database, Some(&keys))) {
            prop_assert!(rendered.data.contains_key("uri"));
        }
    }

    #[test]
    fn text_without_braces_stays_as_it_is(template in "[^{}]{0,60}") {
        let (database, keys) = (database(), keys(&[("A", &template)]));
        let rendered = render(&facts(&database, Some(&keys))).unwrap();
        prop_assert_eq!(value(&rendered, "A"), template);
    }
}

#[test]
fn the_password_of_a_uri_is_what_was_put_in() {
    let database = DatabaseName::parse("tenant_a").unwrap();
    for password in ["p@ss/word1", "a%41:b", "AAAA1111", "+?&#\u{e4}"] {
        let login = Login {
            name: "rw",
            username: "tenant_a_a",
            password,
        };
        let uri = uri::base("10.0.0.1:5432", &database, login);
        let told = password_in(&uri, "tenant_a_a");
        assert_eq!(told.as_deref(), Some(password));
        assert_eq!(password_in(&uri, "tenant_a_b"), None);
    }
    for broken in [
        "",
        "mysql://u:p@h",
        "postgresql://u:%4@h",
        "postgresql://u:%zz@h",
    ] {
        assert_eq!(password_in(broken, "u"), None, "{broken}");
    }
}
