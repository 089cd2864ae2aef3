//! Seeded faults: the machine with one rule broken. The histories must find each of them.

use std::collections::BTreeMap;

use super::operator::Decide;
use super::world::{HOME, server_id};
use super::{HISTORIES, history, run};
use crate::facts::{Authority, Facts, Lsn, Role};
use crate::failover::{
    Answer, Decision, Journal, LossBound, Observation, Proof, ServerView, State, Step, Stored,
    decide,
};
use crate::health::Verdict;
use crate::names::Jurisdiction;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// What is broken, how, and the invariants of which one must be found broken.
const MUTANTS: [(&str, Decide, &[&str]); 24] = [
    (
        "believes every fence at once",
        believes_every_fence,
        &["I1", "I5"],
    ),
    (
        "goes on without any fence",
        skips_the_fence,
        &["I1", "I5", "I12"],
    ),
    (
        "leaves the sessions that are open",
        leaves_sessions,
        &["fence first", "I1", "I5"],
    ),
    (
        "promotes past a primary that answers",
        no_second_look,
        &["fence first"],
    ),
    (
        "takes any proof for the strongest",
        trusts_any_proof,
        &["I5", "I1"],
    ),
    (
        "takes a weaker proof than the minimum",
        ignores_the_minimum,
        &["G9"],
    ),
    ("takes any loss", ignores_the_objective, &["G6"]),
    ("says that nothing is lost", promises_no_loss, &["I5"]),
    (
        "takes another leader's clock for its own",
        mixes_clocks,
        &["I5"],
    ),
    ("does not look at the law", ignores_the_law, &["I4"]),
    (
        "forgets to spend an epoch",
        keeps_the_epoch,
        &["I2", "I1", "I5", "I12"],
    ),
    (
        "does not wait until all is replayed",
        does_not_wait_for_replay,
        &["I5"],
    ),
    (
        "forgets how far the old primary was",
        forgets_the_last_position,
        &["I5"],
    ),
    (
        "claims synchronous replication by one end",
        claims_unseen,
        &["I5", "I1"],
    ),
    (
        "keeps the claim when it is relaxed",
        keeps_the_claim,
        &["I5"],
    ),
    (
        "lets an old primary be",
        no_quarantine,
        &["I1", "I5", "I12"],
    ),
    (
        "turns back after promotion began",
        turns_back,
        &["I1", "I2", "I5", "I12"],
    ),
    (
        "repoints without promoting",
        repoints_unpromoted,
        &["I3", "I12"],
    ),
    (
        "ends before the tenants are repointed",
        forgets_the_tenants,
        &["I15"],
    ),
    (
        "hands the right to write to the home server",
        hands_it_home,
        &["I1", "I5", "I12"],
    ),
    (
        "ends an abort without giving the right back",
        forgets_to_unfence,
        &["I12"],
    ),
    (
        "runs an operation of an older epoch",
        ignores_the_expected_epoch,
        &["replay"],
    ),
    (
        "runs two operations at once",
        runs_two,
        &["G8", "I1", "I5", "I12"],
    ),
    (
        "takes one failed read for an outage",
        takes_silence_for_death,
        &["early"],
    ),
];

/// How a mutant was found: the words before the colon of what broke.
fn finds(mutant: Decide) -> Option<String> {
    let mut runner = TestRunner::new(Config {
        cases: HISTORIES,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&history(), |(synchronous, assumed, events)| {
        run(mutant, synchronous, assumed, &events)
            .map(|_| ())
            .map_err(TestCaseError::fail)
    });
    match result {
        Err(TestError::Fail(reason, _)) => Some(reason.message().to_owned()),
        Err(TestError::Abort(_)) | Ok(()) => None,
    }
}

#[test]
fn every_seeded_fault_is_found() {
    let mut missed = Vec::new();
    for (name, mutant, invariants) in MUTANTS {
        let found = finds(mutant);
        let right = found.as_ref().is_some_and(|found| {
            let broken = found.split(':').next().unwrap_or_default();
            invariants.contains(&broken)
        });
        if !right {
            missed.push(format!("{name}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The machine's answer on a world that it sees otherwise than it is.
fn on(seen: &Observation, change: impl FnOnce(&mut Observation)) -> Decision {
    let mut blind = seen.clone();
    change(&mut blind);
    decide(&blind)
}

/// The machine's answer, with what it stores changed.
fn storing(seen: &Observation, change: impl FnOnce(&mut Stored)) -> Decision {
    let mut decision = decide(seen);
    if let Answer::Move(next) = &mut decision.answer {
        change(next);
    }
    decision
}

fn journal(
    seen: &mut Observation,
    change: impl FnOnce(&Journal, &mut BTreeMap<crate::names::RegionName, ServerView>),
) {
    if let Some(journal) = seen.stored.journal.clone() {
        change(&journal, &mut seen.servers);
    }
}

fn each(seen: &mut Observation, change: impl Fn(&mut Facts)) {
    for view in seen.servers.values_mut() {
        view.facts.iter_mut().for_each(&change);
    }
}

fn believes_every_fence(seen: &Observation) -> Decision {
    let epoch = seen.stored.epoch;
    on(seen, |blind| {
        if blind.stored.state == State::Fencing {
            journal(blind, |journal, servers| {
                let old = servers.get_mut(&journal.from);
                let facts = old.and_then(|view| view.facts.as_mut());
                if let Some(facts) = facts {
                    facts.authority = Some(Authority {
                        epoch,
                        writable: false,
                    });
                    (facts.tenant_sessions, facts.open_logins) = (0, 0);
                }
            });
        }
    })
}

fn skips_the_fence(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if next.state == State::Fencing
            && let Some(journal) = next.journal.as_mut()
        {
            journal.proof = Some(Proof::Confirmed);
            next.state = State::CatchingUp;
        }
    })
}

fn trusts_any_proof(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut().filter(|j| j.proof.is_some()) {
            journal.proof = Some(Proof::Confirmed);
            journal.loss = journal.loss.map(|_| LossBound::Seconds(0));
        }
    })
}

fn ignores_the_minimum(seen: &Observation) -> Decision {
    on(seen, |blind| blind.settings.minimum_proof = Proof::Assumed)
}

fn ignores_the_objective(seen: &Observation) -> Decision {
    on(seen, |blind| {
        blind.settings.max_data_loss_seconds = u32::MAX
    })
}

fn promises_no_loss(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut().filter(|j| j.loss.is_some()) {
            journal.loss = Some(LossBound::Seconds(0));
        }
    })
}

fn ignores_the_law(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for view in blind.servers.values_mut() {
            view.jurisdiction = Some(Jurisdiction::new("EU"));
        }
    })
}

fn keeps_the_epoch(seen: &Observation) -> Decision {
    storing(seen, |next| next.epoch = seen.stored.epoch)
}

fn does_not_wait_for_replay(seen: &Observation) -> Decision {
    on(seen, |blind| {
        journal(blind, |journal, servers| {
            let new = servers.get_mut(&journal.to);
            if let Some(facts) = new.and_then(|view| view.facts.as_mut()) {
                facts.position = Lsn(u64::MAX);
            }
        });
    })
}

fn forgets_the_last_position(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut() {
            journal.final_position = journal.final_position.map(|_| Lsn(0));
        }
    })
}

/// The name of the standby is in the settings, or would be, and that is enough.
fn claims_unseen(seen: &Observation) -> Decision {
    on(seen, |blind| {
        each(blind, |facts| {
            if facts.role == Role::Primary {
                facts.synchrony.names = "\"central\"".into();
                for sender in &mut facts.senders {
                    sender.synchronous = sender.name == "central";
                    sender.replayed = Some(Lsn(u64::MAX));
                }
            }
        });
    })
}

fn keeps_the_claim(seen: &Observation) -> Decision {
    on(seen, |blind| {
        let name = blind.stored.claim.as_ref().map(|claim| claim.name.clone());
        each(blind, |facts| {
            if let Some(name) = name.as_ref().filter(|_| facts.role == Role::Primary) {
                facts.synchrony.names = format!("\"{name}\"");
            }
        });
    })
}

fn no_quarantine(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let calm = seen.stored.journal.is_none();
    if calm && matches!(decision.answer, Answer::Work(Step::Fence(..))) {
        decision.answer = Answer::Wait(1000);
    }
    decision
}

fn turns_back(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if seen.stored.state == State::Promoting && matches!(decision.answer, Answer::Wait(_)) {
        let mut stored = seen.stored.enter(State::Aborting, seen.now.wall);
        stored.epoch = seen.stored.epoch.next();
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

fn repoints_unpromoted(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if let (Answer::Work(Step::Promote(to, _)), State::Promoting) =
        (&decision.answer, seen.stored.state)
    {
        let mut stored = seen.stored.enter(State::Rerouting, seen.now.wall);
        stored.active = to.region.clone();
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

fn hands_it_home(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if let Answer::Work(Step::TakeAuthority(to, _)) = &mut decision.answer {
        *to = server_id(HOME);
    }
    decision
}

fn forgets_to_unfence(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let gives = matches!(decision.answer, Answer::Work(Step::TakeAuthority(..)));
    if gives && matches!(seen.stored.state, State::Aborting | State::Steady) {
        let mut stored = seen.stored.enter(State::Steady, seen.now.wall);
        stored.journal = None;
        stored.evidence = None;
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

fn ignores_the_expected_epoch(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for request in &mut blind.requests {
            request.expected_epoch = blind.stored.epoch;
        }
    })
}

/// Between the decision and the promotion the world may have changed, and nobody looks.
fn no_second_look(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let State::Promoting = seen.stored.state else {
        return decision;
    };
    if let Some(journal) = seen.journal() {
        let to = seen.server(&journal.to);
        let standby = to
            .and_then(ServerView::now)
            .is_some_and(|f| f.role == Role::Standby);
        if let Some(to) = to.filter(|_| standby) {
            let step = Step::Promote(to.server.clone(), seen.stored.epoch);
            decision.answer = Answer::Work(step);
        }
    }
    decision
}

fn takes_silence_for_death(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for view in blind.servers.values_mut().filter(|view| !view.live) {
            view.verdict = Verdict::Down;
        }
    })
}

fn leaves_sessions(seen: &Observation) -> Decision {
    on(seen, |blind| each(blind, |facts| facts.tenant_sessions = 0))
}

fn mixes_clocks(seen: &Observation) -> Decision {
    let me = seen.leader.clone();
    on(seen, |blind| {
        each(blind, |facts| {
            if let Some(beat) = facts.heartbeat.as_mut() {
                beat.leader.clone_from(&me);
            }
        });
    })
}

fn forgets_the_tenants(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for tenant in &mut blind.tenants {
            tenant.repointed = blind.stored.epoch;
        }
    })
}

fn runs_two(seen: &Observation) -> Decision {
    on(seen, |blind| {
        let known = blind.stored.journal.as_ref().map(|j| j.operation.clone());
        let another = |name: &str| known.as_ref().is_some_and(|known| known != name);
        if blind.requests.iter().any(|request| another(&request.name)) {
            blind.stored.state = State::Steady;
            blind.stored.journal = None;
        }
    })
}
