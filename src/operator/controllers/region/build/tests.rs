//! What a Region's status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_api::conditions::find;
use domicile_api::region::Region;
use domicile_core::facts::Facts;
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::time::{Mono, Now};
use serde_json::json;

use super::*;
use crate::controllers::region::report::edges;
use crate::probes::{Sample, fixtures};

fn sample(verdict: Verdict, failure: Option<ProbeFailure>) -> Arc<Sample> {
    let text = "words".to_owned();
    Arc::new(Sample {
        probe: failure.map(|failure| Probe::Failed(failure, text.clone())),
        unopened: None,
        verdict,
        facts: None,
        detail: failure.map(|_| text),
        at: Mono(0),
    })
}

pub(in crate::controllers::region) fn seen(
    status: Option<RegionStatus>,
    sample: Option<Arc<Sample>>,
) -> Observation {
    let region = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": { "name": "west", "generation": 2 },
        "spec": { "key": "W", "jurisdiction": "EU", "databaseServers": [{
            "name": "main", "host": "h", "tls": { "caSecretRef": { "name": "ca" } },
            "adminSecretRef": { "name": "admin" },
        }]},
    });
    let mut region: Region = serde_json::from_value(region).unwrap();
    region.status = status;
    let samples = sample.map(|sample| ("main".to_owned(), sample));
    Observation {
        now: Now {
            wall: jiff::Timestamp::UNIX_EPOCH,
            mono: Mono(0),
        },
        region: Arc::new(region),
        samples: samples.into_iter().collect::<BTreeMap<_, _>>(),
        engines: BTreeMap::new(),
        replicas: Vec::new(),
        placements: 0,
        plans: BTreeMap::new(),
        held: domicile_core::placement::Held::default(),
        bounds: BTreeMap::new(),
        other_defaults: Vec::new(),
        twins: Vec::new(),
    }
}

#[test]
fn logins_that_are_set_one_by_one_are_told_and_stop_nothing() {
    let told = |slow_logins| {
        let sample = Sample {
            facts: Some(Arc::new(Facts {
                slow_logins,
                ..fixtures::facts(Role::Primary)
            })),
            ..(*sample(Verdict::Up, None)).clone()
        };
        let status = status(&seen(None, Some(Arc::new(sample)))).unwrap();
        let of = |kind| find(&status.conditions, kind).unwrap().clone();
        let ready = of(ConditionType::Ready);
        (ready, of(ConditionType::AdminPrivilegesSufficient))
    };
    let (ready, rights) = told(true);
    assert_eq!((&*ready.status, &*rights.status), ("True", "True"));
    let step = "run the output of `kubectl domicile admin-sql west/main` as a superuser";
    assert!(rights.message.contains(step), "{}", rights.message);
    assert!(!told(false).1.message.contains(step));
}

#[test]
fn a_patroni_that_refuses_is_told_with_its_next_step_and_once() {
    let mut seen = seen(None, Some(sample(Verdict::Up, None)));
    let mut region = Region::clone(&seen.region);
    let provider = json!({"type": "Patroni", "patroni": {
        "urls": ["https://h:8008"], "credentialsSecretRef": {"name": "rest"},
    }});
    region.spec.database_servers[0].provider = serde_json::from_value(provider).unwrap();
    seen.region = Arc::new(region);
    let engines = |seen: &Observation| {
        let status = status(seen).unwrap();
        let found = find(&status.conditions, ConditionType::ProvidersReady).cloned();
        (found.unwrap(), status)
    };
    let (unasked, before) = engines(&seen);
    assert_eq!(
        (&*unasked.status, &*unasked.reason),
        ("Unknown", "NotObserved")
    );
    let report = EngineReport::Fails {
        reason: Reason::ProviderCredentialsDenied,
        message: "west/main: put the login into the Secret".to_owned(),
    };
    seen.engines.insert("main".to_owned(), report);
    let (refused, after) = engines(&seen);
    assert_eq!(refused.status, "False");
    assert_eq!(refused.message, "west/main: put the login into the Secret");
    let told: Vec<_> = edges(&before, &after).into_iter().map(|e| e.note).collect();
    assert!(told.contains(&refused.message), "{told:?}");
    assert!(
        !edges(&after, &after)
            .iter()
            .any(|e| e.note == refused.message)
    );
    // Back to SQL alone: nothing is said any more.
    let mut region = Region::clone(&seen.region);
    region.spec.database_servers[0].provider = domicile_api::region::Provider::default();
    region.status = Some(after);
    seen.region = Arc::new(region);
    let gone = status(&seen).unwrap();
    assert!(find(&gone.conditions, ConditionType::ProvidersReady).is_none());
}

fn ready(status: &RegionStatus) -> (&str, &str) {
    let ready = find(&status.conditions, ConditionType::Ready).unwrap();
    (ready.status.as_str(), ready.reason.as_str())
}

fn up() -> RegionStatus {
    status(&seen(None, Some(sample(Verdict::Up, None)))).unwrap()
}

/// Faults: 60, 61, 62.
#[test]
fn each_failure_is_its_own_reason_and_its_own_event() {
    for failure in [
        ProbeFailure::Unreachable,
        ProbeFailure::CredentialsDenied,
        ProbeFailure::CertificateInvalid,
        ProbeFailure::WrongServer,
    ] {
        let verdict = if failure.suggests_outage() {
            Verdict::Down
        } else {
            Verdict::Refusing(failure)
        };
        let after = status(&seen(Some(up()), Some(sample(verdict, Some(failure))))).unwrap();
        assert_eq!(ready(&after), ("False", failure.reason()));
        let edges = edges(&up(), &after);
        assert_eq!(edges.len(), 1, "{edges:?}");
        assert_eq!(edges[0].reason, failure.reason());
        assert!(edges[0].note.contains("words"), "{edges:?}");
    }
}

/// Faults: 56.
#[test]
fn one_failed_probe_changes_nothing() {
    let failing = sample(
        Verdict::Failing { failures: 1 },
        Some(ProbeFailure::TimedOut),
    );
    assert_eq!(status(&seen(Some(up()), Some(failing))), Some(up()));
}

#[test]
fn a_new_leader_says_nothing_before_its_first_probe() {
    assert_eq!(status(&seen(Some(up()), None)), None);
    let first = status(&seen(None, None)).unwrap();
    assert_eq!(ready(&first), ("False", "NotObserved"));
}

#[test]
fn two_default_regions_are_both_not_ready() {
    let mut seen = seen(Some(up()), Some(sample(Verdict::Up, None)));
    seen.other_defaults = vec!["north".to_owned()];
    let after = status(&seen).unwrap();
    assert_eq!(ready(&after), ("False", "DuplicateDefault"));
    let edges = edges(&up(), &after);
    assert_eq!(edges.len(), 1);
    assert!(edges[0].note.contains("north"));
}

#[test]
fn tenants_are_counted_by_plan_and_by_server() {
    use domicile_core::names::{RegionName, ServerId};
    use domicile_core::placement::{Holder, held};

    let mut seen = seen(None, Some(sample(Verdict::Up, None)));
    seen.plans = BTreeMap::from([
        (None, 2),
        (Some("free".to_owned()), 3),
        (Some("paid".to_owned()), 1),
    ]);
    let name = RegionName::new(seen.region.name_any());
    let holder = |uid: &str| Holder {
        uid: uid.to_owned(),
        home: Some(name.clone()),
        server: ServerId::new(name.as_str(), "main"),
    };
    seen.held = held(&name, "", &[holder("1"), holder("2")], &[]);
    let status = status(&seen).unwrap();
    let tenants = status.tenants.unwrap();
    let plans = tenants.by_plan.iter();
    let plans: Vec<_> = plans.map(|plan| (plan.plan.as_str(), plan.count)).collect();
    assert_eq!((tenants.total, plans), (6, vec![("free", 3), ("paid", 1)]));
    assert_eq!(status.database_servers[0].tenants, Some(2));
}

#[test]
fn a_suspended_region_may_be_silent_and_yet_its_login_must_be_right() {
    let failing = |failure| sample(Verdict::Down, Some(failure));
    for (sample, told) in [
        (sample(Verdict::Up, None), ("True", "RegionSuspended")),
        (failing(ProbeFailure::TimedOut), ("True", "RegionSuspended")),
        (
            sample(
                Verdict::Refusing(ProbeFailure::CredentialsDenied),
                Some(ProbeFailure::CredentialsDenied),
            ),
            ("False", "CredentialsDenied"),
        ),
    ] {
        let mut seen = seen(Some(up()), Some(sample));
        let mut region = Region::clone(&seen.region);
        region.spec.state = serde_json::from_value(json!("Suspended")).unwrap();
        seen.region = Arc::new(region);
        assert_eq!(ready(&status(&seen).unwrap()), told);
    }
}

#[test]
fn a_region_says_what_its_state_is_for_also_without_any_server() {
    for (state, reason, part) in [
        ("Planned", "RegionPlanned", "placements wait"),
        ("MetadataOnly", "MetadataOnly", "east holds its tenants"),
        ("Draining", "RegionDraining", "takes no new ones"),
    ] {
        let mut seen = seen(Some(up()), None);
        let mut region = Region::clone(&seen.region);
        region.spec.state = serde_json::from_value(json!(state)).unwrap();
        region.spec.served_by = (state == "MetadataOnly").then(|| "east".to_owned());
        region.spec.database_servers.clear();
        seen.region = Arc::new(region);
        let status = status(&seen).unwrap();
        assert_eq!(ready(&status), ("True", reason));
        let told = &find(&status.conditions, ConditionType::Ready)
            .unwrap()
            .message;
        assert!(told.contains(part), "{told}");
    }
}
