//! What to do about one workload: pure. Kinds of Kubernetes itself are written by server-side apply
//! under the binding's own field manager. Lists of other kinds are often atomic for it, and an
//! apply would take all of such a list; there the binding's entries are inserted, and a record of
//! them is kept on the workload.

use std::collections::BTreeMap;

use domicile_core::binding::{MANAGER_PREFIX, Names};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::insert;
use super::places::{self, Key, Place};
use super::project::{self, Bound, Clash, Projection, Wanted};

/// What to do about one workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// It is as it must be.
    Settled,
    /// Apply this document under the binding's field manager.
    Apply(Value),
    /// Merge this patch, which names the object's version.
    Insert(Value),
    /// First take back what was written in the other way, by this decision; then look again.
    First(Box<Self>),
    /// Somebody else owns a field.
    Conflict {
        /// Who, as field managers are called.
        manager: String,
        /// Which.
        field: String,
    },
    /// It cannot carry the binding, and why.
    Refused(String),
}

impl Decision {
    /// Whether something is written.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Apply(_) | Self::Insert(_) | Self::First(_) => true,
            Self::Settled | Self::Conflict { .. } | Self::Refused(_) => false,
        }
    }
}

/// Compares a workload with what it must carry.
pub(crate) fn decide(
    live: &DynamicObject,
    resource: &ApiResource,
    wanted: &Wanted<'_>,
) -> Decision {
    let root = value_of(live);
    let names = &wanted.asked.names;
    if let Some(answer) = apply(live, &root, resource, wanted) {
        let first =
            insert::record(live, names).map(|record| insert::take_back(&root, names, &record));
        return first.map_or(answer, |patch| {
            Decision::First(Box::new(Decision::Insert(patch)))
        });
    }
    if owns_by_apply(live, names) {
        let document = nothing(live, resource);
        return Decision::First(Box::new(Decision::Apply(document)));
    }
    insert::decide(live, &root, wanted)
}

/// Whether a workload carries anything of a binding.
pub(crate) fn is_bound(live: &DynamicObject, names: &Names) -> bool {
    owns_by_apply(live, names) || live.annotations().contains_key(&names.mark())
}

/// How to take all of a binding back; nothing when there is none. A mark that is no record counts
/// as an empty one: volume and mounts are found by their names all the same.
pub(crate) fn release(
    live: &DynamicObject,
    resource: &ApiResource,
    names: &Names,
) -> Option<Decision> {
    if owns_by_apply(live, names) {
        return Some(Decision::Apply(nothing(live, resource)));
    }
    live.annotations().get(&names.mark())?;
    let record = insert::record(live, names).unwrap_or_default();
    let patch = insert::take_back(&value_of(live), names, &record);
    Some(Decision::Insert(patch))
}

/// A short hash of what was decided.
pub(crate) fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    let hex = |byte: &u8| format!("{byte:02x}");
    digest[..8].iter().map(hex).collect()
}

/// A workload as it is, without the record of its owners.
pub(crate) fn value_of(live: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(live).unwrap_or_default();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

/// The kinds whose lists are known to be merged entry by entry.
fn is_merged(resource: &ApiResource) -> bool {
    let kinds: &[&str] = match resource.group.as_str() {
        "apps" => &["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        "batch" => &["CronJob", "Job"],
        "" => &["ReplicationController"],
        _ => &[],
    };
    kinds.contains(&resource.kind.as_str())
}

/// The answer by server-side apply; none where it cannot be used.
fn apply(
    live: &DynamicObject,
    root: &Value,
    resource: &ApiResource,
    wanted: &Wanted<'_>,
) -> Option<Decision> {
    if !is_merged(resource) {
        return None;
    }
    let by_bindings = |bound: &Bound| {
        let managers = managers(live, root, &bound.env_at, domicile_core::binding::ROOT);
        !managers.is_empty() && managers.iter().all(|name| name.starts_with(MANAGER_PREFIX))
    };
    let projection = match project::project(root, wanted, &by_bindings) {
        Ok(projection) => projection,
        Err(fact) => return Some(Decision::Refused(fact)),
    };
    let names = &wanted.asked.names;
    let manager = names.manager();
    let ours = |at: &[Key], name: &str| managers(live, root, at, name).contains(&manager.as_str());
    if let Some(clash) = project::clash(root, &projection, &ours) {
        let manager = owner(live, root, &clash);
        return Some(Decision::Conflict {
            manager,
            field: clash.field,
        });
    }
    let mut document = document(live, root, resource, &projection)?;
    let hash = hash(&document);
    let marked = live.annotations().get(&names.mark()) == Some(&hash);
    if marked && owns_by_apply(live, names) && project::carries(root, &projection) {
        return Some(Decision::Settled);
    }
    document["metadata"]["annotations"][names.mark()] = json!(hash);
    Some(Decision::Apply(document))
}

/// The document that owns nothing.
fn nothing(live: &DynamicObject, resource: &ApiResource) -> Value {
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // The UID keeps an apply from making a workload that was deleted meanwhile.
        "metadata": { "name": live.name_any(), "uid": live.metadata.uid },
    })
}

/// The document that owns the projection; none when an element on the way has no name.
fn document(
    live: &DynamicObject,
    root: &Value,
    resource: &ApiResource,
    projection: &Projection,
) -> Option<Value> {
    let Projection {
        annotations_at,
        annotations,
        volumes_at,
        volume,
        containers,
    } = projection;
    let mut document = nothing(live, resource);
    if !annotations.is_empty() {
        let place = mirror(&mut document, root, annotations_at)?;
        let mut all = place.as_object().cloned().unwrap_or_default();
        all.extend(annotations.clone());
        *place = Value::Object(all);
    }
    if let Some(volume) = volume {
        push(mirror(&mut document, root, volumes_at)?, volume);
    }
    for bound in containers {
        for one in bound.variables() {
            push(mirror(&mut document, root, &bound.env_at)?, one);
        }
        if let Some(mount) = &bound.mount {
            push(mirror(&mut document, root, &bound.mounts_at)?, mount);
        }
    }
    Some(document)
}

fn push(list: &mut Value, element: &Value) {
    match list.as_array_mut() {
        Some(list) => list.push(element.clone()),
        None => *list = json!([element]),
    }
}

/// The place in a document that answers to a place in the workload: elements go by their names.
fn mirror<'a>(document: &'a mut Value, root: &Value, place: &[Key]) -> Option<&'a mut Value> {
    let mut here = document;
    for (at, key) in place.iter().enumerate() {
        match key {
            Key::Field(name) => {
                if here.is_null() {
                    *here = json!({});
                }
                here = here
                    .as_object_mut()?
                    .entry(name.clone())
                    .or_insert(Value::Null);
            }
            Key::At(_) => {
                let name = places::get(root, &place[..=at])?["name"].as_str()?;
                if here.is_null() {
                    *here = json!([]);
                }
                let list = here.as_array_mut()?;
                let known = list.iter().position(|one| one["name"] == name);
                let known = known.unwrap_or_else(|| {
                    list.push(json!({ "name": name }));
                    list.len() - 1
                });
                here = &mut list[known];
            }
        }
    }
    Some(here)
}

fn owns_by_apply(live: &DynamicObject, names: &Names) -> bool {
    let manager = names.manager();
    live.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(&manager) && entry.operation.as_deref() == Some("Apply")
    })
}

/// Who owns the element `name` of the list at a place.
fn managers<'a>(live: &'a DynamicObject, root: &Value, at: &[Key], name: &str) -> Vec<&'a str> {
    let owns = |fields: &Value| {
        steps(root, at).is_some_and(|mut steps| {
            steps.push(element("name", name));
            let end = steps
                .iter()
                .try_fold(fields, |fields, step| fields.get(step));
            end.is_some()
        })
    };
    let fields: BTreeMap<&str, bool> = live
        .managed_fields()
        .iter()
        .filter_map(|entry| {
            Some((
                entry.manager.as_deref()?,
                owns(&entry.fields_v1.as_ref()?.0),
            ))
        })
        .filter(|(_, owns)| *owns)
        .collect();
    fields.into_keys().collect()
}

/// A place as a field set spells it.
fn steps(root: &Value, at: &[Key]) -> Option<Vec<String>> {
    let spell = |(index, key): (usize, &Key)| match key {
        Key::Field(name) => Some(format!("f:{name}")),
        Key::At(_) => {
            let place: Place = at[..=index].to_vec();
            let name = places::get(root, &place)?["name"].as_str()?;
            Some(element("name", name))
        }
    };
    at.iter().enumerate().map(spell).collect()
}

fn element(key: &str, value: &str) -> String {
    format!("k:{}", json!({ key: value }))
}

fn owner(live: &DynamicObject, root: &Value, clash: &Clash) -> String {
    let owners = clash.variable.as_ref();
    let owners = owners.map(|name| managers(live, root, &clash.list, name));
    let first = owners.and_then(|owners| owners.first().map(|name| (*name).to_owned()));
    clash.owner(first)
}

#[cfg(test)]
mod tests;
