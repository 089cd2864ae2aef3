//! Which servers are probed, and how. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::meta::ACCEPT_SYSTEM_IDENTIFIER;
use domicile_api::policy::FailoverPolicy;
use domicile_api::region::{DatabaseServerStatus, Region};
use domicile_core::health::Thresholds;
use domicile_core::names::ServerId;
use kube::ResourceExt;

/// For servers that no policy covers.
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const THRESHOLDS: Thresholds = Thresholds { fall: 3, rise: 3 };

/// How a server is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Time between the beginnings of two probes.
    pub interval: Duration,
    /// Longest time for one probe, with all its parts.
    pub timeout: Duration,
    /// How many probes change the verdict.
    pub thresholds: Thresholds,
    /// The policies that the server is in.
    pub policies: Vec<String>,
    /// The system identifiers that the server may have; any, when empty.
    pub identifiers: Vec<String>,
    /// What a person wrote last: when it changes, the next probe is due at once.
    pub wish: Wish,
}

/// What a person can change about a Region that a probe depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    generation: Option<i64>,
    accepted: Option<String>,
}

/// How each server of `regions` is probed. A server in several policies follows the first one.
pub fn plans(
    regions: &[Arc<Region>],
    policies: &[Arc<FailoverPolicy>],
) -> BTreeMap<ServerId, Plan> {
    let mut plans = BTreeMap::new();
    for region in regions {
        for server in &region.spec.database_servers {
            let id = ServerId::new(region.name_any(), server.name.clone());
            let plan = Plan {
                interval: INTERVAL,
                timeout: TIMEOUT,
                thresholds: THRESHOLDS,
                policies: Vec::new(),
                identifiers: identifiers(region, &server.name),
                wish: Wish {
                    generation: region.metadata.generation,
                    accepted: accepted(region),
                },
            };
            plans.insert(id, plan);
        }
    }
    for policy in policies {
        for id in members(policy) {
            let Some(plan) = plans.get_mut(&id) else {
                continue;
            };
            if plan.policies.is_empty() {
                let detection = &policy.spec.detection;
                plan.interval = duration(detection.interval_seconds);
                plan.timeout = duration(detection.timeout_seconds);
                plan.thresholds = Thresholds {
                    fall: count(detection.failure_threshold),
                    rise: count(detection.success_threshold),
                };
            }
            plan.policies.push(policy.name_any());
        }
    }
    plans
}

/// The servers of a policy, its primary first.
pub fn members(policy: &FailoverPolicy) -> Vec<ServerId> {
    let primary = &policy.spec.primary;
    let first = ServerId::new(primary.region.clone(), primary.server.clone());
    let standbys = policy.spec.standbys.iter();
    let rest = standbys.map(|s| ServerId::new(s.region.clone(), s.server.clone()));
    std::iter::once(first).chain(rest).collect()
}

/// The pinned identifier of a server and the one that a person accepted instead.
pub(crate) fn identifiers(region: &Region, server: &str) -> Vec<String> {
    let status = region.status.as_ref();
    let find = |entry: &&DatabaseServerStatus| entry.name == server;
    let pinned = status.and_then(|status| status.database_servers.iter().find(find));
    let Some(pinned) = pinned.and_then(|entry| entry.system_identifier.clone()) else {
        return Vec::new();
    };
    std::iter::once(pinned).chain(accepted(region)).collect()
}

fn accepted(region: &Region) -> Option<String> {
    region.annotations().get(ACCEPT_SYSTEM_IDENTIFIER).cloned()
}

fn duration(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1))
}

fn count(threshold: i32) -> u32 {
    u32::try_from(threshold).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn region(name: &str, annotations: &Value, pinned: Option<&str>) -> Arc<Region> {
        let server = |name: &str| {
            json!({
                "name": name, "host": "10.0.0.1", "tls": { "caSecretRef": { "name": "ca" } },
                "adminSecretRef": { "name": "admin" },
            })
        };
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
            "metadata": { "name": name, "annotations": annotations },
            "spec": {
                "key": "K", "jurisdiction": "EU", "databaseServers": [server("main"), server("b")],
            },
            "status": { "databaseServers": [
                { "name": "main", "reachable": "True", "systemIdentifier": pinned },
            ]},
        });
        Arc::new(serde_json::from_value(region).unwrap())
    }

    fn policy(name: &str, standby: &str, interval: i32) -> Arc<FailoverPolicy> {
        let policy = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
            "metadata": { "name": name },
            "spec": {
                "primary": { "region": "west", "server": "main" },
                "standbys": [{ "region": standby, "server": "main" }],
                "detection": { "intervalSeconds": interval, "timeoutSeconds": 1,
                               "failureThreshold": 2, "successThreshold": 4 },
            },
        });
        Arc::new(serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn a_server_follows_its_first_policy_and_others_the_defaults() {
        let regions = [
            region("west", &json!({}), None),
            region("south", &json!({}), None),
        ];
        let policies = [policy("a", "south", 1), policy("b", "south", 9)];
        let plans = plans(&regions, &policies);
        assert_eq!(plans.len(), 4);
        let covered = &plans[&ServerId::new("south", "main")];
        assert_eq!(covered.interval, Duration::from_secs(1));
        assert_eq!(covered.thresholds, Thresholds { fall: 2, rise: 4 });
        assert_eq!(covered.policies, ["a", "b"]);
        let other = &plans[&ServerId::new("south", "b")];
        assert_eq!((other.interval, other.timeout), (INTERVAL, TIMEOUT));
        assert!(other.policies.is_empty());
    }

    /// Faults: 62.
    #[test]
    fn a_recorded_server_may_only_be_itself_or_the_one_that_was_accepted() {
        let identifiers = |region: Arc<Region>| {
            plans(&[region], &[])[&ServerId::new("west", "main")]
                .identifiers
                .clone()
        };
        assert!(identifiers(region("west", &json!({}), None)).is_empty());
        assert_eq!(identifiers(region("west", &json!({}), Some("1"))), ["1"]);
        let accepting = json!({ ACCEPT_SYSTEM_IDENTIFIER: "2" });
        assert_eq!(
            identifiers(region("west", &accepting, Some("1"))),
            ["1", "2"]
        );
    }
}
