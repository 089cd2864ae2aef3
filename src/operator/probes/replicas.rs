//! Sensors of the read replicas: one loop per replica, apart from the probes of the servers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::region::{DatabaseServer, ReadReplica, Region};
use domicile_core::facts::Facts;
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::names::ServerId;
use domicile_core::placement::ReplicaView;
use domicile_core::replica::{Address, Fault, LOOK_SECONDS, Marks, Standing, examine};
use domicile_providers::{Endpoint, Generic};
use kube::ResourceExt;
use tracing::info;

use crate::context::Ctx;
use crate::servers::entry;

/// A replica of a server.
pub(super) type Id = (ServerId, Address);

/// Longest time for one look.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a change of the Region, or the first facts of the server, are looked for.
const TICK: Duration = Duration::from_secs(1);

/// Every replica that a Region lists.
pub(super) fn all(ctx: &Ctx) -> BTreeSet<Id> {
    let regions = ctx.stores.regions.all();
    regions.iter().flat_map(|region| listed(region)).collect()
}

fn listed(region: &Region) -> Vec<Id> {
    let servers = region.spec.database_servers.iter();
    let of = |server: &DatabaseServer| -> Vec<Id> {
        let id = ServerId::new(region.name_any(), server.name.clone());
        addresses(server)
            .map(|address| (id.clone(), address))
            .collect()
    };
    servers.flat_map(of).collect()
}

/// The addresses of a server's replicas, in the order of its Region.
pub(crate) fn addresses(server: &DatabaseServer) -> impl Iterator<Item = Address> + '_ {
    let replicas = server.read_replicas.iter();
    replicas.filter_map(ReadReplica::address)
}

/// The replicas of the server `id`, and what is believed of each.
pub(crate) fn views(ctx: &Ctx, id: &ServerId, server: &DatabaseServer) -> Vec<ReplicaView> {
    let view = |address: Address| ReplicaView {
        standing: ctx.samples.replica(id, &address),
        address,
    };
    addresses(server).map(view).collect()
}

fn is_listed(ctx: &Ctx, (server, address): &Id) -> bool {
    let region = ctx.stores.regions.get(server.region.as_str());
    region.is_some_and(|region| {
        let found = entry(&region, server);
        found.is_ok_and(|found| addresses(found).any(|known| known == *address))
    })
}

/// Looks at one replica, again and again, until no Region lists it.
pub(super) async fn watch(ctx: Arc<Ctx>, id: Id) {
    let mut marks = Marks::default();
    while is_listed(&ctx, &id) {
        let began = ctx.clock.mono();
        let sample = ctx.samples.get(&id.0);
        let server = sample.and_then(|sample| sample.facts.clone());
        // Whose copy it is to be tells the server itself.
        let looked = match &server {
            Some(server) => look(&ctx, &id, server, &mut marks).await,
            None => None,
        };
        let Some(found) = looked else {
            ctx.clock.sleep(TICK).await;
            continue;
        };
        take(&ctx, &id, found);
        let due = u64::from(LOOK_SECONDS) * 1000;
        while ctx.clock.mono().since(began) < due && is_listed(&ctx, &id) {
            ctx.clock.sleep(TICK).await;
        }
    }
    ctx.samples.remove_replica(&id);
}

/// One look; nothing when the server's own Secrets cannot be read, which is told of the server.
async fn look(
    ctx: &Ctx,
    (id, address): &Id,
    server: &Facts,
    marks: &mut Marks,
) -> Option<Result<(), Fault>> {
    marks.note(server);
    if let Some(other) = server_at(ctx, address) {
        return Some(Err(Fault::IsServer(other)));
    }
    let endpoint = at(ctx.endpoint(id).await.ok()?, address);
    let provider = Generic::new(endpoint, TIMEOUT).ok()?;
    let now = ctx.clock.mono();
    let limit = TIMEOUT.saturating_add(Duration::from_secs(1));
    let probe = ctx.clock.within(limit, provider.probe(now)).await;
    let probe = probe.unwrap_or_else(|passed| {
        Probe::Failed(
            ProbeFailure::TimedOut,
            format!("Replica {address}: {passed}"),
        )
    });
    Some(examine(&probe, server, marks, now))
}

/// The same logins and certificates at another address.
pub(crate) fn at(endpoint: Endpoint, address: &Address) -> Endpoint {
    Endpoint {
        host: address.host.clone(),
        port: address.port,
        ..endpoint
    }
}

/// The database server that a Region lists at this address.
fn server_at(ctx: &Ctx, address: &Address) -> Option<ServerId> {
    listed_at(&ctx.stores.regions.all(), address)
}

fn listed_at(regions: &[Arc<Region>], address: &Address) -> Option<ServerId> {
    regions.iter().find_map(|region| {
        let same =
            |server: &&DatabaseServer| server.address().is_some_and(|at| at.is_same(address));
        let found = region.spec.database_servers.iter().find(same)?;
        Some(ServerId::new(region.name_any(), found.name.clone()))
    })
}

/// Keeps what is believed of the replica now, and wakes whoever reads from it when that changed.
fn take(ctx: &Ctx, id: &Id, found: Result<(), Fault>) {
    let before = ctx.samples.replica(&id.0, &id.1);
    let now = Standing::next(before.as_ref(), found);
    let told = |standing: &Standing| (standing.fault().cloned(), standing.holds());
    let changed = before.as_ref().map(told) != Some(told(&now));
    ctx.samples.put_replica(id, now.clone());
    if !changed {
        return;
    }
    let (server, address) = id;
    info!(%server, %address, standing = ?now, "Read replica changed");
    ctx.wake.region(server.region.as_str());
    for placement in ctx.stores.placements.unordered() {
        let status = placement.status.as_ref();
        let on = status.is_some_and(|status| {
            status.active_region.as_deref() == Some(server.region.as_str())
                && status.server.as_deref() == Some(server.server.as_str())
        });
        if on {
            let namespace = placement.namespace().unwrap_or_default();
            ctx.wake.placement(&namespace, &placement.name_any());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_known_by_another_spelling_of_its_address() {
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
            "metadata": { "name": "eu-west" },
            "spec": { "key": "K", "jurisdiction": "EU", "databaseServers": [{
                "name": "main", "host": "db.example", "tls": { "caSecretRef": { "name": "ca" } },
                "adminSecretRef": { "name": "admin" },
            }]},
        });
        let regions = [Arc::new(serde_json::from_value(region).unwrap())];
        let at = |host: &str, port| {
            let host = host.to_owned();
            listed_at(&regions, &Address { host, port })
        };
        let main = Some(ServerId::new("eu-west", "main"));
        assert_eq!(at("DB.Example.", 5432), main);
        assert_eq!(at("db.example", 5433), None);
        assert_eq!(at("ro.example", 5432), None);
    }
}
