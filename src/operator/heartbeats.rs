//! Heartbeats: a number and a time that replicate with the data, so that the loss of a failover can
//! be bounded. Written on the active server while its policy is at rest, never when it is fenced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::policy::FailoverPolicy;
use domicile_api::policy_status::PolicyState;
use domicile_core::facts::{Epoch, Heartbeat};
use domicile_core::names::ServerId;
use kube::ResourceExt;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, error};

use crate::context::Ctx;
use crate::probes::plan::members;
use crate::stores;

/// How often the set of policies is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What to beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Where.
    pub server: ServerId,
    /// Under which epoch; the server refuses any other.
    pub epoch: Epoch,
    /// Time between two beats.
    pub interval: Duration,
    /// Longest time for one.
    pub timeout: Duration,
}

/// What to beat for `policy` now: nothing while a move is under way or before its first pass.
pub fn beat(policy: &FailoverPolicy) -> Option<Beat> {
    let status = policy.status.as_ref()?;
    let at_rest = match status.state? {
        PolicyState::Steady | PolicyState::Suspect | PolicyState::Outage => true,
        PolicyState::Blocked
        | PolicyState::AwaitingApproval
        | PolicyState::Draining
        | PolicyState::Fencing
        | PolicyState::CatchingUp
        | PolicyState::Aborting
        | PolicyState::Promoting
        | PolicyState::Rerouting
        | PolicyState::Verifying
        | PolicyState::Halted => false,
    };
    if !at_rest {
        return None;
    }
    let active = status.active_region.as_deref()?;
    let server = members(policy)
        .into_iter()
        .find(|id| id.region.as_str() == active)?;
    let seconds = |value: i32| Duration::from_secs(u64::try_from(value).unwrap_or(1).max(1));
    Some(Beat {
        server,
        epoch: Epoch(status.epoch?),
        interval: seconds(policy.spec.objectives.heartbeat_seconds),
        timeout: seconds(policy.spec.detection.timeout_seconds),
    })
}

/// Beats for every policy until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let mut loops = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    stores::filled(&ctx).await;
    loop {
        ctx.pulse.beat("heartbeats", ctx.clock.mono());
        while let Some(ended) = loops.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "A heartbeat loop panicked and starts anew");
            }
        }
        running.retain(|_, handle| !handle.is_finished());
        for policy in ctx.stores.policies.all() {
            running
                .entry(policy.name_any())
                .or_insert_with_key(|name| loops.spawn(of_policy(Arc::clone(&ctx), name.clone())));
        }
        ctx.clock.sleep(TICK).await;
    }
}

async fn of_policy(ctx: Arc<Ctx>, name: String) {
    let mut sequence = 0_i64;
    while let Some(policy) = ctx.stores.policies.get(&name) {
        let Some(beat) = beat(&policy) else {
            ctx.clock.sleep(TICK).await;
            continue;
        };
        let started = ctx.clock.mono();
        sequence = sequence.saturating_add(1);
        if let Err(error) = send(&ctx, &beat, sequence).await {
            debug!(policy = name, error, "A heartbeat was not written");
        }
        let passed = Duration::from_millis(ctx.clock.mono().since(started));
        ctx.clock.sleep(beat.interval.saturating_sub(passed)).await;
    }
}

async fn send(ctx: &Ctx, beat: &Beat, sequence: i64) -> Result<(), String> {
    let server = ctx
        .open(&beat.server, beat.timeout)
        .await
        .map_err(|e| e.to_string())?;
    let heartbeat = Heartbeat {
        sequence,
        leader: ctx.identity().to_owned(),
        at: ctx.clock.mono(),
        epoch: beat.epoch,
    };
    let limit = beat.timeout.saturating_add(Duration::from_secs(1));
    match ctx.clock.within(limit, server.heartbeat(&heartbeat)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(passed) => Err(passed.to_string()),
    }
}
