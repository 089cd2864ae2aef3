//! A calm world and a lost one, for the tests of the machine.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::*;
use crate::facts::{
    Authority, Engine, Epoch, Facts, Heartbeat, Lsn, Receiver, Role, Sender, Synchrony,
};
use crate::health::Verdict;
use crate::lease::Terms;
use crate::names::{Jurisdiction, RegionName, ServerId};
use crate::time::{Mono, Now};

pub(super) const LEADER: &str = "me";

pub(super) fn facts(role: Role) -> Facts {
    let primary = role == Role::Primary;
    Facts {
        system_identifier: "7".into(),
        major_version: 18,
        version: "18.4".into(),
        role,
        timeline: 3,
        position: Lsn(100),
        recovered: None,
        received: (!primary).then_some(Lsn(100)),
        receiver: (!primary).then(|| Receiver {
            name: "central".into(),
            silent_ms: 0,
            patience_ms: 1000,
            timeline: 3,
        }),
        senders: Vec::from_iter(primary.then(|| Sender {
            name: "central".into(),
            streaming: true,
            synchronous: true,
            replayed: Some(Lsn(100)),
        })),
        synchrony: Synchrony {
            names: String::new(),
            relaxed: false,
        },
        authority: Some(Authority {
            epoch: Epoch(4),
            writable: true,
        }),
        heartbeat: Some(Heartbeat {
            sequence: 1,
            leader: LEADER.into(),
            at: Mono(98_000),
            epoch: Epoch(4),
        }),
        tenant_sessions: 0,
        open_logins: 1,
        missing_rights: Vec::new(),
        slow_logins: false,
        sampled: Mono(99_000),
        round_trip_ms: 1,
    }
}

pub(super) fn view(region: &str, role: Role) -> ServerView {
    ServerView {
        server: ServerId::new(region, "main"),
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
    }
}

/// `west` serves at epoch 4, `central` streams from it, all is well.
pub(super) fn calm() -> Observation {
    let servers: BTreeMap<RegionName, ServerView> =
        [("west", Role::Primary), ("central", Role::Standby)]
            .map(|(name, role)| (name.into(), view(name, role)))
            .into();
    Observation {
        now: Now {
            wall: second(1000),
            mono: Mono(100_000),
        },
        leader: LEADER.into(),
        settings: settings(),
        stored: Stored {
            state: State::Steady,
            since: second(0),
            epoch: Epoch(4),
            active: "west".into(),
            timeline: 3,
            claim: None,
            restore_synchronous: false,
            journal: None,
            evidence: None,
            cooldown_until: None,
            history: Vec::new(),
            returned: Vec::new(),
        },
        ages: Ages::default(),
        conflict: None,
        servers,
        others: [("east".into(), Verdict::Up)].into(),
        tenants: vec![Tenant {
            name: "ns/acme".into(),
            allowed: [Jurisdiction::new("EU")].into(),
            repointed: Epoch(4),
            stalled: false,
        }],
        requests: Vec::new(),
        ended: BTreeSet::new(),
        lease: Look::Unread,
        promises: BTreeMap::new(),
        home_in_sync_ms: None,
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        name: "eu".into(),
        home: ServerId::new("west", "main"),
        standbys: vec![Standby {
            server: ServerId::new("central", "main"),
            priority: 10,
            promotion: Promotion::Neutral,
        }],
        mode: Mode::Automatic,
        paused: false,
        interval_seconds: 1,
        timeout_seconds: 1,
        failure_threshold: 3,
        success_threshold: 3,
        max_data_loss_seconds: 60,
        heartbeat_seconds: 1,
        quorum: 2,
        minimum_proof: Proof::Assumed,
        lease: Terms {
            lease_seconds: 6,
            renew_seconds: 2,
        },
        drain_seconds: 1,
        max_freeze_seconds: 20,
        failback: FailbackMode::Manual,
        stable_seconds: 300,
        max_stable_seconds: 14_400,
        cooldown_seconds: 3600,
        max_automatic_per_day: 2,
        approval_seconds: 1800,
        rejoin: Rejoin::Manual,
        dump: None,
    }
}

/// The same world with `west` lost and the outage established.
pub(super) fn outage() -> Observation {
    let mut seen = calm();
    let west = seen.servers.get_mut(&RegionName::from("west")).unwrap();
    west.verdict = Verdict::Down;
    west.live = false;
    seen.servers
        .get_mut(&RegionName::from("central"))
        .unwrap()
        .facts
        .as_mut()
        .unwrap()
        .receiver = None;
    seen.stored.state = State::Outage;
    seen
}

/// So much time passes, on both clocks, under the leader that stored all that is stored.
pub(super) fn pass(seen: &mut Observation, seconds: u32) {
    let passed_ms = u64::from(seconds) * 1_000;
    let later = seen.now.wall.as_second() + i64::from(seconds);
    (seen.now.wall, seen.now.mono) = (second(later), Mono(seen.now.mono.0 + passed_ms));
    let ages = &mut seen.ages;
    let four = [
        &mut ages.state,
        &mut ages.started,
        &mut ages.bounded,
        &mut ages.outage,
    ];
    for age in four.into_iter().chain(&mut ages.finished) {
        age.known_ms += passed_ms;
    }
    ages.cooldown_left_ms = ages.cooldown_left_ms.saturating_sub(passed_ms);
}

pub(super) fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn state_after(seen: &Observation) -> State {
    match decide(seen).answer {
        Answer::Move(next) => next.state,
        Answer::Work(_) | Answer::Wait(_) => seen.stored.state,
    }
}

pub(super) fn objection(seen: &Observation) -> Vec<GuardName> {
    decide(seen)
        .guards
        .into_iter()
        .filter(|g| !g.ok)
        .map(|g| g.name)
        .collect()
}

pub(super) fn ask(kind: MoveKind, epoch: i64) -> Request {
    Request {
        name: "asked".into(),
        kind,
        target: "central".into(),
        expected_epoch: Epoch(epoch),
        accept: BTreeSet::new(),
        automatic: false,
        approved: false,
    }
}

/// The same lost world, an automatic failover to `central` under epoch 5 being in `state`.
pub(super) fn moving(state: State) -> Observation {
    let mut seen = outage();
    seen.stored = stored_after(&seen);
    let journal = seen.stored.journal.as_mut().unwrap();
    (journal.proof, journal.loss) = (Some(Proof::Assumed), Some(LossBound::Seconds(2)));
    seen.stored.state = state;
    seen
}

pub(super) fn server<'a>(seen: &'a mut Observation, region: &str) -> &'a mut ServerView {
    seen.servers.get_mut(&RegionName::from(region)).unwrap()
}

/// What is stored after one pass.
pub(super) fn stored_after(seen: &Observation) -> Stored {
    match decide(seen).answer {
        Answer::Move(next) => *next,
        Answer::Work(_) | Answer::Wait(_) => seen.stored.clone(),
    }
}
