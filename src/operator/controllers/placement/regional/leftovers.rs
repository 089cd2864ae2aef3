//! Secrets of deleted placements in the clusters of regions: deleted when the clusters answer.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::orphan::{MAX_PROBLEM, OrphanedSecret};
use domicile_api::placement::TenantPlacement;
use domicile_api::reasons::Reason;
use domicile_api::region::Region;
use domicile_core::names::RegionName;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::memory::Outcome;
use super::work;
use crate::context::Ctx;
use crate::controllers::placement::place::Place;
use crate::controllers::{LONGEST_WAIT, Work, drive};
use crate::holders::live;
use crate::kube::cas::CasError;
use crate::kube::events::Severity;
use crate::orphans::{change_secrets, secrets};

/// Longest time for one pass.
const DEADLINE: Duration = Duration::from_mins(2);
/// Most entries that one pass works on.
const BATCH: usize = 16;
/// How soon to look again while there are any.
const REST: Duration = Duration::from_secs(5);

/// Runs the loop until the process ends.
pub(in crate::controllers::placement) async fn run(ctx: Arc<Ctx>) {
    let work = Work {
        name: "leftover",
        cache: ctx.stores.regions.clone(),
        queue: Arc::clone(&ctx.wake.leftovers),
        deadline: DEADLINE,
    };
    drive(ctx, work, reconcile).await;
}

async fn reconcile(region: Arc<Region>, ctx: Arc<Ctx>) -> Result<Duration, CasError> {
    let listed = secrets(&region);
    if listed.is_empty() {
        return Ok(LONGEST_WAIT);
    }
    // A placement that is still there sees to it itself, and may be told to leave it.
    let live = live(&ctx);
    let mut waiting: Vec<&OrphanedSecret> = listed.iter().collect();
    waiting.retain(|one| !live.contains(&one.uid));
    // Those that met a problem come last, and none of them before the others for ever.
    waiting.sort_by_cached_key(|one| (one.problem.is_some(), rand::random::<u32>()));
    let name = RegionName::new(region.name_any());
    if region.spec.cluster.is_none() {
        change_secrets(&ctx, name.as_str(), Vec::clear).await?;
        let count = listed.len();
        let note = format!(
            "the Region has no cluster any more, so {count} Secrets of deleted placements that may \
             be left there are given up"
        );
        tell(
            &ctx,
            &region,
            Severity::Warning,
            Reason::ClusterGivenUp,
            note,
        );
        return Ok(LONGEST_WAIT);
    }
    for orphan in waiting.into_iter().take(BATCH) {
        match clean(&ctx, &name, orphan).await {
            Some(Outcome::Withdrawn) => {
                remove(&ctx, &name, orphan).await?;
                let note = format!("deleted {} in the cluster", whose(orphan));
                tell(&ctx, &region, Severity::Normal, Reason::OrphanCleaned, note);
            }
            // As for a deletion that does not wait: the rights went with the namespace.
            Some(Outcome::Barred(reason @ Reason::ClusterNotOnboarded, fact)) => {
                remove(&ctx, &name, orphan).await?;
                let note = format!("{} is given up: {fact}", whose(orphan));
                tell(&ctx, &region, Severity::Warning, reason, note);
            }
            Some(Outcome::Barred(_, problem)) => note(&ctx, &region, orphan, &problem).await?,
            // The others would find the same.
            Some(Outcome::Silent(_) | Outcome::Delivered(_)) | None => break,
        }
    }
    Ok(REST)
}

/// Takes an entry off the list.
async fn remove(ctx: &Ctx, region: &RegionName, orphan: &OrphanedSecret) -> Result<(), CasError> {
    let uid = orphan.uid.clone();
    change_secrets(ctx, region.as_str(), |all| all.retain(|one| one.uid != uid))
        .await
        .map(drop)
}

async fn clean(ctx: &Ctx, region: &RegionName, orphan: &OrphanedSecret) -> Option<Outcome> {
    let tenant = shade(orphan, region)?;
    match work::reach(ctx, region).await {
        Ok(client) => {
            let at = Place::of(ctx, &tenant, region, client);
            let done = work::withdraw(&at).await;
            if matches!(done, Some(Outcome::Silent(_))) {
                ctx.forget_region_client(region);
            }
            done
        }
        Err(done) => done,
    }
}

/// The Secret, for people.
fn whose(orphan: &OrphanedSecret) -> String {
    let OrphanedSecret {
        namespace, name, ..
    } = orphan;
    format!("the Secret of the deleted TenantPlacement {namespace}/{name}")
}

/// As much of the deleted placement as its Secret is known by.
fn shade(orphan: &OrphanedSecret, region: &RegionName) -> Option<TenantPlacement> {
    let OrphanedSecret {
        uid,
        namespace,
        name,
        secret,
        former_secrets,
        service,
        since,
        ..
    } = orphan;
    let former = former_secrets
        .iter()
        .map(|name| json!({ "name": name, "cluster": region.as_str(), "since": since }));
    let former: Vec<Value> = former.collect();
    let placement = json!({
        "metadata": { "name": name, "namespace": namespace, "uid": uid },
        "spec": { "tenantID": "gone", "connection": { "secretName": secret } },
        "status": { "formerSecrets": former, "service": service },
    });
    serde_json::from_value(placement).ok()
}

/// Stores what the try met, and tells it, when it is another problem than before.
async fn note(
    ctx: &Ctx,
    region: &Region,
    orphan: &OrphanedSecret,
    problem: &str,
) -> Result<(), CasError> {
    let problem: String = problem.chars().take(MAX_PROBLEM).collect();
    if orphan.problem.as_ref() == Some(&problem) {
        return Ok(());
    }
    change_secrets(ctx, &region.name_any(), |all| {
        if let Some(one) = all.iter_mut().find(|one| one.uid == orphan.uid) {
            one.problem = Some(problem.clone());
        }
    })
    .await?;
    let note = format!("{} stays in the cluster: {problem}", whose(orphan));
    tell(ctx, region, Severity::Warning, Reason::CleanupBlocked, note);
    Ok(())
}

fn tell(ctx: &Ctx, region: &Region, severity: Severity, reason: Reason, note: String) {
    ctx.events
        .publish(region, severity, reason.as_str(), "Clean", note);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::controllers::placement::endpoint;

    #[test]
    fn what_is_listed_is_enough_to_know_the_secret_by() {
        let orphan = OrphanedSecret {
            uid: "u".into(),
            namespace: "space".into(),
            name: "acme".into(),
            secret: "acme-db".into(),
            former_secrets: vec!["old-db".into()],
            service: Some("acme-db-rw".into()),
            since: Timestamp::UNIX_EPOCH,
            problem: None,
        };
        let region = RegionName::new("eu-west");
        let shade = shade(&orphan, &region).unwrap();
        assert_eq!(shade.secret_name(), "acme-db");
        assert_eq!(shade.metadata.uid.as_deref(), Some("u"));
        let others = shade.other_secrets(Some(&region));
        assert_eq!(others.into_iter().collect::<Vec<_>>(), ["old-db"]);
        assert_eq!(endpoint::recorded(&shade), Some("acme-db-rw"));
    }
}
