//! Selected workloads of kinds that are not of `apps/v1` (ADR 34): where they keep what a pod
//! template keeps is told by a mapping, as for service bindings. Their lists are merged by nobody,
//! so that entries are inserted, and recorded on the workload. How far their pods are is not known.

use std::collections::BTreeSet;

use domicile_api::conditions::Reason;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{MAX_WORKLOADS as LIMIT, OtherWorkload};

use super::conclude::Seen;
use super::{INJECTED, Selection};
use crate::context::Ctx;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::inject::Content;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::progress::{Progress, Stop, Until};
use crate::projection::kinds::Kind;

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
    (ctx, memory): (&Ctx, &Memory),
    tenant: &TenantPlacement,
    selections: &[Selection<'_>],
    gift: &Gift<'_>,
    seen: &mut Seen<'_>,
) {
    for (kind, meant) in kinds_of(tenant, seen) {
        let round = Round::begin((ctx, memory), tenant, &kind, meant).await;
        let done = match round {
            Ok(Ok(Some(round))) => round.inject(selections, gift, seen).await,
            Ok(Ok(None)) => Ok(Ok(())),
            Ok(Err(trouble)) => Ok(Err(trouble)),
            Err(halt) => Err(halt),
        };
        // Whatever is wrong with a foreign kind, the tenant is served, and its move goes on.
        let trouble = match done {
            Ok(Ok(())) => continue,
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

/// Takes back all that was injected for a placement into workloads of other kinds.
pub(super) async fn release_all(
    (ctx, memory): (&Ctx, &Memory),
    tenant: &TenantPlacement,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let stop = |(reason, message): Trouble, progress: &mut Progress| {
        progress.deny(INJECTED, Stop::new(Until::Person, reason, message))
    };
    for kind in recorded(tenant) {
        let round = match Round::begin((ctx, memory), tenant, &kind, false).await? {
            Ok(Some(round)) => round,
            Ok(None) => continue,
            Err(trouble) => return Err(stop(trouble, progress).into()),
        };
        for live in &round.live {
            if let Err(trouble) = round.give_back(live).await? {
                return Err(stop(trouble, progress).into());
            }
        }
    }
    Ok(())
}

/// The kinds whose workloads carry the Secret, or are about to.
fn recorded(tenant: &TenantPlacement) -> BTreeSet<Kind> {
    let shown = tenant.status.iter();
    let shown = shown.flat_map(|status| &status.other_workloads);
    let read = |one: &OtherWorkload| Kind::read(&one.api_version, &one.kind).ok();
    shown.filter_map(read).collect()
}

/// All kinds to look at, and whether the spec names them.
fn kinds_of(tenant: &TenantPlacement, seen: &mut Seen<'_>) -> Vec<(Kind, bool)> {
    let mut meant = BTreeSet::new();
    for (index, selection) in tenant.workloads().iter().enumerate() {
        if selection.known().is_some() {
            continue;
        }
        match Kind::read(&selection.api_version, &selection.kind) {
            Ok(kind) => {
                meant.insert(kind);
            }
            Err(fact) => {
                let field = format!("`spec.injection.workloads[{index}].apiVersion`: {fact}");
                seen.troubles.push((Reason::InvalidSpec, field));
            }
        }
    }
    let before = recorded(tenant);
    let all = meant.union(&before).cloned();
    all.map(|kind| (kind.clone(), meant.contains(&kind)))
        .collect()
}

/// What could not be looked at stays recorded.
fn keep(tenant: &TenantPlacement, kind: &Kind, seen: &mut Seen<'_>) {
    let shown = tenant.status.iter();
    let shown = shown.flat_map(|status| &status.other_workloads);
    let same = |one: &&OtherWorkload| Kind::read(&one.api_version, &one.kind).as_ref() == Ok(kind);
    for one in shown.filter(same) {
        if seen.others.iter().any(|other| is_same(other, one)) {
            continue;
        }
        let alike = |other: &OtherWorkload| {
            (&other.api_version, &other.kind) == (&one.api_version, &one.kind)
        };
        if seen.others.len() < LIMIT {
            seen.others.push(one.clone());
        } else if !seen.others.iter().any(alike) {
            // By one of them the kind is found again.
            seen.others.pop();
            seen.others.push(one.clone());
        }
    }
}

fn is_same(a: &OtherWorkload, b: &OtherWorkload) -> bool {
    (&a.api_version, &a.kind, &a.name) == (&b.api_version, &b.kind, &b.name)
}
