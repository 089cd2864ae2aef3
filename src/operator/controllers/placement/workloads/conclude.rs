//! What became of the selected workloads, and what that means for the placement.

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::{InjectionMode, WorkloadKind};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::WorkloadStatus;
use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::controllers::placement::progress::Progress;
use crate::controllers::placement::{inject, rollout};

/// Most workloads of one placement: what its status can hold.
const LIMIT: usize = 64;

/// What became of the selected workloads.
#[derive(Default)]
pub(super) struct Seen {
    statuses: Vec<WorkloadStatus>,
    conflicts: Vec<String>,
    /// Containers that are asked for and not there.
    pub(super) missing: Vec<String>,
    /// What the API server refused.
    pub(super) refused: Vec<String>,
    over: usize,
    /// Pods of an older template still run.
    pub(super) old_pods: bool,
}

impl Seen {
    /// Whether one more workload can be shown. Counts it as left out when not.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.statuses.len() < LIMIT;
        self.over += usize::from(!room);
        room
    }

    /// Shows a workload in the status.
    pub(super) fn show(&mut self, live: &DynamicObject, kind: WorkloadKind) {
        let (updated, total) = rollout::rollout(live, kind);
        self.statuses.push(WorkloadStatus {
            kind,
            name: live.name_any(),
            observed_hash: inject::observed_hash(live).map(str::to_owned),
            updated,
            total,
        });
    }

    /// Another manager owns a field.
    pub(super) fn conflict(&mut self, workload: &str, field: &str, manager: &str) {
        let text = format!("{workload}: {field} belongs to {manager}");
        self.conflicts.push(text);
    }

    /// What a person must see to.
    fn problem(&self) -> Option<(Reason, String)> {
        if !self.conflicts.is_empty() {
            let fields = self.conflicts.join("; ");
            let message = format!("left alone: {fields}; take the field out there");
            return Some((Reason::FieldConflict, message));
        }
        let message = if !self.missing.is_empty() {
            let names = self.missing.join("; ");
            format!("these containers do not exist: {names}")
        } else if !self.refused.is_empty() {
            let texts = self.refused.join("; ");
            format!("the API server refused what is injected: {texts}")
        } else if self.over > 0 {
            let over = self.over;
            format!("{over} workloads above the limit of {LIMIT} were left out")
        } else {
            return None;
        };
        Some((Reason::InvalidSpec, message))
    }
}

/// Answers the condition, and shows the workloads.
pub(super) fn conclude(
    tenant: &TenantPlacement,
    mut seen: Seen,
    hash: &str,
    progress: &mut Progress,
) {
    seen.statuses
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let old = |w: &&WorkloadStatus| w.observed_hash.as_deref() != Some(hash) || w.updated < w.total;
    let rolling: Vec<&str> = seen
        .statuses
        .iter()
        .filter(old)
        .map(|w| w.name.as_str())
        .collect();
    let mut answer = |status, reason, message: &str| {
        progress.found(ConditionType::Injected, status, reason, message);
    };
    if let Some((reason, message)) = seen.problem() {
        answer(Status::False, reason, &message);
        progress.notice(reason, message);
    } else if tenant.workloads().is_empty() {
        answer(
            Status::True,
            Reason::NoWorkloads,
            "no workload is asked for",
        );
    } else if tenant.injection_mode() == InjectionMode::None {
        let message = "`spec.injection.mode` is None: the selected workloads are left alone";
        answer(Status::True, Reason::InjectionOff, message);
    } else if seen.statuses.is_empty() {
        let message = "no workload matches `spec.injection.workloads`";
        answer(Status::False, Reason::NoWorkloads, message);
    } else if rolling.is_empty() {
        let message = "every selected workload runs with the present Secret";
        answer(Status::True, Reason::InjectionComplete, message);
        progress.taken_up = !seen.old_pods;
    } else {
        let message = format!("rolling: {}", rolling.join(", "));
        answer(Status::False, Reason::RollingOut, &message);
        progress.rolling = true;
    }
    progress.workloads = Some(seen.statuses);
}
