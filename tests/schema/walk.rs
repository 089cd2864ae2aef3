//! A walk over every schema of a CRD.

use serde_json::Value;

/// One schema, and where it stands.
pub(crate) struct Node<'a> {
    /// Path from the root, such as `spec.databaseServers[].name`; empty for the root.
    pub(crate) path: String,
    /// The property's name; empty for the root, items and values of maps.
    pub(crate) name: &'a str,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// The schema.
    pub(crate) schema: &'a Value,
}

impl Node<'_> {
    /// Whether the schema is of that type.
    pub(crate) fn is(&self, type_: &str) -> bool {
        self.schema["type"] == type_
    }

    /// Whether the schema has that keyword.
    pub(crate) fn has(&self, keyword: &str) -> bool {
        self.schema.get(keyword).is_some()
    }

    /// The description; empty when there is none.
    pub(crate) fn description(&self) -> &str {
        self.schema["description"].as_str().unwrap_or_default()
    }
}

/// Every schema of the first version, parents before children.
pub(crate) fn nodes(crd: &Value) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    visit(
        Node {
            path: String::new(),
            name: "",
            required: true,
            schema: root,
        },
        &mut found,
    );
    found
}

fn visit<'a>(node: Node<'a>, found: &mut Vec<Node<'a>>) {
    let (schema, path) = (node.schema, node.path.clone());
    found.push(node);
    let required: Vec<_> = strings(&schema["required"]).collect();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{name}");
        let required = required.contains(&name.as_str());
        visit(
            Node {
                path,
                name,
                required,
                schema: below,
            },
            found,
        );
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(below) = schema.get(keyword) {
            let path = format!("{path}{suffix}");
            visit(
                Node {
                    path,
                    name: "",
                    required: true,
                    schema: below,
                },
                found,
            );
        }
    }
}

/// The strings of a list; nothing when it is none.
pub(crate) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
