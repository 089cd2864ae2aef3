//! Operations: which one is run, which are refused, and why.

use super::decide::{Outcome, by_state, objections, refuse};
use super::guards::{self, Question};
use super::observation::{Answer, Guard, Observation, Refusal, Request, ServerView};
use super::state::{Evidence, Journal, MoveKind, State, Stored};
use crate::facts::Epoch;
use crate::names::RegionName;

/// By how much a busy machine may delay a probe, in milliseconds.
const BUSY_MS: u64 = 10_000;

/// Looks at the operations first, then at the state. An operation is started in a calm state only,
/// and one at a time; what cannot be run is refused, never kept for later.
pub(super) fn consider(
    seen: &Observation,
    guards: &[Guard],
    candidate: Option<&RegionName>,
) -> (Outcome, Vec<Refusal>) {
    let current = seen.journal().map(|journal| journal.operation.as_str());
    let mut refusals = Vec::new();
    let mut started = None;
    for request in seen
        .requests
        .iter()
        .filter(|r| Some(r.name.as_str()) != current)
    {
        if started.is_some() {
            refusals.push(refuse(&request.name, "OperationInProgress", another(seen)));
            continue;
        }
        match admit(seen, request) {
            Ok(stored) => started = Some((request, stored)),
            Err((reason, message)) => refusals.push(refuse(&request.name, reason, message)),
        }
    }
    let outcome = match started {
        Some((request, stored)) => {
            let message = format!(
                "operation {} moves {} to {}",
                request.name, seen.stored.active, request.target
            );
            Outcome::new(Answer::Move(Box::new(stored)), "OperationStarted", message)
        }
        None => by_state(seen, guards, candidate),
    };
    (outcome, refusals)
}

fn another(seen: &Observation) -> String {
    format!(
        "another operation of FailoverPolicy {} is being run",
        seen.settings.name
    )
}

type Refused = (&'static str, String);

/// Whether `request` may start now, and if so the stored move.
fn admit(seen: &Observation, request: &Request) -> Result<Stored, Refused> {
    let planned = request.kind != MoveKind::Failover;
    nothing_under_way(seen)?;
    still_meant(seen, request)?;
    let steady = seen.stored.state == State::Steady;
    if planned && !(steady && seen.active().is_some_and(|active| active.live)) {
        let active = &seen.stored.active;
        let fact = format!("a planned move needs a healthy {active}; use Failover if it is lost");
        return Err(("PrimaryNotHealthy", fact));
    }
    let ask = Question {
        target: &request.target,
        kind: request.kind,
        automatic: request.automatic,
        accept: &request.accept,
    };
    let asked = guards::evaluate(seen, ask);
    if asked.iter().any(|g| !g.ok) {
        return Err(("GuardFailed", objections(&asked)));
    }
    let begun = journal(
        seen,
        &request.name,
        request.kind,
        request.automatic,
        &request.target,
    );
    let begun = Journal {
        accept: request.accept.clone(),
        ..begun
    };
    let state = if planned {
        State::Draining
    } else {
        State::Fencing
    };
    Ok(start(seen, state, begun))
}

fn nothing_under_way(seen: &Observation) -> Result<(), Refused> {
    match seen.stored.state {
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval => Ok(()),
        State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Aborting
        | State::Promoting
        | State::Rerouting
        | State::Verifying => Err(("OperationInProgress", another(seen))),
        State::Halted => {
            let fact = "the policy is Halted; see its conditions first";
            Err(("Halted", fact.to_owned()))
        }
    }
}

/// The world is as it was when the operation was written, and its target makes sense.
fn still_meant(seen: &Observation, request: &Request) -> Result<(), Refused> {
    let stored = &seen.stored;
    let home = &seen.settings.home.region;
    if request.expected_epoch != stored.epoch {
        let fact = format!(
            "`spec.expectedEpoch` is {} and the policy is at epoch {}: the world moved on; look \
             again and create a new operation",
            request.expected_epoch, stored.epoch
        );
        return Err(("EpochMismatch", fact));
    }
    if request.kind == MoveKind::Failback && request.target != *home {
        let fact = format!("`spec.target` of a Failback must be the home region, {home}");
        return Err(("InvalidTarget", fact));
    }
    if request.target == stored.active {
        let fact = format!("`spec.target`, {}, is active already", request.target);
        return Err(("InvalidTarget", fact));
    }
    Ok(())
}

/// The machine's own move to `target`.
pub(super) fn own_journal(seen: &Observation, target: &RegionName) -> Journal {
    journal(
        seen,
        &seen.own_operation(),
        MoveKind::Failover,
        true,
        target,
    )
}

/// Enters `state` with `journal` under the next epoch. The claim is lowered here, before anything
/// is touched, and what it was is remembered.
pub(super) fn start(seen: &Observation, state: State, journal: Journal) -> Stored {
    let stored = &seen.stored;
    Stored {
        epoch: stored.epoch.next(),
        evidence: stored.evidence.clone().or_else(|| evidence(seen)),
        restore_synchronous: stored.restore_synchronous || stored.claim.is_some(),
        claim: None,
        journal: Some(journal),
        ..stored.enter(state, seen.now.wall)
    }
}

fn journal(
    seen: &Observation,
    operation: &str,
    kind: MoveKind,
    automatic: bool,
    target: &RegionName,
) -> Journal {
    let known = seen.stored.evidence.clone().or_else(|| evidence(seen));
    Journal {
        operation: operation.to_owned(),
        kind,
        automatic,
        from: seen.stored.active.clone(),
        to: target.clone(),
        accept: std::collections::BTreeSet::new(),
        proof: None,
        system_identifier: known.as_ref().map_or_else(
            || identifier_of(seen, target),
            |e| e.system_identifier.clone(),
        ),
        timeline: known
            .as_ref()
            .map_or_else(|| timeline_of(seen, target), |e| e.timeline),
        final_position: None,
        loss: None,
        loss_bytes: None,
        started: seen.now.wall,
        outage_since: seen.stored.evidence.as_ref().map(|e| e.outage_since),
    }
}

fn identifier_of(seen: &Observation, region: &RegionName) -> String {
    let facts = seen.server(region).and_then(ServerView::now);
    facts.map_or_else(String::new, |facts| facts.system_identifier.clone())
}

fn timeline_of(seen: &Observation, region: &RegionName) -> u32 {
    seen.server(region)
        .and_then(ServerView::now)
        .map_or(0, |facts| facts.timeline)
}

/// What the last good read of the active server says, as of now. The synchronous claim survives
/// only when that read is fresh and still shows its settings.
pub(super) fn evidence(seen: &Observation) -> Option<Evidence> {
    let facts = seen.active()?.facts.as_ref()?;
    let age_ms = seen.now.mono.since(facts.sampled);
    let claim = seen
        .stored
        .claim
        .as_ref()
        .filter(|c| age_ms <= freshness_ms(seen) && super::synchrony::still_claimed(c, facts));
    let age_seconds = i64::try_from(age_ms / 1000).unwrap_or(i64::MAX);
    let sampled = seen.now.wall.as_second().saturating_sub(age_seconds);
    Some(Evidence {
        sampled: jiff::Timestamp::from_second(sampled).unwrap_or(seen.now.wall),
        outage_since: seen.now.wall,
        system_identifier: facts.system_identifier.clone(),
        timeline: facts.timeline,
        major_version: facts.major_version,
        position: facts.position,
        synchronous: claim.map(|c| c.standby.clone()),
    })
}

/// How old the last good read before an outage may be, in milliseconds: some probes, and what a
/// busy machine adds. A server that refused the login for longer may have been told meanwhile to
/// wait for no standby.
fn freshness_ms(seen: &Observation) -> u64 {
    let policy = &seen.settings;
    let seconds = policy
        .interval_seconds
        .saturating_add(policy.timeout_seconds);
    u64::from(seconds).saturating_mul(3_000) + BUSY_MS
}

/// The epoch after which an abandoned move is over, so that nothing of it can act any more.
pub(super) fn epoch_after(seen: &Observation) -> Epoch {
    seen.stored.epoch.next()
}
