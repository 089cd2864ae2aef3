//! A Secret that names several servers: clients find the one that takes writes, wherever it stands
//! in the list, and what each does with one that is fenced and answers (ADR 35).

use std::collections::BTreeMap;

use domicile_core::replica::Address;

use crate::programs::Client;
use crate::secret::Way;
use crate::world::{Outcome, World, address};

/// The clients that read a list.
const READERS: [Client; 4] = [
    Client::Libpq,
    Client::Pgx,
    Client::Jdbc,
    Client::JdbcBinding,
];

const FOUND: &str = "acme_a acme";

/// Keys for all of them: what they give verifies the server that is found. The key of Service
/// Binding does not.
fn keys() -> BTreeMap<String, String> {
    let keys = [
        ("DATABASE_URL", "{{ rw.libpq-uri-file }}"),
        ("JDBC_URL", "{{ rw.datasource-url-file }}"),
        ("JDBC_USER", "{{ rw.username }}"),
        ("JDBC_PASSWORD", "{{ rw.password }}"),
    ];
    keys.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// An address at which nobody listens.
fn nobody() -> Address {
    Address {
        host: "127.0.0.1".to_owned(),
        port: 1,
    }
}

#[test]
fn clients_find_the_server_that_takes_writes_wherever_it_stands_in_the_list() {
    let (world, keys) = (World::new(), keys());
    let standby = world.standby();
    let (primary, second) = (world.address(), address(&standby));
    let given = (Way::Files, &keys);
    let found = Outcome::LoggedIn(FOUND.to_owned());
    for client in READERS {
        let among = |hosts: &[Address]| world.among(client, given, hosts, world.ca_pem());
        let behind = [nobody(), second.clone(), primary.clone()];
        assert_eq!(among(&behind), found, "{client:?}");
        assert_eq!(among(&[primary.clone(), nobody()]), found, "{client:?}");
        // It did not take the standby, which lets it in.
        let without = among(&[second.clone(), nobody()]);
        assert!(matches!(without, Outcome::Refused(_)), "{client:?}");
    }
    // A server that falls silent, as one behind a cut line: nobody waits for it for ever.
    standby.freeze();
    for client in READERS {
        let hosts = [second.clone(), primary.clone()];
        let said = world.among(client, given, &hosts, world.ca_pem());
        assert_eq!(said, found, "{client:?}");
    }
    standby.thaw();
}

/// Why the one that serves comes first: libpq ends its search at a server that refuses the login.
#[test]
fn a_fenced_server_that_answers_ends_the_search_of_libpq_alone() {
    let (world, former, keys) = (World::new(), World::new(), keys());
    former.fence();
    let (primary, fenced) = (world.address(), former.address());
    let trusted = format!("{}{}", world.ca_pem(), former.ca_pem());
    let found = Outcome::LoggedIn(FOUND.to_owned());
    for client in READERS {
        let among = |hosts: &[Address]| world.among(client, (Way::Files, &keys), hosts, &trusted);
        assert_eq!(
            among(&[primary.clone(), fenced.clone()]),
            found,
            "{client:?}"
        );
        let before = among(&[fenced.clone(), primary.clone()]);
        if client == Client::Libpq {
            let Outcome::Refused(said) = before else {
                panic!("libpq passes over it: the order need not follow moves any more");
            };
            assert!(said.contains("is not permitted to log in"), "{said}");
        } else {
            assert_eq!(before, found, "{client:?}");
        }
    }
}

/// lib/pq takes a host and its port for one name.
#[test]
fn node_and_lib_pq_read_no_list() {
    let world = World::new();
    let keys = BTreeMap::from([("DATABASE_URL".to_owned(), "{{ rw.libpq-uri }}".to_owned())]);
    let hosts = [world.address(), nobody()];
    for (client, fact) in [
        (Client::Node, "ERR_INVALID_URL"),
        (Client::Pq, "no such host"),
    ] {
        let given = (Way::Variables, &keys);
        let said = world.among(client, given, &hosts, world.ca_pem());
        let Outcome::Refused(said) = said else {
            panic!("{client:?}: {said:?}");
        };
        assert!(said.contains(fact), "{client:?}: {said}");
    }
}
