//! A Region whose address was changed by mistake.

use serde_json::json;

use super::world::{EAST, SPACE, WEST, World, region, tenant};

/// Between the change and the next probe nothing has told that another server answers there, one
/// that takes the login; and no tenant has ever moved, so that the epoch fits too.
///
/// Faults: 62.
pub(super) fn an_address_that_leads_to_another_server_makes_nothing_there(world: &World) {
    let spec = json!({
        "tenantID": "fixed", "region": "eu-west",
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("fixed", &spec));
    world.await_ready(SPACE, "fixed", "True", "Placed");
    let (data, there) = (world.secret("fixed-db").unwrap(), databases(world));
    let mut wrong = region("eu-west", "EU", EAST, "us-east-admin");
    wrong["spec"]["databaseServers"][0]["tls"]["caSecretRef"]["name"] = "us-east-ca".into();
    world.apply(&wrong);
    // Woken by the Region's change, and once more.
    world.poke("fixed", "address");
    world.await_ready(SPACE, "fixed", "False", "RegionNotReady");
    assert_eq!(databases(world), there);
    assert_eq!(world.secret("fixed-db").unwrap(), data);
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.await_region("eu-west", "Serving");
    world.await_ready(SPACE, "fixed", "True", "Placed");
    assert_eq!(world.secret("fixed-db").unwrap(), data);
    world.delete(SPACE, "fixed");
    world.await_gone(SPACE, "fixed");
    assert!(!world.database_exists("eu-west", "tenant_fixed"));
}

fn databases(world: &World) -> String {
    world.sql("us-east", "SELECT datname FROM pg_database ORDER BY 1")
}
