//! What became of the selected workloads, and what that means for the placement.

use std::collections::BTreeMap;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::{InjectionMode, ReloadStrategy, WorkloadKind};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{MAX_WORKLOADS as LIMIT, OtherWorkload, WorkloadStatus};
use domicile_core::names::RegionName;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::Progress;
use crate::controllers::placement::{inject, rollout};

/// Most pods that a message names.
const SHOWN: usize = 8;

/// What became of the selected workloads.
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
    waiting: Vec<String>,
    /// Pods that started before the Secret changed, by workload.
    older: BTreeMap<(WorkloadKind, String), Vec<String>>,
    /// When the pause ends that the next wave waits for.
    pub(super) pause_until: Option<Timestamp>,
    conflicts: Vec<String>,
    /// Containers that are asked for and not there.
    pub(super) missing: Vec<String>,
    /// What the API server refused.
    pub(super) refused: Vec<String>,
    /// Workloads of other kinds.
    pub(super) others: Vec<OtherWorkload>,
    /// What keeps the Secret from those.
    pub(super) troubles: Vec<(Reason, String)>,
    /// Some of those are to be written to in the next pass.
    pub(super) others_begin: bool,
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

    fn in_cluster(
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
            older: BTreeMap::new(),
            waiting: Vec::new(),
            pause_until: None,
            conflicts: Vec::new(),
            missing: Vec::new(),
            refused: Vec::new(),
            others: Vec::new(),
            troubles: Vec::new(),
            others_begin: false,
            over: 0,
            old_pods: false,
        }
    }

    /// Whether one more workload can be shown. Counts it as left out when not.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.statuses.len().max(self.others.len()) < LIMIT;
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
        if restarts(self.tenant) {
            rolls |= observed != Some(self.hash);
        } else if let Some(pods) = self.older.get(&(kind, name.clone())) {
            let old = i32::try_from(pods.len()).unwrap_or(i32::MAX);
            updated = updated.min(total.saturating_sub(old)).max(0);
            observed = Some(self.hash).filter(|_| pods.is_empty());
        }
        if rolls {
            self.rolling.push(name.clone());
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
        if let Some((reason, _)) = self.troubles.first() {
            let texts: Vec<&str> = self.troubles.iter().map(|(_, text)| &**text).collect();
            return Some((*reason, texts.join("; ")));
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
        progress.pause = seen.pause_until.map(|until| until.duration_since(seen.now));
    } else if seen.rolling.is_empty() {
        let unknown = untold(&seen);
        match seen.old_pods_told() {
            Some(message) => answer(Status::False, Reason::RestartPending, &message),
            None if seen.others_begin => {
                answer(Status::False, Reason::RollingOut, "the next pass writes");
                progress.rolling = true;
            }
            None if !seen.others.is_empty() => {
                answer(Status::True, Reason::RolloutUnknown, &unknown);
            }
            None => answer(Status::True, Reason::InjectionComplete, complete(tenant)),
        }
        // Times of other clocks, and files that nobody need have read, end no login early.
        progress.taken_up = !seen.old_pods && restarts(tenant) && seen.others.is_empty();
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
mod tests {
    use domicile_api::meta::SECRET_HASH;
    use domicile_api::placement_status::TenantPlacementStatus;
    use serde_json::json;

    use super::*;

    const KIND: WorkloadKind = WorkloadKind::Deployment;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn workload(hash: &str, updated: i32, available: i32) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": { "name": "api", "generation": 1 },
            "spec": { "replicas": 2, "template": { "metadata": { "annotations": {
                SECRET_HASH: hash,
            }}}},
            "status": {
                "observedGeneration": 1, "replicas": 2,
                "updatedReplicas": updated, "availableReplicas": available,
            },
        }))
        .unwrap()
    }

    fn tenant(since: Option<Timestamp>) -> TenantPlacement {
        let selector = json!({ "matchLabels": { "a": "b" } });
        let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "selector": selector });
        let spec = json!({ "tenantID": "acme", "injection": { "workloads": [workload] } });
        let mut tenant: TenantPlacement =
            serde_json::from_value(json!({ "metadata": { "name": "acme" }, "spec": spec }))
                .unwrap();
        let shown = WorkloadStatus {
            cluster: None,
            kind: KIND,
            name: "api".into(),
            observed_hash: Some("h1".into()),
            updated: 2,
            total: 2,
            since,
        };
        tenant.status = Some(TenantPlacementStatus {
            workloads: vec![shown],
            ..TenantPlacementStatus::default()
        });
        tenant
    }

    fn since(tenant: &TenantPlacement, live: &DynamicObject) -> Option<Timestamp> {
        Seen::in_cluster((tenant, None), "h1", None, at(9)).since(live, KIND)
    }

    #[test]
    fn a_workload_is_done_when_its_pods_were_available_once() {
        let new = tenant(None);
        assert_eq!(since(&new, &workload("h1", 2, 1)), None);
        assert_eq!(since(&new, &workload("h1", 2, 2)), Some(at(9)));
        let known = tenant(Some(at(3)));
        assert_eq!(since(&known, &workload("h1", 2, 1)), Some(at(3)));
        assert_eq!(since(&known, &workload("h1", 1, 2)), None, "it rolls again");
        assert_eq!(since(&known, &workload("h0", 2, 2)), None, "the old Secret");
        let elsewhere = Seen::in_cluster((&known, Some("eu-west")), "h1", None, at(9));
        let since = elsewhere.since(&workload("h1", 2, 2), KIND);
        assert_eq!(since, Some(at(9)), "one of that name in another cluster");
    }

    #[test]
    fn who_waits_is_told_with_whom_he_waits_for() {
        let tenant = tenant(None);
        let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
        seen.show_rolling(&workload("h1", 0, 0), KIND);
        let mut next = workload("h0", 2, 2);
        next.metadata.name = Some("next".into());
        seen.wait(&next, KIND);
        let mut progress = Progress::default();
        conclude(&tenant, seen, &mut progress);
        let told = &progress.findings[&ConditionType::Injected];
        assert_eq!(told.reason, Reason::RollingOut);
        assert_eq!(told.message, "rolling: api; then: next");
        assert!(progress.rolling && progress.pause.is_none() && !progress.taken_up);
    }
}
