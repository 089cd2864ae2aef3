//! Seeded faults: the machine, or the process around it, with one rule broken.

mod machines;
mod more;
mod table;

use domicile_core::failover::decide;

use crate::world::Decide;

/// What is run: the decision, and the process around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub decide: Decide,
    pub process: Process,
}

impl Machine {
    /// What is built.
    pub(crate) fn built() -> Self {
        Self {
            decide,
            process: RIGHT,
        }
    }
}

/// What a process does wrong. All false is what is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent faults of a process, not states"
)]
pub(crate) struct Process {
    /// Takes the last good answer, however old, for one of now: never reads anew.
    pub reads_the_cache: bool,
    /// Stores whatever the object is by now.
    pub no_compare_and_swap: bool,
    /// Points tenants at the candidate before it is promoted.
    pub repoints_early: bool,
    /// Publishes a credential that was not tried.
    pub publishes_untried: bool,
    /// Writes the Secret whatever epoch it has.
    pub overwrites_secrets: bool,
    /// Measures durations with the wall clock.
    pub counts_on_the_wall: bool,
    /// Takes the wall clock's word for how long ago something was stored.
    pub ages_on_the_wall: bool,
    /// Takes the home server for in sync while nobody looked.
    pub blind_for_gaps: bool,
    /// Judges before each server was probed.
    pub judges_unprobed: bool,
    /// An agent that lost everything goes on.
    pub agent_never_fences: bool,
    /// An agent is obliged by what it promised only when that was answered.
    pub pledges_when_answered: bool,
    /// A replica of an agent takes each look at a pledge for a renewal of it.
    pub counts_each_look: bool,
    /// An operator counts a pledge before its own renewal was seen, so that one replica's word is
    /// enough.
    pub counts_new_pledges: bool,
    /// Statements do not look at the authority row: nothing stops a zombie.
    pub rows_unchecked: bool,
}

/// What is broken, how, and the invariants of which one must be found broken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutant {
    pub name: &'static str,
    pub machine: Machine,
    pub breaks: &'static [&'static str],
}

const fn decides(name: &'static str, decide: Decide, breaks: &'static [&'static str]) -> Mutant {
    let machine = Machine {
        decide,
        process: RIGHT,
    };
    Mutant {
        name,
        machine,
        breaks,
    }
}

const fn does(name: &'static str, process: Process, breaks: &'static [&'static str]) -> Mutant {
    let machine = Machine { decide, process };
    Mutant {
        name,
        machine,
        breaks,
    }
}

const RIGHT: Process = Process {
    reads_the_cache: false,
    no_compare_and_swap: false,
    repoints_early: false,
    publishes_untried: false,
    overwrites_secrets: false,
    counts_on_the_wall: false,
    ages_on_the_wall: false,
    blind_for_gaps: false,
    judges_unprobed: false,
    agent_never_fences: false,
    pledges_when_answered: false,
    counts_each_look: false,
    counts_new_pledges: false,
    rows_unchecked: false,
};

/// The seeded faults.
pub(crate) fn all() -> impl Iterator<Item = &'static Mutant> {
    table::DECISIONS
        .iter()
        .chain(&table::MORE)
        .chain(&table::PROCESSES)
}
