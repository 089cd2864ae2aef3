//! A deletion whose server cannot be worked on: how long it waits, and what it writes down then.

use domicile_api::conditions::Reason;
use domicile_api::meta;
use domicile_api::orphan::{Cleanup, MAX_ORPHANS, Orphan};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::{ServerId, Slot};
use domicile_core::placement::{Parting, parting};
use kube::ResourceExt;
use tracing::info;

use super::error::Halt;
use super::observe::recorded;
use super::progress::{Stop, Until};
use super::serve::namespace;
use crate::context::Ctx;
use crate::kube::events::Severity;
use crate::orphans::{self, Recorded};

/// Waits a while for the server, and then hands the database over to its Region, which drops it
/// when the server is back. An error while it waits.
pub(super) async fn leave_database(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    fact: &Stop,
) -> Result<(), Halt> {
    let Some((server, _)) = recorded(tenant) else {
        return Ok(());
    };
    let now = ctx.clock.now().wall;
    let asked = tenant.metadata.deletion_timestamp.as_ref();
    let asked = asked.map_or(now, |time| time.0);
    let skip = meta::SKIP_CLEANUP;
    if let Parting::Wait(until) = parting(asked, now) {
        let message = format!(
            "the deletion waits for {server}, where the database must be dropped: {}; at {until} \
             it is written down in Region {} to be dropped later, and the placement goes; to give \
             the database up instead, set the annotation {skip}=true",
            fact.message, server.region
        );
        return Err(unreachable(message).into());
    }
    let orphan = orphan(ctx, tenant, &server, Cleanup::Drop, None);
    let refusal = match orphans::record(ctx, server.region.as_str(), &orphan).await? {
        Recorded::Stored(region, new) => {
            if new {
                told(ctx, tenant, region.as_ref(), &server, &fact.message);
            }
            return Ok(());
        }
        Recorded::NoRegion => format!("Region {} does not exist", server.region),
        Recorded::Full => format!("Region {} lists {MAX_ORPHANS} others", server.region),
    };
    let message = format!(
        "the deletion waits for {server}, where the database must be dropped: {}; it cannot be \
         written down to be dropped later, because {refusal}; to give the database up instead, \
         set the annotation {skip}=true",
        fact.message
    );
    Err(unreachable(message).into())
}

/// Hands the closing of the logins before a rotation over to the Region. A placement whose database
/// is kept does not wait for anything.
pub(super) async fn leave_logins(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    slot: Slot,
    fact: &str,
) -> Result<(), Halt> {
    let Some((server, _)) = recorded(tenant) else {
        return Ok(());
    };
    let orphan = orphan(ctx, tenant, &server, Cleanup::CloseLogins, Some(slot));
    match orphans::record(ctx, server.region.as_str(), &orphan).await? {
        Recorded::Stored(region, true) => told(ctx, tenant, region.as_ref(), &server, fact),
        Recorded::Stored(_, false) => {}
        Recorded::NoRegion | Recorded::Full => {
            let note = format!(
                "the logins before the last rotation stay open on {server}: {fact}; close them \
                 there by hand"
            );
            let reason = Reason::CleanupBlocked.as_str();
            ctx.events
                .publish(tenant, Severity::Warning, reason, "Release", note);
        }
    }
    Ok(())
}

fn orphan(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    server: &ServerId,
    cleanup: Cleanup,
    closes: Option<Slot>,
) -> Orphan {
    Orphan {
        uid: tenant.uid().unwrap_or_default(),
        namespace: namespace(tenant),
        name: tenant.name_any(),
        server: server.server.clone(),
        database: tenant
            .database_name()
            .map_or_else(|_| String::new(), |name| name.to_string()),
        cleanup,
        closes: closes.map(Into::into),
        since: ctx.clock.now().wall,
        problem: None,
    }
}

fn told(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    region: &domicile_api::Region,
    server: &ServerId,
    fact: &str,
) {
    info!(%server, "Writing down what a placement leaves");
    let of = format!("{}/{}", namespace(tenant), tenant.name_any());
    let note = format!(
        "TenantPlacement {of} goes without its server {server} ({fact}); Region {} cleans up \
         after it when that can be worked on, see its `status.orphans`",
        server.region
    );
    let reason = Reason::OrphanRecorded.as_str();
    ctx.events
        .publish(tenant, Severity::Warning, reason, "Release", note.clone());
    ctx.events
        .publish(region, Severity::Warning, reason, "Clean", note);
}

fn unreachable(message: String) -> Stop {
    Stop::new(Until::Mended, Reason::RegionUnreachable, message)
}
