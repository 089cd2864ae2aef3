//! The one function that decides. Pure and total: whatever was seen, there is an answer.

use std::collections::BTreeSet;

use super::guards::{self, Question};
use super::observation::{Answer, Decision, Guard, Observation, Refusal, ServerView};
use super::state::{MoveKind, State, Stored};
use super::{calm, catching, moving, outage, promotion, requests, synchrony};
use crate::facts::{Facts, Role};

/// How soon the machine looks again while a move is under way, in milliseconds.
pub(super) const SOON_MS: u64 = 200;

/// What to do now, why, and what every guard says.
pub fn decide(seen: &Observation) -> Decision {
    let candidate = seen
        .journal()
        .map(|journal| journal.to.clone())
        .filter(|to| *to != seen.stored.active)
        .or_else(|| guards::candidate(seen));
    let nothing_waived = BTreeSet::new();
    let all_guards = candidate.as_ref().map_or_else(Vec::new, |target| {
        guards::evaluate(
            seen,
            Question {
                target,
                kind: MoveKind::Failover,
                automatic: true,
                accept: &nothing_waived,
            },
        )
    });
    let (outcome, refusals) = requests::consider(seen, &all_guards, candidate.as_ref());
    let Outcome {
        answer,
        reason,
        message,
    } = outcome;
    Decision {
        answer,
        reason,
        message,
        guards: all_guards,
        candidate,
        refusals,
    }
}

/// The answer of one state, with its reason.
pub(super) struct Outcome {
    pub answer: Answer,
    pub reason: &'static str,
    pub message: String,
}

impl Outcome {
    pub(super) fn new(answer: Answer, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            answer,
            reason,
            message: message.into(),
        }
    }
}

/// The state's own answer, when no operation decides.
pub(super) fn by_state(
    seen: &Observation,
    guards: &[Guard],
    candidate: Option<&crate::names::RegionName>,
) -> Outcome {
    if let Some(outcome) = calm::first_of_all(seen).or_else(|| synchrony::disproven(seen)) {
        return outcome;
    }
    match seen.stored.state {
        State::Steady => calm::steady(seen),
        State::Suspect => outage::suspect(seen, guards),
        State::Outage => outage::outage(seen, guards, candidate),
        State::Blocked => outage::blocked(seen, guards),
        State::AwaitingApproval => outage::awaiting_approval(seen, guards),
        State::Draining => moving::draining(seen),
        State::Fencing => moving::fencing(seen),
        State::CatchingUp => catching::catching_up(seen),
        State::Aborting => moving::aborting(seen),
        State::Promoting => promotion::promoting(seen),
        State::Rerouting => promotion::rerouting(seen),
        State::Verifying => promotion::verifying(seen),
        State::Halted => outage::halted(seen),
    }
}

/// True when this server takes no tenant's write under any epoch up to the stored one: it said so
/// itself, at the newest epoch, and no writer is left.
pub(super) fn is_fenced(seen: &Observation, facts: &Facts) -> bool {
    facts
        .authority
        .is_some_and(|row| row.epoch == seen.stored.epoch && !row.writable)
        && facts.tenant_sessions == 0
        && facts.open_logins == 0
}

/// A server other than `keep` that answers, takes writes by its own account, and is not fenced.
pub(super) fn stray_primary<'a>(
    seen: &'a Observation,
    keep: &crate::names::RegionName,
) -> Option<(&'a ServerView, &'a Facts)> {
    seen.servers
        .values()
        .filter(|view| view.server.region != *keep)
        .filter_map(|view| view.now().map(|facts| (view, facts)))
        .find(|(_, facts)| facts.role == Role::Primary && !is_fenced(seen, facts))
}

/// Freezes automation: a contradiction, or a failure after the point of no return.
pub(super) fn halt(seen: &Observation, reason: &'static str, message: String) -> Outcome {
    let stored = Stored {
        claim: None,
        ..seen.stored.enter(State::Halted, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

/// Refuses `operation` with a reason.
pub(super) fn refuse(operation: &str, reason: &'static str, message: String) -> Refusal {
    Refusal {
        operation: operation.to_owned(),
        reason,
        message,
    }
}

/// The messages of the guards that forbid.
pub(super) fn objections(guards: &[Guard]) -> String {
    let texts: Vec<_> = guards
        .iter()
        .filter(|g| !g.ok)
        .map(|g| format!("{}: {}", g.name.as_str(), g.message))
        .collect();
    texts.join("; ")
}
