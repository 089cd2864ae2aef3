//! What is injected, piece by piece: each is an element of a list that the API server merges by a
//! key. Pure.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Content, Wanted};

/// The volume that holds the Secret.
pub(super) const VOLUME: &str = "domicile-secret";

/// A list of containers of a pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    /// Those that run side by side.
    Containers,
    /// Those that run before them, and sidecars.
    InitContainers,
}

impl List {
    /// All lists that anything is injected into.
    pub(super) const ALL: [Self; 2] = [Self::Containers, Self::InitContainers];

    /// The field of the pod template's `spec`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
        }
    }
}

/// A container, by its list and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Container {
    pub(super) list: List,
    pub(super) name: String,
}

/// What tells one injected element from all others of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// An environment variable, by its name.
    Variable(Container, String),
    /// A mount, by its path.
    Mount(Container, String),
    /// A volume, by its name.
    Volume(String),
}

/// Elements, each as it is to be.
pub(super) type Items = BTreeMap<Item, Value>;

impl Item {
    /// The field, for people.
    pub(super) fn field(&self) -> String {
        let root = ".spec.template.spec";
        let of = |container: &Container| {
            let Container { list, name } = container;
            format!("{root}.{}[name={name:?}]", list.as_str())
        };
        match self {
            Self::Variable(container, name) => format!("{}.env[name={name:?}]", of(container)),
            Self::Mount(container, path) => {
                format!("{}.volumeMounts[mountPath={path:?}]", of(container))
            }
            Self::Volume(name) => format!("{root}.volumes[name={name:?}]"),
        }
    }

    /// The element as it is, if there is one.
    pub(super) fn of<'a>(&self, live: &'a DynamicObject) -> Option<&'a Value> {
        let spec = &live.data["spec"]["template"]["spec"];
        let container = |container: &Container| {
            let Container { list, name } = container;
            find(&spec[list.as_str()], "name", name)
        };
        match self {
            Self::Variable(at, name) => find(&container(at)?["env"], "name", name),
            Self::Mount(at, path) => find(&container(at)?["volumeMounts"], "mountPath", path),
            Self::Volume(name) => find(&spec["volumes"], "name", name),
        }
    }
}

/// All containers of a workload.
pub(super) fn containers(live: &DynamicObject) -> Vec<Container> {
    let spec = &live.data["spec"]["template"]["spec"];
    let of = |list: List| {
        let found = spec[list.as_str()].as_array().into_iter().flatten();
        let name = |one: &Value| one["name"].as_str().map(str::to_owned);
        found
            .filter_map(name)
            .map(move |name| Container { list, name })
    };
    List::ALL.into_iter().flat_map(of).collect()
}

/// What a workload must carry in these containers.
pub(super) fn items(containers: &[Container], wanted: &Wanted<'_>) -> Items {
    let mut items = Items::new();
    match wanted.content {
        Content::Variables(variables) => {
            for container in containers {
                for name in variables {
                    let reference = json!({ "name": wanted.secret, "key": name });
                    let entry = json!({ "name": name, "valueFrom": { "secretKeyRef": reference } });
                    items.insert(Item::Variable(container.clone(), name.clone()), entry);
                }
            }
        }
        Content::Files(path) => {
            for container in containers {
                let entry = json!({ "name": VOLUME, "mountPath": path, "readOnly": true });
                items.insert(Item::Mount(container.clone(), path.to_owned()), entry);
            }
            let entry = json!({ "name": VOLUME, "secret": { "secretName": wanted.secret } });
            items.insert(Item::Volume(VOLUME.to_owned()), entry);
        }
    }
    items
}

/// The pod template's `spec` of an apply that owns these elements and nothing else.
pub(super) fn spec(items: &Items) -> Value {
    let mut containers: BTreeMap<&Container, Value> = BTreeMap::new();
    let mut spec = json!({});
    for (item, entry) in items {
        match item {
            Item::Variable(container, _) => {
                let one = containers.entry(container);
                push(one.or_insert_with(|| bare(container)), "env", entry);
            }
            Item::Mount(container, _) => {
                let one = containers.entry(container);
                push(
                    one.or_insert_with(|| bare(container)),
                    "volumeMounts",
                    entry,
                );
            }
            Item::Volume(_) => push(&mut spec, "volumes", entry),
        }
    }
    for (container, document) in containers {
        push(&mut spec, container.list.as_str(), &document);
    }
    spec
}

/// Whether `live` has all of `wanted`: the API server adds defaults.
pub(in crate::controllers::placement) fn holds(live: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, wanted)| live.get(name).is_some_and(|live| holds(live, wanted))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            live == wanted
        }
    }
}

fn bare(container: &Container) -> Value {
    json!({ "name": container.name })
}

fn push(parent: &mut Value, list: &str, element: &Value) {
    match parent[list].as_array_mut() {
        Some(elements) => elements.push(element.clone()),
        None => parent[list] = json!([element]),
    }
}

fn find<'a>(list: &'a Value, key: &str, wanted: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|one| one[key] == wanted)
}
