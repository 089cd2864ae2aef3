//! A database that an application has had all along becomes a tenant's.

use domicile_api::conditions::ConditionType;
use serde_json::json;

use crate::refused::drop_placement;
use crate::world::{SPACE, World, tenant};

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
