//! `Region`: whether its database servers answer, and whether the operator may work on them.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::region::Region;

use crate::context::Ctx;
use crate::controllers::{LONGEST_WAIT, Work, drive};
use crate::kube::cas::CasError;

pub mod bounds;
pub mod build;
pub mod observe;
mod orphans;
pub mod report;

/// Longest time for one pass: it is one call to the API server.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the controller until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let work = Work {
        name: "region",
        cache: ctx.stores.regions.clone(),
        queue: Arc::clone(&ctx.wake.regions),
        deadline: DEADLINE,
    };
    drive(ctx, work, reconcile).await;
}

async fn reconcile(region: Arc<Region>, ctx: Arc<Ctx>) -> Result<Duration, CasError> {
    let seen = observe::observe(region, &ctx);
    if let Some(status) = build::status(&seen) {
        report::report(&ctx, &seen, status).await?;
    }
    Ok(LONGEST_WAIT)
}
