//! Regions that are not, or not yet, there for new tenants.

use domicile_api::conditions::ConditionType;
use serde_json::{Value, json};

use super::world::{SPACE, WEST, World, region, tenant};

pub(super) fn a_region_takes_tenants_while_it_is_active(world: &World) {
    let bare = |state: &str| of("eu-next", state, &json!([]));
    world.apply(&bare("Planned"));
    world.await_region("eu-next", "RegionPlanned");
    world.apply(&tenant("next-1", &dropped("next-1", "eu-next")));
    world.await_ready(SPACE, "next-1", "False", "RegionPlanned");
    world.await_event(SPACE, "next-1", "RegionPlanned");

    let mut next = region("eu-next", "EU", WEST, "eu-west-admin");
    let mut servers = next["spec"]["databaseServers"].take();
    servers[0]["tls"]["caSecretRef"]["name"] = "eu-west-ca".into();
    world.apply(&of("eu-next", "Active", &servers));
    world.await_ready(SPACE, "next-1", "True", "Placed");
    let home = (ConditionType::ResidencyEffective, "True", "HeldAtHome");
    world.await_condition(SPACE, "next-1", home);

    put(world, "Draining", &servers);
    world.apply(&tenant("next-2", &dropped("next-2", "eu-next")));
    world.await_ready(SPACE, "next-2", "False", "RegionDraining");
    world.poke("next-1", "draining");
    world.await_ready(SPACE, "next-1", "True", "Placed");
    assert!(world.can_log_in("eu-west", &world.secret("next-1-db").unwrap()));
    put(world, "Suspended", &servers);
    world.await_ready(SPACE, "next-2", "False", "RegionSuspended");
    world.poke("next-1", "suspended");
    world.await_ready(SPACE, "next-1", "True", "Placed");
    for name in ["next-1", "next-2"] {
        world.delete(SPACE, name);
        world.await_gone(SPACE, name);
    }
    super::refused::remove_region(world, "eu-next");
}

/// Gives the region a state, and waits until the operator has seen it.
fn put(world: &World, state: &str, servers: &Value) {
    world.apply(&of("eu-next", state, servers));
    world.running.until(state, super::SOON, || {
        let seen = world.running.ctx.stores.regions.get("eu-next")?;
        (seen.spec.state.as_str() == state).then_some(())
    });
}

pub(super) fn another_region_holds_the_tenants_of_one_without_servers(world: &World) {
    let mut paper = of("eu-paper", "MetadataOnly", &json!([]));
    paper["spec"]["servedBy"] = "us-east".into();
    world.apply(&paper);
    world.await_region("eu-paper", "MetadataOnly");
    world.apply(&tenant("paper", &dropped("paper", "eu-paper")));
    world.await_ready(SPACE, "paper", "False", "WouldLeaveJurisdiction");
    assert!(!world.database_exists("us-east", "tenant_paper"));

    paper["spec"]["servedBy"] = "eu-west".into();
    world.apply(&paper);
    world.await_ready(SPACE, "paper", "True", "Placed");
    let held = (ConditionType::ResidencyEffective, "False", "MetadataOnly");
    let told = world.await_condition(SPACE, "paper", held);
    assert!(
        told.contains("the servers of eu-west, in EU, hold the tenant"),
        "{told}"
    );
    world.await_event(SPACE, "paper", "MetadataOnly");
    let words = || {
        let status = world.placement(SPACE, "paper").unwrap().status.unwrap();
        (status.home_region, status.served_by, status.active_region)
    };
    let some = |name: &str| Some(name.to_owned());
    let recorded = (some("eu-paper"), some("eu-west"), some("eu-west"));
    assert_eq!(words(), recorded);
    let data = world.secret("paper-db").unwrap();
    assert_eq!(
        (data["host"].as_str(), data["DATABASE_REGION"].as_str()),
        (WEST, "EU_PAPER")
    );

    // Whatever becomes of the region, the tenant's data is where it is.
    world.apply(&of("eu-paper", "Planned", &json!([])));
    world
        .running
        .until("the new state is told", super::SOON, || {
            let told = world.await_condition(SPACE, "paper", held);
            told.contains("is Planned now").then_some(())
        });
    world.await_ready(SPACE, "paper", "True", "Placed");
    assert_eq!(words(), recorded);
    assert_eq!(world.secret("paper-db").unwrap(), data);
    world.delete(SPACE, "paper");
    world.await_gone(SPACE, "paper");
    assert!(!world.database_exists("eu-west", "tenant_paper"));
    super::refused::remove_region(world, "eu-paper");
}

fn of(name: &str, state: &str, servers: &Value) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": { "name": name },
        "spec": {
            "key": name.to_uppercase().replace('-', "_"), "jurisdiction": "EU",
            "state": state, "databaseServers": servers,
        },
    })
}

fn dropped(id: &str, home: &str) -> Value {
    json!({
        "tenantID": id, "region": home, "reclaimPolicy": "Delete", "deletionProtection": false,
    })
}
