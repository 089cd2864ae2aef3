//! Each seeded fault must be found: a check that finds nothing when something is wrong is none.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::campaign::processors;
use crate::mutants::{Mutant, all};
use crate::run::{invariant, seeded};

/// How one mutant was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub mutant: Mutant,
    /// After so many seeds, by breaking this: one of what it is said to break.
    pub by: Option<(u64, String)>,
    /// So many seeds before that broke something else, as the first did.
    pub other: (u64, Option<String>),
}

impl Mutant {
    /// This is what the fault is said to break.
    fn is_said_to_break(&self, broken: &str) -> bool {
        self.breaks.contains(&invariant(broken))
    }

    /// Seeds until one breaks what this is said to break. A run ends at the first thing that it
    /// breaks: what stands still because of a fault does not show that the fault is seen.
    fn hunted(self, most: u64) -> Found {
        let mut found = Found {
            mutant: self,
            by: None,
            other: (0, None),
        };
        for seed in 0..most {
            let Some(broken) = seeded(seed, self.machine).1.broken else {
                continue;
            };
            if self.is_said_to_break(&broken) {
                found.by = Some((seed + 1, broken));
                break;
            }
            found.other.0 += 1;
            found.other.1.get_or_insert(broken);
        }
        found
    }
}

/// Hunts all mutants, each with at most so many seeds.
pub(crate) fn hunt(most: u64) -> Vec<Found> {
    let mutants: Vec<&Mutant> = all().collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = mutant.hunted(most);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push(one);
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |name| mutants.iter().position(|mutant| mutant.name == name);
    found.sort_by_key(|one: &Found| place(one.mutant.name));
    found
}
