//! What restarts nothing tells who has the old Secret. The test says when a container started, as
//! no kubelet does.

use domicile_api::conditions::ConditionType;
use domicile_api::meta::{ROTATE_AT, SECRET_HASH};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::injection::{COMPLETE, change, injected, made, unscheduled};
use super::world::{SOON, SPACE, World, tenant};

const PENDING: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "RestartPending");

pub(super) fn what_restarts_nothing_tells_who_has_the_old_secret(world: &World) {
    let before = made(world, &unscheduled("reload", "reload"));
    let mut spec = injected("reload", &json!({ "reload": { "strategy": "None" } }));
    spec["credentials"] = json!({ "rotation": { "overlapSeconds": 0 } });
    world.apply(&tenant("reload", &spec));
    world.await_condition(SPACE, "reload", COMPLETE);
    let (given, pod) = (pods(world), start(world));
    assert_eq!(hashes(world), (Value::Null, Value::Null));

    rotate(world, "none");
    let message = world.await_condition(SPACE, "reload", PENDING);
    assert!(message.contains(&pod), "{message}");
    world.await_event(SPACE, "reload", "RestartPending");
    world.await_ready(SPACE, "reload", "True", "Placed");
    let shown = world.placement(SPACE, "reload").unwrap().status.unwrap();
    let shown = &shown.workloads[0];
    assert_eq!(
        (shown.updated, shown.total, &shown.observed_hash),
        (0, 1, &None)
    );
    assert_eq!(
        (pods(world), hashes(world)),
        (given.clone(), (Value::Null, Value::Null))
    );
    assert_eq!(
        start(world),
        pod,
        "the same pod, whose container starts anew"
    );
    world.await_condition(SPACE, "reload", COMPLETE);

    another_strategy_restarts_nothing(world, &given);
    world.delete(SPACE, "reload");
    world.await_gone(SPACE, "reload");
    assert_eq!(world.deployment("reload")["spec"], before["spec"]);
    assert_eq!(hashes(world), (Value::Null, Value::Null));
}

fn another_strategy_restarts_nothing(world: &World, given: &Value) {
    change(
        world,
        "reload",
        &json!({ "reload": { "strategy": "Annotation" } }),
    );
    rotate(world, "annotation");
    world.await_condition(SPACE, "reload", PENDING);
    let hash = || {
        json!(
            world
                .placement(SPACE, "reload")
                .unwrap()
                .status
                .unwrap()
                .secret_hash
        )
    };
    assert_eq!(
        (pods(world), hashes(world)),
        (given.clone(), (hash(), Value::Null))
    );

    change(world, "reload", &json!({ "reload": null }));
    let restarted = pods(world);
    assert_ne!(restarted, *given);
    assert_eq!(hashes(world), (Value::Null, hash()));
    change(
        world,
        "reload",
        &json!({ "reload": { "strategy": "Annotation" } }),
    );
    assert_eq!((pods(world), hashes(world)), (restarted, (hash(), hash())));
}

/// The hash on the workload and the one on its pods.
fn hashes(world: &World) -> (Value, Value) {
    let live = world.deployment("reload");
    let of = |document: &Value| document["metadata"]["annotations"][SECRET_HASH].clone();
    (of(&live), of(&live["spec"]["template"]))
}

/// What the pods are made from: when that stays, so do they.
fn pods(world: &World) -> Value {
    world.deployment("reload")["spec"]["template"].clone()
}

/// Changes the Secret, later than any container started.
fn rotate(world: &World, request: &str) {
    let time = std::time::Duration::from_secs(2);
    world.running.block_on(world.running.ctx.clock.sleep(time));
    let before = world.secret("reload-db");
    let rotate = json!({ "metadata": { "annotations": { ROTATE_AT: request } } });
    world.patch(SPACE, "reload", &rotate);
    world.running.until("the Secret changes", SOON, || {
        (world.secret("reload-db") != before).then_some(())
    });
}

/// Lets the container of the one pod start now. Answers its name.
fn start(world: &World) -> String {
    let api: Api<Pod> = Api::namespaced(world.running.admin.clone(), SPACE);
    let selected = ListParams::default().labels("app=reload");
    world.running.until("the pod is there", SOON, || {
        let pods = world.running.block_on(api.list(&selected)).unwrap().items;
        let mut pods = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let name = pods.next()?.name_any();
        let now = world.running.ctx.clock.now().wall;
        let started = Timestamp::from_second(now.as_second()).unwrap();
        let status = json!({
            "name": "app", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
            "state": { "running": { "startedAt": started.to_string() } },
        });
        let patch = json!({ "status": { "phase": "Running", "containerStatuses": [status] } });
        let (parameters, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        let patched = api.patch_status(&name, &parameters, &patch);
        world.running.block_on(patched).ok()?;
        Some(name)
    })
}
