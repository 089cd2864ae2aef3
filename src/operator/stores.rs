//! The watches, and who is woken by what they show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::{
    ClusterWorkloadResourceMapping, FailoverOperation, FailoverPolicy, Region, ServiceBinding,
    TenantPlacement,
};
use domicile_core::names::ServerId;
use kube::ResourceExt;
use kube::runtime::reflector::store::Writer;

use crate::context::{Ctx, Stores};
use crate::crowd::{Crowd, Member};
use crate::kube::cache::{Cache, Seen, Watched, follow};
use crate::kube::wake::Key;
use crate::outlines::{Outlines, PolicyOutline, RegionOutline};
use crate::probes::plan::members;

mod glimpse;

pub(crate) use glimpse::glimpse;

/// How often the filled caches say so.
const BEAT: Duration = Duration::from_secs(10);
/// How often it is looked for who was not woken at once.
const TICK: Duration = Duration::from_millis(100);

/// The ends that the watches fill the caches through.
pub struct Writers {
    regions: Writer<Seen<Region>>,
    placements: Writer<Seen<TenantPlacement>>,
    policies: Writer<Seen<FailoverPolicy>>,
    operations: Writer<Seen<FailoverOperation>>,
    bindings: Writer<Seen<ServiceBinding>>,
    mappings: Writer<Seen<ClusterWorkloadResourceMapping>>,
}

/// Empty caches, and the ends that [`run`] fills them through.
pub fn stores() -> (Stores, Writers) {
    let (regions, region_writer) = Cache::new();
    let (placements, placement_writer) = Cache::new();
    let (policies, policy_writer) = Cache::new();
    let (operations, operation_writer) = Cache::new();
    let (bindings, binding_writer) = Cache::new();
    let (mappings, mapping_writer) = Cache::new();
    let stores = Stores {
        regions,
        placements,
        policies,
        operations,
        bindings,
        mappings,
    };
    let writers = Writers {
        regions: region_writer,
        placements: placement_writer,
        policies: policy_writer,
        operations: operation_writer,
        bindings: binding_writer,
        mappings: mapping_writer,
    };
    (stores, writers)
}

/// Keeps all caches true to the API server and wakes whoever a change concerns. Ends only when a
/// watch ends for good, which none does by itself.
pub async fn run(ctx: Arc<Ctx>, writers: Writers) {
    let Writers {
        regions,
        placements,
        policies,
        operations,
        bindings,
        mappings,
    } = writers;
    let Stores {
        regions: r,
        placements: t,
        policies: p,
        operations: o,
        bindings: _,
        mappings: _,
    } = &ctx.stores;
    let client = || ctx.client.clone();
    let region_outlines = Outlines::<RegionOutline>::default();
    let policy_outlines = Outlines::<PolicyOutline>::default();
    let on_region = |key: &Key, seen: &Seen<Region>, gone: bool| {
        own(gone, seen, key, &ctx, |key| {
            ctx.wake.orphans.wake(key.clone());
            ctx.wake.leftovers.wake(key.clone());
            ctx.wake.regions.wake(key);
        });
        if region_outlines.changed(key, (!gone).then_some(seen)) {
            region_changed(&ctx, key);
        }
    };
    let crowd = Crowd::default();
    let on_placement = |key: &Key, seen: &Seen<TenantPlacement>, gone| {
        placement_changed(&ctx, &crowd, (key, seen, gone));
    };
    let on_policy = |key: &Key, seen: &Seen<FailoverPolicy>, gone: bool| {
        own(gone, seen, key, &ctx, |key| ctx.wake.policies.wake(key));
        if policy_outlines.changed(key, (!gone).then_some(seen)) {
            policy_changed(&ctx, seen);
        }
    };
    let on_operation = |key: &Key, seen: &Seen<FailoverOperation>, gone| {
        operation_changed(&ctx, key, seen, gone);
    };
    tokio::select! {
        () = follow(client(), r.clone(), regions, on_region) => {}
        () = follow(client(), t.clone(), placements, on_placement) => {}
        () = follow(client(), p.clone(), policies, on_policy) => {}
        () = follow(client(), o.clone(), operations, on_operation) => {}
        () = follow_bindings(&ctx, bindings, mappings) => {}
        () = wake_later(&ctx, &crowd) => {}
        () = say_when_filled(&ctx) => {}
    }
}

/// As [`run`], for kinds that are not ours: they are watched once they are served.
async fn follow_bindings(
    ctx: &Ctx,
    bindings: Writer<Seen<ServiceBinding>>,
    mappings: Writer<Seen<ClusterWorkloadResourceMapping>>,
) {
    ctx.service_bindings.served().await;
    let on_binding = |key: &Key, seen: &Seen<ServiceBinding>, gone| {
        own(gone, seen, key, ctx, |key| ctx.wake.bindings.wake(key));
    };
    let on_mapping = |_: &Key, _: &Seen<ClusterWorkloadResourceMapping>, _| {
        wake_bindings(ctx, |_| true);
    };
    let (b, m) = (ctx.stores.bindings.clone(), ctx.stores.mappings.clone());
    tokio::select! {
        () = follow(ctx.client.clone(), b, bindings, on_binding) => {}
        () = follow(ctx.client.clone(), m, mappings, on_mapping) => {}
    }
}

fn wake_bindings(ctx: &Ctx, concerned: impl Fn(&ServiceBinding) -> bool) {
    for binding in ctx.stores.bindings.all() {
        if concerned(&binding) {
            ctx.wake.bindings.wake(Key::of(binding.as_ref()));
        }
    }
}

/// Waits until every cache of our own kinds holds its first list.
pub async fn filled(ctx: &Ctx) {
    let Stores {
        regions,
        placements,
        policies,
        operations,
        bindings: _,
        mappings: _,
    } = &ctx.stores;
    regions.ready().await;
    placements.ready().await;
    policies.ready().await;
    operations.ready().await;
}

async fn say_when_filled(ctx: &Ctx) {
    filled(ctx).await;
    loop {
        ctx.pulse.beat("stores", ctx.clock.mono());
        ctx.clock.sleep(BEAT).await;
    }
}

/// What a region says concerns every other region too: there is one default.
fn region_changed(ctx: &Ctx, key: &Key) {
    for region in ctx.stores.regions.all() {
        ctx.wake.region(&region.name_any());
    }
    for policy in ctx.stores.policies.all() {
        if members(&policy)
            .iter()
            .any(|id| id.region.as_str() == key.name)
        {
            ctx.wake.policy(&policy.name_any());
        }
    }
    for placement in ctx.stores.placements.unordered() {
        if is_concerned(&placement, &key.name) {
            ctx.wake.placements.wake(Key::of(placement.as_ref()));
        }
    }
}

fn placement_changed(
    ctx: &Ctx,
    crowd: &Crowd,
    (key, seen, gone): (&Key, &Seen<TenantPlacement>, bool),
) {
    if gone {
        ctx.workloads.gone(key);
    } else {
        ctx.workloads.placed(key);
    }
    own(gone, seen, key, ctx, |key| ctx.wake.placements.wake(key));
    // Its Secret may be another one now.
    wake_bindings(ctx, |binding| binding.namespace() == key.namespace);
    let Seen::Valid(placement) = seen else { return };
    let regions = regions_of(placement);
    let (placements, now) = (ctx.stores.placements.count(), ctx.clock.mono());
    let wake_soon = |member: Member| {
        if crowd.may_wake(member.clone(), placements, now) {
            wake(ctx, &member);
        }
    };
    for region in &regions {
        wake_soon(Member::Region((*region).to_owned()));
    }
    if gone {
        // Its place is free for those who wait for one.
        for other in ctx.stores.placements.unordered() {
            let waits = other.status.as_ref().is_none_or(|s| s.server.is_none());
            if waits && regions_of(&other).iter().any(|name| regions.contains(name)) {
                ctx.wake.placements.wake(Key::of(other.as_ref()));
            }
        }
    }
    for policy in ctx.stores.policies.all() {
        if members(&policy)
            .iter()
            .any(|id| regions.contains(&id.region.as_str()))
        {
            wake_soon(Member::Policy(policy.name_any()));
        }
    }
}

fn wake(ctx: &Ctx, member: &Member) {
    match member {
        Member::Region(name) => ctx.wake.region(name),
        Member::Policy(name) => ctx.wake.policy(name),
    }
}

async fn wake_later(ctx: &Ctx, crowd: &Crowd) {
    loop {
        ctx.clock.sleep(TICK).await;
        let placements = ctx.stores.placements.count();
        for member in crowd.due(placements, ctx.clock.mono()) {
            wake(ctx, &member);
        }
    }
}

/// A server may be in one policy only, so every policy is concerned.
fn policy_changed(ctx: &Ctx, seen: &Seen<FailoverPolicy>) {
    for policy in ctx.stores.policies.all() {
        ctx.wake.policy(&policy.name_any());
    }
    // One that cannot be read may move and copy whom it names, and any when that is hidden, too.
    let servers: Option<BTreeSet<ServerId>> = match seen {
        Seen::Valid(policy) => Some(members(policy).into_iter().collect()),
        Seen::Invalid(policy) => glimpse(policy).servers(),
    };
    for server in servers.iter().flatten() {
        ctx.wake.region(server.region.as_str());
    }
    let named = |servers: &BTreeSet<ServerId>, placement: &TenantPlacement| {
        let regions = regions_of(placement);
        let mut servers = servers.iter();
        servers.any(|id| regions.contains(&id.region.as_str()))
    };
    for placement in ctx.stores.placements.unordered() {
        if servers
            .as_ref()
            .is_none_or(|servers| named(servers, &placement))
        {
            ctx.wake.placements.wake(Key::of(placement.as_ref()));
        }
    }
}

fn operation_changed(ctx: &Ctx, key: &Key, seen: &Seen<FailoverOperation>, gone: bool) {
    own(gone, seen, key, ctx, |key| ctx.wake.operations.wake(key));
    if let Seen::Valid(operation) = seen {
        ctx.wake.policy(&operation.spec.policy_ref.name);
    }
}

/// Wakes the object itself, or forgets what is remembered of one that is gone.
fn own<K: Watched>(gone: bool, seen: &Seen<K>, key: &Key, ctx: &Ctx, wake: impl FnOnce(Key)) {
    if gone {
        ctx.backoff.reset(&seen.uid().unwrap_or_default());
    } else {
        wake(key.clone());
    }
}

/// Whether what a region says may change what is said of a placement: that of a copy, too, for its
/// law and its cluster count there.
fn is_concerned(placement: &TenantPlacement, region: &str) -> bool {
    let regions = regions_of(placement);
    let mut copies = placement.status.iter().flat_map(|status| &status.copies);
    regions.is_empty() || regions.contains(&region) || copies.any(|copy| copy.region == region)
}

/// The regions that a placement names or is recorded in; none while it waits for the default.
fn regions_of(placement: &TenantPlacement) -> Vec<&str> {
    let status = placement.status.as_ref();
    let recorded =
        |field: fn(&domicile_api::TenantPlacementStatus) -> Option<&str>| status.and_then(field);
    [
        placement.spec.region.as_deref(),
        recorded(|status| status.home_region.as_deref()),
        recorded(|status| status.served_by.as_deref()),
        recorded(|status| status.active_region.as_deref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
