//! What became of the selected workloads, and what that means for the placement.

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::{InjectionMode, WorkloadKind};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::WorkloadStatus;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::controllers::placement::progress::Progress;
use crate::controllers::placement::{inject, rollout};

/// Most workloads of one placement: what its status can hold.
const LIMIT: usize = 64;

/// What became of the selected workloads.
pub(super) struct Seen<'a> {
    tenant: &'a TenantPlacement,
    hash: &'a str,
    now: Timestamp,
    statuses: Vec<WorkloadStatus>,
    waiting: Vec<String>,
    /// When the pause ends that the next wave waits for.
    pub(super) pause_until: Option<Timestamp>,
    conflicts: Vec<String>,
    /// Containers that are asked for and not there.
    pub(super) missing: Vec<String>,
    /// What the API server refused.
    pub(super) refused: Vec<String>,
    over: usize,
    /// Pods of an older template still run.
    pub(super) old_pods: bool,
}

impl<'a> Seen<'a> {
    /// Nothing yet.
    pub(super) fn new(tenant: &'a TenantPlacement, hash: &'a str, now: Timestamp) -> Self {
        Self {
            tenant,
            hash,
            now,
            statuses: Vec::new(),
            waiting: Vec::new(),
            pause_until: None,
            conflicts: Vec::new(),
            missing: Vec::new(),
            refused: Vec::new(),
            over: 0,
            old_pods: false,
        }
    }

    /// Whether one more workload can be shown. Counts it as left out when not.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.statuses.len() < LIMIT;
        self.over += usize::from(!room);
        room
    }

    /// Since when all pods of a workload have the present Secret. A pod that is unavailable for a
    /// while later on changes nothing.
    pub(super) fn since(&self, live: &DynamicObject, kind: WorkloadKind) -> Option<Timestamp> {
        if inject::observed_hash(live) != Some(self.hash) {
            return None;
        }
        let name = live.name_any();
        let before = self.tenant.status.iter();
        let mut before = before.flat_map(|status| &status.workloads);
        let before = before.find(|one| one.kind == kind && one.name == name);
        let same = before.filter(|one| one.observed_hash.as_deref() == Some(self.hash));
        let known = same.and_then(|one| one.since);
        match known.filter(|_| rollout::is_replaced(live, kind)) {
            Some(since) => Some(since),
            None => rollout::is_done(live, kind).then_some(self.now),
        }
    }

    /// Shows a workload in the status.
    pub(super) fn show(&mut self, live: &DynamicObject, kind: WorkloadKind) {
        let since = self.since(live, kind);
        self.list(live, kind, since);
    }

    /// Shows a workload that begins to roll.
    pub(super) fn show_rolling(&mut self, live: &DynamicObject, kind: WorkloadKind) {
        self.list(live, kind, None);
    }

    /// Shows a workload whose turn it is not.
    pub(super) fn wait(&mut self, live: &DynamicObject, kind: WorkloadKind) {
        self.list(live, kind, None);
        self.waiting.push(live.name_any());
    }

    fn list(&mut self, live: &DynamicObject, kind: WorkloadKind, since: Option<Timestamp>) {
        let (updated, total) = rollout::rollout(live, kind);
        self.statuses.push(WorkloadStatus {
            kind,
            name: live.name_any(),
            observed_hash: inject::observed_hash(live).map(str::to_owned),
            updated,
            total,
            since,
        });
    }

    /// Another manager owns a field.
    pub(super) fn conflict(&mut self, workload: &str, field: &str, manager: &str) {
        let text = format!("{workload}: {field} belongs to {manager}");
        self.conflicts.push(text);
    }

    /// The workloads that others wait for.
    fn unfinished(&self) -> String {
        let waits = |name: &String| self.waiting.contains(name);
        let unfinished = self.statuses.iter().filter(|one| one.since.is_none());
        let names = unfinished.map(|one| &one.name).filter(|name| !waits(name));
        names.cloned().collect::<Vec<_>>().join(", ")
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
    mut seen: Seen<'_>,
    hash: &str,
    progress: &mut Progress,
) {
    seen.statuses
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let old = |w: &&WorkloadStatus| w.observed_hash.as_deref() != Some(hash) || w.updated < w.total;
    let mut rolling: Vec<&str> = seen
        .statuses
        .iter()
        .filter(old)
        .map(|w| w.name.as_str())
        .collect();
    rolling.retain(|name| !seen.waiting.iter().any(|waits| waits == name));
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
    } else if !seen.waiting.is_empty() {
        let waiting = seen.waiting.join(", ");
        let message = match (seen.pause_until, seen.unfinished()) {
            (Some(until), _) => format!("after a pause until {until}: {waiting}"),
            (None, before) => format!("rolling: {before}; then: {waiting}"),
        };
        answer(Status::False, Reason::RollingOut, &message);
        progress.rolling = true;
        progress.pause = seen.pause_until.map(|until| until.duration_since(seen.now));
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
