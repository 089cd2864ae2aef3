//! The entries of a binding among those of a kind whose lists nothing merges: pure. Every write
//! names the version of the object that it was decided on.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::service_binding::MappingTemplate;
use domicile_core::binding::{ANNOTATION_PREFIX, Names, ROOT};
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::decide::{Decision, hash};
use super::mapping::{self, Template};
use super::places::{self, Place, ensure, join, pointer};
use super::project::{self, Bound, Projection, Wanted, id, name_of};

/// What a binding inserted, on the workload itself: it is taken out by the mapping that it was put
/// in by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    hash: String,
    template: MappingTemplate,
    /// The containers whose root is of bindings alone.
    roots: BTreeSet<String>,
    /// The variables of each container.
    env: BTreeMap<String, Vec<Value>>,
    /// What bindings made to hold their entries, as JSON pointers.
    made: BTreeSet<String>,
}

/// The record of a binding, when its entries were inserted.
pub(crate) fn record(live: &DynamicObject, names: &Names) -> Option<Record> {
    let text = live.annotations().get(&names.mark())?;
    serde_json::from_str(text).ok()
}

/// Compares a workload with what it must carry.
pub(crate) fn decide(live: &DynamicObject, root: &Value, wanted: &Wanted<'_>) -> Decision {
    let names = &wanted.asked.names;
    let mine = record(live, names);
    let others = others(root, names);
    let mut next = root.clone();
    if let Some(mine) = &mine {
        take_out(&mut next, names, mine, &others);
    }
    let by_bindings = |bound: &Bound| others.roots.contains(&bound.id());
    let projection = match project::project(&next, wanted, &by_bindings) {
        Ok(projection) => projection,
        Err(fact) => return Decision::Refused(fact),
    };
    if let Some(clash) = project::clash(&next, &projection, &|_, _| false) {
        return Decision::Conflict {
            manager: clash.owner(None),
            field: clash.field,
        };
    }
    let hash = hash(&json!([wanted.template.source, format!("{projection:?}")]));
    let same = mine.is_some_and(|mine| mine.hash == hash);
    if same && project::carries(root, &projection) {
        return Decision::Settled;
    }
    let mut record = Record {
        hash,
        template: wanted.template.source.clone(),
        // Whoever goes last takes along what another made.
        made: others.made,
        ..Record::default()
    };
    if let Err(place) = put_in(&mut next, &projection, &mut record) {
        let place = pointer(&place);
        return Decision::Refused(format!("{place} is not what the mapping says"));
    }
    let text = serde_json::to_string(&record).unwrap_or_default();
    next["metadata"]["annotations"][names.mark()] = json!(text);
    Decision::Insert(versioned(root, &next))
}

/// The patch that takes a binding out.
pub(crate) fn take_back(root: &Value, names: &Names, record: &Record) -> Value {
    let mut next = root.clone();
    take_out(&mut next, names, record, &others(root, names));
    versioned(root, &next)
}

/// What all other bindings of a workload recorded.
#[derive(Debug, Default)]
struct Others {
    roots: BTreeSet<String>,
    made: BTreeSet<String>,
}

fn others(root: &Value, names: &Names) -> Others {
    let own = names.mark();
    let mut others = Others::default();
    let marks = root["metadata"]["annotations"].as_object();
    for (key, text) in marks.into_iter().flatten() {
        if !key.starts_with(ANNOTATION_PREFIX) || *key == own {
            continue;
        }
        let text = text.as_str().unwrap_or_default();
        if let Ok(record) = serde_json::from_str::<Record>(text) {
            others.roots.extend(record.roots);
            others.made.extend(record.made);
        }
    }
    others
}

fn put_in(root: &mut Value, projection: &Projection, record: &mut Record) -> Result<(), Place> {
    let Projection {
        annotations_at,
        annotations,
        volumes_at,
        volume,
        containers,
    } = projection;
    if !annotations.is_empty() {
        open(root, annotations_at, &json!({}), record)?;
        let place = places::get_mut(root, annotations_at).and_then(Value::as_object_mut);
        place
            .ok_or_else(|| annotations_at.clone())?
            .extend(annotations.clone());
    }
    if let Some(volume) = volume {
        add(root, volumes_at, volume, record)?;
    }
    for bound in containers {
        if let Some(variable) = &bound.root {
            add(root, &bound.env_at, variable, record)?;
            record.roots.insert(bound.id());
        }
        for variable in &bound.env {
            if add(root, &bound.env_at, variable, record)? {
                let list = record.env.entry(bound.id()).or_default();
                list.push(variable.clone());
            }
        }
        if let Some(mount) = &bound.mount {
            add(root, &bound.mounts_at, mount, record)?;
        }
    }
    Ok(())
}

/// Adds an element to a list unless it is there. True when it was added.
fn add(root: &mut Value, at: &Place, element: &Value, record: &mut Record) -> Result<bool, Place> {
    if places::list(root, at)
        .iter()
        .any(|one| places::holds(one, element))
    {
        return Ok(false);
    }
    open(root, at, &json!([]), record)?;
    let list = places::get_mut(root, at).and_then(Value::as_array_mut);
    list.ok_or_else(|| at.clone())?.push(element.clone());
    Ok(true)
}

fn open(root: &mut Value, at: &Place, empty: &Value, record: &mut Record) -> Result<(), Place> {
    let made = ensure(root, at, empty).map_err(|()| at.clone())?;
    record.made.extend(made.map(|place| pointer(&place)));
    Ok(())
}

fn take_out(root: &mut Value, names: &Names, record: &Record, others: &Others) {
    let template = mapping::read(record.template.clone());
    if let Ok(template) = template.or_else(|_| mapping::read(MappingTemplate::default())) {
        take_entries(root, names, record, others, &template);
    }
    for made in record.made.iter().rev() {
        if root.pointer(made).is_some_and(is_hollow)
            && let Some((parent, name)) = made.rsplit_once('/')
            && let Some(parent) = root.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            parent.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
    }
    if let Some(map) = root["metadata"]["annotations"].as_object_mut() {
        map.remove(&names.mark());
    }
}

fn take_entries(
    root: &mut Value,
    names: &Names,
    record: &Record,
    others: &Others,
    template: &Template,
) {
    let volume = names.volume();
    let is_ours = |one: &Value| one["name"] == volume.as_str();
    remove(root, &join(&[], &template.volumes), is_ours);
    for kind in &template.containers {
        for at in places::find(root, &kind.path) {
            let container = id(name_of(root, kind, &at).as_deref(), &at);
            let own = record.roots.contains(&container) && !others.roots.contains(&container);
            let env = record.env.get(&container).map_or(&[][..], Vec::as_slice);
            remove(root, &join(&at, &kind.env), |one| {
                let known = env.iter().any(|variable| places::holds(one, variable));
                known || (own && one["name"] == ROOT)
            });
            remove(root, &join(&at, &kind.mounts), is_ours);
        }
    }
    let place = join(&[], &template.annotations);
    if let Some(map) = places::get_mut(root, &place).and_then(Value::as_object_mut) {
        for entry in ["type", "provider", "secret"] {
            map.remove(&names.entry(entry));
        }
    }
}

fn remove(root: &mut Value, at: &Place, ours: impl Fn(&Value) -> bool) {
    if let Some(list) = places::get_mut(root, at).and_then(Value::as_array_mut) {
        list.retain(|one| !ours(one));
    }
}

/// Whether nothing but empty lists and maps is in it.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.values().all(is_hollow),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The merge patch from one to the other, for this version of the object alone.
fn versioned(before: &Value, after: &Value) -> Value {
    let mut patch = difference(before, after).unwrap_or_else(|| json!({}));
    for field in ["uid", "resourceVersion"] {
        patch["metadata"][field] = before["metadata"][field].clone();
    }
    patch
}

fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let change = match old.get(name) {
            Some(before) => difference(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests;
