//! What deleted placements left on servers that could not be reached: cleaned up when the servers
//! are back, by the mark that their databases and roles carry.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::orphan::{MAX_PROBLEM, Orphan};
use domicile_api::reasons::Reason;
use domicile_api::region::Region;
use kube::ResourceExt;

use crate::context::Ctx;
use crate::controllers::{LONGEST_WAIT, Work, drive};
use crate::holders::live;
use crate::kube::cas::CasError;
use crate::kube::events::Severity;
use crate::orphans::{change, listed};

mod clean;

use clean::{Cleaned, Obstacle, clean};

/// Longest time for one pass.
const DEADLINE: Duration = Duration::from_mins(5);

/// Orphans that one pass works on, so that none of them waits for a thousand others.
const BATCH: usize = 4;

/// How soon to look again while there are any.
const REST: Duration = Duration::from_secs(5);

/// Runs the controller until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let work = Work {
        name: "orphan",
        cache: ctx.stores.regions.clone(),
        queue: Arc::clone(&ctx.wake.orphans),
        deadline: DEADLINE,
    };
    drive(ctx, work, reconcile).await;
}

async fn reconcile(region: Arc<Region>, ctx: Arc<Ctx>) -> Result<Duration, CasError> {
    // A placement that is still there does its own cleanup, and may be told to leave it.
    let live = live(&ctx);
    let gone = listed(&region)
        .iter()
        .filter(|one| !live.contains(&one.uid));
    let mut waiting: Vec<&Orphan> = gone.collect();
    if waiting.is_empty() {
        let any = !listed(&region).is_empty();
        return Ok(if any { REST } else { LONGEST_WAIT });
    }
    // Those that met a problem come last.
    waiting.sort_by_key(|one| one.problem.is_some());
    let name = region.name_any();
    let mut tried = 0;
    for orphan in waiting {
        if tried >= BATCH {
            break;
        }
        match clean(&ctx, &name, orphan).await {
            Ok(cleaned) => {
                let uid = orphan.uid.clone();
                change(&ctx, &name, |list| list.retain(|one| one.uid != uid)).await?;
                tell(&ctx, &region, orphan, &cleaned);
                tried += 1;
            }
            // The condition of the Region says that its server is awaited.
            Err(Obstacle::Waits) => {}
            Err(Obstacle::Met(problem)) => {
                note(&ctx, &region, orphan, problem).await?;
                tried += 1;
            }
        }
    }
    Ok(REST)
}

fn tell(ctx: &Ctx, region: &Region, orphan: &Orphan, cleaned: &Cleaned) {
    let Orphan {
        namespace, name, ..
    } = orphan;
    let Cleaned { what, slots_left } = cleaned;
    let mut note = format!("{what} of the deleted TenantPlacement {namespace}/{name}");
    if !slots_left.is_empty() {
        note.push_str("; replication slots stay on the servers that it subscribed to: ");
        note.push_str(&slots_left.join(", "));
    }
    let reason = Reason::OrphanCleaned.as_str();
    ctx.events
        .publish(region, Severity::Normal, reason, "Clean", note);
}

/// Stores what the try met, and tells it, when it is another problem than before.
async fn note(
    ctx: &Ctx,
    region: &Region,
    orphan: &Orphan,
    problem: String,
) -> Result<(), CasError> {
    let problem: String = problem.chars().take(MAX_PROBLEM).collect();
    if orphan.problem.as_ref() == Some(&problem) {
        return Ok(());
    }
    change(ctx, &region.name_any(), |list| {
        if let Some(one) = list.iter_mut().find(|one| one.uid == orphan.uid) {
            one.problem = Some(problem.clone());
        }
    })
    .await?;
    let Orphan {
        namespace, name, ..
    } = orphan;
    let note = format!("what the deleted TenantPlacement {namespace}/{name} left stays: {problem}");
    let reason = Reason::CleanupBlocked.as_str();
    ctx.events
        .publish(region, Severity::Warning, reason, "Clean", note);
    Ok(())
}
