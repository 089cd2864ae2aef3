//! Workloads that somebody keeps the operator from writing: each by itself, and told.

#[path = "denied/operator.rs"]
mod operator;

use std::time::Duration;

use domicile_api::conditions::ConditionType;
use domicile_api::meta::{ROTATE_AT, SECRET_HASH, SKIP_CLEANUP};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::injection::{COMPLETE, injected};
use super::kinds::rights;
use super::world::{SOON, SPACE, WEST, World, deployment, region, tenant};
use operator::{Operator, Refusal};

const REFUSED: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "ApiServerError");
const UNKNOWN: (ConditionType, &str, &str) = (ConditionType::Injected, "True", "RolloutUnknown");
/// A namespace that is deleted while a workload in it refuses.
const DOOMED: &str = "tenant-doomed";
/// The controller of namespaces waits ever longer between two looks.
const LATE: Duration = Duration::from_mins(4);

#[test]
fn a_workload_that_refuses_keeps_nothing_from_the_others() {
    let world = World::start();
    world.running.onboard(SPACE);
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.await_region("eu-west", "Serving");
    let operator = Operator::of(&world);
    the_others_get_the_secret_and_the_status_is_stored(&world, &operator);
    no_wave_waits_for_one_that_refuses(&world, &operator);
    a_deletion_waits_for_one_that_refuses(&world, &operator);
    a_deletion_leaves_one_that_refuses_when_it_is_told_to(&world, &operator);
    a_namespace_goes_though_a_workload_refuses(&world, &operator);
    workloads_above_the_limit_are_told(&world);
    another_version_of_a_kind_takes_nothing_away(&world);
}

/// By a policy with a code of its own and the usual one, and by a webhook that is not there.
fn the_others_get_the_secret_and_the_status_is_stored(world: &World, operator: &Operator<'_>) {
    for name in ["denied-a", "denied-b", "denied-c", "denied-d", "denied-z"] {
        world.apply(&idle(name, "denied"));
    }
    let forbidden = operator.deny(SPACE, "denied-a", Some("Forbidden"));
    let invalid = operator.deny(SPACE, "denied-c", None);
    let dead = operator.break_webhook("denied-d");
    world.apply(&tenant("denied", &injected("denied", &json!({}))));
    world.running.until("each is told", SOON, || {
        let message = world.await_condition(SPACE, "denied", REFUSED);
        let parts = [
            "Deployment denied-a (403): ",
            "Deployment denied-c (422): ",
            "Deployment denied-d (500): ",
            "let the policy or webhook admit",
        ];
        parts
            .iter()
            .all(|part| message.contains(part))
            .then_some(())
    });
    // The tenant is served, and its status tells of it.
    world.await_ready(SPACE, "denied", "True", "ApiServerError");
    world.await_event(SPACE, "denied", "ApiServerError");
    let status = world.placement(SPACE, "denied").unwrap().status.unwrap();
    assert!(status.epoch.is_some() && status.credentials.is_some());
    assert_eq!(status.binding.unwrap().name, "denied-db");
    assert_eq!(status.workloads.len(), 5);
    assert_eq!(with_secret(world, "denied"), ["denied-b", "denied-z"]);
    // Nor do they keep another Secret from them.
    rotate(world, "denied", &["denied-b", "denied-z"]);
    for refusal in [forbidden, invalid, dead] {
        operator.admit(&refusal);
    }
    // They come by themselves; who asks need not wait for that.
    world.poke("denied", "admitted");
    world.await_condition(SPACE, "denied", COMPLETE);
    assert_eq!(with_secret(world, "denied").len(), 5);
    end(world, "denied");
}

fn no_wave_waits_for_one_that_refuses(world: &World, operator: &Operator<'_>) {
    for name in ["surf-a", "surf-b", "surf-c"] {
        world.apply(&idle(name, "surf"));
    }
    let refusal = operator.deny(SPACE, "surf-a", Some("Forbidden"));
    let reload = json!({ "reload": { "wave": 1, "pauseSeconds": 1 } });
    world.apply(&tenant("surf", &injected("surf", &reload)));
    world.running.until("the others have the Secret", SOON, || {
        (with_secret(world, "surf") == ["surf-b", "surf-c"]).then_some(())
    });
    operator.admit(&refusal);
    world.poke("surf", "admitted");
    world.await_condition(SPACE, "surf", COMPLETE);
    end(world, "surf");
}

fn a_deletion_waits_for_one_that_refuses(world: &World, operator: &Operator<'_>) {
    let refusal = placed_and_denied(world, operator, "kept");
    world.delete(SPACE, "kept");
    let ready = (ConditionType::Ready, "False", "ApiServerError");
    let message = world.await_condition(SPACE, "kept", ready);
    for part in ["Deployment kept-a (403): ", SKIP_CLEANUP, "let the policy"] {
        assert!(message.contains(part), "{message}");
    }
    // What can be done is done.
    assert_eq!(with_secret(world, "kept"), ["kept-a"]);
    assert_eq!(world.secret("kept-db"), None);
    assert!(!world.database_exists("eu-west", "tenant_kept"));
    operator.admit(&refusal);
    world.await_gone(SPACE, "kept");
    assert!(with_secret(world, "kept").is_empty());
}

fn a_deletion_leaves_one_that_refuses_when_it_is_told_to(world: &World, operator: &Operator<'_>) {
    let refusal = placed_and_denied(world, operator, "left");
    world.delete(SPACE, "left");
    world.await_ready(SPACE, "left", "False", "ApiServerError");
    let skip = json!({ "metadata": { "annotations": { SKIP_CLEANUP: "true" } } });
    world.patch(SPACE, "left", &skip);
    world.await_gone(SPACE, "left");
    assert_eq!(with_secret(world, "left"), ["left-a"]);
    operator.admit(&refusal);
}

fn a_namespace_goes_though_a_workload_refuses(world: &World, operator: &Operator<'_>) {
    world.running.onboard(DOOMED);
    let there = |mut document: Value| {
        document["metadata"]["namespace"] = DOOMED.into();
        world.apply(&document);
    };
    there(idle("doomed-a", "doomed"));
    there(tenant("doomed", &injected("doomed", &json!({}))));
    world.await_condition(DOOMED, "doomed", COMPLETE);
    let refusal = operator.deny(DOOMED, "doomed-a", Some("Forbidden"));
    world.delete(DOOMED, "doomed");
    world.await_ready(DOOMED, "doomed", "False", "ApiServerError");
    let spaces: Api<Namespace> = Api::all(world.running.admin.clone());
    let at_once = DeleteParams::default();
    let deleted = spaces.delete(DOOMED, &at_once);
    let _ = world.running.block_on(deleted).unwrap();
    world.running.until("the namespace is gone", LATE, || {
        let found = world.running.block_on(spaces.get_opt(DOOMED)).unwrap();
        found.is_none().then_some(())
    });
    assert!(!world.database_exists("eu-west", "tenant_doomed"));
    operator.delete(&refusal);
}

fn workloads_above_the_limit_are_told(world: &World) {
    let many = (0..66).map(|number| idle(&format!("many-{number:02}"), "many"));
    let many: Vec<Value> = many.collect();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": many }));
    world.apply(&tenant("many", &injected("many", &json!({}))));
    let over = (ConditionType::Injected, "False", "InvalidSpec");
    let message = world.await_condition(SPACE, "many", over);
    let told = "2 workloads above the limit of 64 were left out";
    assert!(message.contains(told), "{message}");
    let status = world.placement(SPACE, "many").unwrap().status.unwrap();
    assert_eq!(status.workloads.len(), 64);
    assert_eq!(with_secret(world, "many").len(), 64);
    end(world, "many");
}

/// Both versions lead to the same object: what one gives the other would take away.
fn another_version_of_a_kind_takes_nothing_away(world: &World) {
    world.apply(&gadgets());
    world.apply(&rights("gadgets"));
    let container = json!({ "name": "app", "image": "local.test/none:dev" });
    let gadget = json!({
        "apiVersion": "test.example.com/v1", "kind": "Gadget",
        "metadata": { "name": "gadget", "namespace": SPACE, "labels": { "tenant": "gadget" } },
        "spec": { "template": { "spec": { "containers": [container] } } },
    });
    world.running.until("the kind is served", SOON, || {
        let cluster = world.running.lab.cluster();
        cluster.apply(&gadget.to_string()).ok()
    });
    let of = |version: &str| {
        let mut spec = injected("gadget", &json!({}));
        let workload = &mut spec["injection"]["workloads"][0];
        workload["apiVersion"] = format!("test.example.com/{version}").into();
        workload["kind"] = "Gadget".into();
        spec
    };
    world.apply(&tenant("gadget", &of("v1alpha1")));
    world.await_condition(SPACE, "gadget", UNKNOWN);
    let gvk = GroupVersionKind::gvk("test.example.com", "v1", "Gadget");
    let resource = ApiResource::from_gvk(&gvk);
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.running.admin.clone(), SPACE, &resource);
    let live = || world.running.block_on(api.get("gadget")).unwrap();
    let before = live();
    let text = before.data["spec"].to_string();
    assert!(text.contains("\"gadget-db\""), "{text}");
    let newer = json!({ "spec": { "injection": of("v1")["injection"] } });
    world.patch(SPACE, "gadget", &newer);
    world
        .running
        .until("the other version is recorded", SOON, || {
            world.await_condition(SPACE, "gadget", UNKNOWN);
            let status = world.placement(SPACE, "gadget").unwrap().status.unwrap();
            let versions = status.other_workloads.iter();
            let versions: Vec<&str> = versions.map(|one| one.api_version.as_str()).collect();
            (versions == ["test.example.com/v1"]).then_some(())
        });
    let after = live();
    assert_eq!(after.data["spec"], before.data["spec"]);
    // It was not taken away and given again.
    assert_eq!(after.metadata.generation, before.metadata.generation);
    end(world, "gadget");
}

fn gadgets() -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = |name: &str, storage: bool| {
        json!({ "name": name, "served": true, "storage": storage, "schema": {
            "openAPIV3Schema": { "type": "object", "properties": { "spec": anything } },
        }})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "gadgets.test.example.com" },
        "spec": {
            "group": "test.example.com", "scope": "Namespaced",
            "names": { "plural": "gadgets", "singular": "gadget", "kind": "Gadget" },
            "versions": [version("v1", true), version("v1alpha1", false)],
        },
    })
}

/// A placement with two Deployments that have its Secret, of which the first refuses from now on.
fn placed_and_denied(world: &World, operator: &Operator<'_>, name: &str) -> Refusal {
    let first = format!("{name}-a");
    for workload in [&first, &format!("{name}-b")] {
        world.apply(&idle(workload, name));
    }
    world.apply(&tenant(name, &injected(name, &json!({}))));
    world.await_condition(SPACE, name, COMPLETE);
    operator.deny(SPACE, &first, Some("Forbidden"))
}

/// Asks for other logins, and waits until these workloads have the Secret with them.
fn rotate(world: &World, name: &str, workloads: &[&str]) {
    let hash = || {
        let status = world.placement(SPACE, name).unwrap().status.unwrap();
        status.secret_hash.unwrap()
    };
    let before = hash();
    let asked = json!({ "metadata": { "annotations": { ROTATE_AT: name } } });
    world.patch(SPACE, name, &asked);
    world.running.until("they have another Secret", SOON, || {
        let now = hash();
        let has = |workload: &&str| {
            let template = &world.deployment(workload)["spec"]["template"];
            template["metadata"]["annotations"][SECRET_HASH] == now.as_str()
        };
        (now != before && workloads.iter().all(has)).then_some(())
    });
}

fn end(world: &World, name: &str) {
    world.delete(SPACE, name);
    world.await_gone(SPACE, name);
    assert!(with_secret(world, name).is_empty());
}

/// A Deployment of a tenant, without pods.
fn idle(name: &str, tenant: &str) -> Value {
    let mut document = deployment(name, &json!({ "tenant": tenant }), &json!([]));
    document["spec"]["replicas"] = 0.into();
    document
}

/// The Deployments of a tenant that carry its Secret, by name.
fn with_secret(world: &World, tenant: &str) -> Vec<String> {
    let selected = ListParams::default().labels(&format!("tenant={tenant}"));
    let found = world.running.block_on(world.deployments().list(&selected));
    let mut names = Vec::new();
    for live in found.unwrap() {
        let text = serde_json::to_string(&live.spec).unwrap();
        if text.contains(&format!("\"{tenant}-db\"")) {
            names.extend(live.metadata.name);
        }
    }
    names.sort();
    names
}
