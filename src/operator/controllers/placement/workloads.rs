//! The selected workloads: looked at, given what they must carry, and released when they are no
//! longer selected.

mod conclude;
mod others;
mod patience;
mod pods;
mod refusal;
mod settled;
mod undone;
mod waves;
mod write;

use std::collections::BTreeSet;

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::injection::{InjectionMode, WorkloadKind, WorkloadSelector};
use domicile_api::placement::TenantPlacement;
use domicile_core::connection::Rendered;
use domicile_core::injection::Origin;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::core::{Selector, SelectorExt};

use super::error::{Halt, PlacementError};
use super::inject::{self, Content, Decision, Wanted};
use super::memory::Memory;
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::serve::namespace;
use super::{pace, rollout, secret};
use crate::kube::client::CallError;
use crate::kube::pages;
use crate::kube::wake::Key;
use conclude::Seen;
use others::Gift;
pub(super) use patience::Patience;
use patience::Tries;
pub(super) use refusal::{Refusal, halt};
pub(super) use settled::{Inputs as WorkloadInputs, Settled};
use waves::Selected;
pub(super) use waves::origin;
pub(super) use write::release_all;

/// Gives every selected workload what it must carry, and takes it back from the others.
pub(super) async fn inject(
    at: &Place<'_>,
    memory: &Memory,
    (rendered, origin, published): (&Rendered, &Origin, Option<Timestamp>),
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Place { ctx, tenant, .. } = *at;
    let selections = selections(tenant).map_err(|stop| progress.deny(INJECTED, stop))?;
    let (uid, generation) = (tenant.uid().unwrap_or_default(), tenant.metadata.generation);
    let everything = memory.must_scan(&uid, at.region, generation);
    let hash = secret::hash(rendered);
    let inputs = settled::inputs(at, &hash, origin);
    let fresh = pace(ctx, false).look;
    if let Some(inputs) = &inputs
        && let Some(settled) = memory.settled(&uid, inputs, fresh, ctx.clock.mono())
    {
        settled.tell(progress);
        return Ok(());
    }
    let (secret, folder) = (tenant.secret_name(), tenant.mount_path());
    let content = content(tenant, rendered, &folder);
    let mut seen = Seen::new(at, &hash, published, ctx.clock.now().wall);
    let tries = Tries::of(&memory.patience, &ctx.clock, tenant);
    let mut selected_ones = Vec::new();
    for kind in KINDS
        .into_iter()
        .filter(|kind| concerned(tenant, *kind) || (everything && may_have(at, *kind)))
    {
        for workload in list(at, kind, progress).await? {
            let selected = selected(&selections, kind, &workload);
            let (Some(containers), Some(content)) = (&selected, content) else {
                let one = (kind, &workload);
                let left = write::take_back((at, &tries), one, &mut seen, progress).await?;
                if selected.is_some() && seen.admits() {
                    seen.show(left.as_ref().unwrap_or(&workload), kind);
                }
                continue;
            };
            let wanted = Wanted {
                placement: &tenant.name_any(),
                secret: &secret,
                hash: &hash,
                origin,
                reload: tenant.reload_strategy(),
                content,
                containers,
            };
            selected_ones.extend(compare(at, (kind, workload), &wanted, &mut seen));
        }
    }
    if !seen.unreleased {
        memory.scanned(&uid, at.region, generation);
    }
    write::give((at, &tries), selected_ones, origin, &mut seen, progress).await?;
    if at.region.is_none() {
        let gift = Gift {
            secret: &secret,
            hash: &hash,
            content,
        };
        others::inject((ctx, memory, &tries), tenant, &selections, &gift, &mut seen).await;
    }
    conclude::conclude(tenant, seen, progress);
    let now = ctx.clock.mono();
    let settled = inputs.and_then(|inputs| Settled::of(inputs, progress, now));
    if at.region.is_none() {
        memory.settle(&uid, settled);
    }
    Ok(())
}

/// What the workloads must carry, if anything.
fn content<'a>(
    tenant: &TenantPlacement,
    rendered: &'a Rendered,
    folder: &'a str,
) -> Option<Content<'a>> {
    match tenant.injection_mode() {
        InjectionMode::Env => Some(Content::Variables(&rendered.variables)),
        InjectionMode::Volume => Some(Content::Files(folder)),
        InjectionMode::None => None,
    }
}

/// Takes back all that was injected into workloads of other kinds, which are looked for in the hub
/// alone.
pub(super) async fn release_others(
    hub: &Place<'_>,
    memory: &Memory,
    progress: &mut Progress,
) -> Result<(), Halt> {
    others::release_all((hub.ctx, memory), hub.tenant, progress).await
}

const INJECTED: ConditionType = ConditionType::Injected;
const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];

/// A selection, ready to be matched.
struct Selection<'a> {
    spec: &'a WorkloadSelector,
    selector: Selector,
}

fn selections(tenant: &TenantPlacement) -> Result<Vec<Selection<'_>>, Stop> {
    let mut selections = Vec::new();
    for (index, spec) in tenant.workloads().iter().enumerate() {
        let selector = Selector::try_from(spec.selector.clone()).map_err(|error| {
            let message = format!("`spec.injection.workloads[{index}].selector`: {error}");
            Stop::new(Until::Person, Reason::InvalidSpec, message)
        })?;
        selections.push(Selection { spec, selector });
    }
    Ok(selections)
}

fn selected(
    selections: &[Selection<'_>],
    kind: WorkloadKind,
    live: &DynamicObject,
) -> Option<Vec<String>> {
    let matches = |selection: &&Selection<'_>| {
        selection.spec.known() == Some(kind) && selection.selector.matches(live.labels())
    };
    asked(selections.iter().filter(matches))
}

/// The containers that selections ask for, all when empty; nothing where there is no selection.
fn asked<'a>(selections: impl Iterator<Item = &'a Selection<'a>>) -> Option<Vec<String>> {
    let mut containers = BTreeSet::new();
    let mut all = false;
    let mut any = false;
    for selection in selections {
        any = true;
        all |= selection.spec.containers.is_empty();
        containers.extend(selection.spec.containers.iter().cloned());
    }
    any.then(|| {
        if all {
            Vec::new()
        } else {
            containers.into_iter().collect()
        }
    })
}

/// Whether workloads of this kind can be selected, or were.
fn concerned(tenant: &TenantPlacement, kind: WorkloadKind) -> bool {
    let status = tenant.status.iter().flat_map(|status| &status.workloads);
    tenant
        .workloads()
        .iter()
        .any(|selection| selection.known() == Some(kind))
        || status.into_iter().any(|workload| workload.kind == kind)
}

/// Whether there may be workloads of this kind, of which none is selected. Of those that are, only
/// a list tells: logins are closed, and Secrets go, when all of them have taken up the next ones.
fn may_have(at: &Place<'_>, kind: WorkloadKind) -> bool {
    at.region.is_some() || at.ctx.workloads.may_have(kind, &namespace(at.tenant))
}

/// The workloads of a kind that stay.
async fn list(
    at: &Place<'_>,
    kind: WorkloadKind,
    progress: &mut Progress,
) -> Result<Vec<DynamicObject>, Halt> {
    let live = pages::list(at.ctx, &at.workloads(kind)).await;
    let mut live = live.map_err(|error| refused(at, "listing workloads", error, progress))?;
    live.retain(|live| live.metadata.deletion_timestamp.is_none());
    Ok(live)
}

/// Compares a selected workload with what it must carry. Shows it, unless there is nothing that
/// keeps the Secret from it.
fn compare(
    at: &Place<'_>,
    (kind, live): (WorkloadKind, DynamicObject),
    wanted: &Wanted<'_>,
    seen: &mut Seen<'_>,
) -> Option<Selected> {
    if !seen.admits() {
        return None;
    }
    let name = called(kind, &live);
    let other = |other: &str| {
        let key = Key::namespaced(namespace(at.tenant), other);
        at.ctx.stores.placements.exists(&key)
    };
    seen.old_pods |= rollout::has_old_pods(&live, kind);
    let (document, rolls) = match inject::decide(&live, kind, wanted, &other) {
        Decision::Settled => (None, false),
        Decision::Apply { document, rolls } => (Some(document), rolls),
        Decision::Conflict { manager, field } => {
            seen.show(&live, kind);
            seen.conflict(&name, &field, &manager);
            return None;
        }
        Decision::NoContainer(names) => {
            seen.show(&live, kind);
            seen.missing.push(format!("{name}: {}", names.join(", ")));
            return None;
        }
    };
    Some(Selected {
        kind,
        live,
        containers: wanted.containers.to_vec(),
        document,
        rolls,
    })
}

fn called(kind: WorkloadKind, live: &DynamicObject) -> String {
    format!("{} {}", kind.as_str(), live.name_any())
}

/// What a failed call about workloads means: the tenant is served all the same.
fn refused(at: &Place<'_>, doing: &str, error: CallError, progress: &mut Progress) -> Halt {
    if error.is_forbidden() {
        return progress.deny(INJECTED, at.not_onboarded()).into();
    }
    PlacementError::call(format!("{doing} in {}", at.namespace()), error).into()
}
