//! How workloads get the Secret: as variables, as files, or not at all; and that nothing of it is
//! left afterwards.

use domicile_api::conditions::ConditionType;
use domicile_api::injection::WorkloadKind;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::world::{SOON, SPACE, WEST, World, deployment, region, tenant};
use super::{kinds, reload, resisting, watched, waves};

pub(super) const COMPLETE: (ConditionType, &str, &str) =
    (ConditionType::Injected, "True", "InjectionComplete");
const CONFLICT: (ConditionType, &str, &str) = (ConditionType::Injected, "False", "FieldConflict");

#[test]
fn workloads_get_the_secret_as_the_placement_says() {
    let mut world = World::start();
    world.running.onboard(SPACE);
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.await_region("eu-west", "Serving");
    watched::workloads_are_watched_where_that_is_allowed(&world);
    no_mode_leaves_anything_behind(&world);
    a_volume_and_a_mount_of_somebody_else_are_left_alone(&world);
    an_init_container_gets_the_secret_when_it_is_named(&world);
    kinds::a_cron_job_gets_the_secret(&world);
    kinds::any_kind_gets_the_secret_by_its_mapping(&world);
    kinds::a_version_that_is_gone_leaves_nothing(&world);
    resisting::who_takes_it_out_again_is_named_and_not_fought(&world);
    resisting::who_is_paused_is_told_and_not_waited_for(&world);
    waves::workloads_roll_in_waves(&mut world);
    reload::what_restarts_nothing_tells_who_has_the_old_secret(&world);
}

fn no_mode_leaves_anything_behind(world: &World) {
    let before = made(world, &rich("modes"));
    world.apply(&tenant(
        "modes",
        &injected("modes", &json!({ "mode": "Volume" })),
    ));
    world.await_condition(SPACE, "modes", COMPLETE);
    let own = json!({ "name": "own", "mountPath": "/own" });
    let mount =
        |path: &str| json!({ "name": "domicile-secret", "mountPath": path, "readOnly": true });
    let live = spec(world, "modes");
    assert_eq!(
        live["containers"][0]["volumeMounts"],
        json!([own, mount("/var/run/secrets/domicile/modes-db")])
    );
    let volume = json!({
        "name": "domicile-secret", "secret": { "secretName": "modes-db", "defaultMode": 420 },
    });
    let volumes = live["volumes"].as_array().unwrap();
    assert!(volumes.len() == 2 && volumes.contains(&volume), "{live}");
    assert_eq!(live["initContainers"][0].get("volumeMounts"), None);

    change(world, "modes", &json!({ "mountPath": "/run/db" }));
    let live = spec(world, "modes");
    assert_eq!(
        live["containers"][0]["volumeMounts"],
        json!([own, mount("/run/db")])
    );

    change(world, "modes", &json!({ "mode": "Env", "mountPath": null }));
    let live = spec(world, "modes");
    assert_eq!(live["containers"][0]["volumeMounts"], json!([own]));
    assert_eq!(live["volumes"].as_array().unwrap().len(), 1);
    assert!(live["containers"][0]["env"].as_array().unwrap().len() > 1);

    let off = (ConditionType::Injected, "True", "InjectionOff");
    patch(world, "modes", &json!({ "mode": "None" }));
    world.await_condition(SPACE, "modes", off);
    assert_eq!(world.deployment("modes")["spec"], before["spec"]);
    let status = world.placement(SPACE, "modes").unwrap().status.unwrap();
    let shown = &status.workloads[0];
    assert_eq!(
        (shown.kind, shown.name.as_str()),
        (WorkloadKind::Deployment, "modes")
    );
    assert_eq!(shown.observed_hash, None);
    world.await_ready(SPACE, "modes", "True", "Placed");

    change(world, "modes", &json!({ "mode": "Volume" }));
    assert_ne!(world.deployment("modes")["spec"], before["spec"]);
    world.delete(SPACE, "modes");
    world.await_gone(SPACE, "modes");
    let after = world.deployment("modes");
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(
        after["metadata"]["annotations"]["domicile.dev/placement"],
        Value::Null
    );
}

fn a_volume_and_a_mount_of_somebody_else_are_left_alone(world: &World) {
    let mut taken = rich("taken");
    taken["spec"]["template"]["spec"]["volumes"][0]["name"] = "domicile-secret".into();
    let container = &mut taken["spec"]["template"]["spec"]["containers"][0];
    container["volumeMounts"][0]["name"] = "domicile-secret".into();
    let before = made(world, &taken);
    world.apply(&tenant(
        "taken",
        &injected("taken", &json!({ "mode": "Volume" })),
    ));
    let message = world.await_condition(SPACE, "taken", CONFLICT);
    let volume = "volumes[name=\"domicile-secret\"] belongs to kubectl";
    assert!(message.contains(volume), "{message}");
    world.await_event(SPACE, "taken", "FieldConflict");
    world.await_ready(SPACE, "taken", "True", "FieldConflict");
    assert_eq!(world.deployment("taken")["spec"], before["spec"]);
    remove(world, "taken");

    // A pass that began before the change would inject as before, and rightly so.
    patch(world, "taken", &json!({ "mountPath": "/own" }));
    let none = (ConditionType::Injected, "False", "NoWorkloads");
    world.await_condition(SPACE, "taken", none);
    let before = made(world, &rich("taken"));
    world.running.until("the mount is told", SOON, || {
        let message = world.await_condition(SPACE, "taken", CONFLICT);
        message
            .contains("volumeMounts[mountPath=\"/own\"] belongs to kubectl")
            .then_some(())
    });
    assert_eq!(world.deployment("taken")["spec"], before["spec"]);
    change(world, "taken", &json!({ "mountPath": "/run/db" }));
    let label = json!({ "metadata": { "labels": { "tenant": "other" } } });
    world.patch_deployment("taken", &label);
    world.poke("taken", "released");
    world.running.until("the workload is as it was", SOON, || {
        (world.deployment("taken")["spec"] == before["spec"]).then_some(())
    });
    world.delete(SPACE, "taken");
    world.await_gone(SPACE, "taken");
}

fn an_init_container_gets_the_secret_when_it_is_named(world: &World) {
    let before = made(world, &rich("init"));
    world.apply(&tenant("init", &injected("init", &json!({}))));
    world.await_condition(SPACE, "init", COMPLETE);
    assert_eq!(spec(world, "init")["initContainers"][0].get("env"), None);
    let named = |containers: Value| {
        let mut spec = injected("init", &json!({}));
        spec["injection"]["workloads"][0]["containers"] = containers;
        patch(world, "init", &spec["injection"]);
    };
    named(json!(["prepare"]));
    world.await_condition(SPACE, "init", COMPLETE);
    let live = spec(world, "init");
    let env = &live["initContainers"][0]["env"];
    assert!(env.to_string().contains("\"DATABASE_URL\""), "{live}");
    assert_eq!(
        live["containers"][0]["env"],
        json!([{ "name": "MINE", "value": "1" }])
    );

    change(world, "init", &json!({ "mode": "Volume" }));
    let live = spec(world, "init");
    assert_eq!(live["initContainers"][0].get("env"), None);
    assert_eq!(
        live["initContainers"][0]["volumeMounts"][0]["name"],
        "domicile-secret"
    );
    named(json!(["prepare", "gone"]));
    let missing = (ConditionType::Injected, "False", "InvalidSpec");
    let message = world.await_condition(SPACE, "init", missing);
    assert!(message.contains("Deployment init: gone"), "{message}");
    assert_eq!(
        spec(world, "init"),
        live,
        "what is asked for in part is not done in part"
    );
    world.delete(SPACE, "init");
    world.await_gone(SPACE, "init");
    assert_eq!(world.deployment("init")["spec"], before["spec"]);
}

/// A Deployment with a variable, a volume and an init container of its own.
fn rich(name: &str) -> Value {
    let env = json!([{ "name": "MINE", "value": "1" }]);
    let mut rich = deployment(name, &json!({ "tenant": name }), &env);
    let spec = &mut rich["spec"]["template"]["spec"];
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "own", "mountPath": "/own" }]);
    spec["volumes"] = json!([{ "name": "own", "emptyDir": {} }]);
    spec["initContainers"] = json!([{
        "name": "prepare", "image": "local.test/none:dev", "imagePullPolicy": "Never",
    }]);
    rich
}

/// A Deployment whose pods no kubelet gets: what the test says of them stays.
pub(super) fn unscheduled(name: &str, tenant: &str) -> Value {
    let mut document = deployment(name, &json!({ "tenant": tenant }), &json!([]));
    document["spec"]["strategy"] = json!({ "type": "Recreate" });
    document["spec"]["template"]["spec"]["schedulerName"] = "nobody".into();
    document
}

/// A placement that selects the workloads labelled with its name.
pub(super) fn injected(name: &str, more: &Value) -> Value {
    let mut injection = json!({ "workloads": [{
        "apiVersion": "apps/v1", "kind": "Deployment",
        "selector": { "matchLabels": { "tenant": name } },
    }]});
    for (field, value) in more.as_object().unwrap() {
        injection[field] = value.clone();
    }
    json!({
        "tenantID": name, "region": "eu-west", "reclaimPolicy": "Delete",
        "deletionProtection": false, "injection": injection,
    })
}

/// Makes a Deployment. Answers it as the API server completes it.
pub(super) fn made(world: &World, document: &Value) -> Value {
    world.apply(document);
    world.deployment(document["metadata"]["name"].as_str().unwrap())
}

fn remove(world: &World, name: &str) {
    let api = world.deployments();
    let _ = world
        .running
        .block_on(api.delete(name, &DeleteParams::default()))
        .unwrap();
    world.running.until("the Deployment is gone", SOON, || {
        let left = world.running.block_on(api.get_opt(name)).unwrap();
        left.is_none_or(|left| left.uid().is_none()).then_some(())
    });
}

fn spec(world: &World, name: &str) -> Value {
    world.deployment(name)["spec"]["template"]["spec"].clone()
}

fn patch(world: &World, name: &str, injection: &Value) {
    world.patch(SPACE, name, &json!({ "spec": { "injection": injection } }));
}

/// Changes the injection, and waits until the workloads have it.
pub(super) fn change(world: &World, name: &str, injection: &Value) {
    patch(world, name, injection);
    world.await_condition(SPACE, name, COMPLETE);
}
