//! The states after the point of no return: promotion, repointing, verification.

use super::guards;
use super::law;
use super::moving::{journal_and, lost, still_a_copy};
use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::{Outcome, SOON_MS, halt, stray_primary};
use super::returned::Fork;
use super::state::{HISTORY_LIMIT, Journal, LossBound, MoveKind, Past, Proof, State, Stored};
use crate::facts::{Authority, Facts, Role};
use crate::health::Verdict;

/// How long a promotion may take before a person is asked, in milliseconds.
const PROMOTION_LIMIT_MS: u64 = 120_000;

/// How long a promotion may take before its loss bound is looked at again, in milliseconds.
const PROMOTION_MS: u64 = 10_000;

/// How long workloads may take to turn round before the move goes on without the last ones, in
/// milliseconds. Their placements go on trying.
const REROUTE_LIMIT_MS: u64 = 120_000;

/// From here on nothing is undone: the standby is promoted, or a person must look.
pub(super) fn promoting(seen: &Observation) -> Outcome {
    let Some((journal, to)) = journal_and(seen, |j| &j.to) else {
        return lost(seen);
    };
    let late = seen.ages.state.at_least_ms() > PROMOTION_LIMIT_MS;
    let stop = |fact: String| halt(seen, "Halted", format!("{} {fact}", journal.to));
    let Some(facts) = to.now() else {
        return if late {
            stop("does not answer since its promotion began".to_owned())
        } else {
            let wait = Answer::Wait(SOON_MS);
            Outcome::new(wait, "StandbySilent", "waiting for the new primary")
        };
    };
    if let Some(row) = facts.authority.filter(|row| row.epoch > seen.stored.epoch) {
        return stop(format!("holds the newer epoch {}", row.epoch));
    }
    match facts.role {
        Role::Standby if late => stop("was not promoted in time".to_owned()),
        Role::Standby => promote(seen, journal, to, facts),
        Role::Primary if facts.timeline <= journal.timeline => {
            stop("is a primary on an old timeline".to_owned())
        }
        Role::Primary => promoted(seen, journal, to, facts),
    }
}

/// The guards once more, on live reads; then the promotion.
fn promote(seen: &Observation, journal: &Journal, to: &ServerView, facts: &Facts) -> Outcome {
    if let Some(message) = law::unlawful(seen, &journal.to) {
        return halt(seen, "Halted", message);
    }
    if !still_a_copy(journal, facts) {
        let message = format!("{} is no copy of {} any more", journal.to, journal.from);
        return halt(seen, "Halted", message);
    }
    if let Some((old, _)) = stray_primary(seen, &journal.to) {
        let step = Step::Fence(old.server.clone(), seen.stored.epoch);
        let message = "the old primary answers: fence first";
        return Outcome::new(Answer::Work(step), "Fencing", message);
    }
    if let Some(outcome) = outdated(seen, journal, facts) {
        return outcome;
    }
    let step = Step::Promote(to.server.clone(), seen.stored.epoch);
    let message = format!("promoting {}", journal.to);
    Outcome::new(Answer::Work(step), "Promoting", message)
}

/// What the decision to promote did not know: an old primary that answers, and so can hand over its
/// last writes, or time that has passed in which it may have acknowledged more.
fn outdated(seen: &Observation, journal: &Journal, facts: &Facts) -> Option<Outcome> {
    let old = seen.server(&journal.from).and_then(ServerView::now);
    let store = |journal: Journal, reason, message: String| {
        let stored = Stored {
            journal: Some(journal),
            ..seen.stored.clone()
        };
        Some(Outcome::new(
            Answer::Move(Box::new(stored)),
            reason,
            message,
        ))
    };
    if let Some(old) = old.filter(|f| f.role == Role::Primary) {
        let Some(last) = journal.final_position else {
            let known = Journal {
                proof: Some(Proof::Confirmed),
                final_position: Some(old.position),
                ..journal.clone()
            };
            let message = format!("{} answers and is fenced", journal.from);
            return store(known, "Fenced", message);
        };
        let message = "the standby replays the old primary's last writes";
        return (facts.position < last)
            .then(|| Outcome::new(Answer::Wait(SOON_MS), "Replaying", message));
    }
    let known = journal.loss.unwrap_or(LossBound::Unknown);
    let loss = match guards::loss_by_now(seen, journal, facts) {
        // How long ago another leader decided is not known, and so neither is what was lost since.
        LossBound::Unknown => seen
            .ages
            .bounded
            .at_most_ms()
            .map_or(LossBound::Unknown, |passed| later(known, passed)),
        loss @ LossBound::Seconds(_) => loss,
    };
    if loss <= later(known, PROMOTION_MS) {
        return None;
    }
    if !guards::loss_allowed(seen, loss, &journal.accept) {
        let message = "the loss bound grew beyond `spec.objectives.maxDataLossSeconds`, or is not \
                       known since another leader decided; promote the standby by hand, or bring \
                       the old primary back";
        return Some(halt(seen, "Halted", message.to_owned()));
    }
    let grown = Journal {
        loss: Some(loss),
        loss_at: Some(seen.now.wall),
        ..journal.clone()
    };
    store(grown, "CaughtUp", format!("loss bound {loss} by now"))
}

/// The bound of so many milliseconds ago, as it is now.
fn later(bound: LossBound, passed_ms: u64) -> LossBound {
    match bound {
        LossBound::Seconds(known) => {
            let seconds = u32::try_from(passed_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
            LossBound::Seconds(known.saturating_add(seconds))
        }
        LossBound::Unknown => LossBound::Unknown,
    }
}

/// It is a primary: it gets the right to write, and tenants are pointed at it.
fn promoted(seen: &Observation, journal: &Journal, to: &ServerView, facts: &Facts) -> Outcome {
    let owns = |row: Authority| row.epoch == seen.stored.epoch && row.writable;
    if !facts.authority.is_some_and(owns) {
        let step = Step::TakeAuthority(to.server.clone(), seen.stored.epoch);
        let message = "letting read-write logins in";
        return Outcome::new(Answer::Work(step), "Promoted", message);
    }
    let stored = Stored {
        active: journal.to.clone(),
        ..seen.stored.enter(State::Rerouting, seen.now.wall)
    };
    let message = format!("{} is primary on timeline {}", journal.to, facts.timeline);
    Outcome::new(Answer::Move(Box::new(stored)), "Promoted", message)
}

pub(super) fn rerouting(seen: &Observation) -> Outcome {
    let late = seen.ages.state.at_least_ms() > REROUTE_LIMIT_MS;
    if let Some(outcome) = fence_old(seen).filter(|_| !late) {
        return outcome;
    }
    let waiting = seen
        .tenants
        .iter()
        .filter(|t| t.repointed < seen.stored.epoch && !t.stalled)
        .map(|t| t.name.as_str())
        .take(3)
        .collect::<Vec<_>>();
    if waiting.is_empty() || late {
        let stored = seen.stored.enter(State::Verifying, seen.now.wall);
        let message = format!("tenants are pointed at {}", seen.stored.active);
        return Outcome::new(Answer::Move(Box::new(stored)), "Rerouted", message);
    }
    let message = format!("waiting for placements, {} among them", waiting.join(", "));
    Outcome::new(Answer::Wait(SOON_MS), "Rerouting", message)
}

pub(super) fn verifying(seen: &Observation) -> Outcome {
    let Some((journal, to)) = journal_and(seen, |j| &j.to) else {
        return lost(seen);
    };
    let Some(facts) = to.now() else {
        return if to.verdict == Verdict::Down {
            halt(
                seen,
                "Halted",
                format!("{} was lost right after its promotion", journal.to),
            )
        } else {
            Outcome::new(
                Answer::Wait(SOON_MS),
                "PrimarySilent",
                "waiting for the new primary",
            )
        };
    };
    let late = seen.ages.state.at_least_ms() > REROUTE_LIMIT_MS;
    if let Some(outcome) = fence_old(seen).filter(|_| !late) {
        return outcome;
    }
    if facts
        .heartbeat
        .as_ref()
        .is_none_or(|beat| beat.epoch != seen.stored.epoch)
    {
        let step = Step::Canary(to.server.clone(), seen.stored.epoch);
        return Outcome::new(
            Answer::Work(step),
            "Verifying",
            "writing to the new primary",
        );
    }
    let mut message = format!("{} serves under epoch {}", journal.to, seen.stored.epoch);
    if let Some(behind) = left_behind(seen) {
        message = format!("{message}; {behind}");
    }
    let stored = finished(seen, journal, facts);
    Outcome::new(Answer::Move(Box::new(stored)), "Moved", message)
}

/// Which tenants are not pointed at the new primary, when there are any.
fn left_behind(seen: &Observation) -> Option<String> {
    let behind = || {
        let all = seen.tenants.iter();
        all.filter(|tenant| tenant.repointed < seen.stored.epoch)
    };
    let names: Vec<_> = behind()
        .map(|tenant| tenant.name.as_str())
        .take(3)
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} of {} tenants are not pointed at it yet, {} among them: see their conditions",
            behind().count(),
            seen.tenants.len(),
            names.join(", ")
        )
    })
}

/// An old primary that answers is fenced; one that cannot be is left to the quarantine of the calm
/// states after a while.
fn fence_old(seen: &Observation) -> Option<Outcome> {
    let (old, _) = stray_primary(seen, &seen.stored.active)?;
    let step = Step::Fence(old.server.clone(), seen.stored.epoch);
    let message = "the old primary answers";
    Some(Outcome::new(
        Answer::Work(step),
        "OldPrimaryFenced",
        message,
    ))
}

fn finished(seen: &Observation, journal: &Journal, facts: &Facts) -> Stored {
    let begun = if journal.outage_since.is_some() {
        seen.ages.outage
    } else {
        seen.ages.started
    };
    let past = Past {
        operation: journal.operation.clone(),
        kind: journal.kind,
        automatic: journal.automatic,
        from: journal.from.clone(),
        to: journal.to.clone(),
        epoch: seen.stored.epoch,
        proof: journal.proof,
        loss: journal.loss.unwrap_or(LossBound::Unknown),
        rto_seconds: begun.about_ms() / 1_000,
        fork: journal.fork.map(|position| Fork {
            timeline: journal.timeline,
            position,
            latest: facts.recovered,
        }),
        finished: seen.now.wall,
    };
    let history = std::iter::once(past)
        .chain(seen.stored.history.iter().cloned())
        .take(HISTORY_LIMIT)
        .collect();
    let cooldown_until = match journal.kind {
        MoveKind::Failover => Some(seen.now.plus_seconds(seen.settings.cooldown_seconds)),
        MoveKind::Switchover | MoveKind::Failback => seen.stored.cooldown_until,
    };
    Stored {
        journal: None,
        evidence: None,
        history,
        cooldown_until,
        ..seen.stored.enter(State::Steady, seen.now.wall)
    }
}
