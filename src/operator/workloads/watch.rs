//! The watches, and whom they wake.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::injection::{ReloadStrategy, WorkloadKind, WorkloadSelector};
use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use domicile_core::time::Mono;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::known::{Change, Known};
use crate::context::Ctx;
use crate::kube::cache::Reconnect;
use crate::kube::client::WATCH_SECONDS;
use crate::kube::wake::Key;

/// How soon a watch that was lost is tried again.
const AGAIN: Duration = Duration::from_mins(1);
/// A watch that fails for longer counts as lost, in milliseconds: longer than one lasts.
const FAILING_MS: u64 = WATCH_SECONDS as u64 * 1_000 + 15_000;
/// How often those are woken for whom it was too soon.
const TICK: Duration = Duration::from_secs(1);

/// Watches all kinds. Never ends by itself.
pub async fn run(ctx: Arc<Ctx>) {
    let ctx = &*ctx;
    tokio::join!(
        follow::<Deployment>(ctx, WorkloadKind::Deployment),
        follow::<StatefulSet>(ctx, WorkloadKind::StatefulSet),
        follow::<DaemonSet>(ctx, WorkloadKind::DaemonSet),
        wake_later(ctx),
    );
}

async fn wake_later(ctx: &Ctx) {
    loop {
        ctx.clock.sleep(TICK).await;
        for key in ctx.workloads.due(ctx.clock.mono()) {
            let placement = ctx.stores.placements.find(&key);
            if placement.is_some_and(|tenant| !tenant.workloads().is_empty()) {
                ctx.wake.placements.wake(key);
            }
        }
    }
}

async fn follow<K>(ctx: &Ctx, kind: WorkloadKind)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    // Kept over a loss: what changed meanwhile is news.
    let mut known = Known::default();
    let mut told = false;
    loop {
        let error = watch::<K>(ctx, kind, &mut known).await;
        if ctx.workloads.lost(kind) || !told {
            let kind = kind.as_str();
            info!(kind, %error, "Workloads are not watched, and are looked for instead");
            told = true;
        }
        show(ctx);
        ctx.clock.sleep(AGAIN).await;
    }
}

/// Watches one kind until that is refused, or fails for too long.
async fn watch<K>(ctx: &Ctx, kind: WorkloadKind, known: &mut Known) -> watcher::Error
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(ctx.client.clone());
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config);
    let mut events = Box::pin(StreamBackoff::new(events, Reconnect::default()));
    let mut failing: Option<Mono> = None;
    loop {
        // The stream of a watch has no end.
        let Some(event) = events.next().await else {
            return watcher::Error::NoResourceVersion;
        };
        match event {
            Ok(event) => {
                // A list that begins is no sign that one can be had to its end.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    failing = None;
                }
                take(ctx, kind, known, event);
            }
            Err(error) => {
                let now = ctx.clock.mono();
                let since = *failing.get_or_insert(now);
                if is_refused(&error) || now.since(since) >= FAILING_MS {
                    return error;
                }
                warn!(kind = kind.as_str(), %error, "Watching again");
            }
        }
    }
}

fn take<K>(ctx: &Ctx, kind: WorkloadKind, known: &mut Known, event: Event<PartialObjectMeta<K>>) {
    match event {
        Event::Apply(object) => {
            let change = known.saw(&object.metadata);
            // Before anybody is told of it, who would look for it nowhere.
            has(ctx, kind, known, &object.metadata);
            if let Some(change) = change {
                concern(ctx, kind, &object.metadata, change);
            }
        }
        Event::Delete(object) => {
            known.lost(&object.metadata);
            has(ctx, kind, known, &object.metadata);
            concern(ctx, kind, &object.metadata, Change::Form);
        }
        Event::Init => {
            known.begin();
            ctx.workloads.listing(kind);
        }
        Event::InitApply(object) => {
            if let Some(change) = known.listed(&object.metadata) {
                concern(ctx, kind, &object.metadata, change);
            }
        }
        Event::InitDone => {
            // What went unseen tells its labels to nobody.
            for namespace in known.end() {
                for placement in ctx.workloads.of(&namespace) {
                    ctx.workloads.changed(&placement);
                    wake(ctx, placement);
                }
            }
            if ctx.workloads.watched(kind, known.namespaces()) {
                info!(kind = kind.as_str(), "Workloads are watched");
            }
            show(ctx);
        }
    }
}

fn has(ctx: &Ctx, kind: WorkloadKind, known: &Known, live: &ObjectMeta) {
    if let Some(namespace) = &live.namespace {
        ctx.workloads.has(kind, namespace, known.has(namespace));
    }
}

fn show(ctx: &Ctx) {
    let watched = i64::from(ctx.workloads.are_watched());
    ctx.metrics.workloads_watched.set(watched);
}

/// Tells the placements that select the workload, have injected into it, or show it.
fn concern(ctx: &Ctx, kind: WorkloadKind, live: &ObjectMeta, change: Change) {
    let Some(namespace) = live.namespace.as_deref() else {
        return;
    };
    let marks = live.annotations.as_ref();
    let by = marks.and_then(|marks| marks.get(meta::PLACEMENT_LABEL));
    for key in ctx.workloads.of(namespace) {
        let Some(tenant) = ctx.stores.placements.find(&key) else {
            // One that went while its own watch was down was told to nobody.
            if !ctx.stores.placements.exists(&key) {
                ctx.workloads.gone(&key);
            }
            continue;
        };
        if by != Some(&key.name) && !selects(&tenant, kind, live) && !shows(&tenant, kind, live) {
            continue;
        }
        ctx.workloads.changed(&key);
        if change == Change::Form || awaits_pods(&tenant) {
            wake(ctx, key);
        }
    }
}

fn wake(ctx: &Ctx, placement: Key) {
    if ctx.workloads.may_wake(&placement, ctx.clock.mono()) {
        ctx.wake.placements.wake(placement);
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

fn shows(tenant: &TenantPlacement, kind: WorkloadKind, live: &ObjectMeta) -> bool {
    let mut shown = tenant.status.iter().flat_map(|status| &status.workloads);
    shown.any(|one| {
        one.cluster.is_none() && one.kind == kind && Some(&one.name) == live.name.as_ref()
    })
}

/// Whether something waits for pods that no pass looks at by itself. While they roll, passes do.
fn awaits_pods(tenant: &TenantPlacement) -> bool {
    let Some(status) = &tenant.status else {
        return false;
    };
    let Some(injected) = conditions::find(&status.conditions, ConditionType::Injected) else {
        return false;
    };
    let mut hub = status.workloads.iter().filter(|one| one.cluster.is_none());
    let restarts = tenant.reload_strategy() == ReloadStrategy::RollingRestart;
    injected.reason == Reason::RestartPending.as_str()
        || (injected.status == Status::True.as_str()
            && restarts
            && hub.any(|one| one.since.is_none()))
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
mod tests {
    use domicile_api::placement_status::TenantPlacementStatus;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_missing_right_is_a_refusal() {
        let of = |code: u16| {
            let status = kube::core::Status {
                code,
                ..kube::core::Status::default()
            };
            watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        assert!(is_refused(&of(403)));
        assert!(!is_refused(&of(500)) && !is_refused(&of(410)));
        assert!(!is_refused(&watcher::Error::NoResourceVersion));
    }

    fn tenant(reload: &str, (status, reason): (&str, &str), workload: &Value) -> TenantPlacement {
        let selector = json!({ "matchLabels": { "tenant": "acme" } });
        let injection = json!({
            "reload": { "strategy": reload },
            "workloads": [{ "apiVersion": "apps/v1", "kind": "Deployment", "selector": selector }],
        });
        let spec = json!({ "tenantID": "acme", "injection": injection });
        let placement = json!({ "metadata": { "name": "acme" }, "spec": spec });
        let mut tenant: TenantPlacement = serde_json::from_value(placement).unwrap();
        let injected = json!({
            "type": "Injected", "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-30T00:00:00Z",
        });
        tenant.status = Some(TenantPlacementStatus {
            conditions: vec![serde_json::from_value(injected).unwrap()],
            workloads: vec![serde_json::from_value(workload.clone()).unwrap()],
            ..TenantPlacementStatus::default()
        });
        tenant
    }

    fn shown(since: Option<&str>) -> Value {
        json!({ "kind": "Deployment", "name": "api", "updated": 1, "total": 1, "since": since })
    }

    #[test]
    fn pods_are_awaited_until_the_end_of_their_roll_was_seen() {
        let done = shown(Some("2026-11-30T00:00:00Z"));
        let complete = ("True", "InjectionComplete");
        let awaits = |reload, told, row: &Value| awaits_pods(&tenant(reload, told, row));
        assert!(awaits("RollingRestart", complete, &shown(None)));
        assert!(!awaits("RollingRestart", complete, &done));
        assert!(!awaits("None", complete, &shown(None)));
        assert!(awaits("None", ("False", "RestartPending"), &shown(None)));
        assert!(!awaits(
            "RollingRestart",
            ("False", "RollingOut"),
            &shown(None)
        ));
    }

    #[test]
    fn who_shows_a_workload_is_told_that_it_is_selected_no_more() {
        let tenant = tenant("RollingRestart", ("False", "FieldConflict"), &shown(None));
        let named = |name: &str, label: Option<&str>| ObjectMeta {
            name: Some(name.to_owned()),
            labels: label.map(|label| [("tenant".to_owned(), label.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let kind = WorkloadKind::Deployment;
        assert!(selects(&tenant, kind, &named("new", Some("acme"))));
        assert!(!selects(&tenant, kind, &named("api", None)));
        assert!(!selects(
            &tenant,
            WorkloadKind::DaemonSet,
            &named("new", Some("acme"))
        ));
        assert!(shows(&tenant, kind, &named("api", None)));
        assert!(!shows(
            &tenant,
            WorkloadKind::DaemonSet,
            &named("api", None)
        ));
        assert!(!shows(&tenant, kind, &named("new", None)));
    }
}
