//! A Secret whose name changes in the spec: its passwords stay, its workloads are turned to it, and
//! only then the one before goes.

use std::collections::BTreeMap;

use domicile_api::conditions::{ConditionType, find};
use domicile_api::placement_status::{FormerSecret, TenantPlacementStatus};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::injection::{COMPLETE, injected};
use super::world::{SOON, SPACE, World, deployment, tenant};

const NAME: &str = "renamed";

pub(super) fn the_secret_before_goes_after_its_last_reader(world: &World) {
    let labels = json!({ "tenant": NAME });
    world.apply(&deployment(NAME, &labels, &json!([])));
    let mut spec = injected(NAME, &json!({}));
    spec["connection"] = json!({ "secretName": "first-db" });
    world.apply(&tenant(NAME, &spec));
    world.await_condition(SPACE, NAME, COMPLETE);
    let first = world.secret("first-db").unwrap();

    rename(world, NAME, "second-db");
    let second = world.running.until("the other Secret", SOON, || {
        let found = world.secret("second-db");
        assert!(world.can_log_in("eu-west", &first), "a login failed");
        found
    });
    same_logins(&first, &second);
    world.await_event(SPACE, NAME, "SecretRenamed");
    carries(world, "second-db");
    // No kubelet makes the new pod ready here, so that the old one stays, and would not start again
    // without the Secret that it names.
    for round in 0..3 {
        world.poke(NAME, &format!("still there {round}"));
        world.await_condition(SPACE, NAME, (ConditionType::Ready, "True", "Placed"));
        assert_eq!(world.secret("first-db").as_ref(), Some(&first));
    }
    let told = || {
        let status = status(world, NAME);
        let ready = find(&status.conditions, ConditionType::Ready)?
            .message
            .clone();
        ready.contains("first-db stays until").then_some(())
    };
    world.running.until("it is said that it stays", SOON, told);
    assert_eq!(former(world, NAME), ["first-db@hub"]);
    a_pass_that_was_killed_is_completed(world, &second);
    assert_eq!(world.secret("first-db").as_ref(), Some(&first));

    let strategy = json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } });
    world.patch_deployment(NAME, &strategy);
    goes(world, "first-db");
    await_none_left(world, NAME);
    world.await_event(SPACE, NAME, "FormerSecretDeleted");
    assert_eq!(world.secret("second-db").as_ref(), Some(&second));
    assert!(world.can_log_in("eu-west", &second));
    assert_eq!(status(world, NAME).credentials.unwrap().generation, 1);
    let told = world.everything();
    assert!(told.contains("SecretRenamed") && !told.contains(&second["password"]));
    a_deletion_takes_every_name_along(world);
}

/// The Secret was written, and the status was not; then it gets a third name.
fn a_pass_that_was_killed_is_completed(world: &World, second: &BTreeMap<String, String>) {
    let before = json!({ "status": {
        "binding": { "name": "first-db" }, "pendingSecret": "second-db",
    }});
    let api = world.placements(SPACE);
    let (parameters, before) = (PatchParams::default(), Patch::Merge(&before));
    let patched = api.patch_status(NAME, &parameters, &before);
    world.running.block_on(patched).unwrap();
    rename(world, NAME, "third-db");
    let third = world
        .running
        .until("the third Secret", SOON, || world.secret("third-db"));
    same_logins(second, &third);
    carries(world, "third-db");
    assert!(former(world, NAME).contains(&"second-db@hub".to_owned()));
    rename(world, NAME, "second-db");
    carries(world, "second-db");
    world.running.until("the third one is former", SOON, || {
        let left = former(world, NAME);
        (left == ["first-db@hub", "third-db@hub"]).then_some(())
    });
    // It may be another object, with the same content.
    assert_eq!(world.secret("second-db").as_ref(), Some(second));
}

fn a_deletion_takes_every_name_along(world: &World) {
    let strategy = json!({ "spec": { "strategy": {
        "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 },
    }}});
    world.patch_deployment(NAME, &strategy);
    rename(world, NAME, "last-db");
    carries(world, "last-db");
    assert!(world.secret("second-db").is_some());
    world.delete(SPACE, NAME);
    world.await_gone(SPACE, NAME);
    for name in ["first-db", "second-db", "third-db", "last-db"] {
        assert_eq!(world.secret(name), None, "{name}");
    }
}

/// Where no workload is selected nobody knows who reads it: it has the overlap.
pub(super) fn what_is_not_ours_under_a_name_before_is_left(world: &World) {
    let name = "unread";
    let spec = json!({
        "tenantID": name, "region": "eu-west", "reclaimPolicy": "Delete",
        "deletionProtection": false, "connection": { "secretName": "mine-db" },
    });
    world.apply(&tenant(name, &spec));
    world.await_ready(SPACE, name, "True", "Placed");
    rename(world, name, "yours-db");
    world.running.until("it is turned", SOON, || {
        let binding = status(world, name).binding?;
        (binding.name == "yours-db").then_some(())
    });
    world.poke(name, "still there");
    world.await_ready(SPACE, name, "True", "Placed");
    assert!(
        world.secret("mine-db").is_some(),
        "readers have the overlap"
    );
    let api = world.secrets();
    let _ = world
        .running
        .block_on(api.delete("mine-db", &DeleteParams::default()))
        .unwrap();
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": { "mine": "1" },
        "metadata": { "name": "mine-db", "namespace": SPACE },
    }));
    let overlap = json!({ "spec": { "credentials": { "rotation": { "overlapSeconds": 0 } } } });
    world.patch(SPACE, name, &overlap);
    await_none_left(world, name);
    let kept = world.secret("mine-db").unwrap();
    assert_eq!(kept, BTreeMap::from([("mine".to_owned(), "1".to_owned())]));
    // One that is ours goes when the overlap is over.
    rename(world, name, "theirs-db");
    goes(world, "yours-db");
    await_none_left(world, name);
    world.delete(SPACE, name);
    world.await_gone(SPACE, name);
    assert!(world.secret("mine-db").is_some());
}

fn same_logins(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    for key in ["username", "password", "username-ro", "password-ro", "uri"] {
        assert_eq!(one[key], other[key], "{key}");
    }
}

/// Waits until the workload names this Secret, and so does the status.
fn carries(world: &World, secret: &str) {
    world.running.until(&format!("it has {secret}"), SOON, || {
        let live = world.deployment(NAME);
        let env = live["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let name = |one: &Value| one["valueFrom"]["secretKeyRef"]["name"] == secret;
        let all = env.as_array()?.iter().all(name);
        let told = status(world, NAME).binding?.name == secret;
        (all && told).then_some(())
    });
}

fn goes(world: &World, secret: &str) {
    world.running.until(&format!("{secret} goes"), SOON, || {
        world.secret(secret).is_none().then_some(())
    });
}

pub(super) fn rename(world: &World, name: &str, secret: &str) {
    let patch = json!({ "spec": { "connection": { "secretName": secret } } });
    world.patch(SPACE, name, &patch);
}

pub(super) fn await_none_left(world: &World, name: &str) {
    world.running.until("nothing is left", SOON, || {
        former(world, name).is_empty().then_some(())
    });
}

/// The Secrets under former names, each as `name@cluster`.
pub(super) fn former(world: &World, name: &str) -> Vec<String> {
    let shown = |one: &FormerSecret| {
        let cluster = one.cluster.as_deref().unwrap_or("hub");
        format!("{}@{cluster}", one.name)
    };
    let status = status(world, name);
    status.former_secrets.iter().map(shown).collect()
}

fn status(world: &World, name: &str) -> TenantPlacementStatus {
    let placement = world.placement(SPACE, name).unwrap();
    placement.status.unwrap_or_default()
}
