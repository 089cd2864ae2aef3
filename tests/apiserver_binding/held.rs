//! What a binding holds, and what is left of one that was not let go.

use domicile_api::meta::{BINDING_FINALIZER, BOUND_KINDS};
use domicile_tests::operator::ACCOUNT;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, app, binding, deployment, to_secret};

/// As `kubectl replace` does, and Argo CD with `Replace=true`.
pub(super) fn what_is_taken_out_of_a_binding_comes_back(world: &World) {
    world.apply(&deployment("held", "one", &app(&json!([]))));
    let named = json!({ "name": "held" });
    world.apply(&binding("held", &to_secret("creds"), &named, &json!({})));
    world.await_ready("held");
    let generation = || {
        let live = world.running.block_on(world.deployments().get("held"));
        live.unwrap().metadata.generation
    };
    let before = generation();
    let nothing = json!({ "finalizers": null, "annotations": { BOUND_KINDS: null } });
    world.merge(&world.bindings(), "held", &json!({ "metadata": nothing }));
    world.running.until("it is held again", SOON, || {
        let finalizers = world.binding("held")?.metadata.finalizers?;
        let held = finalizers.iter().any(|name| name == BINDING_FINALIZER);
        let recorded = world.recorded("held")? == "apps/v1/Deployment";
        (held && recorded).then_some(())
    });
    assert_eq!(generation(), before, "the workload is not written again");
    world.unbind("held");
    world.await_mount("held", "/bindings/held", false);
}

/// A binding that went without its finalizer leaves what it wrote.
pub(super) fn what_a_binding_left_that_is_gone_is_told(world: &World) {
    let uid = "0a1b2c3d-0000-4000-8000-0123456789ab";
    let volume = format!("binding-{uid}");
    world.apply(&deployment("orphaned", "one", &app(&json!([]))));
    let manager = format!("domicile-binding-{uid}");
    let write = |more: &Value| {
        let mut document = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "orphaned" },
        });
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        let parameters = PatchParams::apply(&manager);
        let (api, patch) = (world.deployments(), Patch::Apply(&document));
        let applied = api.patch("orphaned", &parameters, &patch);
        world.running.block_on(applied).unwrap();
    };
    let mounts = json!([{ "name": volume, "mountPath": "/bindings/orphan" }]);
    write(&json!({ "spec": { "template": { "spec": {
        "volumes": [{ "name": volume, "emptyDir": {} }],
        "containers": [{ "name": "app", "volumeMounts": mounts }],
    }}}}));
    let named = json!({ "name": "orphaned" });
    world.apply(&binding("orphan", &to_secret("creds"), &named, &json!({})));
    let message = world.await_refused("orphan", "FieldConflict");
    for fact in [
        "mount /bindings/orphan of container app",
        "a ServiceBinding that does not exist any more",
        &volume,
    ] {
        assert!(message.contains(fact), "{message}");
    }
    // As by hand: what was left is taken out.
    write(&json!({}));
    world.await_ready("orphan");
    world.unbind("orphan");
}

/// A policy that keeps the operator from a workload is no missing right: the binding stays until it
/// is taken back.
pub(super) fn a_denied_release_is_waited_for(world: &World) {
    world.apply(&deployment("denied", "one", &app(&json!([]))));
    let named = json!({ "name": "denied" });
    world.apply(&binding("denied", &to_secret("creds"), &named, &json!({})));
    world.await_ready("denied");
    let kind = "admissionregistration.k8s.io/v1";
    let (policy, bound) = (
        "validatingadmissionpolicy",
        "validatingadmissionpolicybinding",
    );
    world.apply(&json!({
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "denies-release" },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["deployments"], "resourceNames": ["denied"],
            }]},
            "validations": [{
                "expression": format!("request.userInfo.username != '{ACCOUNT}'"),
                "message": "not today", "reason": "Forbidden",
            }],
        },
    }));
    world.apply(&json!({
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "denies-release" },
        "spec": { "policyName": "denies-release", "validationActions": ["Deny"] },
    }));
    let probe = [
        "patch",
        "deployment/denied",
        "--namespace",
        SPACE,
        "--as",
        ACCOUNT,
        "--dry-run=server",
        "--patch",
        r#"{"metadata":{"annotations":{"probe":"x"}}}"#,
    ];
    world.running.until("the policy is asked", SOON, || {
        world.running.lab.kubectl(&probe).is_err().then_some(())
    });
    world.delete(&world.bindings(), "denied");
    world.await_event("denied", "WorkloadRefused");
    assert!(world.binding("denied").is_some(), "it is not let go");
    world.await_mount("denied", "/bindings/denied", true);
    for one in [bound, policy] {
        let arguments = ["delete", one, "denies-release"];
        world.running.lab.kubectl(&arguments).unwrap();
    }
    world.running.until("denied is gone", SOON, || {
        world.binding("denied").is_none().then_some(())
    });
    world.await_mount("denied", "/bindings/denied", false);
}

/// A placement is read from the cache, and its changes are told without a watch of its own.
pub(super) fn a_placement_wakes_its_bindings(world: &World) {
    let service = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement", "name": "placed",
    });
    let named = json!({ "name": "api" });
    world.apply(&binding("placed", &service, &named, &json!({})));
    world.await_refused("placed", "ServiceNotFound");
    world.apply(&json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": { "name": "placed", "namespace": SPACE }, "spec": { "tenantID": "placed" },
    }));
    world.await_condition(
        "placed",
        ("ServiceAvailable", "Unknown", "ServiceMissingBinding"),
    );
    world.unbind("placed");
}
