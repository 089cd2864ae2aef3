//! Where the databases of a server lie too, and where its tenants allow none: what admission asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domicile_api::convert::{law, region_view};
use domicile_api::copies::{BackupCopy, MAX_REGIONS, ServerCopy};
use domicile_api::placement::TenantPlacement;
use domicile_api::region::Region;
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, Held, PolicyView, RegionView};
use kube::ResourceExt;

/// Of one server, as its status says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The other regions that hold its databases.
    pub copies: Vec<ServerCopy>,
    /// The regions in which its backups, and those of its standbys, lie.
    pub backups: Vec<BackupCopy>,
    /// The regions in which one of its tenants allows no standby.
    pub closed_to: Vec<String>,
    /// The regions in which one of its tenants allows no backups.
    pub closed_to_backups: Vec<String>,
}

/// The bounds of each server of `region`.
pub fn bounds(
    region: &Region,
    held: &Held,
    policies: &[PolicyView],
    (regions, placements): (&[Arc<Region>], &[Arc<TenantPlacement>]),
) -> BTreeMap<String, Bounds> {
    let views = regions.iter().map(|region| region_view(region)).collect();
    let laws = laws(&views, placements);
    let active = active(placements);
    let of = |server: &str| {
        let held = held.on(server);
        let mut closed = placement::closed(held.iter().map(|uid| laws.get(*uid)), &views);
        // Where tenants are served from, their policy must be able to be made anew.
        let served = |region: &RegionName| held.iter().any(|uid| active.get(*uid) == Some(region));
        closed.to_servers.retain(|region| !served(region));
        Bounds {
            copies: copies(&ServerId::new(region.name_any(), server), policies, &views),
            backups: backups(&ServerId::new(region.name_any(), server), policies, &views),
            closed_to: names(closed.to_servers),
            closed_to_backups: names(closed.to_backups),
        }
    };
    let servers = region.spec.database_servers.iter();
    servers.map(|s| (s.name.clone(), of(&s.name))).collect()
}

fn names(regions: BTreeSet<RegionName>) -> Vec<String> {
    let most = regions.into_iter().take(MAX_REGIONS);
    most.map(|name| name.to_string()).collect()
}

/// What each tenant allows, by UID. Absent where neither it nor its home says so.
fn laws(
    regions: &BTreeMap<RegionName, RegionView>,
    placements: &[Arc<TenantPlacement>],
) -> BTreeMap<String, BTreeSet<Jurisdiction>> {
    let of = |tenant: &Arc<TenantPlacement>| {
        let home = tenant
            .status
            .as_ref()
            .and_then(|status| status.home_region.as_deref());
        let home = home.and_then(|home| regions.get(&RegionName::from(home)));
        let law = match (home, &tenant.spec.allowed_jurisdictions) {
            (Some(home), _) => law(tenant, &home.jurisdiction),
            (None, Some(names)) => names.iter().map(Jurisdiction::new).collect(),
            (None, None) => return None,
        };
        Some((tenant.uid()?, law))
    };
    placements.iter().filter_map(of).collect()
}

/// The region that serves each tenant, by UID.
fn active(placements: &[Arc<TenantPlacement>]) -> BTreeMap<String, RegionName> {
    let of = |tenant: &Arc<TenantPlacement>| {
        let active = tenant.status.as_ref()?.active_region.clone()?;
        Some((tenant.uid()?, RegionName::new(active)))
    };
    placements.iter().filter_map(of).collect()
}

fn copies(
    server: &ServerId,
    policies: &[PolicyView],
    regions: &BTreeMap<RegionName, RegionView>,
) -> Vec<ServerCopy> {
    let policy = policies.iter().find(|policy| policy.primary == *server);
    let standbys = policy.into_iter().flat_map(|policy| &policy.standbys);
    let names: BTreeSet<_> = standbys.map(|standby| &standby.region).collect();
    let known = names.into_iter().filter_map(|name| {
        Some(ServerCopy {
            region: name.to_string(),
            jurisdiction: regions.get(name)?.jurisdiction.to_string(),
        })
    });
    known.take(MAX_REGIONS).collect()
}

fn backups(
    server: &ServerId,
    policies: &[PolicyView],
    regions: &BTreeMap<RegionName, RegionView>,
) -> Vec<BackupCopy> {
    let policy = policies.iter().find(|policy| policy.primary == *server);
    let standbys = policy.into_iter().flat_map(|policy| &policy.standbys);
    let servers = std::iter::once(server).chain(standbys);
    let names: BTreeSet<_> = servers
        .filter_map(|server| regions.get(&server.region))
        .flat_map(|region| &region.backups)
        .collect();
    let told = names.into_iter().map(|name| BackupCopy {
        region: name.to_string(),
        jurisdiction: regions.get(name).map(|view| view.jurisdiction.to_string()),
    });
    told.take(MAX_REGIONS).collect()
}

#[cfg(test)]
mod tests {
    use domicile_core::placement::{Holder, held};
    use serde_json::{Value, json};

    use super::*;

    fn region(name: &str, jurisdiction: &str) -> Arc<Region> {
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region", "metadata": { "name": name },
            "spec": { "key": "K", "jurisdiction": jurisdiction, "databaseServers": [{
                "name": "main", "host": "h", "tls": { "caSecretRef": { "name": "ca" } },
                "adminSecretRef": { "name": "admin" },
            }]},
        });
        Arc::new(serde_json::from_value(region).unwrap())
    }

    /// What eu-west/main is closed to for one tenant of it.
    fn closed_to(allowed: &Value, home: &str, active: &str) -> Vec<String> {
        let tenant = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
            "metadata": { "name": "acme", "uid": "u" },
            "spec": { "tenantID": "acme", "allowedJurisdictions": allowed },
            "status": { "homeRegion": home, "activeRegion": active, "server": "main" },
        });
        let tenant = Arc::new(serde_json::from_value(tenant).unwrap());
        let regions = [
            region("eu-west", "EU"),
            region("eu-central", "EU"),
            region("us-east", "US"),
        ];
        let holder = Holder {
            uid: "u".into(),
            home: Some(RegionName::new("eu-west")),
            server: ServerId::new("eu-west", "main"),
        };
        let held = held(&RegionName::new("eu-west"), "", &[holder], &[]);
        let bounds = bounds(&regions[0], &held, &[], (&regions, &[tenant]));
        bounds["main"].closed_to.clone()
    }

    #[test]
    fn a_server_is_closed_to_what_one_tenant_does_not_allow() {
        assert_eq!(closed_to(&Value::Null, "eu-west", "eu-west"), ["us-east"]);
        let both = json!(["EU", "US"]);
        assert!(closed_to(&both, "eu-west", "eu-west").is_empty());
    }

    #[test]
    fn a_server_tells_where_its_backups_and_those_of_its_standbys_lie() {
        let backed_up = |name: &str, law: &str, backup: &str| {
            let mut region = Region::clone(&region(name, law));
            let residency = json!({ "backup": { "region": backup } });
            region.spec.residency = serde_json::from_value(residency).unwrap();
            Arc::new(region)
        };
        let regions = [
            backed_up("eu-west", "EU", "eu-west"),
            backed_up("eu-central", "EU", "moon"),
        ];
        let policy = PolicyView {
            name: "eu".into(),
            primary: ServerId::new("eu-west", "main"),
            standbys: vec![ServerId::new("eu-central", "main")],
            machine: None,
        };
        let bounds = bounds(&regions[0], &Held::default(), &[policy], (&regions, &[]));
        let told: Vec<_> = bounds["main"]
            .backups
            .iter()
            .map(|backup| (backup.region.as_str(), backup.jurisdiction.as_deref()))
            .collect();
        assert_eq!(told, [("eu-west", Some("EU")), ("moon", None)]);
    }

    #[test]
    fn where_a_tenant_is_served_its_policy_can_be_made_anew() {
        assert!(closed_to(&Value::Null, "eu-west", "us-east").is_empty());
    }

    #[test]
    fn a_law_that_is_said_counts_without_its_home_and_an_unknown_one_allows_nothing() {
        assert_eq!(closed_to(&json!(["EU"]), "gone", "eu-west"), ["us-east"]);
        let unknown = closed_to(&Value::Null, "gone", "eu-west");
        assert_eq!(unknown, ["eu-central", "us-east"]);
    }
}
