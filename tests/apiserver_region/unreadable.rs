//! An object of a newer version, which the API server takes and this operator cannot read.

use domicile_api::operation::OperationState;
use domicile_api::{FailoverOperation, FailoverPolicy};
use domicile_tests::operator::Running;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{SOON, apply, events};

/// It says so on the object, and the other objects are served as before.
///
/// Faults: 12, 49.
pub(super) fn an_unreadable_object_is_marked_and_stops_no_other(running: &Running) {
    let modes = ["Automatic", "SemiAutomatic", "Manual", "Telepathic"];
    allow_modes(running, &modes);
    let mut policy = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "newer" },
        "spec": {
            "primary": { "region": "nowhere", "server": "main" },
            "standbys": [{ "region": "elsewhere", "server": "main" }],
            "mode": "Telepathic",
        },
    });
    apply(running, &policy);
    let marked = || {
        let object = running
            .block_on(policies(&running.admin).get("newer"))
            .unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned();
        conditions.filter(|list| list.iter().any(is_invalid))
    };
    running.until("a condition InvalidObject", SOON, marked);
    let told = || {
        events(running, "newer")
            .contains("InvalidObject")
            .then_some(())
    };
    running.until("an event InvalidObject", SOON, told);
    no_operation_of_it_is_refused(running);
    // The stream that brought it goes on.
    policy["metadata"]["name"] = "older".into();
    policy["spec"]["mode"] = "Manual".into();
    apply(running, &policy);
    let seen = || running.ctx.stores.policies.get("older").map(|_| ());
    running.until("the policy after it", SOON, seen);
    for name in ["older", "newer"] {
        let policies = policies(&running.admin);
        let _ = running
            .block_on(policies.delete(name, &DeleteParams::default()))
            .unwrap();
        let gone = || {
            let left = running.block_on(policies.get_opt(name)).unwrap();
            left.is_none().then_some(())
        };
        running.until("the policy is gone", SOON, gone);
    }
    allow_modes(running, &modes[..3]);
}

/// What cannot be read exists: only an operation of no policy at all is refused.
fn no_operation_of_it_is_refused(running: &Running) {
    let operations: Api<FailoverOperation> = Api::all(running.admin.clone());
    for (name, policy) in [("of-newer", "newer"), ("of-none", "none-at-all")] {
        let operation = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverOperation",
            "metadata": { "name": name },
            "spec": {
                "policyRef": { "name": policy }, "type": "Switchover", "target": "elsewhere",
                "expectedEpoch": 1,
            },
        });
        apply(running, &operation);
    }
    let state = |name: &str| {
        let operation = running.block_on(operations.get(name)).unwrap();
        operation.status.and_then(|status| status.state)
    };
    let refused = || (state("of-none") == Some(OperationState::Refused)).then_some(());
    running.until("the operation of no policy is refused", SOON, refused);
    let told = || {
        let reasons = events(running, "of-none");
        reasons.contains("Refused").then_some(())
    };
    running.until("an event about it", SOON, told);
    assert_eq!(state("of-newer"), None);
    for name in ["of-newer", "of-none"] {
        let _ = running
            .block_on(operations.delete(name, &DeleteParams::default()))
            .unwrap();
    }
}

fn is_invalid(condition: &Value) -> bool {
    condition["type"] == "Stalled"
        && condition["status"] == "True"
        && condition["reason"] == "InvalidObject"
}

fn policies(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<FailoverPolicy>(&()))
}

fn allow_modes(running: &Running, modes: &[&str]) {
    let definitions: Api<CustomResourceDefinition> = Api::all(running.admin.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum";
    let name = "failoverpolicies.domicile.dev";
    let definition = running.block_on(definitions.get(name)).unwrap();
    let mut definition = serde_json::to_value(definition).unwrap();
    *definition.pointer_mut(path).unwrap() = json!(modes);
    let versions = json!({ "spec": { "versions": definition["spec"]["versions"] } });
    let patch = Patch::Merge(&versions);
    running
        .block_on(definitions.patch(name, &PatchParams::default(), &patch))
        .unwrap();
    let served = || {
        let checked = PatchParams {
            dry_run: true,
            ..PatchParams::apply("test").force()
        };
        let probe = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
            "metadata": { "name": "probe" },
            "spec": {
                "primary": { "region": "a", "server": "b" },
                "standbys": [{ "region": "c", "server": "d" }], "mode": "Telepathic",
            },
        });
        let taken = policies(&running.admin);
        let taken = running.block_on(taken.patch("probe", &checked, &Patch::Apply(&probe)));
        (taken.is_ok() == modes.contains(&"Telepathic")).then_some(())
    };
    running.until("the definition is served", SOON, served);
}
