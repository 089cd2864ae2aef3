use domicile_core::facts::{Epoch, Lsn};
use domicile_core::failover::{
    Accept, Claim, Evidence, FailbackMode, Journal, LossBound, Mode, MoveKind, Past, Promotion,
    Proof, Rejoin, Settings, Standby, State, Stored,
};
use domicile_core::lease::Terms;
use domicile_core::names::{RegionName, ServerId};
use jiff::Timestamp;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::policy::*;
use crate::returned::DumpSpec;
use crate::{FailoverPolicy, FailoverPolicySpec, FailoverPolicyStatus};

mod returned;

use returned::{forks, founds};

fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_i64, 0..1_000_000_000_i32).prop_map(|(s, ns)| Timestamp::new(s, ns).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,20}[a-z0-9]"
}

fn region() -> impl Strategy<Value = RegionName> {
    name().prop_map(RegionName::new)
}

fn proof() -> impl Strategy<Value = Proof> {
    select(Proof::ALL)
}

fn loss() -> impl Strategy<Value = LossBound> {
    prop_oneof![
        any::<u32>().prop_map(LossBound::Seconds),
        Just(LossBound::Unknown)
    ]
}

fn exact_count() -> impl Strategy<Value = u64> {
    0..=9_007_199_254_740_991_u64
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (0..=9_007_199_254_740_991_i64).prop_map(Epoch)
}

fn journals() -> impl Strategy<Value = Journal> {
    let words = (
        name(),
        select(MoveKind::ALL),
        any::<bool>(),
        region(),
        region(),
    );
    let found = (
        btree_set(select(Accept::ALL), 0..3),
        option::of(proof()),
        "[0-9]{1,20}",
    );
    let limits = (
        any::<u32>(),
        option::of(any::<u64>().prop_map(Lsn)),
        option::of(loss()),
        option::of(exact_count()),
        option::of(time()),
        option::of(any::<u64>().prop_map(Lsn)),
    );
    (words, found, limits, time(), option::of(time())).prop_map(
        |((operation, kind, automatic, from, to), found, limits, started, outage_since)| Journal {
            operation,
            kind,
            automatic,
            from,
            to,
            accept: found.0,
            proof: found.1,
            system_identifier: found.2,
            timeline: limits.0,
            final_position: limits.1,
            loss: limits.2,
            loss_bytes: limits.3,
            loss_at: limits.4,
            fork: limits.5,
            started,
            outage_since,
        },
    )
}

fn evidences() -> impl Strategy<Value = Evidence> {
    let times = (time(), time(), any::<bool>());
    let server = ("[0-9]{1,20}", any::<u32>(), any::<u32>(), any::<u64>());
    (times, server, option::of(region())).prop_map(|(times, server, synchronous)| Evidence {
        sampled: times.0,
        outage_since: times.1,
        system_identifier: server.0,
        timeline: server.1,
        major_version: server.2,
        position: Lsn(server.3),
        synchronous,
        agent_lived: times.2,
    })
}

fn pasts() -> impl Strategy<Value = Past> {
    let words = (
        name(),
        select(MoveKind::ALL),
        any::<bool>(),
        region(),
        region(),
    );
    (
        words,
        epoch(),
        option::of(proof()),
        loss(),
        exact_count(),
        option::of(forks()),
        time(),
    )
        .prop_map(
            |(
                (operation, kind, automatic, from, to),
                epoch,
                proof,
                loss,
                rto_seconds,
                fork,
                finished,
            )| {
                Past {
                    operation,
                    kind,
                    automatic,
                    from,
                    to,
                    epoch,
                    proof,
                    loss,
                    rto_seconds,
                    fork,
                    finished,
                }
            },
        )
}

fn claims() -> impl Strategy<Value = Claim> {
    (region(), name()).prop_map(|(standby, name)| Claim { standby, name })
}

fn machines() -> impl Strategy<Value = Stored> {
    let place = (select(State::ALL), time(), epoch(), region(), any::<u32>());
    let claim = (option::of(claims()), any::<bool>());
    let moving = (option::of(journals()), option::of(evidences()));
    (
        place,
        claim,
        moving,
        option::of(time()),
        (vec(pasts(), 0..=10), vec(founds(), 0..3)),
    )
        .prop_map(
            |((state, since, epoch, active, timeline), claim, moving, cooldown_until, past)| {
                Stored {
                    state,
                    since,
                    epoch,
                    active,
                    timeline,
                    claim: claim.0,
                    restore_synchronous: claim.1,
                    journal: moving.0,
                    evidence: moving.1,
                    cooldown_until,
                    history: past.0,
                    returned: past.1,
                }
            },
        )
}

fn policies() -> impl Strategy<Value = Settings> {
    let servers = vec((name(), name(), 0..1000_i32, select(Promotion::ALL)), 1..8);
    let words = (
        select(Mode::ALL),
        any::<bool>(),
        select(Proof::ALL),
        select(FailbackMode::ALL),
        select(&[Rejoin::Manual, Rejoin::Rewind, Rejoin::Reclone][..]),
        option::of(name()),
    );
    let numbers = vec(0..=i32::MAX as u32, 16);
    (name(), (name(), name()), servers, words, numbers).prop_map(
        |(name, home, servers, words, n)| Settings {
            name,
            home: ServerId::new(home.0, home.1),
            standbys: servers
                .into_iter()
                .map(|(region, server, priority, promotion)| Standby {
                    server: ServerId::new(region, server),
                    priority,
                    promotion,
                })
                .collect(),
            mode: words.0,
            paused: words.1,
            minimum_proof: words.2,
            failback: words.3,
            rejoin: words.4,
            dump: words.5,
            interval_seconds: n[0],
            timeout_seconds: n[1],
            failure_threshold: n[2],
            success_threshold: n[3],
            max_data_loss_seconds: n[4],
            heartbeat_seconds: n[5],
            drain_seconds: n[6],
            max_freeze_seconds: n[7],
            stable_seconds: n[8],
            max_stable_seconds: n[9],
            cooldown_seconds: n[10],
            max_automatic_per_day: n[11],
            approval_seconds: n[12],
            quorum: n[13],
            lease: Terms {
                lease_seconds: n[14],
                renew_seconds: n[15],
            },
        },
    )
}

/// The policy that a user writes to get these settings.
fn written(settings: &Settings) -> FailoverPolicy {
    let standby = |standby: &Standby| StandbySpec {
        region: standby.server.region.as_str().to_owned(),
        server: standby.server.server.clone(),
        priority: standby.priority,
        promotion: standby.promotion.into(),
    };
    let spec = FailoverPolicySpec {
        primary: ServerRef {
            region: settings.home.region.as_str().to_owned(),
            server: settings.home.server.clone(),
        },
        standbys: settings.standbys.iter().map(standby).collect(),
        mode: settings.mode.into(),
        paused: settings.paused,
        detection: Detection {
            interval_seconds: settings.interval_seconds as i32,
            timeout_seconds: settings.timeout_seconds as i32,
            failure_threshold: settings.failure_threshold as i32,
            success_threshold: settings.success_threshold as i32,
            quorum: settings.quorum as i32,
        },
        objectives: Objectives {
            max_data_loss_seconds: settings.max_data_loss_seconds as i32,
            heartbeat_seconds: settings.heartbeat_seconds as i32,
        },
        fencing: Fencing {
            minimum_proof: settings.minimum_proof.into(),
            lease_seconds: settings.lease.lease_seconds as i32,
            renew_seconds: settings.lease.renew_seconds as i32,
        },
        switchover: SwitchoverSpec {
            drain_seconds: settings.drain_seconds as i32,
            max_freeze_seconds: settings.max_freeze_seconds as i32,
        },
        failback: FailbackSpec {
            mode: settings.failback.into(),
            stable_seconds: settings.stable_seconds as i32,
            max_stable_seconds: settings.max_stable_seconds as i32,
        },
        damping: Damping {
            cooldown_seconds: settings.cooldown_seconds as i32,
            max_automatic_per_day: settings.max_automatic_per_day as i32,
        },
        rejoin: settings.rejoin.into(),
        dump: settings.dump.clone().map(|cron_job| DumpSpec { cron_job }),
        approval: Approval {
            expires_seconds: settings.approval_seconds as i32,
        },
        notifications: Vec::new(),
    };
    FailoverPolicy::new(&settings.name, spec)
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

proptest! {
    /// Faults: 49.
    #[test]
    fn what_is_stored_is_read_back_whole(stored in machines()) {
        let mut status = FailoverPolicyStatus::default();
        status.store(&stored);
        prop_assert_eq!(through_json(&status).stored(), Ok(Some(stored)));
    }

    #[test]
    fn a_policy_means_the_settings_that_it_was_written_for(settings in policies()) {
        prop_assert_eq!(Settings::try_from(&through_json(&written(&settings))), Ok(settings));
    }
}

fn status() -> Value {
    json!({
        "state": "Fencing", "since": "2026-01-01T00:00:00Z", "epoch": 7, "activeRegion": "eu-west",
        "journal": {
            "operation": "eu-8", "kind": "Failover", "trigger": "Automatic", "from": "eu-west",
            "to": "eu-central", "systemIdentifier": "1", "timeline": 1,
            "started": "2026-01-01T00:00:00Z",
        },
    })
}

/// Faults: 12, 49.
#[test]
fn an_unknown_word_is_an_error_and_never_a_default() {
    assert!(serde_json::from_value::<FailoverPolicyStatus>(status()).is_ok());
    for pointer in ["/state", "/journal/kind", "/journal/trigger"] {
        let mut changed = status();
        *changed.pointer_mut(pointer).unwrap() = json!("Unheard");
        let read = serde_json::from_value::<FailoverPolicyStatus>(changed);
        assert!(read.is_err(), "{pointer} took an unknown word");
    }
}

/// Faults: 5.
#[test]
fn a_value_out_of_range_is_an_error_that_names_the_field() {
    for (pointer, bad) in [("/epoch", json!(-1)), ("/journal/timeline", json!(-1))] {
        let mut changed = status();
        *changed.pointer_mut(pointer).unwrap() = bad;
        let read: FailoverPolicyStatus = serde_json::from_value(changed).unwrap();
        let error = read.stored().unwrap_err();
        assert_eq!(error.field, format!("status{}", pointer.replace('/', ".")));
    }
}

/// Faults: 12.
#[test]
fn a_status_of_which_parts_are_lost_is_an_error_but_an_empty_one_is_new() {
    assert_eq!(FailoverPolicyStatus::default().stored(), Ok(None));
    for field in ["state", "since", "epoch", "activeRegion"] {
        let mut changed = status();
        changed.as_object_mut().unwrap().remove(field);
        let read: FailoverPolicyStatus = serde_json::from_value(changed).unwrap();
        assert_eq!(read.stored().unwrap_err().field, format!("status.{field}"));
    }
}

#[test]
fn defaults_are_the_ones_that_the_reference_names() {
    let spec: FailoverPolicySpec = serde_json::from_value(json!({
        "primary": {"region": "a", "server": "main"},
        "standbys": [{"region": "b", "server": "main"}],
    }))
    .unwrap();
    let settings = Settings::try_from(&FailoverPolicy::new("eu", spec)).unwrap();
    assert_eq!(
        (settings.interval_seconds, settings.failure_threshold),
        (30, 3)
    );
    assert_eq!(
        (settings.timeout_seconds, settings.success_threshold),
        (5, 3)
    );
    assert_eq!(
        (settings.stable_seconds, settings.max_stable_seconds),
        (300, 14_400)
    );
    assert_eq!(
        (settings.mode, settings.failback),
        (Mode::Manual, FailbackMode::Manual)
    );
    assert_eq!(settings.minimum_proof, Proof::SynchronousReplication);
    assert_eq!(settings.standbys[0].promotion, Promotion::Neutral);
}
