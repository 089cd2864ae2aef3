//! The selected workloads: looked at, given what they must carry, and released when they are no
//! longer selected.

use std::collections::BTreeSet;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::meta::manager;
use domicile_api::placement::{TenantPlacement, WorkloadKind, WorkloadSelector};
use domicile_api::placement_status::WorkloadStatus;
use domicile_core::connection::Rendered;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{ApiResource, DynamicObject};
use kube::core::{Selector, SelectorExt};
use kube::{Api, ResourceExt};
use serde_json::Value;
use tracing::info;

use super::error::{Halt, PlacementError};
use super::inject::{self, Decision, Wanted};
use super::memory::Memory;
use super::progress::{Progress, Stop, Until};
use super::secret;
use super::serve::{namespace, not_onboarded};
use crate::context::Ctx;
use crate::kube::apply::{self, FieldConflict, Ownership};
use crate::kube::client::CallError;
use crate::kube::pages;
use crate::kube::wake::Key;

/// Most workloads of one placement: what its status can hold.
const LIMIT: usize = 64;

/// Gives every selected workload what it must carry, and takes it back from the others.
pub(super) async fn inject(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    memory: &Memory,
    rendered: &Rendered,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let selections = selections(tenant).map_err(|stop| progress.deny(INJECTED, stop))?;
    let uid = tenant.uid().unwrap_or_default();
    let generation = tenant.metadata.generation;
    let everything = memory.must_scan(&uid, generation);
    let hash = secret::hash(rendered);
    let secret = tenant.secret_name();
    let mut seen = Seen::default();
    for kind in KINDS
        .into_iter()
        .filter(|kind| everything || concerned(tenant, *kind))
    {
        let live = match pages::list(ctx, &api(ctx, tenant, kind)).await {
            Ok(live) => live,
            Err(error) => return Err(refused(tenant, "listing workloads", error, progress)),
        };
        for workload in live
            .iter()
            .filter(|live| live.metadata.deletion_timestamp.is_none())
        {
            let Some(containers) = selected(&selections, kind, workload) else {
                give_back(ctx, tenant, kind, workload, progress).await?;
                continue;
            };
            let wanted = Wanted {
                placement: &tenant.name_any(),
                secret: &secret,
                hash: &hash,
                variables: &rendered.variables,
                containers: &containers,
            };
            seen.old_pods |= inject::has_old_pods(workload, kind);
            give(ctx, tenant, kind, workload, &wanted, &mut seen, progress).await?;
        }
    }
    memory.scanned(&uid, generation);
    conclude(tenant, seen, &hash, progress);
    Ok(())
}

/// Takes back all that was injected for the placement.
pub(super) async fn release_all(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    for kind in KINDS {
        let live = match pages::list(ctx, &api(ctx, tenant, kind)).await {
            Ok(live) => live,
            Err(error) => return Err(refused(tenant, "listing workloads", error, progress)),
        };
        for workload in live
            .iter()
            .filter(|live| live.metadata.deletion_timestamp.is_none())
        {
            give_back(ctx, tenant, kind, workload, progress).await?;
        }
    }
    Ok(())
}

const INJECTED: ConditionType = ConditionType::Injected;
const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];

/// A selection, ready to be matched.
struct Selection<'a> {
    spec: &'a WorkloadSelector,
    selector: Selector,
}

/// What became of the selected workloads.
#[derive(Default)]
struct Seen {
    statuses: Vec<WorkloadStatus>,
    conflicts: Vec<String>,
    missing: Vec<String>,
    refused: Vec<String>,
    over: usize,
    old_pods: bool,
}

fn selections(tenant: &TenantPlacement) -> Result<Vec<Selection<'_>>, Stop> {
    let mut selections = Vec::new();
    for (index, spec) in tenant.workloads().iter().enumerate() {
        let selector = Selector::try_from(spec.selector.clone()).map_err(|error| {
            let message = format!("`spec.injection.workloads[{index}].selector`: {error}");
            Stop::new(Until::Person, Reason::InvalidSpec, message)
        })?;
        selections.push(Selection { spec, selector });
    }
    Ok(selections)
}

fn selected(
    selections: &[Selection<'_>],
    kind: WorkloadKind,
    live: &DynamicObject,
) -> Option<Vec<String>> {
    let matches = |selection: &&Selection<'_>| {
        selection.spec.kind == kind && selection.selector.matches(live.labels())
    };
    let mut containers = BTreeSet::new();
    let mut all = false;
    let mut any = false;
    for selection in selections.iter().filter(matches) {
        any = true;
        all |= selection.spec.containers.is_empty();
        containers.extend(selection.spec.containers.iter().cloned());
    }
    any.then(|| {
        if all {
            Vec::new()
        } else {
            containers.into_iter().collect()
        }
    })
}

/// Whether workloads of this kind can be selected, or were.
fn concerned(tenant: &TenantPlacement, kind: WorkloadKind) -> bool {
    let status = tenant.status.iter().flat_map(|status| &status.workloads);
    tenant
        .workloads()
        .iter()
        .any(|selection| selection.kind == kind)
        || status.into_iter().any(|workload| workload.kind == kind)
}

async fn give(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    kind: WorkloadKind,
    live: &DynamicObject,
    wanted: &Wanted<'_>,
    seen: &mut Seen,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if seen.statuses.len() >= LIMIT {
        seen.over += 1;
        return Ok(());
    }
    let name = format!("{} {}", kind.as_str(), live.name_any());
    let other = |other: &str| {
        let key = Key::namespaced(namespace(tenant), other);
        ctx.stores.placements.exists(&key)
    };
    match inject::decide(live, kind, wanted, &other) {
        Decision::Settled => seen.statuses.push(status(live, kind)),
        Decision::Conflict { manager, field } => {
            seen.conflicts
                .push(format!("{name}: {field} belongs to {manager}"));
            seen.statuses.push(status(live, kind));
        }
        Decision::NoContainer(names) => {
            seen.missing.push(format!("{name}: {}", names.join(", ")));
            seen.statuses.push(status(live, kind));
        }
        Decision::Apply(document) => {
            let written = write(ctx, tenant, kind, live, &document).await;
            let shown = written.as_ref().unwrap_or(live);
            seen.statuses.push(status(shown, kind));
            let Err(error) = written else { return Ok(()) };
            let conflicts = apply::conflicts(&error);
            let one = |c: &FieldConflict| format!("{name}: {} belongs to {}", c.field, c.manager);
            seen.conflicts.extend(conflicts.iter().map(one));
            if invalid(&error) {
                seen.refused.push(format!("{name}: {error}"));
            } else if !error.is_conflict() {
                return Err(refused(tenant, &format!("writing {name}"), error, progress));
            }
            // A conflict without a field: it was deleted or made anew meanwhile.
        }
    }
    Ok(())
}

async fn give_back(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    kind: WorkloadKind,
    live: &DynamicObject,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if inject::injected_by(live) != Some(tenant.name_any().as_str()) {
        return Ok(());
    }
    match write(ctx, tenant, kind, live, &inject::release(live, kind)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => {
            let doing = format!("releasing {} {}", kind.as_str(), live.name_any());
            Err(refused(tenant, &doing, error, progress))
        }
    }
}

async fn write(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    kind: WorkloadKind,
    live: &DynamicObject,
    document: &Value,
) -> Result<DynamicObject, CallError> {
    let name = live.name_any();
    info!(
        kind = kind.as_str(),
        workload = name,
        "Applying to a workload"
    );
    let api = api(ctx, tenant, kind);
    apply::apply(
        ctx,
        &api,
        &name,
        manager::INJECT,
        Ownership::Respect,
        document,
    )
    .await
}

fn conclude(tenant: &TenantPlacement, mut seen: Seen, hash: &str, progress: &mut Progress) {
    seen.statuses
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let old = |w: &&WorkloadStatus| w.observed_hash.as_deref() != Some(hash) || w.updated < w.total;
    let rolling: Vec<&str> = seen
        .statuses
        .iter()
        .filter(old)
        .map(|w| w.name.as_str())
        .collect();
    let mut answer = |status, reason, message: String| {
        progress.found(INJECTED, status, reason, message);
    };
    let problem = if !seen.conflicts.is_empty() {
        let fields = seen.conflicts.join("; ");
        Some((
            Reason::FieldConflict,
            format!("left alone: {fields}; take the field out there"),
        ))
    } else if !seen.missing.is_empty() {
        let names = seen.missing.join("; ");
        Some((
            Reason::InvalidSpec,
            format!("these containers do not exist: {names}"),
        ))
    } else if !seen.refused.is_empty() {
        let texts = seen.refused.join("; ");
        Some((
            Reason::InvalidSpec,
            format!("the API server refused the variables: {texts}"),
        ))
    } else if seen.over > 0 {
        let message = format!(
            "{} workloads above the limit of {LIMIT} were left out",
            seen.over
        );
        Some((Reason::InvalidSpec, message))
    } else {
        None
    };
    match problem {
        Some((reason, message)) => {
            answer(Status::False, reason, message.clone());
            progress.notice(reason, message);
        }
        None if tenant.workloads().is_empty() => {
            answer(
                Status::True,
                Reason::NoWorkloads,
                "no workload is asked for".to_owned(),
            );
        }
        None if seen.statuses.is_empty() => {
            let message = "no workload matches `spec.injection.workloads`".to_owned();
            answer(Status::False, Reason::NoWorkloads, message);
        }
        None if rolling.is_empty() => {
            let message = "every selected workload runs with the present Secret".to_owned();
            answer(Status::True, Reason::InjectionComplete, message);
            progress.taken_up = !seen.old_pods;
        }
        None => {
            let message = format!("rolling: {}", rolling.join(", "));
            answer(Status::False, Reason::RollingOut, message);
            progress.rolling = true;
        }
    }
    progress.workloads = Some(seen.statuses);
}

fn status(live: &DynamicObject, kind: WorkloadKind) -> WorkloadStatus {
    let (updated, total) = inject::rollout(live, kind);
    let observed_hash = inject::observed_hash(live).map(str::to_owned);
    WorkloadStatus {
        kind,
        name: live.name_any(),
        observed_hash,
        updated,
        total,
    }
}

/// What a failed call about workloads means: the tenant is served all the same.
fn refused(
    tenant: &TenantPlacement,
    doing: &str,
    error: CallError,
    progress: &mut Progress,
) -> Halt {
    if error.is_forbidden() {
        return progress.deny(INJECTED, not_onboarded(tenant)).into();
    }
    PlacementError::call(format!("{doing} in namespace {}", namespace(tenant)), error).into()
}

/// The API server refuses what the workload would become (422).
fn invalid(error: &CallError) -> bool {
    error.status().is_some_and(|status| status.code == 422)
}

fn api(ctx: &Ctx, tenant: &TenantPlacement, kind: WorkloadKind) -> Api<DynamicObject> {
    let resource = match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    };
    Api::namespaced_with(ctx.client.clone(), &namespace(tenant), &resource)
}
