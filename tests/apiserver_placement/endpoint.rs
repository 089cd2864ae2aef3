//! A Service that leads workloads to their server. The lab has neither a kube-proxy nor a DNS for
//! Services, so that no pod can use one there; see `clients`.

use std::time::Duration;

use domicile_api::FailoverPolicy;
use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::{EPOCH, OWNER_UID};
use domicile_operator::telemetry::ControllerLabels;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::clients::{
    addresses, all_slices, logs_in_by_name, named, reaches, service, services, slices,
};
use super::injection::{injected, unscheduled};
use super::moves::{CENTRAL, operate, policy, policy_status};
use super::world::{EAST, SOON, SPACE, WEST, World, region, tenant};

const HOST: &str = "fronted-db-rw.tenant-acme.svc";

/// Faults: 61.
#[test]
fn a_service_leads_workloads_to_their_server() {
    let world = World::start();
    world.running.onboard(SPACE);
    for (name, law, host) in [
        ("eu-west", "EU", WEST),
        ("eu-central", "EU", CENTRAL),
        ("us-east", "US", EAST),
    ] {
        world.apply(&region(name, law, host, &format!("{name}-admin")));
        world.await_region(name, "Serving");
    }
    a_certificate_that_lacks_the_name_is_refused(&world);
    a_name_that_no_service_can_have_is_refused(&world);
    a_service_of_somebody_else_is_left_alone(&world);
    a_host_that_is_a_name_is_answered_by_dns(&world);
    world.apply(&policy());
    let protected = (ConditionType::FailoverProtected, "True", "Armed");
    placed_behind_a_service(&world);
    world.await_condition(SPACE, "fronted", protected);
    a_settled_service_is_not_written(&world);
    a_slice_edited_by_hand_is_put_back(&world);
    a_slice_of_somebody_else_is_told(&world);
    a_failover_turns_the_slice_and_leaves_the_secret(&world);
    the_service_goes_when_no_workload_needs_it(&world);
    the_service_goes_with_its_database(&world);
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let _ = world
        .running
        .block_on(api.delete("eu", &DeleteParams::default()))
        .unwrap();
}

fn a_certificate_that_lacks_the_name_is_refused(world: &World) {
    let spec = json!({
        "tenantID": "abroad", "region": "us-east", "connection": { "endpoint": "Service" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("abroad", &spec));
    world.await_ready(SPACE, "abroad", "False", "CertificateLacksName");
    world.await_event(SPACE, "abroad", "CertificateLacksName");
    let lacks = (
        ConditionType::CredentialsCurrent,
        "False",
        "CertificateLacksName",
    );
    let message = world.await_condition(SPACE, "abroad", lacks);
    for part in [
        "us-east/main",
        "abroad-db-rw.tenant-acme.svc",
        "*.tenant-acme.svc",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.secret("abroad-db"), None);
    assert!(!world.database_exists("us-east", "tenant_abroad"));
    assert!(service(world, "abroad-db-rw").is_none());

    // What works is not taken away for what does not.
    endpoint(world, "abroad", "Direct");
    world.await_ready(SPACE, "abroad", "True", "Placed");
    let direct = world.secret("abroad-db").unwrap();
    assert_eq!(direct["host"], EAST);
    endpoint(world, "abroad", "Service");
    world.await_ready(SPACE, "abroad", "True", "CertificateLacksName");
    assert_eq!(world.secret("abroad-db").unwrap(), direct);
    assert!(service(world, "abroad-db-rw").is_none());
    world.delete(SPACE, "abroad");
    world.await_gone(SPACE, "abroad");
}

fn a_name_that_no_service_can_have_is_refused(world: &World) {
    let connection = json!({ "endpoint": "Service", "secretName": "a.b" });
    let spec = json!({ "tenantID": "dotted", "region": "eu-west", "connection": connection });
    world.apply(&tenant("dotted", &spec));
    world.await_ready(SPACE, "dotted", "False", "InvalidName");
    world.delete(SPACE, "dotted");
    world.await_gone(SPACE, "dotted");
}

fn a_service_of_somebody_else_is_left_alone(world: &World) {
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "taken-db-rw", "namespace": SPACE },
        "spec": { "selector": { "app": "theirs" }, "ports": [{ "port": 80 }] },
    });
    world.apply(&theirs);
    let before = service(world, "taken-db-rw");
    let spec = json!({
        "tenantID": "taken", "region": "eu-west", "connection": { "endpoint": "Service" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("taken", &spec));
    world.await_ready(SPACE, "taken", "False", "ServiceOwnedByOther");
    world.await_event(SPACE, "taken", "ServiceOwnedByOther");
    assert_eq!(service(world, "taken-db-rw"), before);
    assert_eq!(world.secret("taken-db"), None);
    assert!(!world.database_exists("eu-west", "tenant_taken"));
    // Nor does it go with the placement.
    world.delete(SPACE, "taken");
    world.await_gone(SPACE, "taken");
    assert_eq!(service(world, "taken-db-rw"), before);
    let api = services(world);
    let _ = world
        .running
        .block_on(api.delete("taken-db-rw", &DeleteParams::default()))
        .unwrap();
}

/// The Service changes its type and back, which the API server has rules for.
fn a_host_that_is_a_name_is_answered_by_dns(world: &World) {
    let spec = json!({
        "tenantID": "named", "region": "eu-west", "connection": { "endpoint": "Service" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("named", &spec));
    world.await_ready(SPACE, "named", "True", "Placed");
    let data = world.secret("named-db").unwrap();
    assert!(logs_in_by_name(world, "named-db-rw", &data));

    // For the cluster it is a name; a resolver needs no DNS for it.
    let name = "0x0a4d0001";
    world.apply(&region("eu-west", "EU", name, "eu-west-admin"));
    world.poke("named", "alias");
    world.running.until("the Service is an alias", SOON, || {
        let spec = service(world, "named-db-rw")?.spec?;
        let alias = spec.type_.as_deref() == Some("ExternalName");
        (alias && spec.external_name.as_deref() == Some(name)).then_some(())
    });
    world.running.until("no slice is left", SOON, || {
        slices(world, "named-db-rw").is_empty().then_some(())
    });
    world.await_ready(SPACE, "named", "True", "Placed");
    assert_eq!(world.secret("named-db").unwrap(), data);

    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.poke("named", "address");
    world.running.until("the Service has an address", SOON, || {
        let spec = service(world, "named-db-rw")?.spec?;
        let address = spec.type_.as_deref() == Some("ClusterIP") && spec.external_name.is_none();
        (address && slices(world, "named-db-rw").len() == 1).then_some(())
    });
    world.await_ready(SPACE, "named", "True", "Placed");
    assert!(logs_in_by_name(world, "named-db-rw", &data));
    world.delete(SPACE, "named");
    world.await_gone(SPACE, "named");
    assert!(service(world, "named-db-rw").is_none());
}

fn placed_behind_a_service(world: &World) {
    world.apply(&unscheduled("fronted", "fronted"));
    world.apply(&tenant("fronted", &injected("fronted", &json!({}))));
    let complete = (ConditionType::Injected, "True", "InjectionComplete");
    world.await_condition(SPACE, "fronted", complete);
    let direct = world.secret("fronted-db").unwrap();
    assert_eq!(direct["host"], WEST);
    assert!(service(world, "fronted-db-rw").is_none());

    endpoint(world, "fronted", "Service");
    world.await_condition(SPACE, "fronted", complete);
    world.await_ready(SPACE, "fronted", "True", "Placed");
    let data = world.secret("fronted-db").unwrap();
    assert_eq!((&*data["host"], &*data["port"]), (HOST, "5432"));
    assert!(data["uri"].contains("@fronted-db-rw.tenant-acme.svc:5432/"));
    assert_eq!(data["password"], direct["password"]);
    assert!(
        !data.contains_key("REGION_HEADER_VALUE"),
        "a move changes it"
    );
    // Both servers' authorities, so that a move changes nothing.
    let authority = "-----BEGIN CERTIFICATE-----";
    assert_eq!(data["certificates"].matches(authority).count(), 2);

    let made = service(world, "fronted-db-rw").unwrap();
    let status = world.placement(SPACE, "fronted").unwrap().status.unwrap();
    let uid = world.placement(SPACE, "fronted").unwrap().uid();
    assert_eq!(made.annotations().get(OWNER_UID), uid.as_ref());
    assert_eq!(status.service.as_deref(), Some("fronted-db-rw"));
    assert_eq!(status.connection.unwrap().host, HOST);
    assert_eq!(made.spec.unwrap().selector, None);
    assert_eq!(addresses(world, "fronted-db-rw"), [WEST]);
    assert!(logs_in_by_name(world, "fronted-db-rw", &data));
    // The address's own name is another one: the client above verified that of the Service.
    let other = named(world, "fronted-db-rw", &data, "else.tenant-other.svc");
    assert!(!other, "a certificate is verified for the name");

    // Its name hangs on the Secret's.
    let patch = json!({ "spec": { "connection": { "secretName": "other" } } });
    let refused = world.running.block_on(world.placements(SPACE).patch(
        "fronted",
        &PatchParams::default(),
        &Patch::Merge(&patch),
    ));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("`connection.secretName`"), "{refused}");
}

fn a_settled_service_is_not_written(world: &World) {
    let running = &world.running;
    let controller = ControllerLabels {
        controller: "placement".to_owned(),
    };
    let passes = || {
        let reconciles = &running.ctx.metrics.reconciles;
        reconciles.get_or_create(&controller).get()
    };
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(4)));
    let of_service = |writes: Vec<String>| {
        let ours = |write: &String| write.contains("fronted") && !write.ends_with("status");
        writes.into_iter().filter(ours).collect::<Vec<_>>()
    };
    let before = of_service(running.writes());
    for round in 1..=5 {
        let passed = passes();
        world.poke("fronted", &round.to_string());
        running.until("a pass", SOON, || (passes() > passed).then_some(()));
    }
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(2)));
    assert_eq!(of_service(running.writes()), before);
}

fn a_slice_edited_by_hand_is_put_back(world: &World) {
    let edited = json!({ "endpoints": [{ "addresses": ["10.77.9.9"] }] });
    let api = all_slices(world);
    let patch = Patch::Merge(&edited);
    let running = &world.running;
    let _ = running
        .block_on(api.patch("fronted-db-rw-ipv4", &PatchParams::default(), &patch))
        .unwrap();
    world.poke("fronted", "edited");
    world.running.until("the slice is put back", SOON, || {
        (addresses(world, "fronted-db-rw") == [WEST]).then_some(())
    });
    world.await_ready(SPACE, "fronted", "True", "Placed");
}

fn a_slice_of_somebody_else_is_told(world: &World) {
    world.apply(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "theirs", "namespace": SPACE,
            "labels": { "kubernetes.io/service-name": "fronted-db-rw" },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.77.9.9"] }],
        "ports": [{ "name": "postgresql", "port": 5432, "protocol": "TCP" }],
    }));
    world.poke("fronted", "theirs");
    world.await_ready(SPACE, "fronted", "False", "ServiceOwnedByOther");
    let api = all_slices(world);
    let running = &world.running;
    let _ = running
        .block_on(api.delete("theirs", &DeleteParams::default()))
        .unwrap();
    world.poke("fronted", "gone");
    world.await_ready(SPACE, "fronted", "True", "Placed");
}

fn a_failover_turns_the_slice_and_leaves_the_secret(world: &World) {
    let secret = |world: &World| {
        let api = world.secrets();
        world.running.block_on(api.get("fronted-db")).unwrap()
    };
    let (before, workload) = (secret(world), world.deployment("fronted"));
    let made = service(world, "fronted-db-rw").unwrap();
    operate(world, "fronted-there", "Switchover", "eu-central");
    // The move ends when the tenants are pointed at the new server.
    assert_eq!(addresses(world, "fronted-db-rw"), [CENTRAL]);
    world.await_ready(SPACE, "fronted", "True", "Placed");
    let epoch = policy_status(world).epoch.unwrap();
    let slice = slices(world, "fronted-db-rw").remove(0);
    assert_eq!(slice.annotations()[EPOCH], epoch.to_string());
    let status = world.placement(SPACE, "fronted").unwrap().status.unwrap();
    assert_eq!(status.active_region.as_deref(), Some("eu-central"));
    assert_eq!(status.epoch, Some(epoch));
    let after = secret(world);
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
    let now = world.deployment("fronted");
    assert_eq!(
        now["metadata"]["generation"],
        workload["metadata"]["generation"]
    );
    let turned = service(world, "fronted-db-rw").unwrap();
    assert_eq!(turned.resource_version(), made.resource_version());

    let data = world.secret("fronted-db").unwrap();
    assert!(logs_in_by_name(world, "fronted-db-rw", &data));
    assert!(
        !reaches(world, WEST, &data),
        "the old primary lets nobody in"
    );
}

fn the_service_goes_when_no_workload_needs_it(world: &World) {
    let patch = json!({ "spec": { "paused": true } });
    world.patch_deployment("fronted", &patch);
    endpoint(world, "fronted", "Direct");
    world.running.until("the Secret is direct", SOON, || {
        (world.secret("fronted-db")?["host"] == CENTRAL).then_some(())
    });
    // The pods that run have the Service's name: it stays for them, and is still turned.
    let held = (ConditionType::Injected, "False", "RestartPending");
    world.await_condition(SPACE, "fronted", held);
    world.poke("fronted", "kept");
    world
        .running
        .block_on(world.running.ctx.clock.sleep(Duration::from_secs(4)));
    assert!(service(world, "fronted-db-rw").is_some());
    a_service_that_cannot_be_had_again_is_still_turned(world);
    world.patch_deployment("fronted", &json!({ "spec": { "paused": false } }));
    world.running.until("the Service is gone", SOON, || {
        let gone = service(world, "fronted-db-rw").is_none();
        (gone && slices(world, "fronted-db-rw").is_empty()).then_some(())
    });
    world.running.until("it is not recorded", SOON, || {
        let status = world.placement(SPACE, "fronted")?.status?;
        status.service.is_none().then_some(())
    });
    world.await_ready(SPACE, "fronted", "True", "Placed");
    assert!(world.can_log_in("eu-central", &world.secret("fronted-db").unwrap()));
}

/// The pods that run have its name, whatever keeps the Secret from telling it again.
fn a_service_that_cannot_be_had_again_is_still_turned(world: &World) {
    let asks = |kind: &str, keys: &Value| {
        let patch = json!({ "spec": { "connection": { "endpoint": kind, "keys": keys } } });
        world.patch(SPACE, "fronted", &patch);
    };
    asks("Service", &json!({ "ONE": "{{ rw.datasource-url }}" }));
    world.running.until("the fault is told", SOON, || {
        let status = world.placement(SPACE, "fronted")?.status?;
        let stalled = find(&status.conditions, ConditionType::Stalled)?;
        (stalled.status == "True" && stalled.reason == "EndpointUnsuited").then_some(())
    });
    assert_eq!(world.secret("fronted-db").unwrap()["host"], CENTRAL);
    let edited = json!({ "endpoints": [{ "addresses": ["10.77.9.9"] }] });
    let (api, patch) = (all_slices(world), Patch::Merge(&edited));
    let _ = world
        .running
        .block_on(api.patch("fronted-db-rw-ipv4", &PatchParams::default(), &patch))
        .unwrap();
    world.poke("fronted", "unsuited");
    world.running.until("the slice is put back", SOON, || {
        (addresses(world, "fronted-db-rw") == [CENTRAL]).then_some(())
    });
    asks("Direct", &Value::Null);
}

fn the_service_goes_with_its_database(world: &World) {
    endpoint(world, "fronted", "Service");
    world.running.until("the Service is back", SOON, || {
        (addresses(world, "fronted-db-rw") == [CENTRAL]).then_some(())
    });
    world.await_ready(SPACE, "fronted", "True", "Placed");
    world.delete(SPACE, "fronted");
    world.await_gone(SPACE, "fronted");
    assert!(service(world, "fronted-db-rw").is_none());
    assert!(slices(world, "fronted-db-rw").is_empty());
    assert!(!world.database_exists("eu-central", "tenant_fronted"));
}

fn endpoint(world: &World, name: &str, kind: &str) {
    let patch = json!({ "spec": { "connection": { "endpoint": kind } } });
    world.patch(SPACE, name, &patch);
}
