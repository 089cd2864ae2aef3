//! Where each tenant is, and where those would come to be that have no server yet.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::TenantPlacement;
use domicile_api::convert::{holder, law, wish};
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, Asked, Choice, Holder, PolicyView, RegionView};
use kube::ResourceExt;

/// Where a tenant is.
pub(super) struct Seat {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The server that serves it; an error says why there is none.
    pub(super) server: Result<ServerId, String>,
    /// Its law; empty when its home is not known.
    pub(super) allowed: BTreeSet<Jurisdiction>,
}

impl Seat {
    /// `namespace/name`, as `core` names tenants.
    pub(super) fn tenant(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Where each tenant is, or would be: those without a server get one after the other, as they come.
pub(super) fn seats(
    placements: &[TenantPlacement],
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Vec<Seat> {
    let mut holders: Vec<Holder> = placements.iter().filter_map(holder).collect();
    let one = |tenant| seat(tenant, regions, policies, &mut holders);
    placements.iter().map(one).collect()
}

fn seat(
    tenant: &TenantPlacement,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
    holders: &mut Vec<Holder>,
) -> Seat {
    let found = home_of(tenant, regions);
    let law_of = |home: &RegionName| {
        regions
            .get(home)
            .map(|view| law(tenant, &view.jurisdiction))
    };
    let allowed = found.as_ref().ok().and_then(law_of).unwrap_or_default();
    let server = match recorded(tenant) {
        Some(server) => Ok(server),
        None => found.and_then(|home| {
            let residence = placement::residence(&home, None, &allowed, regions);
            let home = residence.map_err(|error| error.to_string())?;
            let asked = Asked {
                region: &home,
                recorded: None,
                allowed: &allowed,
                wish: &wish(tenant),
                held: &placement::held(&home, "", holders, policies),
            };
            let server = would_take(&asked, regions, policies)?;
            holders.push(Holder {
                // Nothing has given it a UID, where it is a file.
                uid: format!("{:?}/{}", tenant.namespace(), tenant.name_any()),
                home: Some(home.clone()),
                server: server.clone(),
            });
            Ok(placement::serving_server(&server, policies))
        }),
    };
    Seat {
        namespace: tenant.namespace().unwrap_or_default(),
        name: tenant.name_any(),
        server,
        allowed,
    }
}

/// What to say of a standby that would hold more tenants than its Region lets it take.
pub(super) fn crowded(
    to: &ServerId,
    tenants: usize,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Option<String> {
    let limit = regions.get(&to.region)?.server(&to.server)?.limit()?;
    (tenants > usize::try_from(limit).ok()?).then(|| {
        format!(
            "{to} will hold {tenants} tenants, and its limit is {limit}: that holds back no \
             failover, so see that it is large enough for them"
        )
    })
}

fn recorded(tenant: &TenantPlacement) -> Option<ServerId> {
    let status = tenant.status.as_ref()?;
    Some(ServerId::new(
        status.active_region.clone()?,
        status.server.clone()?,
    ))
}

fn home_of(
    tenant: &TenantPlacement,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Result<RegionName, String> {
    let recorded = tenant
        .status
        .as_ref()
        .and_then(|status| status.home_region.as_deref());
    let recorded = recorded.map(RegionName::from);
    let spec = tenant.spec.region.as_deref().map(RegionName::from);
    let home = placement::home(recorded.as_ref(), spec.as_ref(), regions);
    home.map_err(|error| error.to_string())
}

/// The home server that a placement without a status would get.
fn would_take(
    asked: &Asked<'_>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<ServerId, String> {
    let region = asked.region;
    if !regions.contains_key(region) {
        return Err(format!("Region {region} does not exist"));
    }
    let chosen = placement::choose_server(asked, regions, policies);
    let Choice { server, why: _ } = chosen.map_err(|error| format!("Region {region}: {error}"))?;
    Ok(ServerId {
        region: region.clone(),
        server,
    })
}
