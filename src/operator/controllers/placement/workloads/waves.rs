//! How far the selected workloads are, and whose turn it is.

use domicile_api::injection::WorkloadKind;
use domicile_api::placement::TenantPlacement;
use domicile_core::injection::{self, Origin, Stage, Turn};
use domicile_core::rotation;
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use super::conclude::Seen;
use crate::controllers::placement::progress::Progress;
use crate::controllers::placement::{inject, rollout, rotate};

/// A selected workload that nothing keeps from the Secret.
pub(super) struct Selected {
    pub(super) kind: WorkloadKind,
    pub(super) live: DynamicObject,
    /// The containers that get the Secret; all but init containers when empty.
    pub(super) containers: Vec<String>,
    /// What it must be given, if anything.
    pub(super) document: Option<Value>,
    /// That changes its pods.
    pub(super) rolls: bool,
}

/// What the Secret leads to; absent when the tenant is not served.
pub(in crate::controllers::placement) fn origin(
    tenant: &TenantPlacement,
    progress: &Progress,
) -> Option<Origin> {
    let served = progress.served.as_ref()?;
    Some(Origin {
        server: served.leads_to.clone(),
        generation: rotate::generation(tenant, served),
    })
}

/// Whose turn it is, of workloads in their order.
pub(super) fn turn(
    tenant: &TenantPlacement,
    workloads: &[Selected],
    origin: &Origin,
    seen: &Seen<'_>,
    now: Timestamp,
) -> Turn {
    let known = tenant.credentials();
    let overlap = known.as_ref().is_some_and(|known| known.retiring.is_some());
    let pressing = |known| rotation::is_pressing(known, &tenant.rotation(), now);
    let hurry = known.as_ref().is_some_and(pressing);
    let stage = |one: &Selected| {
        if one.rolls {
            let carried = inject::origin(&one.live);
            let stranded =
                carried.is_some_and(|carried| injection::is_stranded(&carried, origin, overlap));
            return Stage::Behind { stranded };
        }
        match seen.since(&one.live, one.kind) {
            Some(since) => Stage::Current(since),
            None if rollout::is_held(&one.live, one.kind) => Stage::Held,
            None => Stage::Rolling,
        }
    };
    let stages: Vec<Stage> = workloads.iter().map(stage).collect();
    injection::turn(&stages, tenant.pace(), hurry, now)
}
