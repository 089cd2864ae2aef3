//! The end of a placement: what is dropped, what is left, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::Reason;
use domicile_api::meta::{self, PLACEMENT_FINALIZER, manager};
use domicile_api::placement::{ReclaimPolicy, TenantPlacement};
use domicile_core::placement::{Deletion, deletion};
use domicile_providers::{Dropped, Generic};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::info;

use super::error::{Halt, PlacementError};
use super::memory::Memory;
use super::observe::{Seat, answers, recorded, seat};
use super::parting::{Kept, is_right};
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::serve::{Visit, enter, namespace, turn};
use super::store::is_of;
use super::{database, endpoint, former, parting, workloads};
use crate::context::Ctx;
use crate::kube::client::CallError;
use crate::kube::events::Severity;
use crate::orphans;
use crate::turns::{self, Turn};

/// Longest time for dropping a database with all that is in it.
const DROP: Duration = Duration::from_mins(1);

/// Adds the finalizer. The answer is the object as it is then.
pub(super) async fn hold(
    ctx: &Ctx,
    tenant: Arc<TenantPlacement>,
) -> Result<Arc<TenantPlacement>, PlacementError> {
    if tenant
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == PLACEMENT_FINALIZER)
    {
        return Ok(tenant);
    }
    let mut finalizers = tenant.finalizers().to_vec();
    finalizers.push(PLACEMENT_FINALIZER.to_owned());
    let written = set_finalizers(ctx, &tenant, &finalizers).await;
    let mut written =
        written.map_err(|error| PlacementError::call("adding the finalizer", error))?;
    written.metadata.managed_fields = None;
    let written = Arc::new(written);
    ctx.stores.placements.wrote(Arc::clone(&written));
    Ok(written)
}

/// What the deletion of a placement means now.
pub(super) fn decide(tenant: &TenantPlacement) -> Deletion {
    let spec = &tenant.spec;
    let skip = tenant
        .annotations()
        .get(meta::SKIP_CLEANUP)
        .is_some_and(|value| value == "true");
    deletion(
        spec.reclaim_policy == ReclaimPolicy::Delete,
        spec.deletion_protection,
        skip,
    )
}

/// Lets the placement go and leaves everything else as it is.
pub(super) async fn release(ctx: &Ctx, tenant: &TenantPlacement) -> Result<(), PlacementError> {
    let mut finalizers = tenant.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != PLACEMENT_FINALIZER);
    info!("Releasing the placement");
    match set_finalizers(ctx, tenant, &finalizers).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(PlacementError::call("removing the finalizer", error)),
    }
    let note = "the placement is gone; see `spec.reclaimPolicy` for what became of its database";
    ctx.events.publish(
        tenant,
        Severity::Normal,
        Reason::Deleting.as_str(),
        "Release",
        note,
    );
    Ok(())
}

/// Drops database and roles, takes the variables back and deletes the Secret.
pub(super) async fn drop_all<'a>(
    (ctx, memory): (&'a Ctx, &Memory),
    tenant: &TenantPlacement,
    visit: &mut Visit<'a>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    drop_database(ctx, tenant, progress).await?;
    enter(ctx, tenant, visit)?;
    match undo((ctx, memory), tenant, progress).await {
        // The deletion of a namespace takes the operator's rights in it, too: waiting for them
        // would keep both for ever. The login that the Secret tells is gone already.
        Err(Halt::Stop(stop)) if is_right(stop.reason) => {
            info!("Leaving what there are no rights to");
            let note = format!(
                "the database is dropped; what else the placement made stays where the \
                 operator has no rights: {}",
                stop.message
            );
            let reason = stop.reason.as_str();
            ctx.events
                .publish(tenant, Severity::Warning, reason, "Release", note);
            Ok(())
        }
        // What the namespace's deletion removes, or takes the rights to, is waited for no more.
        Err(Halt::Stop(stop)) => {
            let skip = meta::SKIP_CLEANUP;
            let message = format!(
                "the database is dropped, and the deletion waits (the annotation {skip}=true ends \
                 that, and leaves the rest as it is): {}",
                stop.message
            );
            Err(Stop { message, ..stop }.into())
        }
        other => other,
    }
}

/// Takes back, in the hub, all that leads to the database. What is refused keeps nothing from the
/// rest.
async fn undo(
    (ctx, memory): (&Ctx, &Memory),
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let hub = Place::hub(ctx, tenant);
    let mut kept = Kept::default();
    kept.take(workloads::release_others(&hub, memory, progress).await)?;
    kept.take(withdraw(&hub, progress).await)?;
    for name in tenant.other_secrets(None) {
        kept.take(former::delete(&hub, &name).await)?;
    }
    kept.take(endpoint::release(&hub).await)?;
    kept.end()
}

/// Closes the logins before a rotation, which were to be closed at the end of their overlap.
pub(super) async fn close_logins(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let retiring = tenant.credentials().and_then(|known| known.retiring);
    let Some(slot) = retiring.filter(|_| recorded(tenant).is_some()) else {
        return forget(ctx, tenant).await;
    };
    let (server, seat, _turn) = match reach(ctx, tenant, progress).await {
        Ok(reached) => reached,
        Err(Halt::Stop(stop)) => {
            return parting::leave_logins(ctx, tenant, slot, &stop.message).await;
        }
        Err(other) => return Err(other),
    };
    info!(server = %seat.active, ?slot, "Closing the logins before");
    let plan = database::plan(tenant, &seat, None);
    match server.close_logins(&plan, slot, seat.epoch).await {
        Ok(_) => forget(ctx, tenant).await,
        Err(error) => parting::leave_logins(ctx, tenant, slot, &error.to_string()).await,
    }
}

/// Drops the database, or hands it over to the Region.
async fn drop_database(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if recorded(tenant).is_none() {
        // The server is recorded before anything is made on it.
        return Ok(());
    }
    let (server, seat, mut turn) = match reach(ctx, tenant, progress).await {
        Ok(reached) => reached,
        Err(Halt::Stop(stop)) => return parting::leave_database(ctx, tenant, &stop).await,
        Err(other) => return Err(other),
    };
    info!(server = %seat.active, database = %seat.database, "Dropping a tenant");
    let dropped = server
        .drop_tenant(&database::plan(tenant, &seat, None), seat.epoch)
        .await;
    turn.heard(dropped.as_ref().map_or_else(turns::heard, |_| Some(true)));
    let Dropped { slots_left, .. } = dropped.map_err(|error| database::stop_for(&error))?;
    if !slots_left.is_empty() {
        let note = format!(
            "the subscriptions of database {} are dropped; their replication slots stay on the \
             servers that they subscribed to, and keep WAL there until they are dropped: {}",
            seat.database,
            slots_left.join(", ")
        );
        let reason = Reason::Deleting.as_str();
        ctx.events
            .publish(tenant, Severity::Warning, reason, "Release", note);
    }
    orphans::forget_database(ctx, &tenant.uid().unwrap_or_default()).await?;
    Ok(())
}

/// Takes back what was written down of the placement: it is done, or not wanted any more.
pub(super) async fn forget(ctx: &Ctx, tenant: &TenantPlacement) -> Result<(), Halt> {
    orphans::forget(ctx, &tenant.uid().unwrap_or_default()).await?;
    Ok(())
}

/// The server that answers for the tenant now, if it can be worked on.
async fn reach<'a>(
    ctx: &'a Ctx,
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(Generic, Seat, Turn<'a>), Halt> {
    let seat = seat(ctx, tenant, None, progress)?;
    let silent = |fact: &str| {
        let message = format!("{}: {fact}", seat.active);
        Stop::new(Until::Mended, Reason::RegionUnreachable, message)
    };
    match answers(ctx, &seat.active) {
        Some(Ok(())) => {}
        Some(Err(fact)) => return Err(silent(&fact).into()),
        None => return Err(Halt::Later(super::SOON)),
    }
    let opened = ctx.open(&seat.active, DROP).await;
    let server = opened.map_err(|error| silent(&error.message))?;
    let turn = turn(ctx, tenant, &seat)?;
    Ok((server, seat, turn))
}

/// Takes the variables back and deletes the Secret, in one cluster. A workload that refuses keeps
/// the Secret no more than the others: what it leads to is gone, or may not be known there.
pub(super) async fn withdraw(at: &Place<'_>, progress: &mut Progress) -> Result<(), Halt> {
    let mut kept = Kept::default();
    kept.take(workloads::release_all(at, progress).await)?;
    let deleted = delete_secret(at).await;
    kept.take(deleted.map(|was_there| progress.wrote |= was_there))?;
    kept.end()
}

/// Deletes the Secret, if it is the placement's own. True when it was there.
pub(super) async fn delete_secret(at: &Place<'_>) -> Result<bool, Halt> {
    let Place { ctx, tenant, .. } = *at;
    let (name, api) = (tenant.secret_name(), at.secrets());
    let refused = |error: CallError| {
        let doing = format!("deleting {}", at.secret());
        workloads::halt(at, &doing, error, || at.not_onboarded())
    };
    let Some(secret) = ctx.call(api.get_opt(&name)).await.map_err(refused)? else {
        return Ok(false);
    };
    if !is_of(tenant, &secret) {
        return Ok(false);
    }
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: secret.metadata.uid,
            resource_version: secret.metadata.resource_version,
        }),
        ..DeleteParams::default()
    };
    info!(secret = at.secret(), "Deleting the Secret");
    match ctx.call(api.delete(&name, &parameters)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(refused(error)),
    }
}

async fn set_finalizers(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    finalizers: &[String],
) -> Result<TenantPlacement, CallError> {
    let api: Api<TenantPlacement> = Api::namespaced(ctx.client.clone(), &namespace(tenant));
    let patch = json!({ "metadata": {
        "uid": tenant.metadata.uid,
        "resourceVersion": tenant.metadata.resource_version,
        "finalizers": finalizers,
    }});
    let parameters = PatchParams {
        field_manager: Some(manager::PLACEMENT.to_owned()),
        ..PatchParams::default()
    };
    ctx.call(api.patch(&tenant.name_any(), &parameters, &Patch::Merge(patch)))
        .await
}
