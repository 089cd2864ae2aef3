//! Workloads roll in waves: in order, with a pause, and an operator that is restarted goes on.
//! The test says which pods are available, as no kubelet does.

use domicile_api::conditions::ConditionType;
use domicile_api::injection::WorkloadKind;
use domicile_api::meta::{ROTATE_AT, SECRET_HASH};
use domicile_api::placement_status::WorkloadStatus;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::injection::{COMPLETE, injected, unscheduled};
use super::world::{SOON, SPACE, World, tenant};

const ROLLING: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "RollingOut");
const NAMES: [&str; 3] = ["wave-a", "wave-b", "wave-c"];
const PAUSE_SECONDS: i64 = 4;

pub(super) fn workloads_roll_in_waves(world: &mut World) {
    for name in NAMES {
        world.apply(&unscheduled(name, "waves"));
    }
    let reload = json!({ "wave": 1, "pauseSeconds": PAUSE_SECONDS });
    world.apply(&tenant(
        "waves",
        &injected("waves", &json!({ "reload": reload })),
    ));
    told(world, "rolling: wave-a; then: wave-b, wave-c");
    rest(world, PAUSE_SECONDS + 2);
    assert_eq!(
        with_secret(world),
        ["wave-a"],
        "the first wave has not ended"
    );
    end_wave(world, "wave-a");
    told(world, "after a pause until");
    world.running.restart();
    let started = begins(world, "wave-b");
    assert!(started >= PAUSE_SECONDS, "after a pause of {started} s");
    assert_eq!(with_secret(world), ["wave-a", "wave-b"]);
    world.running.restart();
    rest(world, PAUSE_SECONDS + 2);
    assert_eq!(
        with_secret(world),
        ["wave-a", "wave-b"],
        "the second wave has not ended"
    );
    end_wave(world, "wave-b");
    begins(world, "wave-c");
    end_wave(world, "wave-c");
    world.await_condition(SPACE, "waves", COMPLETE);
    the_end_of_the_overlap_waits_for_no_wave(world);
    world.delete(SPACE, "waves");
    world.await_gone(SPACE, "waves");
}

/// Logins that are soon closed are worse than a restart.
fn the_end_of_the_overlap_waits_for_no_wave(world: &World) {
    let rotate = json!({ "metadata": { "annotations": { ROTATE_AT: "waves" } } });
    world.patch(SPACE, "waves", &rotate);
    world
        .running
        .until("the first wave of the rotation", SOON, || {
            (hashes(world) == [true, false, false]).then_some(())
        });
    rest(world, PAUSE_SECONDS + 4);
    assert_eq!(hashes(world), [true, false, false]);
    let rotation = json!({ "rotation": { "overlapSeconds": 2 } });
    world.patch(
        SPACE,
        "waves",
        &json!({ "spec": { "credentials": rotation } }),
    );
    world.running.until("all have the Secret", SOON, || {
        (hashes(world) == [true; 3]).then_some(())
    });
}

/// Waits until the condition says this.
fn told(world: &World, text: &str) {
    world.running.until(text, SOON, || {
        let message = world.await_condition(SPACE, "waves", ROLLING);
        message.contains(text).then_some(())
    });
}

/// Waits until a workload has the Secret. Answers how many seconds after the end of the last wave.
fn begins(world: &World, name: &str) -> i64 {
    world.running.until(&format!("{name} begins"), SOON, || {
        with_secret(world).contains(&name).then_some(())
    });
    let now = world.running.ctx.clock.now().wall;
    let last = statuses(world)
        .into_iter()
        .filter_map(|one| one.since)
        .max()
        .unwrap();
    now.duration_since(last).as_secs()
}

/// Makes the pods of a workload available, as a kubelet would, and waits until that is seen.
fn end_wave(world: &World, name: &str) {
    let api: Api<Pod> = Api::namespaced(world.running.admin.clone(), SPACE);
    let selected = ListParams::default().labels(&format!("app={name}"));
    let ready = json!({ "status": { "phase": "Running", "conditions": [
        { "type": "Ready", "status": "True" },
    ]}});
    world
        .running
        .until(&format!("the wave of {name} ends"), SOON, || {
            for pod in world.running.block_on(api.list(&selected)).unwrap() {
                let (name, parameters) = (pod.name_any(), PatchParams::default());
                let patch = Patch::Strategic(&ready);
                let patched = api.patch_status(&name, &parameters, &patch);
                // It may be gone already.
                let _ = world.running.block_on(patched);
            }
            let shown = statuses(world);
            let shown = shown.iter().find(|one| one.name == name)?;
            shown.since.map(|_| ())
        });
}

fn statuses(world: &World) -> Vec<WorkloadStatus> {
    let status = world.placement(SPACE, "waves").unwrap().status.unwrap();
    let kinds = status.workloads.iter().map(|one| one.kind);
    assert!(
        kinds
            .into_iter()
            .all(|kind| kind == WorkloadKind::Deployment)
    );
    status.workloads
}

fn annotation(world: &World, name: &str) -> Value {
    world.deployment(name)["spec"]["template"]["metadata"]["annotations"][SECRET_HASH].clone()
}

/// The workloads that were given the Secret.
fn with_secret(world: &World) -> Vec<&'static str> {
    let given = NAMES
        .into_iter()
        .filter(|name| !annotation(world, name).is_null());
    given.collect()
}

/// Which workloads have the present Secret.
fn hashes(world: &World) -> Vec<bool> {
    let status = world.placement(SPACE, "waves").unwrap().status.unwrap();
    let hash = status.secret_hash.unwrap();
    NAMES
        .into_iter()
        .map(|name| annotation(world, name) == hash.as_str())
        .collect()
}

fn rest(world: &World, seconds: i64) {
    let time = std::time::Duration::from_secs(seconds.unsigned_abs());
    world.running.block_on(world.running.ctx.clock.sleep(time));
}
