//! Many tenants of a server, or in a namespace, that does not answer, and one of another.

use std::time::Duration;

use domicile_api::conditions::{ConditionType, find, is_true};
use domicile_lab::regions::How;
use domicile_operator::telemetry::ErrorLabels;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::SOON;
use super::refused::drop_placement;
use super::world::{EAST, SPACE, World, tenant};

const SILENT: &str = "us-east";

/// More than there are workers.
const CROWD: usize = 12;

/// Of eight workers, as many work at one server.
const SHARE: u64 = 6;

/// The namespace in which calls hang.
const STUCK: &str = "tenant-stuck";

pub(super) fn a_server_that_is_silent_holds_up_its_own_tenants_alone(world: &World) {
    let crowd: Vec<String> = (0..CROWD).map(|n| format!("crowd-{n}")).collect();
    for name in &crowd {
        let spec = json!({ "tenantID": name, "region": SILENT });
        world.apply(&tenant(name, &spec));
    }
    for name in &crowd {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    let regions = world.running.lab.regions();
    regions.lose(SILENT, How::Freeze).unwrap();
    for name in &crowd {
        world.poke(name, "crowd");
    }
    let spec = json!({ "tenantID": "alone", "region": "eu-west" });
    world.apply(&tenant("alone", &spec));
    world.await_ready(SPACE, "alone", "True", "Placed");
    // It had no need to wait until one of the crowd gave up.
    for name in &crowd {
        let status = world.placement(SPACE, name).unwrap().status.unwrap();
        let ready = find(&status.conditions, ConditionType::DatabaseReady).unwrap();
        assert_eq!(ready.reason, "Provisioned", "{name}: {}", ready.message);
    }
    world.await_region(SILENT, "ProbeTimedOut");
    regions.restore(SILENT).unwrap();
    world.await_region(SILENT, "Serving");
    for name in &crowd {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    // Each that waited for its turn gets one.
    for name in crowd.iter().chain(&["alone".to_owned()]) {
        drop_placement(world, name);
    }
}

pub(super) fn a_namespace_that_is_silent_holds_up_its_own_tenants_alone(world: &World) {
    world.running.onboard(STUCK);
    let regions = world.running.lab.regions();
    regions.lose(SILENT, How::Freeze).unwrap();
    world.apply(&hanging(regions.server(SILENT).unwrap().port()));
    world
        .running
        .until("calls hang", SOON, || hangs(world).then_some(()));
    let failed = ErrorLabels {
        controller: "placement".to_owned(),
        class: "transient",
    };
    let failed = || {
        let errors = &world.running.ctx.metrics.reconcile_errors;
        errors.get_or_create(&failed).get()
    };
    let before = failed();
    let crowd: Vec<String> = (0..CROWD).map(|n| format!("stuck-{n}")).collect();
    for name in &crowd {
        let mut placement = tenant(name, &json!({ "tenantID": name, "region": "eu-west" }));
        placement["metadata"]["namespace"] = STUCK.into();
        world.apply(&placement);
    }
    let made = || -> u64 {
        let sql = "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant\\_stuck%'";
        world.sql("eu-west", sql).parse().unwrap()
    };
    world.running.until("calls fail", SOON, || {
        (failed() >= before + SHARE).then_some(())
    });
    // Of the same server, and in another namespace.
    let spec = json!({ "tenantID": "beside", "region": "eu-west" });
    world.apply(&tenant("beside", &spec));
    world
        .running
        .until("it is placed, and another call fails", SOON, || {
            // One at a time tries whether calls are answered again.
            let (made, given_up) = (made(), failed() - before);
            assert!(
                made <= given_up + 1,
                "{made} were made, {given_up} calls failed"
            );
            let beside = world.placement(SPACE, "beside")?.status?;
            let placed = is_true(&beside.conditions, ConditionType::Ready);
            (placed && given_up > SHARE).then_some(())
        });
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(world.running.admin.clone());
    let at_once = DeleteParams::default();
    let gone = webhooks.delete("hanging", &at_once);
    let _ = world.running.block_on(gone).unwrap();
    regions.restore(SILENT).unwrap();
    world.await_region(SILENT, "Serving");
    // Each that waited for its turn gets one.
    for name in &crowd {
        world.await_ready(STUCK, name, "True", "Placed");
    }
    drop_placement(world, "beside");
}

/// Secrets of the namespace are asked about at a server that takes connections and says nothing.
fn hanging(port: u16) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "hanging" },
        "webhooks": [{
            "name": "hanging.example.com",
            "clientConfig": { "url": format!("https://{EAST}:{port}/") },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                "operations": ["CREATE", "UPDATE"],
            }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": STUCK } },
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 30,
        }],
    })
}

/// Whether a Secret that is only tried waits for an answer.
fn hangs(world: &World) -> bool {
    let secrets: Api<Secret> = Api::namespaced(world.running.admin.clone(), STUCK);
    let secret = json!({ "metadata": { "name": "tried" } });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let tried = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let answer = async { timeout(Duration::from_secs(3), secrets.create(&tried, &secret)).await };
    world.running.block_on(answer).is_err()
}
