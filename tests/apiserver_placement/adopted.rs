//! A database that an application has had all along becomes a tenant's.

use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::MAKE_DATABASE_UNTIL;
use jiff::SignedDuration;
use serde_json::json;

use crate::refused::drop_placement;
use crate::world::{SOON, SPACE, World, tenant};

/// A wrong name, or a server on which the database is not: an empty one would hide that.
pub(super) fn nothing_is_made_where_there_is_nothing_to_adopt(world: &World) {
    let spec = json!({
        "tenantID": "nobody", "region": "eu-west", "adoption": { "policy": "Adopt" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("nobody", &spec));
    let absent = (ConditionType::DatabaseReady, "False", "NothingToAdopt");
    let told = world.await_condition(SPACE, "nobody", absent);
    for part in [
        "no database tenant_nobody on eu-west/main to adopt",
        "`spec.database.name`",
        "`spec.adoption.policy` to Never",
    ] {
        assert!(told.contains(part), "{told}");
    }
    world.await_ready(SPACE, "nobody", "False", "NothingToAdopt");
    world.await_event(SPACE, "nobody", "NothingToAdopt");
    assert!(!world.database_exists("eu-west", "tenant_nobody"));
    assert_eq!(world.roles("eu-west", "tenant_nobody"), "0");
    assert_eq!(world.secret("nobody-db"), None);
    let anew = json!({ "spec": { "adoption": { "policy": "Never" } } });
    world.patch(SPACE, "nobody", &anew);
    world.await_ready(SPACE, "nobody", "True", "Placed");
    // Dropped by somebody, it is not made again where it may have held what was there before.
    let adopts = json!({ "spec": { "adoption": { "policy": "Adopt" } } });
    world.patch(SPACE, "nobody", &adopts);
    world.await_ready(SPACE, "nobody", "True", "Placed");
    world.sql("eu-west", "DROP DATABASE tenant_nobody WITH (FORCE)");
    world.poke("nobody", "dropped");
    let missing = (ConditionType::DatabaseReady, "False", "DatabaseMissing");
    let told = world.await_condition(SPACE, "nobody", missing);
    assert!(told.contains("which this placement had, is gone"), "{told}");
    assert!(told.contains(MAKE_DATABASE_UNTIL), "{told}");
    world.patch(SPACE, "nobody", &anew);
    world.poke("nobody", "never");
    let generation = world
        .placement(SPACE, "nobody")
        .unwrap()
        .metadata
        .generation;
    world
        .running
        .until("the same is told under Never", SOON, || {
            let status = world.placement(SPACE, "nobody")?.status?;
            let ready = find(&status.conditions, ConditionType::DatabaseReady)?;
            let same = ready.reason == "DatabaseMissing";
            (same && ready.observed_generation == generation).then_some(())
        });
    assert!(!world.database_exists("eu-west", "tenant_nobody"));
    // A person may begin with an empty one.
    let until = world.running.ctx.clock.now().wall + SignedDuration::from_hours(1);
    let asked = json!({ "metadata": { "annotations": { MAKE_DATABASE_UNTIL: until.to_string() }}});
    world.patch(SPACE, "nobody", &asked);
    world.await_ready(SPACE, "nobody", "True", "Placed");
    assert!(world.can_log_in("eu-west", &world.secret("nobody-db").unwrap()));
    drop_placement(world, "nobody");
    assert_eq!(world.roles("eu-west", "tenant_nobody"), "0");
}

/// Each statement that the condition asks for is run as it stands there.
pub(super) fn a_database_of_others_is_taken_over_once_an_administrator_agreed(world: &World) {
    for sql in [
        "CREATE ROLE tenant_elder LOGIN",
        "CREATE DATABASE tenant_elder OWNER tenant_elder CONNECTION LIMIT 33",
    ] {
        world.sql("eu-west", sql);
    }
    let spec = json!({
        "tenantID": "elder", "region": "eu-west", "adoption": { "policy": "Adopt" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("elder", &spec));
    let waits = (ConditionType::DatabaseReady, "False", "AdoptionWaits");
    let told = world.await_condition(SPACE, "elder", waits);
    world.await_event(SPACE, "elder", "AdoptionWaits");
    assert_eq!(world.secret("elder-db"), None);
    assert_eq!(world.roles("eu-west", "tenant_elder"), "1");
    for statement in [
        format!("COMMENT ON ROLE \"tenant_elder\" IS 'domicile-adopt:{SPACE}/elder'"),
        "REVOKE CONNECT ON DATABASE \"tenant_elder\" FROM PUBLIC".to_owned(),
    ] {
        assert!(told.contains(&statement), "{told}");
        world.sql("eu-west", &statement);
    }
    world.poke("elder", "agreed");
    world.await_ready(SPACE, "elder", "True", "Placed");
    world.await_event(SPACE, "elder", "Adopted");
    assert!(world.can_log_in("eu-west", &world.secret("elder-db").unwrap()));
    let kept = (ConditionType::Drifted, "True", "DriftLeft");
    let told = world.await_condition(SPACE, "elder", kept);
    for fact in [
        "has connection limit 33",
        "ALTER ROLE \"tenant_elder\" NOLOGIN",
    ] {
        assert!(told.contains(fact), "{told}");
    }
    let attributes = "SELECT datconnlimit, rolcanlogin FROM pg_database \
                      JOIN pg_roles r ON r.oid = datdba WHERE datname = 'tenant_elder'";
    assert_eq!(world.sql("eu-west", attributes), "33|t");
    drop_placement(world, "elder");
    assert!(!world.database_exists("eu-west", "tenant_elder"));
    assert_eq!(world.roles("eu-west", "tenant_elder"), "0");
}
