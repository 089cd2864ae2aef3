//! What a `ServiceBinding` asks for, read once: pure.

use std::collections::BTreeSet;

use domicile_api::service_binding::{EnvMapping, ServiceBinding, ServiceReference};
use domicile_core::binding::{self, Names};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::projection::kinds::Kind;
use crate::projection::{Asked, Mount};

/// What a binding asks for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What it adds to workloads.
    pub(crate) asked: Asked,
    /// The service.
    pub(super) service: ServiceReference,
    /// Its kind.
    pub(super) service_kind: Kind,
    /// The kind of the workloads.
    pub(super) kind: Kind,
    /// Which of them.
    pub(super) selection: Selection,
}

/// Which workloads.
#[derive(Debug)]
pub(super) enum Selection {
    /// The one of that name.
    Name(String),
    /// All that carry these labels.
    Labels(Selector),
}

impl Selection {
    /// Whether a workload is meant.
    pub(super) fn selects(&self, live: &impl ResourceExt) -> bool {
        match self {
            Self::Name(name) => live.name_any() == *name,
            Self::Labels(selector) => selector.matches(live.labels()),
        }
    }
}

/// Reads a binding, or says which field cannot be obeyed.
pub(crate) fn read(binding: &ServiceBinding) -> Result<Plan, String> {
    let spec = &binding.spec;
    let folder = spec.name.clone().filter(|name| !name.is_empty());
    let folder = folder.unwrap_or_else(|| binding.name_any());
    if !binding::is_name(&folder) {
        return Err(format!(
            "`spec.name` {folder:?} cannot be a folder: use up to 253 of a-z, 0-9, `-` and `.`"
        ));
    }
    let kind = Kind::read(&spec.workload.api_version, &spec.workload.kind)
        .map_err(|fact| format!("`spec.workload.apiVersion`: {fact}"))?;
    let service_kind = Kind::read(&spec.service.api_version, &spec.service.kind)
        .map_err(|fact| format!("`spec.service.apiVersion`: {fact}"))?;
    // An empty list names nobody to leave the others out for.
    let containers = spec.workload.containers.clone();
    let containers = containers.filter(|names| !names.is_empty());
    Ok(Plan {
        asked: Asked {
            names: Names::of(&binding.uid().unwrap_or_default()),
            mount: Mount::BelowRoot(folder),
            entries: entries(binding),
            containers: containers.map(|names| names.into_iter().collect()),
            env: variables(&spec.env)?,
        },
        service: spec.service.clone(),
        service_kind,
        kind,
        selection: selection(binding)?,
    })
}

fn entries(binding: &ServiceBinding) -> Vec<(&'static str, String)> {
    let said = |entry, text: &Option<String>| {
        let text = text.clone().filter(|text| !text.is_empty())?;
        Some((entry, text))
    };
    let spec = &binding.spec;
    [said("type", &spec.type_), said("provider", &spec.provider)]
        .into_iter()
        .flatten()
        .collect()
}

fn selection(binding: &ServiceBinding) -> Result<Selection, String> {
    let workload = &binding.spec.workload;
    let name = workload.name.clone().filter(|name| !name.is_empty());
    match (name, workload.selector.clone()) {
        (Some(name), None) => Ok(Selection::Name(name)),
        (None, Some(selector)) => {
            let empty = selector.match_labels.iter().flatten().next().is_none()
                && selector.match_expressions.iter().flatten().next().is_none();
            if empty {
                return Err("`spec.workload.selector` is empty; name a label".to_owned());
            }
            let selector = Selector::try_from(selector);
            selector
                .map(Selection::Labels)
                .map_err(|error| format!("`spec.workload.selector`: {error}"))
        }
        (Some(_), Some(_)) => {
            Err("`spec.workload` has both `name` and `selector`; take one of them out".to_owned())
        }
        (None, None) => Err("`spec.workload` needs `name` or `selector`".to_owned()),
    }
}

fn variables(env: &[EnvMapping]) -> Result<Vec<EnvMapping>, String> {
    let mut names = BTreeSet::new();
    for (at, mapping) in env.iter().enumerate() {
        if mapping.name == binding::ROOT {
            return Err(format!(
                "`spec.env[{at}].name` must not be {}; set it on the workload",
                binding::ROOT
            ));
        }
        if !names.insert(&mapping.name) {
            return Err(format!(
                "`spec.env[{at}].name` {:?} is there twice",
                mapping.name
            ));
        }
    }
    Ok(env.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn binding(spec: &Value) -> ServiceBinding {
        let object = json!({ "metadata": { "name": "db", "uid": "u" }, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    fn spec(workload: &Value) -> Value {
        json!({
            "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
            "workload": workload,
        })
    }

    fn refusal(workload: &Value, more: &Value) -> String {
        let mut spec = spec(workload);
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        read(&binding(&spec)).unwrap_err()
    }

    #[test]
    fn a_binding_is_called_as_it_says_or_as_it_is() {
        let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" });
        let mut spec = spec(&workload);
        let below = |name: &str| Mount::BelowRoot(name.to_owned());
        assert_eq!(read(&binding(&spec)).unwrap().asked.mount, below("db"));
        spec["name"] = json!("account");
        spec["type"] = json!("postgres");
        spec["provider"] = json!("");
        let plan = read(&binding(&spec)).unwrap();
        assert_eq!(plan.asked.mount, below("account"));
        assert_eq!(plan.asked.entries, [("type", "postgres".to_owned())]);
    }

    #[test]
    fn an_empty_list_of_containers_means_all() {
        let containers = |list: &Value| {
            let mut workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
            workload["name"] = json!("api");
            workload["containers"] = list.clone();
            read(&binding(&spec(&workload))).unwrap().asked.containers
        };
        assert_eq!(containers(&json!([])), None);
        assert_eq!(containers(&Value::Null), None);
        assert_eq!(containers(&json!(["a"])).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_obeyed_names_its_field() {
        let labels = json!({ "matchLabels": { "a": "b" } });
        let kind = |more: Value| {
            let mut workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
            for (key, value) in more.as_object().unwrap() {
                workload[key] = value.clone();
            }
            workload
        };
        let none = json!({});
        let named = || kind(json!({ "name": "a" }));
        for (workload, more, field) in [
            (kind(json!({})), &none, "`spec.workload`"),
            (
                kind(json!({ "name": "a", "selector": labels })),
                &none,
                "`spec.workload`",
            ),
            (
                kind(json!({ "selector": {} })),
                &none,
                "`spec.workload.selector`",
            ),
            (named(), &json!({ "name": "../x" }), "`spec.name`"),
            (
                json!({ "apiVersion": "a/b/c", "kind": "X", "name": "a" }),
                &none,
                "`spec.workload.apiVersion`",
            ),
            (
                named(),
                &json!({ "env": [{ "name": "A", "key": "a" }, { "name": "A", "key": "b" }] }),
                "`spec.env[1].name`",
            ),
            (
                named(),
                &json!({ "env": [{ "name": "SERVICE_BINDING_ROOT", "key": "a" }] }),
                "`spec.env[0].name`",
            ),
        ] {
            let message = refusal(&workload, more);
            assert!(message.starts_with(field), "{message}");
        }
    }
}
