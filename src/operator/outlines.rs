//! What a `Region` says that concerns others. Its figures change with each tenant that is placed,
//! and if that woke all of its tenants, placing them would take a square of their number.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_api::region::{Region, RegionSpec, RegionStatus};

use crate::kube::cache::Seen;
use crate::kube::wake::Key;

/// The Regions as others last saw them.
#[derive(Debug, Default)]
pub struct Outlines(Mutex<BTreeMap<Key, Outline>>);

#[derive(Debug, PartialEq)]
struct Outline {
    uid: Option<String>,
    deleted: bool,
    annotations: Option<BTreeMap<String, String>>,
    spec: RegionSpec,
    status: Option<RegionStatus>,
}

impl Outlines {
    /// Whether others must look again. `seen` is absent when the object is gone.
    pub fn changed(&self, key: &Key, seen: Option<&Seen<Region>>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Seen::Valid(region)) = seen else {
            known.remove(key);
            return true;
        };
        let outline = outline(region);
        if known.get(key) == Some(&outline) {
            return false;
        }
        known.insert(key.clone(), outline);
        true
    }
}

fn outline(region: &Region) -> Outline {
    let metadata = &region.metadata;
    Outline {
        uid: metadata.uid.clone(),
        deleted: metadata.deletion_timestamp.is_some(),
        annotations: metadata.annotations.clone(),
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
            }],
        }))
    }

    #[test]
    fn figures_concern_nobody_and_all_else_does() {
        let (key, outlines) = (Key::cluster("west"), Outlines::default());
        assert!(outlines.changed(&key, Some(&told(1, "east", "True"))));
        assert!(!outlines.changed(&key, Some(&told(2, "south", "True"))));
        assert!(outlines.changed(&key, Some(&told(2, "south", "False"))));
        assert!(outlines.changed(&key, None));
        assert!(outlines.changed(&key, Some(&told(2, "south", "False"))));
    }
}
