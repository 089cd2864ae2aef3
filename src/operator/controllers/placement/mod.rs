//! `TenantPlacement`: a database in the tenant's home region, credentials in its namespace, and
//! both wherever a failover moved it.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{self, ConditionType, Reason};
use domicile_api::placement::{EndpointKind, TenantPlacement};
use domicile_api::placement_status::CopyKind;
use domicile_core::pace::Pace;
use domicile_core::placement::Deletion;
use kube::ResourceExt;
use tracing::info;

use crate::context::Ctx;
use crate::controllers::{Work, drive};
use crate::error::{Class, Classify};
use crate::kube::wake::Key;

mod adoption;
mod choose;
mod cleanup;
mod database;
mod endpoint;
mod error;
mod external;
mod former;
mod inject;
mod inside;
mod memory;
mod observe;
mod parting;
mod place;
mod progress;
mod reads;
mod regional;
mod report;
mod rollout;
mod room;
mod rotate;
mod secret;
mod serve;
mod store;
mod target;
mod verify;
mod wanted;
mod workloads;

use error::{Halt, PlacementError};
use memory::Memory;
use progress::{Progress, Stop, Until};
use serve::Visit;

/// Longest time for one pass: making a database, some logins, and calls to the API server.
const DEADLINE: Duration = Duration::from_mins(2);
/// How soon to look again when it is too early to say anything.
const SOON: Duration = Duration::from_millis(500);

/// Runs the controller until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let memory = Arc::new(Memory::default());
    let apart = regional::run(Arc::clone(&ctx), Arc::clone(&memory));
    let leftovers = regional::run_leftovers(Arc::clone(&ctx));
    let work = Work {
        name: "placement",
        cache: ctx.stores.placements.clone(),
        queue: Arc::clone(&ctx.wake.placements),
        deadline: DEADLINE,
    };
    let reconcile = move |tenant, ctx| {
        let memory = Arc::clone(&memory);
        async move { Box::pin(reconcile(tenant, ctx, memory)).await }
    };
    tokio::join!(drive(ctx, work, reconcile), apart, leftovers);
}

async fn reconcile(
    tenant: Arc<TenantPlacement>,
    ctx: Arc<Ctx>,
    memory: Arc<Memory>,
) -> Result<Duration, PlacementError> {
    let mut progress = Progress::default();
    let mut visit = None;
    let done = pass(&ctx, tenant, &memory, &mut visit, &mut progress).await;
    if let Some(visit) = &mut visit {
        let failed = done.as_ref().err();
        let silent = failed.is_some_and(|error| error.class() == Class::Transient);
        let silent = silent || progress.silent;
        visit.heard((silent || progress.wrote).then_some(!silent));
    }
    done
}

async fn pass<'a>(
    ctx: &'a Ctx,
    mut tenant: Arc<TenantPlacement>,
    memory: &Memory,
    visit: &mut Visit<'a>,
    progress: &mut Progress,
) -> Result<Duration, PlacementError> {
    let ended = if tenant.metadata.deletion_timestamp.is_some() {
        match end(ctx, &mut tenant, memory, visit, progress).await {
            Ok(true) => return Ok(Duration::MAX),
            Ok(false) => Ok(()),
            Err(halt) => Err(halt),
        }
    } else {
        match hold(ctx, &mut tenant, visit).await {
            Ok(()) => serve::serve(ctx, &mut tenant, memory, visit, progress).await,
            Err(halt) => Err(halt),
        }
    };
    if progress.held {
        memory.regional.hold(&tenant.uid().unwrap_or_default());
    }
    report::tell(ctx, &tenant, progress);
    // A failed write may have stored the choice all the same; then its place is kept.
    if !matches!(ended, Err(Halt::Failed(_))) {
        memory.promises.settle(&tenant.uid().unwrap_or_default());
    }
    match ended {
        Ok(()) => {}
        Err(Halt::Stop(stop)) => {
            memory.doubt(&tenant.uid().unwrap_or_default());
            say(&tenant, &stop);
            progress.stop = Some(stop);
        }
        Err(Halt::Later(rest)) => return Ok(rest),
        Err(Halt::Failed(error)) => return Err(error),
    }
    regional::fold(&tenant, memory, progress);
    report::write(ctx, &tenant, progress).await?;
    ctx.wake.regional.wake(Key::of(tenant.as_ref()));
    if progress.removed_service.is_some() && tenant.endpoint() == EndpointKind::Service {
        // Another one waited for that.
        return Ok(SOON);
    }
    let settled = rest(ctx, memory, &tenant);
    Ok(report::rest(progress, settled, rand::random()))
}

/// Sees that the placement cannot go without us.
async fn hold<'a>(
    ctx: &'a Ctx,
    tenant: &mut Arc<TenantPlacement>,
    visit: &mut Visit<'a>,
) -> Result<(), Halt> {
    if !is_ours(tenant) {
        serve::enter(ctx, tenant, visit)?;
    }
    *tenant = cleanup::hold(ctx, Arc::clone(tenant)).await?;
    Ok(())
}

/// Works on a placement that is being deleted. True when it is gone.
async fn end<'a>(
    ctx: &'a Ctx,
    tenant: &mut Arc<TenantPlacement>,
    memory: &Memory,
    visit: &mut Visit<'a>,
    progress: &mut Progress,
) -> Result<bool, Halt> {
    let uid = tenant.uid().unwrap_or_default();
    if !is_ours(tenant) {
        memory.forget(&uid);
        return Ok(true);
    }
    match cleanup::decide(tenant) {
        Deletion::Protected => {
            // The tenant lives on, and so it must still be moved when its region is lost.
            serve::serve(ctx, tenant, memory, visit, progress).await?;
            let message = "`spec.deletionProtection` keeps the placement; set it to false to drop \
                           the database, or `spec.reclaimPolicy` to Retain to keep it";
            Err(Stop::new(Until::Person, Reason::DeletionProtected, message).into())
        }
        Deletion::Drop => {
            let dropped = cleanup::drop_all((ctx, memory), tenant, visit, progress).await;
            // Nothing is brought anywhere for what is being deleted.
            progress.clusters = None;
            dropped?;
            regional::part(ctx, tenant, memory).await?;
            cleanup::release(ctx, tenant).await?;
            memory.forget(&uid);
            Ok(true)
        }
        Deletion::Keep => {
            cleanup::close_logins(ctx, tenant, progress).await?;
            cleanup::release(ctx, tenant).await?;
            memory.forget(&uid);
            Ok(true)
        }
        Deletion::Release => {
            cleanup::forget(ctx, tenant).await?;
            cleanup::release(ctx, tenant).await?;
            memory.forget(&uid);
            Ok(true)
        }
    }
}

/// How long this placement rests while nothing happens.
fn rest(ctx: &Ctx, memory: &Memory, tenant: &TenantPlacement) -> Duration {
    let credentials = tenant.credentials();
    let retiring = credentials.is_some_and(|known| known.retiring.is_some());
    let given = tenant.spec.credentials.password_secret_ref.is_some();
    let status = tenant.status.as_ref();
    let leaving = status.is_some_and(|status| !status.former_secrets.is_empty());
    let (uid, generation) = (tenant.uid().unwrap_or_default(), tenant.metadata.generation);
    let behind = memory.regional.is_behind(&uid, generation);
    let awaited = retiring || given || leaving || behind || looks_for_workloads(memory, tenant);
    let settled = pace(ctx, awaited).pass;
    rotate::until_next(tenant, ctx.clock.now().wall).map_or(settled, |until| settled.min(until))
}

/// How often settled placements are looked at, by their number.
fn pace(ctx: &Ctx, awaited: bool) -> Pace {
    let tenants = ctx.stores.placements.count();
    domicile_core::pace::pace(tenants, awaited, ctx.settings.drift())
}

/// Whether only a look tells that a workload came or changed: what was found of them in the hub
/// does not stand until the watch tells, or some may be elsewhere.
fn looks_for_workloads(memory: &Memory, tenant: &TenantPlacement) -> bool {
    let mut copies = tenant.status.iter().flat_map(|status| &status.copies);
    let elsewhere = copies.any(|copy| copy.kind == CopyKind::Secret);
    let uid = tenant.uid().unwrap_or_default();
    !tenant.workloads().is_empty() && (elsewhere || !memory.is_settled(&uid))
}

fn is_ours(tenant: &TenantPlacement) -> bool {
    tenant
        .finalizers()
        .iter()
        .any(|name| name == domicile_api::meta::PLACEMENT_FINALIZER)
}

/// Logs why a pass ended, once per reason.
fn say(tenant: &TenantPlacement, stop: &Stop) {
    let status = tenant.status.as_ref();
    let ready = status.and_then(|s| conditions::find(&s.conditions, ConditionType::Ready));
    if ready.is_none_or(|ready| ready.reason != stop.reason.as_str()) {
        info!(
            reason = stop.reason.as_str(),
            message = stop.message,
            "The placement waits"
        );
    }
}
