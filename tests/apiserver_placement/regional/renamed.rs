//! A Secret whose name changes in the spec, in the cluster of a region.

use domicile_api::Region;
use domicile_api::conditions::ConditionType;
use kube::Api;
use serde_json::{Value, json};

use super::there::There;
use super::{WEST_REGION, arrives};
use crate::injection::{COMPLETE, injected};
use crate::renamed::{await_none_left, former, rename};
use crate::world::{SOON, SPACE, World, deployment, tenant};

const NAME: &str = "calls";

/// Faults: 35.
pub(crate) fn a_cluster_that_is_down_keeps_the_name_before_alone(world: &World, there: &There) {
    let labels = json!({ "tenant": NAME });
    there.apply(&deployment(NAME, &labels, &json!([])));
    world.apply(&tenant(NAME, &spec("calls-db")));
    arrives(world, there, NAME);
    carries(world, there, "calls-db");
    there.rolled(world, NAME);
    world.await_condition(SPACE, NAME, COMPLETE);
    there.freeze(true);
    rename(world, NAME, "other-db");
    // Nobody in the hub reads it.
    world.running.until("the hub is clean", SOON, || {
        let turned = world.secret("other-db").is_some() && world.secret("calls-db").is_none();
        turned.then_some(())
    });
    world.await_ready(SPACE, NAME, "True", "ClusterUnreachable");
    assert_eq!(former(world, NAME), ["calls-db@eu-west"]);
    there.freeze(false);
    carries(world, there, "other-db");
    // Its pods have the one before until they have rolled.
    world.poke(NAME, "still there");
    let rolling = (ConditionType::Injected, "False", "RollingOut");
    world.await_condition(SPACE, NAME, rolling);
    assert!(there.secret(world, "calls-db").is_some());
    assert_eq!(former(world, NAME), ["calls-db@eu-west"]);
    there.rolled(world, NAME);
    world.running.until("the one before goes", SOON, || {
        there.secret(world, "calls-db").is_none().then_some(())
    });
    await_none_left(world, NAME);
    world.await_event(SPACE, NAME, "FormerSecretDeleted");
    assert_eq!(there.secret(world, "other-db"), world.secret("other-db"));
    what_is_left_of_a_deletion_has_every_name(world, there);
}

/// Both are there when the cluster falls silent and the placement is deleted.
fn what_is_left_of_a_deletion_has_every_name(world: &World, there: &There) {
    rename(world, NAME, "last-db");
    carries(world, there, "last-db");
    assert!(there.secret(world, "other-db").is_some());
    there.freeze(true);
    world.delete(SPACE, NAME);
    world.await_gone(SPACE, NAME);
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let listed = || {
        let region = world.running.block_on(api.get(WEST_REGION)).unwrap();
        region.status.unwrap_or_default().orphaned_secrets
    };
    let left = &listed()[0];
    assert_eq!(left.secret, "last-db");
    assert_eq!(left.former_secrets, ["other-db"]);
    there.freeze(false);
    world.running.until("nothing is listed", SOON, || {
        listed().is_empty().then_some(())
    });
    for name in ["calls-db", "other-db", "last-db"] {
        assert_eq!(there.secret(world, name), None, "{name}");
    }
}

fn spec(secret: &str) -> Value {
    let mut spec = injected(NAME, &json!({}));
    spec["connection"] = json!({ "secretName": secret });
    spec["credentials"] = json!({ "rotation": { "overlapSeconds": 0 } });
    spec
}

/// Waits until the workload there names this Secret.
fn carries(world: &World, there: &There, secret: &str) {
    world.running.until(&format!("it has {secret}"), SOON, || {
        let live = there.deployment(world, NAME);
        let env = live["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let name = |one: &Value| one["valueFrom"]["secretKeyRef"]["name"] == secret;
        env.as_array()?.iter().all(name).then_some(())
    });
}
