//! The writes to workloads of `apps/v1`, each by itself: one that is refused keeps nothing from the
//! others, and the status is stored.

use domicile_api::injection::WorkloadKind;
use domicile_api::meta::manager;
use domicile_core::injection::Origin;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;
use tracing::info;

use super::conclude::Seen;
use super::patience::Tries;
use super::refusal::{Refusal, Refused, halt, losing};
use super::waves::{self, Selected};
use super::{INJECTED, KINDS, called, list, pods, refused};
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::inject;
use crate::controllers::placement::parting::Kept;
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::Progress;
use crate::error::Classify;
use crate::kube::apply::{self, Ownership};
use crate::kube::client::CallError;

/// Writes to the workloads whose turn it is, and shows all. One that was not written the last time
/// comes after the others, and takes no place in a wave while it rests.
pub(super) async fn give(
    (at, tries): (&Place<'_>, &Tries<'_>),
    mut workloads: Vec<Selected>,
    origin: &Origin,
    seen: &mut Seen<'_>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Place { ctx, tenant, .. } = *at;
    workloads.sort_by_cached_key(|one| (tries.failures(&one.live), one.kind, one.live.name_any()));
    workloads.retain(|one| {
        let document = one.document.as_ref();
        let resting = document.and_then(|document| tries.rests(&one.live, document));
        let undone = document.and_then(|document| tries.undone(&one.live, document));
        let tried = resting.is_none() && undone.is_none();
        if !tried {
            show(seen, &one.live, one);
        }
        if let Some(times) = undone {
            seen.undo(&called(one.kind, &one.live), &one.live, times);
        }
        seen.refused.extend(resting);
        tried
    });
    let now = ctx.clock.now().wall;
    let turn = waves::turn(tenant, &workloads, origin, seen, now);
    for (index, one) in workloads.iter().enumerate() {
        let (kind, live) = (one.kind, &one.live);
        if let Some(published) = seen.published.filter(|_| pods::must_be_asked(tenant)) {
            let older = pods::older(at, live, &one.containers, published, progress).await?;
            seen.older(live, kind, older);
        }
        let Some(document) = &one.document else {
            tries.done(live);
            seen.show(live, kind);
            continue;
        };
        if one.rolls && !turn.go.contains(&index) {
            seen.wait(live, kind);
            continue;
        }
        if seen.silent {
            seen.untried += 1;
            show(seen, live, one);
            continue;
        }
        let written = write(at, kind, live, document).await;
        show(seen, written.as_ref().unwrap_or(live), one);
        match written {
            Ok(_) => {
                tries.written(live, document);
                progress.wrote = true;
            }
            Err(error) => {
                let name = called(kind, live);
                missed((at, tries), (&name, live, document), error, seen, progress)?;
            }
        }
    }
    seen.pause_until = turn.pause_until;
    Ok(())
}

/// Takes back what was injected into a workload that is not to have it. Answers the workload as it
/// is then, if it was written.
pub(super) async fn take_back(
    (at, tries): (&Place<'_>, &Tries<'_>),
    (kind, live): (WorkloadKind, &DynamicObject),
    seen: &mut Seen<'_>,
    progress: &mut Progress,
) -> Result<Option<DynamicObject>, Halt> {
    if !carries(at, live) {
        return Ok(None);
    }
    let document = inject::release(live, kind);
    if seen.silent {
        seen.untried += 1;
    } else if let Some(refused) = tries.rests(live, &document) {
        seen.refused.push(refused);
    } else {
        match write(at, kind, live, &document).await {
            Ok(left) => {
                tries.released(live);
                progress.wrote = true;
                return Ok(Some(left));
            }
            Err(error) => {
                let doing = losing(&called(kind, live));
                missed(
                    (at, tries),
                    (&doing, live, &document),
                    error,
                    seen,
                    progress,
                )?;
            }
        }
    }
    seen.unreleased = true;
    Ok(None)
}

/// Takes back, for a deletion, all that was injected for the placement into workloads of `apps/v1`.
/// The error tells of all that were not written, once the others were.
pub(in crate::controllers::placement) async fn release_all(
    at: &Place<'_>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let mut kept = Kept::default();
    for kind in KINDS {
        let workloads = match list(at, kind, progress).await {
            Ok(workloads) => workloads,
            Err(halt) => {
                kept.take(Err(halt))?;
                continue;
            }
        };
        for live in workloads.iter().filter(|live| carries(at, live)) {
            match write(at, kind, live, &inject::release(live, kind)).await {
                Ok(_) => progress.wrote = true,
                // It is gone, and what has its name now carries nothing.
                Err(error) if Refusal::of(&error) == Some(Refusal::Moved) => {}
                Err(error) => {
                    let doing = losing(&called(kind, live));
                    kept.take(Err(halt(at, &doing, error, || at.not_onboarded())))?;
                }
            }
        }
    }
    kept.deny(INJECTED, progress)
}

/// What a failed write to one workload means. An error where it is not about that one alone.
fn missed(
    (at, tries): (&Place<'_>, &Tries<'_>),
    (doing, live, document): (&str, &DynamicObject, &Value),
    error: CallError,
    seen: &mut Seen<'_>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let what = match Refusal::of(&error) {
        None => return Err(refused(at, &format!("writing {doing}"), error, progress)),
        Some(Refusal::Moved) => {
            let conflicts = apply::conflicts(&error);
            // Without a field it was changed, deleted or made anew meanwhile.
            progress.rolling |= conflicts.is_empty();
            for conflict in conflicts {
                seen.conflict(doing, &conflict.field, &conflict.manager);
            }
            return Ok(());
        }
        Some(what) => what,
    };
    let class = error.class();
    let one = Refused::new(what, doing, &error);
    let one = tries.failed((live, document), one, class, rand::random());
    // A cluster of a region that does not answer is told of as a whole. This workload rests, so
    // that the next errand tries the others.
    if what == Refusal::Silent && at.region.is_some() {
        return Err(refused(at, &format!("writing {doing}"), error, progress));
    }
    seen.silent |= what == Refusal::Silent || tries.took_long();
    seen.refused.push(one);
    Ok(())
}

fn show(seen: &mut Seen<'_>, live: &DynamicObject, one: &Selected) {
    if one.rolls {
        seen.show_rolling(live, one.kind);
    } else {
        seen.show(live, one.kind);
    }
}

/// Whether a workload carries what was injected for the placement.
fn carries(at: &Place<'_>, live: &DynamicObject) -> bool {
    inject::injected_by(live) == Some(at.tenant.name_any().as_str())
}

async fn write(
    at: &Place<'_>,
    kind: WorkloadKind,
    live: &DynamicObject,
    document: &Value,
) -> Result<DynamicObject, CallError> {
    let name = live.name_any();
    info!(
        kind = kind.as_str(),
        workload = name,
        "Applying to a workload"
    );
    apply::apply(
        at.ctx,
        &at.workloads(kind),
        &name,
        manager::INJECT,
        Ownership::Respect,
        document,
    )
    .await
}
