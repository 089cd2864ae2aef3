//! A tenant of which it is not known who serves it. Its law is answered for all the same, by what
//! is recorded; and a policy that cannot be read is not taken for none.

use std::collections::BTreeSet;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::Jurisdiction;
use domicile_core::placement::{self, Copies, Copy, CopyKind};

use super::{protection, recorded, residency};
use crate::controllers::placement::choose::Map;
use crate::controllers::placement::progress::{Progress, Stop};
use crate::controllers::placement::{regional, report};
use crate::kube::cache::Unreadable;
use crate::stores::glimpse;

/// The policy that cannot be read and may cover a tenant that has a server, while none that can be
/// read does: who serves the tenant is that one's to say.
pub(super) fn obscuring(
    map: &Map<'_>,
    tenant: &TenantPlacement,
    mut unreadable: impl Iterator<Item = Unreadable>,
) -> Option<Unreadable> {
    let (server, _) = recorded(tenant)?;
    // Without a home the pass ends anyway.
    let region = map.residence(tenant).ok()?.region;
    if placement::is_covered(&region, &server, &map.policies) {
        return None;
    }
    unreadable.find(|policy| glimpse(policy).may_cover(&region, &server))
}

/// Judges the recorded copies by the present law, and has the Secret taken back from the clusters
/// where that forbids it. Nothing else is touched. `stop` says why it is not known who serves.
pub(super) fn answer(
    map: &Map<'_>,
    tenant: &TenantPlacement,
    stop: &Stop,
    progress: &mut Progress,
) {
    let copies = report::recorded_copies(tenant);
    if recorded(tenant).is_none() || copies.is_empty() {
        return;
    }
    // Which policy holds is not known, and each may copy the tenant where nothing is recorded.
    let hidden = [Reason::InvalidObject, Reason::ServerInTwoPolicies].contains(&stop.reason);
    let unknown = |type_, message: String, progress: &mut Progress| {
        progress.found(type_, Status::Unknown, stop.reason, message);
    };
    if hidden {
        let message = stop.message.clone();
        unknown(ConditionType::FailoverProtected, message, progress);
    } else if stop.reason == Reason::PolicyNotFound {
        protection(map.ctx, None, progress);
    }
    let type_ = ConditionType::ResidencyCompliant;
    let Some(allowed) = law(map, tenant) else {
        let message = format!(
            "the law of the tenant is that of its home: {}",
            stop.message
        );
        return unknown(type_, message, progress);
    };
    let Copies(judged) = placement::judged(copies, &allowed, &map.regions);
    let is_secret = |copy: &Copy| copy.kind == CopyKind::Secret;
    let (secrets, data): (Vec<Copy>, Vec<Copy>) = judged.into_iter().partition(is_secret);
    let data = Copies(data);
    // What is known to be outside is outside, whatever else there is.
    if hidden && data.outside().is_empty() {
        unknown(type_, stop.message.clone(), progress);
    } else {
        residency(&data, progress);
    }
    progress.copies = Some(data);
    progress.clusters = Some(regional::withdrawals(map, tenant, &allowed, secrets));
}

/// The tenant's law, where it is known: its own needs no home.
fn law(map: &Map<'_>, tenant: &TenantPlacement) -> Option<BTreeSet<Jurisdiction>> {
    let own = tenant.spec.allowed_jurisdictions.as_ref();
    let own = own.map(|names| names.iter().map(Jurisdiction::new).collect());
    own.or_else(|| Some(map.residence(tenant).ok()?.allowed))
}
