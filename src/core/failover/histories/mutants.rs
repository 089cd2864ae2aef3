//! Seeded faults: the machine with one rule broken. The histories must find each of them.

mod machines;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use super::operator::Decide;
use super::{HISTORIES, history, run};
use machines::*;

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
