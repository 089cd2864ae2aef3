//! From what a pass found to the status, and to events at its edges.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{self, ConditionType, Conditions, Reason, Status, Summary};
use domicile_api::meta::manager;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{
    Binding, CopyKind, DataCopy, ReadTarget, TenantPlacementStatus,
};
use domicile_core::names::{Jurisdiction, RegionName};
use domicile_core::placement::{self, Copies};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::former;
use super::progress::{Finding, Progress, Served, Until};
use super::rotate;
use crate::context::Ctx;
use crate::controllers::LONGEST_WAIT;
use crate::kube::cas::{CasError, write_status};
use crate::kube::events::Severity;

/// The conditions that every placement carries beside the kstatus triple.
const TYPES: [ConditionType; 8] = [
    ConditionType::ServerFits,
    ConditionType::DatabaseReady,
    ConditionType::CredentialsCurrent,
    ConditionType::Injected,
    ConditionType::FailoverProtected,
    ConditionType::ResidencyCompliant,
    ConditionType::ResidencyEffective,
    ConditionType::Drifted,
];

/// However long a pause between two waves is, for it may be cut short meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a placement's status says after a pass. Equal to the present one when nothing changed.
pub(super) fn status(
    tenant: &TenantPlacement,
    progress: &Progress,
    now: Timestamp,
) -> TenantPlacementStatus {
    let mut status = tenant.status.clone().unwrap_or_default();
    status.observed_generation = tenant.metadata.generation;
    if let Some(home) = &progress.home {
        status.home_region.get_or_insert_with(|| home.to_string());
    }
    if let Some(server) = &progress.claimed {
        status.served_by = progress.served_by.as_ref().map(ToString::to_string);
        status.active_region = Some(server.region.to_string());
        status.server = Some(server.server.clone());
    }
    if let Some(served) = &progress.served {
        let Served {
            server,
            epoch,
            connection,
            secret_hash,
            ..
        } = served;
        status.credentials = Some(rotate::recorded(tenant, served, progress.retired, now));
        status.active_region = Some(server.region.to_string());
        status.server = Some(server.server.clone());
        status.epoch = Some(epoch.0);
        status.connection = Some(connection.clone());
        status.secret_hash = Some(secret_hash.clone());
        status.binding = Some(Binding {
            name: tenant.secret_name(),
        });
    }
    if progress.claimed.is_some() || progress.served.is_some() {
        status.pending_secret = former::pending(tenant, status.binding.as_ref());
    }
    status.former_secrets.retain(|one| !progress.is_gone(one));
    if progress.removed_service.is_some() {
        status.service = None;
    }
    if let Some(made) = &progress.made {
        status.database = Some(made.clone());
    }
    if let Some(workloads) = &progress.workloads {
        status.workloads.clone_from(workloads);
    }
    if let Some(workloads) = &progress.other_workloads {
        status.other_workloads.clone_from(workloads);
    }
    let held = |one: &DataCopy| one.kind == CopyKind::Secret;
    let mut secrets = status.copies.clone();
    secrets.retain(held);
    if let Some(held) = &progress.secrets {
        secrets = data_copies(held);
    }
    match &progress.copies {
        Some(Copies(copies)) => status.copies = data_copies(copies),
        None => status.copies.retain(|one| !held(one)),
    }
    status.copies.append(&mut secrets);
    let before = std::mem::take(&mut status.conditions);
    status.conditions = conditions_after(tenant, &before, progress, now);
    status
}

/// Tells what was done, once. A pass that ends early, or whose status is not stored, did it, and
/// the next one does not do it again.
pub(super) fn tell(ctx: &Ctx, tenant: &TenantPlacement, progress: &mut Progress) {
    for (severity, reason, note) in std::mem::take(&mut progress.told) {
        ctx.events
            .publish(tenant, severity, reason.as_str(), "Place", note);
    }
}

/// Writes the status when it changed, and tells the edges and what was done.
pub(super) async fn write(
    ctx: &Ctx,
    tenant: &Arc<TenantPlacement>,
    progress: &mut Progress,
) -> Result<Arc<TenantPlacement>, CasError> {
    tell(ctx, tenant, progress);
    let next = status(tenant, progress, ctx.clock.now().wall);
    let before = tenant.status.clone().unwrap_or_default();
    let cache = &ctx.stores.placements;
    let written = write_status(ctx, cache, manager::PLACEMENT, tenant, next.clone()).await?;
    for (severity, reason, note) in edges(&before, &next) {
        ctx.events
            .publish(written.as_ref(), severity, &reason, "Place", note);
    }
    Ok(written)
}

/// How long the placement may rest after a pass that found this; `settled` when it found nothing to
/// wait for.
pub(super) fn rest(progress: &Progress, settled: Duration, jitter: f64) -> Duration {
    let fixed = match progress.stop.as_ref().map(|stop| stop.until) {
        Some(Until::Mended) => Duration::from_secs(5),
        Some(Until::Moved) => Duration::from_secs(1),
        Some(Until::Person) => Duration::from_secs(30),
        None if progress.rolling => {
            let pause = progress.pause.map(SignedDuration::unsigned_abs);
            pause
                .unwrap_or_default()
                .clamp(Duration::from_secs(2), LONGEST_PAUSE)
        }
        // What a person must see to may be mended where nothing tells.
        None if progress.notice.is_some() => settled.min(LONGEST_WAIT),
        None => settled,
    };
    fixed.mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0))
}

/// The events between two statuses: severity, reason, note.
pub(super) fn edges(
    before: &TenantPlacementStatus,
    after: &TenantPlacementStatus,
) -> Vec<(Severity, String, String)> {
    let mut edges = Vec::new();
    let told = [
        ConditionType::Ready,
        ConditionType::ServerFits,
        ConditionType::Injected,
        ConditionType::ResidencyCompliant,
        ConditionType::ResidencyEffective,
    ];
    for type_ in told {
        let Some(now) = conditions::find(&after.conditions, type_) else {
            continue;
        };
        let was = conditions::find(&before.conditions, type_);
        let key = |condition: &Condition| (condition.status.clone(), condition.reason.clone());
        if was.map(key) == Some(key(now)) {
            continue;
        }
        let holds = now.status == Status::True.as_str();
        let first = was.is_none_or(|was| was.status == Status::Unknown.as_str());
        if type_ != ConditionType::Ready && (holds && first || now.reason == "NotObserved") {
            continue;
        }
        // The reason is told once, by the first condition that has it.
        if edges
            .iter()
            .any(|(_, reason, _): &(_, String, String)| *reason == now.reason)
        {
            continue;
        }
        let stalled = conditions::is_true(&after.conditions, ConditionType::Stalled);
        let calm = CALM.iter().any(|reason| reason.as_str() == now.reason);
        // Ready may hold while a person is needed; what else holds is good news by itself.
        let apart = now.reason == Reason::ClusterUnreachable.as_str();
        let fine = holds && !apart && (type_ != ConditionType::Ready || !stalled);
        let harmless = calm || fine;
        let severity = if harmless {
            Severity::Normal
        } else {
            Severity::Warning
        };
        edges.push((severity, now.reason.clone(), now.message.clone()));
    }
    edges.extend(reads_edge(before, after));
    if let (Some(was), Some(is)) = (&before.active_region, &after.active_region)
        && was != is
    {
        let note = format!("Served by Region {is} instead of {was} since epoch {}", {
            after.epoch.unwrap_or(0)
        });
        edges.push((Severity::Normal, "Rerouted".to_owned(), note));
    }
    edges
}

/// The login that only reads leads elsewhere, though the tenant was not moved.
fn reads_edge(
    before: &TenantPlacementStatus,
    after: &TenantPlacementStatus,
) -> Option<(Severity, String, String)> {
    let place = |status: &TenantPlacementStatus| {
        let connection = status.connection.as_ref()?;
        connection.read_only.clone()
    };
    let (was, is) = (place(before)?, place(after)?);
    let same = (&was.host, was.port) == (&is.host, is.port);
    if same || (before.epoch, &before.active_region) != (after.epoch, &after.active_region) {
        return None;
    }
    let severity = match is.leads_to {
        ReadTarget::Primary => Severity::Warning,
        ReadTarget::ReadReplica => Severity::Normal,
    };
    let note = format!(
        "The login that only reads leads to {}:{} instead of {}:{}: {}",
        is.host, is.port, was.host, was.port, is.message
    );
    Some((severity, Reason::ReadsRerouted.as_str().to_owned(), note))
}

/// Reasons that are part of the ordinary course.
const CALM: [Reason; 5] = [
    Reason::Provisioning,
    Reason::RollingOut,
    Reason::NoWorkloads,
    Reason::FailoverInProgress,
    Reason::Deleting,
];

fn conditions_after(
    tenant: &TenantPlacement,
    before: &[Condition],
    progress: &Progress,
    now: Timestamp,
) -> Vec<Condition> {
    let mut next = Conditions::of(before, tenant.metadata.generation, now);
    for type_ in TYPES {
        match progress.findings.get(&type_) {
            Some(Finding {
                status,
                reason,
                message,
            }) => {
                next.set(type_, *status, *reason, message);
            }
            None => match conditions::find(before, type_).and_then(kept) {
                Some((status, reason, message)) => next.set(type_, status, reason, &message),
                None => next.set(
                    type_,
                    Status::Unknown,
                    Reason::NotObserved,
                    "not reached yet",
                ),
            },
        }
    }
    let served = |message: &str| served(progress, message);
    match (&progress.stop, &progress.notice) {
        (Some(stop), _) => {
            // What stops a tenant that is served all the same does not make it unready.
            let ready = progress.served.is_some() && progress.locked_out.is_none();
            let summary = match stop.until {
                Until::Mended if stop.reason == Reason::Provisioning => {
                    Summary::Reconciling { ready }
                }
                Until::Mended if ready => Summary::Reconciling { ready },
                Until::Mended => Summary::NotReady,
                Until::Moved => Summary::Reconciling { ready },
                Until::Person => Summary::Stalled { ready },
            };
            next.summarize(summary, stop.reason, &stop.message);
        }
        (None, Some((reason, message))) => {
            let ready = progress.served.is_some();
            next.summarize(Summary::Stalled { ready }, *reason, message);
        }
        (None, None) if progress.rolling => {
            let message = served("workloads are rolling");
            next.summarize(
                Summary::Reconciling { ready: true },
                Reason::Placed,
                &message,
            );
        }
        // What belongs to a region that is lost with its cluster waits there, and the tenant does
        // not wait for it.
        (None, None) if !progress.apart.is_empty() => {
            let message = format!("{}; {}", served("served"), progress.apart.join("; "));
            next.summarize(Summary::Ready, Reason::ClusterUnreachable, &message);
        }
        (None, None) => next.summarize(Summary::Ready, Reason::Placed, &served("served")),
    }
    next.into_list()
}

/// Who serves the tenant, and which Secrets stay under former names; `message` where nobody does.
fn served(progress: &Progress, message: &str) -> String {
    let Some(served) = &progress.served else {
        return message.to_owned();
    };
    let told = format!("served by {} under epoch {}", served.server, served.epoch);
    let staying = progress.staying.iter().cloned();
    let all: Vec<String> = std::iter::once(told).chain(staying).collect();
    all.join("; ")
}

/// A condition of ours as it was, when it still reads.
fn kept(condition: &Condition) -> Option<(Status, Reason, String)> {
    let status = [Status::True, Status::False, Status::Unknown]
        .into_iter()
        .find(|status| status.as_str() == condition.status)?;
    Some((
        status,
        Reason::parse(&condition.reason)?,
        condition.message.clone(),
    ))
}

/// The law of a region that does not exist.
const UNKNOWN: &str = "Unknown";

fn data_copies(copies: &[placement::Copy]) -> Vec<DataCopy> {
    let copy = |copy: &placement::Copy| {
        let placement::Copy {
            kind,
            region,
            jurisdiction,
            compliant,
        } = copy;
        DataCopy {
            kind: match kind {
                placement::CopyKind::Primary => CopyKind::Primary,
                placement::CopyKind::Standby => CopyKind::Standby,
                placement::CopyKind::ReadReplica => CopyKind::ReadReplica,
                placement::CopyKind::Backup => CopyKind::Backup,
                placement::CopyKind::Secret => CopyKind::Secret,
            },
            region: region.to_string(),
            jurisdiction: jurisdiction
                .as_ref()
                .map_or_else(|| UNKNOWN.to_owned(), ToString::to_string),
            compliant: *compliant,
        }
    };
    copies.iter().map(copy).collect()
}

/// The copies that the status records, as they were told.
pub(super) fn recorded_copies(tenant: &TenantPlacement) -> Vec<placement::Copy> {
    let copy = |copy: &DataCopy| {
        let DataCopy {
            kind,
            region,
            jurisdiction,
            compliant,
        } = copy;
        placement::Copy {
            kind: match kind {
                CopyKind::Primary => placement::CopyKind::Primary,
                CopyKind::Standby => placement::CopyKind::Standby,
                CopyKind::ReadReplica => placement::CopyKind::ReadReplica,
                CopyKind::Backup => placement::CopyKind::Backup,
                CopyKind::Secret => placement::CopyKind::Secret,
            },
            region: RegionName::new(region),
            jurisdiction: (jurisdiction != UNKNOWN).then(|| Jurisdiction::new(jurisdiction)),
            compliant: *compliant,
        }
    };
    let copies = tenant.status.iter().flat_map(|status| &status.copies);
    copies.map(copy).collect()
}

#[cfg(test)]
mod tests;
