//! A Secret whose name was changed in the spec: the one under the new name is written first and has
//! the same passwords, the workloads are turned to it, and then the one before is deleted, in each
//! cluster by itself. What may be anywhere is in the status before it is made there.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::meta::manager;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{Binding, FormerSecret, MAX_FORMER, TenantPlacementStatus};
use domicile_core::facts::Epoch;
use domicile_core::names::RegionName;
use domicile_core::placement::{Leave, Readers, leave};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use tracing::info;

use super::cleanup::delete_secret;
use super::error::Halt;
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::regional;
use super::store::{admit, is_of, secret_call};
use crate::context::Ctx;
use crate::kube::cas::write_status;
use crate::kube::events::Severity;

/// What became of the Secrets under former names in one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// They are not there any more.
    pub(super) gone: BTreeSet<String>,
    /// They stay, and why.
    pub(super) staying: Vec<String>,
}

/// Stores that the Secret gets another name, before one is written under it.
pub(super) async fn claim(ctx: &Ctx, tenant: &mut Arc<TenantPlacement>) -> Result<(), Halt> {
    let Some(status) = renamed(tenant, ctx.clock.now().wall) else {
        return Ok(());
    };
    let name = tenant.secret_name();
    let before = tenant.recorded_secret().unwrap_or_default().to_owned();
    if status.former_secrets.len() > MAX_FORMER {
        let message = format!(
            "`spec.connection.secretName`: {MAX_FORMER} Secrets under former names are still to be \
             deleted, see `status.formerSecrets`; set it to {before} until they are"
        );
        return Err(Stop::new(Until::Person, Reason::InvalidSpec, message).into());
    }
    info!(before, name, "The Secret gets another name");
    let cache = &ctx.stores.placements;
    *tenant = write_status(ctx, cache, manager::PLACEMENT, tenant, status).await?;
    let note = format!(
        "the Secret is named {name} now; {before} is deleted in each cluster when no selected \
         workload there has it any more, and after \
         `spec.credentials.rotation.overlapSeconds` where none is selected"
    );
    let reason = Reason::SecretRenamed.as_str();
    ctx.events
        .publish(tenant.as_ref(), Severity::Normal, reason, "Place", note);
    Ok(())
}

/// The status of a placement whose Secret gets another name than the one that it records.
fn renamed(tenant: &TenantPlacement, now: Timestamp) -> Option<TenantPlacementStatus> {
    let name = tenant.secret_name();
    let before = tenant.recorded_secret()?;
    if before == name {
        return None;
    }
    let mut status = tenant.status.clone()?;
    let clusters = regional::recorded(tenant);
    let clusters = clusters.iter().map(|region| Some(region.to_string()));
    let former = std::iter::once(None).chain(clusters);
    let former = former.map(|cluster| FormerSecret {
        name: before.to_owned(),
        cluster,
        since: now,
    });
    // A name that is back is the present one wherever the Secret may be.
    status.former_secrets.retain(|one| one.name != name);
    status.former_secrets.extend(former);
    status.pending_secret = pending(tenant, status.binding.as_ref());
    Some(status)
}

/// The name that the Secret is to have, while the status tells another one, or none.
pub(super) fn pending(tenant: &TenantPlacement, binding: Option<&Binding>) -> Option<String> {
    let name = tenant.secret_name();
    let told = binding.is_some_and(|binding| binding.name == name);
    (!told).then_some(name)
}

/// The Secret under the name that the status tells, where that is not the one that it is to have,
/// and the placement as it was then: its passwords are the published ones.
pub(super) async fn before(
    hub: &Place<'_>,
    epoch: Epoch,
    progress: &mut Progress,
) -> Result<Option<(TenantPlacement, Secret)>, Halt> {
    let tenant = hub.tenant;
    let binding = tenant.status.iter().find_map(|one| one.binding.as_ref());
    let Some(Binding { name }) = binding.filter(|_| !tenant.is_stored()) else {
        return Ok(None);
    };
    let former = tenant.with_secret(name);
    let at = hub.with(&former);
    let live = hub.ctx.call(at.secrets().get_opt(name)).await;
    let live = live.map_err(|error| secret_call(&at, "reading", error, progress))?;
    let Some(live) = live.filter(|live| is_of(tenant, live)) else {
        return Ok(None);
    };
    admit(&at, epoch, Some(&live))?;
    Ok(Some((former.clone(), live)))
}

/// Deletes, in the hub, what nobody needs any more, once the status tells of the present Secret.
pub(super) async fn retire_here(
    hub: &Place<'_>,
    live: Option<&Secret>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if live.is_none() || !hub.tenant.is_stored() {
        return Ok(());
    }
    let mut readers = readers(progress);
    // Theirs are not among the workloads that were looked at.
    if readers == Readers::Gone && is_bound(hub.ctx, hub.tenant) {
        readers = Readers::Unknown;
    }
    let left = retire(hub, readers).await?;
    fold(hub.tenant, None, left, progress);
    Ok(())
}

/// Deletes, in one cluster, what nobody needs any more.
pub(super) async fn retire(at: &Place<'_>, readers: Readers) -> Result<Left, Halt> {
    let mut left = Left::default();
    let overlap = at.tenant.rotation().overlap_seconds;
    let now = at.ctx.clock.now().wall;
    for one in at.tenant.former_secrets(at.region) {
        let former = at.tenant.with_secret(&one.name);
        let there = at.with(&former);
        let stays = match leave(one.since, overlap, readers, now) {
            Leave::Now => {
                delete(at, &one.name).await?;
                left.gone.insert(one.name.clone());
                continue;
            }
            Leave::At(until) => format!("until {until}, for readers that nobody knows of"),
            Leave::AfterWorkloads => "until no selected workload has it any more".to_owned(),
        };
        left.staying
            .push(format!("{} stays {stays}", there.secret()));
    }
    Ok(left)
}

/// Deletes the Secret under another name than the present one, if it is the placement's own, and
/// that of this cluster.
pub(super) async fn delete(at: &Place<'_>, name: &str) -> Result<(), Halt> {
    if name == at.tenant.secret_name() {
        return Ok(());
    }
    let former = at.tenant.with_secret(name);
    let there = at.with(&former);
    if at.region.is_some() && regional::is_of_another_cluster(&there).await? {
        return Ok(());
    }
    delete_secret(&there).await.map(drop)
}

/// Who may still read a Secret under a former name, by what was found of the workloads of its
/// cluster.
pub(super) fn readers(progress: &Progress) -> Readers {
    let Some(injected) = progress.findings.get(&ConditionType::Injected) else {
        return Readers::Some;
    };
    let shown = progress.workloads.as_ref();
    if progress.taken_up && shown.is_some_and(|shown| !shown.is_empty()) {
        Readers::Gone
    } else if injected.status == Status::True || injected.reason == Reason::NoWorkloads {
        Readers::Unknown
    } else {
        Readers::Some
    }
}

/// Whether a `ServiceBinding` brings the placement's Secret to workloads.
fn is_bound(ctx: &Ctx, tenant: &TenantPlacement) -> bool {
    let names = tenant.other_secrets(None);
    let bindings = ctx.stores.bindings.all();
    bindings.iter().any(|binding| {
        let service = &binding.spec.service;
        let bound = match service.kind.as_str() {
            "TenantPlacement" => service.name == tenant.name_any(),
            "Secret" => names.contains(&service.name),
            _ => false,
        };
        bound && binding.namespace() == tenant.namespace()
    })
}

/// Takes into `progress` what became of the Secrets under former names in one cluster.
pub(super) fn fold(
    tenant: &TenantPlacement,
    cluster: Option<&RegionName>,
    left: Left,
    progress: &mut Progress,
) {
    let Left { gone, staying } = left;
    progress.staying.extend(staying);
    for one in tenant.former_secrets(cluster) {
        if !gone.contains(&one.name) {
            continue;
        }
        let place = cluster.map_or_else(
            || "the hub".to_owned(),
            |region| format!("the cluster of Region {region}"),
        );
        let note = format!("no Secret is named {} in {place} any more", one.name);
        progress.tell(Severity::Normal, Reason::FormerSecretDeleted, note);
        progress.gone.insert((one.name.clone(), cluster.cloned()));
    }
}

#[cfg(test)]
mod tests;
