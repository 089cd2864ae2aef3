//! An object of a newer version, which the API server takes and this operator cannot read.

use domicile_api::FailoverOperation;
use domicile_api::operation::OperationState;
use domicile_tests::operator::Running;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{SOON, apply, events};

#[path = "modes.rs"]
mod modes;

use modes::{KNOWN, MODES, allow_modes, policies};

/// It says so on the object, and the other objects are served as before.
///
/// Faults: 12, 49.
pub(super) fn an_unreadable_object_is_marked_and_stops_no_other(running: &Running) {
    allow_modes(running, &MODES);
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
    allow_modes(running, &MODES[..KNOWN]);
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
