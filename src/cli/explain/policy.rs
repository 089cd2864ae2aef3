//! `explain policy/…`, which is `status POLICY` too.

use domicile_api::ConditionType;
use jiff::Timestamp;
use serde_json::Value;

use super::{fact, related};
use crate::advice::awaiting;
use crate::findings::{departs, of_guards};
use crate::json::{age, at, condition, items, moment, name, text};
use crate::kinds::Kind;
use crate::report::{Fact, Health, Report, Step};
use crate::world::{World, members};

/// Adds what a policy's status tells.
pub(super) fn fill(report: &mut Report, policy: &Value, world: &World, now: Timestamp) {
    let status = |pointer: &str| text(policy, &format!("/status{pointer}"));
    let state = status("/state");
    if !state.is_empty() {
        report.state.clone_from(&state);
        report.age = age(&status("/since"), now);
    }
    if !["", "Steady"].contains(&state.as_str()) {
        report.health = report.health.max(Health::Progressing);
    }
    if ["Blocked", "Halted", "Outage", "AwaitingApproval"].contains(&state.as_str()) {
        report.health = Health::Degraded;
    }
    facts(report, policy, world, now);
    guards(report, policy, &state);
    report.steps.extend(steps(policy, world));
    let operation = awaiting(policy, world);
    let operation = operation.and_then(|name| world.find(Kind::FailoverOperation, "", &name));
    report
        .related
        .extend(operation.map(|o| related(Kind::FailoverOperation, o)));
    for (region, _) in members(policy) {
        let found = world.find(Kind::Region, "", &region);
        report
            .related
            .extend(found.map(|r| related(Kind::Region, r)));
    }
}

/// Guards count while a failover is thought of; during a move they have been asked already.
fn guards(report: &mut Report, policy: &Value, state: &str) {
    let thinking = ["Suspect", "Outage", "Blocked", "AwaitingApproval", "Halted"].contains(&state);
    let unready = state == "Steady" && departs(policy, ConditionType::FailoverReady);
    if !thinking && !unready {
        return;
    }
    for finding in of_guards(policy) {
        // While all is well nobody agrees that the primary is gone, and that is well too; and who
        // starts a failover is as it was ordered.
        let expected = unready && ["SecondVantage", "Armed"].contains(&finding.reason.as_str());
        let said = report
            .why
            .iter()
            .any(|known| known.message == finding.message);
        if !expected && !said {
            report.why.push(finding);
        }
    }
}

fn facts(report: &mut Report, policy: &Value, world: &World, now: Timestamp) {
    let status = |pointer: &str| text(policy, &format!("/status{pointer}"));
    let active = status("/activeRegion");
    report.facts.extend(fact("active", active.clone()));
    report.facts.extend(fact("home", status("/homeRegion")));
    report.facts.extend(fact("epoch", status("/epoch")));
    report
        .facts
        .extend(fact("mode", text(policy, "/spec/mode")));
    if !departs(policy, ConditionType::FailoverReady) {
        let ready = text(condition(policy, "FailoverReady"), "/message");
        report.facts.extend(fact("failover", ready));
    }
    report
        .facts
        .extend(fact("split brain", status("/guarantees/splitBrain")));
    let loss = status("/guarantees/dataLossSeconds");
    let loss = if loss.is_empty() {
        "unknown".to_owned()
    } else {
        format!("at most {loss} s")
    };
    report.facts.extend(fact("data loss", loss));
    report.facts.extend(fact("write lease", lease(policy)));
    for standby in items(policy, "/status/replication") {
        let synchronous = at(standby, "/synchronous") == true;
        let how = if synchronous {
            "synchronous"
        } else {
            "asynchronous"
        };
        let value = format!("{} {how}", text(standby, "/state"));
        report.facts.push(Fact {
            name: format!("to {}", text(standby, "/region")),
            value,
        });
    }
    for found in items(policy, "/status/returned") {
        let (job, state) = (text(found, "/dump/job"), text(found, "/dump/state"));
        if !job.is_empty() {
            report.facts.push(Fact {
                name: format!("copy of {}", text(found, "/region")),
                value: format!("{state}, Job {job}"),
            });
        }
    }
    let here = |p: &&Value| text(p, "/status/activeRegion") == active && !active.is_empty();
    let count = world.placements.iter().filter(here).count();
    if world.unread.is_empty() {
        report.facts.extend(fact("placements", count.to_string()));
    }
    let until = status("/cooldownUntil");
    if until.parse::<Timestamp>().is_ok_and(|until| until > now) {
        report.facts.extend(fact("no automatic move before", until));
    }
}

/// Who holds the write lease, and what its end would mean.
fn lease(policy: &Value) -> String {
    let state = text(policy, "/status/lease/state");
    let holder = text(policy, "/status/lease/holder");
    let survives = at(policy, "/status/lease/survivesHub") == true;
    match state.as_str() {
        "" => String::new(),
        "Pledged" if survives => format!("Pledged by {holder}; the primary outlives the hub"),
        "Pledged" => format!("Pledged by {holder}; losing the hub fences the primary"),
        "Offered" => format!("Offered to {holder}; no agent has answered"),
        _ => format!("{state}, {holder}"),
    }
}

/// The last moves, the outage and the move under way, oldest first.
fn steps(policy: &Value, world: &World) -> Vec<Step> {
    let mut steps: Vec<Step> = items(policy, "/status/history")
        .iter()
        .take(3)
        .map(past)
        .collect();
    steps.reverse();
    let journal = at(policy, "/status/journal");
    // A planned move keeps evidence too, and there no probe failed.
    let outage = text(policy, "/status/evidence/outageSince");
    if !outage.is_empty() && ["", "Failover"].contains(&text(journal, "/kind").as_str()) {
        let (time, outcome) = (moment(&outage), text(policy, "/status/activeRegion"));
        steps.push(Step {
            time,
            name: "ProbeFailed".to_owned(),
            outcome,
        });
    }
    if !journal.is_null() {
        let (from, to) = (text(journal, "/from"), text(journal, "/to"));
        let proof = text(journal, "/proof");
        let outcome = format!("{from} to {to} {proof}").trim_end().to_owned();
        let name_of_step = text(journal, "/kind");
        steps.push(Step {
            time: moment(&text(journal, "/started")),
            name: name_of_step,
            outcome,
        });
        let own = world.find(Kind::FailoverOperation, "", &text(journal, "/operation"));
        steps.extend(own.into_iter().flat_map(super::operation::steps));
    } else if let Some(last) = world.operations_of(&name(policy)).first() {
        let ended = text(last, "/status/state");
        if ["Refused", "Failed", "Aborted"].contains(&ended.as_str()) {
            let outcome = format!("{ended}: {}", text(last, "/status/message"));
            let time = text(last, "/metadata/creationTimestamp");
            steps.push(Step {
                time,
                name: name(last),
                outcome,
            });
        }
    }
    steps
}

fn past(entry: &Value) -> Step {
    let field = |key: &str| text(entry, key);
    let loss = field("/lossSeconds");
    let loss = if loss.is_empty() {
        "unknown".to_owned()
    } else {
        format!("{loss} s")
    };
    let outcome = format!(
        "{} to {} in {} s, loss {loss}, epoch {} {}",
        field("/from"),
        field("/to"),
        field("/rtoSeconds"),
        field("/epoch"),
        field("/proof"),
    );
    let outcome = outcome.trim_end().to_owned();
    Step {
        time: moment(&field("/finished")),
        name: field("/kind"),
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::explain;

    fn explained(mode: &str, reason: &str, guards: &Value) -> Report {
        let condition = |kind: &str, status: &str, reason: &str| {
            let told = "as told";
            json!({"type": kind, "status": status, "reason": reason, "message": told})
        };
        let policy = json!({
            "metadata": {"name": "eu", "generation": 1},
            "spec": {"mode": mode},
            "status": {"observedGeneration": 1, "state": "Steady", "guards": guards,
                       "conditions": [condition("Ready", "True", "Steady"),
                                      condition("FailoverReady", "False", reason)]},
        });
        let now = "2026-01-01T03:00:00Z".parse().unwrap();
        explain::report(Kind::FailoverPolicy, &policy, &World::default(), now)
    }

    #[test]
    fn a_policy_that_waits_for_a_person_is_healthy_until_its_standby_is_lost() {
        let no = |name: &str| json!({"name": name, "ok": false, "message": name});
        let armed = json!([no("Armed"), no("SecondVantage")]);
        let report = explained("Manual", "NotArmed", &armed);
        assert_eq!(report.health, Health::Healthy, "{report:?}");
        assert!(report.why.is_empty() && report.next.is_empty());
        let told = |fact: &Fact| fact.name == "failover" && fact.value == "as told";
        assert!(report.facts.iter().any(told), "{report:?}");

        let lost = json!([no("Armed"), no("SecondVantage"), no("StandbyEligible")]);
        let report = explained("Manual", "NoEligibleStandby", &lost);
        assert_eq!(report.health, Health::Degraded);
        let why: Vec<&str> = report.why.iter().map(|f| f.reason.as_str()).collect();
        assert_eq!(why, ["NoEligibleStandby", "StandbyEligible"]);
    }
}
