use std::collections::{BTreeMap, BTreeSet};

use domicile_api::conditions::{ConditionType, Status, find, is_true};
use domicile_core::facts::{Authority, Engine, Epoch, Facts, Heartbeat, Lsn, Receiver, Role};
use domicile_core::failover::{
    Ages, DumpLook, DumpView, Fork, Mode, Rejoin, Returned, ServerView, Settings, Watched, decide,
};
use domicile_core::lease::{Pledge, WriteLease};
use domicile_core::names::{RegionName, ServerId};
use domicile_core::time::{Mono, Now};
use serde_json::json;

use super::*;
use crate::probes::fixtures;

const NOW: u64 = 100_000;

fn policy() -> FailoverPolicy {
    let policy = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": {"name": "eu", "generation": 1},
        "spec": {
            "primary": {"region": "west", "server": "main"},
            "standbys": [{"region": "central", "server": "main"}],
            "mode": "Automatic",
            "fencing": {"minimumProof": "Assumed"},
            "detection": {"intervalSeconds": 1, "timeoutSeconds": 1},
        },
        "status": {
            "state": "Steady", "since": "2026-01-01T00:00:00Z", "epoch": 4,
            "homeRegion": "west", "activeRegion": "west",
        },
    });
    serde_json::from_value(policy).unwrap()
}

fn facts(role: Role) -> Facts {
    let standby = role == Role::Standby;
    Facts {
        timeline: 3,
        position: Lsn(100),
        received: standby.then_some(Lsn(100)),
        receiver: standby.then(|| Receiver {
            name: "central".into(),
            silent_ms: 0,
            patience_ms: 1_000,
            timeline: 3,
        }),
        authority: Some(Authority {
            epoch: Epoch(4),
            writable: true,
        }),
        heartbeat: Some(Heartbeat {
            sequence: 1,
            leader: "me".into(),
            at: Mono(NOW - 1_000),
            epoch: Epoch(4),
        }),
        open_logins: 1,
        sampled: Mono(NOW - 1_000),
        ..fixtures::facts(role)
    }
}

/// `west` serves at epoch 4, `central` streams from it.
pub(in crate::controllers::failover) fn calm() -> Observation {
    let view = |name: &str, role| ServerView {
        server: ServerId::new(name, "main"),
        jurisdiction: Some("EU".into()),
        backups: BTreeMap::new(),
        suspended: false,
        verdict: Verdict::Up,
        facts: Some(facts(role)),
        live: true,
        engine: Engine::Sql,
        touched: None,
        ends: Vec::new(),
        asked_ms: None,
        resists: false,
        dump: None,
        engine_fails: None,
    };
    let servers = [("west", Role::Primary), ("central", Role::Standby)];
    let servers = servers.map(|(name, role)| (RegionName::from(name), view(name, role)));
    let policy = policy();
    let status = policy.status.as_ref().unwrap();
    Observation {
        now: Now {
            wall: "2026-01-01T01:00:00Z".parse().unwrap(),
            mono: Mono(NOW),
        },
        leader: "me".into(),
        settings: Settings::try_from(&policy).unwrap(),
        stored: status.stored().unwrap().unwrap(),
        conflict: None,
        servers: servers.into(),
        others: [("east".into(), Verdict::Up)].into(),
        tenants: Vec::new(),
        requests: Vec::new(),
        ended: BTreeSet::new(),
        lease: Look::Absent,
        promises: BTreeMap::new(),
        ages: Ages::default(),
        home_in_sync_ms: None,
    }
}

fn server<'a>(seen: &'a mut Observation, region: &str) -> &'a mut ServerView {
    seen.servers.get_mut(&RegionName::from(region)).unwrap()
}

/// Status and reason of a condition, and its message.
fn told(seen: &Observation, type_: ConditionType) -> (String, String, String) {
    let decision = decide(seen);
    let status = status(&policy(), seen, &seen.stored, &decision);
    let found = find(&status.conditions, type_).unwrap().clone();
    (found.status, found.reason, found.message)
}

fn says(seen: &Observation, type_: ConditionType, status: &str, reason: &str) {
    let (found, why, message) = told(seen, type_);
    assert_eq!((&*found, &*why), (status, reason), "{type_:?}: {message}");
}

#[test]
fn a_copy_that_is_waited_for_is_told_before_the_rejoin() {
    let mut seen = calm();
    let mut now = facts(Role::Primary);
    (now.timeline, now.open_logins) = (2, 0);
    now.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    let central = server(&mut seen, "central");
    (central.facts, central.engine) = (Some(now), Engine::Patroni);
    seen.settings.rejoin = Rejoin::Rewind;
    seen.stored.returned = vec![Returned {
        region: "central".into(),
        epoch: Epoch(4),
        timeline: 2,
        position: Lsn(100),
        fork: Some(Fork {
            timeline: 2,
            position: Lsn(90),
            latest: None,
        }),
        left: None,
        databases: vec!["acme".to_owned()],
        found: "2026-01-01T00:30:00Z".parse().unwrap(),
        dump: None,
    }];
    let healthy = ConditionType::StandbyHealthy;
    says(&seen, healthy, "False", "Rejoining");
    seen.settings.dump = Some("keep".to_owned());
    says(&seen, healthy, "False", "DumpBlocked");
    for (look, reason) in [
        (DumpLook::Running, "DumpRunning"),
        (DumpLook::Failed, "DumpFailed"),
        (DumpLook::Blocked("no CronJob".to_owned()), "DumpBlocked"),
    ] {
        let job = "dump-1".to_owned();
        server(&mut seen, "central").dump = Some(DumpView { job, look });
        says(&seen, healthy, "False", reason);
    }
    assert_eq!(found_severity("DumpComplete"), Severity::Normal);
    assert_eq!(found_severity("DumpFailed"), Severity::Warning);
    assert_eq!(found_severity("OldPrimaryReported"), Severity::Warning);
}

/// The record of an agent of `west` that renewed it so long ago.
fn leased(seen: &mut Observation, quiet_ms: u64) {
    let members: BTreeSet<_> = [RegionName::from("central")].into();
    let terms = seen.settings.lease;
    let offer = WriteLease::offer(Epoch(4), "west".into(), members.clone(), terms);
    let pledge = Pledge {
        region: "west".into(),
        epoch: Epoch(4),
        members,
        promises: false,
    };
    let then = Mono(NOW - quiet_ms);
    seen.lease = Look::There(Watched {
        record: WriteLease {
            pledge: Some(pledge),
            ..offer
        },
        version: "7".into(),
        since: then,
        renewed: then,
        witnessed: true,
    });
}

#[test]
fn a_server_that_its_silent_agent_fenced_is_stalled_with_a_next_step() {
    let mut seen = calm();
    leased(&mut seen, 1_000);
    says(&seen, ConditionType::Ready, "True", "Steady");
    says(&seen, ConditionType::Stalled, "False", "NotStalled");

    leased(&mut seen, 60_000);
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    says(&seen, ConditionType::Ready, "False", "AgentSilent");
    says(&seen, ConditionType::Stalled, "True", "AgentSilent");
    let (_, _, message) = told(&seen, ConditionType::Stalled);
    assert!(message.contains("pausing the policy"), "{message}");
    // The server answers all the same, and no failover comes of it.
    says(
        &seen,
        ConditionType::PrimaryHealthy,
        "True",
        "PrimaryServing",
    );

    // Once the agent is back the server gets its right back, and the policy is not stalled.
    leased(&mut seen, 1_000);
    let (stalled, reason, _) = told(&seen, ConditionType::Stalled);
    assert_ne!((&*stalled, &*reason), ("True", "AgentSilent"));
}

/// Faults: 76.
#[test]
fn a_broken_stream_is_told_while_the_primary_serves() {
    let mut seen = calm();
    says(
        &seen,
        ConditionType::ReplicationHealthy,
        "True",
        "Streaming",
    );
    let central = server(&mut seen, "central").facts.as_mut().unwrap();
    central.receiver = None;
    says(
        &seen,
        ConditionType::ReplicationHealthy,
        "False",
        "ReplicationBroken",
    );
    says(
        &seen,
        ConditionType::PrimaryHealthy,
        "True",
        "PrimaryServing",
    );
    says(&seen, ConditionType::Ready, "True", "Steady");
}

/// Faults: 75, 83.
#[test]
fn a_policy_whose_standby_is_lost_is_not_ready_to_fail_over() {
    let mut seen = calm();
    says(
        &seen,
        ConditionType::FailoverReady,
        "True",
        "StandbyEligible",
    );
    let central = server(&mut seen, "central");
    (central.verdict, central.live) = (Verdict::Down, false);
    for west in [Verdict::Up, Verdict::Down] {
        server(&mut seen, "west").verdict = west;
        server(&mut seen, "west").live = west == Verdict::Up;
        says(
            &seen,
            ConditionType::FailoverReady,
            "False",
            "NoEligibleStandby",
        );
    }
    says(&seen, ConditionType::PrimaryHealthy, "False", "PrimaryLost");
}

/// A policy that waits for a person is as its user ordered it, unless something else is in the way.
#[test]
fn a_policy_that_moves_nobody_by_itself_says_so_after_all_else_that_forbids() {
    let disarm: [fn(&mut Settings); 2] = [
        |settings| settings.mode = Mode::Manual,
        |settings| settings.paused = true,
    ];
    let ready = ConditionType::FailoverReady;
    for (disarm, why) in disarm.into_iter().zip(["is Manual", "resume eu"]) {
        let mut seen = calm();
        disarm(&mut seen.settings);
        says(&seen, ready, "False", "NotArmed");
        let message = told(&seen, ready).2;
        assert!(message.starts_with("central could take over, but not by itself"));
        assert!(message.contains(why), "{message}");
        let central = server(&mut seen, "central");
        (central.verdict, central.live) = (Verdict::Down, false);
        says(&seen, ready, "False", "NoEligibleStandby");
        assert_eq!(told(&seen, ready).2, "central does not answer");
    }
}

#[test]
fn a_guard_s_message_fits_the_schema() {
    let mut seen = calm();
    seen.settings.minimum_proof = Proof::SynchronousReplication;
    let central = server(&mut seen, "central").facts.as_mut().unwrap();
    central.receiver.as_mut().unwrap().name = "ä".repeat(400);
    let status = status(&policy(), &seen, &seen.stored, &decide(&seen));
    let longest = status.guards.iter().map(|guard| guard.message.len()).max();
    assert!(longest.is_some_and(|bytes| (500..=512).contains(&bytes)));
}

/// The servers are fenced and reported; one of them left the common timeline nobody knows where.
#[test]
fn an_old_primary_that_must_be_copied_anew_says_so_and_how() {
    let mut seen = calm();
    (seen.stored.active, seen.settings.rejoin) = ("central".into(), Rejoin::Rewind);
    let west = server(&mut seen, "west");
    west.engine = Engine::Patroni;
    let facts = west.facts.as_mut().unwrap();
    (facts.open_logins, facts.timeline) = (0, 4);
    facts.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    seen.stored.returned = vec![Returned {
        region: "west".into(),
        epoch: Epoch(4),
        timeline: 4,
        position: Lsn(130),
        fork: Some(Fork {
            timeline: 3,
            position: Lsn(100),
            latest: Some(Lsn(100)),
        }),
        left: Some(Lsn(120)),
        databases: Vec::new(),
        dump: None,
        found: seen.now.wall,
    }];
    let mut says = |left| {
        seen.stored.returned[0].left = left;
        let (_, reason, message) = told(&seen, ConditionType::StandbyHealthy);
        (reason, message)
    };
    assert_eq!(says(Some(Lsn(120))).0, "Rejoining");
    for left in [Some(Lsn(100)), None] {
        let (reason, message) = says(left);
        assert_eq!(reason, "AwaitingRejoin");
        assert!(message.contains("new base backup"), "{message}");
        assert!(message.contains("patronictl remove"), "{message}");
    }
}

/// A server that its fence did not shut is told beside tenants that are served all the same.
#[test]
fn two_servers_that_take_writes_are_a_split_brain_in_every_state_and_a_stop_alone_is_none() {
    let split = ConditionType::SplitBrain;
    let mut seen = calm();
    says(&seen, split, "False", "SinglePrimary");
    let central = server(&mut seen, "central");
    central.resists = true;
    let facts = central.facts.as_mut().unwrap();
    (facts.role, facts.receiver, facts.tenant_sessions) = (Role::Primary, None, 1);
    facts.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    says(&seen, split, "True", "TwoPrimaries");
    says(&seen, ConditionType::Stalled, "True", "TwoPrimaries");
    says(&seen, ConditionType::Ready, "True", "TwoPrimaries");
    // Its event says it, too, and not that all is well.
    let (_, _, message) = told(&seen, ConditionType::Stalled);
    assert!(message.contains("takes writes beside"), "{message}");

    let mut seen = calm();
    seen.stored.state = State::Halted;
    server(&mut seen, "central").live = false;
    says(&seen, split, "False", "SinglePrimary");
    // What was seen stays until a server says otherwise.
    let decision = decide(&seen);
    let mut before = policy();
    let status = before.status.as_mut().unwrap();
    let mut conditions = Conditions::of(&status.conditions, None, seen.now.wall);
    conditions.set(split, Status::True, Reason::TwoPrimaries, "two");
    status.conditions = conditions.into_list();
    let after = super::status(&before, &seen, &seen.stored, &decision);
    assert!(is_true(&after.conditions, split));
}
