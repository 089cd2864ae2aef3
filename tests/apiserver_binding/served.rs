//! Kinds of workloads that change their version, and that go.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, app, binding, deployment, to_secret};

const DEFINITION: &str = "gadgets.stable.example.com";

/// A kind of two versions that is like a Deployment.
fn gadgets(old_is_served: bool) -> Value {
    let version = |name: &str, served: bool| {
        let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        json!({ "name": name, "served": served, "storage": name == "v1", "schema": {
            "openAPIV3Schema": { "type": "object", "properties": { "spec": anything } },
        }})
    };
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": DEFINITION },
            "spec": {
                "group": "stable.example.com", "scope": "Namespaced",
                "names": { "plural": "gadgets", "singular": "gadget", "kind": "Gadget" },
                "versions": [version("v1", true), version("v1alpha1", old_is_served)],
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {
                "name": "gadgets", "labels": { "servicebinding.io/controller": "true" },
            },
            "rules": [{
                "apiGroups": ["stable.example.com"], "resources": ["gadgets"],
                "verbs": ["get", "list", "watch", "patch"],
            }],
        },
    ]})
}

fn gadget() -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "Gadget",
        "metadata": { "name": "one", "namespace": SPACE },
        "spec": { "template": { "spec": { "containers": app(&json!([])) } } },
    })
}

fn bound(name: &str, version: &str) -> Value {
    let api_version = format!("stable.example.com/{version}");
    let gadget = json!({ "apiVersion": api_version, "kind": "Gadget", "name": "one" });
    binding(name, &to_secret("creds"), &gadget, &json!({}))
}

/// The version of the workload as it is stored.
fn resource_version(world: &World) -> Option<String> {
    let api = world.api("stable.example.com/v1", "Gadget");
    let live = world.running.block_on(api.get("one")).unwrap();
    live.metadata.resource_version
}

pub(super) fn another_version_of_a_kind_stays_bound(world: &World) {
    world.apply(&gadgets(true));
    world.apply(&gadget());
    world.apply(&bound("version", "v1alpha1"));
    world.await_ready("version");
    let old = "stable.example.com/v1alpha1/Gadget";
    assert_eq!(world.recorded("version").as_deref(), Some(old));
    let before = resource_version(world);
    world.apply(&bound("version", "v1"));
    world.await_ready("version");
    let new = "stable.example.com/v1/Gadget";
    assert_eq!(world.recorded("version").as_deref(), Some(new));
    assert_eq!(
        resource_version(world),
        before,
        "it was taken out meanwhile"
    );
    world.unbind("version");
}

pub(super) fn a_version_that_is_gone_leaves_nothing(world: &World) {
    let api = world.api("stable.example.com/v1", "Gadget");
    let before = world.spec(&api, "one");
    world.apply(&bound("dropped", "v1alpha1"));
    world.await_ready("dropped");
    assert_ne!(world.spec(&api, "one"), before);
    world.apply(&gadgets(false));
    let old = world.api("stable.example.com/v1alpha1", "Gadget");
    world
        .running
        .until("the old version is not served", SOON, || {
            world.running.block_on(old.get("one")).err()
        });
    world.unbind("dropped");
    assert_eq!(world.spec(&api, "one"), before);
}

/// Neither its deletion nor its move to another kind waits for what does not exist.
pub(super) fn a_kind_that_is_gone_holds_no_binding(world: &World) {
    for name in ["gone", "moved"] {
        world.apply(&bound(name, "v1"));
        world.await_ready(name);
    }
    let api: Api<CustomResourceDefinition> = Api::all(world.running.admin.clone());
    let parameters = DeleteParams::default();
    let _ = world
        .running
        .block_on(api.delete(DEFINITION, &parameters))
        .unwrap();
    world.running.until("the definition is gone", SOON, || {
        let found = world.running.block_on(api.get_opt(DEFINITION)).unwrap();
        found.is_none().then_some(())
    });
    let poke = json!({ "metadata": { "annotations": { "domicile.dev/reconcile-at": "1" } } });
    world.merge(&world.bindings(), "gone", &poke);
    let told = "does not serve stable.example.com/v1/Gadget";
    world.running.until("it says so", SOON, || {
        let message = world.await_refused("gone", "WorkloadNotFound");
        message.contains(told).then_some(())
    });
    world.unbind("gone");
    world.apply(&deployment("moved", "one", &app(&json!([]))));
    let named = json!({ "name": "moved" });
    world.apply(&binding("moved", &to_secret("creds"), &named, &json!({})));
    world.await_ready("moved");
    world.await_mount("moved", "/bindings/moved", true);
    assert_eq!(
        world.recorded("moved").as_deref(),
        Some("apps/v1/Deployment")
    );
    world.unbind("moved");
    // What comes back is found again.
    world.apply(&gadgets(true));
    world.apply(&gadget());
    world.apply(&bound("back", "v1"));
    world.await_ready("back");
    world.unbind("back");
}
