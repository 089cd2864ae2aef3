//! A password that somebody changed on the server goes through a move as it is.

use domicile_api::conditions::ConditionType;
use domicile_api::meta::ROTATE_AT;
use serde_json::json;

use super::world::{SPACE, World, tenant};

const NAME: &str = "changed";

pub(super) fn place(world: &World) {
    let spec = json!({
        "tenantID": NAME, "region": "eu-west",
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant(NAME, &spec));
    world.await_ready(SPACE, NAME, "True", "Placed");
}

/// What the server keeps of the password of the login that writes.
fn verifier(world: &World, region: &str) -> String {
    let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'tenant_changed_a'";
    world.sql(region, sql)
}

/// Changes it, just before the move. Answers what the server keeps of it from then on.
pub(super) fn change(world: &World) -> String {
    let before = verifier(world, "eu-west");
    world.sql(
        "eu-west",
        "ALTER ROLE tenant_changed_a PASSWORD 'of-somebody-else'",
    );
    let after = verifier(world, "eu-west");
    assert_ne!(before, after);
    after
}

/// The move did not wait for it: the tenant is served by the new primary, and a person is told.
pub(super) fn is_left(world: &World, kept: &str, host: &str) {
    let told = (
        ConditionType::CredentialsCurrent,
        "False",
        "PasswordChangedOutside",
    );
    world.await_condition(SPACE, NAME, told);
    world.await_ready(SPACE, NAME, "False", "PasswordChangedOutside");
    world.await_event(SPACE, NAME, "PasswordChangedOutside");
    world.poke(NAME, "once more");
    world
        .running
        .until("it was looked at again", super::SOON, || {
            let status = world.placement(SPACE, NAME)?.status?;
            (status.active_region.as_deref() == Some("eu-central")).then_some(())
        });
    let data = world.secret("changed-db").unwrap();
    assert_eq!(data["host"], host);
    assert_eq!(verifier(world, "eu-central"), kept);
    // What the message says ends it.
    let asked = json!({ "metadata": { "annotations": { ROTATE_AT: "now" } } });
    world.patch(SPACE, NAME, &asked);
    world.await_ready(SPACE, NAME, "True", "Placed");
    let new = world.secret("changed-db").unwrap();
    assert_ne!(new["username"], data["username"]);
    assert!(world.can_log_in("eu-central", &new));
}

pub(super) fn remove(world: &World) {
    world.delete(SPACE, NAME);
    world.await_gone(SPACE, NAME);
}
