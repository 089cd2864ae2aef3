//! The seeded faults by name, and the invariants of which one must be found broken.

use super::machines as old;
use super::{Mutant, Process, RIGHT, decides, does, more};

pub(super) const DECISIONS: [Mutant; 24] = [
    decides(
        "believes every fence at once",
        old::believes_every_fence,
        &["I1", "I5"],
    ),
    decides(
        "goes on without any fence",
        old::skips_the_fence,
        &["I1", "I5"],
    ),
    decides(
        "leaves the sessions that are open",
        old::leaves_sessions,
        &["fence first", "I1", "I5"],
    ),
    // Faults: 81.
    decides(
        "promotes past a primary that answers",
        old::no_second_look,
        &["fence first"],
    ),
    decides(
        "takes any proof for the strongest",
        old::trusts_any_proof,
        &["I5", "I1"],
    ),
    decides(
        "takes a weaker proof than the minimum",
        old::ignores_the_minimum,
        &["G9", "I5"],
    ),
    // Faults: 64.
    decides("takes any loss", old::ignores_the_objective, &["G6"]),
    decides("says that nothing is lost", old::promises_no_loss, &["I5"]),
    decides(
        "takes another leader's clock for its own",
        old::mixes_clocks,
        &["I5"],
    ),
    // Faults: 6.
    decides("does not look at the law", old::ignores_the_law, &["I4"]),
    decides(
        "forgets to spend an epoch",
        old::keeps_the_epoch,
        &["I2", "I1", "I5"],
    ),
    // Faults: 66.
    decides(
        "does not wait until all is replayed",
        old::does_not_wait_for_replay,
        &["I5"],
    ),
    decides(
        "forgets how far the old primary was",
        old::forgets_the_last_position,
        &["I5"],
    ),
    decides(
        "claims synchronous replication by one end",
        old::claims_unseen,
        &["I5", "I1"],
    ),
    // Faults: 68.
    decides(
        "keeps the claim when it is relaxed",
        old::keeps_the_claim,
        &["I5", "I1"],
    ),
    // Faults: 71.
    decides("lets an old primary be", old::no_quarantine, &["I1", "I5"]),
    // Faults: 81.
    decides(
        "turns back after promotion began",
        old::turns_back,
        &["I1", "I2", "I5", "I10"],
    ),
    decides(
        "repoints without promoting",
        old::repoints_unpromoted,
        &["I3"],
    ),
    decides(
        "ends before the tenants are repointed",
        old::forgets_the_tenants,
        &["I15"],
    ),
    decides(
        "hands the right to write to the home server",
        old::hands_it_home,
        &["I1", "I5"],
    ),
    decides(
        "ends an abort without giving the right back",
        old::forgets_to_unfence,
        &["I12"],
    ),
    decides(
        "runs an operation of an older epoch",
        old::ignores_the_expected_epoch,
        &["replay"],
    ),
    decides(
        "runs two operations at once",
        old::runs_two,
        &["G8", "I1", "I5"],
    ),
    // Faults: 56, 80.
    decides(
        "takes one failed read for an outage",
        old::takes_silence_for_death,
        &["early"],
    ),
];

pub(super) const MORE: [Mutant; 13] = [
    decides(
        "skips the wait for the lease",
        more::skips_the_lease_wait,
        &["I1", "I5"],
    ),
    decides("asks no permit", more::asks_no_permit, &["I1", "I5"]),
    decides(
        "does not take the lease",
        more::leaves_the_lease,
        &["I1", "I5"],
    ),
    // Faults: 84.
    decides("forgets the cooldown", more::forgets_the_cooldown, &["I9"]),
    // Faults: 63.
    decides(
        "takes a standby of any timeline",
        more::takes_any_timeline,
        &["I6", "I5"],
    ),
    decides(
        "gives up and keeps the epoch",
        more::keeps_the_epoch_when_giving_up,
        &["I2"],
    ),
    decides("goes home at once", more::goes_home_at_once, &["I8"]),
    decides("goes home early", more::goes_home_early, &["I8"]),
    decides("never doubles the wait", more::never_doubles, &["I8"]),
    decides("writes at rest", more::fidgets, &["I13"]),
    // Faults: 82.
    decides("never doubts its own view", more::trusts_itself, &["I9"]),
    // Faults: 74.
    decides(
        "asks no second vantage",
        more::asks_no_second_vantage,
        &["I18"],
    ),
    decides(
        "ends a planned move with writes missing",
        more::plans_with_loss,
        &["I5"],
    ),
];

/// What these break is the process around the machine, and that is the simulator's own copy of it:
/// they show that a check would see it, and say nothing of the product's process. So they stand for
/// no row of `docs/faults.md`, but for the one that disarms a rule of `core`.
pub(super) const PROCESSES: [Mutant; 13] = [
    does(
        "never fences itself",
        Process {
            agent_never_fences: true,
            ..RIGHT
        },
        &["I1", "I5"],
    ),
    does(
        "pledges once the hub has answered, which counts it at once",
        Process {
            pledges_when_answered: true,
            counts_new_pledges: true,
            ..RIGHT
        },
        &["I1", "I5"],
    ),
    does(
        "takes each look at a pledge for a renewal, as the hub does",
        Process {
            counts_each_look: true,
            counts_new_pledges: true,
            ..RIGHT
        },
        &["I1", "I5"],
    ),
    does(
        "decides on samples alone",
        Process {
            reads_the_cache: true,
            ..RIGHT
        },
        &["I8", "I5", "I1", "I10"],
    ),
    does(
        "stores without comparing",
        Process {
            no_compare_and_swap: true,
            ..RIGHT
        },
        &["I2", "replay", "G8", "early"],
    ),
    does(
        "repoints before the promotion",
        Process {
            repoints_early: true,
            ..RIGHT
        },
        &["I3"],
    ),
    does(
        "publishes what was not tried",
        Process {
            publishes_untried: true,
            ..RIGHT
        },
        &["I15"],
    ),
    does(
        "overwrites a newer Secret",
        Process {
            overwrites_secrets: true,
            ..RIGHT
        },
        &["I3", "I15"],
    ),
    does(
        "counts time on the wall",
        Process {
            counts_on_the_wall: true,
            ..RIGHT
        },
        &["I5"],
    ),
    does(
        "asks the wall how long ago it was",
        Process {
            ages_on_the_wall: true,
            ..RIGHT
        },
        &["I15", "I9", "I5", "I1"],
    ),
    // Faults: 48.
    does(
        "takes a gap for a sight",
        Process {
            blind_for_gaps: true,
            ..RIGHT
        },
        &["I8"],
    ),
    does(
        "judges what was not probed",
        Process {
            judges_unprobed: true,
            ..RIGHT
        },
        &["fence first", "I1", "I5"],
    ),
    does(
        "lets a zombie write",
        Process {
            rows_unchecked: true,
            ..RIGHT
        },
        &["I10"],
    ),
];
