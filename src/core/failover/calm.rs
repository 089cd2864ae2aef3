//! The states in which no move is under way.

use super::begin::evidence;
use super::dump::dump;
use super::guards;
use super::leases;
use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::{Outcome, halt, is_fenced, stray_primaries, stray_primary};
use super::question::Question;
use super::returned::{keeps_its_fence, rejoin, report};
use super::state::{FailbackMode, MoveKind, State, Stored};
use super::synchrony::{keep_claim, no_claim};
use crate::facts::{Engine, Facts, Role};
use crate::health::Verdict;

/// What comes before everything else while no move is under way: a policy that cannot be followed
/// does nothing, a contradiction stops it, and an old primary that came back is fenced.
pub(super) fn first_of_all(seen: &Observation) -> Option<Outcome> {
    match seen.stored.state {
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval => {}
        State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Aborting
        | State::Promoting
        | State::Rerouting
        | State::Verifying
        | State::Halted => return None,
    }
    if let Some(conflict) = &seen.conflict {
        let wait = Answer::Wait(u64::from(seen.settings.interval_seconds) * 1000);
        return Some(Outcome::new(wait, "PolicyConflict", conflict.clone()));
    }
    contradiction(seen).or_else(|| quarantine(seen))
}

pub(super) fn steady(seen: &Observation) -> Outcome {
    let wait = Answer::Wait(u64::from(seen.settings.interval_seconds) * 1000);
    let Some(active) = seen.active() else {
        return Outcome::new(
            wait,
            "RegionNotFound",
            format!("Region {} is gone", seen.stored.active),
        );
    };
    let leased = seen.lease.there().is_some();
    let wait = if leased {
        let seconds = seen.settings.interval_seconds.min(leases::LOOK_SECONDS);
        Answer::Wait(u64::from(seconds) * 1000)
    } else {
        wait
    };
    match active.verdict {
        Verdict::Failing { .. } | Verdict::Down | Verdict::Recovering { .. } => {
            if active.suspended {
                let message = format!("{} is suspended and may be silent", seen.stored.active);
                return Outcome::new(wait, "RegionSuspended", message);
            }
            suspicion(seen)
        }
        Verdict::Unknown => Outcome::new(wait, "NotProbedYet", "waiting for the first probe"),
        Verdict::Refusing(failure) => Outcome::new(
            wait,
            failure.reason(),
            format!(
                "{} refuses Domicile's login; see the Region's conditions",
                active.server
            ),
        ),
        Verdict::Up => match active.now() {
            Some(facts) => healthy(seen, active, facts, wait),
            None => Outcome::new(wait, "NotProbedYet", "waiting for the next probe"),
        },
    }
}

/// What is written on a timeline that nobody stored would not be missed in a copy that lacks it.
fn timeline_noted(seen: &Observation, facts: &Facts) -> Option<Outcome> {
    let message = format!("{} serves", seen.stored.active);
    // `decide` fills it in.
    let next = Answer::Move(Box::new(seen.stored.clone()));
    (facts.timeline != seen.stored.timeline).then(|| Outcome::new(next, "Serving", message))
}

fn suspicion(seen: &Observation) -> Outcome {
    let stored = Stored {
        evidence: evidence(seen),
        ..seen.stored.enter(State::Suspect, seen.now.wall)
    };
    let message = format!("{} failed a probe", seen.stored.active);
    Outcome::new(Answer::Move(Box::new(stored)), "ProbeFailed", message)
}

/// The active server answers: keep its authority row, the claim and the way home in order.
fn healthy(seen: &Observation, active: &ServerView, facts: &Facts, wait: Answer) -> Outcome {
    let stored = &seen.stored;
    if facts.role == Role::Standby {
        return halt(
            seen,
            "SplitBrain",
            format!("{} is active and yet a standby", active.server),
        );
    }
    // The lease comes first: a server that gets its right back before its agent may hold the lease
    // would be fenced at once.
    let lease = leases::keep(seen, facts).or_else(|| leases::self_fenced(seen, facts));
    if let Some(outcome) = lease {
        return outcome;
    }
    let owned = facts
        .authority
        .is_some_and(|row| row.epoch == stored.epoch && row.writable);
    if !owned {
        let step = Step::TakeAuthority(active.server.clone(), stored.epoch);
        return Outcome::new(
            Answer::Work(step),
            "AuthorityRepaired",
            "renewing the right to write",
        );
    }
    let claim = match active.engine {
        Engine::Sql => keep_claim(seen, active, facts),
        Engine::Patroni => no_claim(seen),
    };
    let outcome = claim
        .or_else(|| report(seen))
        .or_else(|| dump(seen))
        .or_else(|| rejoin(seen, active, facts))
        .or_else(|| way_home(seen))
        .or_else(|| timeline_noted(seen, facts));
    if let Some(outcome) = outcome {
        return outcome;
    }
    Outcome::new(wait, "Serving", format!("{} serves", stored.active))
}

/// Starts the planned way home when the policy says so and the home server was in sync long enough.
fn way_home(seen: &Observation) -> Option<Outcome> {
    let home = &seen.settings.home.region;
    let due = seen.settings.failback == FailbackMode::Automatic && home_is_ready(seen);
    let name = seen.own_failback();
    if !due || !seen.requests.is_empty() || seen.ended.contains(&name) {
        return None;
    }
    let none = std::collections::BTreeSet::new();
    let ask = Question {
        target: home,
        kind: MoveKind::Failback,
        automatic: true,
        accept: &none,
    };
    if guards::evaluate(seen, ask).iter().any(|g| !g.ok) {
        return None;
    }
    let step = Step::Ask {
        name,
        kind: MoveKind::Failback,
        target: home.clone(),
        epoch: seen.stored.epoch,
    };
    Some(Outcome::new(
        Answer::Work(step),
        "FailbackDue",
        format!("{home} is ready to serve again"),
    ))
}

/// True when the home server has been in sync for the required time, which doubles with each
/// failback of the last 24 hours up to its limit.
pub fn home_is_ready(seen: &Observation) -> bool {
    let away = seen.stored.active != seen.settings.home.region;
    let recent = seen
        .stored
        .history
        .iter()
        .enumerate()
        .filter(|(place, past)| past.kind == MoveKind::Failback && lately(seen, *place))
        .count();
    let doubled = u64::from(seen.settings.stable_seconds).saturating_mul(
        1_u64
            .checked_shl(u32::try_from(recent).unwrap_or(u32::MAX))
            .unwrap_or(u64::MAX),
    );
    let ceiling = seen
        .settings
        .max_stable_seconds
        .max(seen.settings.stable_seconds);
    let needed_ms = doubled.min(u64::from(ceiling)).saturating_mul(1000);
    away && seen.home_in_sync_ms.is_some_and(|ms| ms >= needed_ms)
}

/// A move of the history ended in the last 24 hours, or about that.
pub(super) fn lately(seen: &Observation, place: usize) -> bool {
    const DAY_MS: u64 = 86_400_000;
    seen.ages.finished(place).about_ms() < DAY_MS
}

/// Two servers hold the right to write, or one holds a newer right than was ever issued.
pub(super) fn contradiction(seen: &Observation) -> Option<Outcome> {
    let rows = seen.servers.values().filter_map(|view| {
        view.now()
            .and_then(|f| f.authority.map(|row| (view, f.role, row)))
    });
    for (view, role, row) in rows {
        if row.epoch > seen.stored.epoch {
            let message = format!(
                "{} holds epoch {}, never issued here",
                view.server, row.epoch
            );
            return Some(halt(seen, "SplitBrain", message));
        }
        let elsewhere = view.server.region != seen.stored.active;
        if elsewhere && role == Role::Primary && row.writable && row.epoch == seen.stored.epoch {
            let message = format!(
                "{} takes writes under the epoch of {}",
                view.server, seen.stored.active
            );
            return Some(halt(seen, "SplitBrain", message));
        }
        if elsewhere && role == Role::Primary && promoted_by_hand(seen, view) {
            let message = format!("{} was promoted, and not by this policy", view.server);
            return Some(halt(seen, "SplitBrain", message));
        }
    }
    None
}

/// True when the server writes a newer timeline than the lost active one: somebody's rescue, which
/// is not for the machine to fence. An old primary that is being brought back does so, too.
fn promoted_by_hand(seen: &Observation, view: &ServerView) -> bool {
    let lost = seen.active().is_none_or(|active| !active.live);
    let known = seen.stored.evidence.as_ref().map(|e| e.timeline);
    let now = view.now().map(|facts| facts.timeline);
    lost && !keeps_its_fence(seen, view) && now.zip(known).is_some_and(|(now, known)| now > known)
}

/// What is wrong when more than one server takes writes, or has the right to, as far as it answers:
/// an old primary that came back counts as long as it is not fenced.
pub fn split_brain(seen: &Observation) -> Option<String> {
    if let Some(outcome) = contradiction(seen) {
        return Some(outcome.message);
    }
    let active = seen.active()?;
    let facts = active.now()?;
    if facts.role != Role::Primary || is_fenced(seen, facts) {
        return None;
    }
    let (stray, facts) = stray_primary(seen, &seen.stored.active)?;
    Some(format!(
        "{} takes writes beside {} ({} sessions, {} open logins) and is not fenced: end what it \
         serves, or switch it off",
        stray.server, active.server, facts.tenant_sessions, facts.open_logins
    ))
}

/// An old primary that came back is fenced before anything is routed to it. One that resists holds
/// up nothing else: the active server is watched, and what is wrong is told, between two fences.
fn quarantine(seen: &Observation) -> Option<Outcome> {
    let mut strays = stray_primaries(seen, &seen.stored.active);
    let (view, _) = strays.find(|(view, _)| !view.resists)?;
    let step = Step::Fence(view.server.clone(), seen.stored.epoch);
    let message = format!("{} came back writable and is being fenced", view.server);
    Some(Outcome::new(
        Answer::Work(step),
        "OldPrimaryFenced",
        message,
    ))
}
