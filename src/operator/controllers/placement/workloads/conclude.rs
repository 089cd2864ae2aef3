//! What became of the selected workloads, and what that means for the placement.

use std::collections::BTreeMap;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::{InjectionMode, ReloadStrategy, WorkloadKind};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{MAX_WORKLOADS as LIMIT, OtherWorkload, WorkloadStatus};
use domicile_core::names::RegionName;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::refusal::{Problem, Refused};
use super::{called, undone};
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Progress, Stop, Until};
use crate::controllers::placement::{inject, rollout};

mod problems;

/// Most pods that a message names.
const SHOWN: usize = 8;

/// What became of the selected workloads.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, not states"
)]
pub(super) struct Seen<'a> {
    tenant: &'a TenantPlacement,
    /// The region whose own cluster they are in; absent for the hub.
    cluster: Option<&'a str>,
    hash: &'a str,
    /// When the Secret last changed, as far as that is known.
    pub(super) published: Option<Timestamp>,
    now: Timestamp,
    statuses: Vec<WorkloadStatus>,
    rolling: Vec<String>,
    /// Those whose pods somebody must let be replaced.
    held: Vec<String>,
    waiting: Vec<String>,
    /// Pods that started before the Secret changed, by workload.
    older: BTreeMap<(WorkloadKind, String), Vec<String>>,
    /// When the pause ends that the next wave waits for.
    pub(super) pause_until: Option<Timestamp>,
    conflicts: Vec<String>,
    /// Those from which somebody takes it again.
    undone: Vec<String>,
    /// Containers that are asked for and not there.
    pub(super) missing: Vec<String>,
    /// Those that were not written.
    pub(super) refused: Vec<Refused>,
    /// No other write is tried in this pass: there was no answer to one, or it takes too long.
    pub(super) silent: bool,
    /// How many were not tried for that.
    pub(super) untried: usize,
    /// Some still carry what is to be taken back.
    pub(super) unreleased: bool,
    /// Workloads of other kinds.
    pub(super) others: Vec<OtherWorkload>,
    /// What keeps the Secret from those.
    pub(super) troubles: Vec<(Reason, String)>,
    /// Some of those are to be written to in the next pass.
    pub(super) others_begin: bool,
    /// How many of `apps/v1` were admitted.
    admitted: usize,
    over: usize,
    /// Pods of an older template still run.
    pub(super) old_pods: bool,
}

impl<'a> Seen<'a> {
    /// Nothing yet.
    pub(super) fn new(
        at: &'a Place<'a>,
        hash: &'a str,
        published: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let cluster = at.region.map(RegionName::as_str);
        Self::in_cluster((at.tenant, cluster), hash, published, now)
    }

    pub(super) fn in_cluster(
        (tenant, cluster): (&'a TenantPlacement, Option<&'a str>),
        hash: &'a str,
        published: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant,
            cluster,
            hash,
            published,
            now,
            statuses: Vec::new(),
            rolling: Vec::new(),
            held: Vec::new(),
            older: BTreeMap::new(),
            waiting: Vec::new(),
            pause_until: None,
            conflicts: Vec::new(),
            undone: Vec::new(),
            missing: Vec::new(),
            refused: Vec::new(),
            silent: false,
            untried: 0,
            unreleased: false,
            others: Vec::new(),
            troubles: Vec::new(),
            others_begin: false,
            admitted: 0,
            over: 0,
            old_pods: false,
        }
    }

    /// Whether one more workload of `apps/v1` can be shown, which is admitted then, before it is.
    /// Counts it as left out when not.
    pub(super) fn admits(&mut self) -> bool {
        let room = self.has_room();
        self.admitted += usize::from(room);
        room
    }

    /// Whether one more workload of another kind can be shown. Counts it as left out when not.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.admitted.max(self.others.len()) < LIMIT;
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
        let before = before.find(|one| {
            one.kind == kind && one.name == name && one.cluster.as_deref() == self.cluster
        });
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

    /// These pods of a workload started before the Secret changed.
    pub(super) fn older(&mut self, live: &DynamicObject, kind: WorkloadKind, pods: Vec<String>) {
        self.older.insert((kind, live.name_any()), pods);
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
        let name = live.name_any();
        let (mut updated, total) = rollout::rollout(live, kind);
        let mut observed = inject::observed_hash(live);
        let mut rolls = updated < total;
        let mut held = rollout::is_held(live, kind);
        if restarts(self.tenant) {
            let carries = observed == Some(self.hash);
            rolls |= !carries;
            held &= carries;
        } else if let Some(pods) = self.older.get(&(kind, name.clone())) {
            let old = i32::try_from(pods.len()).unwrap_or(i32::MAX);
            updated = updated.min(total.saturating_sub(old)).max(0);
            observed = Some(self.hash).filter(|_| pods.is_empty());
        }
        if rolls && !held {
            self.rolling.push(name.clone());
        } else if rolls {
            self.held.push(called(kind, live));
        }
        self.statuses.push(WorkloadStatus {
            cluster: self.cluster.map(str::to_owned),
            kind,
            name,
            observed_hash: observed.map(str::to_owned),
            updated,
            total,
            since: since.filter(|_| restarts(self.tenant)),
        });
    }

    /// Whether no pod has an older Secret. Times of other clocks, and files that nobody need have
    /// read, end no login early.
    fn taken_up(&self) -> bool {
        let all_new = !self.old_pods && self.held.is_empty();
        all_new && restarts(self.tenant) && self.others.is_empty()
    }

    /// What is said of those that no pass can wait for.
    fn held_told(&self) -> Option<String> {
        let names = self.held.join(", ");
        let message = format!(
            "pods of an older template are not replaced by themselves: {names}; resume what is \
             paused, delete the pods (`OnDelete`), or lower the partition"
        );
        (!names.is_empty()).then_some(message)
    }

    /// What the pods say that started before the Secret changed.
    fn old_pods_told(&self) -> Option<String> {
        let names: Vec<&str> = self.older.values().flatten().map(String::as_str).collect();
        let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>();
        let more = names.len().saturating_sub(SHOWN);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let shown = shown.join(", ");
        let message = format!(
            "these pods started before the Secret changed, and have the old one: {shown}{more}; \
             restart them (`spec.injection.reload.strategy` leaves that to others)"
        );
        (!names.is_empty()).then_some(message)
    }

    /// Another manager owns a field.
    pub(super) fn conflict(&mut self, workload: &str, field: &str, manager: &str) {
        let text = format!("{workload}: {field} belongs to {manager}");
        self.conflicts.push(text);
    }

    /// What was given to a workload so often was taken out again by somebody.
    pub(super) fn undo(&mut self, workload: &str, live: &DynamicObject, times: u32) {
        let owner = undone::controller(live);
        let owner = owner.map_or(String::new(), |owner| format!(", it belongs to {owner}"));
        self.undone
            .push(format!("{workload} ({times} times{owner})"));
    }

    /// How long it is until the next wave.
    fn pause(&self) -> Option<SignedDuration> {
        let until = self.pause_until?;
        Some(until.duration_since(self.now))
    }

    /// The workloads that others wait for.
    fn unfinished(&self) -> String {
        let waits = |name: &String| self.waiting.contains(name);
        let unfinished = self.statuses.iter().filter(|one| one.since.is_none());
        let names = unfinished.map(|one| &one.name).filter(|name| !waits(name));
        names.cloned().collect::<Vec<_>>().join(", ")
    }
}

/// Whether a changed Secret restarts the pods.
fn restarts(tenant: &TenantPlacement) -> bool {
    tenant.reload_strategy() == ReloadStrategy::RollingRestart
}

fn complete(tenant: &TenantPlacement) -> &'static str {
    match (tenant.injection_mode(), restarts(tenant)) {
        (InjectionMode::Volume, false) => {
            "every selected workload has the Secret as files, which the kubelet brings up to date"
        }
        (InjectionMode::Env, false) => {
            "no pod of the selected workloads started before the Secret last changed"
        }
        (InjectionMode::Env | InjectionMode::Volume | InjectionMode::None, _) => {
            "every selected workload runs with the present Secret"
        }
    }
}

/// Answers the condition, and shows the workloads.
pub(super) fn conclude(tenant: &TenantPlacement, mut seen: Seen<'_>, progress: &mut Progress) {
    seen.statuses
        .sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut answer = |status, reason, message: &str| {
        progress.found(ConditionType::Injected, status, reason, message);
    };
    if let Some(Problem {
        reason,
        message,
        lasts,
    }) = problems::whole(&seen)
    {
        answer(Status::False, reason, &message);
        if lasts {
            progress.notice(reason, message);
        } else {
            progress.stop = Some(Stop::new(Until::Mended, reason, message));
        }
        progress.silent |= seen.silent;
        // The others go on.
        progress.rolling |= seen.others_begin || !seen.waiting.is_empty();
        progress.pause = seen.pause();
    } else if tenant.workloads().is_empty() {
        answer(
            Status::True,
            Reason::NoWorkloads,
            "no workload is asked for",
        );
    } else if tenant.injection_mode() == InjectionMode::None {
        let message = "`spec.injection.mode` is None: the selected workloads are left alone";
        answer(Status::True, Reason::InjectionOff, message);
    } else if seen.statuses.is_empty() && seen.others.is_empty() {
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
        progress.pause = seen.pause();
    } else if seen.rolling.is_empty() {
        let unknown = untold(&seen);
        match seen.old_pods_told().or_else(|| seen.held_told()) {
            Some(message) => {
                answer(Status::False, Reason::RestartPending, &message);
                progress.rolling = seen.others_begin;
            }
            None if seen.others_begin => {
                answer(Status::False, Reason::RollingOut, "the next pass writes");
                progress.rolling = true;
            }
            None if !seen.others.is_empty() => {
                answer(Status::True, Reason::RolloutUnknown, &unknown);
            }
            None => answer(Status::True, Reason::InjectionComplete, complete(tenant)),
        }
        progress.taken_up = seen.taken_up();
    } else {
        let message = format!("rolling: {}", seen.rolling.join(", "));
        answer(Status::False, Reason::RollingOut, &message);
        progress.rolling = true;
    }
    progress.workloads = Some(seen.statuses);
    seen.others.sort();
    progress.other_workloads = Some(seen.others);
}

/// What is said where some kinds do not tell how far their pods are.
fn untold(seen: &Seen<'_>) -> String {
    let name = |one: &OtherWorkload| format!("{} {}", one.kind, one.name);
    let names: Vec<String> = seen.others.iter().map(name).collect();
    format!(
        "every selected workload carries the present Secret; when the pods of these have it is \
         not known, as their kinds do not tell: {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests;
