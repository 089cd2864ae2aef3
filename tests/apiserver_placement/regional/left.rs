//! A Service in the cluster of a region that is needed there no longer.

use std::time::Duration;

use domicile_api::Region;
use domicile_api::conditions::{ConditionType, find};
use domicile_tests::operator::roles;
use kube::Api;
use serde_json::{Value, json};

use super::service::{NAME, SERVICE, edit, found, settles, turns};
use super::there::There;
use super::{WEST_REGION, arrives, home};
use crate::clients::{led_to, service, slices_of};
use crate::injection::injected;
use crate::world::{SOON, SPACE, WEST, World, tenant};

/// The hub has no workloads, so that its own goes at once.
pub(super) fn it_stays_until_the_workloads_there_have_left_it(world: &World, there: &There) {
    connects(world, &json!({ "endpoint": "Direct" }));
    world.running.until("the Secret there is direct", SOON, || {
        (there.secret(world, "spread-db")?["host"] == WEST).then_some(())
    });
    world.running.until("the hub has none", SOON, || {
        service(world, SERVICE).is_none().then_some(())
    });
    // The pods there may have its name: it stays for them, and is still turned.
    edit(world, there, &json!({}));
    world.poke(NAME, "kept there");
    turns(world, there, WEST);
    let recorded = || {
        let status = world.placement(SPACE, NAME).unwrap().status.unwrap();
        status.service
    };
    assert_eq!(recorded().as_deref(), Some(SERVICE));

    // One of another name waits for that.
    let other = json!({ "endpoint": "Service", "secretName": "other-db" });
    connects(world, &other);
    world.running.until("it is told", SOON, || {
        let status = world.placement(SPACE, NAME)?.status?;
        let stalled = find(&status.conditions, ConditionType::Stalled)?;
        let named = stalled.message.contains(SERVICE);
        (named && stalled.reason == "EndpointUnsuited").then_some(())
    });
    world
        .running
        .until("the Secret there is renamed", SOON, || {
            (there.secret(world, "other-db")?["host"] == WEST).then_some(())
        });
    assert!(found(world, there, SERVICE).is_some());
    assert_eq!(recorded().as_deref(), Some(SERVICE));
    world.running.until("the first is gone", SOON, || {
        there.rolled(world, NAME);
        found(world, there, SERVICE).is_none().then_some(())
    });
    world.running.until("the other is there", SOON, || {
        let host = &there.secret(world, "other-db")?["host"];
        let named = host == "other-db-rw.tenant-acme.svc";
        (named && found(world, there, "other-db-rw").is_some()).then_some(())
    });
    assert_eq!(slices_of(world, &there.slices(), SERVICE), []);
    assert_eq!(recorded().as_deref(), Some("other-db-rw"));

    connects(world, &json!({ "endpoint": "Direct" }));
    world.running.until("it is direct", SOON, || {
        (there.secret(world, "other-db")?["host"] == WEST).then_some(())
    });
    world.running.until("no Service is recorded", SOON, || {
        there.rolled(world, NAME);
        recorded().is_none().then_some(())
    });
    assert_eq!(found(world, there, "other-db-rw"), None);
    let first = json!({ "endpoint": "Service", "secretName": "spread-db" });
    connects(world, &first);
    turns(world, there, WEST);
    settles(world, there);
}

/// The chart of a region's cluster may be older than the rights on Services.
pub(super) fn a_cluster_without_rights_on_services_is_told(world: &World, there: &There) {
    let newer = |rule: &Value| {
        let of = |name: &str| rule["resources"][0] == name;
        of("services") || of("endpointslices")
    };
    let mut older = roles();
    let items = older["items"].as_array_mut().unwrap().iter_mut();
    let rules = items.filter_map(|role| role.get_mut("rules")?.as_array_mut());
    rules.for_each(|rules| rules.retain(|rule| !newer(rule)));
    there.apply(&older);
    let mut spec = injected("older", &json!({}));
    spec["connection"] = json!({ "endpoint": "Service" });
    world.apply(&tenant("older", &spec));
    let barred = (ConditionType::Injected, "False", "ClusterNotOnboarded");
    let told = world.await_condition(SPACE, "older", barred);
    for part in [
        "Services and EndpointSlices",
        "cluster of Region eu-west",
        "upgrade the chart",
    ] {
        assert!(told.contains(part), "{told}");
    }
    world.await_ready(SPACE, "older", "True", "ClusterNotOnboarded");
    assert_eq!(there.secret(world, "older-db"), None);
    // The way back is open, and what may be there is not forgotten.
    let direct = json!({ "spec": { "connection": { "endpoint": "Direct" } } });
    world.patch(SPACE, "older", &direct);
    arrives(world, there, "older");
    assert_eq!(there.secret(world, "older-db").unwrap()["host"], WEST);
    world.await_ready(SPACE, "older", "True", "ClusterNotOnboarded");
    let recorded = || world.placement(SPACE, "older")?.status?.service;
    assert_eq!(recorded().as_deref(), Some("older-db-rw"));
    there.apply(&roles());
    world.running.until("nothing is recorded", SOON, || {
        world.poke("older", "upgraded");
        recorded().is_none().then_some(())
    });
    world.await_ready(SPACE, "older", "True", "Placed");
    world.delete(SPACE, "older");
    world.await_gone(SPACE, "older");
}

pub(super) fn a_region_that_is_no_destination_any_more_keeps_nothing(world: &World, there: &There) {
    let mut region = home();
    region["spec"]["cluster"]["tenants"] = false.into();
    world.apply(&region);
    world.poke(NAME, "no destination");
    world.running.until("nothing is left there", SOON, || {
        let gone = found(world, there, SERVICE).is_none();
        (gone && there.secret(world, "spread-db").is_none()).then_some(())
    });
    assert_eq!(slices_of(world, &there.slices(), SERVICE), []);
    world.await_ready(SPACE, NAME, "True", "Placed");
    let status = world.placement(SPACE, NAME).unwrap().status.unwrap();
    assert_eq!(status.service.as_deref(), Some(SERVICE));
    assert!(service(world, SERVICE).is_some(), "that of the hub stays");
    world.apply(&home());
    world.poke(NAME, "a destination");
    arrives(world, there, NAME);
    turns(world, there, WEST);
    settles(world, there);
}

pub(super) fn what_a_deletion_leaves_behind_is_cleaned_up(world: &World, there: &There) {
    there.freeze(true);
    world.delete(SPACE, NAME);
    world.await_gone(SPACE, NAME);
    assert_eq!(service(world, SERVICE), None, "that of the hub goes first");
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let listed = || {
        let region = world.running.block_on(api.get(WEST_REGION)).unwrap();
        region.status.unwrap_or_default().orphaned_secrets
    };
    assert_eq!(listed()[0].service.as_deref(), Some(SERVICE));
    there.freeze(false);
    world.running.until("nothing is listed", SOON, || {
        listed().is_empty().then_some(())
    });
    assert_eq!(found(world, there, SERVICE), None);
    assert_eq!(slices_of(world, &there.slices(), SERVICE), []);
    assert_eq!(there.secret(world, "spread-db"), None);
}

pub(super) fn a_retained_placement_leaves_it(world: &World, there: &There) {
    let spec = json!({
        "tenantID": "kept", "region": WEST_REGION, "connection": { "endpoint": "Service" },
    });
    world.apply(&tenant("kept", &spec));
    arrives(world, there, "kept");
    world.delete(SPACE, "kept");
    world.await_gone(SPACE, "kept");
    let pause = world.running.ctx.clock.sleep(Duration::from_secs(3));
    world.running.block_on(pause);
    assert!(found(world, there, "kept-db-rw").is_some());
    let slices = slices_of(world, &there.slices(), "kept-db-rw");
    assert_eq!(led_to(slices), [WEST]);
}

fn connects(world: &World, connection: &Value) {
    world.patch(
        SPACE,
        NAME,
        &json!({ "spec": { "connection": connection } }),
    );
}
