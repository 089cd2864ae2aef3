//! A deletion: what was brought to the clusters of regions is taken back, or written down where a
//! cluster does not answer.

use domicile_api::conditions::Reason;
use domicile_api::orphan::{MAX_ORPHANS, OrphanedSecret};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::RegionName;
use domicile_core::placement::{Errand, Errands, Parting, parting};
use jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;
use tracing::info;

use super::memory::Look;
use super::recorded;
use crate::context::Ctx;
use crate::controllers::placement::endpoint;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::progress::{Stop, Until};
use crate::controllers::placement::serve::namespace;
use crate::kube::events::Severity;
use crate::kube::wake::Key;
use crate::orphans::{self, Recorded};

/// How soon to look again while the clusters have not answered yet.
const SOON: Duration = Duration::from_secs(1);

/// Ends once nothing is left in any cluster, or what is left is written down in its Region.
pub(in crate::controllers::placement) async fn part(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    memory: &Memory,
) -> Result<(), Halt> {
    let uid = tenant.uid().unwrap_or_default();
    let held = recorded(tenant);
    let errands = Errands {
        of: held
            .iter()
            .map(|region| (region.clone(), Errand::Withdraw))
            .collect(),
        refused: Vec::new(),
    };
    memory
        .regional
        .plan(&uid, &errands, tenant.metadata.generation);
    ctx.wake.regional.wake(Key::of(tenant));
    let mut left: Vec<(RegionName, Option<String>)> = Vec::new();
    for region in held {
        match memory
            .regional
            .look(&uid, &region, tenant.metadata.generation)
        {
            Look::Withdrawn => {}
            _ if !has_cluster(ctx, &region) => {}
            // Waiting for rights that went with the namespace would keep both for ever.
            Look::Barred(Reason::ClusterNotOnboarded, fact) => {
                warn(ctx, tenant, Reason::ClusterNotOnboarded, &fact);
            }
            Look::Silent(fact) | Look::Barred(_, fact) => left.push((region, Some(fact))),
            Look::Unknown | Look::Pending | Look::Delivered(_) => left.push((region, None)),
        }
    }
    let now = ctx.clock.now().wall;
    let asked = tenant.metadata.deletion_timestamp.as_ref();
    match parting(asked.map_or(now, |time| time.0), now) {
        Parting::Wait(until) => wait(&left, until),
        Parting::Record => record(ctx, tenant, &left).await,
    }
}

/// A Region that is gone, or has no cluster any more, gave up what lay there.
pub(in crate::controllers::placement) fn has_cluster(ctx: &Ctx, region: &RegionName) -> bool {
    let exists = ctx.stores.regions.exists(&Key::cluster(region.as_str()));
    let read = ctx.stores.regions.get(region.as_str());
    exists && read.is_none_or(|region| region.spec.cluster.is_some())
}

fn wait(left: &[(RegionName, Option<String>)], until: Timestamp) -> Result<(), Halt> {
    if left.is_empty() {
        return Ok(());
    }
    let facts: Vec<&str> = left
        .iter()
        .filter_map(|(_, fact)| fact.as_deref())
        .collect();
    if facts.is_empty() {
        return Err(Halt::Later(SOON));
    }
    let names: Vec<&str> = left.iter().map(|(region, _)| region.as_str()).collect();
    let message = format!(
        "the deletion waits for the clusters of {}, where the Secret must be deleted: {}; at \
         {until} that is written down in their Regions to be done later, and the placement goes",
        names.join(", "),
        facts.join("; ")
    );
    Err(Stop::new(Until::Mended, Reason::ClusterUnreachable, message).into())
}

async fn record(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    left: &[(RegionName, Option<String>)],
) -> Result<(), Halt> {
    for (region, fact) in left {
        let orphan = OrphanedSecret {
            uid: tenant.uid().unwrap_or_default(),
            namespace: namespace(tenant),
            name: tenant.name_any(),
            secret: tenant.secret_name(),
            former_secrets: tenant.other_secrets(Some(region)).into_iter().collect(),
            service: endpoint::recorded(tenant).map(str::to_owned),
            since: ctx.clock.now().wall,
            problem: None,
        };
        let fact = fact.as_deref().unwrap_or("it was not asked yet");
        match orphans::record_secret(ctx, region.as_str(), &orphan).await? {
            Recorded::Stored(stored, true) => {
                info!(%region, "Writing down a Secret that a placement leaves");
                let note = format!(
                    "TenantPlacement {}/{} goes, and its Secret stays in the cluster of Region \
                     {region} ({fact}); it is deleted when that answers, see the Region's \
                     `status.orphanedSecrets`",
                    orphan.namespace, orphan.name
                );
                warn(ctx, tenant, Reason::OrphanRecorded, &note);
                let reason = Reason::OrphanRecorded.as_str();
                ctx.events
                    .publish(stored.as_ref(), Severity::Warning, reason, "Clean", note);
            }
            Recorded::Stored(_, false) | Recorded::NoRegion => {}
            Recorded::Full => {
                let message = format!(
                    "the deletion waits for the cluster of Region {region}, where the Secret must \
                     be deleted: {fact}; that cannot be written down to be done later, because the \
                     Region lists {MAX_ORPHANS} others"
                );
                return Err(Stop::new(Until::Mended, Reason::ClusterUnreachable, message).into());
            }
        }
    }
    Ok(())
}

fn warn(ctx: &Ctx, tenant: &TenantPlacement, reason: Reason, note: &str) {
    ctx.events
        .publish(tenant, Severity::Warning, reason.as_str(), "Release", note);
}
