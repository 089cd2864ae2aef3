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
    /// After so many seeds, by breaking this.
    pub by: Option<(u64, String)>,
}

impl Found {
    pub(crate) fn is_right(&self) -> bool {
        let by = self.by.as_ref().map(|(_, text)| invariant(text));
        by.is_some_and(|by| self.mutant.breaks.contains(&by))
    }
}

/// Hunts all mutants, each with at most so many seeds.
pub(crate) fn hunt(most: u64) -> Vec<Found> {
    let mutants: Vec<&Mutant> = all().collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let broken = |seed| Some((seed + 1, seeded(seed, mutant.machine).1.broken?));
            let by = (0..most).find_map(broken);
            let mutant = **mutant;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push(Found { mutant, by });
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
