//! A Secret that is deleted: what its readers have in memory goes on, as there are other logins.

use std::collections::BTreeMap;

use domicile_api::conditions::ConditionType;
use kube::api::DeleteParams;

use super::rotation::{close_those_before, known_now};
use super::world::{SOON, SPACE, World};

/// Faults: 43, 85.
pub(super) fn a_deleted_secret_comes_back_and_no_login_fails(world: &World) {
    close_those_before(world);
    let generation = known_now(world).generation;
    let first = world.secret("acme-db").unwrap();
    let second = comes_back(world, "deleted");
    assert_ne!(first["username"], second["username"]);
    assert_ne!(first["password"], second["password"]);
    // Before it was published, and who knows the ones before goes on.
    assert!(world.can_log_in("eu-west", &second));
    assert!(world.can_log_in("eu-west", &first));
    world.await_event(SPACE, "acme", "CredentialsRotated");
    world.running.until("the generation grows", SOON, || {
        let known = known_now(world);
        (known.generation == generation + 1 && known.retiring_role.is_some()).then_some(())
    });
    // There is no third pair: the one that is still open was promised to stay so.
    let third = comes_back(world, "deleted again");
    assert_eq!(third["username"], second["username"]);
    world.running.until("the new password works", SOON, || {
        world.can_log_in("eu-west", &third).then_some(())
    });
    assert!(!world.can_log_in("eu-west", &second));
    assert!(world.can_log_in("eu-west", &first));
    close_those_before(world);
    assert!(!world.can_log_in("eu-west", &first));
    assert!(world.can_log_in("eu-west", &third));
    let complete = (ConditionType::Injected, "True", "InjectionComplete");
    world.await_condition(SPACE, "acme", complete);
}

/// Deletes the Secret. Answers what the next one holds.
fn comes_back(world: &World, token: &str) -> BTreeMap<String, String> {
    let api = world.secrets();
    let _ = world
        .running
        .block_on(api.delete("acme-db", &DeleteParams::default()))
        .unwrap();
    world.poke("acme", token);
    let back = || world.secret("acme-db");
    world.running.until("another Secret", SOON, back)
}
