//! The one function that decides. Pure and total: whatever was seen, there is an answer.

use std::collections::BTreeSet;

use super::guards;
use super::observation::{Answer, Decision, Guard, Observation};
use super::outcome::Outcome;
use super::question::Question;
use super::state::{MoveKind, State, Stored};
use super::{calm, catching, moving, outage, promotion, requests, standby, synchrony};
use crate::names::RegionName;

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
    let (started, refusals) = requests::consider(seen);
    let Outcome {
        answer,
        reason,
        message,
    } = started.unwrap_or_else(|| by_state(seen, &all_guards, candidate.as_ref()));
    let answer = match answer {
        Answer::Move(next) => Answer::Move(Box::new(on_its_timeline(seen, *next))),
        Answer::Work(_) | Answer::Wait(_) => answer,
    };
    Decision {
        answer,
        reason,
        message,
        guards: all_guards,
        candidate,
        refusals,
    }
}

/// With the timeline of the active server as last seen; of a new one nothing was known before.
fn on_its_timeline(seen: &Observation, next: Stored) -> Stored {
    let before = if next.active == seen.stored.active {
        next.timeline
    } else {
        0
    };
    let timeline = standby::written_timeline(seen, &next.active, before);
    Stored { timeline, ..next }
}

/// The state's own answer, when no operation decides.
fn by_state(seen: &Observation, guards: &[Guard], candidate: Option<&RegionName>) -> Outcome {
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
