//! The write lease of a policy and the promises of its standbys: read in each pass, written as the
//! machine says, disarmed before the policy is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_api::policy::FailoverPolicy;
use domicile_core::facts::Epoch;
use domicile_core::failover::{Look, Settings, State, Stored, disarmed};
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::names::RegionName;
use futures::future::join_all;
use kube::{Api, Resource, ResourceExt};
use tracing::{debug, warn};

use super::Memory;
use crate::context::Ctx;
use crate::kube::client::CallError;
use crate::leases::{Book, ReadError};

fn hub(ctx: &Ctx) -> Book<'_> {
    Book {
        api: Api::namespaced(ctx.client.clone(), ctx.settings.namespace()),
        clock: &ctx.clock,
        limit: ctx.settings.call_timeout(),
    }
}

fn key(region: &RegionName, policy: &str) -> String {
    format!("{region}/{policy}")
}

/// The write lease, read now.
pub(super) async fn lease(ctx: &Ctx, memory: &Memory, policy: &str) -> Look<WriteLease> {
    // One that could not be written counts as unread for a while, so that nothing waits for it.
    if memory.sightings.is_refused(policy, ctx.clock.mono()) {
        return Look::Unread;
    }
    // A renewal is seen at the end of the call at the latest: what is seen late is waited for
    // longer.
    match hub(ctx).write_lease(policy).await {
        Ok(found) => {
            let pledge = |lease: &WriteLease| lease.pledge.clone();
            let now = ctx.clock.mono();
            memory.sightings.look(policy, found, pledge, now)
        }
        Err(error) => {
            tell(policy, &error);
            Look::Unread
        }
    }
}

fn tell(policy: &str, error: &ReadError) {
    match error {
        ReadError::Call(error) => debug!(policy, %error, "A lease was not read"),
        ReadError::Wire { .. } => {
            warn!(
                policy,
                error = super::super::chain(error),
                "A lease cannot be used"
            );
        }
    }
}

/// The promises of the standbys whose region has a cluster of its own: of all that a pledge relies
/// on, so that a cluster that cannot be asked is known before it is needed, and of the target of a
/// move that waits for one or counts its loss by one. A primary that replicates synchronously needs
/// no such proof, and its failover is not held up by asking.
pub(super) async fn promises(
    ctx: &Ctx,
    memory: &Memory,
    settings: &Settings,
    stored: &Stored,
    lease: &Look<WriteLease>,
) -> BTreeMap<RegionName, Look<Promise>> {
    let moving = matches!(stored.state, State::Fencing | State::CatchingUp);
    let journal = stored.journal.as_ref().filter(|_| moving);
    let pledge = lease.there().and_then(|lease| lease.record.pledge.as_ref());
    let synchronous = stored
        .evidence
        .as_ref()
        .is_some_and(|e| e.synchronous.is_some());
    let relied = pledge.filter(|pledge| pledge.promises && journal.is_none() && !synchronous);
    let wanted = settings
        .servers()
        .into_iter()
        .map(|s| s.server.region)
        .filter(|region| {
            journal.is_some_and(|journal| journal.to == *region)
                || relied.is_some_and(|pledge| pledge.members.contains(region))
        });
    let looks = wanted.map(async |region| {
        let look = match ctx.region_leases(&region).await {
            Ok(None) => return None,
            Ok(Some(api)) => {
                // A pass must not wait long for a region that is lost.
                let limit = Duration::from_secs(u64::from(settings.timeout_seconds));
                let clock = &ctx.clock;
                let book = Book { api, clock, limit };
                match book.promise(&settings.name).await {
                    Ok(found) => {
                        let key = key(&region, &settings.name);
                        memory
                            .sightings
                            .look(&key, found, |_| None, ctx.clock.mono())
                    }
                    Err(error) => {
                        tell(&settings.name, &error);
                        Look::Unread
                    }
                }
            }
            Err(error) => {
                warn!(%region, error = super::super::chain(&error), "A cluster cannot be asked");
                Look::Unread
            }
        };
        Some((region, look))
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// Writes the write lease, if it is still of `version`.
pub(super) async fn write(
    ctx: &Ctx,
    memory: &Memory,
    policy: &FailoverPolicy,
    record: &WriteLease,
    version: Option<&str>,
) -> Result<(), String> {
    let name = policy.name_any();
    let owner = policy.owner_ref(&());
    let written = hub(ctx).write(&name, record, version, owner).await;
    let now = ctx.clock.mono();
    if let Err(error) = &written
        && !error.is_conflict()
    {
        memory.sightings.refused(&name, now);
    }
    let version = written.map_err(|error| error.to_string())?;
    memory.sightings.wrote(&name, version, now);
    Ok(())
}

/// Has the region's cluster promise nothing older than `epoch` any more.
pub(super) async fn permit(
    ctx: &Ctx,
    memory: &Memory,
    policy: &str,
    region: &RegionName,
    epoch: Epoch,
    version: Option<&str>,
) -> Result<(), String> {
    let api = ctx
        .region_leases(region)
        .await
        .map_err(|error| super::super::chain(&error))?;
    let api = api.ok_or_else(|| format!("Region {region} has no cluster any more"))?;
    let record = Promise {
        epoch,
        permitted: true,
    };
    let book = Book { api, ..hub(ctx) };
    let written = book.write(policy, &record, version, None).await;
    let version = written.map_err(|error| error.to_string())?;
    memory
        .sightings
        .wrote(&key(region, policy), version, ctx.clock.mono());
    Ok(())
}

/// Disarms the write lease of a policy that goes away, so that nobody fences himself for it.
pub(super) async fn disarm(ctx: &Ctx, policy: &str) -> Result<(), CallError> {
    let book = hub(ctx);
    let (record, version) = match book.write_lease(policy).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(()),
        Err(ReadError::Call(error)) => return Err(error),
        Err(error @ ReadError::Wire { .. }) => {
            tell(policy, &error);
            return Ok(());
        }
    };
    if record.members.is_empty() && !record.taken {
        return Ok(());
    }
    book.write(policy, &disarmed(&record), Some(&version), None)
        .await
        .map(drop)
}
