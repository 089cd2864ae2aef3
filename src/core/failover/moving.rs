//! The states of a move up to its point of no return, and the way back.

use super::begin::epoch_after;
use super::catching;
use super::expiry;
use super::guards;
use super::leases;
use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::{Outcome, SOON_MS, halt, is_fenced};
use super::state::{Journal, MoveKind, Proof, State, Stored};
use crate::facts::{Facts, Lsn, Role};
use crate::health::{ProbeFailure, Verdict};

pub(super) fn draining(seen: &Observation) -> Outcome {
    let Some((_, from)) = journal_and(seen, |j| &j.from) else {
        return lost(seen);
    };
    if frozen_too_long(seen) {
        return abort(
            seen,
            "FrozenTooLong",
            "`spec.switchover.maxFreezeSeconds` has passed",
        );
    }
    let Some(facts) = from.now() else {
        return if from.verdict == Verdict::Down {
            abort(seen, "PrimaryLost", "the primary was lost while draining")
        } else {
            Outcome::new(
                Answer::Wait(SOON_MS),
                "PrimarySilent",
                "waiting for the primary",
            )
        };
    };
    let closed = facts
        .authority
        .is_some_and(|a| a.epoch == seen.stored.epoch && !a.writable);
    if !closed || facts.open_logins > 0 {
        let step = Step::Drain(from.server.clone(), seen.stored.epoch);
        return Outcome::new(Answer::Work(step), "Draining", "refusing new sessions");
    }
    let had_their_time = seen.ages.started.about_ms() >= ms(seen.settings.drain_seconds);
    if facts.tenant_sessions == 0 || had_their_time {
        let stored = seen.stored.enter(State::Fencing, seen.now.wall);
        return Outcome::new(
            Answer::Move(Box::new(stored)),
            "Drained",
            "old sessions had their time",
        );
    }
    Outcome::new(
        Answer::Wait(SOON_MS),
        "Draining",
        "waiting for sessions to end",
    )
}

pub(super) fn fencing(seen: &Observation) -> Outcome {
    let Some((journal, from)) = journal_and(seen, |j| &j.from) else {
        return lost(seen);
    };
    let planned = journal.kind != MoveKind::Failover;
    if planned && frozen_too_long(seen) {
        return abort(
            seen,
            "FrozenTooLong",
            "`spec.switchover.maxFreezeSeconds` has passed",
        );
    }
    if journal.automatic && !planned && from.live && from.verdict == Verdict::Up {
        return abort(seen, "Recovered", "the primary is healthy again");
    }
    if let Some(outcome) = leases::take(seen, journal) {
        return outcome;
    }
    if let Some(facts) = from.now() {
        if facts.role == Role::Standby {
            return abort(seen, "NotPrimary", "the old primary is a standby by now");
        }
        if !is_fenced(seen, facts) {
            if !planned && waited_too_long(seen) {
                let message = "the old primary answers and could not be fenced";
                return abort(seen, "FrozenTooLong", message);
            }
            let step = Step::Fence(from.server.clone(), seen.stored.epoch);
            return Outcome::new(
                Answer::Work(step),
                "Fencing",
                "ending the tenants' sessions",
            );
        }
        return fenced(seen, journal, Proof::Confirmed, Some(facts.position));
    }
    if planned {
        return if from.verdict == Verdict::Down {
            abort(
                seen,
                "PrimaryLost",
                "the primary was lost before it confirmed the fence",
            )
        } else {
            Outcome::new(
                Answer::Wait(SOON_MS),
                "PrimarySilent",
                "waiting for the primary",
            )
        };
    }
    unconfirmed(seen, journal, from)
}

/// The fence of a failover whose old primary does not answer: the best proof that is to be had.
fn unconfirmed(seen: &Observation, journal: &Journal, from: &ServerView) -> Outcome {
    if refuses(journal, from) {
        let message = "the primary lives: it refuses Domicile's login";
        return give_up(seen, "VantagesDisagree", message);
    }
    if may_still_answer(seen, journal, from) {
        let message = "a weaker proof needs the verdict that the primary is lost";
        return Outcome::new(Answer::Wait(SOON_MS), "PrimarySilent", message);
    }
    let proof = guards::available_proof(seen, &journal.to);
    let weaker = proof < Proof::LeaseExpired;
    if let Some(outcome) = weaker
        .then(|| expiry::await_expiry(seen, journal))
        .flatten()
    {
        return outcome;
    }
    if !guards::proof_allowed(seen, proof, &journal.accept) {
        return give_up(
            seen,
            "FencingUnproven",
            "the proof is weaker than the policy's minimum",
        );
    }
    fenced(seen, journal, proof, None)
}

/// A server that refuses the login is alive, and no machine moves its tenants.
pub(super) fn refuses(journal: &Journal, from: &ServerView) -> bool {
    match from.verdict {
        Verdict::Refusing(failure) => journal.automatic && failure != ProbeFailure::WrongServer,
        Verdict::Unknown
        | Verdict::Up
        | Verdict::Failing { .. }
        | Verdict::Down
        | Verdict::Recovering { .. } => false,
    }
}

/// One failed read is no loss: not of a server that answered its last probe, not of one that this
/// leader has not probed yet, and not of one that was healthy when a person asked for the move.
fn may_still_answer(seen: &Observation, journal: &Journal, from: &ServerView) -> bool {
    match from.verdict {
        // What cannot even be probed is not waited for without end.
        Verdict::Unknown => !waited_too_long(seen),
        Verdict::Up | Verdict::Recovering { .. } => true,
        Verdict::Failing { .. } => journal.outage_since.is_none(),
        Verdict::Down | Verdict::Refusing(_) => false,
    }
}

fn fenced(seen: &Observation, journal: &Journal, proof: Proof, last: Option<Lsn>) -> Outcome {
    let next = Journal {
        proof: Some(proof),
        final_position: last,
        ..journal.clone()
    };
    let stored = Stored {
        journal: Some(next),
        ..seen.stored.enter(State::CatchingUp, seen.now.wall)
    };
    let message = format!("{} cannot acknowledge writes: {proof}", journal.from);
    // A standby that holds all of it already is not waited for: no pass, no write.
    let next = Observation {
        stored: stored.clone(),
        ..seen.clone()
    };
    let caught_up = catching::catching_up(&next);
    if let Answer::Move(further) = &caught_up.answer
        && further.state == State::Promoting
    {
        let message = format!("{message}; {}", caught_up.message);
        return Outcome {
            message,
            ..caught_up
        };
    }
    Outcome::new(Answer::Move(Box::new(stored)), "Fenced", message)
}

pub(super) fn still_a_copy(journal: &Journal, facts: &Facts) -> bool {
    facts.role == Role::Standby
        && facts.system_identifier == journal.system_identifier
        && facts.timeline == journal.timeline
}

pub(super) fn aborting(seen: &Observation) -> Outcome {
    let Some((journal, from)) = journal_and(seen, |j| &j.from) else {
        return lost(seen);
    };
    if let Some(outcome) = leases::give_back(seen, journal) {
        return outcome;
    }
    match from.now() {
        Some(facts) if facts.role == Role::Standby => halt(
            seen,
            "Halted",
            format!(
                "{} should get its right back and is a standby",
                journal.from
            ),
        ),
        Some(facts) => {
            let owned = facts
                .authority
                .is_some_and(|row| row.epoch == seen.stored.epoch && row.writable);
            if owned {
                let stored = Stored {
                    journal: None,
                    evidence: None,
                    ..seen.stored.enter(State::Steady, seen.now.wall)
                };
                let message = format!("{} serves as before", journal.from);
                return Outcome::new(Answer::Move(Box::new(stored)), "Aborted", message);
            }
            let step = Step::TakeAuthority(from.server.clone(), seen.stored.epoch);
            Outcome::new(
                Answer::Work(step),
                "Aborting",
                "giving the right to write back",
            )
        }
        None if from.verdict == Verdict::Down => give_up(
            seen,
            "PrimaryLost",
            "the primary was lost before it got its right to write back",
        ),
        None => Outcome::new(
            Answer::Wait(SOON_MS),
            "PrimarySilent",
            "waiting for the primary",
        ),
    }
}

pub(super) fn journal_and<'a>(
    seen: &'a Observation,
    side: impl Fn(&'a Journal) -> &'a crate::names::RegionName,
) -> Option<(&'a Journal, &'a ServerView)> {
    let journal = seen.journal()?;
    Some((journal, seen.server(side(journal))?))
}

/// This leader has waited in this state for long enough. Another begins to wait anew.
pub(super) fn waited_too_long(seen: &Observation) -> bool {
    seen.ages.state.at_least_ms() > ms(seen.settings.max_freeze_seconds)
}

/// A planned move keeps tenants from writing for too long, under all its leaders. Where their wall
/// clocks differ it is given up earlier or later, which is safe at any time.
pub(super) fn frozen_too_long(seen: &Observation) -> bool {
    seen.ages.started.about_ms() > ms(seen.settings.max_freeze_seconds)
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1_000
}

/// Before promotion: the old primary gets its right back, under the next epoch, so that nothing of
/// the abandoned move can act any more.
pub(super) fn abort(seen: &Observation, reason: &'static str, message: &str) -> Outcome {
    let stored = Stored {
        epoch: epoch_after(seen),
        ..seen.stored.enter(State::Aborting, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

/// Before promotion, with the old primary gone: the move ends, the outage goes on under the next
/// epoch.
pub(super) fn give_up(seen: &Observation, reason: &'static str, message: &str) -> Outcome {
    let stored = Stored {
        epoch: epoch_after(seen),
        journal: None,
        ..seen.stored.enter(State::Outage, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

pub(super) fn give_up_or_abort(
    seen: &Observation,
    planned: bool,
    reason: &'static str,
    message: &str,
) -> Outcome {
    let from_answers = seen
        .journal()
        .and_then(|j| seen.server(&j.from))
        .is_some_and(|v| v.live);
    if planned || from_answers {
        abort(seen, reason, message)
    } else {
        give_up(seen, reason, message)
    }
}

/// The journal is missing, or names a region that is not the policy's any more. Before promotion a
/// move without its target is undone.
pub(super) fn lost(seen: &Observation) -> Outcome {
    let undoable = match seen.stored.state {
        State::Draining | State::Fencing | State::CatchingUp => true,
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval
        | State::Aborting
        | State::Promoting
        | State::Rerouting
        | State::Verifying
        | State::Halted => false,
    };
    if undoable && journal_and(seen, |j| &j.from).is_some() {
        return abort(
            seen,
            "StandbyLost",
            "the standby is no server of the policy any more",
        );
    }
    halt(
        seen,
        "Halted",
        "the journal of the move under way is missing or names an unknown region".into(),
    )
}
