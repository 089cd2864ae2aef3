//! The states of a move, from draining to verification.

use super::decide::{Outcome, SOON_MS, is_fenced, stray_primary};
use super::guards;
use super::observation::{Answer, Observation, ServerView, Step};
use super::requests::epoch_after;
use super::state::{HISTORY_LIMIT, Journal, LossBound, MoveKind, Past, Proof, State, Stored};
use crate::facts::{Facts, Lsn, Role};
use crate::health::Verdict;

/// How long a promotion may take before a person is asked, in seconds.
const PROMOTION_LIMIT_SECONDS: u64 = 120;

/// How long workloads may take to turn round before the move goes on without the last ones, in
/// seconds. Their placements go on trying.
const REROUTE_LIMIT_SECONDS: u64 = 120;

pub(super) fn draining(seen: &Observation) -> Outcome {
    let Some((journal, from)) = journal_and(seen, |j| &j.from) else {
        return lost(seen);
    };
    let elapsed = seen.now.seconds_since(journal.started);
    if elapsed > u64::from(seen.settings.max_freeze_seconds) {
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
    if facts.writer_sessions == 0 || elapsed >= u64::from(seen.settings.drain_seconds) {
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
    if planned && frozen_too_long(seen, journal) {
        return abort(
            seen,
            "FrozenTooLong",
            "`spec.switchover.maxFreezeSeconds` has passed",
        );
    }
    if journal.automatic && !planned && from.live && from.verdict == Verdict::Up {
        return abort(seen, "Recovered", "the primary is healthy again");
    }
    if let Some(facts) = from.now() {
        if facts.role == Role::Standby {
            return abort(seen, "NotPrimary", "the old primary is a standby by now");
        }
        if !is_fenced(seen, facts) {
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
    let proof = guards::available_proof(seen, &journal.to);
    if !guards::proof_allowed(seen, proof, &journal.accept) {
        return give_up(
            seen,
            "FencingUnproven",
            "the proof is weaker than the policy's minimum",
        );
    }
    fenced(seen, journal, proof, None)
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
    Outcome::new(Answer::Move(Box::new(stored)), "Fenced", message)
}

pub(super) fn catching_up(seen: &Observation) -> Outcome {
    let Some((journal, to)) = journal_and(seen, |j| &j.to) else {
        return lost(seen);
    };
    let planned = journal.kind != MoveKind::Failover;
    if planned && frozen_too_long(seen, journal) {
        return abort(
            seen,
            "FrozenTooLong",
            "`spec.switchover.maxFreezeSeconds` has passed",
        );
    }
    let Some(facts) = to.now() else {
        return if to.verdict == Verdict::Down {
            standby_lost(seen, planned)
        } else {
            Outcome::new(
                Answer::Wait(SOON_MS),
                "StandbySilent",
                "waiting for the standby",
            )
        };
    };
    let proof = journal.proof.unwrap_or(Proof::Assumed);
    let Some(loss) = loss_once_replayed(seen, journal, facts, proof) else {
        return Outcome::new(
            Answer::Wait(SOON_MS),
            "Replaying",
            "the standby replays what it received",
        );
    };
    if let Some(message) = guards::unlawful(seen, &journal.to) {
        return give_up_or_abort(seen, planned, "WouldLeaveJurisdiction", &message);
    }
    if !still_a_copy(journal, facts) {
        let message = format!("{} is no standby of {} any more", journal.to, journal.from);
        return give_up_or_abort(seen, planned, "StandbyUnfit", &message);
    }
    let allowed = guards::loss_allowed(seen, loss, &journal.accept)
        && (!planned || loss == LossBound::Seconds(0));
    if !allowed {
        return give_up_or_abort(
            seen,
            planned,
            "LossTooLarge",
            "the loss bound exceeds `spec.objectives.maxDataLossSeconds`",
        );
    }
    let next = Journal {
        loss: Some(loss),
        loss_bytes: known_loss(seen, journal, facts),
        ..journal.clone()
    };
    let stored = Stored {
        journal: Some(next),
        ..seen.stored.enter(State::Promoting, seen.now.wall)
    };
    let message = format!(
        "{} has replayed all it received; loss bound {loss}",
        journal.to
    );
    Outcome::new(Answer::Move(Box::new(stored)), "CaughtUp", message)
}

/// The loss bound, or `None` while the standby still has something to replay.
fn loss_once_replayed(
    seen: &Observation,
    journal: &Journal,
    facts: &Facts,
    proof: Proof,
) -> Option<LossBound> {
    if let Some(last) = journal.final_position {
        if facts.position >= last {
            return Some(LossBound::Seconds(0));
        }
        let source_gone = guards::stream_broken(facts);
        let replayed_all = facts
            .received
            .is_none_or(|received| facts.position >= received);
        let gone = seen
            .server(&journal.from)
            .is_some_and(|v| v.verdict == Verdict::Down);
        return (source_gone && replayed_all && gone)
            .then(|| guards::worst_loss(seen, &journal.to, Proof::Assumed));
    }
    facts
        .received
        .is_none_or(|received| facts.position >= received)
        .then(|| guards::worst_loss(seen, &journal.to, proof))
}

/// WAL that the old primary had flushed by its last sample and the standby never received.
fn known_loss(seen: &Observation, journal: &Journal, facts: &Facts) -> Option<u64> {
    let reached = facts.received.unwrap_or(facts.position).max(facts.position);
    let written = match journal.final_position {
        Some(last) => last,
        None => seen.stored.evidence.as_ref()?.position,
    };
    Some(written.0.saturating_sub(reached.0))
}

pub(super) fn still_a_copy(journal: &Journal, facts: &Facts) -> bool {
    facts.role == Role::Standby
        && facts.system_identifier == journal.system_identifier
        && facts.timeline == journal.timeline
}

/// The next standby takes the place of one that died, under a new epoch; with none left a planned
/// move is undone and a failover waits.
fn standby_lost(seen: &Observation, planned: bool) -> Outcome {
    give_up_or_abort(
        seen,
        planned,
        "StandbyLost",
        "the standby was lost before its promotion",
    )
}

pub(super) fn aborting(seen: &Observation) -> Outcome {
    let Some((journal, from)) = journal_and(seen, |j| &j.from) else {
        return lost(seen);
    };
    match from.now() {
        Some(facts) if facts.role == Role::Standby => halt(
            seen,
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

/// From here on nothing is undone: the standby is promoted, or a person must look.
pub(super) fn promoting(seen: &Observation) -> Outcome {
    let Some((journal, to)) = journal_and(seen, |j| &j.to) else {
        return lost(seen);
    };
    let late = seen.now.seconds_since(seen.stored.since) > PROMOTION_LIMIT_SECONDS;
    let Some(facts) = to.now() else {
        return if late {
            halt(
                seen,
                format!("{} does not answer since its promotion began", journal.to),
            )
        } else {
            Outcome::new(
                Answer::Wait(SOON_MS),
                "StandbySilent",
                "waiting for the new primary",
            )
        };
    };
    if let Some(row) = facts.authority.filter(|row| row.epoch > seen.stored.epoch) {
        return halt(
            seen,
            format!("{} holds the newer epoch {}", journal.to, row.epoch),
        );
    }
    if facts.role == Role::Standby {
        if let Some(message) = guards::unlawful(seen, &journal.to) {
            return halt(seen, message);
        }
        if !still_a_copy(journal, facts) {
            return halt(
                seen,
                format!("{} is no copy of {} any more", journal.to, journal.from),
            );
        }
        if late {
            return halt(seen, format!("{} was not promoted in time", journal.to));
        }
        if let Some((old, _)) = stray_primary(seen, &journal.to) {
            let step = Step::Fence(old.server.clone(), seen.stored.epoch);
            return Outcome::new(
                Answer::Work(step),
                "Fencing",
                "the old primary answers: fence first",
            );
        }
        let step = Step::Promote(to.server.clone(), seen.stored.epoch);
        return Outcome::new(
            Answer::Work(step),
            "Promoting",
            format!("promoting {}", journal.to),
        );
    }
    if facts.timeline <= journal.timeline {
        return halt(
            seen,
            format!("{} is a primary on an old timeline", journal.to),
        );
    }
    if facts
        .authority
        .is_none_or(|row| row.epoch < seen.stored.epoch || !row.writable)
    {
        let step = Step::TakeAuthority(to.server.clone(), seen.stored.epoch);
        return Outcome::new(
            Answer::Work(step),
            "Promoted",
            "letting read-write logins in",
        );
    }
    let stored = Stored {
        active: journal.to.clone(),
        ..seen.stored.enter(State::Rerouting, seen.now.wall)
    };
    let message = format!("{} is primary on timeline {}", journal.to, facts.timeline);
    Outcome::new(Answer::Move(Box::new(stored)), "Promoted", message)
}

pub(super) fn rerouting(seen: &Observation) -> Outcome {
    let waiting = seen
        .tenants
        .iter()
        .filter(|t| t.repointed < seen.stored.epoch && !t.stalled)
        .map(|t| t.name.as_str())
        .take(3)
        .collect::<Vec<_>>();
    let late = seen.now.seconds_since(seen.stored.since) > REROUTE_LIMIT_SECONDS;
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
    if let Some((old, _)) = stray_primary(seen, &journal.to) {
        let step = Step::Fence(old.server.clone(), seen.stored.epoch);
        return Outcome::new(
            Answer::Work(step),
            "OldPrimaryFenced",
            "the old primary answers",
        );
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
    Outcome::new(Answer::Move(Box::new(finished(seen, journal))), "Moved", {
        format!("{} serves under epoch {}", journal.to, seen.stored.epoch)
    })
}

fn finished(seen: &Observation, journal: &Journal) -> Stored {
    let begun = journal.outage_since.unwrap_or(journal.started);
    let past = Past {
        operation: journal.operation.clone(),
        kind: journal.kind,
        automatic: journal.automatic,
        from: journal.from.clone(),
        to: journal.to.clone(),
        epoch: seen.stored.epoch,
        proof: journal.proof,
        loss: journal.loss.unwrap_or(LossBound::Unknown),
        rto_seconds: seen.now.seconds_since(begun),
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

fn journal_and<'a>(
    seen: &'a Observation,
    side: impl Fn(&'a Journal) -> &'a crate::names::RegionName,
) -> Option<(&'a Journal, &'a ServerView)> {
    let journal = seen.journal()?;
    Some((journal, seen.server(side(journal))?))
}

fn frozen_too_long(seen: &Observation, journal: &Journal) -> bool {
    seen.now.seconds_since(journal.started) > u64::from(seen.settings.max_freeze_seconds)
}

/// Before promotion: the old primary gets its right back, under the next epoch, so that nothing of
/// the abandoned move can act any more.
fn abort(seen: &Observation, reason: &'static str, message: &str) -> Outcome {
    let stored = Stored {
        epoch: epoch_after(seen),
        ..seen.stored.enter(State::Aborting, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

/// Before promotion, with the old primary gone: the move ends, the outage goes on under the next
/// epoch.
fn give_up(seen: &Observation, reason: &'static str, message: &str) -> Outcome {
    let stored = Stored {
        epoch: epoch_after(seen),
        journal: None,
        ..seen.stored.enter(State::Outage, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

fn give_up_or_abort(
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

fn halt(seen: &Observation, message: String) -> Outcome {
    let stored = seen.stored.enter(State::Halted, seen.now.wall);
    Outcome::new(Answer::Move(Box::new(stored)), "Halted", message)
}

/// The journal is missing, or names a region that is not the policy's any more.
fn lost(seen: &Observation) -> Outcome {
    halt(
        seen,
        "the journal of the move under way is missing or names an unknown region".into(),
    )
}
