//! In a world that does not change the machine comes to rest: it waits or acts, and does not store
//! one state after the other for ever.

use proptest::prelude::*;

use super::fixtures::{calm, facts, pass, second};
use super::*;
use crate::facts::{Authority, Epoch, Facts, Lsn, Role};
use crate::health::{ProbeFailure, Verdict};
use crate::names::RegionName;

/// More changes of state than any move has.
const MOST_MOVES: usize = 16;

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of a server, not states"
)]
struct Server {
    listed: bool,
    live: bool,
    verdict: Verdict,
    primary: bool,
    streams: bool,
    names: &'static str,
    epoch: i64,
    writable: bool,
    position: u64,
    timeline: u32,
}

/// Kind, automatic, proof, final position, and whether the promotion was decided.
type Move = (MoveKind, bool, Option<Proof>, Option<u64>, bool);

#[derive(Debug, Clone)]
struct Case {
    state: State,
    servers: [Server; 2],
    journal: Option<Move>,
    claimed: bool,
    evidence: bool,
    lawful: bool,
    mode: Mode,
    minimum: Proof,
    waited: u32,
}

fn server() -> impl Strategy<Value = Server> {
    let verdict = prop::sample::select(vec![
        Verdict::Unknown,
        Verdict::Up,
        Verdict::Failing { failures: 1 },
        Verdict::Down,
        Verdict::Recovering { successes: 1 },
        Verdict::Refusing(ProbeFailure::CredentialsDenied),
    ]);
    let flags = (
        prop::bool::weighted(0.9),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let names = prop::sample::select(vec!["", "central"]);
    (flags, verdict, names, 3..7_i64, 99..102_u64, 3..5_u32).prop_map(
        |(
            (listed, live, primary, streams, writable),
            verdict,
            names,
            epoch,
            position,
            timeline,
        )| {
            Server {
                listed,
                live,
                verdict,
                primary,
                streams,
                names,
                epoch,
                writable,
                position,
                timeline,
            }
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let kind = prop::sample::select(MoveKind::ALL);
    let proof = prop::option::of(prop::sample::select(Proof::ALL));
    let last = prop::option::of(99..102_u64);
    let journal = prop::option::weighted(0.7, (kind, any::<bool>(), proof, last, any::<bool>()));
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.8));
    (
        prop::sample::select(State::ALL),
        [server(), server()],
        journal,
        flags,
        prop::sample::select(Mode::ALL),
        prop::sample::select(Proof::ALL),
        prop::sample::select(vec![0, 15, 200, 4000]),
    )
        .prop_map(
            |(state, servers, journal, (claimed, evidence, lawful), mode, minimum, waited)| Case {
                state,
                servers,
                journal,
                claimed,
                evidence,
                lawful,
                mode,
                minimum,
                waited,
            },
        )
}

fn observed(case: &Case) -> Observation {
    let mut seen = calm();
    seen.settings.mode = case.mode;
    seen.settings.minimum_proof = case.minimum;
    for (name, server) in ["west", "central"].into_iter().zip(&case.servers) {
        let region = RegionName::from(name);
        if !server.listed {
            seen.servers.remove(&region);
            seen.settings.standbys.retain(|s| s.server.region != region);
            continue;
        }
        let role = if server.primary {
            Role::Primary
        } else {
            Role::Standby
        };
        let view = seen.servers.get_mut(&region).unwrap();
        (view.live, view.verdict) = (server.live, server.verdict);
        let known = facts(role);
        view.facts = Some(Facts {
            authority: Some(Authority {
                epoch: Epoch(server.epoch),
                writable: server.writable,
            }),
            open_logins: u32::from(server.writable),
            position: Lsn(server.position),
            timeline: server.timeline,
            receiver: known.receiver.clone().filter(|_| server.streams),
            synchrony: crate::facts::Synchrony {
                names: server.names.into(),
                relaxed: false,
            },
            ..known
        });
    }
    if !case.lawful {
        seen.tenants[0].allowed = ["CH".into()].into();
    }
    store(case, &mut seen.stored);
    seen
}

fn store(case: &Case, stored: &mut Stored) {
    (stored.state, stored.epoch, stored.since) = (case.state, Epoch(5), second(1000));
    stored.claim = case.claimed.then(|| Claim {
        standby: "central".into(),
        name: "central".into(),
    });
    stored.evidence = case.evidence.then(|| Evidence {
        agent_lived: false,
        sampled: second(990),
        outage_since: second(995),
        system_identifier: "7".into(),
        timeline: 3,
        major_version: 18,
        position: Lsn(100),
        synchronous: case.claimed.then(|| "central".into()),
    });
    stored.journal = case
        .journal
        .map(|(kind, automatic, proof, last, decided)| Journal {
            operation: "eu-5".into(),
            kind,
            automatic,
            from: "west".into(),
            to: "central".into(),
            accept: [].into(),
            proof,
            system_identifier: "7".into(),
            timeline: 3,
            final_position: last.map(Lsn),
            loss: decided.then_some(LossBound::Seconds(3)),
            loss_at: None,
            fork: None,
            loss_bytes: None,
            started: second(1000),
            outage_since: case.evidence.then(|| second(995)),
        });
}

fn comes_to_rest(case: &Case) -> Result<(), Vec<State>> {
    let mut seen = observed(case);
    let mut moments = Moments::default();
    moments.storing(&calm().stored, &seen.stored, seen.now);
    pass(&mut seen, case.waited);
    let mut visited = Vec::new();
    for _ in 0..MOST_MOVES {
        seen.ages = moments.ages(&seen.stored, seen.now);
        match decide(&seen).answer {
            Answer::Move(next) => {
                let left = seen
                    .stored
                    .journal
                    .as_ref()
                    .filter(|_| next.journal.is_none());
                if let Some(journal) = left {
                    seen.ended.insert(journal.operation.clone());
                }
                moments.storing(&seen.stored, &next, seen.now);
                visited.push(next.state);
                seen.stored = *next;
            }
            Answer::Work(_) | Answer::Wait(_) => return Ok(()),
        }
    }
    Err(visited)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 65_536,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_world_that_stands_still_leaves_the_machine_at_rest(case in case()) {
        prop_assert_eq!(comes_to_rest(&case), Ok(()));
    }
}
