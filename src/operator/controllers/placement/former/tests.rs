use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn tenant(name: &str, status: &Value) -> TenantPlacement {
    serde_json::from_value(json!({
        "metadata": { "name": "acme", "namespace": "space", "uid": "u" },
        "spec": { "tenantID": "acme", "connection": { "secretName": name } },
        "status": status,
    }))
    .unwrap()
}

/// Each former Secret as `name@cluster`.
fn former(status: &TenantPlacementStatus) -> Vec<String> {
    let shown = |one: &FormerSecret| {
        let cluster = one.cluster.as_deref().unwrap_or("hub");
        format!("{}@{cluster}", one.name)
    };
    status.former_secrets.iter().map(shown).collect()
}

fn copies() -> Value {
    json!([
        { "kind": "Primary", "region": "us", "jurisdiction": "US", "compliant": true },
        { "kind": "Secret", "region": "eu", "jurisdiction": "EU", "compliant": true },
    ])
}

#[test]
fn a_name_before_is_remembered_in_every_cluster_that_may_have_it() {
    let before = json!({ "binding": { "name": "a" }, "copies": copies() });
    assert_eq!(renamed(&tenant("a", &before), at(5)), None);
    let status = renamed(&tenant("b", &before), at(5)).unwrap();
    assert_eq!(former(&status), ["a@hub", "a@eu"]);
    assert_eq!(status.former_secrets[0].since, at(5));
    assert_eq!(status.pending_secret.as_deref(), Some("b"));
    // Who reads the status is not led to a Secret that is not there yet.
    assert_eq!(status.binding.unwrap().name, "a");
}

#[test]
fn a_name_that_was_never_told_is_remembered_too() {
    let killed = json!({
        "binding": { "name": "a" }, "pendingSecret": "b", "copies": copies(),
        "formerSecrets": [{ "name": "a", "since": at(5) }],
    });
    assert_eq!(renamed(&tenant("b", &killed), at(9)), None);
    let status = renamed(&tenant("c", &killed), at(9)).unwrap();
    assert_eq!(former(&status), ["a@hub", "b@hub", "b@eu"]);
    assert_eq!(status.pending_secret.as_deref(), Some("c"));
    // Nothing was told of a placement that is being made, but for the name.
    let first = renamed(&tenant("b", &json!({ "pendingSecret": "a" })), at(9)).unwrap();
    assert_eq!(former(&first), ["a@hub"]);
    assert_eq!(renamed(&tenant("b", &json!({})), at(9)), None);
}

#[test]
fn a_name_that_is_back_is_the_present_one() {
    let back = json!({
        "binding": { "name": "a" }, "pendingSecret": "b", "copies": copies(),
        "formerSecrets": [
            { "name": "a", "since": at(5) }, { "name": "a", "cluster": "eu", "since": at(5) },
        ],
    });
    let status = renamed(&tenant("a", &back), at(9)).unwrap();
    assert_eq!(former(&status), ["b@hub", "b@eu"]);
    assert_eq!(status.pending_secret, None);
}

#[test]
fn all_names_are_known_at_a_deletion() {
    let status = json!({
        "binding": { "name": "a" }, "pendingSecret": "b",
        "formerSecrets": [
            { "name": "x", "since": at(5) }, { "name": "y", "cluster": "eu", "since": at(5) },
        ],
    });
    let tenant = tenant("c", &status);
    let names = |cluster: Option<&str>| {
        let cluster = cluster.map(RegionName::new);
        let names = tenant.other_secrets(cluster.as_ref());
        names.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["a", "b", "x"]);
    assert_eq!(names(Some("eu")), ["a", "b", "y"]);
}

fn found(status: Status, reason: Reason, taken_up: bool) -> Readers {
    let mut progress = Progress {
        taken_up,
        ..Progress::default()
    };
    if taken_up {
        let shown = json!({ "kind": "Deployment", "name": "api", "updated": 1, "total": 1 });
        progress.workloads = Some(vec![serde_json::from_value(shown).unwrap()]);
    }
    progress.found(ConditionType::Injected, status, reason, "");
    readers(&progress)
}

#[test]
fn who_reads_a_name_before_is_what_the_workloads_tell() {
    let complete = Reason::InjectionComplete;
    assert_eq!(found(Status::True, complete, true), Readers::Gone);
    assert_eq!(found(Status::True, complete, false), Readers::Unknown);
    for idle in [Reason::NoWorkloads, Reason::InjectionOff] {
        assert_eq!(found(Status::True, idle, false), Readers::Unknown);
    }
    let none = found(Status::False, Reason::NoWorkloads, false);
    assert_eq!(none, Readers::Unknown);
    for behind in [Reason::RollingOut, Reason::FieldConflict] {
        assert_eq!(found(Status::False, behind, false), Readers::Some);
    }
    assert_eq!(
        readers(&Progress::default()),
        Readers::Some,
        "not looked at"
    );
}

#[test]
fn what_is_gone_is_forgotten_where_it_is_gone() {
    let status = json!({ "formerSecrets": [
        { "name": "a", "since": at(5) }, { "name": "a", "cluster": "eu", "since": at(5) },
    ]});
    let tenant = tenant("b", &status);
    let mut progress = Progress::default();
    let left = Left {
        gone: BTreeSet::from(["a".to_owned(), "other".to_owned()]),
        staying: Vec::new(),
    };
    fold(&tenant, Some(&RegionName::new("eu")), left, &mut progress);
    let known = &tenant.status.as_ref().unwrap().former_secrets;
    assert!(!progress.is_gone(&known[0]) && progress.is_gone(&known[1]));
    assert_eq!(progress.told.len(), 1);
}
