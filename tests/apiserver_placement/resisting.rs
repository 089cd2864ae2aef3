//! Workloads in which what is given does not take effect: somebody writes them whole, or lets none
//! of their pods be replaced.

use domicile_api::conditions::ConditionType;
use domicile_api::injection::WorkloadKind;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::injection::{COMPLETE, injected, made, unscheduled};
use super::world::{SOON, SPACE, World, tenant};

const CONFLICT: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "FieldConflict");
const PENDING: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "RestartPending");

/// A controller that writes whole Deployments takes everything out that it does not know.
pub(super) fn who_takes_it_out_again_is_named_and_not_fought(world: &World) {
    let own = made(world, &unscheduled("undone", "undone"));
    world.apply(&tenant("undone", &injected("undone", &json!({}))));
    for time in 1..=3 {
        world.running.until("it is given", SOON, || carries(world));
        let what = format!("it is written whole, time {time}");
        world.running.until(&what, SOON, || rewrite(world, &own));
    }
    let message = world.await_condition(SPACE, "undone", CONFLICT);
    let told = "taken out again: Deployment undone (3 times)";
    assert!(message.contains(told), "{message}");
    world.await_event(SPACE, "undone", "FieldConflict");
    assert_eq!(carries(world), None, "it rests");
    // The tenant is served all the same, and a person may ask for another try.
    world.await_ready(SPACE, "undone", "True", "FieldConflict");
    world.poke("undone", "again");
    world.running.until("it is given", SOON, || carries(world));
    world.delete(SPACE, "undone");
    world.await_gone(SPACE, "undone");
    let left = world.deployment("undone");
    assert_eq!(left["spec"]["template"], own["spec"]["template"]);
}

fn carries(world: &World) -> Option<()> {
    let live = world.deployment("undone");
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    container["env"]
        .to_string()
        .contains("DATABASE_URL")
        .then_some(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "who overwrites the fields of others is the subject"
)]
fn rewrite(world: &World, own: &Value) -> Option<()> {
    let mut whole = world.deployment("undone");
    whole["spec"] = own["spec"].clone();
    whole["metadata"]["managedFields"] = Value::Null;
    whole["metadata"]["annotations"] = own["metadata"]["annotations"].clone();
    let whole: Deployment = serde_json::from_value(whole).unwrap();
    let by = PostParams {
        field_manager: Some("rewriter".to_owned()),
        ..PostParams::default()
    };
    let written = world.deployments();
    let written = written.replace("undone", &by, &whole);
    // Somebody else may have changed it meanwhile.
    world.running.block_on(written).ok().map(drop)
}

pub(super) fn who_is_paused_is_told_and_not_waited_for(world: &World) {
    let mut paused = unscheduled("paused", "paused");
    paused["spec"]["paused"] = true.into();
    world.apply(&paused);
    world.apply(&unscheduled("sequel", "paused"));
    let waves = json!({ "reload": { "wave": 1, "pauseSeconds": 1 } });
    world.apply(&tenant("paused", &injected("paused", &waves)));
    let message = world.await_condition(SPACE, "paused", PENDING);
    assert!(message.contains("Deployment paused; resume"), "{message}");
    let status = world.placement(SPACE, "paused").unwrap().status.unwrap();
    let shown = |name: &str| {
        let mut all = status.workloads.iter();
        all.find(|one| (one.kind, &*one.name) == (WorkloadKind::Deployment, name))
            .unwrap()
    };
    assert!(shown("sequel").observed_hash.is_some(), "nobody waits");
    assert_eq!(shown("paused").updated, 0);
    world.patch_deployment("paused", &json!({ "spec": { "paused": false } }));
    world.await_condition(SPACE, "paused", COMPLETE);
    world.delete(SPACE, "paused");
    world.await_gone(SPACE, "paused");
}
