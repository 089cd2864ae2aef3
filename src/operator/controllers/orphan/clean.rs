//! One orphan: where it is now, and its cleanup there.

use std::time::Duration;

use domicile_api::convert::policy_view;
use domicile_api::orphan::{Cleanup, Orphan};
use domicile_core::names::{ServerId, Slot};
use domicile_core::placement::{self, Route, orphan_route};
use domicile_providers::{Applied, TenantPlan};
use tracing::info;

use crate::context::Ctx;

/// Longest time for one cleanup.
const LIMIT: Duration = Duration::from_mins(1);

/// What was done.
pub(super) struct Cleaned {
    /// Said of the placement that is gone.
    pub(super) what: String,
    /// Replication slots that stay elsewhere.
    pub(super) slots_left: Vec<String>,
}

/// Why it was not done.
pub(super) enum Obstacle {
    /// Its server cannot be worked on now.
    Waits,
    /// The server answered with this.
    Met(String),
}

/// Does what is left to do, on the server that answers for the orphan now.
pub(super) async fn clean(ctx: &Ctx, region: &str, orphan: &Orphan) -> Result<Cleaned, Obstacle> {
    let left_on = ServerId::new(region, orphan.server.clone());
    let policies = ctx.stores.policies.all();
    let policies = placement::effective(policies.iter().map(|p| policy_view(p)).collect());
    let sample = ctx.samples.get(&left_on);
    let row = sample.and_then(|sample| sample.facts.as_ref()?.authority);
    let (server, epoch) = match orphan_route(&left_on, &policies, row) {
        Route::Serve { server, epoch } => (server, epoch),
        Route::Hold(_) => return Err(Obstacle::Waits),
    };
    let answers = ctx.samples.get(&server).and_then(|s| s.workable());
    if !matches!(answers, Some(Ok(()))) {
        return Err(Obstacle::Waits);
    }
    let met = |fact: String| Obstacle::Met(fact);
    let database = orphan.database_name();
    let database = database.map_err(|error| met(format!("its database's name {error}")))?;
    let plan = TenantPlan::bare(orphan.uid.clone(), database);
    let open = ctx.open(&server, LIMIT).await;
    let open = open.map_err(|error| met(error.message))?;
    info!(%server, database = orphan.database, "Cleaning up after a deleted placement");
    let (applied, what, slots_left) = match (orphan.cleanup, orphan.closes) {
        (Cleanup::Drop, _) => {
            let dropped = open.drop_tenant(&plan, epoch).await;
            let dropped = dropped.map_err(|error| met(error.to_string()))?;
            let what = format!("dropped database {} on {server}", orphan.database);
            (dropped.applied, what, dropped.slots_left)
        }
        (Cleanup::CloseLogins, Some(slot)) => {
            let closed = open.close_logins(&plan, Slot::from(slot), epoch).await;
            let applied = closed.map_err(|error| met(error.to_string()))?;
            let what = format!("closed the logins before the last rotation on {server}");
            (applied, what, Vec::new())
        }
        (Cleanup::CloseLogins, None) => (Applied::Already, String::new(), Vec::new()),
    };
    let what = match applied {
        Applied::Done => what,
        Applied::Already => format!("found nothing more to clean up on {server}"),
    };
    Ok(Cleaned { what, slots_left })
}
