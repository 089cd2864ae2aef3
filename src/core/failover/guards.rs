//! The guards: each asks one question, all are always asked.

use super::calm;
use super::expiry;
use super::law::jurisdiction;
use super::leases;
use super::observation::{Guard, GuardName, Observation, ServerView};
use super::question::{Question, guard};
use super::standby::standby_eligible;
use super::state::{
    Accept, FailbackMode, Journal, LossBound, Mode, MoveKind, Promotion, Proof, Settings, State,
};
use super::synchrony;
use super::vantages;
use crate::facts::Facts;
use crate::health::Verdict;
use crate::names::RegionName;
use crate::time::Mono;
use std::collections::BTreeSet;

/// All guards for one question, in order.
pub(super) fn evaluate(seen: &Observation, ask: Question<'_>) -> Vec<Guard> {
    vec![
        armed(seen, ask),
        second_vantage(seen, ask),
        not_isolated(seen, ask),
        standby_eligible(seen, ask),
        jurisdiction(seen, ask),
        loss(seen, ask),
        cooldown(seen, ask),
        exclusive(seen),
        proof(seen, ask),
    ]
}

/// The standby that an automatic move would choose: the best that is eligible and lawful, else the
/// best of all, so that its guards can say what is wrong.
pub(super) fn candidate(seen: &Observation) -> Option<RegionName> {
    let others: Vec<_> = seen
        .settings
        .servers()
        .into_iter()
        .filter(|s| s.server.region != seen.stored.active && s.promotion != Promotion::MustNot)
        .map(|s| s.server.region)
        .collect();
    let none = BTreeSet::new();
    let mut able = others.iter().filter(|region| {
        let ask = Question {
            target: region,
            kind: MoveKind::Failover,
            automatic: true,
            accept: &none,
        };
        standby_eligible(seen, ask).ok && jurisdiction(seen, ask).ok
    });
    let first = able.next();
    // The one that holds every acknowledged write comes before any preference.
    let whole = first.into_iter().chain(able).find(|region| {
        let claim = seen.stored.claim.as_ref().map(|claim| &claim.standby);
        Some(*region) == claim.or_else(|| synchronous(seen))
    });
    whole.or(first).or_else(|| others.first()).cloned()
}

/// The region whose confirmation each commit needed before the outage.
fn synchronous(seen: &Observation) -> Option<&RegionName> {
    seen.stored.evidence.as_ref()?.synchronous.as_ref()
}

/// The proof that a move to `target` could rest on as things stand.
pub(super) fn available_proof(seen: &Observation, target: &RegionName) -> Proof {
    if seen.active().is_some_and(|active| active.live) {
        return Proof::Confirmed;
    }
    if synchronous(seen) == Some(target) {
        Proof::SynchronousReplication
    } else if seen
        .journal()
        .is_some_and(|journal| expiry::is_over(seen, journal))
    {
        Proof::LeaseExpired
    } else {
        Proof::Assumed
    }
}

/// The proof that a move to `target` will rest on once its lease is taken and its time is over.
pub(super) fn coming_proof(seen: &Observation, target: &RegionName) -> Proof {
    let now = available_proof(seen, target);
    let armed = expiry::was_armed(seen, target);
    if armed {
        now.max(Proof::LeaseExpired)
    } else {
        now
    }
}

/// Worst-case loss of a move to `target` that rests on `proof`.
///
/// Under `Assumed` the old primary may have acknowledged writes until now, under `LeaseExpired`
/// until its lease was over. The bound runs from the last heartbeat that the target replayed, on
/// the one clock that wrote it. A heartbeat of another leader, or none, is unknown.
pub(super) fn worst_loss(seen: &Observation, target: &RegionName, proof: Proof) -> LossBound {
    match proof {
        Proof::Confirmed | Proof::SynchronousReplication => LossBound::Seconds(0),
        Proof::LeaseExpired => expiry::last_write(seen, target)
            .map_or(LossBound::Unknown, |last| loss_until(seen, target, last)),
        Proof::Assumed => loss_until(seen, target, seen.now.mono),
    }
}

/// The loss when the old primary acknowledged its last write at `last`.
fn loss_until(seen: &Observation, target: &RegionName, last: Mono) -> LossBound {
    seen.server(target)
        .and_then(ServerView::now)
        .and_then(|facts| facts.heartbeat.as_ref())
        .filter(|beat| beat.leader == seen.leader)
        .map_or(LossBound::Unknown, |beat| {
            let seconds = last.since(beat.at).div_ceil(1000);
            LossBound::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
}

/// The loss of a promotion of the journal's target at this moment, with the old primary silent.
pub(super) fn loss_by_now(seen: &Observation, journal: &Journal, facts: &Facts) -> LossBound {
    let whole = match journal.final_position {
        Some(last) => facts.position >= last,
        None => synchronous(seen) == Some(&journal.to),
    };
    if whole {
        LossBound::Seconds(0)
    } else if journal.proof == Some(Proof::LeaseExpired) {
        // It takes no writes any more, so nothing is added by waiting.
        journal.loss.unwrap_or(LossBound::Unknown)
    } else {
        worst_loss(seen, &journal.to, Proof::Assumed)
    }
}

/// True when `loss` is within the objective or the asker waives it.
pub(super) fn loss_allowed(seen: &Observation, loss: LossBound, accept: &BTreeSet<Accept>) -> bool {
    loss <= LossBound::Seconds(seen.settings.max_data_loss_seconds)
        || accept.contains(&Accept::DataLoss)
}

/// True when `proof` is strong enough or the asker waives it.
///
/// `Confirmed` as a minimum is for planned moves: a dead server confirms nothing.
pub(super) fn proof_allowed(seen: &Observation, proof: Proof, accept: &BTreeSet<Accept>) -> bool {
    proof >= seen.settings.minimum_proof || accept.contains(&Accept::UnprovenFencing)
}

fn armed(seen: &Observation, ask: Question<'_>) -> Guard {
    let policy = &seen.settings;
    let result = if !ask.automatic {
        Ok("a person asked".to_owned())
    } else if seen.active().is_some_and(|active| active.suspended) {
        let active = &seen.stored.active;
        Err(format!(
            "Region {active} is suspended: its `spec.state` says so"
        ))
    } else if policy.paused {
        Err(format!(
            "`spec.paused` is true; run: kubectl domicile resume {}",
            policy.name
        ))
    } else if ask.kind == MoveKind::Failover && policy.mode == Mode::Manual {
        Err(format!(
            "`spec.mode` is Manual: a person starts a failover, by kubectl domicile failover {}",
            policy.name
        ))
    } else if ask.kind == MoveKind::Failback && policy.failback != FailbackMode::Automatic {
        Err(format!("`spec.failback.mode` is {}", policy.failback))
    } else {
        Ok(format!("`spec.mode` is {}", policy.mode))
    };
    guard(GuardName::Armed, result)
}

fn second_vantage(seen: &Observation, ask: Question<'_>) -> Guard {
    let result = if ask.kind != MoveKind::Failover || !ask.automatic {
        Ok("not needed: a person asked, or the move is planned".to_owned())
    } else {
        vantages::agree(seen, ask.target)
    };
    guard(GuardName::SecondVantage, result)
}

fn not_isolated(seen: &Observation, ask: Question<'_>) -> Guard {
    let verdicts = || {
        let mine = seen.servers.iter().filter(|(_, server)| !server.suspended);
        mine.map(|(region, server)| (region, server.verdict)).chain(
            seen.others
                .iter()
                .map(|(region, verdict)| (region, *verdict)),
        )
    };
    let regions: BTreeSet<_> = verdicts().map(|(region, _)| region).collect();
    let dead: BTreeSet<_> = verdicts()
        .filter(|(_, v)| *v == Verdict::Down)
        .map(|(region, _)| region)
        .collect();
    let another_answers = verdicts()
        .any(|(r, v)| *r != seen.stored.active && matches!(v, Verdict::Up | Verdict::Refusing(_)));
    let result = if !ask.automatic {
        Ok("a person asked".to_owned())
    } else if !another_answers {
        Err("no other region answers: the operator itself may be cut off".to_owned())
    } else if dead.len() * 2 > regions.len() {
        Err("more than half of all regions look dead: the operator may be cut off".to_owned())
    } else {
        Ok("other regions answer".to_owned())
    };
    guard(GuardName::NotIsolated, result)
}

fn loss(seen: &Observation, ask: Question<'_>) -> Guard {
    let limit = seen.settings.max_data_loss_seconds;
    let bound = if ask.kind == MoveKind::Failover && seen.active().is_some_and(|a| a.live) {
        predicted_loss(seen, ask.target)
    } else {
        worst_loss(seen, ask.target, coming_proof(seen, ask.target))
    };
    let result = if bound <= LossBound::Seconds(limit) {
        Ok(format!(
            "the loss bound is within `spec.objectives.maxDataLossSeconds`, {limit} s"
        ))
    } else if ask.accept.contains(&Accept::DataLoss) {
        Ok("the operation accepts DataLoss".to_owned())
    } else {
        Err(format!(
            "the loss bound is unknown or above `spec.objectives.maxDataLossSeconds`, {limit} s; \
             an operation can accept DataLoss"
        ))
    };
    guard(GuardName::LossBound, result)
}

/// What an automatic failover would lose at most if the active server died now: nothing under
/// synchronous replication, else one heartbeat plus the time until it is fenced, by its agent at
/// the end of its lease, or by being overtaken once it is noticed. Unknown when the standby
/// has replayed no heartbeat for longer than one that follows can be behind.
pub fn predicted_loss(seen: &Observation, target: &RegionName) -> LossBound {
    let policy = &seen.settings;
    if seen
        .stored
        .claim
        .as_ref()
        .is_some_and(|claim| claim.standby == *target)
    {
        return LossBound::Seconds(0);
    }
    if lags(seen, target) {
        return LossBound::Unknown;
    }
    let until_fenced = if leases::is_armed(seen, target) {
        let seen_late = policy.interval_seconds.min(leases::LOOK_SECONDS);
        policy.lease.wait_seconds().saturating_add(seen_late)
    } else {
        policy
            .interval_seconds
            .saturating_mul(policy.failure_threshold)
            .saturating_add(policy.timeout_seconds)
    };
    LossBound::Seconds(until_fenced.saturating_add(policy.heartbeat_seconds))
}

/// How old the last replayed heartbeat of a standby that keeps up may look, in seconds: three
/// heartbeats, and the time between two reads.
pub(super) fn lag_limit_seconds(policy: &Settings) -> u32 {
    policy
        .interval_seconds
        .saturating_mul(2)
        .saturating_add(policy.timeout_seconds)
        .saturating_add(policy.heartbeat_seconds.saturating_mul(3))
}

/// True when the last heartbeat of this leader that the standby has replayed is old although
/// heartbeats are written.
fn lags(seen: &Observation, target: &RegionName) -> bool {
    let policy = &seen.settings;
    let beating = matches!(
        seen.stored.state,
        State::Steady | State::Suspect | State::Outage
    );
    let limit_ms = u64::from(lag_limit_seconds(policy)) * 1000;
    let facts = seen.server(target).and_then(ServerView::now);
    let beat = facts.and_then(|facts| facts.heartbeat.as_ref());
    beating
        && beat.is_some_and(|beat| {
            beat.leader == seen.leader && seen.now.mono.since(beat.at) > limit_ms
        })
}

fn cooldown(seen: &Observation, ask: Question<'_>) -> Guard {
    let past = seen.stored.history.iter().enumerate();
    let automatic = past
        .filter(|(_, past)| past.kind == MoveKind::Failover && past.automatic)
        .filter(|(place, _)| calm::lately(seen, *place))
        .count();
    let running = seen.stored.cooldown_until;
    let running = running.filter(|_| seen.ages.cooldown_left_ms > 0);
    let result = if ask.kind != MoveKind::Failover {
        Ok("planned moves know no cooldown".to_owned())
    } else if ask.accept.contains(&Accept::Cooldown) {
        Ok("the operation accepts Cooldown".to_owned())
    } else if let Some(until) = running {
        Err(format!(
            "a failover finished lately; the cooldown ends at {until}"
        ))
    } else if ask.automatic && automatic >= seen.settings.max_automatic_per_day as usize {
        Err("`spec.damping.maxAutomaticPerDay` is reached".to_owned())
    } else {
        Ok("no cooldown runs".to_owned())
    };
    guard(GuardName::Cooldown, result)
}

fn exclusive(seen: &Observation) -> Guard {
    let result = seen
        .conflict
        .clone()
        .map_or_else(|| Ok("no other policy has these servers".to_owned()), Err);
    guard(GuardName::Exclusive, result)
}

fn proof(seen: &Observation, ask: Question<'_>) -> Guard {
    let minimum = seen.settings.minimum_proof;
    let proof = match ask.kind {
        MoveKind::Failover if ask.automatic && seen.active().is_some_and(|a| a.live) => {
            let claimed = seen
                .stored
                .claim
                .as_ref()
                .is_some_and(|c| c.standby == *ask.target);
            if claimed {
                Proof::SynchronousReplication
            } else if leases::is_armed(seen, ask.target) {
                Proof::LeaseExpired
            } else {
                Proof::Assumed
            }
        }
        MoveKind::Failover => coming_proof(seen, ask.target),
        MoveKind::Switchover | MoveKind::Failback => Proof::Confirmed,
    };
    let result = if proof >= minimum {
        Ok(format!(
            "{proof} is at least `spec.fencing.minimumProof`, {minimum}"
        ))
    } else if ask.accept.contains(&Accept::UnprovenFencing) {
        Ok(format!(
            "the operation accepts UnprovenFencing; the proof is {proof}"
        ))
    } else {
        let why = match minimum {
            Proof::SynchronousReplication => Some(synchrony::unclaimed(seen, ask.target)),
            Proof::LeaseExpired => leases::unarmed(seen, ask.target),
            Proof::Assumed | Proof::Confirmed => None,
        };
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        Err(format!(
            "only {proof} is to be had and `spec.fencing.minimumProof` is {minimum}{why}; an \
             operation can accept UnprovenFencing"
        ))
    };
    guard(GuardName::FencingProof, result)
}
