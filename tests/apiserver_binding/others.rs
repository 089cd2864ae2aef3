//! Others beside us: owners of fields, other implementations, those who give rights.

use std::time::Duration;

use domicile_operator::telemetry::ControllerLabels;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, app, binding, deployment, mounts, secret, to_secret};

pub(super) fn a_field_of_somebody_else_is_left_alone(world: &World) {
    world.apply(&deployment("owned", "one", &app(&json!([]))));
    let named = json!({ "name": "owned" });
    // Two bindings of one folder cannot both be there.
    let folder = json!({ "name": "same" });
    world.apply(&binding("first", &to_secret("creds"), &named, &folder));
    world.await_ready("first");
    world.apply(&binding("second", &to_secret("creds"), &named, &folder));
    let message = world.await_refused("second", "FieldConflict");
    assert!(
        message.contains("mount /bindings/same of container app belongs to ServiceBinding first"),
        "{message}"
    );
    world.unbind("first");
    world.await_ready("second");
    world.unbind("second");
    // A root that is no plain text cannot be followed.
    let odd = json!([{
        "name": "SERVICE_BINDING_ROOT",
        "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } },
    }]);
    world.apply(&deployment("odd", "one", &app(&odd)));
    let named = json!({ "name": "odd" });
    world.apply(&binding("odd", &to_secret("creds"), &named, &json!({})));
    let message = world.await_refused("odd", "WorkloadRefused");
    assert!(
        message.contains("SERVICE_BINDING_ROOT of container app"),
        "{message}"
    );
    world.unbind("odd");
}

/// What `TenantPlacement.spec.injection` writes has an owner of its own, as each binding has.
pub(super) fn an_injection_and_two_bindings_live_together(world: &World) {
    world.apply(&deployment("both", "one", &app(&json!([]))));
    let deployments = world.deployments();
    let reference = json!({ "secretKeyRef": { "name": "creds", "key": "username" } });
    let injected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "both" },
        "spec": { "template": { "spec": { "containers": [{
            "name": "app", "env": [{ "name": "INJECTED", "valueFrom": reference }],
        }]}}},
    });
    let parameters = PatchParams::apply("domicile-inject");
    let patch = Patch::Apply(&injected);
    let applied = deployments.patch("both", &parameters, &patch);
    world.running.block_on(applied).unwrap();
    let before = world.spec(&deployments, "both");
    let named = json!({ "name": "both" });
    let env = |name: &str, key: &str| json!({ "env": [{ "name": name, "key": key }] });
    // The same variable with another value is a conflict; with the same one it is shared.
    world.apply(&binding(
        "both-a",
        &to_secret("creds"),
        &named,
        &env("INJECTED", "password"),
    ));
    let message = world.await_refused("both-a", "FieldConflict");
    assert!(message.contains("belongs to domicile-inject"), "{message}");
    world.apply(&binding(
        "both-a",
        &to_secret("creds"),
        &named,
        &env("INJECTED", "username"),
    ));
    world.await_ready("both-a");
    world.apply(&binding(
        "both-b",
        &to_secret("creds"),
        &named,
        &env("MORE", "type"),
    ));
    world.await_ready("both-b");
    let container =
        || world.spec(&deployments, "both")["template"]["spec"]["containers"][0].clone();
    assert_eq!(
        mounts(&container()),
        ["/bindings/both-a", "/bindings/both-b"]
    );
    // The root belongs to both: it stays until the last one goes.
    world.unbind("both-a");
    let env = container()["env"].to_string();
    assert!(
        env.contains("INJECTED") && env.contains("SERVICE_BINDING_ROOT"),
        "{env}"
    );
    world.unbind("both-b");
    assert_eq!(world.spec(&deployments, "both"), before);
}

pub(super) fn what_cannot_be_obeyed_is_told(world: &World) {
    let mut both = json!({ "name": "api" });
    both["selector"] = json!({ "matchLabels": { "a": "b" } });
    world.apply(&binding("wrong", &to_secret("creds"), &both, &json!({})));
    let message = world.await_refused("wrong", "InvalidSpec");
    assert!(message.contains("both `name` and `selector`"), "{message}");
    let unknown = json!({ "kind": "Nothing", "name": "api" });
    world.apply(&binding(
        "unknown",
        &to_secret("creds"),
        &unknown,
        &json!({}),
    ));
    let message = world.await_refused("unknown", "WorkloadNotFound");
    assert!(
        message.contains("does not serve apps/v1/Nothing"),
        "{message}"
    );
    let bad = json!({ "env": [{ "name": "a=b", "key": "username" }] });
    world.apply(&binding(
        "refused",
        &to_secret("creds"),
        &json!({ "name": "api" }),
        &bad,
    ));
    world.await_refused("refused", "WorkloadRefused");
    // A list of containers that names none of them binds nothing; an empty one is as none.
    let list = |containers: Value| json!({ "name": "api", "containers": containers });
    let nobody = |containers| {
        let service = to_secret("creds");
        binding("nobody", &service, &list(containers), &json!({}))
    };
    world.apply(&nobody(json!(["ap"])));
    let message = world.await_refused("nobody", "WorkloadRefused");
    let told = "`spec.workload.containers` names none of its containers; name some of app";
    assert!(message.contains(told), "{message}");
    world.await_mount("api", "/bindings/nobody", false);
    world.apply(&nobody(json!([])));
    world.await_ready("nobody");
    world.await_mount("api", "/bindings/nobody", true);
    world.unbind("nobody");
    for name in ["wrong", "unknown", "refused"] {
        world.unbind(name);
    }
}

/// Faults of two hands on one object: the one that was there first keeps it.
pub(super) fn a_binding_of_another_implementation_is_left_alone(world: &World) {
    let named = json!({ "name": "api" });
    let before = world.spec(&world.deployments(), "api");
    let finalizers = json!(["servicebinding.io/finalizer"]);
    let mut theirs = binding("theirs", &to_secret("creds"), &named, &json!({}));
    theirs["metadata"]["finalizers"] = finalizers.clone();
    world.apply(&theirs);
    world.await_event("theirs", "OtherImplementation");
    assert_eq!(world.binding("theirs").unwrap().status, None);
    assert_eq!(world.spec(&world.deployments(), "api"), before);
    // One that they take over is given back.
    world.apply(&binding("taken", &to_secret("creds"), &named, &json!({})));
    world.await_mount("api", "/bindings/taken", true);
    let both = json!({ "metadata": { "finalizers": ["domicile.dev/binding", finalizers[0]] } });
    world.merge(&world.bindings(), "taken", &both);
    world.await_mount("api", "/bindings/taken", false);
    world.running.until("our finalizer is gone", SOON, || {
        let left = world.binding("taken")?.metadata.finalizers?;
        (left == ["servicebinding.io/finalizer"]).then_some(())
    });
    for name in ["theirs", "taken"] {
        world.merge(
            &world.bindings(),
            name,
            &json!({ "metadata": { "finalizers": null } }),
        );
        world.unbind(name);
    }
}

pub(super) fn without_rights_it_says_which(world: &World) {
    let space = "bindings-stranger";
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space },
    }));
    let mut stranger = binding(
        "b",
        &to_secret("creds"),
        &json!({ "name": "api" }),
        &json!({}),
    );
    stranger["metadata"]["namespace"] = json!(space);
    world.apply(&stranger);
    let api: Api<domicile_api::ServiceBinding> =
        Api::namespaced(world.running.admin.clone(), space);
    let message = world.running.until("it says so", SOON, || {
        let found = world.running.block_on(api.get("b")).unwrap();
        let mut all = found.status?.conditions.into_iter();
        all.find(|one| one.type_ == "Ready" && one.reason == "ServiceForbidden")
    });
    let advice = "kubectl domicile onboard bindings-stranger";
    assert!(message.message.contains(advice), "{}", message.message);
}

/// Ten passes over every binding, forced by an annotation: not one write of the operator.
pub(super) fn a_settled_world_writes_nothing(world: &World) {
    let named = json!({ "name": "api" });
    let more = json!({ "type": "x", "env": [{ "name": "USER_NAME", "key": "username" }] });
    world.apply(&binding("calm", &to_secret("creds"), &named, &more));
    let machine = json!({
        "apiVersion": "stable.example.com/v1", "kind": "Machine", "name": "calm",
    });
    world.apply(&json!({
        "apiVersion": "servicebinding.io/v1", "kind": "ClusterWorkloadResourceMapping",
        "metadata": { "name": "machines.stable.example.com" },
        "spec": { "versions": [{
            "version": "*", "volumes": ".spec.volumes", "containers": [{ "path": ".spec.box" }],
        }]},
    }));
    world.apply(&json!({
        "apiVersion": "stable.example.com/v1", "kind": "Machine",
        "metadata": { "name": "calm", "namespace": SPACE }, "spec": { "box": {} },
    }));
    world.apply(&binding(
        "calm-machine",
        &to_secret("creds"),
        &machine,
        &json!({}),
    ));
    world.await_ready("calm");
    world.await_ready("calm-machine");
    let running = &world.running;
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(2)));
    let controller = ControllerLabels {
        controller: "binding".to_owned(),
    };
    let passes = || {
        running
            .ctx
            .metrics
            .reconciles
            .get_or_create(&controller)
            .get()
    };
    let writes = running.writes();
    for round in 1..=10 {
        for name in ["calm", "calm-machine"] {
            let before = passes();
            let at = json!({ "domicile.dev/reconcile-at": format!("{round}") });
            world.merge(
                &world.bindings(),
                name,
                &json!({ "metadata": { "annotations": at } }),
            );
            running.until("a pass", SOON, || (passes() > before).then_some(()));
        }
    }
    running.block_on(running.ctx.clock.sleep(Duration::from_millis(500)));
    assert!(!writes.is_empty(), "the audit log tells of no write at all");
    assert_eq!(running.writes()[writes.len()..], [] as [String; 0]);
    world.unbind("calm");
    world.unbind("calm-machine");
}

/// It takes the operator's rights away while the operator still has to give the workload back.
pub(super) fn a_deleted_namespace_takes_its_bindings_along(world: &World) {
    let space = "bindings-doomed";
    world.running.onboard(space);
    let moved = |mut document: Value| {
        document["metadata"]["namespace"] = json!(space);
        document
    };
    world.apply(&moved(secret("creds", &json!({ "type": "db" }))));
    world.apply(&moved(deployment("api", "one", &app(&json!([])))));
    let named = json!({ "name": "api" });
    world.apply(&moved(binding(
        "b",
        &to_secret("creds"),
        &named,
        &json!({}),
    )));
    let api: Api<domicile_api::ServiceBinding> =
        Api::namespaced(world.running.admin.clone(), space);
    world.running.until("it is bound", SOON, || {
        let found = world.running.block_on(api.get("b")).unwrap();
        found.metadata.finalizers
    });
    let spaces: Api<Namespace> = Api::all(world.running.admin.clone());
    let parameters = DeleteParams::default();
    let _ = world
        .running
        .block_on(spaces.delete(space, &parameters))
        .unwrap();
    world.running.until("the namespace is gone", SOON, || {
        let found = world.running.block_on(spaces.get_opt(space)).unwrap();
        found.is_none().then_some(())
    });
}
