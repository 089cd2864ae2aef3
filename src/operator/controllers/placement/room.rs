//! Who has a place on a server, so that none ever holds more than it may: the placements that are
//! recorded, the databases that stand there, and what this process promised a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domicile_api::placement::TenantPlacement;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::placement::{self, Choice, Held, Holder, PolicyView, ServerError};
use futures::future::join_all;
use kube::ResourceExt;
use tracing::debug;

use super::choose::{Map, has_limits};
use super::observe::{answers, recorded};
use crate::context::Ctx;
use crate::holders::{holders, live};

/// Longest time for asking one server whom it holds.
const LOOK: Duration = Duration::from_secs(5);

/// Places that were promised to placements, by UID, until it is stored that they have them.
///
/// Several workers choose at once, and a choice is stored later than it is made. A write whose
/// answer was lost may have stored it: then the promise stands until the placement's next pass.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<BTreeMap<String, Holder>>);

impl Promises {
    /// The placement has its server, or does not get one in this pass.
    pub(super) fn settle(&self, uid: &str) {
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        promises.remove(uid);
    }

    /// Chooses, knowing of each promise, and promises what was chosen, in one step. `stored` tells
    /// who has a server already.
    fn choose(
        &self,
        (uid, region): (&str, &RegionName),
        stored: impl FnOnce() -> (Vec<Holder>, BTreeSet<String>),
        choose: impl FnOnce(&[Holder], &BTreeSet<String>) -> Result<Choice, ServerError>,
    ) -> Result<Choice, ServerError> {
        let mut promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: a promise is settled only once its placement is stored.
        let (mut holders, live) = stored();
        // Of a placement that is gone nothing is left to keep.
        promises.retain(|uid, _| live.contains(uid));
        holders.extend(promises.values().cloned());
        let choice = choose(&holders, &live)?;
        let holder = Holder {
            uid: uid.to_owned(),
            home: Some(region.clone()),
            server: ServerId {
                region: region.clone(),
                server: choice.server.clone(),
            },
        };
        promises.insert(uid.to_owned(), holder);
        Ok(choice)
    }
}

/// What was found of the servers that a tenant might get.
pub(super) struct Room<'a> {
    promises: &'a Promises,
    /// The UIDs that the databases of each server are marked with; none when it was not told.
    marked: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl<'a> Room<'a> {
    /// Asks each server of the tenant's home region whom it holds, when one of them has a limit
    /// and the tenant has no server yet. A server whose tenants were moved is asked where they are.
    pub(super) async fn look(ctx: &Ctx, tenant: &TenantPlacement, promises: &'a Promises) -> Self {
        let mut room = Self {
            promises,
            marked: BTreeMap::new(),
        };
        if recorded(tenant).is_some() {
            return room;
        }
        let map = Map::read(ctx);
        let Ok(residence) = map.residence(tenant) else {
            return room;
        };
        let name = residence.region;
        let Some(region) = map.regions.get(&name).filter(|region| has_limits(region)) else {
            return room;
        };
        let asked = region.servers.iter().map(|server| {
            let id = ServerId {
                region: name.clone(),
                server: server.name.clone(),
            };
            let serving = placement::serving_server(&id, &map.policies);
            async move { (id.server, marked(ctx, &serving).await) }
        });
        room.marked = join_all(asked).await.into_iter().collect();
        room
    }

    /// Chooses a server for the tenant and keeps its place.
    pub(super) fn choose(
        &self,
        ctx: &Ctx,
        tenant: &TenantPlacement,
        region: &RegionName,
        policies: &[PolicyView],
        choose: impl FnOnce(&Held) -> Result<Choice, ServerError>,
    ) -> Result<Choice, ServerError> {
        let uid = tenant.uid().unwrap_or_default();
        let stored = || (holders(ctx), live(ctx));
        let decide = |holders: &[Holder], live: &BTreeSet<String>| {
            let mut held = placement::held(region, &uid, holders, policies);
            for (server, marked) in &self.marked {
                match marked {
                    Some(marked) => held.found(server, &uid, marked, live),
                    None => held.unseen(server),
                }
            }
            choose(&held)
        };
        self.promises.choose((&uid, region), stored, decide)
    }
}

/// The UIDs that the databases of a server are marked with.
async fn marked(ctx: &Ctx, server: &ServerId) -> Option<BTreeSet<String>> {
    if answers(ctx, server)?.is_err() {
        return None;
    }
    let open = ctx.open(server, LOOK).await;
    let open = open.map_err(|error| error.to_string());
    let told = match open {
        Ok(open) => open.tenants().await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match told {
        Ok(tenants) => Some(tenants.into_iter().map(|tenant| tenant.uid).collect()),
        Err(error) => {
            debug!(%server, error, "A server does not tell whom it holds");
            None
        }
    }
}

#[cfg(test)]
mod tests;
