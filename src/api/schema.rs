//! Pieces of schema that several kinds share: patterns, rules, and types that are not ours.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Largest integer that every JSON reader keeps exact (2^53 - 1).
pub const MAX_EXACT: i64 = 9_007_199_254_740_991;

/// A DNS label, as Kubernetes names most things.
pub(crate) const DNS_LABEL: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

/// A DNS subdomain: the name of a Secret or of a cluster-scoped resource.
pub(crate) const DNS_SUBDOMAIN: &str =
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

/// A version, or a group and a version.
pub(crate) const API_VERSION: &str =
    "^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?v[0-9][a-z0-9]*$";

/// A kind.
pub(crate) const KIND: &str = "^[A-Z][A-Za-z0-9]*$";

/// A host name or an IP address.
pub(crate) const HOST: &str = "^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$";

/// The origin of an HTTPS server: no path, no user.
pub(crate) const HTTPS_ORIGIN: &str =
    "^https://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\])(:[0-9]{1,5})?$";

/// A replication slot.
pub(crate) const SLOT: &str = "^[a-z0-9_]+$";

/// A key of a Secret.
pub(crate) const SECRET_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// A folder, from the root, that is not the root itself; no part of it is `.` or `..`.
pub(crate) const FOLDER: &str = "^(/\\.*[A-Za-z0-9_-][A-Za-z0-9._-]*)+$";

/// A jurisdiction.
pub(crate) const JURISDICTION: &str = "^[A-Z][A-Za-z0-9-]*$";

/// Lower-case hexadecimal, as a content hash is written.
pub(crate) const HEX: &str = "^[0-9a-f]*$";

/// A PostgreSQL system identifier.
pub(crate) const SYSTEM_IDENTIFIER: &str = "^[0-9]+$";

/// A WAL position.
pub(crate) const WAL_POSITION: &str = "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$";

/// One line or more of text for people.
pub(crate) const TEXT: &str = "^[^\\x00]*$";

/// CEL rules with their messages, as `x-kubernetes-validations` wants them.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}

/// An RFC 3339 moment.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 64})
}

/// The name of a plan, as a label's value.
pub(crate) const PLAN: &str = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";

/// A set of plans.
pub(crate) fn plans(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": PLAN},
    })
}

/// A list of names, each a DNS label: a set.
pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": DNS_LABEL},
    })
}

/// A set of jurisdictions.
pub(crate) fn jurisdictions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 32, "pattern": JURISDICTION},
    })
}

/// Secret keys and the templates of their values.
pub(crate) fn templates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 1024, "pattern": TEXT},
    })
}

/// A `metav1.LabelSelector`, with limits. The empty selector selects nothing on purpose: it would
/// select every workload of the namespace.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let key = "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$";
    let value = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$";
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": rules(&[(
            "(has(self.matchLabels) && self.matchLabels.size() > 0) || \
             (has(self.matchExpressions) && self.matchExpressions.size() > 0)",
            "`selector` must not be empty",
        )]),
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "`matchLabels` selects objects that carry all of these labels; \
                    it may be absent.",
                "maxProperties": 16,
                "additionalProperties": {"type": "string", "maxLength": 63, "pattern": value},
            },
            "matchExpressions": {
                "type": "array",
                "description": "`matchExpressions` selects objects that meet all of these; it \
                    may be absent.",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "`key` is the label.",
                            "minLength": 1, "maxLength": 317, "pattern": key,
                        },
                        "operator": {
                            "type": "string",
                            "description": "`operator` relates the label to `values`.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array",
                            "description": "`values` are what `operator` looks for; absent \
                                for `Exists` and `DoesNotExist`.",
                            "maxItems": 16,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": 63, "pattern": value},
                        },
                    },
                },
            },
        },
    })
}

/// A list of `metav1.Condition`, keyed by type, with limits.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "`type` is what the condition is about.",
                    "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                },
                "status": {
                    "type": "string",
                    "description": "`status` says whether it holds.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "`reason` is one word for machines, from a closed list.",
                    "minLength": 1, "maxLength": 128, "pattern": "^[A-Z][A-Za-z0-9]*$",
                },
                "message": {
                    "type": "string",
                    "description": "`message` is for people: the object, the fact, the next step.",
                    "maxLength": 1024, "pattern": TEXT,
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "`observedGeneration` is the generation that it was set for.",
                    "minimum": 0, "maximum": MAX_EXACT,
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "maxLength": 64,
                    "description": "`lastTransitionTime` is when `status` last changed.",
                },
            },
        },
    })
}
