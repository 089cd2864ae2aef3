//! The clusters of regions: the Secret, the Service that it names, and what is injected go there
//! beside the hub.
//!
//! A pass over a placement does not wait for any of them. It says what there is to be done, and
//! takes into the status what became of it; the errands are run here, each cluster apart from the
//! others, and in turns, so that one that does not answer delays its own part alone.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::CopyKind;
use domicile_core::names::RegionName;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, info_span};

mod fold;
mod leftovers;
mod memory;
mod part;
mod work;

use super::endpoint;
use super::memory::Memory;
use super::observe::moved;
use super::place::Place;
use crate::context::Ctx;
use crate::kube::wake::Key;
use crate::turns;
use memory::{Job, Outcome};
use work::Done;

pub(super) use fold::{Plan, fold, plan, taken_up, withdrawals};
pub(super) use leftovers::run as run_leftovers;
pub(super) use memory::{Order, Regional};
pub(super) use part::{has_cluster, part};
pub(super) use work::is_of_another_cluster;

/// Longest time for one errand.
const LIMIT: Duration = Duration::from_secs(30);
/// How often an idle loop says that it lives.
const BEAT: Duration = Duration::from_secs(10);
/// The name of the loop.
const NAME: &str = "regional";

/// Runs errands until the process ends.
pub(super) async fn run(ctx: Arc<Ctx>, memory: Arc<Memory>) {
    let mut stop = pin!(ctx.stop.asked());
    let mut keys = pin!(Arc::clone(&ctx.wake.regional).stream());
    let mut running = JoinSet::new();
    ctx.stop.enter();
    loop {
        ctx.pulse.beat(NAME, ctx.clock.mono());
        tokio::select! {
            () = &mut stop => break,
            key = keys.next() => {
                if let Some(key) = key {
                    begin(&ctx, &memory, &key, &mut running);
                }
            }
            Some(_) = running.join_next() => {}
            () = ctx.clock.sleep(BEAT) => {}
        }
    }
    running.shutdown().await;
    ctx.pulse.retire(NAME);
    ctx.stop.leave();
}

/// Takes up all errands of a placement that may be run now.
fn begin(ctx: &Arc<Ctx>, memory: &Arc<Memory>, key: &Key, running: &mut JoinSet<()>) {
    let Some(tenant) = ctx.stores.placements.find(key) else {
        return;
    };
    let uid = tenant.uid().unwrap_or_default();
    for region in memory.regional.regions(&uid) {
        let Some(job) = memory
            .regional
            .begin(&uid, &region, tenant.metadata.generation)
        else {
            continue;
        };
        let errand = Running {
            ctx: Arc::clone(ctx),
            memory: Arc::clone(memory),
            tenant: Arc::clone(&tenant),
            region,
            job,
        };
        let (limit, now) = (turns::limit(ctx), ctx.clock.mono());
        if ctx.cluster_turns.enter(&errand.region, key, limit, now) {
            let span = info_span!(
                "errand",
                namespace = key.namespace,
                object = key.name,
                region = %errand.region,
            );
            running.spawn(errand.run().instrument(span));
        } else {
            // It is woken when it has a turn.
            errand.end(None);
        }
    }
}

/// An errand that was taken up.
struct Running {
    ctx: Arc<Ctx>,
    memory: Arc<Memory>,
    tenant: Arc<TenantPlacement>,
    region: RegionName,
    job: Job,
}

impl Running {
    async fn run(self) {
        let work = AssertUnwindSafe(Box::pin(self.work())).catch_unwind();
        let done = match self.ctx.clock.within(LIMIT, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(_panic)) => {
                error!("An errand panicked");
                None
            }
            Err(passed) => {
                let message = format!("the cluster of Region {}: {passed}", self.region);
                Some(Outcome::Silent(message))
            }
        };
        let heard = match &done {
            Some(Outcome::Silent(message)) => {
                info!(message, "A cluster is silent");
                // Its connections may be dead without knowing it.
                self.ctx.forget_region_client(&self.region);
                Some(false)
            }
            Some(Outcome::Delivered(_) | Outcome::Withdrawn | Outcome::Barred(..)) => Some(true),
            None => None,
        };
        let (ctx, key) = (Arc::clone(&self.ctx), Key::of(self.tenant.as_ref()));
        let region = self.region.clone();
        self.end(done);
        let now = (turns::limit(&ctx), ctx.clock.mono());
        for key in ctx.cluster_turns.leave(&region, &key, heard, now) {
            ctx.wake.regional.wake(key);
        }
    }

    async fn work(&self) -> Done {
        let Self {
            ctx,
            memory,
            tenant,
            region,
            job,
        } = self;
        if matches!(job, Job::Deliver(order) if !is_told(tenant, region, order)) {
            return None;
        }
        let client = match work::reach(ctx, region).await {
            Ok(client) => client,
            Err(done) => return done,
        };
        let at = Place::of(ctx, tenant, region, client);
        match job {
            // What was ordered before a move would lead to the server that is left.
            Job::Deliver(order) => tokio::select! {
                biased;
                () = moved(ctx, order.guard.as_ref()) => None,
                done = work::deliver(&at, memory, order) => done,
            },
            Job::Withdraw => work::withdraw(&at).await,
        }
    }

    /// Remembers what became of it, and wakes whom that concerns.
    fn end(self, done: Done) {
        let Self {
            ctx,
            memory,
            tenant,
            region,
            job,
        } = self;
        let key = Key::of(tenant.as_ref());
        let uid = tenant.uid().unwrap_or_default();
        let answers = matches!(&done, Some(outcome) if !matches!(outcome, Outcome::Silent(_)));
        let was_silent = answers && memory.regional.is_silent(&uid, &region);
        let done = (done, tenant.metadata.generation);
        let (changed, again) = memory.regional.end(&uid, &region, &job, done);
        if changed {
            ctx.wake.placements.wake(key.clone());
        }
        if again {
            ctx.wake.regional.wake(key);
        }
        if was_silent {
            let waiting = memory.regional.silent(&region);
            for placement in ctx.stores.placements.unordered() {
                if waiting.contains(&placement.uid().unwrap_or_default()) {
                    ctx.wake.regional.wake(Key::of(placement.as_ref()));
                }
            }
        }
    }
}

/// Whether the status tells where a Secret and its Service may be before they are, and under which
/// names.
fn is_told(tenant: &TenantPlacement, region: &RegionName, order: &Order) -> bool {
    let facade = order.facade.as_ref();
    let service = facade.is_none_or(|one| endpoint::recorded(tenant) == Some(&one.name));
    let named = tenant.recorded_secret() == Some(&tenant.secret_name());
    named && service && recorded(tenant).contains(region)
}

/// The regions whose clusters hold the placement's Secret, or may.
pub(super) fn recorded(tenant: &TenantPlacement) -> BTreeSet<RegionName> {
    let copies = tenant.status.iter().flat_map(|status| &status.copies);
    let secrets = copies.filter(|copy| copy.kind == CopyKind::Secret);
    secrets.map(|copy| RegionName::new(&copy.region)).collect()
}
