//! The state between fence and promotion: the standby replays all it received.

use super::expiry;
use super::guards;
use super::law;
use super::moving::{
    abort, frozen_too_long, give_up, give_up_or_abort, journal_and, lost, refuses, still_a_copy,
    waited_too_long,
};
use super::observation::{Answer, Observation};
use super::outcome::{Outcome, SOON_MS};
use super::standby;
use super::state::{Journal, LossBound, MoveKind, Proof, State, Stored};
use crate::facts::Facts;
use crate::health::Verdict;

pub(super) fn catching_up(seen: &Observation) -> Outcome {
    let Some((journal, to)) = journal_and(seen, |j| &j.to) else {
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
    if let Some(outcome) = overtaken(seen, journal, facts) {
        return outcome;
    }
    let proof = journal.proof.unwrap_or(Proof::Assumed);
    let Some(loss) = loss_once_replayed(seen, journal, facts, proof) else {
        return Outcome::new(
            Answer::Wait(SOON_MS),
            "Replaying",
            "the standby replays what it received",
        );
    };
    if let Some(message) = law::unlawful(seen, &journal.to) {
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
        loss_at: Some(seen.now.wall),
        fork: Some(facts.position),
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

/// What ends the wait of a failover: an old primary that answers after all is fenced first, one
/// that only the standby hears vetoes the move, and one whose last writes do not come gets its
/// right back.
fn overtaken(seen: &Observation, journal: &Journal, facts: &Facts) -> Option<Outcome> {
    if journal.kind != MoveKind::Failover {
        return None;
    }
    let from = seen.server(&journal.from)?;
    let answers = from.live;
    if let Some(last) = journal.final_position {
        let message = "the standby does not receive the old primary's last writes";
        return (answers && facts.position < last && waited_too_long(seen))
            .then(|| abort(seen, "FrozenTooLong", message));
    }
    if answers {
        return Some(begin_again(seen, journal));
    }
    if refuses(journal, from) {
        let message = "the primary lives: it refuses Domicile's login";
        return Some(give_up(seen, "VantagesDisagree", message));
    }
    let message = "PrimaryAliveAtPeer: the standby hears from the primary again";
    (journal.automatic && !standby::stream_broken(facts))
        .then(|| give_up(seen, "VantagesDisagree", message))
}

/// The move starts over with the fence: what was known of the old primary is known no more.
pub(super) fn begin_again(seen: &Observation, journal: &Journal) -> Outcome {
    let again = Journal {
        proof: None,
        final_position: None,
        loss: None,
        loss_at: None,
        fork: None,
        loss_bytes: None,
        // A person may have promoted it anew meanwhile.
        timeline: standby::written_timeline(seen, &journal.from, journal.timeline),
        ..journal.clone()
    };
    let stored = Stored {
        journal: Some(again),
        ..seen.stored.enter(State::Fencing, seen.now.wall)
    };
    let message = format!("{} answers, or may: the fence comes first", journal.from);
    Outcome::new(Answer::Move(Box::new(stored)), "Resumed", message)
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
        let source_gone = standby::stream_broken(facts);
        let replayed_all = facts
            .received
            .is_none_or(|received| facts.position >= received);
        let gone = seen
            .server(&journal.from)
            .is_some_and(|v| v.verdict == Verdict::Down);
        return (source_gone && replayed_all && gone)
            .then(|| guards::worst_loss(seen, &journal.to, Proof::Assumed));
    }
    let unread = proof == Proof::LeaseExpired && expiry::last_write(seen, &journal.to).is_none();
    if unread && !waited_too_long(seen) {
        return None;
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
