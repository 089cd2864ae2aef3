//! Real clients of each stack log in to a real server with what the Secret holds, and nothing else:
//! as variables, as files, or both. What claims to verify the server refuses a wrong one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

#[path = "clients/hosts.rs"]
mod hosts;
#[path = "clients/programs.rs"]
mod programs;
#[path = "clients/secret.rs"]
mod secret;
#[path = "clients/world.rs"]
mod world;

use programs::Client;
use secret::{Way, example};
use world::Ca::{Other, Own};
use world::World;

#[test]
fn libpq_logs_in() {
    let world = World::new();
    let files = example("files");
    world.verifies(Client::Libpq, Way::Files, &files);
    let variables = example("libpq");
    world.verifies(Client::LibpqVariables, Way::VariablesAndFiles, &variables);
    // Without keys: DATABASE_URL encrypts and does not verify.
    world.logs_in(Client::Libpq, Way::Variables, None);
}

#[test]
fn node_logs_in() {
    let world = World::new();
    world.verifies(Client::Node, Way::Variables, &example("node"));
    world.verifies(Client::Node, Way::Files, &example("files"));
    // To pg `require` means `verify-full`, against the authorities that it brings along.
    let said = world.is_refused(Client::Node, Way::Variables, None);
    assert!(said.contains("SELF_SIGNED_CERT_IN_CHAIN"), "{said}");
}

#[test]
fn go_logs_in() {
    let world = World::new();
    for client in [Client::Pgx, Client::Pq] {
        world.verifies(client, Way::Variables, &example("go"));
        world.verifies(client, Way::Files, &example("files"));
        world.logs_in(client, Way::Variables, None);
    }
}

#[test]
fn jdbc_logs_in() {
    let world = World::new();
    world.verifies(Client::Jdbc, Way::Variables, &example("jdbc"));
    world.verifies(Client::Jdbc, Way::Files, &example("files"));
    // The key of Service Binding encrypts and does not verify.
    world.logs_in(Client::JdbcBinding, Way::Files, None);
}

#[test]
fn spring_logs_in() {
    let world = World::new();
    world.verifies(Client::Spring, Way::Variables, &example("spring"));
    world.verifies(Client::Spring, Way::Files, &example("files"));
    // By spring-cloud-bindings, which takes the key `jdbc-url` and so does not verify.
    world.logs_in(Client::Spring, Way::Binding, None);
}

#[test]
fn while_an_authority_changes_all_trust_both_but_the_url_of_java() {
    let world = World::new();
    let (files, jdbc) = (example("files"), example("jdbc"));
    for client in [
        Client::Libpq,
        Client::Node,
        Client::Pgx,
        Client::Pq,
        Client::Jdbc,
    ] {
        assert!(world.trusts(client, Way::Files, &files, &[Other, Own]));
    }
    for (client, name) in [
        (Client::Node, "node"),
        (Client::Pgx, "go"),
        (Client::Pq, "go"),
    ] {
        assert!(world.trusts(client, Way::Variables, &example(name), &[Other, Own]));
    }
    assert!(world.trusts(Client::Jdbc, Way::Variables, &jdbc, &[Own, Other]));
    assert!(!world.trusts(Client::Jdbc, Way::Variables, &jdbc, &[Other, Own]));
}

/// The manual shows what is tested.
#[test]
fn the_readme_shows_the_keys_of_an_example() {
    let shown = secret::text("README.md");
    let example = secret::text("examples/drivers/50-keys.yaml");
    let (_, keys) = example.split_once("spec:\n  tenantID: spring\n").unwrap();
    let (_, keys) = keys.split_once("  connection:\n").unwrap();
    let (keys, _) = keys.split_once("  injection:\n").unwrap();
    let wanted = format!("spec:\n  connection:\n{keys}```\n");
    assert!(shown.contains(&wanted), "README.md lacks:\n{wanted}");
}
