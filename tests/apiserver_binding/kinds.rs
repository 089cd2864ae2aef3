//! Workloads of other kinds.

use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, app, binding, deployment, mounts, to_secret};

pub(super) fn a_cron_job_is_bound_without_a_mapping(world: &World) {
    let pod = json!({ "restartPolicy": "Never", "containers": app(&json!([])) });
    world.apply(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": "nightly", "namespace": SPACE },
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": { "spec": { "template": { "spec": pod } } },
        },
    }));
    let api = world.api("batch/v1", "CronJob");
    let before = world.spec(&api, "nightly");
    let workload = json!({ "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly" });
    world.apply(&binding(
        "cron",
        &to_secret("creds"),
        &workload,
        &json!({ "type": "x" }),
    ));
    world.await_ready("cron");
    let template = world.spec(&api, "nightly")["jobTemplate"]["spec"]["template"].clone();
    assert_eq!(
        mounts(&template["spec"]["containers"][0]),
        ["/bindings/cron"]
    );
    assert!(
        template["metadata"]["annotations"]
            .to_string()
            .contains("type-")
    );
    world.unbind("cron");
    assert_eq!(world.spec(&api, "nightly"), before);
}

/// A kind whose lists are atomic for server-side apply, with names of its own for everything.
fn machines() -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "machines.stable.example.com" },
            "spec": {
                "group": "stable.example.com", "scope": "Namespaced",
                "names": { "plural": "machines", "singular": "machine", "kind": "Machine" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": { "type": "object", "properties": { "spec": anything } },
                }}],
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {
                "name": "machines", "labels": { "servicebinding.io/controller": "true" },
            },
            "rules": [{
                "apiGroups": ["stable.example.com"], "resources": ["machines"],
                "verbs": ["get", "list", "watch", "update", "patch"],
            }],
        },
    ]})
}

fn mapping(boxes: &str, volumes: &str) -> Value {
    json!({
        "apiVersion": "servicebinding.io/v1beta1", "kind": "ClusterWorkloadResourceMapping",
        "metadata": { "name": "machines.stable.example.com" },
        "spec": { "versions": [{
            "version": "*", "annotations": ".spec.notes", "volumes": volumes,
            "containers": [{ "path": boxes, "env": ".vars", "volumeMounts": ".disks" }],
        }]},
    })
}

pub(super) fn any_kind_is_bound_by_its_mapping(world: &World) {
    world.apply(&machines());
    world.apply(&mapping(".spec.boxes[*]", ".spec.store.volumes"));
    world.apply(&json!({
        "apiVersion": "stable.example.com/v1", "kind": "Machine",
        "metadata": { "name": "m", "namespace": SPACE },
        "spec": { "boxes": [{ "vars": [{ "name": "MINE", "value": "1" }] }, { "size": 2 }] },
    }));
    let api = world.api("stable.example.com/v1", "Machine");
    let before = world.spec(&api, "m");
    let workload = json!({
        "apiVersion": "stable.example.com/v1", "kind": "Machine", "name": "m",
    });
    for name in ["machine-a", "machine-b"] {
        let service = to_secret("creds");
        world.apply(&binding(name, &service, &workload, &json!({ "type": "x" })));
    }
    world.await_ready("machine-a");
    world.await_ready("machine-b");
    let disks = |at: usize| world.spec(&api, "m")["boxes"][at]["disks"].to_string();
    for at in 0..2 {
        assert!(disks(at).contains("/bindings/machine-a"), "{}", disks(at));
        assert!(disks(at).contains("/bindings/machine-b"), "{}", disks(at));
    }
    assert_eq!(
        world.spec(&api, "m")["store"]["volumes"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    // Another mapping: what the old one put in goes, and comes again by the new one.
    world.apply(&mapping(".spec.boxes[1]", ".spec.volumes"));
    world
        .running
        .until("the new mapping is followed", SOON, || {
            let spec = world.spec(&api, "m");
            let moved = spec["store"].is_null() && spec["boxes"][0]["disks"].is_null();
            let all = spec["volumes"].as_array().map(Vec::len) == Some(2);
            (moved && all && disks(1).contains("machine-b")).then_some(())
        });
    world.apply(&mapping(".spec.boxes[", ".spec.volumes"));
    let message = world.await_refused("machine-a", "InvalidMapping");
    assert!(message.contains("containers[0].path"), "{message}");
    world.unbind("machine-a");
    assert!(!disks(1).contains("machine-a") && disks(1).contains("machine-b"));
    world.unbind("machine-b");
    assert_eq!(world.spec(&api, "m"), before);
}

pub(super) fn another_kind_of_workload_releases_the_old_one(world: &World) {
    world.apply(&deployment("kind", "one", &app(&json!([]))));
    let mut set = deployment("kind", "one", &app(&json!([])));
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("kind");
    world.apply(&set);
    let workload = |kind: &str| json!({ "kind": kind, "name": "kind" });
    let service = to_secret("creds");
    world.apply(&binding(
        "kind",
        &service,
        &workload("Deployment"),
        &json!({}),
    ));
    world.await_mount("kind", "/bindings/kind", true);
    world.apply(&binding(
        "kind",
        &service,
        &workload("StatefulSet"),
        &json!({}),
    ));
    world.await_mount("kind", "/bindings/kind", false);
    world.await_ready("kind");
    let sets = world.api("apps/v1", "StatefulSet");
    let bound = || mounts(&world.spec(&sets, "kind")["template"]["spec"]["containers"][0]);
    assert_eq!(bound(), ["/bindings/kind"]);
    world.unbind("kind");
    assert!(bound().is_empty());
}
