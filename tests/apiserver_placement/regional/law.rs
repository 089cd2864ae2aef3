//! A region abroad whose cluster may not hold the Secret.

use std::time::Duration;

use domicile_api::FailoverPolicy;
use domicile_api::conditions::ConditionType;
use domicile_api::placement_status::{CopyKind, DataCopy};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::there::{CLUSTER, There, region_with};
use super::{arrives, away};
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

/// After a failover, and its policy is gone: only a policy tells who serves.
pub(crate) fn a_law_that_is_narrowed_then_is_answered_for(world: &World, there: &There) {
    let law = |laws: &Value| {
        let spec = json!({ "spec": { "allowedJurisdictions": laws } });
        world.patch(SPACE, "moved", &spec);
    };
    let compliant = |status, reason| {
        let wanted = (ConditionType::ResidencyCompliant, status, reason);
        world.await_condition(SPACE, "moved", wanted)
    };
    let hub = world.secret("moved-db").unwrap();
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let parameters = DeleteParams::default();
    let removed = api.delete("eu", &parameters);
    let _ = world.running.block_on(removed).unwrap();
    world.await_ready(SPACE, "moved", "False", "PolicyNotFound");
    let alone = (ConditionType::FailoverProtected, "False", "NoPolicy");
    world.await_condition(SPACE, "moved", alone);
    // What the law allows stays where it is.
    law(&json!(["EU", "US"]));
    compliant("True", "WithinJurisdiction");
    let pause = world.running.ctx.clock.sleep(Duration::from_secs(2));
    world.running.block_on(pause);
    assert_eq!(there.secret(world, "moved-db").as_ref(), Some(&hub));

    law(&json!(["US"]));
    let told = compliant("False", "WouldLeaveJurisdiction");
    assert!(told.contains("the primary in eu-central"), "{told}");
    let kept = (ConditionType::Ready, "False", "PolicyNotFound");
    world.await_condition(SPACE, "moved", kept);
    world.running.until("the Secret goes", SOON, || {
        there.secret(world, "moved-db").is_none().then_some(())
    });
    let copies = || {
        let status = world.placement(SPACE, "moved").unwrap().status.unwrap();
        assert!(status.copies.iter().all(|copy| !copy.compliant));
        status.copies
    };
    world.running.until("it is listed no more", SOON, || {
        let secret = |copy: &DataCopy| copy.kind == CopyKind::Secret && copy.region == "eu-west";
        (!copies().iter().any(secret)).then_some(())
    });
    let primary = |copy: &DataCopy| copy.kind == CopyKind::Primary && copy.region == "eu-central";
    assert!(copies().iter().any(primary));
    // Neither what is in the hub nor the data is touched.
    assert_eq!(world.secret("moved-db").unwrap(), hub);
    assert!(world.can_log_in("eu-central", &hub));
    law(&Value::Null);
    compliant("True", "WithinJurisdiction");
    world.apply(&away::policy());
    arrives(world, there, "moved");
    world.await_ready(SPACE, "moved", "True", "ClusterUnreachable");
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
