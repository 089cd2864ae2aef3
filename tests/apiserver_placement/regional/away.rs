//! A region's cluster that does not answer: for a while, while a placement is deleted, and together
//! with its region.

use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::{OWNER_UID, ROTATE_AT};
use domicile_api::{FailoverPolicy, Region};
use domicile_lab::regions::How;
use kube::Api;
use serde_json::{Value, json};

use super::there::{CLUSTER, There, kubeconfig_secret, region_with};
use super::{CENTRAL, WEST_REGION, arrives};
use crate::injection::injected;
use crate::world::{EAST, SOON, SPACE, WEST, World, deployment, region, tenant};

const UNREACHABLE: (ConditionType, &str, &str) =
    (ConditionType::Injected, "False", "ClusterUnreachable");
/// Long before a call to a server that stands still is given up.
const AT_ONCE: u64 = 8_000;

/// Faults: 35.
pub(crate) fn a_cluster_that_is_down_delays_its_own_part_alone(world: &World, there: &There) {
    world.apply(&region("us-east", "US", EAST, "us-east-admin"));
    world.await_region("us-east", "Serving");
    let before = world.secret("west-db").unwrap();
    there.freeze(true);
    let rotate = json!({ "metadata": { "annotations": { ROTATE_AT: "away" } } });
    world.patch(SPACE, "west", &rotate);
    // More than there are workers: none of them waits for the cluster.
    let crowd: Vec<String> = (0..12).map(|n| format!("apart-{n}")).collect();
    for name in &crowd {
        world.apply(&tenant(name, &injected(name, &json!({}))));
    }
    let clock = &world.running.ctx.clock;
    let begun = clock.mono();
    let spec = json!({ "tenantID": "other", "region": "us-east" });
    world.apply(&tenant("other", &spec));
    world.await_ready(SPACE, "other", "True", "Placed");
    assert!(
        clock.mono().since(begun) < AT_ONCE,
        "it waited for another's cluster"
    );
    world.running.until("the hub has other logins", SOON, || {
        (world.secret("west-db")?["username"] != before["username"]).then_some(())
    });
    for name in &crowd {
        let served = || {
            let status = world.placement(SPACE, name)?.status?;
            let found = find(&status.conditions, ConditionType::CredentialsCurrent)?;
            (found.status == "True").then_some(())
        };
        world
            .running
            .until(&format!("{name} is served"), SOON, served);
    }
    let told = world.await_condition(SPACE, "west", UNREACHABLE);
    assert!(told.contains("the cluster of Region eu-west"), "{told}");
    world.await_ready(SPACE, "west", "True", "ClusterUnreachable");
    world.await_event(SPACE, "west", "ClusterUnreachable");
    there.freeze(false);
    arrives(world, there, "west");
    there.rolled(world, "api");
    for name in crowd.iter().map(String::as_str).chain(["west"]) {
        arrives(world, there, name);
        world.await_ready(SPACE, name, "True", "Placed");
    }
    let made = || crowd.iter().map(String::as_str).chain(["other"]);
    made().for_each(|name| world.delete(SPACE, name));
    made().for_each(|name| world.await_gone(SPACE, name));
    let left = there.names(world);
    assert_eq!(left, ["west-db"], "what was deleted is there");
}

pub(crate) fn a_deletion_takes_back_what_is_there(world: &World, there: &There) {
    world.delete(SPACE, "west");
    world.await_gone(SPACE, "west");
    assert_eq!(there.names(world), [] as [String; 0]);
    let live = there.deployment(world, "api");
    let template = &live["spec"]["template"];
    assert!(
        template["spec"]["containers"][0]["env"].is_null(),
        "{template}"
    );
    assert!(template["metadata"]["annotations"].is_null(), "{template}");
}

/// Faults: 89.
pub(crate) fn a_deletion_does_not_wait_for_a_cluster_for_ever(world: &World, there: &There) {
    world.apply(&tenant("left", &injected("left", &json!({}))));
    arrives(world, there, "left");
    there.apply(&deployment(
        "left",
        &json!({ "tenant": "left" }),
        &json!([]),
    ));
    let env = |world: &World| {
        let live = there.deployment(world, "left");
        live["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    };
    world.running.until("the workload has it", SOON, || {
        (!env(world).is_null()).then_some(())
    });
    there.freeze(true);
    world.delete(SPACE, "left");
    world.await_ready(SPACE, "left", "False", "ClusterUnreachable");
    // The rest of it is done.
    assert_eq!(world.secret("left-db"), None);
    assert!(!world.database_exists(WEST_REGION, "tenant_left"));
    world.await_gone(SPACE, "left");
    world.await_event(SPACE, "left", "OrphanRecorded");
    let listed = || {
        let api: Api<Region> = Api::all(world.running.admin.clone());
        let region = world.running.block_on(api.get(WEST_REGION)).unwrap();
        region.status.unwrap_or_default()
    };
    assert_eq!(listed().orphaned_secrets[0].secret, "left-db");
    world.running.until("the Region says so", SOON, || {
        find(&listed().conditions, ConditionType::CleanupPending).map(drop)
    });
    there.freeze(false);
    world.running.until("nothing is left", SOON, || {
        let status = listed();
        let said = find(&status.conditions, ConditionType::CleanupPending);
        (status.orphaned_secrets.is_empty() && said.is_none()).then_some(())
    });
    world.await_event("default", WEST_REGION, "OrphanCleaned");
    assert_eq!(there.secret(world, "left-db"), None);
    assert!(env(world).is_null());
}

/// The region is cut off with its cluster, and the standby's cluster was never there: the tenant is
/// pointed at its new server all the same.
/// Faults: 89.
pub(crate) fn a_region_that_is_lost_with_its_cluster_holds_up_no_failover(
    world: &World,
    there: &There,
) {
    let kubeconfig = nowhere();
    world.apply(&kubeconfig_secret("central-cluster", &kubeconfig));
    world.apply(&region_with(WEST_REGION, "EU", WEST, CLUSTER));
    world.apply(&region_with("eu-central", "EU", CENTRAL, "central-cluster"));
    world.await_region("eu-central", "Serving");
    world.apply(&tenant("moved", &injected("moved", &json!({}))));
    arrives(world, there, "moved");
    world.apply(&policy());
    // One cluster that is down holds up no other.
    let told = world.await_condition(SPACE, "moved", UNREACHABLE);
    assert!(
        told.contains("Region eu-central") && !told.contains("eu-west"),
        "{told}"
    );
    let policies: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let status = || {
        let policy = world.running.block_on(policies.get("eu")).unwrap();
        policy.status.unwrap_or_default()
    };
    world.running.until("the policy would fail over", SOON, || {
        let status = status();
        let ready = find(&status.conditions, ConditionType::FailoverReady)?;
        (ready.status == "True").then_some(())
    });
    let regions = world.running.lab.regions();
    regions.lose(WEST_REGION, How::Cut).unwrap();
    let clock = &world.running.ctx.clock;
    world.running.until("the standby is promoted", SOON, || {
        (status().state?.as_str() == "Rerouting" || status().active_region? == "eu-central")
            .then_some(())
    });
    let promoted = clock.mono();
    world
        .running
        .until("the tenant is pointed at it", SOON, || {
            let placed = world.placement(SPACE, "moved")?.status?;
            (placed.active_region? == "eu-central").then_some(())
        });
    let took = clock.mono().since(promoted);
    assert!(took < AT_ONCE, "it took {took} ms");
    world.running.until("the move has ended", SOON, || {
        (status().state?.as_str() == "Steady").then_some(())
    });
    assert_eq!(world.secret("moved-db").unwrap()["host"], CENTRAL);
    world.await_ready(SPACE, "moved", "True", "ClusterUnreachable");
    world.running.until("both clusters are awaited", SOON, || {
        let told = world.await_condition(SPACE, "moved", UNREACHABLE);
        (told.contains("Region eu-central") && told.contains("Region eu-west")).then_some(())
    });
    regions.restore(WEST_REGION).unwrap();
    arrives(world, there, "moved");
    assert_eq!(there.secret(world, "moved-db").unwrap()["host"], CENTRAL);
    let owner = world.running.block_on(there.secrets().get("moved-db"));
    let owner = owner.unwrap().metadata.annotations.unwrap();
    let uid = world.placement(SPACE, "moved").unwrap().metadata.uid;
    assert_eq!(Some(&owner[OWNER_UID]), uid.as_ref());
}

/// A kubeconfig of an address where nothing listens.
fn nowhere() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": { "server": format!("https://{CENTRAL}:1") } }],
        "users": [{ "name": "lab", "user": { "token": "none" } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
    })
    .to_string()
}

pub(super) fn policy() -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "eu" },
        "spec": {
            "primary": { "region": WEST_REGION, "server": "main" },
            "standbys": [{ "region": "eu-central", "server": "main" }],
            "mode": "Automatic",
            "detection": { "intervalSeconds": 1, "timeoutSeconds": 1 },
            "objectives": { "heartbeatSeconds": 1 },
            "switchover": { "drainSeconds": 1, "maxFreezeSeconds": 30 },
            "failback": { "stableSeconds": 2, "maxStableSeconds": 60 },
        },
    })
}
