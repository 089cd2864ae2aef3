//! Who has a place on a server, so that none ever holds more than it may: the placements that are
//! recorded, the databases that stand there, and what this process promised a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domicile_api::database::AdoptionPolicy;
use domicile_api::placement::TenantPlacement;
use domicile_core::names::{DatabaseName, RegionName, ServerId};
use domicile_core::placement::{
    self, Choice, Held, Holder, PolicyView, RegionView, ServerError, ServerView,
};
use domicile_providers::{Generic, ProviderError, Standing};
use futures::future::try_join_all;
use kube::ResourceExt;
use tracing::debug;

use super::SOON;
use super::choose::{Map, has_limits};
use super::error::Halt;
use super::observe::{answers, recorded};
use crate::context::Ctx;
use crate::controllers::LONGEST_WAIT;
use crate::holders::{holders, live};
use crate::kube::wake::Key;
use crate::orphans;
use crate::turns::heard;

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
    /// What each server told; none when it did not.
    told: BTreeMap<String, Option<Told>>,
    /// What the tenant does with a database of its name.
    adoption: AdoptionPolicy,
}

/// What a server tells of the databases on it.
struct Told {
    /// The UIDs that they are marked with, where that counts.
    marked: BTreeSet<String>,
    /// What there is of the tenant's name.
    named: Standing,
}

impl<'a> Room<'a> {
    /// Asks each server of the tenant's home region whom it holds and whether it has a database of
    /// the tenant's name, unless the tenant has a server or it does not matter. A server whose
    /// tenants were moved is asked where they are.
    ///
    /// # Errors
    /// The placement has no turn at one of them, and is woken when it has; or one was not
    /// probed yet.
    pub(super) async fn look(
        ctx: &Ctx,
        tenant: &TenantPlacement,
        promises: &'a Promises,
    ) -> Result<Self, Halt> {
        let mut room = Self {
            promises,
            told: BTreeMap::new(),
            adoption: tenant.spec.adoption.policy,
        };
        if recorded(tenant).is_some() {
            return Ok(room);
        }
        let map = Map::read(ctx);
        let (Ok(residence), Ok(database)) = (map.residence(tenant), tenant.database_name()) else {
            return Ok(room);
        };
        let name = residence.region;
        let region = map.regions.get(&name);
        let Some(region) = region.filter(|region| room.is_needed(region)) else {
            return Ok(room);
        };
        let wanted = (&database, has_limits(region));
        let id = |server: &ServerView| ServerId {
            region: name.clone(),
            server: server.name.clone(),
        };
        let servers = region.servers.iter().map(id);
        let own = servers.filter(|server| !placement::is_standby(server, &map.policies));
        let asked = own.map(|id| {
            let serving = placement::serving_server(&id, &map.policies);
            let key = Key::of(tenant);
            async move {
                let told = told(ctx, &serving, key, wanted).await?;
                Ok::<_, Halt>((id.server, told))
            }
        });
        room.told = try_join_all(asked).await?.into_iter().collect();
        Ok(room)
    }

    /// Whether it matters what is on the servers of the region: they are counted, or the tenant's
    /// database may be on one of several.
    pub(super) fn is_needed(&self, region: &RegionView) -> bool {
        self.adopts() || has_limits(region) || region.servers.len() > 1
    }

    fn adopts(&self) -> bool {
        self.adoption == AdoptionPolicy::Adopt
    }

    /// Chooses a server for the tenant and keeps its place.
    pub(super) fn choose(
        &self,
        ctx: &Ctx,
        tenant: &TenantPlacement,
        (name, region): (&RegionName, &RegionView),
        policies: &[PolicyView],
        choose: impl FnOnce(&Held) -> Result<Choice, ServerError>,
    ) -> Result<Choice, ServerError> {
        let uid = tenant.uid().unwrap_or_default();
        let stored = || (holders(ctx), live(ctx));
        let decide = |holders: &[Holder], live: &BTreeSet<String>| {
            let mut held = placement::held(name, &uid, holders, policies);
            for (server, told) in &self.told {
                match told {
                    Some(told) => held.found(server, &uid, &told.marked, live),
                    None => held.unseen(server),
                }
            }
            // Listed since they were asked.
            for server in region.servers.iter().map(|server| &server.name) {
                if !self.told.contains_key(server) {
                    held.unseen(server);
                }
            }
            held.named(self.named(ctx, live), self.adopts());
            choose(&held)
        };
        self.promises.choose((&uid, name), stored, decide)
    }

    /// The servers that have a database of the tenant's name, which nobody holds: the placement is
    /// gone for which it was made, or Domicile did not make it and the tenant is about such a one.
    fn named(&self, ctx: &Ctx, live: &BTreeSet<String>) -> BTreeSet<String> {
        let free = |told: &Told| match &told.named {
            Standing::Absent => false,
            Standing::Unmarked => match self.adoption {
                AdoptionPolicy::Never => false,
                AdoptionPolicy::Observe | AdoptionPolicy::Adopt => true,
            },
            Standing::Marked(uid) => !live.contains(uid) && orphans::drops(ctx, uid).is_none(),
        };
        let told = self.told.iter();
        let free = told.filter(|(_, told)| told.as_ref().is_some_and(free));
        free.map(|(server, _)| server.clone()).collect()
    }
}

/// What a server tells, if it does: of all its databases only where they are `counted`.
///
/// # Errors
/// The placement has no turn there, or the server was not probed yet.
async fn told(
    ctx: &Ctx,
    server: &ServerId,
    key: Key,
    wanted: (&DatabaseName, bool),
) -> Result<Option<Told>, Halt> {
    match answers(ctx, server) {
        Some(Ok(())) => {}
        Some(Err(_)) => return Ok(None),
        None => return Err(Halt::Later(SOON)),
    }
    let turn = ctx.turn(server, key);
    let mut turn = turn.ok_or(Halt::Later(LONGEST_WAIT))?;
    let open = match ctx.open(server, LOOK).await {
        Ok(open) => open,
        Err(error) => return Ok(untold(server, &error.to_string())),
    };
    let told = ask(&open, wanted).await;
    turn.heard(match &told {
        Ok(_) => Some(true),
        Err(error) => heard(error),
    });
    Ok(told.map_or_else(|error| untold(server, &error.to_string()), Some))
}

fn untold(server: &ServerId, error: &str) -> Option<Told> {
    debug!(%server, error, "A server does not tell whom it holds");
    None
}

async fn ask(
    server: &Generic,
    (database, counted): (&DatabaseName, bool),
) -> Result<Told, ProviderError> {
    let tenants = if counted {
        server.tenants().await?
    } else {
        Vec::new()
    };
    let mut marked: BTreeSet<String> = tenants.into_iter().map(|tenant| tenant.uid).collect();
    let named = server.standing(database).await?;
    // It may be the tenant's own, of which its status tells nothing any more.
    if let Standing::Marked(uid) = &named {
        marked.insert(uid.clone());
    }
    Ok(Told { marked, named })
}

#[cfg(test)]
mod tests;
