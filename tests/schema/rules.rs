//! The rules, each a function that returns what violates it.

use serde_json::Value;

use crate::walk::{Node, nodes, strings};

/// Short names and categories that a cluster already has.
const TAKEN: &[&str] = &[
    "all", "cm", "cs", "csr", "crd", "crds", "cj", "cronjob", "deploy", "ds", "ep", "ev", "gw",
    "hpa", "ing", "limits", "netpol", "no", "ns", "pc", "pdb", "po", "pv", "pvc", "quota", "rc",
    "rs", "sa", "sc", "sts", "svc", "vac", "vap",
];

/// Formats that an apiserver of 1.34 or newer takes without a warning, of those in use here.
const FORMATS: &[&str] = &["int32", "int64", "date-time"];

/// All violations of a CRD, each starting with its rule.
pub(crate) fn violations(crd: &Value) -> Vec<String> {
    let nodes = nodes(crd);
    let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let namespaced = crd["spec"]["scope"] == "Namespaced";
    let mut found = Vec::new();
    for node in &nodes {
        let place = format!("{kind} {}", node.path);
        let mut note = |(rule, what): (&str, String)| found.push(format!("{rule} {place}: {what}"));
        words(node).into_iter().for_each(&mut note);
        bounds(node).into_iter().for_each(&mut note);
        documentation(node).into_iter().for_each(&mut note);
        formats(node).into_iter().for_each(&mut note);
        units(node).into_iter().for_each(&mut note);
        messages(node).into_iter().for_each(&mut note);
        references(node, namespaced).into_iter().for_each(&mut note);
        shapes(node).into_iter().for_each(&mut note);
    }
    let mut note = |(rule, what): (&str, String)| found.push(format!("{rule} {kind}: {what}"));
    immutables(&nodes).into_iter().for_each(&mut note);
    names(crd).into_iter().for_each(&mut note);
    columns(crd, &nodes).into_iter().for_each(&mut note);
    versions(crd, &nodes).into_iter().for_each(&mut note);
    found
}

type Found = Vec<(&'static str, String)>;

/// A1: enum values are CamelCase. `apiVersion` holds the word that Kubernetes defines.
fn words(node: &Node<'_>) -> Found {
    let odd = |word: &str| {
        !word.starts_with(|c: char| c.is_ascii_uppercase())
            || !word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let values = strings(&node.schema["enum"]);
    let bad = values.filter(|word| odd(word) && node.name != "apiVersion");
    bad.map(|word| ("A1", format!("{word} is not CamelCase")))
        .collect()
}

/// A2: everything is bounded.
fn bounds(node: &Node<'_>) -> Found {
    let mut wanted: Vec<&str> = Vec::new();
    if node.is("string") && !node.has("enum") {
        wanted.push("maxLength");
        if !node.has("format") {
            wanted.push("pattern");
        }
    }
    if node.is("integer") {
        wanted.extend(["minimum", "maximum"]);
    }
    if node.is("array") {
        wanted.extend(["maxItems", "x-kubernetes-list-type", "items"]);
    }
    if node.has("additionalProperties") {
        wanted.push("maxProperties");
    }
    let missing = wanted.into_iter().filter(|keyword| !node.has(keyword));
    missing
        .map(|keyword| ("A2", format!("has no {keyword}")))
        .collect()
}

/// A3: described, the name first; optional on purpose; never nullable.
fn documentation(node: &Node<'_>) -> Found {
    let mut found = Vec::new();
    let mut note = |what: &str| found.push(("A3", what.to_owned()));
    let text = node.description();
    if node.has("nullable") {
        note("is nullable");
    }
    if node.path.is_empty() && (text.is_empty() || text.starts_with("Auto-generated")) {
        note("is not described");
    }
    if !node.name.is_empty() && !text.starts_with(&format!("`{}`", node.name)) {
        note("the description does not start with the name");
    }
    let optional = node.path.starts_with("spec.") && !node.required && !node.name.is_empty();
    if optional && !node.has("default") && !text.contains("absent") {
        note("has no default, and does not say what its absence means");
    }
    found
}

/// A4: only formats that no apiserver warns about; integers have one.
fn formats(node: &Node<'_>) -> Found {
    let format = node.schema["format"].as_str();
    let mut found = Vec::new();
    if let Some(format) = format.filter(|format| !FORMATS.contains(format)) {
        found.push(("A4", format!("has the format {format}")));
    }
    if node.is("integer") && format.is_none() {
        found.push(("A4", "is an integer without a format".to_owned()));
    }
    found
}

/// A5: durations are whole numbers with the unit in the name, times are RFC 3339.
fn units(node: &Node<'_>) -> Found {
    let mut found = Vec::new();
    if node.is("number") {
        found.push(("A5", "is not a whole number".to_owned()));
    }
    let lower = node.name.to_lowercase();
    let durations = [
        "interval",
        "timeout",
        "duration",
        "period",
        "delay",
        "cooldown",
        "heartbeat",
    ];
    let units = ["Seconds", "Days", "Bytes"];
    let unit = units.iter().any(|unit| node.name.ends_with(unit));
    if node.is("integer") && durations.iter().any(|word| lower.contains(word)) && !unit {
        found.push(("A5", "is a duration without its unit".to_owned()));
    }
    let times = ["since", "started", "finished", "sampled", "time", "until"];
    let time = node.is("string") && times.iter().any(|word| lower.ends_with(word));
    if time && node.schema["format"] != "date-time" {
        found.push(("A5", "is a time without the format date-time".to_owned()));
    }
    found
}

/// A7: what the description calls immutable has both transition rules, and nothing else has.
fn immutables(nodes: &[Node<'_>]) -> Found {
    let spec = nodes.iter().find(|node| node.path == "spec");
    let rules: Vec<_> = spec.map(|spec| rules(spec)).unwrap_or_default();
    let rule = |text: &str| rules.iter().any(|(rule, _)| rule.contains(text));
    let mut found = Vec::new();
    let mut claimed = 0;
    for node in nodes
        .iter()
        .filter(|node| node.description().contains("Immutable"))
    {
        let field = node.path.strip_prefix("spec.");
        let top = field.and_then(|field| field.split('.').next());
        let wanted = match (field, top) {
            (Some(field), Some(top)) => vec![
                format!("self.{field} == oldSelf.{field}"),
                format!("has(self.{top}) == has(oldSelf.{top})"),
            ],
            _ => vec!["self == oldSelf".to_owned()],
        };
        claimed += wanted.len();
        for text in wanted.iter().filter(|text| !rule(text)) {
            found.push(("A7", format!("{} lacks the rule {text}", node.path)));
        }
    }
    let transitions = rules
        .iter()
        .filter(|(rule, _)| rule.contains("oldSelf"))
        .count();
    if transitions != claimed {
        found.push((
            "A7",
            format!("{transitions} transition rules, {claimed} described"),
        ));
    }
    found
}

/// A9: messages name the field in back-quotes, say what must be, and write inequalities in words.
fn messages(node: &Node<'_>) -> Found {
    let good = |message: &str| {
        let quoted = message.matches('`').count() >= 2;
        let must = message.contains(" must ");
        quoted && must && !message.contains(['<', '>', '='])
    };
    let bad = rules(node)
        .into_iter()
        .filter(|(_, message)| !good(message));
    bad.map(|(_, message)| ("A9", format!("message {message:?}")))
        .collect()
}

/// A10: a reference is a name, and nothing more than what finds it. What lies in a namespace refers
/// to nothing outside of it.
fn references(node: &Node<'_>, namespaced: bool) -> Found {
    if !node.name.ends_with("Ref") {
        return Vec::new();
    }
    let allowed = ["name", "namespace", "kind", "group", "key"];
    let mut found = Vec::new();
    if !strings(&node.schema["required"]).any(|field| field == "name") {
        found.push(("A10", "does not require a name".to_owned()));
    }
    if namespaced && node.schema["properties"]["namespace"].is_object() {
        found.push(("A10", "leads into another namespace".to_owned()));
    }
    for field in node.schema["properties"].as_object().into_iter().flatten() {
        if !allowed.contains(&field.0.as_str()) {
            found.push(("A10", format!("has {}", field.0)));
        }
    }
    found
}

/// A11: no phase. A12: conditions of the metav1 shape, and a status that is there from the start.
fn shapes(node: &Node<'_>) -> Found {
    let mut found = Vec::new();
    if node.name == "phase" {
        found.push(("A11", "is a phase".to_owned()));
    }
    if node.path == "status" && node.schema["default"]["observedGeneration"] != -1 {
        found.push(("A12", "does not start at observedGeneration -1".to_owned()));
    }
    if node.name == "conditions" {
        let keys: Vec<_> = strings(&node.schema["x-kubernetes-list-map-keys"]).collect();
        if node.schema["x-kubernetes-list-type"] != "map" || keys != ["type"] {
            found.push(("A12", "is not a map by type".to_owned()));
        }
        let mut required: Vec<_> = strings(&node.schema["items"]["required"]).collect();
        required.sort_unstable();
        if required != ["lastTransitionTime", "message", "reason", "status", "type"] {
            found.push(("A12", "does not require what a condition needs".to_owned()));
        }
    }
    found
}

/// A14: short names collide with none; the own category, never `all`.
fn names(crd: &Value) -> Found {
    let names = &crd["spec"]["names"];
    let categories: Vec<_> = strings(&names["categories"]).collect();
    let mut found = Vec::new();
    for name in strings(&names["shortNames"]).filter(|name| TAKEN.contains(name)) {
        found.push(("A14", format!("the short name {name} is taken")));
    }
    if categories != ["domicile"] {
        found.push(("A14", format!("categories {categories:?}")));
    }
    found
}

/// A15: at most 7 columns, READY and REASON among them, AGE last, and each shows a field.
fn columns(crd: &Value, nodes: &[Node<'_>]) -> Found {
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array();
    let columns: Vec<_> = columns.into_iter().flatten().collect();
    let narrow: Vec<_> = columns
        .iter()
        .filter(|column| column["priority"].is_null())
        .collect();
    let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    // NAME comes before them, and is not in the list.
    if narrow.len() > 7 {
        found.push(("A15", format!("{} columns", narrow.len())));
    }
    for wanted in ["Ready", "Reason"] {
        if !narrow.iter().any(|column| name(column) == wanted) {
            found.push(("A15", format!("no column {wanted}")));
        }
    }
    let last = columns
        .last()
        .map(|column| (name(column), column["type"].clone()));
    if last != Some(("Age".to_owned(), Value::from("date"))) {
        found.push(("A15", "the last column is not Age, a date".to_owned()));
    }
    for column in columns {
        let path = column["jsonPath"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('.');
        let plain = path.split_once("[?").map_or(path, |(before, _)| before);
        if !plain.starts_with("metadata.") && !nodes.iter().any(|node| node.path == plain) {
            found.push((
                "A15",
                format!("column {} shows {path}, which is no field", name(column)),
            ));
        }
    }
    found
}

/// A17: one version, stored and served. A18: no webhook, and fields to select by.
fn versions(crd: &Value, nodes: &[Node<'_>]) -> Found {
    let mut found = Vec::new();
    let versions = crd["spec"]["versions"].as_array().map_or(0, Vec::len);
    let version = &crd["spec"]["versions"][0];
    if versions != 1 || version["storage"] != true || version["served"] != true {
        found.push((
            "A17",
            "not exactly one version, stored and served".to_owned(),
        ));
    }
    if crd["spec"]["conversion"]["strategy"] == "Webhook" {
        found.push(("A18", "has a webhook".to_owned()));
    }
    let fields = version["selectableFields"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if fields.is_empty() {
        found.push(("A18", "has no selectableFields".to_owned()));
    }
    for field in fields {
        let path = field["jsonPath"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('.');
        if !nodes
            .iter()
            .any(|node| node.path == path && node.is("string"))
        {
            found.push(("A18", format!("selects by {path}, which is no string")));
        }
    }
    found
}

fn rules<'a>(node: &Node<'a>) -> Vec<(&'a str, &'a str)> {
    let rules = node.schema["x-kubernetes-validations"].as_array();
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    rules
        .into_iter()
        .flatten()
        .map(|rule| (text(&rule["rule"]), text(&rule["message"])))
        .collect()
}
