//! The Service that follows a tenant, in the cluster of a region.

use std::time::Duration;

use domicile_api::FailoverPolicy;
use domicile_api::conditions::{ConditionType, find, is_true};
use domicile_api::meta::{EPOCH, OWNER_UID, REGION};
use domicile_lab::regions::How;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::left::{
    a_cluster_without_rights_on_services_is_told,
    a_region_that_is_no_destination_any_more_keeps_nothing, a_retained_placement_leaves_it,
    it_stays_until_the_workloads_there_have_left_it, what_a_deletion_leaves_behind_is_cleaned_up,
};
use super::there::There;
use super::{CENTRAL, WEST_REGION, arrives, home, rests};
use crate::clients::{addresses, led_to, logs_in_at, service, slices_of};
use crate::injection::{COMPLETE, injected, unscheduled};
use crate::moves::{MOVE, operate, policy, policy_status, remove};
use crate::world::{SOON, SPACE, WEST, World, region, tenant};

pub(super) const NAME: &str = "spread";
pub(super) const SERVICE: &str = "spread-db-rw";
const HOST: &str = "spread-db-rw.tenant-acme.svc";

/// Faults: 35, 89.
#[test]
fn a_service_follows_its_tenant_in_the_clusters_of_regions() {
    let world = World::start();
    world.running.onboard(SPACE);
    let there = There::start(&world);
    there.onboard();
    world.apply(&home());
    world.apply(&region("eu-central", "EU", CENTRAL, "eu-central-admin"));
    for name in [WEST_REGION, "eu-central"] {
        world.await_region(name, "Serving");
    }
    world.apply(&policy());
    the_service_is_there_before_the_secret_that_names_it(&world, &there);
    rests(&world, &there, NAME);
    a_slice_edited_there_is_put_back(&world, &there);
    a_slice_of_a_newer_epoch_is_left(&world, &there);
    a_service_of_somebody_else_there_is_left_alone(&world, &there);
    a_cluster_that_is_lost_with_its_region_is_turned_when_it_is_back(&world, &there);
    nothing_is_turned_there_while_nobody_knows_who_serves(&world, &there);
    a_move_turns_the_slice_there_and_leaves_the_secret(&world, &there);
    it_stays_until_the_workloads_there_have_left_it(&world, &there);
    a_cluster_without_rights_on_services_is_told(&world, &there);
    a_region_that_is_no_destination_any_more_keeps_nothing(&world, &there);
    what_a_deletion_leaves_behind_is_cleaned_up(&world, &there);
    a_retained_placement_leaves_it(&world, &there);
}

fn the_service_is_there_before_the_secret_that_names_it(world: &World, there: &There) {
    there.apply(&unscheduled(NAME, NAME));
    let mut spec = injected(NAME, &json!({}));
    spec["connection"] = json!({ "endpoint": "Service" });
    world.apply(&tenant(NAME, &spec));
    arrives(world, there, NAME);
    let writes = there.writes();
    let of = |what: &str| writes.iter().position(|write| write == what);
    let slice = of("patch endpointslices/spread-db-rw-ipv4");
    let made = (slice, of("patch services/spread-db-rw"));
    let secret = of("create secrets/spread-db");
    assert!(
        made.0.is_some() && made.0 < made.1 && made.1 < secret,
        "{writes:?}"
    );
    let data = there.secret(world, "spread-db").unwrap();
    assert_eq!((&*data["host"], &*data["port"]), (HOST, "5432"));

    let found = found(world, there, SERVICE).unwrap();
    let placed = world.placement(SPACE, NAME).unwrap();
    let marks = found.annotations();
    assert_eq!(marks.get(OWNER_UID), placed.metadata.uid.as_ref());
    assert_eq!(marks[REGION], WEST_REGION);
    let shape = found.spec.unwrap();
    assert_eq!(
        (shape.type_.as_deref(), shape.selector),
        (Some("ClusterIP"), None)
    );
    assert_eq!(leads_to(world, there), [WEST]);
    assert!(reaches(world, there));
    assert!(service(world, SERVICE).is_some(), "the hub has its own");
    settles(world, there);
    let status = world.placement(SPACE, NAME).unwrap().status.unwrap();
    assert_eq!(status.service.as_deref(), Some(SERVICE));
    let armed = (ConditionType::FailoverProtected, "True", "Armed");
    world.await_condition(SPACE, NAME, armed);
}

fn a_slice_edited_there_is_put_back(world: &World, there: &There) {
    edit(world, there, &json!({}));
    world.poke(NAME, "edited there");
    turns(world, there, WEST);
}

/// What a newer leader turned is not turned back.
fn a_slice_of_a_newer_epoch_is_left(world: &World, there: &There) {
    let epoch = slice(world, there).annotations()[EPOCH].clone();
    let under = |epoch: &str| json!({ "annotations": { EPOCH: epoch } });
    edit(world, there, &under("99"));
    stays(world, there, "newer");
    edit(world, there, &under(&epoch));
    world.poke(NAME, "older");
    turns(world, there, WEST);
}

fn a_service_of_somebody_else_there_is_left_alone(world: &World, there: &There) {
    there.apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "taken-db-rw", "namespace": SPACE },
        "spec": { "selector": { "app": "theirs" }, "ports": [{ "port": 80 }] },
    }));
    let before = found(world, there, "taken-db-rw");
    let mut spec = injected("taken", &json!({}));
    spec["connection"] = json!({ "endpoint": "Service" });
    world.apply(&tenant("taken", &spec));
    let theirs = (ConditionType::Injected, "False", "ServiceOwnedByOther");
    let told = world.await_condition(SPACE, "taken", theirs);
    for part in ["taken-db-rw", "in the cluster of Region eu-west"] {
        assert!(told.contains(part), "{told}");
    }
    world.await_ready(SPACE, "taken", "True", "ServiceOwnedByOther");
    world.await_event(SPACE, "taken", "ServiceOwnedByOther");
    assert_eq!(found(world, there, "taken-db-rw"), before);
    let data = there.secret(world, "taken-db");
    assert_eq!(data, None, "it would name the Service of somebody else");
    // The hub has its part.
    assert!(service(world, "taken-db-rw").is_some());
    assert!(world.secret("taken-db").is_some());
    world.delete(SPACE, "taken");
    world.await_gone(SPACE, "taken");
    assert_eq!(found(world, there, "taken-db-rw"), before);
}

fn a_cluster_that_is_lost_with_its_region_is_turned_when_it_is_back(world: &World, there: &There) {
    let before = still(world, there);
    let regions = world.running.lab.regions();
    regions.lose(WEST_REGION, How::Cut).unwrap();
    world.running.until("the move has ended", MOVE, || {
        let status = policy_status(world);
        let moved = status.active_region? == "eu-central";
        (moved && status.state?.as_str() == "Steady").then_some(())
    });
    let hub = addresses(world, SERVICE);
    assert_eq!(hub, [CENTRAL], "the move waits for no cluster");
    let silent = (ConditionType::Injected, "False", "ClusterUnreachable");
    let told = world.await_condition(SPACE, NAME, silent);
    assert!(told.contains("the cluster of Region eu-west"), "{told}");
    world.await_ready(SPACE, NAME, "True", "ClusterUnreachable");
    regions.restore(WEST_REGION).unwrap();
    turns(world, there, CENTRAL);
    is_as_before(world, there, &before);
}

/// Without its policy, as while a move is under way, nothing of the tenant is changed anywhere.
fn nothing_is_turned_there_while_nobody_knows_who_serves(world: &World, there: &There) {
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    remove(world, &api, "eu");
    world.await_ready(SPACE, NAME, "False", "PolicyNotFound");
    edit(world, there, &json!({}));
    stays(world, there, "held");
    world.apply(&policy());
    world.await_ready(SPACE, NAME, "True", "Placed");
    turns(world, there, CENTRAL);
}

fn a_move_turns_the_slice_there_and_leaves_the_secret(world: &World, there: &There) {
    let before = still(world, there);
    world.running.lab.regions().rejoin(WEST_REGION).unwrap();
    world.running.until("the way home is open", MOVE, || {
        let conditions = policy_status(world).conditions;
        is_true(&conditions, ConditionType::FailbackReady).then_some(())
    });
    operate(world, "spread-home", "Failback", WEST_REGION);
    turns(world, there, WEST);
    is_as_before(world, there, &before);
}

/// Under the epoch of the move, and with nothing else that changed.
fn is_as_before(world: &World, there: &There, before: &(Option<String>, Value)) {
    settles(world, there);
    let epoch = policy_status(world).epoch.unwrap();
    let slice = slice(world, there);
    assert_eq!(slice.annotations()[EPOCH], epoch.to_string());
    assert_eq!(still(world, there), *before);
    assert!(reaches(world, there));
}

pub(super) fn found(world: &World, there: &There, name: &str) -> Option<Service> {
    let api = there.services();
    world.running.block_on(api.get_opt(name)).unwrap()
}

fn slice(world: &World, there: &There) -> EndpointSlice {
    slices_of(world, &there.slices(), SERVICE).remove(0)
}

fn leads_to(world: &World, there: &There) -> Vec<String> {
    led_to(slices_of(world, &there.slices(), SERVICE))
}

/// Waits until the Service there leads to the server of this address.
pub(super) fn turns(world: &World, there: &There, address: &str) {
    let told = format!("it leads to {address} there");
    world.running.until(&told, SOON, || {
        (leads_to(world, there) == [address]).then_some(())
    });
}

/// Whether a client there that verifies the Service's name can write.
fn reaches(world: &World, there: &There) -> bool {
    let data = there.secret(world, "spread-db").unwrap();
    logs_in_at(world, slice(world, there), &data, HOST)
}

/// Makes the slice there lead to nobody, by hand.
pub(super) fn edit(world: &World, there: &There, metadata: &Value) {
    let patch = json!({
        "metadata": metadata, "endpoints": [{ "addresses": ["10.77.9.9"] }],
    });
    let (api, patch) = (there.slices(), Patch::Merge(&patch));
    let name = format!("{SERVICE}-ipv4");
    let parameters = PatchParams::default();
    let edited = api.patch(&name, &parameters, &patch);
    let _ = world.running.block_on(edited).unwrap();
}

/// Asserts that passes leave what was edited by hand.
fn stays(world: &World, there: &There, word: &str) {
    for round in 0..3 {
        world.poke(NAME, &format!("{word} {round}"));
        let pause = world.running.ctx.clock.sleep(Duration::from_secs(2));
        world.running.block_on(pause);
    }
    assert_eq!(leads_to(world, there), ["10.77.9.9"], "{word}");
}

/// Waits until all is as it must be; the pods there take up what they get.
pub(super) fn settles(world: &World, there: &There) {
    world.running.until("all have it", SOON, || {
        there.rolled(world, NAME);
        let placed = world.placement(SPACE, NAME)?;
        let injected = find(&placed.status.as_ref()?.conditions, COMPLETE.0)?;
        let current = injected.observed_generation == placed.metadata.generation;
        (current && injected.reason == COMPLETE.2).then_some(())
    });
    world.await_ready(SPACE, NAME, "True", "Placed");
}

/// What no move changes there: the versions of the Secret and of the workload's spec.
fn still(world: &World, there: &There) -> (Option<String>, Value) {
    let api = there.secrets();
    let secret: Secret = world.running.block_on(api.get("spread-db")).unwrap();
    let workload = there.deployment(world, NAME);
    let generation = workload["metadata"]["generation"].clone();
    (secret.resource_version(), generation)
}
