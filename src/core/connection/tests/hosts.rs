use super::*;

fn servers() -> [Address; 3] {
    [
        ("pg.example.net", 5432),
        ("fd00::2", 5433),
        ("10.0.0.3", 5432),
    ]
    .map(|(host, port)| Address {
        host: host.to_owned(),
        port,
    })
}

const LIST: &str = "pg.example.net:5432,[fd00::2]:5433,10.0.0.3:5432";

#[test]
fn clients_that_read_a_list_get_all_servers_and_others_the_one_that_serves() {
    let (database, servers) = (database(), servers());
    let every = "{{ rw.host }} {{ rw.port }} {{ rw.uri }} {{ rw.uri-base }} {{ rw.uri-file }}";
    let keys = keys(&[("ONE", every)]);
    let rendered = |hosts| {
        let facts = Connection {
            hosts,
            ..facts(&database, Some(&keys))
        };
        render(&facts).unwrap()
    };
    let (one, all) = (rendered(None), rendered(Some(&servers)));
    let base = format!("postgresql://tenant_acme_a:s3cretRW@{LIST}/tenant_acme");
    let choice = "target_session_attrs=read-write&connect_timeout=5";
    let uri = format!("{base}?sslmode=require&{choice}");
    assert_eq!(value(&all, "libpq-uri"), uri);
    let jdbc = format!(
        "jdbc:postgresql://{LIST}/tenant_acme?user=tenant_acme_a&password=s3cretRW\
         &sslmode=require&targetServerType=primary"
    );
    assert_eq!(value(&all, "jdbc-url"), jdbc);
    for (key, was) in &one.data {
        let same = all.data[key] == *was;
        assert_eq!(same, key != "jdbc-url", "{key}");
    }
    assert!(
        !one.data.contains_key("libpq-uri"),
        "it would roll everybody"
    );
}

#[test]
fn templates_give_the_list_with_and_without_what_verifies() {
    let (database, servers) = (database(), servers());
    let keys = keys(&[
        ("LIBPQ", "{{ rw.libpq-uri-file }}"),
        ("JDBC", "{{ rw.datasource-url-file }}"),
        ("READS", "{{ ro.libpq-uri }} {{ ro.jdbc-url }}"),
    ]);
    let rendered = |hosts| {
        let facts = Connection {
            hosts,
            ..facts(&database, Some(&keys))
        };
        render(&facts).unwrap()
    };
    let all = rendered(Some(&servers));
    let verified = "sslmode=verify-full&sslrootcert=%2Frun%2Fdb%2Fcertificates";
    let libpq = format!(
        "postgresql://tenant_acme_a:s3cretRW@{LIST}/tenant_acme?{verified}\
         &target_session_attrs=read-write&connect_timeout=5"
    );
    assert_eq!(value(&all, "LIBPQ"), libpq);
    let jdbc = format!("jdbc:postgresql://{LIST}/tenant_acme?{verified}&targetServerType=primary");
    assert_eq!(value(&all, "JDBC"), jdbc);
    // Who only reads is led to one server, and may not choose a standby.
    assert!(!value(&all, "READS").contains(','), "{all:?}");
    // Where there is one server there is nothing to choose.
    let one = rendered(Some(&servers[..1]));
    for text in [
        value(&one, "LIBPQ"),
        value(&one, "JDBC"),
        value(&one, "libpq-uri"),
    ] {
        assert!(!text.contains("target"), "{text}");
    }
    assert_eq!(value(&one, "libpq-uri"), value(&one, "uri"));
    assert_eq!(value(&rendered(None), "LIBPQ"), value(&one, "LIBPQ"));
}

#[test]
fn a_placement_without_keys_gets_the_list_by_default() {
    let (database, servers) = (database(), servers());
    let rendered = render(&Connection {
        hosts: Some(&servers),
        ..facts(&database, None)
    })
    .unwrap();
    for key in ["DATABASE_URL", "DATABASE_URL_EU_WEST"] {
        assert_eq!(value(&rendered, key), value(&rendered, "libpq-uri"));
    }
    assert_eq!(
        value(&rendered, "DATABASE_REPLICA_URL"),
        value(&rendered, "uri-ro")
    );
}
