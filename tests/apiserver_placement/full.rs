//! A tenant that uses all the connections that it may is served.

use domicile_api::conditions::{ConditionType, find};
use secrecy::SecretString;
use serde_json::json;

use super::refused::drop_placement;
use super::world::{SOON, SPACE, World, tenant};

const HELD: &str = "SELECT pg_sleep(300)";

pub(super) fn a_tenant_that_uses_all_its_connections_stays_ready(world: &World) {
    let spec = json!({
        "tenantID": "full", "region": "eu-west",
        "roles": [{ "name": "rw", "privileges": "ReadWrite", "connectionLimit": 1 }],
    });
    world.apply(&tenant("full", &spec));
    world.await_ready(SPACE, "full", "True", "Placed");
    let data = world.secret("full-db").unwrap();
    // Its client gives up, and its session stays.
    let server = world.running.lab.regions().server("eu-west").unwrap();
    let password = SecretString::from(data["password"].clone());
    let gone = server.login_sql(&data["username"], &password, &data["database"], HELD);
    assert!(gone.is_err(), "it was to be cut off by its own limit");
    assert!(!world.can_log_in("eu-west", &data), "the limit is one");

    // A look, and what comes after it: another name for the Secret.
    let renamed = json!({ "spec": { "connection": { "secretName": "full-two" } } });
    world.patch(SPACE, "full", &renamed);
    let looked = || {
        let placement = world.placement(SPACE, "full")?;
        let conditions = placement.status?.conditions;
        let ready = find(&conditions, ConditionType::Ready)?;
        let now = ready.observed_generation == placement.metadata.generation;
        (now && world.secret("full-two").is_some()).then(|| ready.reason.clone())
    };
    let reason = world
        .running
        .until("the Secret has its new name", SOON, looked);
    assert_eq!(reason, "Placed");
    let held = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE usename LIKE 'tenant_full%' AND query = 'SELECT pg_sleep(300)'";
    assert_eq!(
        world.sql("eu-west", held),
        "t",
        "one session was held all the time"
    );
    drop_placement(world, "full");
}
