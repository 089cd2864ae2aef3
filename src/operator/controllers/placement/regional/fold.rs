//! What is to be done in the clusters of regions, and what became of it, as the placement's status
//! has it.

use std::collections::BTreeSet;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::WorkloadStatus;
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, Copy, Errand, Errands, PolicyView, Reach};
use jiff::SignedDuration;
use kube::ResourceExt;

use super::memory::{Look, Share};
use super::recorded;
use crate::controllers::placement::choose::{Map, Residence};
use crate::controllers::placement::endpoint;
use crate::controllers::placement::former::{self, Left};
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::progress::{Finding, Progress};
use crate::kube::events::Severity;

mod joined;

use joined::joined;

const INJECTED: ConditionType = ConditionType::Injected;

/// What there is to be done, and the Secrets that the clusters hold, or will, as copies.
#[derive(Debug, Clone, Default)]
pub(in crate::controllers::placement) struct Plan {
    errands: Errands,
    copies: Vec<Copy>,
}

impl Plan {
    /// Whether the Secret goes anywhere beside the hub.
    pub(in crate::controllers::placement) fn delivers(&self) -> bool {
        self.errands
            .of
            .values()
            .any(|errand| *errand == Errand::Deliver)
    }
}

/// Decides what there is to be done. `steady` says that the tenant is not being moved.
pub(in crate::controllers::placement) fn plan(
    map: &Map<'_>,
    tenant: &TenantPlacement,
    (residence, place, policy): (&Residence<'_>, &ServerId, Option<&PolicyView>),
    steady: bool,
) -> Plan {
    let ctx = map.ctx;
    let unreadable = ctx.stores.regions.unreadable();
    let obscure = unreadable
        .iter()
        .filter_map(|region| region.metadata.name.as_deref().map(RegionName::new))
        .collect();
    let reach = Reach {
        home: &residence.home,
        place,
        policy,
        allowed: &residence.allowed,
        recorded: &recorded(tenant),
        obscure: &obscure,
        // A policy that cannot be read may have standbys anywhere.
        settled: steady && ctx.stores.policies.unreadable().is_empty(),
    };
    let errands = placement::errands(&reach, &map.regions);
    Plan {
        copies: placement::secret_copies(errands.of.keys(), &residence.allowed, &map.regions),
        errands,
    }
}

/// Decides what there is to be done while it is not known who serves the tenant: what its law
/// forbids is taken back. `copies` are the Secrets that are recorded.
pub(in crate::controllers::placement) fn withdrawals(
    map: &Map<'_>,
    tenant: &TenantPlacement,
    allowed: &BTreeSet<Jurisdiction>,
    copies: Vec<Copy>,
) -> Plan {
    let errands = placement::withdrawals(&recorded(tenant), allowed, &map.regions);
    Plan { errands, copies }
}

/// Takes into `progress` what became of the errands that it names.
pub(in crate::controllers::placement) fn fold(
    tenant: &TenantPlacement,
    memory: &Memory,
    progress: &mut Progress,
) {
    let Some(Plan { errands, copies }) = progress.clusters.take() else {
        return;
    };
    let uid = tenant.uid().unwrap_or_default();
    let generation = tenant.metadata.generation;
    memory.regional.plan(&uid, &errands, generation);
    let recorded = recorded(tenant);
    let ordered = memory.regional.is_ordered(&uid);
    let mut held = BTreeSet::new();
    let mut parts = Vec::new();
    let mut fronted = false;
    let awaited = match endpoint::recorded(tenant) {
        Some(_) => "the Secret and its Service are on their way",
        None => "the Secret is on its way",
    };
    for (region, errand) in &errands.of {
        let look = memory.regional.look(&uid, region, generation);
        let stays = match errand {
            Errand::Deliver => recorded.contains(region) || ordered,
            Errand::Withdraw => look != Look::Withdrawn,
            Errand::Keep => true,
            Errand::Forget => false,
        };
        if *errand == Errand::Forget {
            let note = format!(
                "the Secret in the cluster of Region {region} is given up, if it is still there: \
                 the Region is gone, or has no `spec.cluster` any more"
            );
            progress.tell(Severity::Warning, Reason::ClusterGivenUp, note);
        }
        if stays {
            held.insert(region.clone());
        }
        fronted |= recorded.contains(region) && may_be_fronted(*errand, &look);
        former::fold(
            tenant,
            Some(region),
            left(tenant, region, *errand, &look),
            progress,
        );
        parts.push(Part {
            region: region.clone(),
            errand: *errand,
            new: !told(tenant, progress, region),
            awaited,
            look,
        });
    }
    if fronted {
        // It is recorded until it is gone everywhere.
        progress.removed_service = None;
    }
    let held = copies
        .into_iter()
        .filter(|copy| held.contains(&copy.region));
    let held: Vec<Copy> = held.collect();
    residency(&held, &errands.refused, progress);
    progress.secrets = Some(held);
    show(tenant, &parts, progress);
    say(&parts, progress);
}

/// Whether a Service of the placement may be in the cluster of a region that has its Secret. What
/// was given up is not asked for any more.
fn may_be_fronted(errand: Errand, look: &Look) -> bool {
    match (errand, look) {
        (Errand::Forget, _) | (_, Look::Withdrawn) => false,
        (_, Look::Delivered(share)) => share.fronted,
        (_, Look::Unknown | Look::Pending | Look::Silent(_) | Look::Barred(..)) => true,
    }
}

/// What is left under former names in the cluster of a region, as far as that is known. What was
/// given up is not looked for any more.
fn left(tenant: &TenantPlacement, region: &RegionName, errand: Errand, look: &Look) -> Left {
    match (errand, look) {
        (Errand::Forget, _) | (_, Look::Withdrawn) => {
            let all = tenant.former_secrets(Some(region)).into_iter();
            let gone = all.map(|one| one.name.clone()).collect();
            let staying = Vec::new();
            Left { gone, staying }
        }
        (_, Look::Delivered(share)) => share.left.clone(),
        (_, Look::Unknown | Look::Pending | Look::Silent(_) | Look::Barred(..)) => Left::default(),
    }
}

/// Whether every selected workload, wherever it is, runs with the present Secret.
pub(in crate::controllers::placement) fn taken_up(
    tenant: &TenantPlacement,
    memory: &Memory,
    progress: &Progress,
) -> bool {
    let uid = tenant.uid().unwrap_or_default();
    let errands = progress.clusters.iter().flat_map(|plan| &plan.errands.of);
    let theirs = errands.filter(|(_, errand)| **errand == Errand::Deliver);
    let theirs = theirs.filter_map(|(region, _)| {
        match memory
            .regional
            .look(&uid, region, tenant.metadata.generation)
        {
            Look::Delivered(share) if share.workloads.is_empty() => None,
            Look::Delivered(share) => Some(share.taken_up),
            // Its pods may have the one before.
            Look::Unknown
            | Look::Pending
            | Look::Withdrawn
            | Look::Silent(_)
            | Look::Barred(..) => Some(false),
        }
    });
    let any = |workloads: &Vec<WorkloadStatus>| !workloads.is_empty();
    let ours = progress.workloads.as_ref().is_some_and(any);
    // Of these it is not known what their pods have.
    let others = progress.other_workloads.as_ref();
    let ours = ours || others.is_some_and(|others| !others.is_empty());
    let mut all: Vec<bool> = theirs.collect();
    all.extend(ours.then_some(progress.taken_up));
    !all.is_empty() && all.into_iter().all(|taken_up| taken_up)
}

/// What is to be said of Secrets outside the law, and of clusters that get none by it.
fn residency(held: &[Copy], refused: &[RegionName], progress: &mut Progress) {
    let type_ = ConditionType::ResidencyCompliant;
    let Some(finding) = progress.findings.get_mut(&type_) else {
        return;
    };
    let outside = held.iter().filter(|copy| !copy.compliant);
    let outside: Vec<&str> = outside.map(|copy| copy.region.as_str()).collect();
    if !outside.is_empty() {
        let told = format!(
            "the Secret may still be in the clusters of {}, outside `spec.allowedJurisdictions`, \
             and is taken back as soon as they let it be",
            outside.join(", ")
        );
        // That all copies are inside, or that nobody knows, is true no more.
        finding.message = match finding.status {
            Status::False => format!("{}; {told}", finding.message),
            Status::True | Status::Unknown => told,
        };
        finding.status = Status::False;
        finding.reason = Reason::WouldLeaveJurisdiction;
        let (reason, message) = (finding.reason, finding.message.clone());
        progress.notice(reason, message);
    }
    if !refused.is_empty() {
        let names: Vec<&str> = refused.iter().map(RegionName::as_str).collect();
        let told = format!("; the clusters of {} get no Secret", names.join(", "));
        if let Some(finding) = progress.findings.get_mut(&type_) {
            finding.message.push_str(&told);
        }
    }
}

/// One region's cluster.
struct Part {
    region: RegionName,
    errand: Errand,
    /// The status does not say yet that the present Secret is there.
    new: bool,
    /// What is on its way then, for people.
    awaited: &'static str,
    look: Look,
}

/// Whether the status that was stored speaks of the present Secret, in this region's cluster too.
fn told(tenant: &TenantPlacement, progress: &Progress, region: &RegionName) -> bool {
    let Some(status) = tenant.status.as_ref() else {
        return false;
    };
    let same = progress.served.as_ref().is_none_or(|served| {
        status.secret_hash.as_deref() == Some(&served.secret_hash)
            && status.epoch == Some(served.epoch.0)
    });
    same && status.observed_generation == tenant.metadata.generation
        && recorded(tenant).contains(region)
}

/// The workloads of all clusters. Those of one that tells nothing stay as they were.
fn show(tenant: &TenantPlacement, parts: &[Part], progress: &mut Progress) {
    let of = |region: Option<&str>| -> Vec<WorkloadStatus> {
        let before = tenant.status.iter().flat_map(|status| &status.workloads);
        let of = |one: &&WorkloadStatus| one.cluster.as_deref() == region;
        before.filter(of).cloned().collect()
    };
    let mut all = progress.workloads.take().unwrap_or_else(|| of(None));
    for part in parts {
        let kept = || of(Some(part.region.as_str()));
        let theirs: Vec<WorkloadStatus> = match (&part.look, part.errand) {
            (Look::Delivered(share), _) => share.workloads.clone(),
            (Look::Withdrawn, _) | (_, Errand::Forget) => Vec::new(),
            (Look::Unknown | Look::Pending | Look::Silent(_) | Look::Barred(..), _) => kept(),
        };
        all.extend(theirs);
    }
    progress.workloads = Some(all);
}

/// What is to be said of the clusters.
fn say(parts: &[Part], progress: &mut Progress) {
    let mut findings: Vec<Finding> = Vec::new();
    let mut unknown = false;
    for part in parts {
        match heard(part) {
            Heard::Nothing => {}
            Heard::Unknown => unknown = true,
            Heard::Share(share) => {
                if share.rolling {
                    rolls(share.pause, progress);
                }
                if let Some((reason, message)) = &share.notice {
                    progress.notice(*reason, format!("Region {}: {message}", part.region));
                }
                let told = |finding: Finding| Finding {
                    message: format!("Region {}: {}", part.region, finding.message),
                    ..finding
                };
                findings.extend(share.injected.map(told));
            }
            Heard::Pending => {
                rolls(None, progress);
                let message = format!("Region {}: {}", part.region, part.awaited);
                findings.push(failing(Reason::RollingOut, message));
            }
            Heard::Silent(message) => {
                progress.apart.push(message.clone());
                findings.push(failing(Reason::ClusterUnreachable, message));
            }
            Heard::Barred(reason, message) => {
                progress.notice(reason, message.clone());
                findings.push(failing(reason, message));
            }
        }
    }
    // A hub that said nothing of its workloads is no reason to say more of the others'.
    let Some(ours) = progress.findings.remove(&INJECTED) else {
        return;
    };
    if findings.is_empty() && !unknown {
        progress.findings.insert(INJECTED, ours);
        return;
    }
    findings.insert(0, ours);
    let whole = joined(findings);
    if whole.status == Status::False || !unknown {
        progress.findings.insert(INJECTED, whole);
    }
}

/// What one cluster has to say.
enum Heard {
    Nothing,
    Unknown,
    Share(Box<Share>),
    Pending,
    Silent(String),
    Barred(Reason, String),
}

fn heard(part: &Part) -> Heard {
    match (&part.look, part.errand) {
        (_, Errand::Keep | Errand::Forget)
        | (Look::Withdrawn, _)
        | (Look::Unknown | Look::Pending, Errand::Withdraw) => Heard::Nothing,
        (Look::Delivered(share), _) => Heard::Share(share.clone()),
        (Look::Silent(message), _) => Heard::Silent(message.clone()),
        (Look::Barred(reason, message), _) => Heard::Barred(*reason, message.clone()),
        (Look::Unknown | Look::Pending, Errand::Deliver) if part.new => Heard::Pending,
        (Look::Unknown | Look::Pending, Errand::Deliver) => Heard::Unknown,
    }
}

fn failing(reason: Reason, message: String) -> Finding {
    Finding {
        status: Status::False,
        reason,
        message,
    }
}

/// Workloads roll in one more cluster, or pause.
fn rolls(pause: Option<SignedDuration>, progress: &mut Progress) {
    progress.pause = if progress.rolling {
        progress.pause.zip(pause).map(|(one, other)| one.min(other))
    } else {
        pause
    };
    progress.rolling = true;
}

#[cfg(test)]
mod tests;
