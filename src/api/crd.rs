//! The `CustomResourceDefinition`s: what the derive makes, brought into the shape that the API
//! conventions ask for, with printer columns.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use kube::CustomResourceExt;
use serde_json::{Map, Number, Value, json};

use crate::{FailoverOperation, FailoverPolicy, Region, TenantPlacement};

/// Why the definitions could not be made: a defect of this crate, caught by its tests.
#[derive(Debug)]
pub struct SchemaError(String);

impl SchemaError {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot generate a CustomResourceDefinition: {}", self.0)
    }
}

impl std::error::Error for SchemaError {}

/// The definitions of all kinds, in the order in which a reader meets them.
pub fn all() -> Result<Vec<CustomResourceDefinition>, SchemaError> {
    [
        (Region::crd(), region_columns()),
        (TenantPlacement::crd(), placement_columns()),
        (FailoverPolicy::crd(), policy_columns()),
        (FailoverOperation::crd(), operation_columns()),
    ]
    .into_iter()
    .map(|(crd, columns)| complete(crd, &columns))
    .collect()
}

/// The definitions as YAML, each with the file name that it has in `crds/`.
pub fn files() -> Result<Vec<(String, String)>, SchemaError> {
    let file = |crd: CustomResourceDefinition| {
        let name = format!("{}.yaml", crd.spec.names.plural);
        let mut value = serde_json::to_value(&crd).map_err(SchemaError::of)?;
        whole_numbers(&mut value);
        let text = serde_saphyr::to_string(&value).map_err(SchemaError::of)?;
        Ok((name, text))
    };
    all()?.into_iter().map(file).collect()
}

fn complete(
    mut crd: CustomResourceDefinition,
    columns: &[CustomResourceColumnDefinition],
) -> Result<CustomResourceDefinition, SchemaError> {
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns.to_vec());
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            return Err(SchemaError("the derive made no schema".to_owned()));
        };
        let mut value = serde_json::to_value(&*schema).map_err(SchemaError::of)?;
        tidy(&mut value);
        if let Some(status) = value.pointer_mut("/properties/status") {
            status["default"] = json!({"observedGeneration": -1});
        }
        *schema = serde_json::from_value(value).map_err(SchemaError::of)?;
    }
    Ok(crd)
}

/// Brings one schema and all below it into shape.
fn tidy(value: &mut Value) {
    let Some(schema) = value.as_object_mut() else {
        return;
    };
    // An absent value is absent: kube's derive would also accept `null` for every `Option`.
    schema.remove("nullable");
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    // The apiserver warns about formats that it does not know, such as `uint32`.
    let known = ["int32", "int64", "date-time"];
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|f| !known.contains(&f))
    {
        schema.remove("format");
    }
    if schema.get("type") == Some(&json!("array")) {
        schema
            .entry("x-kubernetes-list-type")
            .or_insert_with(|| json!("atomic"));
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            tidy(below);
        }
    }
    unwrap_lines(schema);
}

/// Doc comments break lines for the source; a reader's terminal breaks them elsewhere.
fn unwrap_lines(schema: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
}

/// Writes limits as `1`, not as the `1.0` that their type makes of them.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number
                .as_f64()
                .filter(|f| f.fract() == 0.0 && number.is_f64())
            {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn column(name: &str, type_: &str, json_path: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: json_path.to_owned(),
        description: None,
        format: None,
        priority: None,
    }
}

fn text(name: &str, json_path: &str) -> CustomResourceColumnDefinition {
    column(name, "string", json_path)
}

/// Shown by `-o wide` only.
fn wide(column: CustomResourceColumnDefinition) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        priority: Some(1),
        ..column
    }
}

fn ready(part: &str) -> String {
    format!(".status.conditions[?(@.type==\"Ready\")].{part}")
}

/// The columns that every kind ends with, around its own wide ones.
fn ending(own_wide: Vec<CustomResourceColumnDefinition>) -> Vec<CustomResourceColumnDefinition> {
    let mut columns = vec![
        text("Ready", &ready("status")),
        text("Reason", &ready("reason")),
    ];
    columns.extend(own_wide.into_iter().map(wide));
    columns.push(wide(text("Message", &ready("message"))));
    columns.push(column("Age", "date", ".metadata.creationTimestamp"));
    columns
}

fn region_columns() -> Vec<CustomResourceColumnDefinition> {
    let mut columns = vec![
        text("Jurisdiction", ".spec.jurisdiction"),
        text("State", ".spec.state"),
    ];
    columns.extend(ending(vec![
        text("Key", ".spec.key"),
        column("Default", "boolean", ".spec.default"),
    ]));
    columns.insert(4, column("Placements", "integer", ".status.placements"));
    columns.insert(5, column("Tenants", "integer", ".status.tenants.total"));
    columns
}

fn placement_columns() -> Vec<CustomResourceColumnDefinition> {
    let mut columns = vec![
        text("Tenant", ".spec.tenantID"),
        text("Home", ".status.homeRegion"),
        text("Active", ".status.activeRegion"),
    ];
    let protected = ".status.conditions[?(@.type==\"FailoverProtected\")].status";
    columns.extend(ending(vec![
        text("Plan", ".spec.plan"),
        text("Server", ".status.server"),
        column("Epoch", "integer", ".status.epoch"),
        text("Secret", ".status.binding.name"),
        text("Protected", protected),
    ]));
    columns
}

fn policy_columns() -> Vec<CustomResourceColumnDefinition> {
    let mut columns = vec![
        text("State", ".status.state"),
        text("Active", ".status.activeRegion"),
        column("Epoch", "integer", ".status.epoch"),
    ];
    columns.extend(ending(vec![
        text("Home", ".status.homeRegion"),
        text("Mode", ".spec.mode"),
        text("Split-Brain", ".status.guarantees.splitBrain"),
    ]));
    columns
}

fn operation_columns() -> Vec<CustomResourceColumnDefinition> {
    let mut columns = vec![
        text("Policy", ".spec.policyRef.name"),
        text("Type", ".spec.type"),
        text("Target", ".spec.target"),
        text("State", ".status.state"),
    ];
    columns.extend(ending(vec![
        column("Seconds", "integer", ".status.rtoSeconds"),
        text("Proof", ".status.proof"),
    ]));
    columns
}
