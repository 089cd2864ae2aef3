//! From conditions and guards to what is not as it should be.

use domicile_api::ConditionType;
use domicile_api::conditions::Reason;
use jiff::Timestamp;
use serde_json::Value;

use crate::json::{age, at, condition, is, items, text};
use crate::report::{Finding, Health};

/// What a condition's status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// True is good.
    GoodWhenTrue,
    /// True is worth a word.
    BadWhenTrue,
    /// Neither; it informs.
    Informs,
}

/// In the order in which a person wants to read them.
const ORDER: [ConditionType; 24] = [
    ConditionType::Stalled,
    ConditionType::SplitBrain,
    ConditionType::PrimaryHealthy,
    ConditionType::DatabasesReachable,
    ConditionType::AdminPrivilegesSufficient,
    ConditionType::ProvidersReady,
    ConditionType::ReadReplicasFollow,
    ConditionType::ResidencyCompliant,
    ConditionType::ResidencyEffective,
    ConditionType::ServerFits,
    ConditionType::DatabaseReady,
    ConditionType::CredentialsCurrent,
    ConditionType::Injected,
    ConditionType::FailedOver,
    ConditionType::StandbyHealthy,
    ConditionType::ReplicationHealthy,
    ConditionType::FailoverReady,
    ConditionType::CleanupPending,
    ConditionType::Drifted,
    ConditionType::Paused,
    ConditionType::Ready,
    ConditionType::Reconciling,
    ConditionType::FailbackReady,
    ConditionType::FailoverProtected,
];

fn meaning(condition: ConditionType) -> Meaning {
    match condition {
        ConditionType::Stalled
        | ConditionType::Reconciling
        | ConditionType::FailedOver
        | ConditionType::SplitBrain
        | ConditionType::CleanupPending
        | ConditionType::Drifted
        | ConditionType::Paused => Meaning::BadWhenTrue,
        ConditionType::Ready
        | ConditionType::DatabasesReachable
        | ConditionType::AdminPrivilegesSufficient
        | ConditionType::ProvidersReady
        | ConditionType::ReadReplicasFollow
        | ConditionType::ServerFits
        | ConditionType::DatabaseReady
        | ConditionType::CredentialsCurrent
        | ConditionType::Injected
        | ConditionType::ResidencyCompliant
        | ConditionType::ResidencyEffective
        | ConditionType::FailoverReady
        | ConditionType::ReplicationHealthy
        | ConditionType::PrimaryHealthy
        | ConditionType::StandbyHealthy => Meaning::GoodWhenTrue,
        // A tenant without a standby is as it was ordered, and home is not always ready to return.
        ConditionType::FailbackReady | ConditionType::FailoverProtected => Meaning::Informs,
    }
}

/// The object in one word, in the order of kstatus; weaker protection counts as degraded.
pub fn health(object: &Value) -> Health {
    let generation = at(object, "/metadata/generation");
    let observed = at(object, "/status/observedGeneration");
    let deleting = !at(object, "/metadata/deletionTimestamp").is_null();
    if is(object, "SplitBrain", "True") {
        return Health::Degraded;
    }
    // What is said of an older generation may not hold any more.
    if observed != generation {
        return Health::Progressing;
    }
    // A deletion that waits for a person is worth more than that it is one.
    if is(object, "Stalled", "True") {
        return Health::Degraded;
    }
    if deleting || is(object, "Reconciling", "True") {
        return Health::Progressing;
    }
    let bad = ORDER.iter().any(|kind| departs(object, *kind));
    match (is(object, "Ready", "True"), bad) {
        (true, false) => Health::Healthy,
        (true, true) => Health::Degraded,
        (false, _) if is(object, "Ready", "False") => Health::Degraded,
        (false, _) => Health::Progressing,
    }
}

/// Every condition that departs from what it should be, most telling first.
pub fn of_conditions(object: &Value, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    if at(object, "/status/conditions").is_null() {
        found.push(Finding {
            source: "status".to_owned(),
            reason: "NotObserved".to_owned(),
            message: "no controller has looked at this object yet; is the operator running?".into(),
            age: age(&text(object, "/metadata/creationTimestamp"), now),
        });
    }
    for kind in ORDER.into_iter().filter(|kind| departs(object, *kind)) {
        found.push(finding(condition(object, kind.as_str()), now));
    }
    // `Ready` often repeats what a more telling condition has said already.
    let mut kept: Vec<Finding> = Vec::new();
    for finding in found {
        let said = |k: &Finding| k.reason == finding.reason && k.message == finding.message;
        if !kept.iter().any(said) {
            kept.push(finding);
        }
    }
    kept
}

/// Every guard that says no.
pub fn of_guards(policy: &Value) -> Vec<Finding> {
    let failing = items(policy, "/status/guards")
        .iter()
        .filter(|guard| at(guard, "/ok") == false);
    let finding = |guard: &Value| Finding {
        source: "guard".to_owned(),
        reason: text(guard, "/name"),
        message: text(guard, "/message"),
        age: String::new(),
    };
    failing.map(finding).collect()
}

/// Whether a condition is not as it should be. A policy that waits for a person, with a standby
/// that could take over, is as it was ordered.
pub fn departs(object: &Value, kind: ConditionType) -> bool {
    match meaning(kind) {
        Meaning::GoodWhenTrue => {
            let found = condition(object, kind.as_str());
            let status = text(found, "/status");
            let ordered = kind == ConditionType::FailoverReady
                && text(found, "/reason") == Reason::NotArmed.as_str();
            !status.is_empty() && status != "True" && !ordered
        }
        Meaning::BadWhenTrue => is(object, kind.as_str(), "True"),
        Meaning::Informs => false,
    }
}

fn finding(condition: &Value, now: Timestamp) -> Finding {
    Finding {
        source: format!(
            "{}={}",
            text(condition, "/type"),
            text(condition, "/status")
        ),
        reason: text(condition, "/reason"),
        message: text(condition, "/message"),
        age: age(&text(condition, "/lastTransitionTime"), now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_type_is_read() {
        for kind in ConditionType::ALL {
            assert!(ORDER.contains(kind), "{} is never shown", kind.as_str());
        }
        assert_eq!(ORDER.len(), ConditionType::ALL.len());
    }

    #[test]
    fn health_follows_kstatus_and_then_protection() {
        let object = |conditions: Value, observed: i64| {
            serde_json::json!({"metadata": {"generation": 2},
                "status": {"observedGeneration": observed, "conditions": conditions}})
        };
        let c = |kind: &str, status: &str| serde_json::json!({"type": kind, "status": status});
        let unready = |reason: &str| {
            let mut failover = c("FailoverReady", "False");
            failover["reason"] = reason.into();
            object(serde_json::json!([c("Ready", "True"), failover]), 2)
        };
        let cases = [
            (
                object(serde_json::json!([c("Ready", "True")]), 2),
                Health::Healthy,
            ),
            (
                object(serde_json::json!([c("Ready", "True")]), 1),
                Health::Progressing,
            ),
            (
                object(
                    serde_json::json!([c("Ready", "False"), c("Stalled", "True")]),
                    2,
                ),
                Health::Degraded,
            ),
            (
                object(serde_json::json!([c("Stalled", "True")]), 1),
                Health::Progressing,
            ),
            (
                object(
                    serde_json::json!([c("Ready", "True"), c("FailedOver", "True")]),
                    2,
                ),
                Health::Degraded,
            ),
            (
                object(
                    serde_json::json!([c("Ready", "True"), c("FailoverProtected", "False")]),
                    2,
                ),
                Health::Healthy,
            ),
            (unready("NotArmed"), Health::Healthy),
            (unready("NoEligibleStandby"), Health::Degraded),
            (object(Value::Null, 2), Health::Progressing),
        ];
        for (object, expected) in cases {
            assert_eq!(health(&object), expected, "{object}");
        }
    }
}
