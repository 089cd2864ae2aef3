//! What is known of a Region, read from memory: the probes are elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_api::convert::{holder, policy_view};
use domicile_api::placement::TenantPlacement;
use domicile_api::region::Region;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::placement::{self, Held, ReplicaView};
use domicile_core::time::Now;
use kube::ResourceExt;

use super::bounds::{Bounds, bounds};
use crate::context::Ctx;
use crate::holders::holders;
use crate::probes::Sample;
use crate::probes::engine::EngineReport;
use crate::probes::replicas::views;

/// What is known of a Region.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The present moment.
    pub now: Now,
    /// The Region itself.
    pub region: Arc<Region>,
    /// What the probes know of its servers, by name; a server that was not probed is absent.
    pub samples: BTreeMap<String, Arc<Sample>>,
    /// What was found of that which promotes them, by name; where SQL does, there is nothing.
    pub engines: BTreeMap<String, EngineReport>,
    /// Its read replicas, each after the name of its server.
    pub replicas: Vec<(String, ReplicaView)>,
    /// Placements that are active here.
    pub placements: usize,
    /// Placements that belong here and have a server, by plan.
    pub plans: BTreeMap<Option<String>, usize>,
    /// Whose place is on which server.
    pub held: Held,
    /// Where the databases of each server lie too, and where they may not.
    pub bounds: BTreeMap<String, Bounds>,
    /// Other Regions that are the default too, when this one is.
    pub other_defaults: Vec<String>,
    /// Entries that name a server of this Region once more: this entry, and the other one.
    pub twins: Vec<(String, ServerId)>,
}

/// Reads what is known of `region`.
pub fn observe(region: Arc<Region>, ctx: &Ctx) -> Observation {
    let name = region.name_any();
    let regions = ctx.stores.regions.all();
    let sample = |server: &str| ctx.samples.get(&ServerId::new(name.clone(), server));
    let servers = region.spec.database_servers.iter();
    let samples = servers
        .filter_map(|s| Some((s.name.clone(), sample(&s.name)?)))
        .collect();
    let engine = |server: &str| ctx.samples.engine(&ServerId::new(name.clone(), server));
    let servers = region.spec.database_servers.iter();
    let engines = servers
        .filter_map(|s| Some((s.name.clone(), engine(&s.name)?)))
        .collect();
    let servers = region.spec.database_servers.iter();
    let replicas = servers.flat_map(|server| {
        let id = ServerId::new(name.clone(), server.name.clone());
        let views = views(ctx, &id, server);
        views.into_iter().map(|view| (server.name.clone(), view))
    });
    let replicas = replicas.collect();
    let placements = ctx.stores.placements.unordered();
    let active = |placement: &&Arc<TenantPlacement>| {
        let status = placement.status.as_ref();
        status.and_then(|status| status.active_region.as_deref()) == Some(name.as_str())
    };
    let policies = ctx.stores.policies.all();
    let policies = placement::effective(policies.iter().map(|p| policy_view(p)).collect());
    let held = placement::held(&RegionName::from(&*name), "", &holders(ctx), &policies);
    let bounds = bounds(&region, &held, &policies, (&regions, &placements));
    Observation {
        now: ctx.clock.now(),
        samples,
        engines,
        replicas,
        placements: placements.iter().filter(active).count(),
        plans: plans(&name, &placements),
        held,
        bounds,
        other_defaults: other_defaults(&region, &regions),
        twins: twins(&region, &regions),
        region,
    }
}

/// Counts the placements that belong to the Region `name` and have a server.
pub fn plans(name: &str, placements: &[Arc<TenantPlacement>]) -> BTreeMap<Option<String>, usize> {
    let mut plans = BTreeMap::new();
    for placement in placements {
        let status = placement.status.as_ref();
        let home = status.and_then(|status| status.home_region.as_deref());
        if home == Some(name) && holder(placement).is_some() {
            *plans.entry(placement.spec.plan.clone()).or_default() += 1;
        }
    }
    plans
}

/// The other default Regions, when `region` is one.
pub fn other_defaults(region: &Region, regions: &[Arc<Region>]) -> Vec<String> {
    if !region.spec.default {
        return Vec::new();
    }
    let own = region.name_any();
    let others = regions.iter().filter(|other| other.spec.default);
    others
        .map(|other| other.name_any())
        .filter(|name| *name != own)
        .collect()
}

/// Where an address of `region` is listed once more, in the same Region or another.
pub fn twins(region: &Region, regions: &[Arc<Region>]) -> Vec<(String, ServerId)> {
    let own = region.name_any();
    let mut twins = Vec::new();
    for server in &region.spec.database_servers {
        for other in regions {
            for entry in &other.spec.database_servers {
                let same_entry = other.name_any() == own && entry.name == server.name;
                let addresses = entry.address().zip(server.address());
                let same_address = addresses.is_some_and(|(one, other)| one.is_same(&other));
                if same_address && !same_entry {
                    let id = ServerId::new(other.name_any(), entry.name.clone());
                    twins.push((server.name.clone(), id));
                }
            }
        }
    }
    twins
}
