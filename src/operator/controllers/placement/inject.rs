//! What a selected workload must carry, compared with what it carries: pure.

use std::collections::BTreeSet;

use domicile_api::injection::{ReloadStrategy, WorkloadKind};
use domicile_api::meta;
use domicile_core::injection::Origin;
use domicile_core::names::ServerId;
use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

mod items;
mod owned;

pub(super) use items::holds;
use items::{Container, Items, List};
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
    /// What a changed Secret does to it.
    pub(super) reload: ReloadStrategy,
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
    let document = document(live, kind, &items, &owned, wanted);
    Decision::Apply { document, rolls }
}

/// The placement whose Secret a workload carries, by our own annotation.
pub(super) fn injected_by(live: &DynamicObject) -> Option<&str> {
    if !owned(live).marks.contains(meta::PLACEMENT_LABEL) {
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
    let restarted = match wanted.reload {
        ReloadStrategy::RollingRestart => owned.hash && observed_hash(live) == Some(wanted.hash),
        ReloadStrategy::Annotation | ReloadStrategy::None => true,
    };
    restarted && items.iter().all(carried) && owned.items.len() == items.len()
}

fn is_marked(live: &DynamicObject, owned: &Owned, wanted: &Wanted<'_>) -> bool {
    let owns = |name: &str| owned.marks.contains(name);
    let origin = live.annotations().get(meta::SECRET_ORIGIN);
    let told = match wanted.reload {
        ReloadStrategy::Annotation => {
            let hash = live.annotations().get(meta::SECRET_HASH);
            owns(meta::SECRET_HASH) && hash.is_some_and(|hash| hash == wanted.hash)
        }
        ReloadStrategy::RollingRestart | ReloadStrategy::None => !owns(meta::SECRET_HASH),
    };
    told && owns(meta::PLACEMENT_LABEL)
        && owns(meta::SECRET_ORIGIN)
        && injected_by(live) == Some(wanted.placement)
        && origin.is_some_and(|text| *text == written(wanted.origin))
}

/// An origin as the annotation has it.
fn written(origin: &Origin) -> String {
    let Origin { server, generation } = origin;
    format!("{server}/{generation}")
}

fn document(
    live: &DynamicObject,
    kind: WorkloadKind,
    items: &Items,
    owned: &Owned,
    wanted: &Wanted<'_>,
) -> Value {
    let mut annotations = json!({
        meta::PLACEMENT_LABEL: wanted.placement,
        meta::SECRET_ORIGIN: written(wanted.origin),
    });
    let mut template = json!({ "spec": items::spec(items) });
    let hash = match wanted.reload {
        ReloadStrategy::RollingRestart => Some(wanted.hash),
        // To take away the hash of another strategy would restart the pods for nothing.
        ReloadStrategy::Annotation | ReloadStrategy::None => {
            observed_hash(live).filter(|_| owned.hash)
        }
    };
    if let Some(hash) = hash {
        template["metadata"] = json!({ "annotations": { meta::SECRET_HASH: hash } });
    }
    if wanted.reload == ReloadStrategy::Annotation {
        annotations[meta::SECRET_HASH] = wanted.hash.into();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": kind.as_str(),
        // The UID keeps an apply from making a workload that was deleted meanwhile.
        "metadata": {
            "name": live.name_any(), "uid": live.meta().uid, "annotations": annotations,
        },
        "spec": { "template": template },
    })
}

#[cfg(test)]
mod tests;
