use domicile_api::injection::WorkloadKind;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::{ConnectionStatus, WorkloadStatus};
use domicile_core::facts::Epoch;
use domicile_core::names::{RegionName, ServerId, Slot};
use serde_json::json;

use super::super::progress::Stop;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn tenant(status: Option<TenantPlacementStatus>) -> TenantPlacement {
    let mut tenant: TenantPlacement = serde_json::from_value(json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": { "name": "acme", "namespace": "tenant-acme", "uid": "u", "generation": 4 },
        "spec": { "tenantID": "acme" },
    }))
    .unwrap();
    tenant.status = status;
    tenant
}

fn served(region: &str, epoch: i64, new_password: bool) -> Progress {
    let mut progress = Progress {
        home: Some(RegionName::new("eu-west")),
        served: Some(Served {
            server: ServerId::new(region, "main"),
            epoch: Epoch(epoch),
            connection: ConnectionStatus {
                host: "10.0.0.1".into(),
                port: 5432,
                database: "tenant_acme".into(),
                role: "tenant_acme_a".into(),
                read_only: None,
                hosts: Vec::new(),
            },
            secret_hash: "ab".into(),
            leads_to: ServerId::new("eu-west", "main"),
            slot: Slot::A,
            new_password,
            answered: None,
        }),
        ..Progress::default()
    };
    for (type_, reason) in [
        (ConditionType::DatabaseReady, Reason::Provisioned),
        (ConditionType::CredentialsCurrent, Reason::LoginVerified),
        (ConditionType::Injected, Reason::InjectionComplete),
        (
            ConditionType::ResidencyCompliant,
            Reason::WithinJurisdiction,
        ),
    ] {
        progress.found(type_, Status::True, reason, "");
    }
    progress
}

fn condition(status: &TenantPlacementStatus, type_: ConditionType) -> (String, String) {
    let found = conditions::find(&status.conditions, type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn is(status: &TenantPlacementStatus, type_: ConditionType, value: &str, reason: Reason) -> bool {
    condition(status, type_) == (value.to_owned(), reason.as_str().to_owned())
}

#[test]
fn a_second_pass_that_finds_the_same_changes_nothing() {
    let first = status(&tenant(None), &served("eu-west", 3, true), at(10));
    let again = status(
        &tenant(Some(first.clone())),
        &served("eu-west", 3, false),
        at(99),
    );
    assert_eq!(first, again);
    assert!(edges(&first, &again).is_empty());
}

#[test]
fn a_served_tenant_is_ready_and_says_where() {
    let status = status(&tenant(None), &served("eu-west", 3, true), at(10));
    assert!(is(&status, ConditionType::Ready, "True", Reason::Placed));
    assert!(is(
        &status,
        ConditionType::FailoverProtected,
        "Unknown",
        Reason::NotObserved
    ));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status.home_region.as_deref(), Some("eu-west"));
    assert_eq!(
        (status.active_region.as_deref(), status.epoch),
        (Some("eu-west"), Some(3))
    );
    assert_eq!(
        status.binding,
        Some(Binding {
            name: "acme-db".into()
        })
    );
    assert_eq!(status.credentials.map(|c| c.generation), Some(1));
}

#[test]
fn a_move_keeps_the_home_and_the_generation_of_credentials() {
    let before = status(&tenant(None), &served("eu-west", 3, true), at(10));
    let mut moved = served("eu-central", 4, false);
    moved.home = Some(RegionName::new("eu-central"));
    let after = status(&tenant(Some(before.clone())), &moved, at(20));
    assert_eq!(after.home_region.as_deref(), Some("eu-west"));
    assert_eq!(
        (after.active_region.as_deref(), after.epoch),
        (Some("eu-central"), Some(4))
    );
    assert_eq!(after.credentials, before.credentials);
    let reasons: Vec<String> = edges(&before, &after)
        .into_iter()
        .map(|(_, r, _)| r)
        .collect();
    assert_eq!(reasons, ["Rerouted"]);
}

#[test]
fn a_move_under_way_keeps_where_the_secret_points() {
    let before = status(&tenant(None), &served("eu-west", 3, true), at(10));
    let stop = Stop::new(Until::Moved, Reason::FailoverInProgress, "moving");
    let progress = Progress {
        stop: Some(stop),
        ..Progress::default()
    };
    let after = status(&tenant(Some(before.clone())), &progress, at(20));
    assert!(is(
        &after,
        ConditionType::Ready,
        "False",
        Reason::FailoverInProgress
    ));
    assert!(is(
        &after,
        ConditionType::Reconciling,
        "True",
        Reason::FailoverInProgress
    ));
    assert!(is(
        &after,
        ConditionType::DatabaseReady,
        "True",
        Reason::Provisioned
    ));
    assert_eq!(
        (after.epoch, &after.connection),
        (Some(3), &before.connection)
    );
    let edges = edges(&before, &after);
    assert_eq!(edges.len(), 1);
    assert_eq!(edges[0].0, Severity::Normal);
}

#[test]
fn a_problem_that_needs_a_person_is_stalled_and_a_warning() {
    let stop = Stop::new(Until::Person, Reason::DatabaseNameTaken, "taken");
    let mut progress = Progress::default();
    let stop = progress.deny(ConditionType::DatabaseReady, stop);
    progress.stop = Some(stop);
    let after = status(&tenant(None), &progress, at(20));
    assert!(is(
        &after,
        ConditionType::Stalled,
        "True",
        Reason::DatabaseNameTaken
    ));
    assert!(is(
        &after,
        ConditionType::DatabaseReady,
        "False",
        Reason::DatabaseNameTaken
    ));
    assert_eq!((after.epoch, after.binding.is_none()), (None, true));
    let edges = edges(&TenantPlacementStatus::default(), &after);
    assert_eq!(
        edges,
        [(
            Severity::Warning,
            "DatabaseNameTaken".into(),
            "taken".into()
        )]
    );
}

#[test]
fn a_conflict_on_a_workload_leaves_the_tenant_ready_and_is_told_once() {
    let before = status(&tenant(None), &served("eu-west", 3, true), at(10));
    let mut progress = served("eu-west", 3, false);
    progress.found(
        ConditionType::Injected,
        Status::False,
        Reason::FieldConflict,
        "argocd",
    );
    progress.notice(Reason::FieldConflict, "argocd");
    let after = status(&tenant(Some(before.clone())), &progress, at(20));
    assert!(is(
        &after,
        ConditionType::Ready,
        "True",
        Reason::FieldConflict
    ));
    assert!(is(
        &after,
        ConditionType::Stalled,
        "True",
        Reason::FieldConflict
    ));
    let edges = edges(&before, &after);
    assert_eq!(edges.len(), 1, "{edges:?}");
    assert_eq!(edges[0].0, Severity::Warning);
}

#[test]
fn the_law_kept_again_is_good_news_even_while_a_person_is_needed() {
    let law = |status_, reason| {
        let stop = Stop::new(Until::Person, Reason::DatabaseNameTaken, "taken");
        let mut progress = Progress {
            stop: Some(stop),
            ..Progress::default()
        };
        progress.found(ConditionType::ResidencyCompliant, status_, reason, "law");
        progress
    };
    let broken = law(Status::False, Reason::WouldLeaveJurisdiction);
    let before = status(&tenant(None), &broken, at(10));
    let kept = law(Status::True, Reason::WithinJurisdiction);
    let after = status(&tenant(Some(before.clone())), &kept, at(20));
    let expected = (Severity::Normal, "WithinJurisdiction".into(), "law".into());
    assert_eq!(edges(&before, &after), [expected]);
}

#[test]
fn rolling_workloads_are_reconciling_and_ready() {
    let mut progress = served("eu-west", 3, true);
    progress.rolling = true;
    progress.workloads = Some(vec![WorkloadStatus {
        cluster: None,
        kind: WorkloadKind::Deployment,
        name: "api".into(),
        observed_hash: Some("ab".into()),
        updated: 1,
        total: 2,
        since: None,
    }]);
    let status = status(&tenant(None), &progress, at(10));
    assert!(is(&status, ConditionType::Ready, "True", Reason::Placed));
    assert!(is(
        &status,
        ConditionType::Reconciling,
        "True",
        Reason::Placed
    ));
    assert_eq!(status.workloads.len(), 1);
}

#[test]
fn a_claimed_server_is_recorded_without_an_epoch() {
    let stop = Stop::new(Until::Mended, Reason::Provisioning, "");
    let progress = Progress {
        claimed: Some(ServerId::new("eu-west", "main")),
        stop: Some(stop),
        ..Progress::default()
    };
    let after = status(&tenant(None), &progress, at(10));
    assert_eq!((after.server.as_deref(), after.epoch), (Some("main"), None));
    assert!(is(
        &after,
        ConditionType::Reconciling,
        "True",
        Reason::Provisioning
    ));
}

#[test]
fn a_settled_tenant_rests_no_shorter_than_it_may_and_one_that_waits_does_not() {
    let settled = Duration::from_secs(40);
    for jitter in [-1.0, 0.0, 0.5, 1.0, 2.0] {
        let calm = rest(&Progress::default(), settled, jitter);
        assert!(calm >= settled && calm <= settled.mul_f64(1.2));
        let waiting = Progress {
            rolling: true,
            ..Progress::default()
        };
        assert!(rest(&waiting, settled, jitter) < Duration::from_secs(3));
    }
    let mut noticed = Progress::default();
    noticed.notice(Reason::EndpointUnsuited, "a person may mend it");
    let hour = Duration::from_hours(1);
    assert_eq!(rest(&noticed, hour, 0.0), LONGEST_WAIT);
    assert_eq!(rest(&Progress::default(), hour, 0.0), hour);
}

#[test]
fn a_tenant_does_not_wait_for_a_cluster_that_is_away() {
    let mut progress = served("eu-west", 3, false);
    progress.apart = vec!["the cluster of Region eu-west does not answer".into()];
    let after = status(&tenant(None), &progress, at(10));
    let unreachable = Reason::ClusterUnreachable;
    assert!(is(&after, ConditionType::Ready, "True", unreachable));
    assert!(!conditions::is_true(
        &after.conditions,
        ConditionType::Reconciling
    ));
    let ready = conditions::find(&after.conditions, ConditionType::Ready).unwrap();
    assert!(
        ready.message.ends_with("eu-west does not answer"),
        "{}",
        ready.message
    );
    let told = edges(&TenantPlacementStatus::default(), &after);
    let warned = |(severity, reason, _): &(Severity, String, String)| {
        *severity == Severity::Warning && reason == unreachable.as_str()
    };
    assert!(told.iter().any(warned), "{told:?}");
}

#[test]
fn a_secret_stays_listed_until_a_pass_knows_better() {
    let secret = placement::Copy {
        kind: placement::CopyKind::Secret,
        region: RegionName::new("eu-west"),
        jurisdiction: Some("EU".into()),
        compliant: true,
    };
    let mut progress = served("eu-west", 3, false);
    progress.secrets = Some(vec![secret]);
    let first = status(&tenant(None), &progress, at(10));
    assert_eq!(first.copies[0].kind, CopyKind::Secret);
    progress.secrets = None;
    for copies in [None, Some(Copies::default())] {
        progress.copies = copies;
        let kept = status(&tenant(Some(first.clone())), &progress, at(20));
        assert_eq!(kept.copies, first.copies);
    }
    progress.secrets = Some(Vec::new());
    let gone = status(&tenant(Some(first)), &progress, at(20));
    assert_eq!(gone.copies, []);
}

#[test]
fn the_copies_that_are_read_back_are_those_that_were_told() {
    use placement::CopyKind::{Backup, Primary, ReadReplica, Secret, Standby};
    let copy = |kind, law: Option<&str>| placement::Copy {
        kind,
        region: RegionName::new("eu-west"),
        jurisdiction: law.map(Into::into),
        compliant: law.is_some(),
    };
    let mut told: Vec<_> = [Primary, Standby, ReadReplica, Secret]
        .map(|kind| copy(kind, Some("EU")))
        .into();
    let secret = told.pop();
    told.push(copy(Backup, None));
    let mut progress = served("eu-west", 3, false);
    progress.copies = Some(Copies(told.clone()));
    progress.secrets = secret.clone().map(|secret| vec![secret]);
    told.extend(secret);
    let after = status(&tenant(None), &progress, at(10));
    assert_eq!(recorded_copies(&tenant(Some(after))), told);
}
