use super::*;

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let database = database();
    let rendered = render(&Connection {
        host: "fd00::1",
        ..facts(&database, None)
    })
    .unwrap();
    assert!(value(&rendered, "uri").contains("@[fd00::1]:5432/"));
    assert_eq!(value(&rendered, "host"), "fd00::1");
}

fn replica() -> Address {
    Address {
        host: "pg-ro.example.net".to_owned(),
        port: 5433,
    }
}

#[test]
fn the_reading_keys_alone_lead_to_the_replica() {
    let (database, replica) = (database(), replica());
    let every = "{{ ro.host }} {{ ro.port }} {{ ro.uri }} {{ ro.jdbc-url }} {{ ro.uri-base }}";
    let keys = keys(&[("RO", every), ("RW", "{{ rw.host }} {{ rw.uri }}")]);
    let here = facts(&database, Some(&keys));
    let (there, here) = (
        render(&Connection {
            reads: Some(&replica),
            ..facts(&database, Some(&keys))
        })
        .unwrap(),
        render(&here).unwrap(),
    );
    assert_eq!(value(&there, "host-ro"), "pg-ro.example.net");
    assert_eq!(value(&there, "port-ro"), "5433");
    let (at, database) = ("pg-ro.example.net:5433", "tenant_acme");
    let base = format!("postgresql://tenant_acme_ro_a:s3cretRO@{at}/{database}");
    let jdbc = format!(
        "jdbc:postgresql://{at}/{database}?user=tenant_acme_ro_a&password=s3cretRO&sslmode=require"
    );
    let uri = format!("{base}?sslmode=require");
    assert_eq!(value(&there, "uri-ro"), uri);
    let expected = format!("pg-ro.example.net 5433 {uri} {jdbc} {base}");
    assert_eq!(value(&there, "RO"), expected);
    let reading = ["host-ro", "port-ro", "uri-ro", "RO"];
    for (key, was) in &here.data {
        let same = there.data[key] == *was;
        assert_eq!(same, !reading.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn what_every_placement_has_leads_to_the_server_though_it_reads_only() {
    let (database, replica) = (database(), replica());
    let rendered = render(&Connection {
        read_write: None,
        reads: Some(&replica),
        ..facts(&database, None)
    })
    .unwrap();
    assert_eq!(value(&rendered, "host"), "pg.example.net");
    assert!(value(&rendered, "uri").contains("@pg.example.net:5432/"));
    assert!(value(&rendered, "DATABASE_REPLICA_URL").contains("@pg-ro.example.net:5433/"));
}
