use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};

use super::*;

const KIND: WorkloadKind = WorkloadKind::Deployment;

fn variables() -> BTreeSet<String> {
    ["DATABASE_REPLICA_URL", "DATABASE_URL"]
        .map(str::to_owned)
        .into()
}

fn wanted<'a>(variables: &'a BTreeSet<String>, containers: &'a [String]) -> Wanted<'a> {
    Wanted {
        placement: "acme",
        secret: "acme-db",
        hash: "h1",
        variables,
        containers,
    }
}

fn workload(containers: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "api", "namespace": "tenant-acme", "uid": "u1", "generation": 3 },
        "spec": { "replicas": 2, "template": { "spec": { "containers": containers } } },
        "status": { "observedGeneration": 3, "updatedReplicas": 1 },
    }))
    .unwrap()
}

fn plain() -> DynamicObject {
    workload(&json!([{ "name": "app", "image": "x" }, { "name": "side", "image": "y" }]))
}

fn manage(live: &mut DynamicObject, manager: &str, operation: &str, fields: Value) {
    let entry = ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        operation: Some(operation.to_owned()),
        fields_v1: Some(FieldsV1(fields)),
        ..ManagedFieldsEntry::default()
    };
    live.metadata
        .managed_fields
        .get_or_insert_default()
        .push(entry);
}

/// The workload as the API server shows it after `document` was applied.
fn applied(mut live: DynamicObject, document: &Value) -> DynamicObject {
    live.metadata.annotations =
        serde_json::from_value(document["metadata"]["annotations"].clone()).unwrap();
    let template = &document["spec"]["template"];
    live.data["spec"]["template"]["metadata"] = template["metadata"].clone();
    let mut fields = serde_json::Map::new();
    for container in template["spec"]["containers"].as_array().unwrap() {
        let list = live.data["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap();
        let place = list
            .iter_mut()
            .find(|c| c["name"] == container["name"])
            .unwrap();
        place["env"] = container["env"].clone();
        let env: serde_json::Map<String, Value> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                (
                    format!("k:{{\"name\":{}}}", entry["name"]),
                    json!({ ".": {} }),
                )
            })
            .collect();
        let key = format!("k:{{\"name\":{}}}", container["name"]);
        fields.insert(key, json!({ ".": {}, "f:name": {}, "f:env": env }));
    }
    let fields = json!({
        "f:metadata": { "f:annotations": { format!("f:{}", meta::PLACEMENT_LABEL): {} } },
        "f:spec": { "f:template": {
            "f:metadata": { "f:annotations": { format!("f:{}", meta::SECRET_HASH): {} } },
            "f:spec": { "f:containers": fields },
        }},
    });
    live.metadata.managed_fields = None;
    manage(&mut live, manager::INJECT, "Apply", fields);
    live
}

fn document_for(live: &DynamicObject, wanted: &Wanted<'_>) -> Value {
    match decide(live, KIND, wanted, &|_| true) {
        Decision::Apply(document) => document,
        other @ (Decision::Settled | Decision::Conflict { .. } | Decision::NoContainer(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn the_document_holds_our_fields_and_no_others() {
    let variables = BTreeSet::from(["DATABASE_URL".to_owned()]);
    let only = ["app".to_owned()];
    let document = document_for(&plain(), &wanted(&variables, &only));
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "api", "uid": "u1",
            "annotations": { "domicile.dev/placement": "acme" },
        },
        "spec": { "template": {
            "metadata": { "annotations": { "domicile.dev/secret-hash": "h1" } },
            "spec": { "containers": [{ "name": "app", "env": [{
                "name": "DATABASE_URL",
                "valueFrom": { "secretKeyRef": { "name": "acme-db", "key": "DATABASE_URL" } },
            }]}]},
        }},
    });
    assert_eq!(document, expected);
}

#[test]
fn an_applied_workload_is_settled_until_something_differs() {
    let variables = variables();
    let wanted = wanted(&variables, &[]);
    let live = applied(plain(), &document_for(&plain(), &wanted));
    assert_eq!(decide(&live, KIND, &wanted, &|_| true), Decision::Settled);
    let rotated = Wanted {
        hash: "h2",
        ..wanted
    };
    assert!(matches!(
        decide(&live, KIND, &rotated, &|_| true),
        Decision::Apply(_)
    ));
    let fewer = BTreeSet::from(["DATABASE_URL".to_owned()]);
    let fewer = Wanted {
        variables: &fewer,
        ..wanted
    };
    assert!(matches!(
        decide(&live, KIND, &fewer, &|_| true),
        Decision::Apply(_)
    ));
    let only = ["app".to_owned()];
    let narrowed = Wanted {
        containers: &only,
        ..wanted
    };
    assert!(matches!(
        decide(&live, KIND, &narrowed, &|_| true),
        Decision::Apply(_)
    ));
    let mut edited = live;
    edited.data["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    assert!(matches!(
        decide(&edited, KIND, &wanted, &|_| true),
        Decision::Apply(_)
    ));
}

#[test]
fn a_variable_of_the_user_is_a_conflict_that_names_its_manager() {
    let variables = variables();
    let env = json!([{ "name": "DATABASE_URL", "value": "postgresql://mine" }]);
    let mut live = workload(&json!([{ "name": "app", "image": "x", "env": env }]));
    let fields = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
        "k:{\"name\":\"app\"}": { "f:env": { "k:{\"name\":\"DATABASE_URL\"}": { ".": {} } } },
    }}}}});
    manage(&mut live, "kubectl-client-side-apply", "Update", fields);
    let decided = decide(&live, KIND, &wanted(&variables, &[]), &|_| true);
    let expected = Decision::Conflict {
        manager: "kubectl-client-side-apply".into(),
        field: ".spec.template.spec.containers[name=\"app\"].env[name=\"DATABASE_URL\"]".into(),
    };
    assert_eq!(decided, expected);
}

#[test]
fn a_user_who_wrote_the_same_variable_is_no_conflict() {
    let variables = BTreeSet::from(["DATABASE_URL".to_owned()]);
    let env = json!([entry_for("acme-db", "DATABASE_URL")]);
    let live = workload(&json!([{ "name": "app", "image": "x", "env": env }]));
    let decided = decide(&live, KIND, &wanted(&variables, &[]), &|_| true);
    assert!(matches!(decided, Decision::Apply(_)), "{decided:?}");
}

#[test]
fn a_container_that_is_not_there_is_named() {
    let variables = variables();
    let named = ["app".to_owned(), "gone".to_owned()];
    let decided = decide(&plain(), KIND, &wanted(&variables, &named), &|_| true);
    assert_eq!(decided, Decision::NoContainer(vec!["gone".into()]));
}

#[test]
fn two_placements_do_not_fight_over_one_workload() {
    let variables = variables();
    let first = wanted(&variables, &[]);
    let live = applied(plain(), &document_for(&plain(), &first));
    let second = Wanted {
        placement: "globex",
        secret: "globex-db",
        ..first
    };
    let decided = decide(&live, KIND, &second, &|name| name == "acme");
    let Decision::Conflict { manager, .. } = decided else {
        panic!("{decided:?}")
    };
    assert_eq!(manager, "TenantPlacement/acme");
    let decided = decide(&live, KIND, &second, &|_| false);
    assert!(matches!(decided, Decision::Apply(_)), "{decided:?}");
}

#[test]
fn a_release_gives_up_every_field_and_never_makes_a_workload() {
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "api", "uid": "u1" },
    });
    assert_eq!(release(&plain(), KIND), expected);
}

#[test]
fn a_rollout_counts_only_what_was_counted_for_the_present_template() {
    let mut live = plain();
    assert_eq!(rollout(&live, KIND), (1, 2));
    live.metadata.generation = Some(4);
    assert_eq!(rollout(&live, KIND), (0, 2));
    live.data["status"] = json!({
        "observedGeneration": 4, "updatedNumberScheduled": 3, "desiredNumberScheduled": 3,
    });
    assert_eq!(rollout(&live, WorkloadKind::DaemonSet), (3, 3));
}

#[test]
fn a_pod_of_an_older_template_is_seen_though_the_new_ones_are_all_there() {
    let mut live = plain();
    live.metadata.generation = Some(4);
    let mut has_old_pods = |status| {
        live.data["status"] = status;
        has_old_pods(&live, KIND)
    };
    let all = json!({ "observedGeneration": 4, "replicas": 2, "updatedReplicas": 2 });
    assert!(!has_old_pods(all));
    let surge = json!({ "observedGeneration": 4, "replicas": 3, "updatedReplicas": 2 });
    assert!(has_old_pods(surge));
    let stale = json!({ "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2 });
    assert!(has_old_pods(stale));
}
