//! The clusters of regions get the Secret and what is injected, beside the hub: a second real API
//! server is such a cluster.

#[path = "regional/away.rs"]
mod away;
#[path = "regional/law.rs"]
mod law;
#[path = "regional/left.rs"]
mod left;
#[path = "regional/renamed.rs"]
mod renamed;
#[path = "regional/service.rs"]
mod service;
#[path = "regional/there.rs"]
mod there;

use std::time::Duration;

use domicile_api::conditions::ConditionType;
use domicile_api::meta::{REGION, SECRET_HASH};
use domicile_api::placement_status::CopyKind;
use domicile_lab::cluster::hub_kubeconfig;
use domicile_tests::operator::NAMESPACE;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::clients::{service, services};
use super::injection::{COMPLETE, injected};
use super::world::{SOON, SPACE, WEST, World, deployment, tenant};
use there::{kubeconfig_secret, region_with};

pub(super) use away::{
    a_cluster_that_is_down_delays_its_own_part_alone,
    a_deletion_does_not_wait_for_a_cluster_for_ever, a_deletion_takes_back_what_is_there,
    a_region_that_is_lost_with_its_cluster_holds_up_no_failover,
};
pub(super) use law::{
    a_cluster_outside_the_law_is_never_reached, a_law_that_is_narrowed_then_is_answered_for,
};
pub(super) use renamed::a_cluster_that_is_down_keeps_the_name_before_alone;
pub(super) use there::{CLUSTER, There};

const CENTRAL: &str = "10.77.0.2";
const WEST_REGION: &str = "eu-west";

/// Names its workloads in no cluster yet.
pub(super) fn a_namespace_that_is_missing_there_is_told_and_not_made(world: &World, there: &There) {
    world.apply(&tenant("west", &injected("west", &json!({}))));
    let barred = (ConditionType::Injected, "False", "ClusterNotOnboarded");
    let told = world.await_condition(SPACE, "west", barred);
    assert!(told.contains("cluster of Region eu-west"), "{told}");
    assert!(
        told.contains("kubectl domicile onboard tenant-acme"),
        "{told}"
    );
    world.await_ready(SPACE, "west", "True", "ClusterNotOnboarded");
    world.await_event(SPACE, "west", "ClusterNotOnboarded");
    // The hub has its part.
    let data = world.secret("west-db").unwrap();
    assert!(world.can_log_in(WEST_REGION, &data));
    let mut kubectl = there.cluster.kubectl();
    let found = kubectl.args(["get", "namespace", SPACE]).output().unwrap();
    assert!(!found.status.success(), "the namespace was made");
    there.onboard();
    world.poke("west", "onboarded");
    arrives(world, there, "west");
    let idle = (ConditionType::Injected, "False", "NoWorkloads");
    world.await_condition(SPACE, "west", idle);
}

/// Waits until the Secret there is that of the hub.
fn arrives(world: &World, there: &There, name: &str) {
    let secret = format!("{name}-db");
    world
        .running
        .until(&format!("{secret} is in the cluster"), SOON, || {
            let hub = world.secret(&secret)?;
            (there.secret(world, &secret)? == hub).then_some(())
        });
}

pub(super) fn the_secret_arrives_and_a_workload_gets_it(world: &World, there: &There) {
    there.apply(&deployment("api", &json!({ "tenant": "west" }), &json!([])));
    let rolling = (ConditionType::Injected, "False", "RollingOut");
    let told = world.await_condition(SPACE, "west", rolling);
    assert!(told.contains("Region eu-west: rolling: api"), "{told}");
    there.rolled(world, "api");
    world.await_condition(SPACE, "west", COMPLETE);
    world.await_ready(SPACE, "west", "True", "Placed");
    let live = there.deployment(world, "api");
    let template = &live["spec"]["template"];
    let env = &template["spec"]["containers"][0]["env"];
    let reference = json!({
        "name": "DATABASE_URL",
        "valueFrom": { "secretKeyRef": { "name": "west-db", "key": "DATABASE_URL" } },
    });
    assert!(env.as_array().unwrap().contains(&reference), "{env}");
    let status = world.placement(SPACE, "west").unwrap().status.unwrap();
    let hash = &template["metadata"]["annotations"][SECRET_HASH];
    assert_eq!(hash.as_str(), status.secret_hash.as_deref());
    let shown = &status.workloads[0];
    let place = (shown.cluster.as_deref(), shown.name.as_str());
    assert_eq!(place, (Some(WEST_REGION), "api"));
    let secret = status
        .copies
        .iter()
        .find(|copy| copy.kind == CopyKind::Secret);
    let secret = secret.unwrap();
    let place = (secret.region.as_str(), secret.jurisdiction.as_str());
    assert_eq!((place, secret.compliant), ((WEST_REGION, "EU"), true));
    let found = world.running.block_on(there.secrets().get("west-db"));
    assert_eq!(found.unwrap().annotations()[REGION], WEST_REGION);
}

pub(super) fn a_settled_world_writes_nothing_there(world: &World, there: &There) {
    rests(world, there, "west");
}

/// A placement whose passes look at the cluster and write nothing, neither there nor in the hub.
fn rests(world: &World, there: &There, name: &str) {
    let rest = |seconds| {
        let pause = world.running.ctx.clock.sleep(Duration::from_secs(seconds));
        world.running.block_on(pause);
    };
    rest(3);
    let (hub, writes) = (world.running.writes().len(), there.writes());
    let asked = there.requests().len();
    for round in 0..5 {
        world.poke(name, &format!("settled {round}"));
        rest(1);
    }
    assert!(there.requests().len() > asked + 4, "nothing was looked at");
    assert!(!writes.is_empty(), "the audit log tells of no write at all");
    assert_eq!(there.writes(), writes);
    let hub = world.running.writes().split_off(hub);
    assert_eq!(hub, [] as [String; 0]);
}

pub(super) fn what_somebody_changed_there_is_put_back(world: &World, there: &There) {
    let patch = json!({ "stringData": { "password": "mine" } });
    let patch = Patch::Merge(&patch);
    let api = there.secrets();
    let _ = world
        .running
        .block_on(api.patch("west-db", &PatchParams::default(), &patch))
        .unwrap();
    world.poke("west", "edited there");
    arrives(world, there, "west");
}

pub(super) fn a_foreign_secret_there_is_left_alone(world: &World, there: &There) {
    there.apply(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "theirs-db", "namespace": SPACE },
        "stringData": { "mine": "1" },
    }));
    world.apply(&tenant("theirs", &injected("theirs", &json!({}))));
    let foreign = (ConditionType::Injected, "False", "SecretOwnedByOther");
    let told = world.await_condition(SPACE, "theirs", foreign);
    assert!(
        told.contains("theirs-db in the cluster of Region eu-west"),
        "{told}"
    );
    world.await_event(SPACE, "theirs", "SecretOwnedByOther");
    assert!(world.can_log_in(WEST_REGION, &world.secret("theirs-db").unwrap()));
    world.delete(SPACE, "theirs");
    world.await_gone(SPACE, "theirs");
    let kept = there.secret(world, "theirs-db").unwrap();
    assert_eq!(
        kept.into_iter().collect::<Vec<_>>(),
        [("mine".into(), "1".into())]
    );
}

/// Its own Secret is the hub's, and is not taken back when the region is to get none any more.
pub(super) fn a_cluster_that_is_the_hub_itself_keeps_the_hubs_secret(world: &World) {
    let running = &world.running;
    world.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "domicile", "namespace": NAMESPACE },
    }));
    let mut kubectl = running.lab.cluster().kubectl();
    kubectl.args(["create", "token", "domicile", "--namespace", NAMESPACE]);
    let token = kubectl.output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let kubeconfig = hub_kubeconfig(running.lab.space(), token.trim()).unwrap();
    world.apply(&kubeconfig_secret("hub-cluster", &kubeconfig));
    let mut region = region_with("eu-central", "EU", CENTRAL, "hub-cluster");
    region["spec"]["databaseServers"][0]["name"] = "spare".into();
    region["spec"]["state"] = "MetadataOnly".into();
    region["spec"]["servedBy"] = WEST_REGION.into();
    region["spec"]["databaseServers"] = json!([]);
    world.apply(&region);
    let spec = json!({ "tenantID": "twice", "region": "eu-central", "reclaimPolicy": "Delete",
        "deletionProtection": false, "connection": { "endpoint": "Service" } });
    world.apply(&tenant("twice", &spec));
    let listed = |wanted: bool| {
        running.until(&format!("listed: {wanted}"), SOON, || {
            let status = world.placement(SPACE, "twice")?.status?;
            let mut copies = status.copies.iter();
            let there =
                copies.any(|copy| copy.kind == CopyKind::Secret && copy.region == "eu-central");
            (there == wanted).then_some(())
        });
    };
    listed(true);
    let twice = (ConditionType::Injected, "True", "NoWorkloads");
    world.await_condition(SPACE, "twice", twice);
    the_hub_takes_its_secret_back(world, "twice-db");
    the_service_says_that_it_is_the_regions(world, "twice-db-rw");
    let before = world.secret("twice-db").unwrap();
    let front = service(world, "twice-db-rw").unwrap();
    // Nothing goes to a cluster that nobody asked to take it.
    let cluster = region["spec"]["cluster"].as_object_mut().unwrap();
    assert_eq!(cluster.remove("tenants"), Some(Value::Bool(true)));
    world.apply(&region);
    listed(false);
    world.poke("twice", "once");
    world.await_ready(SPACE, "twice", "True", "Placed");
    assert_eq!(world.secret("twice-db").unwrap(), before);
    assert_eq!(service(world, "twice-db-rw"), Some(front));
    world.delete(SPACE, "twice");
    world.await_gone(SPACE, "twice");
    assert_eq!(world.secret("twice-db"), None);
    assert_eq!(service(world, "twice-db-rw"), None);
}

/// It came back as the region's after it was deleted: brought there before a pass made it here.
fn the_hub_takes_its_secret_back(world: &World, name: &str) {
    let patch = json!({ "metadata": { "annotations": { REGION: "eu-central" } } });
    let (running, patch) = (&world.running, Patch::Merge(&patch));
    let api = world.secrets();
    let _ = running
        .block_on(api.patch(name, &PatchParams::default(), &patch))
        .unwrap();
    world.poke("twice", "claimed");
    running.until("it is the hub's again", SOON, || {
        let secret = running.block_on(api.get(name)).unwrap();
        (!secret.annotations().contains_key(REGION)).then_some(())
    });
}

/// As one that was made for the region while the hub's was gone.
fn the_service_says_that_it_is_the_regions(world: &World, name: &str) {
    let patch = json!({ "metadata": { "annotations": { REGION: "eu-central" } } });
    let (api, patch) = (services(world), Patch::Merge(&patch));
    let parameters = PatchParams::default();
    let patched = api.patch(name, &parameters, &patch);
    let _ = world.running.block_on(patched).unwrap();
}

/// The Region of the second cluster.
pub(super) fn home() -> Value {
    region_with(WEST_REGION, "EU", WEST, CLUSTER)
}
