use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::output::Exit;
use crate::report::Health;
use crate::status::overview;

fn now() -> Timestamp {
    "2026-01-01T03:00:00Z".parse().unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
           "lastTransitionTime": "2026-01-01T02:48:00Z"})
}

fn region(name: &str, reason: &str) -> Value {
    let status = if reason == "Serving" { "True" } else { "False" };
    json!({
        "metadata": {"name": name, "generation": 1},
        "spec": {"jurisdiction": "EU", "databaseServers": [{"name": "main", "host": "pg.example",
                 "port": 5433, "adminSecretRef": {"name": format!("{name}-admin")},
                 "tls": {"caSecretRef": {"name": format!("{name}-ca")}}}]},
        "status": {"observedGeneration": 1, "placements": 2,
                   "databaseServers": [{"name": "main", "reachable": status, "reason": reason,
                                        "role": "Primary", "timeline": 3, "version": "15.18"}],
                   "conditions": [condition("Ready", status, reason, "pg.example said no")]}
    })
}

fn policy(state: &str, guards: &Value) -> Value {
    json!({
        "metadata": {"name": "eu", "generation": 1},
        "spec": {"mode": "Automatic", "primary": {"region": "eu-west", "server": "main"},
                 "standbys": [{"region": "eu-central", "server": "main"}]},
        "status": {"observedGeneration": 1, "state": state, "since": "2026-01-01T02:48:10Z",
                   "epoch": 17, "homeRegion": "eu-west", "activeRegion": "eu-west",
                   "guarantees": {"splitBrain": "Assumed"}, "guards": guards,
                   "evidence": {"outageSince": "2026-01-01T02:48:01Z"},
                   "history": [{"kind": "Failback", "from": "eu-central", "to": "eu-west",
                                "rtoSeconds": 4, "lossSeconds": 0, "epoch": 17,
                                "proof": "Confirmed", "finished": "2025-12-31T00:00:00Z"}],
                   "conditions": [condition("Ready", "True", state, "eu-west does not answer"),
                                  condition("PrimaryHealthy", "False", "PrimaryLost", "3 of 3")]}
    })
}

fn placement() -> Value {
    json!({
        "metadata": {"name": "acme", "namespace": "tenant-acme", "generation": 1},
        "spec": {"tenantID": "6f1c2a", "region": "eu-west"},
        "status": {"observedGeneration": 1, "homeRegion": "eu-west", "activeRegion": "eu-west",
                   "server": "main", "epoch": 17, "binding": {"name": "acme-db"},
                   "connection": {"hosts": [{"host": "a", "port": 1}, {"host": "b", "port": 2}]},
                   "credentials": {"generation": 2, "activeRole": "B", "retiringRole": "A"},
                   "workloads": [{"kind": "Deployment", "name": "api", "updated": 1, "total": 3}],
                   "copies": [{"kind": "Standby", "region": "eu-central", "jurisdiction": "EU"}],
                   "conditions": [
                       condition("Injected", "False", "NamespaceNotOnboarded", "no right to patch"),
                       condition("Ready", "False", "NamespaceNotOnboarded", "no right to patch")]}
    })
}

fn operation(state: &str) -> Value {
    json!({
        "metadata": {"name": "eu-x7", "creationTimestamp": "2026-01-01T02:50:00Z", "generation": 1},
        "spec": {"type": "Failover", "target": "eu-central", "expectedEpoch": 17,
                 "policyRef": {"name": "eu"}, "accept": ["DataLoss"]},
        "status": {"state": state, "message": "eu-west confirmed nothing", "observedGeneration": 1,
                   "steps": [{"name": "Fencing", "started": "2026-01-01T02:50:00Z",
                              "finished": "2026-01-01T02:50:04Z", "outcome": "Confirmed"}],
                   "conditions": [condition("Ready", "False", state, "eu-west confirmed nothing")]}
    })
}

fn world() -> World {
    let blocked = json!([{"name": "FencingProof", "ok": false, "message": "Assumed is too weak"},
                         {"name": "LossBound", "ok": false, "message": "unknown"},
                         {"name": "Armed", "ok": false, "message": "mode is Manual"},
                         {"name": "Jurisdiction", "ok": true}]);
    World {
        regions: vec![
            region("eu-west", "CredentialsDenied"),
            region("eu-central", "Serving"),
        ],
        placements: vec![placement()],
        policies: vec![policy("Blocked", &blocked)],
        operations: vec![operation("Refused"), operation("AwaitingApproval")],
        unread: vec!["cannot list placements: Forbidden".to_owned()],
    }
}

#[test]
fn a_blocked_policy_says_which_guard_and_which_command() {
    let world = world();
    let report = report(Kind::FailoverPolicy, &world.policies[0], &world, now());
    assert_eq!(
        (report.health, report.state.as_str()),
        (Health::Degraded, "Blocked")
    );
    assert_eq!(report.age, "11m");
    let reasons: Vec<&str> = report.why.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["PrimaryLost", "FencingProof", "LossBound", "Armed"]
    );
    assert!(
        report.next[0].ends_with("failover eu --accept UnprovenFencing,DataLoss"),
        "{:?}",
        report.next
    );
    assert!(
        report
            .next
            .contains(&"kubectl domicile explain region/eu-west".to_owned())
    );
    assert_eq!(report.health.exit(), Exit::Degraded);
}

#[test]
fn a_guard_that_nothing_waives_is_not_offered_as_a_flag() {
    let guards = json!([{"name": "Jurisdiction", "ok": false, "message": "initech admits US only"},
                        {"name": "LossBound", "ok": false}]);
    let policy = policy("Blocked", &guards);
    let report = report(Kind::FailoverPolicy, &policy, &World::default(), now());
    assert_eq!(
        report.next,
        ["no flag waives Jurisdiction: it must hold again first"]
    );
}

#[test]
fn a_settled_policy_has_nothing_to_say_and_nothing_to_do() {
    let mut policy = policy("Steady", &json!([{"name": "Armed", "ok": false}]));
    policy["status"]["conditions"] =
        json!([condition("Ready", "True", "Steady", "eu-west serves")]);
    let report = report(Kind::FailoverPolicy, &policy, &World::default(), now());
    assert_eq!(report.health, Health::Healthy);
    assert!(
        report.why.is_empty() && report.next.is_empty(),
        "{report:?}"
    );
}

#[test]
fn a_region_s_refused_login_names_the_secret_to_correct() {
    let world = world();
    let report = report(Kind::Region, &world.regions[0], &world, now());
    let secret = "correct key password of Secret domicile-system/eu-west-admin";
    assert_eq!(report.next, [secret]);
    assert_eq!(report.related[0].object, "policy/eu");
}

#[test]
fn a_placement_without_rights_names_the_command_that_gives_them() {
    let world = world();
    let report = report(Kind::TenantPlacement, &world.placements[0], &world, now());
    let onboard = "kubectl domicile onboard tenant-acme | kubectl apply -f - (with --fullname";
    assert!(report.next[0].starts_with(onboard), "{}", report.next[0]);
    // Ready repeats what Injected said; it is said once.
    let mut said = report.why.iter();
    assert!(said.any(|f| f.reason == "NamespaceNotOnboarded"));
    assert!(!said.any(|f| f.reason == "NamespaceNotOnboarded"));
    assert!(report.why.iter().any(|f| f.reason == "RolloutIncomplete"));
    let told: Vec<&str> = report.facts.iter().map(|f| f.value.as_str()).collect();
    assert!(told.contains(&"a:1 b:2"), "{told:?}");
}

#[test]
fn what_is_in_the_cluster_of_a_region_says_so() {
    let mut world = world();
    let status = &mut world.placements[0]["status"];
    status["workloads"][0]["cluster"] = json!("eu-west");
    let barred = condition(
        "Injected",
        "False",
        "ClusterNotOnboarded",
        "no rights there",
    );
    status["conditions"] = json!([barred]);
    let report = report(Kind::TenantPlacement, &world.placements[0], &world, now());
    let mut facts = report.facts.iter();
    assert!(facts.any(|fact| fact.name == "Deployment/api in eu-west"));
    let onboard = "kubectl domicile onboard tenant-acme | kubectl --context CLUSTER apply -f -";
    assert!(report.next[0].starts_with(onboard), "{}", report.next[0]);
}

#[test]
fn an_operation_that_was_refused_says_why_and_how_to_try_again() {
    let world = world();
    let report = report(Kind::FailoverOperation, &world.operations[0], &world, now());
    assert_eq!(
        (report.health, report.state.as_str()),
        (Health::Degraded, "Refused")
    );
    assert_eq!(report.why[0].message, "eu-west confirmed nothing");
    assert_eq!(report.steps[0].outcome, "Confirmed 4.0s");
    assert!(
        report.next[1].ends_with("kubectl domicile failover eu"),
        "{:?}",
        report.next
    );
}

#[test]
fn an_object_nobody_looked_at_says_so() {
    let young = json!({"metadata": {"name": "eu", "generation": 1}, "spec": {}});
    for kind in Kind::ALL {
        let report = report(kind, &young, &World::default(), now());
        assert_eq!(report.health, Health::Progressing, "{kind:?}");
        assert_eq!(report.why[0].reason, "NotObserved", "{kind:?}");
    }
}

#[test]
fn each_word_of_the_text_is_in_the_json() {
    let world = world();
    let mut shown = Vec::new();
    for kind in Kind::ALL {
        for object in world.of(kind) {
            let report = serde_json::to_value(report(kind, object, &world, now())).unwrap();
            shown.push((rendered::report(&report), report));
        }
    }
    let all = serde_json::to_value(overview(&world, now())).unwrap();
    shown.push((rendered::overview(&all), all));
    let labels = BTreeSet::from([
        "WHY", "STEPS", "RELATED", "NEXT", "NOT", "READ", "-n", "-", "…",
    ]);
    for (text, json) in shown {
        let mut words = BTreeSet::new();
        collect(&json, &mut words);
        assert!(text.lines().count() > 5, "{text}");
        for word in text
            .split_whitespace()
            .filter(|word| !labels.contains(word))
        {
            let bare = word.trim_start_matches('(').trim_end_matches(')');
            let known = words.contains(word) || words.contains(bare);
            let heading = words.contains(&word.to_lowercase());
            assert!(known || heading, "{word:?} is not in the JSON of\n{text}");
        }
    }
}

#[test]
fn the_overview_takes_the_worst_of_all_and_lists_what_runs() {
    let all = overview(&world(), now());
    assert_eq!(all.health, Health::Degraded);
    assert_eq!(
        all.summary,
        "placements: 0 Healthy, 0 Progressing, 1 Degraded"
    );
    assert_eq!(
        all.operations.len(),
        1,
        "an operation that ended is not listed"
    );
    assert_eq!(overview(&World::default(), now()).health, Health::Healthy);
}

#[test]
fn guards_are_not_repeated_and_a_healthy_primary_is_no_reproach() {
    let guards = json!([{"name": "SecondVantage", "ok": false, "message": "eu-west is well"},
                        {"name": "StandbyEligible", "ok": false, "message": "rejoin it"}]);
    let mut policy = policy("Steady", &guards);
    let unready = condition("FailoverReady", "False", "NoEligibleStandby", "rejoin it");
    policy["status"]["conditions"] = json!([unready]);
    let steady = report(Kind::FailoverPolicy, &policy, &World::default(), now());
    let reasons: Vec<&str> = steady.why.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(reasons, ["NoEligibleStandby"]);
    policy["status"]["state"] = json!("Verifying");
    policy["status"]["journal"] = json!({"kind": "Failback", "from": "a", "to": "b"});
    let moving = report(Kind::FailoverPolicy, &policy, &World::default(), now());
    assert_eq!(moving.why.len(), 1, "{:?}", moving.why);
    assert!(
        !moving.steps.iter().any(|step| step.name == "ProbeFailed"),
        "{:?}",
        moving.steps
    );
}

/// Every word of every string, and every key in lower case, since headings are keys.
fn collect(json: &Value, words: &mut BTreeSet<String>) {
    match json {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => {
            words.insert(json.to_string());
        }
        Value::String(text) => words.extend(text.split_whitespace().map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => {
            for (key, value) in fields {
                words.insert(key.to_lowercase());
                collect(value, words);
            }
        }
    }
}

#[test]
fn a_policy_says_what_its_write_lease_is_worth() {
    let mut world = world();
    let policy = &mut world.policies[0];
    policy["status"]["lease"] = json!({"state": "Pledged", "holder": "eu-west", "epoch": 17,
                                       "members": ["eu-central"], "survivesHub": true});
    let policy = policy.clone();
    let report = report(Kind::FailoverPolicy, &policy, &world, now());
    let fact = report.facts.iter().find(|fact| fact.name == "write lease");
    let value = fact.map(|fact| fact.value.as_str());
    assert_eq!(
        value,
        Some("Pledged by eu-west; the primary outlives the hub")
    );
}

#[test]
fn a_copy_that_failed_is_told_with_what_to_do() {
    let mut world = world();
    let mut fenced = policy("Steady", &json!([]));
    fenced["status"]["returned"] = json!([{"region": "eu-west",
        "dump": {"job": "dump-eu-eu-west-17-ab", "state": "Failed"}}]);
    let why = condition("StandbyHealthy", "False", "DumpFailed", "Job failed");
    fenced["status"]["conditions"] = json!([why]);
    world.policies = vec![fenced];
    let told = report(Kind::FailoverPolicy, &world.policies[0], &world, now());
    let copy = told
        .facts
        .iter()
        .find(|fact| fact.name == "copy of eu-west");
    assert_eq!(copy.unwrap().value, "Failed, Job dump-eu-eu-west-17-ab");
    let next = told.next.join("\n");
    for part in [
        "logs job/dump-eu-eu-west-17-ab --all-containers -n domicile-system",
        "kubectl delete job dump-eu-eu-west-17-ab -n domicile-system",
        r#"patch failoverpolicy eu --type merge -p '{"spec":{"dump":null}}'"#,
    ] {
        assert!(next.contains(part), "no {part:?} in\n{next}");
    }
    assert!(
        told.why
            .iter()
            .any(|finding| finding.reason == "DumpFailed")
    );
    // Where the region has a cluster of its own, the Job is there.
    world.regions[0]["spec"]["cluster"] = json!({"kubeconfigSecretRef": {"name": "k"}});
    let told = report(Kind::FailoverPolicy, &world.policies[0], &world, now());
    assert!(
        told.next
            .iter()
            .any(|line| line.ends_with("in the cluster of eu-west"))
    );
}

#[test]
fn a_placement_says_why_it_has_its_server_or_none() {
    let mut world = world();
    let placement = &mut world.placements[0];
    placement["spec"]["plan"] = json!("paid");
    placement["status"]["server"] = json!("main");
    let why = "eu-west/main takes tenants with plan paid, Shared; 1 of its 4 places were taken";
    placement["status"]["conditions"] =
        json!([condition("ServerFits", "True", "ServerChosen", why)]);
    let told = report(Kind::TenantPlacement, &world.placements[0], &world, now());
    let fact = |name: &str| told.facts.iter().find(|fact| fact.name == name);
    assert_eq!(
        fact("why this server").map(|fact| fact.value.as_str()),
        Some(why)
    );
    assert_eq!(fact("plan").map(|fact| fact.value.as_str()), Some("paid"));
    let full = "Region eu-west: no server has room for a tenant with plan paid, Shared";
    world.placements[0]["status"] = json!({"observedGeneration": 1, "conditions": [
        condition("Ready", "False", "RegionFull", full),
        condition("ServerFits", "False", "RegionFull", full),
    ]});
    world.placements[0]["spec"]["region"] = json!("eu-west");
    let told = report(Kind::TenantPlacement, &world.placements[0], &world, now());
    assert_eq!(
        (told.health, told.state.as_str()),
        (Health::Degraded, "RegionFull")
    );
    assert!(
        told.next
            .iter()
            .any(|next| next.ends_with("explain region/eu-west")),
        "{told:?}"
    );
    assert!(
        told.related
            .iter()
            .any(|one| one.object == "region/eu-west"),
        "{told:?}"
    );
}
