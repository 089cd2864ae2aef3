//! The CRDs against the rules A1–A18 of the API conventions, and the examples against the CRDs.
//!
//! Of the rules, A6 (no controller writes `spec`), A8 (the cost of CEL) and A13 (events) can only
//! be judged by a real apiserver and a running operator; A8's part that is visible here, that
//! everything a rule walks over is bounded, is A2.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod examples;
mod rules;
mod walk;

use serde_json::{Value, json};

fn crds() -> Vec<Value> {
    let crds = domicile_api::crd::all().unwrap();
    crds.iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .collect()
}

fn crd(kind: &str) -> Value {
    crds()
        .into_iter()
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .unwrap()
}

/// The path of a property of the first version, below the schema.
fn at(fields: &str) -> String {
    let fields = fields.replace('.', "/properties/").replace("[]", "/items");
    format!("/spec/versions/0/schema/openAPIV3Schema/properties/{fields}")
}

/// Faults: 7, 8, 20.
#[test]
fn every_crd_keeps_the_conventions() {
    let found: Vec<_> = crds().iter().flat_map(rules::violations).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn kinds_and_short_names_are_those_of_the_design() {
    let names: Vec<_> = crds()
        .iter()
        .map(|crd| {
            let names = &crd["spec"]["names"];
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            let scope = word(&crd["spec"]["scope"]);
            (word(&names["kind"]), word(&names["shortNames"][0]), scope)
        })
        .collect();
    let expected = [
        ("Region", "rgn", "Cluster"),
        ("TenantPlacement", "tp", "Namespaced"),
        ("FailoverPolicy", "fop", "Cluster"),
        ("FailoverOperation", "fo", "Cluster"),
    ];
    let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(names, expected);
}

#[test]
fn placements_are_found_by_service_binding_tools() {
    let labels = &crd("TenantPlacement")["metadata"]["labels"];
    assert_eq!(labels[domicile_api::meta::PROVISIONED_SERVICE], "true");
}

#[test]
fn constants_carry_the_group() {
    use domicile_api::meta;
    for name in [
        meta::PLACEMENT_FINALIZER,
        meta::POLICY_FINALIZER,
        meta::SKIP_CLEANUP,
        meta::OWNER_UID,
        meta::EPOCH,
        meta::SECRET_HASH,
        meta::TRIGGER_LABEL,
        meta::ACCEPT_SYSTEM_IDENTIFIER,
    ] {
        assert!(name.starts_with("domicile.dev/"), "A16: {name}");
    }
}

/// Spoils one CRD and expects the violation of exactly that rule to be found.
fn spoiled(rule: &str, kind: &str, pointer: &str, spoil: impl FnOnce(&mut Value)) {
    let mut crd = crd(kind);
    let place = crd
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer} is not there"));
    spoil(place);
    let found = rules::violations(&crd);
    let prefix = format!("{rule} ");
    assert!(
        found.iter().any(|v| v.starts_with(&prefix)),
        "{rule} was not noticed: {found:?}"
    );
}

fn without(field: &'static str) -> impl FnOnce(&mut Value) {
    move |value| {
        value.as_object_mut().unwrap().remove(field).unwrap();
    }
}

fn with(field: &'static str, new: Value) -> impl FnOnce(&mut Value) {
    move |value| value[field] = new
}

#[test]
fn a_spoiled_value_schema_is_noticed() {
    let policy = "FailoverPolicy";
    spoiled(
        "A1",
        policy,
        &at("spec.mode"),
        with("enum", json!(["automatic"])),
    );
    spoiled("A2", "Region", &at("spec.key"), without("maxLength"));
    spoiled("A2", "Region", &at("spec.key"), without("pattern"));
    spoiled("A2", policy, &at("status.epoch"), without("maximum"));
    spoiled("A2", policy, &at("spec.standbys"), without("maxItems"));
    spoiled(
        "A2",
        policy,
        &at("spec.standbys"),
        without("x-kubernetes-list-type"),
    );
    spoiled(
        "A2",
        "TenantPlacement",
        &at("spec.connection.keys"),
        without("maxProperties"),
    );
    spoiled(
        "A3",
        "Region",
        &at("spec.key"),
        with("nullable", json!(true)),
    );
    spoiled(
        "A3",
        "Region",
        &at("spec.key"),
        with("description", json!("The key.")),
    );
    spoiled(
        "A3",
        "Region",
        &at("status.conditions[].reason"),
        without("description"),
    );
    spoiled("A3", "Region", &at("spec.default"), without("default"));
    spoiled(
        "A4",
        policy,
        &at("status.epoch"),
        with("format", json!("uint64")),
    );
    spoiled(
        "A5",
        policy,
        &at("status.epoch"),
        with("type", json!("number")),
    );
    let detection = at("spec.detection");
    let unit = format!("{detection}/properties");
    spoiled("A5", policy, &unit, |properties| {
        let mut field = properties["intervalSeconds"].clone();
        field["description"] = json!("`interval` between two probes.");
        properties["interval"] = field;
    });
    spoiled(
        "A5",
        policy,
        &at("status.since"),
        with("format", json!("int64")),
    );
}

#[test]
fn a_spoiled_rule_or_shape_is_noticed() {
    let rule = |n: usize| format!("{}/x-kubernetes-validations/{n}", at("spec"));
    spoiled("A7", "Region", &rule(1), with("rule", json!("true")));
    spoiled("A7", "Region", &rule(0), with("rule", json!("true")));
    spoiled(
        "A7",
        "FailoverOperation",
        &rule(0),
        with("rule", json!("true")),
    );
    spoiled(
        "A9",
        "Region",
        &rule(0),
        with("message", json!("key is immutable")),
    );
    spoiled(
        "A9",
        "Region",
        &rule(0),
        with("message", json!("`key` must be < 3")),
    );
    let operation = "FailoverOperation";
    spoiled(
        "A10",
        operation,
        &at("spec.policyRef"),
        with("required", json!([])),
    );
    let reference = format!("{}/properties", at("spec.policyRef"));
    spoiled(
        "A10",
        operation,
        &reference,
        with("path", json!({"type": "string"})),
    );
    let password = at("spec.credentials.passwordSecretRef");
    spoiled(
        "A10",
        "TenantPlacement",
        &format!("{password}/properties"),
        with("namespace", json!({"type": "string"})),
    );
    let status = format!("{}/properties", at("status"));
    spoiled(
        "A11",
        operation,
        &status,
        with("phase", json!({"type": "string"})),
    );
    let conditions = at("status.conditions");
    spoiled(
        "A12",
        operation,
        &conditions,
        with("x-kubernetes-list-map-keys", json!(["status"])),
    );
    spoiled(
        "A12",
        operation,
        &format!("{conditions}/items/required"),
        |required| {
            required.as_array_mut().unwrap().pop();
        },
    );
    spoiled("A12", operation, &at("status"), without("default"));
}

#[test]
fn a_spoiled_definition_is_noticed() {
    let names = "/spec/names";
    spoiled("A14", "Region", names, with("shortNames", json!(["po"])));
    spoiled(
        "A14",
        "Region",
        names,
        with("categories", json!(["domicile", "all"])),
    );
    let columns = "/spec/versions/0/additionalPrinterColumns";
    spoiled("A15", "Region", columns, |columns| {
        columns.as_array_mut().unwrap().pop();
    });
    spoiled("A15", "Region", columns, |columns| {
        columns
            .as_array_mut()
            .unwrap()
            .retain(|column| column["name"] != "Reason");
    });
    spoiled("A15", "Region", columns, |columns| {
        let column = columns[0].clone();
        columns
            .as_array_mut()
            .unwrap()
            .splice(0..0, vec![column; 6]);
    });
    spoiled(
        "A15",
        "Region",
        &format!("{columns}/0"),
        with("jsonPath", json!(".spec.absent")),
    );
    spoiled(
        "A17",
        "Region",
        "/spec/versions/0",
        with("storage", json!(false)),
    );
    spoiled(
        "A18",
        "Region",
        "/spec",
        with("conversion", json!({"strategy": "Webhook"})),
    );
    spoiled(
        "A18",
        "Region",
        "/spec/versions/0",
        without("selectableFields"),
    );
}
