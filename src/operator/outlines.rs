//! What a `Region` or a `FailoverPolicy` says that concerns others. Figures and journals change
//! with each tenant that is placed or moved, and if that woke all tenants, placing or moving them
//! would take a square of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use domicile_api::conditions::{ConditionType, is_true};
use domicile_api::convert::policy_view;
use domicile_api::policy::{FailoverPolicy, FailoverPolicySpec};
use domicile_api::policy_status::StreamState;
use domicile_api::region::{Region, RegionSpec, RegionStatus};
use domicile_core::placement::PolicyView;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::kube::cache::{Seen, Watched};
use crate::kube::wake::Key;

/// The objects of a kind as others last saw them.
#[derive(Debug)]
pub struct Outlines<O>(Mutex<BTreeMap<Key, O>>);

impl<O> Default for Outlines<O> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<O: PartialEq> Outlines<O> {
    /// Whether others must look again. `seen` is absent when the object is gone.
    pub fn changed<K>(&self, key: &Key, seen: Option<&Seen<K>>) -> bool
    where
        K: Watched,
        for<'a> O: From<&'a K>,
    {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Seen::Valid(object)) = seen else {
            known.remove(key);
            return true;
        };
        let outline = O::from(object);
        if known.get(key) == Some(&outline) {
            return false;
        }
        known.insert(key.clone(), outline);
        true
    }
}

/// What any object says.
#[derive(Debug, PartialEq)]
struct Head {
    uid: Option<String>,
    deleted: bool,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<&ObjectMeta> for Head {
    fn from(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone(),
            deleted: metadata.deletion_timestamp.is_some(),
            annotations: metadata.annotations.clone(),
        }
    }
}

/// A `Region` for others.
#[derive(Debug, PartialEq)]
pub struct RegionOutline {
    head: Head,
    spec: RegionSpec,
    status: Option<RegionStatus>,
}

impl From<&Region> for RegionOutline {
    fn from(region: &Region) -> Self {
        Self {
            head: Head::from(&region.metadata),
            spec: region.spec.clone(),
            status: region.status.clone().map(|status| {
                let mut status = without_counts(status);
                for server in &mut status.database_servers {
                    server.copies.clear();
                    server.closed_to.clear();
                    server.closed_to_backups.clear();
                }
                status
            }),
        }
    }
}

/// A `FailoverPolicy` for others: of its status, where its machine stands, whether it is armed, and
/// whose standbys follow.
#[derive(Debug, PartialEq)]
pub struct PolicyOutline {
    head: Head,
    spec: FailoverPolicySpec,
    view: PolicyView,
    armed: bool,
    following: BTreeSet<String>,
}

impl From<&FailoverPolicy> for PolicyOutline {
    fn from(policy: &FailoverPolicy) -> Self {
        let status = policy.status.as_ref();
        let streams = status.iter().flat_map(|status| &status.replication);
        let following = streams.filter(|one| one.state == StreamState::Streaming);
        Self {
            head: Head::from(&policy.metadata),
            spec: policy.spec.clone(),
            view: policy_view(policy),
            following: following.map(|one| one.region.clone()).collect(),
            armed: status
                .is_some_and(|status| is_true(&status.conditions, ConditionType::FailoverReady)),
        }
    }
}

/// A status without the figures that change with each tenant.
pub fn without_counts(mut status: RegionStatus) -> RegionStatus {
    status.placements = None;
    status.tenants = None;
    for server in &mut status.database_servers {
        server.tenants = None;
    }
    status
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn seen(status: &Value) -> Seen<Region> {
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
            "metadata": { "name": "west", "uid": "u" },
            "spec": { "key": "W", "jurisdiction": "EU", "databaseServers": [{
                "name": "main", "host": "h", "tls": { "caSecretRef": { "name": "ca" } },
                "adminSecretRef": { "name": "admin" },
            }]},
            "status": status,
        });
        let region: Region = serde_json::from_value(region).unwrap();
        Seen::Valid(Arc::new(region))
    }

    fn told(tenants: i32, closed: &str, reachable: &str) -> Seen<Region> {
        seen(&json!({
            "placements": tenants,
            "tenants": { "total": tenants },
            "databaseServers": [{
                "name": "main", "reachable": reachable, "tenants": tenants, "closedTo": [closed],
                "closedToBackups": [closed],
            }],
        }))
    }

    #[test]
    fn figures_concern_nobody_and_all_else_does() {
        let (key, outlines) = (Key::cluster("west"), Outlines::<RegionOutline>::default());
        assert!(outlines.changed(&key, Some(&told(1, "east", "True"))));
        assert!(!outlines.changed(&key, Some(&told(2, "south", "True"))));
        assert!(outlines.changed(&key, Some(&told(2, "south", "False"))));
        assert!(outlines.changed::<Region>(&key, None));
        assert!(outlines.changed(&key, Some(&told(2, "south", "False"))));
    }

    fn policy(status: &Value) -> Seen<FailoverPolicy> {
        let policy = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
            "metadata": { "name": "eu", "uid": "u" },
            "spec": {
                "primary": { "region": "west", "server": "main" },
                "standbys": [{ "region": "east", "server": "main" }],
            },
            "status": status,
        });
        let policy: FailoverPolicy = serde_json::from_value(policy).unwrap();
        Seen::Valid(Arc::new(policy))
    }

    #[test]
    fn a_journal_concerns_nobody_and_where_a_move_stands_does() {
        let (key, outlines) = (Key::cluster("eu"), Outlines::<PolicyOutline>::default());
        let told = |state: &str, epoch: i64, bound: i64, ready: &str, stream: &str| {
            policy(&json!({
                "state": state, "epoch": epoch, "activeRegion": "west",
                "replication": [{
                    "region": "east", "state": stream, "synchronous": false,
                    "lossBoundSeconds": bound,
                }],
                "conditions": [{
                    "type": "FailoverReady", "status": ready, "reason": "Armed", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            }))
        };
        let changed = |told| outlines.changed(&key, Some(&told));
        assert!(changed(told("Steady", 1, 1, "True", "Streaming")));
        assert!(!changed(told("Steady", 1, 2, "True", "Streaming")));
        assert!(changed(told("Steady", 1, 2, "True", "Broken")));
        assert!(changed(told("Rerouting", 1, 2, "True", "Broken")));
        assert!(changed(told("Rerouting", 2, 2, "True", "Broken")));
        assert!(changed(told("Rerouting", 2, 2, "False", "Broken")));
    }
}
