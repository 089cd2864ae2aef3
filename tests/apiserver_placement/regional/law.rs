//! A region abroad whose cluster may not hold the Secret.

use std::time::Duration;

use domicile_api::FailoverPolicy;
use domicile_api::conditions::ConditionType;
use domicile_api::placement_status::CopyKind;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::there::{CLUSTER, There, region_with};
use crate::world::{EAST, SOON, SPACE, WEST, World, region, tenant};

const ABROAD: &str = "us-east";

/// The second API server is the cluster of `us-east` here, a standby of a policy.
pub(crate) fn a_cluster_outside_the_law_is_never_reached(world: &World, there: &There) {
    let law = |laws: &Value| {
        let spec = json!({
            "tenantID": "lawful", "region": "eu-west", "reclaimPolicy": "Delete",
            "deletionProtection": false, "allowedJurisdictions": laws,
        });
        world.apply(&tenant("lawful", &spec));
    };
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    law(&json!(["EU"]));
    world.await_ready(SPACE, "lawful", "True", "Placed");
    world.apply(&region_with(ABROAD, "US", EAST, CLUSTER));
    world.await_region(ABROAD, "Serving");
    let before = there.requests();
    world.apply(&policy());
    let outside = "WouldLeaveJurisdiction";
    let refused = (ConditionType::ResidencyCompliant, "False", outside);
    let told = world.await_condition(SPACE, "lawful", refused);
    assert!(
        told.contains("the clusters of us-east get no Secret"),
        "{told}"
    );
    world.await_event(SPACE, "lawful", outside);
    for round in 0..3 {
        world.poke("lawful", &format!("abroad {round}"));
        let pause = world.running.ctx.clock.sleep(Duration::from_secs(1));
        world.running.block_on(pause);
    }
    assert_eq!(
        there.requests(),
        before,
        "the cluster abroad was asked something"
    );
    assert!(!there.names(world).contains(&"lawful-db".to_owned()));
    // Where the law allows it the Secret comes, and where it no longer does, it goes.
    law(&json!(["EU", "US"]));
    world.running.until("the Secret comes", SOON, || {
        there.secret(world, "lawful-db").map(drop)
    });
    law(&json!(["EU"]));
    world.running.until("the Secret goes", SOON, || {
        there.secret(world, "lawful-db").is_none().then_some(())
    });
    world.running.until("it is listed no more", SOON, || {
        let status = world.placement(SPACE, "lawful")?.status?;
        let mut copies = status.copies.iter();
        (!copies.any(|copy| copy.kind == CopyKind::Secret)).then_some(())
    });
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let parameters = DeleteParams::default();
    let removed = api.delete("abroad", &parameters);
    let _ = world.running.block_on(removed).unwrap();
    world.delete(SPACE, "lawful");
    world.await_gone(SPACE, "lawful");
}

fn policy() -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "abroad" },
        "spec": {
            "primary": { "region": "eu-west", "server": "main" },
            "standbys": [{ "region": ABROAD, "server": "main" }],
            "mode": "Manual",
        },
    })
}
