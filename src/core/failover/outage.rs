//! The states of an outage that is not being answered yet, and the one in which a person must look.

use super::begin::{epoch_after, own_journal, start};
use super::calm::contradiction;
use super::guards;
use super::law;
use super::observation::{Answer, Guard, GuardName, Observation, ServerView, Step};
use super::outcome::{Outcome, SOON_MS, objections, stray_primary};
use super::state::{Journal, Mode, State, Stored};
use super::{catching, moving};
use crate::facts::{Facts, Role};
use crate::health::Verdict;
use crate::names::RegionName;

pub(super) fn suspect(seen: &Observation, guards: &[Guard]) -> Outcome {
    let Some(active) = seen.active() else {
        return to_steady(seen, "RegionNotFound");
    };
    if is_over(active) {
        return to_steady(seen, ended(seen));
    }
    let confirmed = guards
        .iter()
        .any(|g| g.name == GuardName::SecondVantage && g.ok);
    if active.verdict == Verdict::Down && confirmed {
        let stored = seen.stored.enter(State::Outage, seen.now.wall);
        let message = format!(
            "{} is down and its replication stream is broken",
            active.server
        );
        return Outcome::new(Answer::Move(Box::new(stored)), "OutageConfirmed", message);
    }
    let wait = Answer::Wait(SOON_MS);
    match guards.iter().find(|g| g.name == GuardName::SecondVantage) {
        Some(vantage) if active.verdict == Verdict::Down => {
            Outcome::new(wait, "VantagesDisagree", vantage.message.clone())
        }
        Some(_) | None => Outcome::new(
            wait,
            "ProbeFailed",
            format!("{} fails its probes", active.server),
        ),
    }
}

pub(super) fn outage(
    seen: &Observation,
    guards: &[Guard],
    candidate: Option<&RegionName>,
) -> Outcome {
    if seen.active().is_none_or(is_over) {
        return to_steady(seen, ended(seen));
    }
    let (Some(target), true) = (candidate, guards.iter().all(|g| g.ok)) else {
        let stored = seen.stored.enter(State::Blocked, seen.now.wall);
        return Outcome::new(
            Answer::Move(Box::new(stored)),
            "GuardFailed",
            objections(guards),
        );
    };
    let journal = own_journal(seen, target);
    let message = format!("{} is lost; moving to {target}", seen.stored.active);
    let stored = match seen.settings.mode {
        Mode::Automatic => start(seen, State::Fencing, journal),
        Mode::SemiAutomatic | Mode::Manual => Stored {
            journal: Some(journal),
            ..seen.stored.enter(State::AwaitingApproval, seen.now.wall)
        },
    };
    Outcome::new(Answer::Move(Box::new(stored)), "FailoverDecided", message)
}

pub(super) fn blocked(seen: &Observation, guards: &[Guard]) -> Outcome {
    if seen.active().is_none_or(is_over) {
        return to_steady(seen, ended(seen));
    }
    let asked_already = seen.ended.contains(&seen.own_operation());
    if guards.iter().all(|g| g.ok) && !guards.is_empty() && !asked_already {
        let stored = seen.stored.enter(State::Outage, seen.now.wall);
        return Outcome::new(
            Answer::Move(Box::new(stored)),
            "GuardsPass",
            "the guards pass now",
        );
    }
    let (reason, message) = if asked_already {
        let text = "the machine's own operation ended without a move; create one by hand";
        ("OperationEnded", text.to_owned())
    } else {
        ("GuardFailed", objections(guards))
    };
    Outcome::new(
        Answer::Wait(u64::from(seen.settings.interval_seconds) * 1000),
        reason,
        message,
    )
}

pub(super) fn awaiting_approval(seen: &Observation, guards: &[Guard]) -> Outcome {
    let back = |state, reason, message: String| {
        let stored = Stored {
            journal: None,
            ..seen.stored.enter(state, seen.now.wall)
        };
        Outcome::new(Answer::Move(Box::new(stored)), reason, message)
    };
    let Some(journal) = seen.journal() else {
        return back(
            State::Outage,
            "NothingToApprove",
            "there is no move to approve".into(),
        );
    };
    if seen.active().is_none_or(is_over) {
        // The next outage asks under a name of its own.
        let stored = Stored {
            epoch: epoch_after(seen),
            journal: None,
            ..calm_again(seen)
        };
        let message = "the outage is over, and so is its question";
        return Outcome::new(Answer::Move(Box::new(stored)), ended(seen), message);
    }
    let approved = seen
        .requests
        .iter()
        .any(|r| r.name == journal.operation && r.approved);
    let open = guards.iter().all(|g| g.ok);
    if approved && open {
        let stored = start(seen, State::Fencing, journal.clone());
        let message = format!("operation {} was approved", journal.operation);
        return Outcome::new(Answer::Move(Box::new(stored)), "Approved", message);
    }
    let limit = seen.settings.approval_seconds;
    if seen.ages.state.about_ms() >= u64::from(limit) * 1_000 {
        return back(
            State::Blocked,
            "ApprovalExpired",
            format!("nobody approved within {limit} s"),
        );
    }
    let message = if open {
        format!("run: kubectl domicile approve {}", journal.operation)
    } else {
        objections(guards)
    };
    Outcome::new(Answer::Wait(1000), "AwaitingApproval", message)
}

/// Looks again for a world without contradiction, and takes it up.
pub(super) fn halted(seen: &Observation) -> Outcome {
    let wait = |message: String| Outcome::new(Answer::Wait(1000), "Halted", message);
    if let Some(journal) = seen.journal() {
        let message = format!(
            "the move from {} to {} goes on once {} answers and nothing contradicts it",
            journal.from, journal.to, journal.to
        );
        return resume(seen, journal).unwrap_or_else(|| wait(message));
    }
    let message = "automation is frozen until one server alone holds the newest epoch, or the \
                   active one is the only primary";
    let wait = wait(message.to_owned());
    let split = contradiction(seen).is_some();
    if let Some((old, facts)) = stray_primary(seen, &seen.stored.active).filter(|_| !split)
        && facts
            .authority
            .is_some_and(|row| row.epoch < seen.stored.epoch)
    {
        let step = Step::Fence(old.server.clone(), seen.stored.epoch);
        let message = "a primary of an older epoch answers";
        return Outcome::new(Answer::Work(step), "OldPrimaryFenced", message);
    }
    let agreed = seen.servers.values().all(|view| view.live) && !split;
    let mut owners = seen.servers.values().filter(|view| {
        view.now().is_some_and(|f| {
            f.role == Role::Primary
                && f.authority
                    .is_some_and(|a| a.epoch == seen.stored.epoch && a.writable)
        })
    });
    match (owners.next(), owners.next()) {
        (Some(owner), None) if agreed && owner.server.region == seen.stored.active => {
            to_steady(seen, "ContradictionGone")
        }
        // A move that was given up spent an epoch that no server holds.
        (None, None) if agreed && is_sole_primary(seen) => to_steady(seen, "ContradictionGone"),
        (Some(_) | None, Some(_) | None) => wait,
    }
}

/// The active server is a primary, and all others are standbys.
fn is_sole_primary(seen: &Observation) -> bool {
    seen.servers.values().all(|view| {
        let active = view.server.region == seen.stored.active;
        let primary = view.now().map(|facts| facts.role == Role::Primary);
        primary == Some(active)
    })
}

/// A move that stopped after its point of no return goes on once its target answers and nothing
/// contradicts it; the old primary is fenced first.
fn resume(seen: &Observation, journal: &Journal) -> Option<Outcome> {
    let target = seen.server(&journal.to)?;
    let facts = target.now()?;
    let superseded = facts
        .authority
        .is_some_and(|row| row.epoch > seen.stored.epoch);
    let promoted = facts.role == Role::Primary && facts.timeline > journal.timeline;
    // A move that had not come to its promotion starts over.
    let decided = journal.loss.is_some();
    let fit = facts.role == Role::Standby
        && moving::still_a_copy(journal, facts)
        && law::unlawful(seen, &journal.to).is_none()
        && (!decided || bearable(seen, journal, facts));
    let old = seen.server(&journal.from).and_then(ServerView::now);
    let role = old.map(|facts| facts.role);
    // A target that fits no more is found so again, and the old primary gets its right back.
    let undone = !promoted && !decided && role == Some(Role::Primary);
    if superseded || !(promoted || fit || undone) {
        return None;
    }
    if !promoted && !decided {
        // Without an old primary to fence it would come back here at once.
        seen.server(&journal.from)?;
        let demoted = role == Some(Role::Standby);
        return (!demoted).then(|| catching::begin_again(seen, journal));
    }
    if let Some((old, old_facts)) = stray_primary(seen, &journal.to) {
        if old_facts
            .authority
            .is_some_and(|row| row.epoch > seen.stored.epoch)
        {
            return None;
        }
        let step = Step::Fence(old.server.clone(), seen.stored.epoch);
        return Some(Outcome::new(
            Answer::Work(step),
            "OldPrimaryFenced",
            "fencing the old primary",
        ));
    }
    let stored = seen.stored.enter(State::Promoting, seen.now.wall);
    let message = format!("{} answers again; the move goes on", journal.to);
    Some(Outcome::new(
        Answer::Move(Box::new(stored)),
        "Resumed",
        message,
    ))
}

/// The loss bound by now, which a long stop makes greater, is within what the move may cost. An old
/// primary that answers, and still is one, hands over its last writes.
fn bearable(seen: &Observation, journal: &Journal, facts: &Facts) -> bool {
    let old = seen.server(&journal.from).and_then(ServerView::now);
    let answers = old.is_some_and(|facts| facts.role == Role::Primary);
    let loss = guards::loss_by_now(seen, journal, facts);
    answers || guards::loss_allowed(seen, loss, &journal.accept)
}

/// True when the active server counts as healthy again.
fn recovered(active: &ServerView) -> bool {
    active.verdict == Verdict::Up && active.live
}

/// True when it did, or may be silent: its region is suspended.
fn is_over(active: &ServerView) -> bool {
    active.suspended || recovered(active)
}

/// Why an outage is over.
fn ended(seen: &Observation) -> &'static str {
    match seen.active() {
        Some(active) if !recovered(active) => "RegionSuspended",
        Some(_) | None => "Recovered",
    }
}

/// Where the machine's own question has ended unanswered, the next outage asks under another name.
fn calm_again(seen: &Observation) -> Stored {
    let asked = seen.ended.contains(&seen.own_operation());
    let same = seen.stored.epoch;
    Stored {
        epoch: if asked { epoch_after(seen) } else { same },
        evidence: None,
        ..seen.stored.enter(State::Steady, seen.now.wall)
    }
}

fn to_steady(seen: &Observation, reason: &'static str) -> Outcome {
    let message = format!("{} is looked after as before", seen.stored.active);
    Outcome::new(Answer::Move(Box::new(calm_again(seen))), reason, message)
}
