//! Operations: which one is run, which are refused, and why.

use super::begin::{journal, start};
use super::guards;
use super::observation::{Answer, Observation, Refusal, Request};
use super::outcome::{Outcome, objections};
use super::question::Question;
use super::state::{Journal, MoveKind, State, Stored};

/// Looks at the operations. One is started in a calm state only, and one at a time; what cannot be
/// run is refused, never kept for later.
pub(super) fn consider(seen: &Observation) -> (Option<Outcome>, Vec<Refusal>) {
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
    let outcome = started.map(|(request, stored)| {
        let message = format!(
            "operation {} moves {} to {}",
            request.name, seen.stored.active, request.target
        );
        Outcome::new(Answer::Move(Box::new(stored)), "OperationStarted", message)
    });
    (outcome, refusals)
}

/// Refuses `operation` with a reason.
fn refuse(operation: &str, reason: &'static str, message: String) -> Refusal {
    Refusal {
        operation: operation.to_owned(),
        reason,
        message,
    }
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
