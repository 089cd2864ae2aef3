//! A policy that is edited within a move: what was stored is finished or given up, for the same
//! servers and under the same promise, however the policy reads by then.

use proptest::prelude::*;

use super::fixtures::{facts, moving, pass, server, view};
use super::*;
use crate::facts::{Authority, Epoch, Role};
use crate::health::Verdict;
use crate::lease::Terms;
use crate::names::{RegionName, ServerId};

/// The states of a move.
const MOVING: [State; 8] = [
    State::Draining,
    State::Fencing,
    State::CatchingUp,
    State::Aborting,
    State::Promoting,
    State::Rerouting,
    State::Verifying,
    State::Halted,
];

/// Numbers that a schema takes, and the largest of their type.
fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![0..100_u32, Just(i32::MAX as u32), Just(u32::MAX)]
}

/// What a person may make of a policy in the middle of a move. The move goes to `central`; `south`
/// is another standby, which the new text may prefer.
fn edited() -> impl Strategy<Value = Settings> {
    let words = (
        prop::sample::select(Mode::ALL),
        any::<bool>(),
        prop::sample::select(Proof::ALL),
        prop::sample::select(FailbackMode::ALL),
    );
    let standbys = prop::sample::subsequence(vec!["central", "south"], 0..=2);
    let preferred = prop::sample::select(Promotion::ALL);
    (
        words,
        standbys,
        preferred,
        prop::collection::vec(seconds(), 14),
    )
        .prop_map(
            |((mode, paused, minimum_proof, failback), standbys, preferred, n)| Settings {
                standbys: standbys
                    .into_iter()
                    .map(|region| Standby {
                        server: ServerId::new(region, "main"),
                        priority: i32::from(region == "central"),
                        promotion: preferred,
                    })
                    .collect(),
                mode,
                paused,
                minimum_proof,
                failback,
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
                lease: Terms {
                    lease_seconds: n[13],
                    renew_seconds: n[13] / 3,
                },
                ..fixtures::settings()
            },
        )
}

/// A move in some state, on servers that do or do not answer.
fn under_way() -> impl Strategy<Value = Observation> {
    let servers = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (prop::sample::select(&MOVING[..]), servers, 0..100_u32).prop_map(
        |(state, (planned, back, promoted, writable), waited)| {
            let mut seen = moving(state);
            seen.lease = Look::Absent;
            let journal = seen.stored.journal.as_mut().unwrap();
            if planned {
                (journal.kind, journal.automatic) = (MoveKind::Switchover, false);
            }
            if matches!(state, State::Rerouting | State::Verifying) {
                seen.stored.active = "central".into();
            }
            if back {
                let west = server(&mut seen, "west");
                (west.verdict, west.live) = (Verdict::Up, true);
            }
            if promoted {
                let epoch = seen.stored.epoch;
                let mut now = facts(Role::Primary);
                (now.timeline, now.authority) = (4, Some(Authority { epoch, writable }));
                server(&mut seen, "central").facts = Some(now);
            }
            let south = view("south", Role::Standby);
            seen.servers.insert("south".into(), south);
            pass(&mut seen, waited);
            seen
        },
    )
}

/// The policy as it reads now, and its servers alone.
fn edit(seen: &Observation, settings: Settings) -> Observation {
    let mut seen = seen.clone();
    let listed = settings.servers().into_iter();
    let listed: Vec<RegionName> = listed.map(|one| one.server.region).collect();
    seen.servers.retain(|region, _| listed.contains(region));
    seen.settings = settings;
    seen
}

/// What a move promised when it began.
fn promise(journal: &Journal) -> impl PartialEq + std::fmt::Debug {
    let Journal {
        operation,
        kind,
        automatic,
        from,
        to,
        accept,
        system_identifier,
        timeline,
        started,
        outage_since,
        ..
    } = journal.clone();
    let who = (operation, kind, automatic, from, to, accept);
    (who, system_identifier, timeline, started, outage_since)
}

proptest! {
    /// Faults: 5, 11.
    #[test]
    fn a_move_keeps_its_promise_however_its_policy_is_edited(
        before in under_way(), settings in edited(),
    ) {
        let seen = edit(&before, settings);
        let (stored, journal) = (&seen.stored, seen.stored.journal.as_ref().unwrap());
        let ours = |region: &RegionName| *region == journal.from || *region == journal.to;
        match decide(&seen).answer {
            Answer::Move(next) => {
                prop_assert!(next.epoch >= stored.epoch);
                prop_assert!(ours(&next.active), "{} is active", next.active);
                if let Some(kept) = &next.journal {
                    prop_assert_eq!(promise(kept), promise(journal));
                }
            }
            Answer::Work(Step::Promote(server, epoch)) => {
                prop_assert_eq!((&server.region, epoch), (&journal.to, stored.epoch));
            }
            Answer::Work(Step::Drain(server, epoch) | Step::Fence(server, epoch)) => {
                prop_assert_eq!((&server.region, epoch), (&journal.from, stored.epoch));
            }
            Answer::Work(Step::TakeAuthority(server, epoch) | Step::Canary(server, epoch)) => {
                prop_assert!(ours(&server.region), "{server} is no part of the move");
                prop_assert_eq!(epoch, stored.epoch);
            }
            Answer::Work(step) => prop_assert!(false, "{step:?} is no part of a move"),
            Answer::Wait(_) => {}
        }
    }
}

/// Faults: 11.
#[test]
fn a_pause_in_a_move_stops_the_next_one_and_not_this_one() {
    let mut seen = moving(State::Promoting);
    (seen.settings.paused, seen.settings.mode) = (true, Mode::Manual);
    let promote = Step::Promote(ServerId::new("central", "main"), Epoch(5));
    assert_eq!(decide(&seen).answer, Answer::Work(promote));
}
