//! What placement needs to know of the objects.

use std::collections::BTreeSet;

use domicile_core::facts::{Engine, Epoch};
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, MachineView, PolicyView, RegionView};
use kube::ResourceExt;

use crate::placement::TenantPlacement;
use crate::policy::FailoverPolicy;
use crate::region::{DatabaseServer, ProviderType, Region};

/// A `Region` as placement sees it, with its name.
pub fn region_view(region: &Region) -> (RegionName, RegionView) {
    let spec = &region.spec;
    let view = RegionView {
        jurisdiction: Jurisdiction::new(&spec.jurisdiction),
        default: spec.default,
        servers: spec
            .database_servers
            .iter()
            .map(|server| server.name.clone())
            .collect(),
    };
    (RegionName::new(region.name_any()), view)
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
