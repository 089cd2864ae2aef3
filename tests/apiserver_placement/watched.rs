//! Workloads are watched: one that is new gets the Secret at once, and while nothing changes nobody
//! asks for them. Without that right they are looked for.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::injection::{COMPLETE, injected, made};
use super::world::{SOON, SPACE, World, deployment, tenant};
use domicile_tests::operator::roles;

const RIGHT: &str = "domicile-workloads";
/// With as few tenants as here there are two passes in it at least.
const CALM: Duration = Duration::from_secs(25);
/// Who looks every ten seconds needs longer for six workloads, each made when the one before it was
/// found.
const SIX: Duration = Duration::from_secs(30);
/// A watch lasts a minute, and one that was refused is tried again after another.
const RENEWED: Duration = Duration::from_mins(3);

pub(super) fn workloads_are_watched_where_that_is_allowed(world: &World) {
    made(world, &idle("first"));
    world.apply(&tenant("watched", &injected("watched", &json!({}))));
    world.await_condition(SPACE, "watched", COMPLETE);
    world.await_ready(SPACE, "watched", "True", "Placed");
    nothing_is_asked_while_nothing_changes(world);
    six_are_found_at_once(world);
    without_the_right_they_are_looked_for(world);
    world.delete(SPACE, "watched");
    world.await_gone(SPACE, "watched");
    let left = world.deployment("first");
    assert!(!has_secret(&left), "{left}");
}

fn nothing_is_asked_while_nothing_changes(world: &World) {
    let clock = &world.running.ctx.clock;
    let rest = |time| world.running.block_on(clock.sleep(time));
    rest(Duration::from_secs(3));
    let asked = || {
        (
            requests(world, "LIST", "deployments"),
            requests(world, "GET", "secrets"),
        )
    };
    let before = asked();
    rest(CALM);
    let after = asked();
    assert_eq!(after.0, before.0, "workloads were asked for");
    assert!(after.1 > before.1, "there was no pass");
}

fn six_are_found_at_once(world: &World) {
    let clock = &world.running.ctx.clock;
    let begun = clock.mono();
    for number in 0..6 {
        let name = format!("later-{number}");
        made(world, &idle(&name));
        world
            .running
            .until("the new one gets the Secret", SOON, || {
                has_secret(&world.deployment(&name)).then_some(())
            });
    }
    let took = Duration::from_millis(clock.mono().since(begun));
    assert!(took < SIX, "it took {took:?}");
}

/// The right goes and comes while the operator runs.
fn without_the_right_they_are_looked_for(world: &World) {
    let watched = |is: bool| {
        world
            .running
            .until("the watch ends or begins", RENEWED, || {
                (world.running.ctx.workloads.are_watched() == is).then_some(())
            });
    };
    let bindings: Api<ClusterRoleBinding> = Api::all(world.running.admin.clone());
    let parameters = DeleteParams::default();
    let removed = bindings.delete(RIGHT, &parameters);
    let _ = world.running.block_on(removed).unwrap();
    watched(false);
    made(world, &idle("unseen"));
    world.running.until("a look finds it", SOON, || {
        has_secret(&world.deployment("unseen")).then_some(())
    });
    world.apply(&roles());
    watched(true);
}

/// How many such requests for objects of a namespace the API server has answered.
fn requests(world: &World, verb: &str, resource: &str) -> u64 {
    let told = world.running.lab.kubectl(&["get", "--raw", "/metrics"]);
    let text = told.unwrap().stdout;
    let (verb, resource) = (
        format!("verb=\"{verb}\""),
        format!("resource=\"{resource}\""),
    );
    let ours = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains(&verb)
            && line.contains(&resource)
            && !line.contains("scope=\"cluster\"")
    };
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    text.lines()
        .filter(ours)
        .map(|line| count(line) as u64)
        .sum()
}

/// A Deployment of the tenant `watched` without pods.
fn idle(name: &str) -> Value {
    let mut document = deployment(name, &json!({ "tenant": "watched" }), &json!([]));
    document["spec"]["replicas"] = 0.into();
    document
}

fn has_secret(live: &Value) -> bool {
    live["spec"]["template"]
        .to_string()
        .contains("\"watched-db\"")
}
