//! The servers that the Secret names under `endpoint: MultiHost` (ADR 35).

use std::sync::Arc;

use domicile_api::FailoverPolicy;
use domicile_api::convert::region_view;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::HostStatus;
use domicile_api::policy_status::StreamState;
use domicile_core::endpoint::{self, Before, Candidate, Departure, Fault, Named};
use domicile_core::facts::Epoch;
use domicile_core::failover::Proof;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::replica::Address;
use domicile_providers::Endpoint;

use super::faults::{authorities, one_authority, reached};
use super::{Published, publish};
use crate::context::Ctx;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::observe::{Seat, obscured};
use crate::controllers::placement::progress::Progress;

/// Where the Secret is to point: the server, and those that may take over behind it.
pub(super) async fn choose(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    (seat, server): (&Seat, &Endpoint),
    direct: Published,
    progress: &mut Progress,
) -> Result<Published, Halt> {
    let named = named(tenant);
    let before = before(tenant, named.as_ref());
    // A move is no time to begin.
    if before == Before::Direct && !seat.steady {
        return Ok(direct);
    }
    let policy = policy(ctx, seat);
    if policy.is_none()
        && before == Before::Asked
        && let Some(unreadable) = ctx.stores.policies.unreadable().first()
    {
        // Without it the Secret would change, and change back.
        return Err(obscured(unreadable).into());
    }
    let fencing = policy.as_ref().map(|policy| &policy.spec.fencing);
    let minimum: Option<Proof> = fencing.map(|fencing| fencing.minimum_proof.into());
    let proven = minimum.is_none_or(endpoint::fences);
    let others = candidates(ctx, seat, policy.as_deref()).await?;
    let active = Address {
        host: server.host.clone(),
        port: server.port,
    };
    let hosts = endpoint::hosts(&active, &others, (proven, seat.epoch), named.as_ref());
    let (ca_pem, differ) = authorities(ctx, seat, server).await?;
    let weak = minimum.filter(|_| !proven && !others.is_empty());
    let fence = weak.zip(seat.guard.as_ref()).map(|(minimum, guard)| {
        let policy = guard.0.clone();
        Fault::Fence { policy, minimum }
    });
    let several = differ > 1 && hosts.len() > 1;
    let fault = fence.or_else(|| several.then(|| one_authority(tenant)).flatten());
    let asked = Published {
        ca_pem,
        hosts: Some(hosts),
        ..direct.clone()
    };
    publish((before, fault), asked, direct, progress)
}

/// The policy that may move the tenant.
fn policy(ctx: &Ctx, seat: &Seat) -> Option<Arc<FailoverPolicy>> {
    let (name, _) = seat.guard.as_ref()?;
    ctx.stores.policies.get(name)
}

/// What the status tells that the Secret names.
fn named(tenant: &TenantPlacement) -> Option<Named> {
    let status = tenant.status.as_ref()?;
    let listed = status.connection.iter().flat_map(|told| &told.hosts);
    let hosts: Vec<Address> = listed.filter_map(HostStatus::address).collect();
    let epoch = Epoch(status.epoch.unwrap_or(0));
    (!hosts.is_empty()).then_some(Named { hosts, epoch })
}

fn before(tenant: &TenantPlacement, named: Option<&Named>) -> Before {
    let status = tenant.status.as_ref();
    match (status.and_then(|told| told.connection.as_ref()), named) {
        (None, _) => Before::Nothing,
        (Some(_), Some(_)) => Before::Asked,
        (Some(_), None) => Before::Direct,
    }
}

/// The servers beside the one that serves, in an order that no move changes.
async fn candidates(
    ctx: &Ctx,
    seat: &Seat,
    policy: Option<&FailoverPolicy>,
) -> Result<Vec<Candidate>, Halt> {
    let moves = departures(policy);
    let mut found = Vec::new();
    for id in seat.servers.iter().filter(|id| **id != seat.active) {
        let Some(Endpoint { host, port, .. }) = reached(ctx, id).await? else {
            continue;
        };
        found.push(Candidate {
            address: Address { host, port },
            lawful: is_lawful(ctx, seat, id),
            follows: policy.is_some_and(|policy| follows(policy, &id.region)),
            left: endpoint::left(&id.region, &moves),
        });
    }
    Ok(found)
}

/// Whether the tenant's law admits the server's region.
fn is_lawful(ctx: &Ctx, seat: &Seat, server: &ServerId) -> bool {
    let region = ctx.stores.regions.get(server.region.as_str());
    region.is_some_and(|region| seat.allowed.contains(&region_view(&region).1.jurisdiction))
}

/// Whether the policy's status tells that a standby hears from the server that serves.
fn follows(policy: &FailoverPolicy, region: &RegionName) -> bool {
    let streams = policy.status.iter().flat_map(|status| &status.replication);
    let mut of_region = streams.filter(|one| one.region == region.as_str());
    of_region.any(|one| one.state == StreamState::Streaming)
}

/// The policy's moves, newest first: the one under way, and those that ended.
fn departures(policy: Option<&FailoverPolicy>) -> Vec<Departure> {
    let status = policy.and_then(|policy| policy.status.as_ref());
    let journal = status.and_then(|status| status.journal.as_ref());
    let now = journal.map(|now| (&now.from, now.proof));
    let past = status.iter().flat_map(|status| &status.history);
    let past = past.map(|past| (&past.from, past.proof));
    let moves = now.into_iter().chain(past);
    moves
        .map(|(from, proof)| Departure {
            from: RegionName::new(from),
            proof: proof.map(Into::into),
        })
        .collect()
}
