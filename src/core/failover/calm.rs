//! The states in which no move is under way.

use super::decide::{Outcome, SOON_MS, is_fenced, objections, stray_primary};
use super::guards::{self, Question};
use super::moving;
use super::observation::{Answer, Guard, GuardName, Observation, ServerView, Step};
use super::requests::{evidence, own_journal, start};
use super::state::{Claim, FailbackMode, Journal, Mode, MoveKind, State, Stored};
use crate::facts::{Facts, Role};
use crate::health::Verdict;
use crate::names::RegionName;

pub(super) fn steady(seen: &Observation) -> Outcome {
    let wait = Answer::Wait(u64::from(seen.settings.interval_seconds) * 1000);
    if let Some(conflict) = &seen.conflict {
        return Outcome::new(wait, "PolicyConflict", conflict.clone());
    }
    if let Some(outcome) = contradiction(seen).or_else(|| quarantine(seen)) {
        return outcome;
    }
    let Some(active) = seen.active() else {
        return Outcome::new(
            wait,
            "RegionNotFound",
            format!("Region {} is gone", seen.stored.active),
        );
    };
    match active.verdict {
        Verdict::Failing { .. } | Verdict::Down | Verdict::Recovering { .. } => suspicion(seen),
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
            format!("{} is active and yet a standby", active.server),
        );
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
    if let Some(outcome) = keep_claim(seen, active, facts).or_else(|| way_home(seen)) {
        return outcome;
    }
    Outcome::new(wait, "Serving", format!("{} serves", stored.active))
}

/// Raises, lowers or restores synchronous replication.
fn keep_claim(seen: &Observation, active: &ServerView, facts: &Facts) -> Option<Outcome> {
    let stored = &seen.stored;
    let store = |claim: Option<Claim>, restore: bool, reason, message: String| {
        let next = Stored {
            claim,
            restore_synchronous: restore,
            ..stored.clone()
        };
        Some(Outcome::new(Answer::Move(Box::new(next)), reason, message))
    };
    match &stored.claim {
        Some(claim) if still_claimed(claim, facts) => None,
        Some(claim) => store(
            None,
            false,
            "SynchronyLost",
            format!("commits no longer wait for {} alone", claim.standby),
        ),
        None => {
            if let Some(claim) = provable_claim(seen, facts) {
                let message = format!("each commit waits for {}", claim.standby);
                return store(
                    Some(claim),
                    stored.restore_synchronous,
                    "SynchronyProven",
                    message,
                );
            }
            let wanted = stored.restore_synchronous && facts.synchrony.names.is_empty();
            let name = wanted.then(|| streaming_name(seen, facts)).flatten()?;
            let step = Step::SetSynchronous(active.server.clone(), format!("\"{name}\""));
            let message = format!("commits will wait for {name} again");
            Some(Outcome::new(
                Answer::Work(step),
                "SynchronyRestored",
                message,
            ))
        }
    }
}

/// True while the primary's settings make every commit wait for the claimed standby alone.
pub(super) fn still_claimed(claim: &Claim, facts: &Facts) -> bool {
    facts.role == Role::Primary
        && !facts.synchrony.relaxed
        && sole_name(&facts.synchrony.names) == Some(claim.name.as_str())
}

/// A claim that both ends confirm in this pass.
fn provable_claim(seen: &Observation, facts: &Facts) -> Option<Claim> {
    let name = sole_name(&facts.synchrony.names).filter(|_| !facts.synchrony.relaxed)?;
    let confirmed = facts
        .senders
        .iter()
        .filter(|s| s.name == name && s.streaming && s.synchronous)
        .count();
    let standby = seen
        .servers
        .values()
        .find(|view| view.server.region != seen.stored.active && streams_as(view, facts, name))?;
    (confirmed == 1).then(|| Claim {
        standby: standby.server.region.clone(),
        name: name.into(),
    })
}

/// The name of the standby that streams and may be promoted, in the order of the policy.
fn streaming_name(seen: &Observation, facts: &Facts) -> Option<String> {
    let region = guards::candidate(seen)?;
    let view = seen.server(&region)?;
    let name = &view.now()?.receiver.as_ref()?.name;
    let caught_up = facts.senders.iter().any(|s| s.name == *name && s.streaming);
    (caught_up && streams_as(view, facts, name)).then(|| name.clone())
}

/// The standby says itself that it streams this primary's timeline under this name.
fn streams_as(view: &ServerView, primary: &Facts, name: &str) -> bool {
    view.now().is_some_and(|facts| {
        facts.role == Role::Standby
            && facts.system_identifier == primary.system_identifier
            && !guards::stream_broken(facts)
            && facts
                .receiver
                .as_ref()
                .is_some_and(|r| r.name == name && r.timeline == primary.timeline)
    })
}

/// The one standby that a setting names; `None` for lists, `*` and quorum forms with more.
///
/// Accepts `name`, `"name"`, `FIRST 1 (name)`, `ANY 1 (name)` and `1 (name)`, as PostgreSQL does.
pub(super) fn sole_name(setting: &str) -> Option<&str> {
    let text = setting.trim();
    let inner = match text.split_once('(') {
        Some((head, rest)) => {
            let count = head.trim().to_ascii_uppercase();
            let one = matches!(count.as_str(), "1" | "FIRST 1" | "ANY 1");
            rest.strip_suffix(')').filter(|_| one)?.trim()
        }
        None => text,
    };
    let quoted = inner
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let name = quoted.unwrap_or(inner);
    let plain = !name.is_empty() && !name.contains([',', '"', '(', ')']);
    (plain && (quoted.is_some() || (name != "*" && !name.contains(' ')))).then_some(name)
}

/// Starts the planned way home when the policy says so and the home server was in sync long enough.
fn way_home(seen: &Observation) -> Option<Outcome> {
    let home = &seen.settings.home.region;
    let due = seen.settings.failback == FailbackMode::Automatic && home_is_ready(seen);
    let name = seen.own_operation();
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
        .filter(|p| p.kind == MoveKind::Failback && seen.now.seconds_since(p.finished) < 86_400)
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

pub(super) fn suspect(seen: &Observation, guards: &[Guard]) -> Outcome {
    let Some(active) = seen.active() else {
        return to_steady(seen, "RegionNotFound");
    };
    if recovered(active) {
        return to_steady(seen, "Recovered");
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
    if seen.active().is_none_or(recovered) {
        return to_steady(seen, "Recovered");
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
    if seen.active().is_none_or(recovered) {
        return to_steady(seen, "Recovered");
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
    if seen.active().is_none_or(recovered) {
        let stored = Stored {
            journal: None,
            ..calm_again(seen)
        };
        return Outcome::new(
            Answer::Move(Box::new(stored)),
            "Recovered",
            "the primary is back",
        );
    }
    if guards.iter().any(|g| !g.ok) {
        return back(State::Blocked, "GuardFailed", objections(guards));
    }
    let approved = seen
        .requests
        .iter()
        .any(|r| r.name == journal.operation && r.approved);
    if approved {
        let stored = start(seen, State::Fencing, journal.clone());
        let message = format!("operation {} was approved", journal.operation);
        return Outcome::new(Answer::Move(Box::new(stored)), "Approved", message);
    }
    let limit = seen.settings.approval_seconds;
    if seen.now.seconds_since(seen.stored.since) >= u64::from(limit) {
        return back(
            State::Blocked,
            "ApprovalExpired",
            format!("nobody approved within {limit} s"),
        );
    }
    let message = format!("run: kubectl domicile approve {}", journal.operation);
    Outcome::new(Answer::Wait(1000), "AwaitingApproval", message)
}

/// Looks again for a world without contradiction, and takes it up.
pub(super) fn halted(seen: &Observation) -> Outcome {
    let wait = Outcome::new(
        Answer::Wait(1000),
        "Halted",
        "automation is frozen until one server alone holds the newest epoch",
    );
    if let Some(journal) = seen.journal() {
        return resume(seen, journal).unwrap_or(wait);
    }
    let all_answer = seen.servers.values().all(|view| view.live);
    let mut owners = seen.servers.values().filter(|view| {
        view.now().is_some_and(|f| {
            f.role == Role::Primary
                && f.authority
                    .is_some_and(|a| a.epoch == seen.stored.epoch && a.writable)
        })
    });
    match (owners.next(), owners.next()) {
        (Some(owner), None) if all_answer && owner.server.region == seen.stored.active => {
            to_steady(seen, "ContradictionGone")
        }
        (Some(_) | None, Some(_) | None) => wait,
    }
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
    let fit = facts.role == Role::Standby
        && moving::still_a_copy(journal, facts)
        && guards::unlawful(seen, &journal.to).is_none();
    if superseded || !(promoted || fit) {
        return None;
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

/// Two servers hold the right to write, or one holds a newer right than was ever issued.
fn contradiction(seen: &Observation) -> Option<Outcome> {
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
            return Some(halt(seen, message));
        }
        let elsewhere = view.server.region != seen.stored.active;
        if elsewhere && role == Role::Primary && row.writable && row.epoch == seen.stored.epoch {
            let message = format!(
                "{} takes writes under the epoch of {}",
                view.server, seen.stored.active
            );
            return Some(halt(seen, message));
        }
    }
    None
}

fn halt(seen: &Observation, message: String) -> Outcome {
    let stored = Stored {
        claim: None,
        ..seen.stored.enter(State::Halted, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), "SplitBrain", message)
}

/// An old primary that came back is fenced before anything is routed to it.
fn quarantine(seen: &Observation) -> Option<Outcome> {
    let (view, _) = stray_primary(seen, &seen.stored.active)?;
    let step = Step::Fence(view.server.clone(), seen.stored.epoch);
    let message = format!("{} came back writable and is being fenced", view.server);
    Some(Outcome::new(
        Answer::Work(step),
        "OldPrimaryFenced",
        message,
    ))
}

/// True when the active server counts as healthy again.
fn recovered(active: &ServerView) -> bool {
    active.verdict == Verdict::Up && active.live
}

fn calm_again(seen: &Observation) -> Stored {
    Stored {
        evidence: None,
        ..seen.stored.enter(State::Steady, seen.now.wall)
    }
}

fn to_steady(seen: &Observation, reason: &'static str) -> Outcome {
    let message = format!("{} is looked after as before", seen.stored.active);
    Outcome::new(Answer::Move(Box::new(calm_again(seen))), reason, message)
}

/// True when a server other than the active one answers and is fenced: it waits to be rejoined.
pub fn awaits_rejoin(seen: &Observation, view: &ServerView) -> bool {
    view.server.region != seen.stored.active
        && view
            .now()
            .is_some_and(|f| f.role == Role::Primary && is_fenced(seen, f))
}
