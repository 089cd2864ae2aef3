//! Workloads of kinds that are not of `apps/v1`.

use domicile_api::conditions::ConditionType;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, tenant};

const UNKNOWN: (ConditionType, &str, &str) = (ConditionType::Injected, "True", "RolloutUnknown");

/// Its mapping is built in, as Service Binding says.
pub(super) fn a_cron_job_gets_the_secret(world: &World) {
    let container = |name: &str| {
        json!({ "name": name, "image": "local.test/none:dev", "imagePullPolicy": "Never",
            "env": [{ "name": "MINE", "value": "1" }] })
    };
    world.apply(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": "nightly", "namespace": SPACE, "labels": { "tenant": "nightly" } },
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never", "containers": [container("app")],
                "initContainers": [container("prepare")],
            }}}},
        },
    }));
    let before = spec(world, "batch/v1", "CronJob", "nightly");
    place(world, "nightly", "batch/v1", "CronJob", &json!({}));
    let message = world.await_condition(SPACE, "nightly", UNKNOWN);
    assert!(message.contains("CronJob nightly"), "{message}");
    world.await_ready(SPACE, "nightly", "True", "Placed");
    let template =
        || spec(world, "batch/v1", "CronJob", "nightly")["jobTemplate"]["spec"]["template"].clone();
    let live = template();
    let env = live["spec"]["containers"][0]["env"].clone();
    let reference = json!({
        "name": "DATABASE_URL",
        "valueFrom": { "secretKeyRef": { "name": "nightly-db", "key": "DATABASE_URL" } },
    });
    assert!(env.as_array().unwrap().contains(&reference), "{env}");
    let init = live["spec"]["initContainers"][0]["env"].to_string();
    assert!(!init.contains("DATABASE_URL"), "{init}");
    let status = world.placement(SPACE, "nightly").unwrap().status.unwrap();
    let shown = &status.other_workloads[0];
    assert_eq!((&*shown.kind, &*shown.name), ("CronJob", "nightly"));
    assert_eq!(shown.observed_hash, status.secret_hash);
    let told = live["metadata"]["annotations"].to_string();
    assert!(told.contains(&status.secret_hash.unwrap()), "{told}");

    // A changed Secret reaches the next Job's pods.
    let keys = json!({ "DATABASE_URL": "{{ rw.uri }}", "MORE": "{{ rw.host }}" });
    world.patch(
        SPACE,
        "nightly",
        &json!({ "spec": { "connection": { "keys": keys } } }),
    );
    world
        .running
        .until("the CronJob has the new key", SOON, || {
            template()["spec"]["containers"][0]["env"]
                .to_string()
                .contains("\"MORE\"")
                .then_some(())
        });
    world.await_condition(SPACE, "nightly", UNKNOWN);

    let nothing = json!({ "spec": { "injection": null } });
    world.patch(SPACE, "nightly", &nothing);
    world.running.until("the CronJob is as it was", SOON, || {
        (spec(world, "batch/v1", "CronJob", "nightly") == before).then_some(())
    });
    end(world, "nightly");
}

pub(super) fn any_kind_gets_the_secret_by_its_mapping(world: &World) {
    let volume = json!({ "mode": "Volume", "mountPath": "/run/db" });
    place(world, "machine", API_VERSION, "Machine", &volume);
    let lacks = |reason| {
        let wanted = (ConditionType::Injected, "False", reason);
        world.await_condition(SPACE, "machine", wanted)
    };
    let message = lacks("WorkloadKindUnknown");
    assert!(message.contains("example.com/v1/Machine"), "{message}");
    world.await_event(SPACE, "machine", "WorkloadKindUnknown");

    // The database is served all the same.
    assert!(world.can_log_in("eu-west", &world.secret("machine-db").unwrap()));
    world.apply(&definition(true));
    let message = lacks("WorkloadForbidden");
    assert!(
        message.contains("servicebinding.io/controller"),
        "{message}"
    );
    world.apply(&rights("machines"));
    world.apply(&machine(&json!([{ "name": "MINE", "value": "1" }])));
    let message = lacks("InvalidMapping");
    assert!(
        message.contains("ClusterWorkloadResourceMapping"),
        "{message}"
    );
    let before = spec(world, API_VERSION, "Machine", "machine");

    let definitions = domicile_operator::service_binding_crds().unwrap();
    world.running.lab.cluster().apply(&definitions).unwrap();
    world.running.until("the mapping is there", SOON, || {
        let mapping = mapping().to_string();
        world.running.lab.cluster().apply(&mapping).ok()
    });
    world.await_condition(SPACE, "machine", UNKNOWN);
    let live = spec(world, API_VERSION, "Machine", "machine");
    assert_eq!(live["boxes"][0]["disks"][0]["mountPath"], "/run/db");
    let volumes = live["store"]["volumes"].to_string();
    assert!(volumes.contains("machine-db"), "{volumes}");
    assert!(live["notes"].is_object(), "{live}");

    let variables = json!({ "spec": { "injection": { "mode": "Env", "mountPath": null } } });
    world.patch(SPACE, "machine", &variables);
    world.running.until("the files became variables", SOON, || {
        let live = spec(world, API_VERSION, "Machine", "machine");
        let env = live["boxes"][0]["vars"].to_string();
        (env.contains("DATABASE_URL") && live["store"].is_null()).then_some(())
    });
    // What somebody else wrote in the same place is told, and left.
    let theirs = json!([{ "name": "DATABASE_URL", "value": "mine" }]);
    let taken = json!({ "spec": { "boxes": [{ "vars": theirs }] } });
    change(world, &taken);
    let message = lacks("FieldConflict");
    assert!(message.contains("DATABASE_URL"), "{message}");
    let vars = &spec(world, API_VERSION, "Machine", "machine")["boxes"][0]["vars"];
    assert_eq!(*vars, theirs);
    let own = json!({ "spec": { "boxes": [{ "vars": [{ "name": "MINE", "value": "1" }] }] } });
    change(world, &own);
    world.await_condition(SPACE, "machine", UNKNOWN);

    end(world, "machine");
    let left = spec(world, API_VERSION, "Machine", "machine");
    assert_eq!(left, before);
}

/// What was given in a version that is not served any more is taken back in another one.
pub(super) fn a_version_that_is_gone_leaves_nothing(world: &World) {
    let before = spec(world, API_VERSION, "Machine", "machine");
    place(world, "machine", API_VERSION, "Machine", &json!({}));
    world.await_condition(SPACE, "machine", UNKNOWN);
    assert_ne!(spec(world, API_VERSION, "Machine", "machine"), before);
    world.apply(&definition(false));
    let old = api(world, API_VERSION, "Machine");
    world.running.until("the version is gone", SOON, || {
        world.running.block_on(old.get("machine")).err()
    });
    end(world, "machine");
    let left = spec(world, "test.example.com/v2", "Machine", "machine");
    assert_eq!(left, before);
}

const API_VERSION: &str = "test.example.com/v1";

/// Selects workloads of a kind that are labelled with the placement's name.
fn place(world: &World, name: &str, api_version: &str, kind: &str, more: &Value) {
    let mut injection = json!({ "workloads": [{
        "apiVersion": api_version, "kind": kind, "selector": { "matchLabels": { "tenant": name } },
    }]});
    for (field, value) in more.as_object().unwrap() {
        injection[field] = value.clone();
    }
    let spec = json!({
        "tenantID": name, "region": "eu-west", "reclaimPolicy": "Delete",
        "deletionProtection": false, "injection": injection,
    });
    world.apply(&tenant(name, &spec));
}

fn change(world: &World, patch: &Value) {
    let (api, patch) = (api(world, API_VERSION, "Machine"), Patch::Merge(patch));
    let running = &world.running;
    let _ = running
        .block_on(api.patch("machine", &PatchParams::default(), &patch))
        .unwrap();
}

fn end(world: &World, name: &str) {
    world.delete(SPACE, name);
    world.await_gone(SPACE, name);
}

fn api(world: &World, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(world.running.admin.clone(), SPACE, &resource)
}

fn spec(world: &World, api_version: &str, kind: &str, name: &str) -> Value {
    let api = api(world, api_version, kind);
    let live = world.running.block_on(api.get(name)).unwrap();
    live.data["spec"].clone()
}

/// A kind whose lists are atomic for server-side apply, with names of its own for everything.
/// Without the `first` of its versions there is another.
fn definition(first: bool) -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = |name, served, storage| {
        let schema = json!({ "type": "object", "properties": { "spec": anything } });
        json!({
            "name": name, "served": served, "storage": storage,
            "schema": { "openAPIV3Schema": schema },
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "machines.test.example.com" },
        "spec": {
            "group": "test.example.com", "scope": "Namespaced",
            "names": { "plural": "machines", "singular": "machine", "kind": "Machine" },
            "versions": [version("v1", first, true), version("v2", true, false)],
        },
    })
}

/// What the operator needs for a kind of the test's own.
pub(super) fn rights(plural: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": format!("test-{plural}"), "labels": { "servicebinding.io/controller": "true" },
        },
        "rules": [{
            "apiGroups": ["test.example.com"], "resources": [plural],
            "verbs": ["get", "list", "patch"],
        }],
    })
}

fn machine(vars: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Machine",
        "metadata": { "name": "machine", "namespace": SPACE, "labels": { "tenant": "machine" } },
        "spec": { "boxes": [{ "vars": vars }] },
    })
}

fn mapping() -> Value {
    json!({
        "apiVersion": "servicebinding.io/v1", "kind": "ClusterWorkloadResourceMapping",
        "metadata": { "name": "machines.test.example.com" },
        "spec": { "versions": [{
            "version": "*", "annotations": ".spec.notes", "volumes": ".spec.store.volumes",
            "containers": [{ "path": ".spec.boxes[*]", "env": ".vars", "volumeMounts": ".disks" }],
        }]},
    })
}
