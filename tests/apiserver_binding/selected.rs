//! Workloads by label.

use serde_json::json;

use super::world::{World, app, binding, deployment, labelled, to_secret};

pub(super) fn all_that_match_are_bound(world: &World) {
    for (name, label) in [("sel-1", "sel"), ("sel-2", "sel"), ("sel-other", "other")] {
        world.apply(&deployment(name, label, &app(&json!([]))));
    }
    world.apply(&binding(
        "sel",
        &to_secret("creds"),
        &labelled("sel"),
        &json!({}),
    ));
    world.await_ready("sel");
    world.await_mount("sel-1", "/bindings/sel", true);
    world.await_mount("sel-2", "/bindings/sel", true);
    world.await_mount("sel-other", "/bindings/sel", false);
}

pub(super) fn what_matches_later_is_bound(world: &World) {
    world.apply(&deployment("sel-3", "sel", &app(&json!([]))));
    world.await_mount("sel-3", "/bindings/sel", true);
    world.apply(&binding(
        "sel-late",
        &to_secret("creds"),
        &labelled("sel-late"),
        &json!({}),
    ));
    world.await_refused("sel-late", "WorkloadNotFound");
    world.apply(&deployment("sel-late", "sel-late", &app(&json!([]))));
    world.await_ready("sel-late");
    world.await_mount("sel-late", "/bindings/sel-late", true);
    world.unbind("sel-late");
}

pub(super) fn a_changed_label_unbinds(world: &World) {
    let label = json!({ "metadata": { "labels": { "app-custom": "elsewhere" } } });
    world.merge(&world.deployments(), "sel-2", &label);
    world.await_mount("sel-2", "/bindings/sel", false);
    world.await_mount("sel-1", "/bindings/sel", true);
    let other = world.spec(&world.deployments(), "sel-other");
    let freed = world.spec(&world.deployments(), "sel-2");
    let container = |spec: &serde_json::Value| spec["template"]["spec"]["containers"][0].clone();
    assert_eq!(container(&freed), container(&other));
    world.unbind("sel");
    world.await_mount("sel-1", "/bindings/sel", false);
}

/// What fails in one workload keeps no other from being bound, and is told in `Ready`.
pub(super) fn a_part_that_fails_is_told(world: &World) {
    let mine = json!([{ "name": "USER_NAME", "value": "mine" }]);
    world.apply(&deployment("part-bad", "part", &app(&mine)));
    world.apply(&deployment("part-good", "part", &app(&json!([]))));
    let env = json!({ "env": [{ "name": "USER_NAME", "key": "username" }] });
    world.apply(&binding(
        "part",
        &to_secret("creds"),
        &labelled("part"),
        &env,
    ));
    let message = world.await_refused("part", "FieldConflict");
    assert!(message.starts_with("1 of 2 are bound"), "{message}");
    assert!(
        message.contains("Deployment part-bad: variable USER_NAME"),
        "{message}"
    );
    world.await_event("part", "FieldConflict");
    world.await_mount("part-good", "/bindings/part", true);
    world.await_mount("part-bad", "/bindings/part", false);
    world.apply(&deployment("part-bad", "part", &app(&json!([]))));
    world.await_ready("part");
    world.await_mount("part-bad", "/bindings/part", true);
    world.unbind("part");
}
