//! What the machine stores and shows. Pure: from what was seen and decided to a status.

use domicile_api::conditions::{Conditions, Reason, Summary};
use domicile_api::convert::{ConvertError, loss_seconds};
use domicile_api::policy::FailoverPolicy;
use domicile_api::policy_status::{
    FailoverPolicyStatus, Guarantees, GuardStatus, LeaseState, LeaseStatus, ReplicationStatus,
    SplitBrainGuarantee, StreamState,
};
use domicile_core::failover::{
    Decision, Look, LossBound, Observation, Proof, State, Stored, is_armed, predicted_loss,
    split_brain,
};
use domicile_core::health::Verdict;
use jiff::Timestamp;

use super::conditions::{describe, stream};
use crate::kube::events::Severity;
use crate::telemetry::{FailoverLabels, Metrics, StepLabels};

/// The status that says `next`, and why.
pub(super) fn status(
    policy: &FailoverPolicy,
    seen: &Observation,
    next: &Stored,
    decision: &Decision,
) -> FailoverPolicyStatus {
    let mut status = policy.status.clone().unwrap_or_default();
    status.store(next);
    status.observed_generation = policy.metadata.generation;
    status.home_region = Some(seen.settings.home.region.to_string());
    status.guarantees = Some(guarantees(seen, next, decision));
    status.lease = lease(seen, status.lease.take());
    status.replication = replication(seen, next);
    status.guards = guards(decision);
    status.current_operation = next
        .journal
        .as_ref()
        .map(|journal| journal.operation.clone());
    let mut conditions = Conditions::of(
        &status.conditions,
        policy.metadata.generation,
        seen.now.wall,
    );
    let split = split_brain(seen);
    let (summary, reason) = summary(seen, next, decision, split.is_some());
    let message = match &split {
        Some(split) if reason == Reason::TwoPrimaries => split,
        Some(_) | None => &decision.message,
    };
    conditions.summarize(summary, reason, message);
    describe(&mut conditions, seen, next, decision, split);
    status.conditions = conditions.into_list();
    status
}

/// The first status of a policy.
pub(super) fn adopted(
    policy: &FailoverPolicy,
    stored: &Stored,
    now: Timestamp,
) -> FailoverPolicyStatus {
    let mut status = policy.status.clone().unwrap_or_default();
    status.store(stored);
    let text = format!("{} is the primary; its first pass follows", stored.active);
    summarized(
        policy,
        status,
        Summary::Reconciling { ready: false },
        Reason::Progressing,
        &text,
        now,
    )
}

/// A policy that cannot begin.
pub(super) fn waiting(
    policy: &FailoverPolicy,
    reason: Reason,
    fact: &str,
    now: Timestamp,
) -> FailoverPolicyStatus {
    let status = policy.status.clone().unwrap_or_default();
    let summary = Summary::Stalled { ready: false };
    summarized(policy, status, summary, reason, fact, now)
}

/// A policy, or a stored state, that is not understood.
pub(super) fn misunderstood(
    policy: &FailoverPolicy,
    problem: &ConvertError,
    now: Timestamp,
) -> FailoverPolicyStatus {
    let reason = if problem.field.starts_with("status") {
        Reason::InvalidStatus
    } else {
        Reason::InvalidSpec
    };
    let status = policy.status.clone().unwrap_or_default();
    let summary = Summary::Stalled { ready: false };
    summarized(policy, status, summary, reason, &problem.to_string(), now)
}

fn summarized(
    policy: &FailoverPolicy,
    mut status: FailoverPolicyStatus,
    summary: Summary,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> FailoverPolicyStatus {
    status.observed_generation = policy.metadata.generation;
    let mut conditions = Conditions::of(&status.conditions, policy.metadata.generation, now);
    conditions.summarize(summary, reason, message);
    status.conditions = conditions.into_list();
    status
}

/// How loudly a change of state is told.
pub(super) fn severity(state: State, reason: &str) -> Severity {
    match state {
        State::Steady if reason != "Aborted" => Severity::Normal,
        State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Promoting
        | State::Rerouting
        | State::Verifying => Severity::Normal,
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval
        | State::Aborting
        | State::Halted => Severity::Warning,
    }
}

/// How loudly news of an old primary that came back are told.
pub(super) fn found_severity(reason: &str) -> Severity {
    match Reason::parse(reason) {
        Some(Reason::DumpRunning | Reason::DumpComplete) => Severity::Normal,
        _other => Severity::Warning,
    }
}

/// Counts the step that ended, and the move if it ended with it.
pub(super) fn figures(metrics: &Metrics, seen: &Observation, next: &Stored) {
    let before = &seen.stored;
    let step = StepLabels {
        step: before.state.to_string(),
    };
    if before.journal.is_some() {
        let seconds = seen.ages.state.about_ms() as f64 / 1000.0;
        metrics.failover_step.get_or_create(&step).observe(seconds);
    }
    let Some(journal) = before.journal.as_ref().filter(|_| next.journal.is_none()) else {
        return;
    };
    let moved = next
        .history
        .first()
        .is_some_and(|past| past.operation == journal.operation);
    let labels = FailoverLabels {
        policy: seen.settings.name.clone(),
        from: journal.from.to_string(),
        to: journal.to.to_string(),
        trigger: if journal.automatic {
            "Automatic"
        } else {
            "Manual"
        }
        .to_owned(),
        outcome: if moved { "Succeeded" } else { "Aborted" }.to_owned(),
    };
    metrics.failovers.get_or_create(&labels).inc();
}

/// What can be claimed now, and never more. Nothing is claimed while a move is under way.
fn guarantees(seen: &Observation, next: &Stored, decision: &Decision) -> Guarantees {
    let nothing = Guarantees {
        split_brain: SplitBrainGuarantee::None,
        data_loss_seconds: None,
    };
    if next.state != State::Steady {
        return nothing;
    }
    if next.claim.is_some() {
        return Guarantees {
            split_brain: SplitBrainGuarantee::SynchronousReplication,
            data_loss_seconds: Some(0),
        };
    }
    let Some(target) = &decision.candidate else {
        return nothing;
    };
    let (to_be_had, split_brain) = if is_armed(seen, target) {
        (Proof::LeaseExpired, SplitBrainGuarantee::LeaseExpired)
    } else {
        (Proof::Assumed, SplitBrainGuarantee::Assumed)
    };
    if to_be_had < seen.settings.minimum_proof {
        return nothing;
    }
    Guarantees {
        split_brain,
        data_loss_seconds: loss_seconds(predicted_loss(seen, target)),
    }
}

/// The lease as it was seen; what was known before when it could not be read.
fn lease(seen: &Observation, before: Option<LeaseStatus>) -> Option<LeaseStatus> {
    let watched = match &seen.lease {
        Look::Unread => return before,
        Look::Absent => return None,
        Look::There(watched) => watched,
    };
    let record = &watched.record;
    let fresh = seen.now.mono.since(watched.renewed) <= record.terms.fresh_ms();
    let state = match record.in_force() {
        _any if record.taken => LeaseState::Taken,
        _any if record.members.is_empty() => LeaseState::Disarmed,
        Some(_) if fresh => LeaseState::Pledged,
        Some(_) => LeaseState::Silent,
        None => LeaseState::Offered,
    };
    Some(LeaseStatus {
        state,
        holder: record.holder.to_string(),
        epoch: record.epoch.0,
        members: record.members.iter().map(ToString::to_string).collect(),
        survives_hub: record.in_force().is_some_and(|pledge| pledge.promises),
    })
}

fn replication(seen: &Observation, next: &Stored) -> Vec<ReplicationStatus> {
    let standbys = seen
        .servers
        .values()
        .filter(|view| view.server.region != next.active);
    standbys
        .map(|view| {
            let state = stream(view);
            let synchronous = next
                .claim
                .as_ref()
                .is_some_and(|claim| claim.standby == view.server.region);
            let bound = match state {
                _any if synchronous => LossBound::Seconds(0),
                StreamState::Streaming => predicted_loss(seen, &view.server.region),
                StreamState::Broken | StreamState::Unknown => LossBound::Unknown,
            };
            ReplicationStatus {
                region: view.server.region.to_string(),
                state,
                synchronous,
                loss_bound_seconds: loss_seconds(bound),
            }
        })
        .collect()
}

/// A guard's message within what the schema takes: names of regions may be long.
fn short(message: &str) -> &str {
    &message[..message.floor_char_boundary(512)]
}

fn guards(decision: &Decision) -> Vec<GuardStatus> {
    let guards = decision.guards.iter();
    guards
        .map(|guard| GuardStatus {
            name: guard.name.as_str().to_owned(),
            ok: guard.ok,
            message: short(&guard.message).to_owned(),
        })
        .collect()
}

fn summary(
    seen: &Observation,
    next: &Stored,
    decision: &Decision,
    split: bool,
) -> (Summary, Reason) {
    if seen.conflict.is_some() && next.journal.is_none() {
        let gone = seen
            .servers
            .values()
            .any(|view| view.jurisdiction.is_none());
        let reason = if gone {
            Reason::RegionNotFound
        } else {
            Reason::ServerInTwoPolicies
        };
        return (Summary::Stalled { ready: false }, reason);
    }
    let word = Reason::parse(next.state.as_str()).unwrap_or(Reason::Progressing);
    let up = seen
        .server(&next.active)
        .is_some_and(|view| view.verdict == Verdict::Up);
    let refused = Reason::parse(decision.reason).unwrap_or(Reason::NotObserved);
    match next.state {
        // Nobody can write there, though the server answers.
        State::Steady if refused == Reason::AgentSilent => {
            (Summary::Stalled { ready: false }, refused)
        }
        // The tenants are served, and somebody has to act.
        State::Steady if up && split => (Summary::Stalled { ready: true }, Reason::TwoPrimaries),
        State::Steady if up => (Summary::Ready, word),
        State::Steady => (Summary::NotReady, refused),
        State::Suspect => (Summary::Reconciling { ready: true }, word),
        State::Outage
        | State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Aborting
        | State::Promoting
        | State::Rerouting
        | State::Verifying => (Summary::Reconciling { ready: false }, word),
        State::Blocked | State::AwaitingApproval | State::Halted => {
            (Summary::Stalled { ready: false }, word)
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
