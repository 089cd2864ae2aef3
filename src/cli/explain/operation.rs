//! `explain operation/…`.

use serde_json::Value;

use super::{fact, related};
use crate::findings::of_guards;
use crate::json::{items, lasted, moment, text};
use crate::kinds::Kind;
use crate::report::{Finding, Health, Report, Step};
use crate::world::World;

/// Adds what an operation's status tells.
pub(super) fn fill(report: &mut Report, operation: &Value, world: &World) {
    let status = |pointer: &str| text(operation, &format!("/status{pointer}"));
    let spec = |pointer: &str| text(operation, &format!("/spec{pointer}"));
    let state = status("/state");
    report.health = health(&state);
    report.facts.extend(fact("type", spec("/type")));
    report.facts.extend(fact("policy", spec("/policyRef/name")));
    report.facts.extend(fact("target", spec("/target")));
    report
        .facts
        .extend(fact("expected epoch", spec("/expectedEpoch")));
    report.facts.extend(fact("epoch", status("/epoch/to")));
    report.facts.extend(fact("proof", status("/proof")));
    report
        .facts
        .extend(fact("loss in seconds", status("/lossBound/seconds")));
    report.facts.extend(fact("seconds", status("/rtoSeconds")));
    report.facts.extend(fact("reason", spec("/reason")));
    for approval in items(operation, "/status/approvals") {
        let value = format!(
            "{} {}",
            text(approval, "/user"),
            moment(&text(approval, "/time"))
        );
        report.facts.extend(fact("approved", value));
    }
    let message = status("/message");
    if !message.is_empty() && health(&state) != Health::Healthy {
        let (source, age) = ("state".to_owned(), String::new());
        let told = |finding: &Finding| finding.message == message;
        if !report.why.iter().any(told) {
            report.why.insert(
                0,
                Finding {
                    source,
                    reason: state.clone(),
                    message,
                    age,
                },
            );
        }
    } else if report.summary.is_empty() {
        report.summary = message;
    }
    if !state.is_empty() {
        report.state = state;
    }
    report.steps.extend(steps(operation));
    let policy = world.find(Kind::FailoverPolicy, "", &spec("/policyRef/name"));
    if let Some(policy) = policy {
        if report.health != Health::Healthy {
            report.why.extend(of_guards(policy));
        }
        report.related.push(related(Kind::FailoverPolicy, policy));
    }
}

/// The steps that were taken, in order.
pub(super) fn steps(operation: &Value) -> Vec<Step> {
    let step = |step: &Value| {
        let took = lasted(&text(step, "/started"), &text(step, "/finished"));
        let outcome = format!("{} {took}", text(step, "/outcome"))
            .trim()
            .to_owned();
        Step {
            time: moment(&text(step, "/started")),
            name: text(step, "/name"),
            outcome,
        }
    };
    items(operation, "/status/steps").iter().map(step).collect()
}

/// An operation's health is its state's, so that one that succeeded stays healthy.
pub(super) fn health(state: &str) -> Health {
    match state {
        "Succeeded" => Health::Healthy,
        "" | "Pending" | "Running" => Health::Progressing,
        _ => Health::Degraded,
    }
}
