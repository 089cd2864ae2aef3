use std::sync::Arc;

use domicile_api::injection::WorkloadKind;
use domicile_api::placement_status::{ConnectionStatus, CopyKind, DataCopy, TenantPlacementStatus};
use domicile_core::connection::Rendered;
use domicile_core::facts::Epoch;
use domicile_core::injection::Origin;
use domicile_core::names::{Jurisdiction, Slot};
use serde_json::json;

use super::super::memory::{Order, Outcome};
use super::*;
use crate::controllers::placement::progress::Served;

const UID: &str = "u";
const WEST: &str = "eu-west";
const EAST: &str = "us-east";

fn order(epoch: i64) -> Order {
    let rendered = Rendered {
        data: [].into(),
        variables: [].into(),
    };
    let origin = Origin {
        server: ServerId::new(WEST, "main"),
        generation: 1,
    };
    Order::new(Arc::new(rendered), origin, (Epoch(epoch), None), None)
}

fn workload(cluster: Option<&str>, name: &str) -> WorkloadStatus {
    WorkloadStatus {
        cluster: cluster.map(str::to_owned),
        kind: WorkloadKind::Deployment,
        name: name.into(),
        observed_hash: None,
        updated: 1,
        total: 1,
        since: None,
    }
}

/// A placement whose status tells of a Secret in the cluster of `eu-west`, under this epoch.
fn tenant(epoch: i64) -> TenantPlacement {
    let placement = json!({
        "metadata": { "name": "acme", "namespace": "space", "uid": UID, "generation": 1 },
        "spec": { "tenantID": "acme" },
    });
    let mut tenant: TenantPlacement = serde_json::from_value(placement).unwrap();
    tenant.status = Some(TenantPlacementStatus {
        observed_generation: Some(1),
        epoch: Some(epoch),
        secret_hash: Some("h".into()),
        copies: vec![DataCopy {
            kind: CopyKind::Secret,
            region: WEST.into(),
            jurisdiction: "EU".into(),
            compliant: true,
        }],
        workloads: vec![workload(None, "hub"), workload(Some(WEST), "before")],
        ..TenantPlacementStatus::default()
    });
    tenant
}

/// What a pass found that serves the tenant under this epoch, with an errand in each region.
fn found(epoch: i64, errands: &[(&str, Errand)]) -> Progress {
    let mut progress = Progress {
        served: Some(Served {
            server: ServerId::new(WEST, "main"),
            epoch: Epoch(epoch),
            connection: ConnectionStatus {
                host: "h".into(),
                port: 1,
                database: "d".into(),
                role: "r".into(),
                read_only: None,
                hosts: Vec::new(),
            },
            secret_hash: "h".into(),
            leads_to: ServerId::new(WEST, "main"),
            slot: Slot::A,
            new_password: false,
            answered: None,
        }),
        workloads: Some(vec![workload(None, "hub")]),
        taken_up: true,
        ..Progress::default()
    };
    let complete = Reason::InjectionComplete;
    progress.found(INJECTED, Status::True, complete, "all");
    let within = Reason::WithinJurisdiction;
    progress.found(
        ConditionType::ResidencyCompliant,
        Status::True,
        within,
        "within",
    );
    let of = errands
        .iter()
        .map(|(name, errand)| (RegionName::new(*name), *errand));
    let of: std::collections::BTreeMap<_, _> = of.collect();
    let copy = |region: &RegionName| Copy {
        kind: placement::CopyKind::Secret,
        region: region.clone(),
        jurisdiction: Some(Jurisdiction::new("EU")),
        compliant: region.as_str() == WEST,
    };
    progress.clusters = Some(Plan {
        copies: of.keys().map(copy).collect(),
        errands: Errands {
            of,
            refused: Vec::new(),
        },
    });
    progress
}

fn share(name: &str, rolling: bool) -> Outcome {
    let (status, reason) = if rolling {
        (Status::False, Reason::RollingOut)
    } else {
        (Status::True, Reason::InjectionComplete)
    };
    Outcome::Delivered(Box::new(Share {
        injected: Some(Finding {
            status,
            reason,
            message: "there".into(),
        }),
        workloads: vec![workload(Some(WEST), name)],
        rolling,
        taken_up: !rolling,
        ..Share::default()
    }))
}

/// Runs the errands of a region, each with such an outcome.
fn run(memory: &Memory, region: &str, outcomes: impl IntoIterator<Item = Outcome>) {
    let region = RegionName::new(region);
    for outcome in outcomes {
        let job = memory.regional.begin(UID, &region, Some(1)).unwrap();
        memory
            .regional
            .end(UID, &region, &job, (Some(outcome), Some(1)));
    }
}

fn silent() -> Outcome {
    Outcome::Silent("the cluster of Region eu-west does not answer".into())
}

/// A pass that brings the Secret to `eu-west`, after these outcomes there.
fn delivered(epoch: i64, outcomes: impl IntoIterator<Item = Outcome>) -> Progress {
    let memory = Memory::default();
    memory.regional.order(UID, order(epoch));
    let errands = [(WEST, Errand::Deliver)];
    fold(&tenant(1), &memory, &mut found(epoch, &errands));
    run(&memory, WEST, outcomes);
    let mut progress = found(epoch, &errands);
    progress.taken_up = taken_up(&tenant(1), &memory, &progress);
    fold(&tenant(1), &memory, &mut progress);
    progress
}

fn injected(progress: &Progress) -> Option<(Status, Reason, &str)> {
    let found = progress.findings.get(&INJECTED)?;
    Some((found.status, found.reason, &found.message))
}

fn names(progress: &Progress) -> Vec<&str> {
    let workloads = progress.workloads.iter().flatten();
    workloads.map(|one| one.name.as_str()).collect()
}

#[test]
fn what_all_clusters_say_is_one_answer_and_the_worst_gives_the_reason() {
    let whole = delivered(1, [share("api", false)]);
    assert_eq!(
        injected(&whole),
        Some((Status::True, Reason::InjectionComplete, "all"))
    );
    assert_eq!(names(&whole), ["hub", "api"]);
    assert!(whole.taken_up && !whole.rolling);
    let rolling = delivered(1, [share("api", true)]);
    let told = (Status::False, Reason::RollingOut, "Region eu-west: there");
    assert_eq!(injected(&rolling), Some(told));
    assert!(rolling.rolling && !rolling.taken_up);
    let barred = Outcome::Barred(Reason::ClusterNotOnboarded, "no rights there".into());
    let barred = delivered(1, [barred]);
    let told = (
        Status::False,
        Reason::ClusterNotOnboarded,
        "no rights there",
    );
    assert_eq!(injected(&barred), Some(told));
    assert_eq!(barred.notice.unwrap().0, Reason::ClusterNotOnboarded);
}

#[test]
fn a_cluster_that_is_silent_waits_apart_and_keeps_what_was_seen_of_it() {
    let apart = delivered(1, [share("api", false), silent(), silent()]);
    let message = "the cluster of Region eu-west does not answer";
    let told = (Status::False, Reason::ClusterUnreachable, message);
    assert_eq!(injected(&apart), Some(told));
    assert_eq!(apart.apart, [message]);
    assert_eq!(apart.notice, None);
    assert!(
        !apart.rolling && !apart.taken_up,
        "its pods may use the logins before"
    );
    assert_eq!(names(&apart), ["hub", "before"]);
}

/// After a restart, and before anything was looked at.
#[test]
fn nothing_is_said_anew_before_it_was_looked_at() {
    let unknown = delivered(1, []);
    assert_eq!(injected(&unknown), None, "what the status says stands");
    assert!(!unknown.rolling);
    assert_eq!(names(&unknown), ["hub", "before"]);
    // Another Secret is on its way, and that is known.
    let moved = delivered(2, []);
    let told = "Region eu-west: the Secret is on its way";
    assert_eq!(
        injected(&moved),
        Some((Status::False, Reason::RollingOut, told))
    );
    assert!(moved.rolling);
}

#[test]
fn what_is_held_outside_the_law_is_told_until_it_is_gone() {
    let memory = Memory::default();
    let withdraw = [(EAST, Errand::Withdraw)];
    let mut progress = found(1, &withdraw);
    fold(&tenant(1), &memory, &mut progress);
    let told = &progress.findings[&ConditionType::ResidencyCompliant];
    let held = "the Secret may still be in the clusters of us-east, outside \
                `spec.allowedJurisdictions`, and is taken back as soon as they let it be";
    let outside = Reason::WouldLeaveJurisdiction;
    let expected = (Status::False, outside, held);
    assert_eq!((told.status, told.reason, told.message.as_str()), expected);
    assert_eq!(progress.notice, Some((outside, held.to_owned())));
    assert_eq!(progress.secrets.unwrap().len(), 1);
    // It comes after what else is outside, and before what nobody knows.
    for (status, reason, message, whole) in [
        (
            Status::False,
            outside,
            "a standby",
            format!("a standby; {held}"),
        ),
        (
            Status::Unknown,
            Reason::InvalidObject,
            "hidden",
            held.to_owned(),
        ),
    ] {
        let mut progress = found(1, &withdraw);
        progress.found(ConditionType::ResidencyCompliant, status, reason, message);
        fold(&tenant(1), &memory, &mut progress);
        let told = &progress.findings[&ConditionType::ResidencyCompliant];
        let expected = (Status::False, outside, whole.as_str());
        assert_eq!((told.status, told.reason, told.message.as_str()), expected);
    }
    run(&memory, EAST, [Outcome::Withdrawn]);
    let mut progress = found(1, &withdraw);
    fold(&tenant(1), &memory, &mut progress);
    let told = &progress.findings[&ConditionType::ResidencyCompliant];
    assert_eq!(told.reason, Reason::WithinJurisdiction);
    assert_eq!(progress.secrets, Some(Vec::new()));
}

/// While it is not known who serves the tenant.
#[test]
fn what_is_kept_stays_listed_while_what_is_forbidden_goes() {
    let memory = Memory::default();
    memory.regional.order(UID, order(1));
    let errands = [(WEST, Errand::Keep), (EAST, Errand::Withdraw)];
    let stopped = || Progress {
        served: None,
        ..found(1, &errands)
    };
    fold(&tenant(1), &memory, &mut stopped());
    let west = RegionName::new(WEST);
    let job = memory.regional.begin(UID, &west, Some(1));
    assert!(job.is_none(), "nothing is brought, though it was ordered");
    run(&memory, EAST, [Outcome::Withdrawn]);
    let mut progress = stopped();
    fold(&tenant(1), &memory, &mut progress);
    let held = progress.secrets.unwrap();
    let held: Vec<&str> = held.iter().map(|copy| copy.region.as_str()).collect();
    assert_eq!(held, [WEST]);
    let told = &progress.findings[&ConditionType::ResidencyCompliant];
    assert_eq!(told.message, "within");
    let workloads = progress.workloads.iter().flatten();
    assert!(
        workloads.clone().any(|one| one.name == "before"),
        "{workloads:?}"
    );
}

#[test]
fn what_was_given_up_is_told_once_and_no_more_listed() {
    let memory = Memory::default();
    let mut progress = found(1, &[(WEST, Errand::Forget)]);
    fold(&tenant(1), &memory, &mut progress);
    assert_eq!(progress.secrets, Some(Vec::new()));
    assert_eq!(progress.told[0].1, Reason::ClusterGivenUp);
    assert_eq!(names(&progress), ["hub"]);
}

#[test]
fn workloads_in_one_cluster_are_enough() {
    let idle = |status| Finding {
        status,
        reason: Reason::NoWorkloads,
        message: "none".into(),
    };
    let complete = Finding {
        status: Status::True,
        reason: Reason::InjectionComplete,
        message: "all".into(),
    };
    let one = joined(vec![idle(Status::False), complete]);
    assert_eq!(one.reason, Reason::InjectionComplete);
    let none = joined(vec![idle(Status::False), idle(Status::False)]);
    assert_eq!(
        (none.status, none.reason),
        (Status::False, Reason::NoWorkloads)
    );
    let unasked = joined(vec![idle(Status::True), idle(Status::True)]);
    assert_eq!(unasked.status, Status::True);
}

#[test]
fn a_service_is_recorded_until_it_is_gone_from_every_cluster() {
    let removed = |errand, outcome: Option<Outcome>| {
        let memory = Memory::default();
        memory.regional.order(UID, order(1));
        fold(&tenant(1), &memory, &mut found(1, &[(WEST, errand)]));
        run(&memory, WEST, outcome);
        let mut progress = found(1, &[(WEST, errand)]);
        progress.removed_service = Some("acme-db-rw".into());
        fold(&tenant(1), &memory, &mut progress);
        progress.removed_service.is_some()
    };
    let share = |fronted| {
        let share = Share {
            fronted,
            ..Share::default()
        };
        Some(Outcome::Delivered(Box::new(share)))
    };
    assert!(removed(Errand::Deliver, share(false)));
    assert!(!removed(Errand::Deliver, share(true)), "pods may use it");
    assert!(!removed(Errand::Deliver, None), "it was not looked at");
    assert!(!removed(Errand::Deliver, Some(silent())));
    assert!(!removed(Errand::Keep, None));
    assert!(!removed(Errand::Withdraw, None));
    assert!(removed(Errand::Withdraw, Some(Outcome::Withdrawn)));
    assert!(removed(Errand::Forget, None), "it is given up");
}
