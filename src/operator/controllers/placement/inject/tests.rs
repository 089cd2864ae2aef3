mod reload;

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};

use domicile_api::meta::manager;

use super::*;

const KIND: WorkloadKind = WorkloadKind::Deployment;

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| from("eu-west", 1));

fn from(region: &str, generation: i64) -> Origin {
    Origin {
        server: ServerId::new(region, "main"),
        generation,
    }
}

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
        origin: &ORIGIN,
        reload: ReloadStrategy::RollingRestart,
        content: Content::Variables(variables),
        containers,
    }
}

fn files<'a>(folder: &'a str, containers: &'a [String]) -> Wanted<'a> {
    Wanted {
        placement: "acme",
        secret: "acme-db",
        hash: "h1",
        origin: &ORIGIN,
        reload: ReloadStrategy::RollingRestart,
        content: Content::Files(folder),
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
    let spec = &mut live.data["spec"]["template"]["spec"];
    let mut owned = serde_json::Map::new();
    for (list, documents) in template["spec"].as_object().unwrap() {
        for (key, entry) in keyed(documents) {
            let lists = entry.as_object().unwrap().iter();
            let lists = lists.filter(|(_, value)| list != "volumes" && value.is_array());
            for (below, entries) in lists.clone() {
                let containers = spec[list].as_array_mut().unwrap();
                let mut containers = containers.iter_mut();
                let place = containers.find(|one| one["name"] == entry["name"]);
                place.unwrap()[below] = entries.clone();
            }
            let fields: serde_json::Map<String, Value> = lists
                .map(|(below, entries)| {
                    let keys = keyed(entries).map(|(key, _)| (key, json!({ ".": {} })));
                    (format!("f:{below}"), Value::Object(keys.collect()))
                })
                .collect();
            owned.entry(format!("f:{list}")).or_insert(json!({}))[&key] = Value::Object(fields);
        }
        if list == "volumes" {
            spec[list] = documents.clone();
            spec[list][0]["secret"]["defaultMode"] = json!(420);
        }
    }
    let names = |document: &Value| -> Value {
        let names = document["annotations"].as_object().into_iter().flatten();
        names
            .map(|(name, _)| (format!("f:{name}"), json!({})))
            .collect()
    };
    let fields = json!({
        "f:metadata": { "f:annotations": names(&document["metadata"]) },
        "f:spec": { "f:template": {
            "f:metadata": { "f:annotations": names(&template["metadata"]) },
            "f:spec": owned,
        }},
    });
    live.metadata.managed_fields = None;
    manage(&mut live, manager::INJECT, "Apply", fields);
    live
}

/// The elements of a list under the keys that field sets have for them.
fn keyed(list: &Value) -> impl Iterator<Item = (String, &Value)> {
    list.as_array().unwrap().iter().map(|one| {
        let path = one.get("mountPath");
        let key = path.map_or_else(
            || json!({ "name": one["name"] }),
            |path| json!({ "mountPath": path }),
        );
        (format!("k:{key}"), one)
    })
}

fn document_for(live: &DynamicObject, wanted: &Wanted<'_>) -> Value {
    applying(live, wanted).0
}

fn rolls(live: &DynamicObject, wanted: &Wanted<'_>) -> bool {
    applying(live, wanted).1
}

fn applying(live: &DynamicObject, wanted: &Wanted<'_>) -> (Value, bool) {
    match decide(live, KIND, wanted, &|_| true) {
        Decision::Apply { document, rolls } => (document, rolls),
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
            "annotations": {
                "domicile.dev/placement": "acme",
                "domicile.dev/secret-origin": "eu-west/main/1",
            },
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
        Decision::Apply { .. }
    ));
    let fewer = BTreeSet::from(["DATABASE_URL".to_owned()]);
    let fewer = Wanted {
        content: Content::Variables(&fewer),
        ..wanted
    };
    assert!(matches!(
        decide(&live, KIND, &fewer, &|_| true),
        Decision::Apply { .. }
    ));
    let only = ["app".to_owned()];
    let narrowed = Wanted {
        containers: &only,
        ..wanted
    };
    assert!(matches!(
        decide(&live, KIND, &narrowed, &|_| true),
        Decision::Apply { .. }
    ));
    let mut edited = live;
    edited.data["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    assert!(matches!(
        decide(&edited, KIND, &wanted, &|_| true),
        Decision::Apply { .. }
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
    let reference = json!({ "name": "acme-db", "key": "DATABASE_URL" });
    let reference = json!({ "secretKeyRef": reference });
    let env = json!([{ "name": "DATABASE_URL", "valueFrom": reference }]);
    let live = workload(&json!([{ "name": "app", "image": "x", "env": env }]));
    let decided = decide(&live, KIND, &wanted(&variables, &[]), &|_| true);
    assert!(matches!(decided, Decision::Apply { .. }), "{decided:?}");
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
    assert!(matches!(decided, Decision::Apply { .. }), "{decided:?}");
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
fn files_are_one_volume_and_a_mount_in_each_container() {
    let wanted = files("/run/db", &[]);
    let document = document_for(&plain(), &wanted);
    let mount = json!([{
        "name": "domicile-secret", "mountPath": "/run/db", "readOnly": true,
    }]);
    let expected = json!({
        "containers": [
            { "name": "app", "volumeMounts": mount }, { "name": "side", "volumeMounts": mount },
        ],
        "volumes": [{ "name": "domicile-secret", "secret": { "secretName": "acme-db" } }],
    });
    assert_eq!(document["spec"]["template"]["spec"], expected);
    let live = applied(plain(), &document);
    assert_eq!(decide(&live, KIND, &wanted, &|_| true), Decision::Settled);
    let elsewhere = files("/run/other", &[]);
    let decided = decide(&live, KIND, &elsewhere, &|_| true);
    assert!(matches!(decided, Decision::Apply { .. }), "{decided:?}");
}

#[test]
fn another_mode_owns_nothing_of_the_one_before() {
    let variables = variables();
    let live = applied(plain(), &document_for(&plain(), &wanted(&variables, &[])));
    let document = document_for(&live, &files("/run/db", &[]));
    assert!(!document.to_string().contains("DATABASE_URL"), "{document}");
    let live = applied(plain(), &document_for(&plain(), &files("/run/db", &[])));
    let document = document_for(&live, &wanted(&variables, &[]));
    assert!(
        !document.to_string().contains("domicile-secret"),
        "{document}"
    );
}

#[test]
fn a_volume_and_a_mount_of_somebody_else_are_conflicts() {
    let mount = json!([{ "name": "mine", "mountPath": "/run/db" }]);
    let mounted = workload(&json!([{ "name": "app", "volumeMounts": mount }]));
    let place = ".spec.template.spec.containers[name=\"app\"].volumeMounts[mountPath=\"/run/db\"]";
    let mut taken = plain();
    taken.data["spec"]["template"]["spec"]["volumes"] =
        json!([{ "name": "domicile-secret", "emptyDir": {} }]);
    let fields = json!({ "f:spec": { "f:template": { "f:spec": {
        "f:volumes": { "k:{\"name\":\"domicile-secret\"}": { ".": {}, "f:emptyDir": {} } },
    }}}});
    manage(&mut taken, "argocd", "Apply", fields);
    let volume = ".spec.template.spec.volumes[name=\"domicile-secret\"]";
    for (live, who, what) in [(mounted, "unknown", place), (taken, "argocd", volume)] {
        let decided = decide(&live, KIND, &files("/run/db", &[]), &|_| true);
        let expected = Decision::Conflict {
            manager: who.into(),
            field: what.into(),
        };
        assert_eq!(decided, expected);
    }
}

#[test]
fn an_init_container_gets_the_secret_when_it_is_named() {
    let variables = BTreeSet::from(["DATABASE_URL".to_owned()]);
    let mut live = plain();
    live.data["spec"]["template"]["spec"]["initContainers"] = json!([{ "name": "migrate" }]);
    let document = document_for(&live, &wanted(&variables, &[]));
    let spec = &document["spec"]["template"]["spec"];
    assert!(spec["containers"].as_array().unwrap().len() == 2 && spec["initContainers"].is_null());
    let named = ["migrate".to_owned()];
    let wanted = wanted(&variables, &named);
    let document = document_for(&live, &wanted);
    let spec = &document["spec"]["template"]["spec"];
    assert!(spec["containers"].is_null(), "{spec}");
    assert_eq!(spec["initContainers"][0]["name"], "migrate");
    assert_eq!(
        spec["initContainers"][0]["env"].as_array().unwrap().len(),
        1
    );
    let live = applied(live, &document);
    assert_eq!(decide(&live, KIND, &wanted, &|_| true), Decision::Settled);
}
