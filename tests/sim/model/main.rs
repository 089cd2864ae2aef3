//! The model checker: the real decision in the smallest world that can go wrong, in every order.
//!
//! Two regions, two operators that both act as if they led, the agents of both regions, and at most
//! so many crashes, partitions, writes and steps of time: every interleaving within these bounds is
//! gone through, and each world reached is held to the invariants. Seeded faults must break one.
//! What chance finds in a large world is `make sim`; this leaves nothing out of a small one.
//!
//! Without arguments it does what CI does; with `DEEP` it goes through more, for some minutes.
#![expect(
    clippy::print_stdout,
    reason = "a test program of its own, without libtest"
)]

#[path = "../clock.rs"]
mod clock;
mod effects;
mod faults;
mod pass;
mod steps;
mod world;

use std::process::ExitCode;
use std::thread;

use stateright::{Checker, HasDiscoveries, Model, Property};

use clock::Clock;
use faults::Fault;
use steps::Bounds;
use world::Budget;

/// Gone through whole: crashes, partitions, writes, steps of time, planned moves.
const ALWAYS: [Bounds; 7] = [
    synchronous("partitions", [0, 2, 1, 0, 0]),
    synchronous("crashes", [2, 0, 0, 0, 1]),
    synchronous("a crash and a partition", [1, 1, 1, 0, 0]),
    synchronous("a planned move and a partition", [0, 1, 1, 0, 1]),
    synchronous("deadlines", [0, 1, 0, 1, 1]),
    leased("a planned move without synchrony", [0, 1, 1, 0, 1]),
    leased("the end of a lease", [0, 1, 0, 6, 0]),
];

/// The same, with more of it at once.
const DEEP: [Bounds; 3] = [
    synchronous("two crashes and two partitions", [2, 2, 0, 0, 0]),
    synchronous("two partitions, and deadlines", [1, 2, 1, 1, 0]),
    leased("the end of a lease, and writes", [0, 1, 1, 6, 0]),
];

/// Too short for a lease to end.
const SHORT: Bounds = leased("the beginning of a lease", [0, 1, 0, 3, 0]);

/// What is broken, and the bounds within which it must be found.
const FAULTS: [(Fault, Bounds); 7] = [
    (Fault::NoCompareAndSwap, ALWAYS[0]),
    (Fault::AnyProof, ALWAYS[2]),
    (Fault::BelievesFences, ALWAYS[5]),
    (Fault::KeepsEpoch, ALWAYS[5]),
    (Fault::RowsUnchecked, ALWAYS[1]),
    (Fault::NoLeaseWait, SHORT),
    (Fault::AgentsNeverFence, ALWAYS[6]),
];

const fn synchronous(name: &'static str, most: [u8; 5]) -> Bounds {
    let [crashes, partitions, writes, ticks, asks] = most;
    Bounds {
        name,
        leased: false,
        budget: Budget {
            crashes,
            partitions,
            writes,
            ticks,
            asks,
        },
        fault: Fault::Nothing,
    }
}

const fn leased(name: &'static str, most: [u8; 5]) -> Bounds {
    Bounds {
        leased: true,
        ..synchronous(name, most)
    }
}

fn main() -> ExitCode {
    let clock = Clock::start();
    let deep = std::env::args().any(|argument| argument == "DEEP");
    let more = DEEP.iter().filter(|_| deep);
    let whole: Vec<_> = ALWAYS.iter().chain(more).map(goes_through).collect();
    let found: Vec<_> = FAULTS.iter().map(|(fault, at)| finds(*fault, at)).collect();
    println!("model: {} s", clock.passed().as_secs());
    if whole.into_iter().chain(found).all(|good| good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// All worlds within the bounds keep every invariant, and moves end in some of them.
fn goes_through(bounds: &Bounds) -> bool {
    let clock = Clock::start();
    let checker = bounds.checker().threads(processors()).spawn_bfs().join();
    println!(
        "{}: {} worlds, {} steps, at most {} after another, {} s",
        bounds.name,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        clock.passed().as_secs()
    );
    let found = checker.discoveries();
    let mut good = true;
    for Property {
        expectation, name, ..
    } in bounds.properties()
    {
        let path = found.get(name);
        let always = matches!(expectation, stateright::Expectation::Always);
        if let Some(path) = path.filter(|_| always) {
            println!("broken: {name}\n  {:?}", path.clone().into_actions());
            good = false;
        }
        if !always && path.is_none() && bounds.reaches(name) {
            println!("never reached: {name}");
            good = false;
        }
    }
    good
}

/// The fault breaks an invariant.
fn finds(fault: Fault, bounds: &Bounds) -> bool {
    let broken = Bounds { fault, ..*bounds };
    let checker = broken
        .checker()
        .threads(processors())
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let always = |property: &Property<Bounds>| {
        matches!(property.expectation, stateright::Expectation::Always)
    };
    let by = broken.properties().into_iter().filter(always);
    let by = by
        .map(|property| property.name)
        .find(|name| found.contains_key(name));
    println!(
        "{fault:?}, in \"{}\": {} after {} worlds",
        bounds.name,
        by.unwrap_or("NOT FOUND"),
        checker.unique_state_count()
    );
    by.is_some()
}
