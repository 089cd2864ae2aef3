//! The loops that probe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domicile_api::meta::ACCEPT_SYSTEM_IDENTIFIER;
use domicile_api::reasons::Reason;
use domicile_core::facts::{Facts, Role};
use domicile_core::health::{Probe, ProbeFailure, Thresholds, Verdict, judge};
use domicile_core::names::ServerId;
use domicile_core::time::Mono;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info};

use crate::context::Ctx;
use crate::probes::plan::{Plan, Wish, plans};
use crate::probes::{Sample, reason, visible};
use crate::probes::{engine, replicas};
use crate::stores;
use crate::telemetry::{ReplicaLabels, ServerLabels, seconds};

/// Most probes at once.
const AT_ONCE: usize = 64;
/// How often the set of servers and their intervals are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Probes every server, from the moment that the caches are filled until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut loops = JoinSet::new();
    let mut running: BTreeMap<ServerId, AbortHandle> = BTreeMap::new();
    let mut engines: BTreeMap<ServerId, AbortHandle> = BTreeMap::new();
    let mut copies: BTreeMap<replicas::Id, AbortHandle> = BTreeMap::new();
    stores::filled(&ctx).await;
    loop {
        ctx.pulse.beat("probes", ctx.clock.mono());
        while let Some(ended) = loops.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "A probe loop panicked and starts anew");
            }
        }
        running.retain(|_, handle| !handle.is_finished());
        engines.retain(|_, handle| !handle.is_finished());
        copies.retain(|_, handle| !handle.is_finished());
        for id in replicas::all(&ctx) {
            copies.entry(id).or_insert_with_key(|id| {
                loops.spawn(replicas::watch(Arc::clone(&ctx), id.clone()))
            });
        }
        for id in plans(&ctx.stores.regions.all(), &ctx.stores.policies.all()).into_keys() {
            if engine::is_managed(&ctx, &id) {
                engines.entry(id.clone()).or_insert_with_key(|id| {
                    loops.spawn(engine::watch(Arc::clone(&ctx), id.clone()))
                });
            }
            running.entry(id).or_insert_with_key(|id| {
                loops.spawn(probe_server(
                    Arc::clone(&ctx),
                    id.clone(),
                    Arc::clone(&slots),
                ))
            });
        }
        ctx.clock.sleep(TICK).await;
    }
}

/// Probes one server, one probe at a time, until no Region lists it.
async fn probe_server(ctx: Arc<Ctx>, id: ServerId, slots: Arc<Semaphore>) {
    let mut policies = BTreeSet::new();
    while let Some(plan) = plan_of(&ctx, &id) {
        let started = ctx.clock.mono();
        let before = std::mem::replace(&mut policies, plan.policies.iter().cloned().collect());
        forget_lag(&ctx, &id, before.difference(&policies));
        if let Ok(_slot) = slots.acquire().await {
            probe_once(&ctx, &id, &plan).await;
        }
        if ctx
            .samples
            .get(&id)
            .is_some_and(|sample| sample.is_kept_waiting())
        {
            ctx.clock.sleep(TICK).await;
        } else {
            rest(&ctx, &id, &plan.wish, started).await;
        }
    }
    info!(server = %id, "No longer probing");
    ctx.samples.remove(&id);
    ctx.metrics.region_up.remove(&labels(&id));
    ctx.metrics.probe_duration.remove(&labels(&id));
    forget_lag(&ctx, &id, policies.iter());
}

/// The server is no standby of these policies any more.
fn forget_lag<'a>(ctx: &Ctx, id: &ServerId, policies: impl Iterator<Item = &'a String>) {
    for policy in policies {
        let labels = replica_labels(policy, id);
        ctx.metrics.replication_lag.remove(&labels);
    }
}

/// Waits for the next probe, in short sleeps, because the interval may change meanwhile.
async fn rest(ctx: &Ctx, id: &ServerId, wish: &Wish, started: Mono) {
    while let Some(plan) = plan_of(ctx, id) {
        let passed = Duration::from_millis(ctx.clock.mono().since(started));
        let left = plan.interval.saturating_sub(passed);
        if left.is_zero() || plan.wish != *wish {
            return;
        }
        ctx.clock.sleep(left.min(TICK)).await;
    }
}

/// How the server `id` is probed; nothing when no Region lists it.
pub(super) fn plan_of(ctx: &Ctx, id: &ServerId) -> Option<Plan> {
    let region = ctx.stores.regions.get(id.region.as_str())?;
    plans(&[region], &ctx.stores.policies.all()).remove(id)
}

async fn probe_once(ctx: &Ctx, id: &ServerId, plan: &Plan) {
    let at = ctx.clock.mono();
    let before = ctx.samples.get(id);
    let sample = match ctx.open(id, plan.timeout).await {
        Ok(server) => {
            let limit = plan.timeout.saturating_add(Duration::from_secs(1));
            let probe = ctx
                .clock
                .within(limit, server.probe(ctx.clock.mono()))
                .await;
            let probe = probe.unwrap_or_else(|passed| {
                Probe::Failed(ProbeFailure::TimedOut, format!("Server {id}: {passed}"))
            });
            next(
                before.as_deref(),
                recognise(probe, id, plan),
                plan.thresholds,
                at,
            )
        }
        Err(unopened) => Sample {
            probe: None,
            detail: Some(unopened.message.clone()),
            unopened: Some(unopened),
            verdict: Verdict::Unknown,
            facts: before.as_ref().and_then(|sample| sample.facts.clone()),
            at,
        },
    };
    if refuses_login(sample.probe.as_ref()) {
        ctx.forget_login(id);
    }
    let up = i64::from(sample.verdict == Verdict::Up);
    ctx.metrics.region_up.get_or_create(&labels(id)).set(up);
    let took = seconds(ctx.clock.mono().since(at));
    ctx.metrics
        .probe_duration
        .get_or_create(&labels(id))
        .observe(took);
    measure_lag(ctx, id, plan, &sample);
    let sample = Arc::new(sample);
    ctx.samples.put(id, Arc::clone(&sample));
    if before.is_none_or(|before| visible(&before) != visible(&sample)) {
        info!(server = %id, verdict = ?sample.verdict, reason = ?reason(&sample), "Server changed");
        ctx.wake.region(id.region.as_str());
    }
    for policy in &plan.policies {
        ctx.wake.policy(policy);
    }
}

/// Tells how far a standby is behind; of a server that is none, or whose heartbeat nobody can tell
/// the age of, nothing stays.
fn measure_lag(ctx: &Ctx, id: &ServerId, plan: &Plan, sample: &Sample) {
    let lag = sample.facts.as_ref();
    let lag = lag.and_then(|facts| lag_ms(facts, ctx.identity(), ctx.clock.mono()));
    for policy in &plan.policies {
        let labels = replica_labels(policy, id);
        let family = &ctx.metrics.replication_lag;
        match lag {
            Some(lag) => {
                family.get_or_create(&labels).set(seconds(lag));
            }
            None => {
                family.remove(&labels);
            }
        }
    }
}

fn replica_labels(policy: &str, id: &ServerId) -> ReplicaLabels {
    ReplicaLabels {
        policy: policy.to_owned(),
        region: id.region.to_string(),
    }
}

/// The age of the last heartbeat that a standby has replayed, by the clock that wrote it.
fn lag_ms(facts: &Facts, writer: &str, now: Mono) -> Option<u64> {
    let beat = facts.heartbeat.as_ref();
    let beat = beat.filter(|beat| facts.role == Role::Standby && beat.leader == writer)?;
    Some(now.since(beat.at))
}

/// Another server at the same address is a failure of its own.
fn recognise(probe: Probe, id: &ServerId, plan: &Plan) -> Probe {
    match probe {
        Probe::Answered(facts)
            if !plan.identifiers.is_empty()
                && !plan.identifiers.contains(&facts.system_identifier) =>
        {
            let message = format!(
                "Server {id} has system identifier {}, recorded is {}: correct its address, or \
                 accept it with the annotation {ACCEPT_SYSTEM_IDENTIFIER}",
                facts.system_identifier, plan.identifiers[0]
            );
            Probe::Failed(ProbeFailure::WrongServer, message)
        }
        Probe::Answered(_) | Probe::Failed(..) => probe,
    }
}

fn next(before: Option<&Sample>, probe: Probe, thresholds: Thresholds, at: Mono) -> Sample {
    let verdict = judge(
        before.map(|b| b.verdict).unwrap_or_default(),
        &probe,
        thresholds,
    );
    let facts = match &probe {
        Probe::Answered(facts) => Some(Arc::new(Facts::clone(facts))),
        Probe::Failed(..) => before.and_then(|before| before.facts.clone()),
    };
    let told = before.and_then(|before| before.detail.clone());
    let detail = match &probe {
        Probe::Answered(_) => None,
        Probe::Failed(failure, _) if before.and_then(reason) == Some(Reason::from(*failure)) => {
            told
        }
        Probe::Failed(_, text) => Some(text.clone()),
    };
    Sample {
        probe: Some(probe),
        unopened: None,
        verdict,
        facts,
        detail,
        at,
    }
}

fn refuses_login(probe: Option<&Probe>) -> bool {
    match probe {
        Some(Probe::Failed(failure, _)) => match failure {
            ProbeFailure::CredentialsDenied | ProbeFailure::CertificateInvalid => true,
            ProbeFailure::Unreachable
            | ProbeFailure::TimedOut
            | ProbeFailure::TooManyConnections
            | ProbeFailure::NotAccepting
            | ProbeFailure::WrongServer
            | ProbeFailure::VersionUnsupported
            | ProbeFailure::Unexpected => false,
        },
        Some(Probe::Answered(_)) | None => false,
    }
}

fn labels(id: &ServerId) -> ServerLabels {
    ServerLabels {
        region: id.region.to_string(),
        server: id.server.clone(),
    }
}

#[cfg(test)]
mod tests {
    use domicile_core::facts::{Epoch, Heartbeat};

    use super::*;
    use crate::probes::fixtures;

    const LIMITS: Thresholds = Thresholds { fall: 3, rise: 3 };

    fn failed(failure: ProbeFailure, text: &str) -> Probe {
        Probe::Failed(failure, text.to_owned())
    }

    #[test]
    fn what_is_told_of_a_failure_stays_while_its_reason_does() {
        let told = |before: Option<&Sample>, probe| next(before, probe, LIMITS, Mono(0));
        let first = told(None, failed(ProbeFailure::TimedOut, "after 5001 ms"));
        let second = told(
            Some(&first),
            failed(ProbeFailure::TimedOut, "after 5003 ms"),
        );
        assert_eq!(second.detail.as_deref(), Some("after 5001 ms"));
        let third = told(Some(&second), failed(ProbeFailure::Unreachable, "refused"));
        assert_eq!(third.detail.as_deref(), Some("refused"));
    }

    #[test]
    fn a_lag_is_told_of_a_standby_alone_and_on_one_clock() {
        let facts = |role, leader: &str| Facts {
            heartbeat: Some(Heartbeat {
                sequence: 1,
                leader: leader.into(),
                at: Mono(1_000),
                epoch: Epoch(1),
            }),
            sampled: Mono(1_500),
            ..fixtures::facts(role)
        };
        let lag = |role, leader| lag_ms(&facts(role, leader), "me", Mono(3_500));
        assert_eq!(lag(Role::Standby, "me"), Some(2_500));
        assert_eq!(lag(Role::Standby, "another"), None);
        assert_eq!(lag(Role::Primary, "me"), None);
    }
}
