//! Servers with plans and limits: who gets which, who waits, and what is said of it.

use domicile_api::conditions::{ConditionType, find};
use serde_json::{Value, json};

use super::world::{EAST, SPACE, WEST, World, region, tenant};

pub(super) const ROOM: &str = "eu-room";

/// Eight tenants come at once, and there are three places: as many are placed, on any worker and
/// in any order, and the others say why.
pub(super) fn no_server_takes_more_than_it_may(world: &World) {
    let (west, east) = (marked(world, "eu-west"), marked(world, "us-east"));
    world.apply(&room(
        &json!({"maxTenants": west + 2}),
        &json!({"maxTenants": east + 1}),
    ));
    probed(world);
    let names: Vec<String> = (0..8).map(|at| format!("room-{at}")).collect();
    let all: Vec<Value> = names
        .iter()
        .map(|name| tenant(name, &dropped(name)))
        .collect();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": all }));
    let placed = settled(world, &names, 3);
    assert_eq!(marked(world, "eu-west"), west + 2);
    assert_eq!(marked(world, "us-east"), east + 1);
    let waiting: Vec<&String> = names.iter().filter(|name| !placed.contains(name)).collect();
    let told = ready_message(world, waiting[0]);
    for part in [
        format!("a: holds {} of {0} tenants", west + 2),
        format!("b: holds {} of {0} tenants", east + 1),
        "raise `maxTenants`".to_owned(),
    ] {
        assert!(told.contains(&part), "no {part:?} in {told}");
    }
    world.await_event(SPACE, waiting[0], "RegionFull");
    let chosen = (ConditionType::ServerFits, "True", "ServerChosen");
    let why = world.await_condition(SPACE, &placed[0], chosen);
    assert!(why.contains("places were taken"), "{why}");
    let names = a_place_that_is_given_back_is_taken(world, names, &placed[0]);
    assert_eq!(
        marked(world, "eu-west") + marked(world, "us-east"),
        west + east + 3
    );
    let (names, placed) = a_retained_database_keeps_its_place(world, names);
    // More room, and the others come by themselves.
    let more = json!({ "maxTenants": west + 20 });
    world.apply(&room(&more, &json!({ "maxTenants": east + 1 })));
    for name in &names {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    a_tenant_stays_when_its_server_is_given_to_another_plan(world, &placed);
    for name in &names {
        world.delete(SPACE, name);
    }
    for name in &names {
        world.await_gone(SPACE, name);
    }
}

fn a_place_that_is_given_back_is_taken(
    world: &World,
    names: Vec<String>,
    leaves: &str,
) -> Vec<String> {
    world.delete(SPACE, leaves);
    world.await_gone(SPACE, leaves);
    let names: Vec<String> = names.into_iter().filter(|name| name != leaves).collect();
    settled(world, &names, 3);
    names
}

/// Answers those who are left, and one of them that is placed.
fn a_retained_database_keeps_its_place(world: &World, names: Vec<String>) -> (Vec<String>, String) {
    let leaves = settled(world, &names, 3).remove(0);
    let retain = json!({ "spec": { "reclaimPolicy": "Retain" } });
    world.patch(SPACE, &leaves, &retain);
    world.delete(SPACE, &leaves);
    world.await_gone(SPACE, &leaves);
    let names: Vec<String> = names.into_iter().filter(|name| *name != leaves).collect();
    world
        .running
        .until("the place that was left is told", super::SOON, || {
            let full = |name: &&String| reason(world, name) == "RegionFull";
            let waiting = names.iter().find(full)?;
            world.poke(waiting, "left");
            let told = ready_message(world, waiting);
            told.contains("left by placements that are gone")
                .then_some(())
        });
    let placed = settled(world, &names, 2).remove(0);
    (names, placed)
}

fn a_tenant_stays_when_its_server_is_given_to_another_plan(world: &World, name: &str) {
    let before = world.placement(SPACE, name).unwrap().status.unwrap();
    let paid = json!({ "plans": ["paid"] });
    world.apply(&room(&paid, &paid));
    let unsuited = (ConditionType::ServerFits, "False", "ServerUnsuited");
    let told = world.await_condition(SPACE, name, unsuited);
    assert!(told.contains("takes the plans paid only"), "{told}");
    world.await_event(SPACE, name, "ServerUnsuited");
    world.await_ready(SPACE, name, "True", "Placed");
    world.patch(SPACE, name, &json!({ "spec": { "plan": "paid" } }));
    world.await_condition(
        SPACE,
        name,
        (ConditionType::ServerFits, "True", "ServerSuits"),
    );
    let after = world.placement(SPACE, name).unwrap().status.unwrap();
    assert_eq!(
        (after.server, after.connection, after.secret_hash),
        (before.server, before.connection, before.secret_hash)
    );
}

pub(super) fn a_plan_gets_the_server_that_takes_it(world: &World) {
    let alone = json!({ "isolation": "Dedicated", "plans": ["gold"] });
    world.apply(&room(&json!({ "plans": ["free", "paid"] }), &alone));
    let with = |name: &str, more: Value| {
        let mut spec = dropped(name);
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        world.apply(&tenant(name, &spec));
    };
    with("plan-paid", json!({ "plan": "paid", "minimumVersion": 15 }));
    world.await_ready(SPACE, "plan-paid", "True", "Placed");
    let status = world.placement(SPACE, "plan-paid").unwrap().status.unwrap();
    assert_eq!(status.server.as_deref(), Some("a"));
    for (name, more, part) in [
        (
            "plan-none",
            json!({}),
            "a: takes the plans free, paid only; b: is Dedicated",
        ),
        (
            "plan-odd",
            json!({ "plan": "odd" }),
            "a tenant with plan odd, Shared",
        ),
        (
            "plan-new",
            json!({ "plan": "paid", "minimumVersion": 90 }),
            "a: runs PostgreSQL ",
        ),
    ] {
        with(name, more);
        let wrong = (ConditionType::Ready, "False", "NoServerForPlan");
        let told = world.await_condition(SPACE, name, wrong);
        assert!(told.contains(part), "no {part:?} in {told}");
        world.await_event(SPACE, name, "NoServerForPlan");
        world.delete(SPACE, name);
        world.await_gone(SPACE, name);
    }
    // The one place of a dedicated server is taken: databases of another Region stand there.
    with(
        "plan-gold",
        json!({ "plan": "gold", "isolation": "Dedicated" }),
    );
    if marked(world, "us-east") > 0 {
        world.await_ready(SPACE, "plan-gold", "False", "RegionFull");
    } else {
        world.await_ready(SPACE, "plan-gold", "True", "Placed");
    }
    for name in ["plan-paid", "plan-gold"] {
        world.delete(SPACE, name);
        world.await_gone(SPACE, name);
    }
    super::refused::remove_region(world, ROOM);
}

/// Waits until exactly `places` are placed and each of the others says that there is no room.
/// Answers those that are placed.
fn settled(world: &World, names: &[String], places: usize) -> Vec<String> {
    let what = format!("{places} of {} are placed", names.len());
    world.running.until(&what, super::SOON, || {
        let reasons: Vec<String> = names.iter().map(|name| reason(world, name)).collect();
        let count = |wanted: &str| reasons.iter().filter(|reason| *reason == wanted).count();
        let (placed, full) = (count("Placed"), count("RegionFull"));
        assert!(
            placed <= places,
            "{placed} are placed where there is room for {places}"
        );
        let named = names.iter().zip(&reasons);
        let placed_names = named.filter(|(_, reason)| *reason == "Placed");
        (placed == places && placed + full == names.len())
            .then(|| placed_names.map(|(name, _)| name.clone()).collect())
    })
}

fn reason(world: &World, name: &str) -> String {
    let status = world.placement(SPACE, name).unwrap().status;
    let conditions = status.unwrap_or_default().conditions;
    let ready = find(&conditions, ConditionType::Ready);
    ready.map(|ready| ready.reason.clone()).unwrap_or_default()
}

fn ready_message(world: &World, name: &str) -> String {
    let status = world.placement(SPACE, name).unwrap().status;
    let conditions = status.unwrap_or_default().conditions;
    let ready = find(&conditions, ConditionType::Ready);
    ready.map(|ready| ready.message.clone()).unwrap_or_default()
}

/// Both servers answer.
pub(super) fn probed(world: &World) {
    world
        .running
        .until("both servers are probed", super::SOON, || {
            let region = world.running.ctx.stores.regions.get(ROOM)?;
            let servers = region.status.as_ref()?.database_servers.iter();
            let up = servers.filter(|server| server.version.is_some()).count();
            (up == 2).then_some(())
        });
}

/// How many tenants a server holds, by the marks on what was made for them.
fn marked(world: &World, server: &str) -> i64 {
    let sql = "SELECT count(DISTINCT shobj_description(datdba, 'pg_authid')) FROM pg_database
               WHERE starts_with(shobj_description(datdba, 'pg_authid'), 'domicile:')";
    world.sql(server, sql).parse().unwrap()
}

fn dropped(id: &str) -> Value {
    json!({
        "tenantID": id, "region": ROOM, "reclaimPolicy": "Delete", "deletionProtection": false,
    })
}

/// A Region with the servers `a` and `b`, which have other names in other Regions.
pub(super) fn room(a: &Value, b: &Value) -> Value {
    let mut room = region(ROOM, "EU", WEST, "eu-west-admin");
    room["spec"]["key"] = "EU_ROOM".into();
    let of = |name: &str, host: &str, place: &str, more: &Value| {
        let mut server = json!({
            "name": name, "host": host,
            "tls": { "caSecretRef": { "name": format!("{place}-ca") } },
            "adminSecretRef": { "name": format!("{place}-admin") },
        });
        for (field, value) in more.as_object().unwrap() {
            server[field] = value.clone();
        }
        server
    };
    room["spec"]["databaseServers"] =
        json!([of("a", WEST, "eu-west", a), of("b", EAST, "us-east", b)]);
    room
}
