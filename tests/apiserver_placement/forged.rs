//! What a tenant might write to reach further than its own: labels, owners, epochs, other
//! namespaces.

use domicile_api::conditions::ConditionType;
use domicile_api::meta::{EPOCH, OWNER_UID, PLACEMENT_LABEL};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::refused::{dropped, expect};
use super::world::{SOON, SPACE, World, deployment, tenant};

/// The operator has every right there: that nobody asked it to is what keeps it out.
///
/// Faults: 26.
pub(super) fn a_workload_of_another_namespace_is_not_selected(world: &World) {
    let space = "tenant-globex";
    world.running.onboard(space);
    let labels = json!({ "tenant": "acme" });
    let mut other = deployment("api", &labels, &json!([]));
    other["metadata"]["namespace"] = space.into();
    world.apply(&other);
    let api: Api<Deployment> = Api::namespaced(world.running.admin.clone(), space);
    let spec = || world.running.block_on(api.get("api")).unwrap().spec;
    let before = spec();
    // One beside the placement, and made after the other, gets its variables.
    world.apply(&deployment("beside", &labels, &json!([])));
    world.poke("acme", "beside");
    world.running.until("the variables", SOON, || {
        let live = world.deployment("beside");
        let env = &live["spec"]["template"]["spec"]["containers"][0]["env"];
        (!env.is_null()).then_some(())
    });
    assert_eq!(spec(), before);
    let now = DeleteParams::default();
    let _ = world
        .running
        .block_on(world.deployments().delete("beside", &now))
        .unwrap();
}

/// Faults: 21, 22.
pub(super) fn what_a_secret_says_of_itself_neither_gives_nor_takes(world: &World) {
    let secret = |name: &str, annotations: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "precious": "value" },
            "metadata": {
                "name": name, "namespace": SPACE, "annotations": annotations,
                "labels": { PLACEMENT_LABEL: "forged" },
            },
        })
    };
    // One of the name that the placement wants, with its label and another's UID.
    world.apply(&secret("forged-db", &json!({ OWNER_UID: "0" })));
    world.apply(&tenant("forged", &dropped("forged")));
    expect(world, "forged", "SecretOwnedByOther");
    // Who owns it for the garbage collector is no mark of ours.
    let uid = world.placement(SPACE, "forged").unwrap().metadata.uid;
    let owners = |owners: Value| json!({ "metadata": { "ownerReferences": owners } });
    let owner = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement", "name": "forged",
        "uid": uid, "controller": true,
    });
    patch(world, "forged-db", &owners(json!([owner])));
    world.poke("forged", "owned");
    expect(world, "forged", "SecretOwnedByOther");
    patch(world, "forged-db", &owners(json!(null)));
    assert!(!world.database_exists("eu-west", "tenant_forged"));
    // Another one, with everything that the placement's own has.
    let copied = json!({ OWNER_UID: uid, EPOCH: "0" });
    world.apply(&secret("forged-copy", &copied));
    world.delete(SPACE, "forged");
    world.await_gone(SPACE, "forged");
    for name in ["forged-db", "forged-copy"] {
        let data = world.secret(name).unwrap();
        assert_eq!(data["precious"], "value", "{name}");
        assert_eq!(data.len(), 1, "{name}");
    }
}

/// Who forges what the operator remembers stops himself, and nobody else, until it is put right.
///
/// Faults: 23.
pub(super) fn a_forged_memory_changes_nothing_on_the_server(world: &World) {
    let row = "SELECT epoch, writable FROM domicile.authority";
    let (before, data) = (world.sql("eu-west", row), world.secret("acme-db").unwrap());
    let status = world.placement(SPACE, "acme").unwrap().status.unwrap();
    let refused = |reason: &str| {
        world.poke("acme", reason);
        world.await_ready(SPACE, "acme", "False", reason);
        assert_eq!(world.sql("eu-west", row), before);
        assert_eq!(world.secret("acme-db").as_ref(), Some(&data));
        assert!(world.can_log_in("eu-west", &data));
    };
    let served = |text: &str| {
        world.poke("acme", text);
        world.await_ready(SPACE, "acme", "True", "Placed");
        assert_eq!(world.secret("acme-db").as_ref(), Some(&data));
    };
    for (forged, right, reason) in [
        (
            json!({ "epoch": 999 }),
            json!({ "epoch": status.epoch }),
            "StaleEpoch",
        ),
        (
            json!({ "activeRegion": "us-east" }),
            json!({ "activeRegion": status.active_region }),
            "PolicyNotFound",
        ),
    ] {
        patch_status(world, &forged);
        refused(reason);
        patch_status(world, &right);
        served(&format!("not {reason}"));
    }
    let annotated = |epoch: &str| json!({ "metadata": { "annotations": { EPOCH: epoch } } });
    let held = world
        .running
        .block_on(world.secrets().get("acme-db"))
        .unwrap();
    let epoch = held.metadata.annotations.unwrap()[EPOCH].clone();
    patch(world, "acme-db", &annotated("999"));
    refused("StaleEpoch");
    patch(world, "acme-db", &annotated(&epoch));
    served("the epoch again");
    let complete = (ConditionType::Injected, "True", "InjectionComplete");
    world.await_condition(SPACE, "acme", complete);
}

fn patch(world: &World, name: &str, change: &Value) {
    let (api, parameters) = (world.secrets(), PatchParams::default());
    let change = Patch::Merge(change);
    let patched = api.patch(name, &parameters, &change);
    world.running.block_on(patched).unwrap();
}

fn patch_status(world: &World, change: &Value) {
    let (api, parameters) = (world.placements(SPACE), PatchParams::default());
    let change = Patch::Merge(json!({ "status": change }));
    let patched = api.patch_status("acme", &parameters, &change);
    world.running.block_on(patched).unwrap();
}
