//! What a selected workload must carry, compared with what it carries: pure.

use std::collections::BTreeSet;

use domicile_api::injection::WorkloadKind;
use domicile_api::meta;
use domicile_core::injection::Origin;
use domicile_core::names::ServerId;
use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

mod items;
mod owned;

use items::{Container, Items, List, holds};
use owned::{Owned, manager_of, owned};

/// What a workload of a placement must carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The placement's name.
    pub(super) placement: &'a str,
    /// The Secret's name.
    pub(super) secret: &'a str,
    /// The hash of the Secret's content.
    pub(super) hash: &'a str,
    /// What the Secret leads to.
    pub(super) origin: &'a Origin,
    /// How it gets the Secret.
    pub(super) content: Content<'a>,
    /// The containers that get it; all but init containers when empty.
    pub(super) containers: &'a [String],
}

/// How a workload gets the Secret.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// These keys are environment variables.
    Variables(&'a BTreeSet<String>),
    /// All keys are files in this folder.
    Files(&'a str),
}

/// What to do about one workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// It carries all of it.
    Settled,
    /// Apply a document.
    Apply {
        /// The document.
        document: Value,
        /// It changes the pod template, and so the pods.
        rolls: bool,
    },
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
    let containers = match targets(live, wanted.containers) {
        Ok(containers) => containers,
        Err(missing) => return Decision::NoContainer(missing),
    };
    let items = items::items(&containers, wanted);
    let owned = owned(live);
    let foreign = items.iter().find(|(item, entry)| {
        let there = item.of(live);
        !owned.items.contains(item) && there.is_some_and(|there| !holds(there, entry))
    });
    if let Some((item, _)) = foreign {
        return Decision::Conflict {
            manager: manager_of(live, item),
            field: item.field(),
        };
    }
    let rolls = !is_in_template(live, &items, &owned, wanted);
    if !rolls && is_marked(live, &owned, wanted) {
        return Decision::Settled;
    }
    let document = document(live, kind, &items, wanted);
    Decision::Apply { document, rolls }
}

/// The placement whose Secret a workload carries, by our own annotation.
pub(super) fn injected_by(live: &DynamicObject) -> Option<&str> {
    if !owned(live).marker {
        return None;
    }
    live.annotations()
        .get(meta::PLACEMENT_LABEL)
        .map(String::as_str)
}

/// What the Secret led to when a workload got it, by our own annotation.
pub(super) fn origin(live: &DynamicObject) -> Option<Origin> {
    let text = live.annotations().get(meta::SECRET_ORIGIN)?;
    let (server, generation) = text.rsplit_once('/')?;
    let (region, server) = server.split_once('/')?;
    Some(Origin {
        server: ServerId::new(region, server),
        generation: generation.parse().ok()?,
    })
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

/// The containers that get the Secret, or the asked ones that are not there.
fn targets(live: &DynamicObject, asked: &[String]) -> Result<Vec<Container>, Vec<String>> {
    let containers = items::containers(live);
    let there = |name: &&String| containers.iter().any(|one| one.name == **name);
    let missing: Vec<String> = asked.iter().filter(|n| !there(n)).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let wanted = |one: &Container| match one.list {
        List::Containers => asked.is_empty() || asked.contains(&one.name),
        List::InitContainers => asked.contains(&one.name),
    };
    Ok(containers.into_iter().filter(wanted).collect())
}

fn is_in_template(live: &DynamicObject, items: &Items, owned: &Owned, wanted: &Wanted<'_>) -> bool {
    let carried = |(item, entry): (&items::Item, &Value)| {
        let there = item.of(live);
        owned.items.contains(item) && there.is_some_and(|there| holds(there, entry))
    };
    items.iter().all(carried)
        && owned.items.len() == items.len()
        && owned.hash
        && observed_hash(live) == Some(wanted.hash)
}

fn is_marked(live: &DynamicObject, owned: &Owned, wanted: &Wanted<'_>) -> bool {
    let origin = live.annotations().get(meta::SECRET_ORIGIN);
    owned.marker
        && owned.origin
        && injected_by(live) == Some(wanted.placement)
        && origin.is_some_and(|text| *text == written(wanted.origin))
}

/// An origin as the annotation has it.
fn written(origin: &Origin) -> String {
    let Origin { server, generation } = origin;
    format!("{server}/{generation}")
}

fn document(live: &DynamicObject, kind: WorkloadKind, items: &Items, wanted: &Wanted<'_>) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind.as_str(),
        // The UID keeps an apply from making a workload that was deleted meanwhile.
        "metadata": {
            "name": live.name_any(),
            "uid": live.meta().uid,
            "annotations": {
                meta::PLACEMENT_LABEL: wanted.placement,
                meta::SECRET_ORIGIN: written(wanted.origin),
            },
        },
        "spec": { "template": {
            "metadata": { "annotations": { meta::SECRET_HASH: wanted.hash } },
            "spec": items::spec(items),
        }},
    })
}

#[cfg(test)]
mod tests;
