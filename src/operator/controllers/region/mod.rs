//! `Region`: whether its database servers answer, and whether the operator may work on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_api::region::Region;
use domicile_core::time::Mono;
use kube::ResourceExt;

use crate::context::Ctx;
use crate::controllers::{LONGEST_WAIT, Work, drive};
use crate::kube::cas::CasError;
use crate::outlines::without_counts;

pub mod bounds;
pub mod build;
pub mod observe;
mod orphans;
mod replicas;
pub mod report;
mod rights;

/// Longest time for one pass: it is one call to the API server.
const DEADLINE: Duration = Duration::from_secs(30);
/// Shortest time between two writes for the sake of figures alone.
const FIGURES: Duration = Duration::from_secs(2);

/// When each Region's status was last written, by UID.
#[derive(Debug, Default)]
struct Written(Mutex<BTreeMap<String, Mono>>);

impl Written {
    /// How long figures must still wait.
    fn left(&self, uid: &str, now: Mono) -> Duration {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = written
            .get(uid)
            .map(|at| Duration::from_millis(now.since(*at)));
        passed.map_or(Duration::ZERO, |passed| FIGURES.saturating_sub(passed))
    }

    fn at(&self, uid: String, now: Mono) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(uid, now);
    }
}

/// Runs the controller until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let work = Work {
        name: "region",
        cache: ctx.stores.regions.clone(),
        queue: Arc::clone(&ctx.wake.regions),
        deadline: DEADLINE,
    };
    let written = Arc::new(Written::default());
    let reconcile = move |region, ctx| {
        let written = Arc::clone(&written);
        async move { reconcile(region, ctx, &written).await }
    };
    drive(ctx, work, reconcile).await;
}

async fn reconcile(
    region: Arc<Region>,
    ctx: Arc<Ctx>,
    written: &Written,
) -> Result<Duration, CasError> {
    let seen = observe::observe(region, &ctx);
    let Some(status) = build::status(&seen) else {
        return Ok(LONGEST_WAIT);
    };
    let before = seen.region.status.clone().unwrap_or_default();
    if before == status {
        return Ok(LONGEST_WAIT);
    }
    let uid = seen.region.uid().unwrap_or_default();
    let left = written.left(&uid, ctx.clock.mono());
    if !left.is_zero() && without_counts(before) == without_counts(status.clone()) {
        return Ok(left);
    }
    report::report(&ctx, &seen, status).await?;
    written.at(uid, ctx.clock.mono());
    Ok(LONGEST_WAIT)
}
