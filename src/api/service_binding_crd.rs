//! The definitions of `servicebinding.io`, compatible with those of the specification, for clusters
//! that have none. Both versions have one schema, so that nothing is converted.

use serde_json::{Value, json};

use crate::crd::SchemaError;
use crate::service_binding::{BROUGHT_BY, GROUP};

/// The definitions as YAML, each with a file name.
pub fn files() -> Result<Vec<(String, String)>, SchemaError> {
    let file = |definition: Value| {
        let plural = definition["spec"]["names"]["plural"].as_str();
        let name = format!("{}.yaml", plural.unwrap_or_default());
        let text = serde_saphyr::to_string(&definition).map_err(SchemaError::of)?;
        Ok((name, text))
    };
    [bindings(), mappings()].into_iter().map(file).collect()
}

/// The names of the definitions.
pub fn names() -> [String; 2] {
    ["servicebindings", "clusterworkloadresourcemappings"].map(|plural| format!("{plural}.{GROUP}"))
}

fn definition(kind: &str, scope: &str, columns: &Value, status: bool, schema: &Value) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let version = |name: &str| {
        let mut version = json!({
            "name": name, "served": true, "storage": name == "v1",
            "additionalPrinterColumns": columns,
            "schema": { "openAPIV3Schema": schema },
        });
        if status {
            version["subresources"] = json!({ "status": {} });
        }
        version
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "labels": { BROUGHT_BY: "true" }, "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"),
                "plural": plural, "singular": singular,
            },
            "scope": scope,
            "versions": [version("v1"), version("v1beta1")],
        },
    })
}

fn bindings() -> Value {
    let ready = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    let columns = json!([
        { "name": "Ready", "type": "string", "jsonPath": ready("status") },
        { "name": "Reason", "type": "string", "jsonPath": ready("reason") },
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]);
    let about = "ServiceBinding binds the Secret of a service into workloads.";
    let spec = object(
        "`spec` says which service is bound into which workloads.",
        &["service", "workload"],
        &json!({
            "name": text("`name` of the folder of the Secret; `metadata.name` when absent."),
            "type": text("`type` takes the place of the Secret's entry `type`."),
            "provider": text("`provider` takes the place of the Secret's entry `provider`."),
            "service": object("`service` is a Provisioned Service or a Secret of this namespace.",
                &["apiVersion", "kind", "name"], &json!({
                    "apiVersion": text("`apiVersion` of the service."),
                    "kind": text("`kind` of the service."),
                    "name": text("`name` of the service."),
                })),
            "workload": workload(),
            "env": list("`env` are entries of the Secret that become environment variables.",
                &object("One variable.", &["key", "name"], &json!({
                    "key": text("`key` of the Secret."),
                    "name": text("`name` of the variable."),
                }))),
        }),
    );
    let status = object(
        "`status` says what is bound.",
        &[],
        &json!({
            "binding": object("`binding` names the Secret that the workloads see.", &["name"],
                &json!({ "name": text("`name` of the Secret.") })),
            "conditions": list("`conditions` say how far it is.", &condition()),
            "observedGeneration": {
                "type": "integer", "format": "int64",
                "description": "`observedGeneration` is the generation that this tells about.",
            },
        }),
    );
    let schema = top(about, &json!({ "spec": spec, "status": status }));
    definition("ServiceBinding", "Namespaced", &columns, true, &schema)
}

fn workload() -> Value {
    let requirement = object(
        "One requirement.",
        &["key", "operator"],
        &json!({
            "key": text("`key` of the label."),
            "operator": text("`operator`: In, NotIn, Exists or DoesNotExist."),
            "values": list("`values` that the operator looks for.", &json!({ "type": "string" })),
        }),
    );
    let mut selector = object(
        "`selector` selects workloads by label; without `name`.",
        &[],
        &json!({
            "matchExpressions": list("`matchExpressions` must all hold.", &requirement),
            "matchLabels": {
                "type": "object", "description": "`matchLabels` must all be carried.",
                "additionalProperties": { "type": "string" },
            },
        }),
    );
    selector["x-kubernetes-map-type"] = json!("atomic");
    object(
        "`workload` names one workload of this namespace or selects several.",
        &["apiVersion", "kind"],
        &json!({
            "apiVersion": text("`apiVersion` of the workloads."),
            "kind": text("`kind` of the workloads."),
            "name": text("`name` of the workload; without `selector`."),
            "selector": selector,
            "containers": list("`containers` are those that are bound; all when absent or empty.",
                &json!({ "type": "string" })),
        }),
    )
}

fn mappings() -> Value {
    let columns = json!([
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]);
    let container = object(
        "The places of what is like a container.",
        &["path"],
        &json!({
            "path": text("`path` is a JSONPath that leads to one or several."),
            "name": text("`name` is a fixed JSONPath from there to its name."),
            "env": text("`env` is a fixed JSONPath to its variables; `.env` when absent."),
            "volumeMounts": text("`volumeMounts` is a fixed JSONPath from there to its mounts; \
                `.volumeMounts` when absent."),
        }),
    );
    let version = object(
        "The places of one version.",
        &["version"],
        &json!({
            "version": text("`version` of the kind, or `*` for all that are not named."),
            "annotations": text("`annotations` is a fixed JSONPath to those of the pods."),
            "containers": list("`containers` lead to what is like a container.", &container),
            "volumes": text("`volumes` is a fixed JSONPath to the list of volumes."),
        }),
    );
    let spec = object(
        "`spec` says where the kind that the name tells keeps what a pod template keeps.",
        &[],
        &json!({ "versions": list("`versions` of the kind.", &version) }),
    );
    let about = "ClusterWorkloadResourceMapping says how a kind of workload is bound.";
    let schema = top(about, &json!({ "spec": spec }));
    definition(
        "ClusterWorkloadResourceMapping",
        "Cluster",
        &columns,
        false,
        &schema,
    )
}

fn condition() -> Value {
    object(
        "One condition.",
        &["lastTransitionTime", "message", "reason", "status", "type"],
        &json!({
            "lastTransitionTime": {
                "type": "string", "format": "date-time",
                "description": "`lastTransitionTime` is when `status` last changed.",
            },
            "message": {
                "type": "string", "maxLength": 32768, "description": "`message` is for people.",
            },
            "observedGeneration": {
                "type": "integer", "format": "int64", "minimum": 0,
                "description": "`observedGeneration` is the generation that it was set for.",
            },
            "reason": {
                "type": "string", "minLength": 1, "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                "description": "`reason` is one word for machines.",
            },
            "status": {
                "type": "string", "enum": ["True", "False", "Unknown"],
                "description": "`status` says whether it holds.",
            },
            "type": {
                "type": "string", "maxLength": 316,
                "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                    (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                "description": "`type` is what it is about.",
            },
        }),
    )
}

fn top(about: &str, properties: &Value) -> Value {
    let mut schema = object(about, &[], properties);
    schema["properties"]["apiVersion"] = text("`apiVersion` of this object.");
    schema["properties"]["kind"] = text("`kind` of this object.");
    schema["properties"]["metadata"] = json!({ "type": "object" });
    schema
}

fn object(about: &str, required: &[&str], properties: &Value) -> Value {
    let mut schema = json!({ "type": "object", "description": about, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn list(about: &str, items: &Value) -> Value {
    json!({ "type": "array", "description": about, "items": items })
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_definitions_serve_both_versions_and_store_the_newer() {
        for (definition, name) in [bindings(), mappings()].iter().zip(names()) {
            assert_eq!(definition["metadata"]["name"], name);
            let versions = definition["spec"]["versions"].as_array().unwrap();
            let stored = |version: &Value| (version["name"].clone(), version["storage"].clone());
            let found: Vec<_> = versions.iter().map(stored).collect();
            assert_eq!(
                found,
                [(json!("v1"), json!(true)), (json!("v1beta1"), json!(false))]
            );
        }
    }
}
