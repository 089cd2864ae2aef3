//! Which placements' workloads changed. Their metadata is watched in the whole cluster, where the
//! operator has that right, so that nobody need look for changes (ADR 38).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_api::conditions::{ConditionType, is_true};
use domicile_api::injection::{WorkloadKind, WorkloadSelector};
use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::context::Ctx;
use crate::kube::cache::Reconnect;
use crate::kube::client::WATCH_SECONDS;
use crate::kube::wake::Key;

mod known;

use known::{Change, Known};

/// The kinds that are watched.
const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];
/// How soon a right that is missing is asked for again.
const REFUSED: Duration = Duration::from_mins(1);

/// How often a placement's workloads were seen to change. Two that are equal mean that nothing
/// changed between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    losses: u64,
    changes: u64,
}

/// What the watches tell of each placement.
#[derive(Default)]
pub struct Workloads(Mutex<State>);

#[derive(Default)]
struct State {
    /// Kinds whose first list is complete, and whose watch was not refused since.
    watched: BTreeSet<WorkloadKind>,
    /// How often a watch was lost for good.
    losses: u64,
    /// Changes of each placement's workloads, by its namespace and name.
    placements: BTreeMap<String, BTreeMap<String, u64>>,
}

impl fmt::Debug for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workloads")
            .field("watched", &self.lock().watched)
            .finish_non_exhaustive()
    }
}

impl Workloads {
    /// Where the placement's workloads are, as far as the watches have told. Absent while a kind is
    /// not watched: then only a look tells. To be asked for before that look, not after.
    pub fn revision(&self, placement: &Key) -> Option<Revision> {
        let state = self.lock();
        if state.watched.len() < KINDS.len() {
            return None;
        }
        let namespace = placement.namespace.as_deref().unwrap_or_default();
        let changes = state.placements.get(namespace)?.get(&placement.name)?;
        Some(Revision {
            losses: state.losses,
            changes: *changes,
        })
    }

    /// Whether changes of workloads are told.
    pub fn are_watched(&self) -> bool {
        self.lock().watched.len() == KINDS.len()
    }

    /// There is such a placement.
    pub fn placed(&self, placement: &Key) {
        let namespace = placement.namespace.clone().unwrap_or_default();
        let mut state = self.lock();
        let names = state.placements.entry(namespace).or_default();
        names.entry(placement.name.clone()).or_default();
    }

    /// The placement is gone.
    pub fn gone(&self, placement: &Key) {
        let namespace = placement.namespace.as_deref().unwrap_or_default();
        let mut state = self.lock();
        if let Some(names) = state.placements.get_mut(namespace) {
            names.remove(&placement.name);
            if names.is_empty() {
                state.placements.remove(namespace);
            }
        }
    }

    /// All kinds are watched, and there is one placement.
    #[cfg(test)]
    pub(crate) fn of_watched(placement: &Key) -> Self {
        let workloads = Self::default();
        for kind in KINDS {
            workloads.watched(kind);
        }
        workloads.placed(placement);
        workloads
    }

    /// The placements of a namespace.
    fn of(&self, namespace: &str) -> Vec<Key> {
        let state = self.lock();
        let names = state.placements.get(namespace).into_iter().flatten();
        names
            .map(|(name, _)| Key::namespaced(namespace, name))
            .collect()
    }

    pub(crate) fn changed(&self, placement: &Key) {
        let namespace = placement.namespace.as_deref().unwrap_or_default();
        let mut state = self.lock();
        let names = state.placements.get_mut(namespace);
        if let Some(changes) = names.and_then(|names| names.get_mut(&placement.name)) {
            *changes += 1;
        }
    }

    fn watched(&self, kind: WorkloadKind) {
        self.lock().watched.insert(kind);
    }

    fn lost(&self, kind: WorkloadKind) {
        let mut state = self.lock();
        state.losses += u64::from(state.watched.remove(&kind));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches all kinds. Never ends by itself.
pub async fn follow(ctx: &Ctx) {
    tokio::join!(
        follow_kind::<Deployment>(ctx, WorkloadKind::Deployment),
        follow_kind::<StatefulSet>(ctx, WorkloadKind::StatefulSet),
        follow_kind::<DaemonSet>(ctx, WorkloadKind::DaemonSet),
    );
}

async fn follow_kind<K>(ctx: &Ctx, kind: WorkloadKind)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let mut told = false;
    loop {
        let error = watch::<K>(ctx, kind).await;
        ctx.workloads.lost(kind);
        if !told {
            let kind = kind.as_str();
            info!(kind, %error, "Workloads are not watched, and are looked for instead");
            told = true;
        }
        ctx.clock.sleep(REFUSED).await;
    }
}

/// Watches one kind until that is refused.
async fn watch<K>(ctx: &Ctx, kind: WorkloadKind) -> watcher::Error
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(ctx.client.clone());
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config);
    let mut events = Box::pin(StreamBackoff::new(events, Reconnect::default()));
    let mut known = Known::default();
    loop {
        // The stream of a watch has no end.
        let Some(event) = events.next().await else {
            return watcher::Error::NoResourceVersion;
        };
        match event {
            Ok(event) => take(ctx, kind, &mut known, event),
            Err(error) if is_refused(&error) => return error,
            Err(error) => warn!(kind = kind.as_str(), %error, "Watching again"),
        }
    }
}

fn take<K>(ctx: &Ctx, kind: WorkloadKind, known: &mut Known, event: Event<PartialObjectMeta<K>>) {
    match event {
        Event::Apply(object) => {
            if let Some(change) = known.saw(&object.metadata) {
                concern(ctx, kind, &object.metadata, change);
            }
        }
        Event::Delete(object) => {
            known.lost(&object.metadata);
            concern(ctx, kind, &object.metadata, Change::Form);
        }
        Event::Init => known.begin(),
        Event::InitApply(object) => {
            if let Some(change) = known.listed(&object.metadata) {
                concern(ctx, kind, &object.metadata, change);
            }
        }
        Event::InitDone => {
            for namespace in known.end() {
                for placement in ctx.workloads.of(&namespace) {
                    ctx.workloads.changed(&placement);
                    ctx.wake.placements.wake(placement);
                }
            }
            ctx.workloads.watched(kind);
        }
    }
}

/// Tells the placements that select the workload, or have injected into it.
fn concern(ctx: &Ctx, kind: WorkloadKind, live: &ObjectMeta, change: Change) {
    let Some(namespace) = live.namespace.as_deref() else {
        return;
    };
    let marks = live.annotations.as_ref();
    let by = marks.and_then(|marks| marks.get(meta::PLACEMENT_LABEL));
    for key in ctx.workloads.of(namespace) {
        let Some(tenant) = ctx.stores.placements.find(&key) else {
            continue;
        };
        if by != Some(&key.name) && !selects(&tenant, kind, live) {
            continue;
        }
        ctx.workloads.changed(&key);
        let status = tenant.status.iter();
        let mut done = status.map(|status| is_true(&status.conditions, ConditionType::Injected));
        // Pods that come and go of one that carries all it must are nobody's business.
        if change == Change::Form || !done.any(|done| done) {
            ctx.wake.placements.wake(key);
        }
    }
}

fn selects(tenant: &TenantPlacement, kind: WorkloadKind, live: &ObjectMeta) -> bool {
    let none = BTreeMap::new();
    let labels = live.labels.as_ref().unwrap_or(&none);
    let matches = |one: &WorkloadSelector| {
        one.known() == Some(kind)
            && Selector::try_from(one.selector.clone())
                .is_ok_and(|selector| selector.matches(labels))
    };
    tenant.workloads().iter().any(matches)
}

/// The right is missing, as opposed to an API server that does not answer.
fn is_refused(error: &watcher::Error) -> bool {
    let inner = match error {
        watcher::Error::InitialListFailed(inner)
        | watcher::Error::WatchStartFailed(inner)
        | watcher::Error::WatchFailed(inner) => inner,
        watcher::Error::WatchError(status) => return status.code == 403,
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(inner, kube::Error::Api(status) if status.code == 403)
}

#[cfg(test)]
mod tests;
