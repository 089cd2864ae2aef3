//! What is tried on the API server.

use std::fs;
use std::path::{Path, PathBuf};

use kube::Client;
use serde_json::{Value, json};

use crate::cases::{NAMESPACE, bad, good, immutables, mutables};
use crate::wire::{create, delete, select, try_patch, try_status};

const KINDS: [&str; 4] = [
    "Region",
    "TenantPlacement",
    "FailoverPolicy",
    "FailoverOperation",
];

/// Makes the namespace of the trials, in which Pod Security warns and refuses.
pub(crate) async fn prepare(client: &Client) {
    let namespace = namespace();
    let made = create(client, &namespace, false).await;
    assert!([201, 409].contains(&made.code), "{made:?}");
}

/// Removes what the trials stored. The namespace stays: while it ends, none of its name can begin.
pub(crate) async fn clear(client: &Client) {
    for kind in KINDS {
        delete(client, &good(kind)).await;
    }
    delete(client, &with_database()).await;
}

/// Every document of every example is taken without a warning. An unknown field is warned about.
///
/// Faults: 12.
pub(crate) async fn examples_are_taken_without_a_warning(client: &Client) {
    let documents = examples();
    assert!(documents.len() >= 17, "found only {}", documents.len());
    for mut document in documents {
        if !document["metadata"]["namespace"].is_null() {
            document["metadata"]["namespace"] = json!(NAMESPACE);
        }
        // The example may be on this server already.
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        document["metadata"]["name"] = json!(format!("{name}-check"));
        let answer = create(client, &document, true).await;
        assert_eq!(answer.code, 201, "{name}: {}", answer.message());
        assert_eq!(answer.warnings, Vec::<String>::new(), "{name}");
    }
    let mut unknown = good("Region");
    unknown["spec"]["flag"] = json!("x");
    let answer = create(client, &unknown, true).await;
    assert!(
        answer
            .warnings
            .iter()
            .any(|text| text.contains("spec.flag")),
        "an unknown field is not warned about: {answer:?}"
    );
}

/// Every bad object is refused with 422, and the refusal names the field.
///
/// Faults: 1, 2, 4, 5, 7, 13, 14, 18, 24.
pub(crate) async fn bad_objects_are_refused_by_field(client: &Client) {
    for kind in KINDS {
        let answer = create(client, &good(kind), true).await;
        assert_eq!(answer.code, 201, "{kind}: {}", answer.message());
    }
    for id in ["postgres", "template1", "a", "6f1c2a-00_x"] {
        let mut object = good("TenantPlacement");
        object["spec"]["tenantID"] = json!(id);
        let answer = create(client, &object, true).await;
        assert_eq!(
            answer.code,
            201,
            "{id} makes a harmless name: {}",
            answer.message()
        );
    }
    for (kind, field, value, names) in bad() {
        let mut object = good(&kind);
        set(&mut object["spec"], &field, &value);
        let answer = create(client, &object, true).await;
        let what = format!(
            "{kind} with {field} {value}: {} {}",
            answer.code,
            answer.message()
        );
        assert_eq!(answer.code, 422, "{what}");
        assert!(
            answer.message().contains(&*names),
            "{what} does not name {names}"
        );
    }
}

/// What is immutable stays, what is not may change, and anything may be labelled.
///
/// Faults: 8.
pub(crate) async fn immutable_fields_stay(client: &Client) {
    for kind in KINDS {
        let made = create(client, &good(kind), false).await;
        assert_eq!(made.code, 201, "{kind}: {}", made.message());
        assert_eq!(made.body["status"]["observedGeneration"], -1, "{kind}");
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let labelled = try_patch(client, &good(kind), &label).await;
        assert_eq!(labelled.code, 200, "{kind}: {}", labelled.message());
    }
    for (kind, field, value, names) in immutables() {
        let answer = try_patch(
            client,
            &good(&kind),
            &json!({"spec": {(field.as_str()): value}}),
        )
        .await;
        let what = format!("{kind} {field}: {} {}", answer.code, answer.message());
        assert_eq!(answer.code, 422, "{what}");
        assert!(
            answer.message().contains(&*names),
            "{what} does not say {names}"
        );
    }
    for (kind, field, value) in mutables() {
        let answer = try_patch(client, &good(kind), &json!({"spec": {field: value}})).await;
        assert_eq!(answer.code, 200, "{kind} {field}: {}", answer.message());
    }
    let placement = with_database();
    assert_eq!(create(client, &placement, false).await.code, 201);
    for database in [json!({"name": "other"}), Value::Null] {
        let answer = try_patch(client, &placement, &json!({"spec": {"database": database}})).await;
        assert_eq!(answer.code, 422);
        assert!(
            answer.message().contains("`database"),
            "{}",
            answer.message()
        );
    }
}

/// A status takes no word that it does not know, and objects are found by their fields.
pub(crate) async fn status_and_selectors_work(client: &Client) {
    let policy = good("FailoverPolicy");
    let known = try_status(client, &policy, &json!({"status": {"state": "Steady"}})).await;
    assert_eq!(known.code, 200, "{}", known.message());
    let unknown = try_status(client, &policy, &json!({"status": {"state": "Unheard"}})).await;
    assert_eq!(unknown.code, 422);
    assert!(
        unknown.message().contains("status.state"),
        "{}",
        unknown.message()
    );
    for (kind, selector) in [
        ("Region", "spec.jurisdiction=XX"),
        ("TenantPlacement", "spec.region=nowhere,spec.tenantID=acme"),
        ("FailoverPolicy", "spec.primary.region=a,spec.mode=Manual"),
        (
            "FailoverOperation",
            "spec.policyRef.name=nowhere,spec.type=Switchover",
        ),
    ] {
        let found = select(client, &good(kind), selector).await;
        assert_eq!(found.code, 200, "{kind}: {}", found.message());
        let items = found.body["items"].as_array().into_iter().flatten();
        let own = items.filter(|item| item["metadata"]["name"] == good(kind)["metadata"]["name"]);
        assert_eq!(own.count(), 1, "{kind} by {selector}: {found:?}");
        let none = select(client, &good(kind), &selector.replace('=', "!=")).await;
        let items = none.body["items"].as_array().into_iter().flatten();
        let own = items.filter(|item| item["metadata"]["name"] == good(kind)["metadata"]["name"]);
        assert_eq!(own.count(), 0, "{kind} not by {selector}: {none:?}");
    }
}

fn set(spec: &mut Value, field: &str, value: &Value) {
    if value.is_null() {
        spec.as_object_mut().unwrap().remove(field);
    } else {
        spec[field] = value.clone();
    }
}

fn with_database() -> Value {
    let mut placement = good("TenantPlacement");
    placement["metadata"]["name"] = json!(format!("schema-check-{}-2", std::process::id()));
    placement["spec"]["tenantID"] = json!("other");
    placement["spec"]["database"] = json!({"name": "some"});
    placement
}

fn namespace() -> Value {
    let level = |mode: &str| {
        (
            format!("pod-security.kubernetes.io/{mode}"),
            json!("restricted"),
        )
    };
    let labels: Value = ["enforce", "warn"].map(level).into_iter().collect();
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    })
}

fn examples() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let read = |path: PathBuf| -> Vec<Value> {
        serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
    };
    files(&folder).into_iter().flat_map(read).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
