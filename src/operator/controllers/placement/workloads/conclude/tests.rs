//! What is concluded of the selected workloads.

use domicile_api::meta::SECRET_HASH;
use domicile_api::placement_status::TenantPlacementStatus;
use serde_json::json;

use super::*;
use crate::controllers::placement::workloads::refusal::Refusal;
use crate::controllers::placement::workloads::refusal::tests::answered;

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
        serde_json::from_value(json!({ "metadata": { "name": "acme" }, "spec": spec })).unwrap();
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

#[test]
fn who_must_be_resumed_is_told_and_not_waited_for() {
    let tenant = tenant(None);
    let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
    let mut paused = workload("h1", 0, 2);
    paused.data["spec"]["paused"] = json!(true);
    // As it is just after the write: before it, its pods were all of one template.
    seen.show_rolling(&paused, KIND);
    let mut progress = Progress::default();
    conclude(&tenant, seen, &mut progress);
    let told = &progress.findings[&ConditionType::Injected];
    assert_eq!(
        (told.status, told.reason),
        (Status::False, Reason::RestartPending)
    );
    assert!(told.message.contains("Deployment api"), "{}", told.message);
    assert!(!progress.rolling && !progress.taken_up);
    // Nor is it complete where nothing restarts it.
    let mut calm = tenant.clone();
    let injection = calm.spec.injection.as_mut().unwrap();
    injection.reload = serde_json::from_value(json!({ "strategy": "None" })).unwrap();
    let mut seen = Seen::in_cluster((&calm, None), "h1", None, at(9));
    seen.show_rolling(&paused, KIND);
    conclude(&calm, seen, &mut progress);
    let told = &progress.findings[&ConditionType::Injected];
    assert_eq!(told.reason, Reason::RestartPending);
    // Without the Secret it is written to first.
    let mut seen = Seen::in_cluster((&tenant, None), "h2", None, at(9));
    seen.show(&paused, KIND);
    conclude(&tenant, seen, &mut progress);
    let told = &progress.findings[&ConditionType::Injected];
    assert_eq!(told.reason, Reason::RollingOut);
}

#[test]
fn one_that_refuses_is_told_beside_what_else_is_wrong_and_ends_no_login() {
    let tenant = tenant(None);
    let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
    seen.show(&workload("h1", 2, 2), KIND);
    seen.conflict("Deployment own", ".spec", "kubectl");
    seen.refused.push(refused(Refusal::Denied, 403));
    let mut progress = Progress::default();
    conclude(&tenant, seen, &mut progress);
    let told = &progress.findings[&ConditionType::Injected];
    assert_eq!(told.reason, Reason::FieldConflict);
    for part in [
        "Deployment own: .spec",
        "Deployment api (403): no;",
        "let the policy",
    ] {
        assert!(told.message.contains(part), "{}", told.message);
    }
    let notice = progress.notice.map(|(reason, _)| reason);
    assert_eq!(notice, Some(Reason::FieldConflict));
    assert!(!progress.taken_up && progress.workloads.unwrap().len() == 1);
}

/// A brief fault is no call for a person; the first of a silent API server is the last of a pass.
#[test]
fn what_may_mend_by_itself_stalls_nothing() {
    let tenant = tenant(None);
    let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
    seen.refused.push(refused(Refusal::Silent, 504));
    (seen.silent, seen.untried) = (true, 3);
    let mut progress = Progress::default();
    conclude(&tenant, seen, &mut progress);
    assert_eq!(progress.notice, None);
    let stop = progress.stop.unwrap();
    assert_eq!(
        (stop.until, stop.reason),
        (Until::Mended, Reason::ApiServerError)
    );
    assert!(
        stop.message.contains("3 others were not tried"),
        "{}",
        stop.message
    );
    assert!(progress.silent);
}

#[test]
fn a_call_about_another_kind_that_failed_is_made_again() {
    let mut tenant = tenant(None);
    for (before, reason, lasts) in [
        (Reason::RolloutUnknown, Reason::ApiServerError, false),
        (Reason::ApiServerError, Reason::ApiServerError, true),
        (Reason::RolloutUnknown, Reason::WorkloadForbidden, true),
    ] {
        let condition = json!({ "type": "Injected", "status": "False", "message": "",
            "reason": before.as_str(), "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let condition = serde_json::from_value(condition).unwrap();
        tenant.status.as_mut().unwrap().conditions = vec![condition];
        let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
        seen.troubles
            .push((reason, "looking Gadget up: 503".into()));
        let mut progress = Progress::default();
        conclude(&tenant, seen, &mut progress);
        assert_eq!(progress.findings[&ConditionType::Injected].reason, reason);
        assert_eq!(
            (progress.notice.is_some(), progress.stop.is_none()),
            (lasts, lasts)
        );
    }
}

#[test]
fn workloads_above_the_limit_are_left_out_before_any_is_shown() {
    let tenant = tenant(None);
    let mut seen = Seen::in_cluster((&tenant, None), "h1", None, at(9));
    let admitted = (0..LIMIT + 2).filter(|_| seen.admits()).count();
    assert_eq!(admitted, LIMIT);
    assert!(!seen.has_room(), "nor one of another kind");
    let mut progress = Progress::default();
    conclude(&tenant, seen, &mut progress);
    let told = &progress.findings[&ConditionType::Injected];
    let message = "3 workloads above the limit of 64 were left out";
    assert_eq!(
        (told.reason, &*told.message),
        (Reason::InvalidSpec, message)
    );
}

fn refused(what: Refusal, code: u16) -> Refused {
    Refused::new(what, "Deployment api", &answered(code, "no"))
}
