//! What placement needs to know of the objects.

use std::collections::BTreeSet;

use domicile_core::facts::{Engine, Epoch};
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{
    self, ClusterUse, Holder, MachineView, PolicyView, RegionView, ServerView, Wish,
};
use kube::ResourceExt;

use crate::placement::TenantPlacement;
use crate::placement_status::TenantPlacementStatus;
use crate::policy::FailoverPolicy;
use crate::region::{DatabaseServer, ProviderType, Region};

/// A `Region` as placement sees it, with its name.
pub fn region_view(region: &Region) -> (RegionName, RegionView) {
    let spec = &region.spec;
    let view = RegionView {
        jurisdiction: Jurisdiction::new(&spec.jurisdiction),
        default: spec.default,
        state: spec.state.into(),
        served_by: spec.served_by.clone().map(RegionName::new),
        backups: backups(region),
        cluster: match &spec.cluster {
            None => ClusterUse::Absent,
            Some(cluster) if cluster.tenants => ClusterUse::Tenants,
            Some(_) => ClusterUse::Promises,
        },
        servers: spec
            .database_servers
            .iter()
            .map(|server| server_view(region, server))
            .collect(),
    };
    (RegionName::new(region.name_any()), view)
}

fn server_view(region: &Region, server: &DatabaseServer) -> ServerView {
    let mut seen = region.status.iter().flat_map(|s| &s.database_servers);
    let seen = seen.find(|seen| seen.name == server.name);
    let natural = |number: i32| u32::try_from(number).unwrap_or(0);
    ServerView {
        name: server.name.clone(),
        plans: server.plans.iter().flatten().cloned().collect(),
        isolation: server.isolation.into(),
        max_tenants: server.max_tenants.map(natural),
        planes: server.planes.iter().map(|plane| (*plane).into()).collect(),
        major_version: seen.and_then(|seen| major(seen.version.as_deref()?)),
        extensions: server.extensions.iter().cloned().collect(),
        replicated: !server.read_replicas.is_empty(),
    }
}

/// The regions in which backups of a Region's servers lie, as it names them.
pub fn backups(region: &Region) -> BTreeSet<RegionName> {
    let residency = region.spec.residency.iter();
    residency
        .flat_map(|residency| residency.backup.regions())
        .map(RegionName::new)
        .collect()
}

/// The number before the first dot or space of a server's version.
pub fn major(version: &str) -> Option<u32> {
    version.split(['.', ' ']).next()?.parse().ok()
}

/// What a placement asks of its server.
pub fn wish(tenant: &TenantPlacement) -> Wish {
    let spec = &tenant.spec;
    Wish {
        plan: spec.plan.clone(),
        isolation: spec.isolation.into(),
        plane: spec.plane.into(),
        minimum_version: spec.minimum_version.and_then(|v| u32::try_from(v).ok()),
        extensions: tenant.extensions().iter().cloned().collect(),
    }
}

/// The region on whose servers a placement has its place, once it has one.
pub fn residence(tenant: &TenantPlacement) -> Option<RegionName> {
    let status = tenant.status.as_ref()?;
    status.server.as_ref()?;
    place_of(status).map(RegionName::new)
}

fn place_of(status: &TenantPlacementStatus) -> Option<String> {
    let home = status.home_region.as_ref();
    status.served_by.as_ref().or(home).cloned()
}

/// The place that a placement holds, once it has a server.
pub fn holder(tenant: &TenantPlacement) -> Option<Holder> {
    let status = tenant.status.as_ref()?;
    Some(Holder {
        uid: tenant.uid()?,
        home: place_of(status).map(RegionName::new),
        server: ServerId::new(status.active_region.clone()?, status.server.clone()?),
    })
}

/// What promotes the server.
pub fn engine(server: &DatabaseServer) -> Engine {
    match server.provider.type_ {
        ProviderType::Generic => Engine::Sql,
        ProviderType::Patroni => Engine::Patroni,
    }
}

/// A `FailoverPolicy` as placement sees it.
pub fn policy_view(policy: &FailoverPolicy) -> PolicyView {
    let spec = &policy.spec;
    let status = policy.status.as_ref();
    let machine = status.and_then(|status| {
        Some(MachineView {
            state: Some(status.state?.into()),
            epoch: Epoch(status.epoch?),
            active: RegionName::new(status.active_region.clone()?),
        })
    });
    let standbys = spec.standbys.iter();
    PolicyView {
        name: policy.name_any(),
        primary: ServerId::new(&spec.primary.region, &spec.primary.server),
        standbys: standbys
            .map(|s| ServerId::new(&s.region, &s.server))
            .collect(),
        machine,
    }
}

/// The jurisdictions in which copies of the tenant may lie; `home` is its home region's.
pub fn law(tenant: &TenantPlacement, home: &Jurisdiction) -> BTreeSet<Jurisdiction> {
    let spec = tenant.spec.allowed_jurisdictions.as_ref();
    let spec = spec.map(|names| names.iter().map(Jurisdiction::new).collect());
    placement::allowed(spec.as_ref(), home)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster_use(cluster: &Value) -> ClusterUse {
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region", "metadata": { "name": "r" },
            "spec": {
                "key": "R", "jurisdiction": "EU", "databaseServers": [], "cluster": cluster,
            },
        });
        region_view(&serde_json::from_value(region).unwrap())
            .1
            .cluster
    }

    #[test]
    fn secrets_go_to_a_cluster_only_where_that_is_asked_for() {
        let name = json!({ "name": "k" });
        assert_eq!(cluster_use(&Value::Null), ClusterUse::Absent);
        let silent = json!({ "kubeconfigSecretRef": name });
        assert_eq!(cluster_use(&silent), ClusterUse::Promises);
        let asked = json!({ "kubeconfigSecretRef": name, "tenants": true });
        assert_eq!(cluster_use(&asked), ClusterUse::Tenants);
    }
}
