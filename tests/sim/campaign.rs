//! Many seeds on all processors, until they or the time are over, or something breaks.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::coverage::Coverage;
use crate::fault::Fault;
use crate::mutants::Machine;
use crate::run::seeded;

/// Every so many seeds one is run twice: equal seeds give equal traces.
const TWICE: u64 = 50;

/// A seed that broke something.
#[derive(Debug)]
pub(crate) struct Failure {
    pub seed: u64,
    pub faults: Vec<Fault>,
    pub broken: String,
}

/// How long to go on: for so many seeds, which is the same on each machine, or for so long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    Seeds(u64),
    For(u64, Duration),
}

/// Most failures that are looked for.
const FAILURES: usize = 3;

/// Runs seeds as planned, or until some of them failed.
pub(crate) fn seeds(clock: Clock, machine: Machine, plan: Plan) -> (Coverage, Vec<Failure>) {
    let (first, end, until) = match plan {
        Plan::Seeds(count) => (0, count, Duration::MAX),
        Plan::For(first, time) => (first, u64::MAX, clock.passed() + time),
    };
    let (next, over) = (AtomicU64::new(first), AtomicBool::new(false));
    let total = Mutex::new((Coverage::default(), Vec::new()));
    let work = || {
        let mut coverage = Coverage::default();
        while !over.load(Ordering::Relaxed) && clock.passed() < until {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            let (faults, outcome) = seeded(seed, machine);
            coverage.add(&outcome.coverage);
            let again = (seed % TWICE == 0).then(|| seeded(seed, machine).1.trace);
            let broken = if again.is_some_and(|trace| trace != outcome.trace) {
                Some("repeat: one seed gave two traces".to_owned())
            } else {
                outcome.broken
            };
            if let Some(broken) = broken {
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.1.push(Failure {
                    seed,
                    faults,
                    broken,
                });
                over.fetch_or(total.1.len() >= FAILURES, Ordering::Relaxed);
            }
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.add(&coverage);
    };
    thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(work);
        }
    });
    let (coverage, mut failures) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure: &Failure| failure.seed);
    (coverage, failures)
}

pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
