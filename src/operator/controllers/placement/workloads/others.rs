//! Selected workloads of kinds that are not of `apps/v1` (ADR 34): where they keep what a pod
//! template keeps is told by a mapping, as for service bindings. Their lists are merged by nobody,
//! so that entries are inserted, and recorded on the workload. How far their pods are is not known.

use std::collections::BTreeSet;

use domicile_api::conditions::Reason;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{MAX_WORKLOADS as LIMIT, OtherWorkload};

use super::conclude::Seen;
use super::patience::Tries;
use super::{INJECTED, Selection};
use crate::context::Ctx;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::inject::Content;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::parting::Kept;
use crate::controllers::placement::progress::{Progress, Stop, Until};
use crate::projection::kinds::Kind;

mod found;
mod round;

use round::Round;

/// What the workloads get.
pub(super) struct Gift<'a> {
    pub(super) secret: &'a str,
    pub(super) hash: &'a str,
    /// Nothing is given where there is no content.
    pub(super) content: Option<Content<'a>>,
}

/// What keeps a kind from the Secret: for a person.
type Trouble = (Reason, String);

/// Gives every selected workload of other kinds what it must carry, and takes it back from the
/// rest.
pub(super) async fn inject(
    (ctx, memory, tries): (&Ctx, &Memory, &Tries<'_>),
    tenant: &TenantPlacement,
    selections: &[Selection<'_>],
    gift: &Gift<'_>,
    seen: &mut Seen<'_>,
) {
    for (kind, meant) in kinds_of(tenant, seen) {
        let round = Round::begin((ctx, memory), tenant, &kind, meant).await;
        let done = match round {
            Ok(Ok(Some(round))) => Ok(round.inject(tries, selections, gift, seen).await),
            Ok(Ok(None)) => Ok(Ok(true)),
            Ok(Err(trouble)) => Ok(Err(trouble)),
            Err(halt) => Err(halt),
        };
        // Whatever is wrong with a foreign kind, the tenant is served, and its move goes on.
        let trouble = match done {
            Ok(Ok(true)) => continue,
            // What is still to be taken back is found again, and what keeps it is told by itself.
            Ok(Ok(false)) => {
                keep(tenant, &kind, seen);
                continue;
            }
            Ok(Err(trouble)) => Some(trouble),
            Err(Halt::Later(_)) => None,
            Err(Halt::Failed(error)) => Some((Reason::ApiServerError, error.to_string())),
            Err(Halt::Stop(stop)) => Some((stop.reason, stop.message)),
        };
        keep(tenant, &kind, seen);
        seen.others_begin |= trouble.is_none();
        seen.troubles.extend(trouble);
    }
}

/// Takes back, for a deletion, all that was injected for a placement into workloads of other kinds.
/// The error tells of all that were not written, once the others were.
pub(super) async fn release_all(
    (ctx, memory): (&Ctx, &Memory),
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let mut kept = Kept::default();
    for kind in recorded(tenant) {
        let round = match Round::begin((ctx, memory), tenant, &kind, false).await {
            Ok(Ok(Some(round))) => round,
            Ok(Ok(None)) => continue,
            Ok(Err((reason, message))) => {
                kept.take(Err(Stop::new(Until::Person, reason, message).into()))?;
                continue;
            }
            Err(halt) => {
                kept.take(Err(halt))?;
                continue;
            }
        };
        for live in &round.live {
            kept.take(round.release(live).await)?;
        }
    }
    kept.deny(INJECTED, progress)
}

/// The kinds whose workloads carry the Secret, or are about to.
fn recorded(tenant: &TenantPlacement) -> BTreeSet<Kind> {
    let shown = tenant.status.iter();
    let shown = shown.flat_map(|status| &status.other_workloads);
    let read = |one: &OtherWorkload| Kind::read(&one.api_version, &one.kind).ok();
    shown.filter_map(read).collect()
}

/// All kinds to look at, and whether the spec names them. Several versions of a kind lead to the
/// same objects, so one is looked at: the first that the spec names, else one that is recorded.
fn kinds_of(tenant: &TenantPlacement, seen: &mut Seen<'_>) -> Vec<(Kind, bool)> {
    let mut kinds: Vec<(Kind, bool)> = Vec::new();
    let mut add = |kind: Kind, meant| {
        if !kinds.iter().any(|(known, _)| is_alike(known, &kind)) {
            kinds.push((kind, meant));
        }
    };
    for (index, selection) in tenant.workloads().iter().enumerate() {
        if selection.known().is_some() {
            continue;
        }
        match Kind::read(&selection.api_version, &selection.kind) {
            Ok(kind) => add(kind, true),
            Err(fact) => {
                let field = format!("`spec.injection.workloads[{index}].apiVersion`: {fact}");
                seen.troubles.push((Reason::InvalidSpec, field));
            }
        }
    }
    for kind in recorded(tenant) {
        add(kind, false);
    }
    kinds.sort();
    kinds
}

/// Whether two are one kind, in whatever version.
fn is_alike(one: &Kind, other: &Kind) -> bool {
    (&one.group, &one.name) == (&other.group, &other.name)
}

/// What could not be looked at stays recorded.
fn keep(tenant: &TenantPlacement, kind: &Kind, seen: &mut Seen<'_>) {
    let shown = tenant.status.iter();
    let shown = shown.flat_map(|status| &status.other_workloads);
    let of = |one: &OtherWorkload| {
        Kind::read(&one.api_version, &one.kind).is_ok_and(|of| is_alike(&of, kind))
    };
    for one in shown.filter(|one| of(one)) {
        let mut others = seen.others.iter().filter(|other| of(other));
        let shown = others.clone().any(|other| other.name == one.name);
        if shown {
            continue;
        }
        if seen.others.len() < LIMIT {
            seen.others.push(one.clone());
        } else if others.next().is_none() {
            // By one of them the kind is found again.
            seen.others.pop();
            seen.others.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests;
