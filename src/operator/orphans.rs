//! The list, in each Region's status, of what deleted placements left on its servers.
//!
//! Written by compare-and-swap before the finalizer of the placement goes, so that whoever dies in
//! between leaves both, and the next pass finds the entry.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::meta::manager;
use domicile_api::orphan::{Cleanup, MAX_ORPHANS, Orphan, OrphanedSecret};
use domicile_api::region::{Region, RegionStatus};
use kube::ResourceExt;

use crate::context::Ctx;
use crate::kube::cas::{CasError, write_status};

/// Tries against others who write the same status, before the whole pass is tried again.
const TRIES: u32 = 5;

/// Between two tries: the cache must see what the other one wrote.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of an entry that was to be made.
#[derive(Debug)]
pub enum Recorded {
    /// It is stored. True when it was not before.
    Stored(Arc<Region>, bool),
    /// There is no such Region.
    NoRegion,
    /// The Region lists as many as it may.
    Full,
}

/// Stores an entry, in the place of one with the same UID.
pub async fn record(ctx: &Ctx, region: &str, orphan: &Orphan) -> Result<Recorded, CasError> {
    let known = ctx
        .stores
        .regions
        .get(region)
        .and_then(|r| r.status.clone());
    let known = known.unwrap_or_default().orphans;
    if known.len() >= MAX_ORPHANS && !known.iter().any(|one| one.uid == orphan.uid) {
        return Ok(Recorded::Full);
    }
    let mut new = false;
    let stored = change(ctx, region, |orphans| {
        match orphans.iter_mut().find(|one| one.uid == orphan.uid) {
            // The same task keeps its date.
            Some(one) if one.cleanup == orphan.cleanup && one.closes == orphan.closes => {}
            Some(one) => one.clone_from(orphan),
            None => {
                new = true;
                orphans.push(orphan.clone());
            }
        }
    });
    Ok(match stored.await? {
        Some(region) => Recorded::Stored(region, new),
        None => Recorded::NoRegion,
    })
}

/// Stores an entry for a Secret in a region's own cluster, unless it is there.
pub async fn record_secret(
    ctx: &Ctx,
    region: &str,
    orphan: &OrphanedSecret,
) -> Result<Recorded, CasError> {
    let known = ctx.stores.regions.get(region);
    let known = known.as_deref().map(secrets).unwrap_or_default();
    let there = known.iter().any(|one| one.uid == orphan.uid);
    if known.len() >= MAX_ORPHANS && !there {
        return Ok(Recorded::Full);
    }
    let mut new = false;
    let stored = change_secrets(ctx, region, |all| {
        new = !all.iter().any(|one| one.uid == orphan.uid);
        if new {
            all.push(orphan.clone());
        }
    });
    Ok(match stored.await? {
        Some(region) => Recorded::Stored(region, new),
        None => Recorded::NoRegion,
    })
}

/// Takes the entries of a placement out of every Region that lists one: they are done, or nobody
/// wants them any more.
pub async fn forget(ctx: &Ctx, uid: &str) -> Result<(), CasError> {
    take_out(ctx, |status| {
        status.orphans.retain(|one| one.uid != uid);
        status.orphaned_secrets.retain(|one| one.uid != uid);
    })
    .await
}

/// As [`forget`], for what was left on servers alone. A pass over a deletion that was gone through
/// before must not take out, in between, what was written down of Secrets in a region's cluster.
pub async fn forget_database(ctx: &Ctx, uid: &str) -> Result<(), CasError> {
    take_out(ctx, |status| status.orphans.retain(|one| one.uid != uid)).await
}

async fn take_out(ctx: &Ctx, remove: impl Fn(&mut RegionStatus)) -> Result<(), CasError> {
    let regions = ctx.stores.regions.all();
    for region in regions.iter().filter(|region| region.status.is_some()) {
        // Writes nothing where it changes nothing.
        change_status(ctx, &region.name_any(), &remove).await?;
    }
    Ok(())
}

/// Changes the list, unless it is so already. Nothing when there is no such Region.
pub async fn change(
    ctx: &Ctx,
    region: &str,
    mut change: impl FnMut(&mut Vec<Orphan>),
) -> Result<Option<Arc<Region>>, CasError> {
    change_status(ctx, region, |status| change(&mut status.orphans)).await
}

/// As [`change`], for the Secrets in the region's own cluster.
pub async fn change_secrets(
    ctx: &Ctx,
    region: &str,
    mut change: impl FnMut(&mut Vec<OrphanedSecret>),
) -> Result<Option<Arc<Region>>, CasError> {
    change_status(ctx, region, |status| change(&mut status.orphaned_secrets)).await
}

async fn change_status(
    ctx: &Ctx,
    region: &str,
    mut change: impl FnMut(&mut RegionStatus),
) -> Result<Option<Arc<Region>>, CasError> {
    let mut tries = 0;
    loop {
        let Some(current) = ctx.stores.regions.get(region) else {
            return Ok(None);
        };
        let mut status = current.status.clone().unwrap_or_default();
        change(&mut status);
        let written = write_status(ctx, &ctx.stores.regions, manager::REGION, &current, status);
        tries += 1;
        match written.await {
            Err(CasError::Lost(_)) if tries < TRIES => ctx.clock.sleep(PAUSE).await,
            other => return other.map(Some),
        }
    }
}

/// What a Region lists.
pub fn listed(region: &Region) -> &[Orphan] {
    region.status.as_ref().map_or(&[], |status| &status.orphans)
}

/// What a Region lists of Secrets in its own cluster.
pub fn secrets(region: &Region) -> &[OrphanedSecret] {
    region
        .status
        .as_ref()
        .map_or(&[], |status| &status.orphaned_secrets)
}

/// The entry of a placement whose database is to be dropped, and the Region that lists it. One
/// whose logins alone are to be closed keeps its database.
pub fn drops(ctx: &Ctx, uid: &str) -> Option<(String, Orphan)> {
    ctx.stores.regions.all().iter().find_map(|region| {
        let mut all = listed(region).iter();
        let orphan = all.find(|one| one.uid == uid && one.cleanup == Cleanup::Drop)?;
        Some((region.name_any(), orphan.clone()))
    })
}
