//! What a selected workload must carry, compared with what it carries: pure.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::meta::{self, manager};
use domicile_api::placement::WorkloadKind;
use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

/// What a workload of a placement must carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The placement's name.
    pub(super) placement: &'a str,
    /// The Secret's name.
    pub(super) secret: &'a str,
    /// The hash of the Secret's content.
    pub(super) hash: &'a str,
    /// The Secret's keys that become environment variables.
    pub(super) variables: &'a BTreeSet<String>,
    /// The containers that get them; all when empty.
    pub(super) containers: &'a [String],
}

/// What to do about one workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// It carries all of it.
    Settled,
    /// Apply this document.
    Apply(Value),
    /// Somebody else owns a field.
    Conflict {
        /// Who.
        manager: String,
        /// Which.
        field: String,
    },
    /// The containers that the placement names are not there.
    NoContainer(Vec<String>),
}

/// Variable names by container.
type Variables = BTreeMap<String, BTreeSet<String>>;

/// Compares a workload with what it must carry. `lives` tells whether another placement of that
/// name exists in the namespace.
pub(super) fn decide(
    live: &DynamicObject,
    kind: WorkloadKind,
    wanted: &Wanted<'_>,
    lives: &dyn Fn(&str) -> bool,
) -> Decision {
    if let Some(other) = injected_by(live)
        && other != wanted.placement
        && lives(other)
    {
        let manager = format!("TenantPlacement/{other}");
        return Decision::Conflict {
            manager,
            field: ".spec.template".to_owned(),
        };
    }
    let containers = containers(live);
    let missing: Vec<String> = wanted
        .containers
        .iter()
        .filter(|name| !containers.contains_key(*name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Decision::NoContainer(missing);
    }
    let targets: Variables = containers
        .keys()
        .filter(|name| wanted.containers.is_empty() || wanted.containers.contains(name))
        .map(|name| (name.clone(), wanted.variables.clone()))
        .collect();
    let owned = owned(live);
    for (container, variables) in &targets {
        let env = containers.get(container).map_or(&[][..], Vec::as_slice);
        for variable in variables {
            let ours = owned
                .variables
                .get(container)
                .is_some_and(|set| set.contains(variable));
            let foreign = env.iter().find(|entry| entry["name"] == variable.as_str());
            if !ours && foreign.is_some_and(|entry| *entry != entry_for(wanted.secret, variable)) {
                let manager = manager_of(live, container, variable);
                return Decision::Conflict {
                    manager,
                    field: field(container, variable),
                };
            }
        }
    }
    if settled(live, &containers, &targets, &owned, wanted) {
        return Decision::Settled;
    }
    Decision::Apply(document(live, kind, &targets, wanted))
}

/// The placement whose variables a workload carries, by our own annotation.
pub(super) fn injected_by(live: &DynamicObject) -> Option<&str> {
    if !owned(live).marker {
        return None;
    }
    live.annotations()
        .get(meta::PLACEMENT_LABEL)
        .map(String::as_str)
}

/// The document that takes back all that was injected into a workload.
pub(super) fn release(live: &DynamicObject, kind: WorkloadKind) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind.as_str(),
        "metadata": { "name": live.name_any(), "uid": live.meta().uid },
    })
}

/// The hash that a workload's pod template carries.
pub(super) fn observed_hash(live: &DynamicObject) -> Option<&str> {
    live.data["spec"]["template"]["metadata"]["annotations"][meta::SECRET_HASH].as_str()
}

/// How many pods run the present template, and how many are wanted. What the workload's controller
/// counted for an older template does not count.
pub(super) fn rollout(live: &DynamicObject, kind: WorkloadKind) -> (i32, i32) {
    let count = |value: &Value, absent: i64| {
        i32::try_from(value.as_i64().unwrap_or(absent))
            .unwrap_or(i32::MAX)
            .max(0)
    };
    let (spec, status) = (&live.data["spec"], &live.data["status"]);
    let (updated, total) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => (
            count(&status["updatedReplicas"], 0),
            count(&spec["replicas"], 1),
        ),
        WorkloadKind::DaemonSet => (
            count(&status["updatedNumberScheduled"], 0),
            count(&status["desiredNumberScheduled"], 0),
        ),
    };
    let current = status["observedGeneration"].as_i64() >= live.meta().generation;
    (if current { updated.min(total) } else { 0 }, total)
}

/// Whether pods of an older template still run, as far as the workload's own status tells.
pub(super) fn has_old_pods(live: &DynamicObject, kind: WorkloadKind) -> bool {
    let status = &live.data["status"];
    let (all, updated) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
            (&status["replicas"], &status["updatedReplicas"])
        }
        WorkloadKind::DaemonSet => (
            &status["currentNumberScheduled"],
            &status["updatedNumberScheduled"],
        ),
    };
    let current = status["observedGeneration"].as_i64() >= live.meta().generation;
    !current || all.as_i64().unwrap_or(0) > updated.as_i64().unwrap_or(0)
}

fn settled(
    live: &DynamicObject,
    containers: &BTreeMap<String, Vec<Value>>,
    targets: &Variables,
    owned: &Owned,
    wanted: &Wanted<'_>,
) -> bool {
    let carried = targets.iter().all(|(container, variables)| {
        let env = containers.get(container).map_or(&[][..], Vec::as_slice);
        variables
            .iter()
            .all(|variable| env.contains(&entry_for(wanted.secret, variable)))
    });
    carried
        && owned.variables == *targets
        && owned.marker
        && owned.hash
        && injected_by(live) == Some(wanted.placement)
        && observed_hash(live) == Some(wanted.hash)
}

fn document(
    live: &DynamicObject,
    kind: WorkloadKind,
    targets: &Variables,
    wanted: &Wanted<'_>,
) -> Value {
    let containers: Vec<Value> = targets
        .iter()
        .map(|(container, variables)| {
            let env: Vec<Value> = variables
                .iter()
                .map(|variable| entry_for(wanted.secret, variable))
                .collect();
            json!({ "name": container, "env": env })
        })
        .collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": kind.as_str(),
        // The UID keeps an apply from making a workload that was deleted meanwhile.
        "metadata": {
            "name": live.name_any(),
            "uid": live.meta().uid,
            "annotations": { meta::PLACEMENT_LABEL: wanted.placement },
        },
        "spec": { "template": {
            "metadata": { "annotations": { meta::SECRET_HASH: wanted.hash } },
            "spec": { "containers": containers },
        }},
    })
}

fn entry_for(secret: &str, variable: &str) -> Value {
    json!({
        "name": variable,
        "valueFrom": { "secretKeyRef": { "name": secret, "key": variable } },
    })
}

fn containers(live: &DynamicObject) -> BTreeMap<String, Vec<Value>> {
    let list = live.data["spec"]["template"]["spec"]["containers"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|container| {
            let env = container["env"].as_array().cloned().unwrap_or_default();
            Some((container["name"].as_str()?.to_owned(), env))
        })
        .collect()
}

/// What our field manager owns of a workload.
#[derive(Debug, Default, PartialEq, Eq)]
struct Owned {
    variables: Variables,
    marker: bool,
    hash: bool,
}

fn owned(live: &DynamicObject) -> Owned {
    let entries = live.managed_fields().iter();
    let ours = entries.filter(|entry| {
        entry.manager.as_deref() == Some(manager::INJECT)
            && entry.operation.as_deref() == Some("Apply")
    });
    let mut owned = Owned::default();
    for fields in ours.filter_map(|entry| entry.fields_v1.as_ref().map(|fields| &fields.0)) {
        let annotation = format!("f:{}", meta::PLACEMENT_LABEL);
        owned.marker |= !fields["f:metadata"]["f:annotations"][&annotation].is_null();
        let template = &fields["f:spec"]["f:template"];
        let annotation = format!("f:{}", meta::SECRET_HASH);
        owned.hash |= !template["f:metadata"]["f:annotations"][&annotation].is_null();
        owned
            .variables
            .append(&mut variables_in(&template["f:spec"]["f:containers"]));
    }
    owned
}

/// The variables in the `f:containers` of a field set. Keys are `k:{"name":"…"}`.
fn variables_in(containers: &Value) -> Variables {
    let named = |fields: &Value| -> Vec<(String, Value)> {
        let fields = fields.as_object().into_iter().flatten();
        let read = |(key, value): (&String, &Value)| {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            Some((key["name"].as_str()?.to_owned(), value.clone()))
        };
        fields.filter_map(read).collect()
    };
    named(containers)
        .into_iter()
        .map(|(container, fields)| {
            let variables = named(&fields["f:env"]).into_iter().map(|(name, _)| name);
            (container, variables.collect())
        })
        .collect()
}

fn manager_of(live: &DynamicObject, container: &str, variable: &str) -> String {
    let owns = |fields: &Value| {
        let set = variables_in(&fields["f:spec"]["f:template"]["f:spec"]["f:containers"]);
        set.get(container)
            .is_some_and(|variables| variables.contains(variable))
    };
    let entry = live
        .managed_fields()
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(manager::INJECT))
        .find(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| owns(&fields.0))
        });
    entry
        .and_then(|entry| entry.manager.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn field(container: &str, variable: &str) -> String {
    format!(".spec.template.spec.containers[name={container:?}].env[name={variable:?}]")
}

#[cfg(test)]
mod tests;
