//! Every example says what its types know, and nothing that they do not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use domicile_api::{FailoverOperation, FailoverPolicy, Region, TenantPlacement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<(PathBuf, Value)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        documents
            .into_iter()
            .map(move |document| (path.clone(), document))
            .collect::<Vec<_>>()
    };
    files(&folder()).into_iter().flat_map(read).collect()
}

/// What is written and does not come back out of the type: unknown fields, and values that changed.
fn lost<T: Serialize + DeserializeOwned>(document: &Value) -> Vec<String> {
    let read: T = match serde_json::from_value(document.clone()) {
        Ok(read) => read,
        Err(error) => return vec![error.to_string()],
    };
    let mut found = Vec::new();
    missing(
        document,
        &serde_json::to_value(read).unwrap(),
        "",
        &mut found,
    );
    found
}

fn missing(written: &Value, read: &Value, path: &str, found: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                missing(value, read.get(name).unwrap_or(&Value::Null), &path, found);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (at, (written, read)) in written.iter().zip(read).enumerate() {
                missing(written, read, &format!("{path}[{at}]"), found);
            }
        }
        _ if written == read => {}
        _ => found.push(format!("{path} is {written}, read as {read}")),
    }
}

fn lost_of(document: &Value) -> Option<Vec<String>> {
    match document["kind"].as_str()? {
        "Region" => Some(lost::<Region>(document)),
        "TenantPlacement" => Some(lost::<TenantPlacement>(document)),
        "FailoverPolicy" => Some(lost::<FailoverPolicy>(document)),
        "FailoverOperation" => Some(lost::<FailoverOperation>(document)),
        _ => None,
    }
}

#[test]
fn every_example_is_understood_whole() {
    let mut ours = 0;
    for (path, document) in documents() {
        let name = &document["metadata"]["name"];
        match lost_of(&document) {
            Some(lost) => {
                ours += 1;
                assert_eq!(document["apiVersion"], "domicile.dev/v1alpha1", "{name}");
                assert!(lost.is_empty(), "{} {name}: {lost:?}", path.display());
            }
            None => assert_ne!(document["apiVersion"], "domicile.dev/v1alpha1", "{name}"),
        }
    }
    assert!(
        ours >= 11,
        "3 regions, 3 placements, 2 policies, 3 operations: found {ours}"
    );
}

/// Who applies one example after the other must not move a tenant to another region by it.
#[test]
fn no_two_examples_are_of_one_placement() {
    let mut known = BTreeSet::new();
    for (path, document) in documents() {
        if document["kind"] != "TenantPlacement" {
            continue;
        }
        let metadata = &document["metadata"];
        let object = format!("{}/{}", metadata["namespace"], metadata["name"]);
        assert!(known.insert(object.clone()), "{} {object}", path.display());
    }
}

#[test]
fn an_unknown_field_is_noticed() {
    let (_, mut document) = documents()
        .into_iter()
        .find(|(_, one)| one["kind"] == "FailoverPolicy")
        .unwrap();
    assert_eq!(lost_of(&document), Some(Vec::new()));
    document["spec"]["detection"]["interval"] = json!(30);
    let found = lost_of(&document).unwrap();
    assert_eq!(found, [".spec.detection.interval is 30, read as null"]);
}

#[test]
fn what_holds_data_is_not_pruned_by_gitops_tools() {
    for (path, document) in documents() {
        let holds_data = document["kind"] == "Namespace" || lost_of(&document).is_some();
        if !holds_data {
            continue;
        }
        let annotations = &document["metadata"]["annotations"];
        let name = format!("{} {}", path.display(), document["metadata"]["name"]);
        let argo = &annotations["argocd.argoproj.io/sync-options"];
        assert_eq!(*argo, "Prune=confirm,Delete=confirm", "{name}");
        assert_eq!(
            annotations["kustomize.toolkit.fluxcd.io/prune"], "disabled",
            "{name}"
        );
    }
}

#[test]
fn the_defaults_example_carries_the_defaults() {
    let path = folder().join("21-policy-defaults.yaml");
    let text = fs::read_to_string(path).unwrap();
    let written: FailoverPolicy = serde_saphyr::from_str(&text).unwrap();
    let bare: FailoverPolicy = serde_json::from_value(json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": {"name": "eu"},
        "spec": {
            "primary": written.spec.primary, "standbys": written.spec.standbys,
            "mode": "Automatic",
        },
    }))
    .unwrap();
    assert_eq!(written.spec, bare.spec);
}
