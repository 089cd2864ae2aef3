//! The Region controller and the leader election on a real API server with real databases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_api::Region;
use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::{ACCEPT_SYSTEM_IDENTIFIER, RECONCILE_AT};
use domicile_operator::tally::Tally;
use domicile_operator::telemetry::ControllerLabels;
use domicile_tests::operator::{NAMESPACE, Running};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

#[path = "apiserver_region/election.rs"]
mod election;
#[path = "apiserver_region/unreadable.rs"]
mod unreadable;

/// A password that may appear nowhere.
const CANARY: &str = "canary-7d41c0ffee";
const SOON: Duration = Duration::from_secs(30);

const WEST: &str = "10.77.0.1";
const CENTRAL: &str = "10.77.0.2";
const EAST: &str = "10.77.0.3";

#[test]
fn regions_tell_the_truth_about_their_servers() {
    let running = Running::start();
    delete_all(&running);
    each_fault_has_its_own_reason(&running);
    a_login_without_rights_is_named_with_the_next_step(&running);
    another_server_at_the_address_is_refused_until_it_is_accepted(&running);
    two_default_regions_are_both_refused(&running);
    one_address_in_two_regions_is_refused(&running);
    a_settled_world_writes_nothing(&running);
    no_output_holds_the_password(&running);
    unreadable::an_unreadable_object_is_marked_and_stops_no_other(&running);
    election::the_lease_has_one_holder(&running);
    delete_all(&running);
}

/// Another test may have left Regions with the same addresses.
fn delete_all(running: &Running) {
    let arguments = ["delete", "regions.domicile.dev", "--all", "--wait=true"];
    running.lab.kubectl(&arguments).unwrap();
}

/// Faults: 53, 60, 61.
fn each_fault_has_its_own_reason(running: &Running) {
    secret(
        running,
        "wrong-password",
        &json!({ "username": "domicile_admin", "password": CANARY }),
    );
    secret(
        running,
        "no-password",
        &json!({ "username": "domicile_admin" }),
    );
    let cases = [
        (
            "CredentialsDenied",
            "eu-west-ca",
            "wrong-password",
            WEST,
            5432,
        ),
        (
            "CertificateInvalid",
            "us-east-ca",
            "eu-west-admin",
            WEST,
            5432,
        ),
        ("Unreachable", "eu-west-ca", "eu-west-admin", WEST, 1),
        ("SecretInvalid", "eu-west-ca", "no-password", WEST, 5432),
        ("SecretNotFound", "eu-west-ca", "nowhere", WEST, 5432),
    ];
    for (reason, ca, admin, host, port) in cases {
        apply(running, &region("faulty", ca, admin, host, port));
        await_ready(running, "faulty", "False", reason);
        let told = || events(running, "faulty").contains(reason).then_some(());
        running.until(&format!("an event {reason}"), SOON, told);
        delete(running, "faulty");
    }
}

fn a_login_without_rights_is_named_with_the_next_step(running: &Running) {
    let server = running.lab.regions().server("us-east").unwrap();
    let sql = format!("CREATE ROLE weak LOGIN PASSWORD '{CANARY}'");
    server.superuser_sql("postgres", &sql).unwrap();
    secret(
        running,
        "weak",
        &json!({ "username": "weak", "password": CANARY }),
    );
    apply(running, &region("weak", "us-east-ca", "weak", EAST, 5432));
    await_ready(running, "weak", "False", "PrivilegesMissing");
    let weak = get(running, "weak").unwrap();
    let conditions = weak.status.unwrap_or_default().conditions;
    let rights = find(&conditions, ConditionType::AdminPrivilegesSufficient).unwrap();
    assert_eq!(rights.status, "False");
    assert!(
        rights
            .message
            .contains("kubectl domicile admin-sql weak/main"),
        "{rights:?}"
    );
    delete(running, "weak");
    server.superuser_sql("postgres", "DROP ROLE weak").unwrap();
}

/// Faults: 62.
fn another_server_at_the_address_is_refused_until_it_is_accepted(running: &Running) {
    apply(
        running,
        &region("moving", "eu-west-ca", "eu-west-admin", WEST, 5432),
    );
    await_ready(running, "moving", "True", "Serving");
    apply(
        running,
        &region("moving", "us-east-ca", "us-east-admin", EAST, 5432),
    );
    await_ready(running, "moving", "False", "WrongServer");
    let server = running.lab.regions().server("us-east").unwrap();
    let sql = "SELECT system_identifier FROM pg_control_system()";
    let identifier = server.superuser_sql("postgres", sql).unwrap();
    annotate(
        running,
        "moving",
        ACCEPT_SYSTEM_IDENTIFIER,
        identifier.trim(),
    );
    await_ready(running, "moving", "True", "Serving");
    delete(running, "moving");
}

fn two_default_regions_are_both_refused(running: &Running) {
    let mut west = region("eu-west", "eu-west-ca", "eu-west-admin", WEST, 5432);
    let mut east = region("us-east", "us-east-ca", "us-east-admin", EAST, 5432);
    (west["spec"]["default"], east["spec"]["default"]) = (true.into(), true.into());
    apply(running, &west);
    await_ready(running, "eu-west", "True", "Serving");
    apply(running, &east);
    for name in ["eu-west", "us-east"] {
        await_ready(running, name, "False", "DuplicateDefault");
        let told = || {
            events(running, name)
                .contains("DuplicateDefault")
                .then_some(())
        };
        running.until("an event DuplicateDefault", SOON, told);
    }
    east["spec"]["default"] = false.into();
    apply(running, &east);
    for name in ["eu-west", "us-east"] {
        await_ready(running, name, "True", "Serving");
    }
}

fn one_address_in_two_regions_is_refused(running: &Running) {
    apply(
        running,
        &region("twin", "us-east-ca", "us-east-admin", EAST, 5432),
    );
    await_ready(running, "twin", "False", "DuplicateServer");
    await_ready(running, "us-east", "False", "DuplicateServer");
    delete(running, "twin");
    await_ready(running, "us-east", "True", "Serving");
}

/// Ten passes over each Region, forced by an annotation, and not one write.
fn a_settled_world_writes_nothing(running: &Running) {
    let names = ["eu-west", "eu-central", "us-east"];
    apply(
        running,
        &region(
            "eu-central",
            "eu-central-ca",
            "eu-central-admin",
            CENTRAL,
            5432,
        ),
    );
    for name in names {
        await_ready(running, name, "True", "Serving");
    }
    let settle = running.writes();
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(3)));
    let before = running.writes();
    assert_eq!(settle, before, "the world is not settled");
    let controller = ControllerLabels {
        controller: "region".to_owned(),
    };
    for round in 1..=10 {
        let passes = running
            .ctx
            .metrics
            .reconciles
            .get_or_create(&controller)
            .get();
        for name in names {
            annotate(running, name, RECONCILE_AT, &round.to_string());
        }
        let passed = || {
            let now = running
                .ctx
                .metrics
                .reconciles
                .get_or_create(&controller)
                .get();
            (now >= passes + 3).then_some(())
        };
        running.until("three passes", SOON, passed);
    }
    let after = running.writes();
    assert!(!after.is_empty(), "the audit log tells of no write at all");
    assert_eq!(after[before.len()..], [] as [String; 0]);
}

/// Faults: 28.
fn no_output_holds_the_password(running: &Running) {
    let regions: Api<Region> = Api::all(running.admin.clone());
    let events: Api<Event> = Api::all(running.admin.clone());
    let everything = ListParams::default();
    let regions = running.block_on(regions.list(&everything)).unwrap();
    let events = running.block_on(events.list(&everything)).unwrap();
    assert!(events.items.len() > 5, "too few events to be a test");
    let metrics = running.ctx.metrics.text(&Tally::default());
    let text = format!("{regions:?} {events:?} {metrics}");
    assert!(!text.contains(CANARY));
}

fn region(name: &str, ca: &str, admin: &str, host: &str, port: u16) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": { "name": name },
        "spec": {
            "key": name.to_uppercase().replace('-', "_"),
            "jurisdiction": "EU",
            "default": false,
            "databaseServers": [{
                "name": "main", "host": host, "port": port,
                "tls": { "caSecretRef": { "name": ca } },
                "adminSecretRef": { "name": admin },
            }],
        },
    })
}

fn secret(running: &Running, name: &str, data: &Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "stringData": data,
    });
    running.lab.cluster().apply(&secret.to_string()).unwrap();
}

fn apply(running: &Running, region: &Value) {
    running.lab.cluster().apply(&region.to_string()).unwrap();
}

fn annotate(running: &Running, name: &str, key: &str, value: &str) {
    let regions: Api<Region> = Api::all(running.admin.clone());
    let patch = json!({ "metadata": { "annotations": { key: value } } });
    let patch = Patch::Merge(&patch);
    running
        .block_on(regions.patch(name, &PatchParams::default(), &patch))
        .unwrap();
}

fn delete(running: &Running, name: &str) {
    let regions: Api<Region> = Api::all(running.admin.clone());
    let _ = running
        .block_on(regions.delete(name, &DeleteParams::default()))
        .unwrap();
    running.until(&format!("{name} is gone"), SOON, || {
        get(running, name).is_none().then_some(())
    });
    let forgotten = || running.ctx.stores.regions.get(name).is_none().then_some(());
    running.until(&format!("{name} is forgotten"), SOON, forgotten);
}

fn get(running: &Running, name: &str) -> Option<Region> {
    let regions: Api<Region> = Api::all(running.admin.clone());
    running.block_on(regions.get_opt(name)).unwrap()
}

/// Waits until `Ready` has this status and reason for the present generation.
fn await_ready(running: &Running, name: &str, status: &str, reason: &str) {
    let mut last = String::new();
    let started = running.ctx.clock.mono();
    loop {
        let region = get(running, name).unwrap();
        let conditions = region.status.unwrap_or_default().conditions;
        if let Some(ready) = find(&conditions, ConditionType::Ready) {
            let current = ready.observed_generation == region.metadata.generation;
            if current && ready.status == status && ready.reason == reason {
                return;
            }
            last = format!("{} {}: {}", ready.status, ready.reason, ready.message);
        }
        let passed = running.ctx.clock.mono().since(started);
        assert!(
            passed < 60_000,
            "{name} is not {status} {reason} but {last}"
        );
        running.block_on(running.ctx.clock.sleep(Duration::from_millis(100)));
    }
}

/// The reasons of the events about a Region.
fn events(running: &Running, name: &str) -> BTreeSet<String> {
    let events: Api<Event> = Api::namespaced(running.admin.clone(), "default");
    let events = running
        .block_on(events.list(&ListParams::default()))
        .unwrap();
    let about = |event: &&Event| {
        let regarding = event.regarding.as_ref();
        regarding.is_some_and(|object| object.name.as_deref() == Some(name))
    };
    events
        .items
        .iter()
        .filter(about)
        .filter_map(|event| event.reason.clone())
        .collect()
}
