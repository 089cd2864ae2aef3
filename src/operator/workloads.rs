//! Which placements' workloads changed. Their metadata is watched in the whole cluster, where the
//! operator has that right, so that nobody need look for changes (ADR 38).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_api::injection::WorkloadKind;
use domicile_core::time::Mono;

use crate::kube::wake::Key;

mod known;
mod watch;

pub use watch::run;

/// The kinds that are watched.
const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];
/// Shortest time between two wakes of one placement by its workloads, in milliseconds: whoever
/// changes one again and again, as our own writes and controllers do, costs no more passes.
const FLOOR_MS: u64 = 2_000;
/// Most placements that are woken later at once.
const AT_ONCE: usize = 100;

/// How often a placement's workloads were seen to change. Two that are equal mean that nothing
/// changed between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    losses: u64,
    changes: u64,
}

/// What the watches tell of each placement.
#[derive(Default)]
pub struct Workloads(Mutex<State>);

#[derive(Default)]
struct State {
    /// Kinds whose first list is complete, and whose watch was not lost since.
    watched: BTreeSet<WorkloadKind>,
    /// The namespaces that have some of a kind. Absent where only a list tells.
    present: BTreeMap<WorkloadKind, BTreeSet<String>>,
    /// How often a watch was lost.
    losses: u64,
    /// By namespace and name.
    placements: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Who is to be woken when it is no longer too soon.
    waiting: BTreeSet<Key>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Changes of its workloads.
    changes: u64,
    /// When they last woke it.
    woken: Option<Mono>,
}

impl fmt::Debug for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workloads")
            .field("watched", &self.lock().watched)
            .finish_non_exhaustive()
    }
}

impl State {
    fn entry(&mut self, placement: &Key) -> Option<&mut Entry> {
        let namespace = placement.namespace.as_deref().unwrap_or_default();
        self.placements.get_mut(namespace)?.get_mut(&placement.name)
    }
}

impl Entry {
    fn may_wake(&self, now: Mono) -> bool {
        self.woken.is_none_or(|woken| now.since(woken) >= FLOOR_MS)
    }
}

impl Workloads {
    /// Where the placement's workloads are, as far as the watches have told. Absent while a kind is
    /// not watched: then only a look tells. To be asked for before that look, not after.
    pub fn revision(&self, placement: &Key) -> Option<Revision> {
        let mut state = self.lock();
        if state.watched.len() < KINDS.len() {
            return None;
        }
        let losses = state.losses;
        let changes = state.entry(placement)?.changes;
        Some(Revision { losses, changes })
    }

    /// Whether changes of workloads are told.
    pub fn are_watched(&self) -> bool {
        self.lock().watched.len() == KINDS.len()
    }

    /// Whether a namespace may have workloads of a kind: not where the watch would have shown one.
    /// One that is made now is a change, of which the placements there are told.
    pub fn may_have(&self, kind: WorkloadKind, namespace: &str) -> bool {
        let state = self.lock();
        let present = state.present.get(&kind);
        present.is_none_or(|all| all.contains(namespace))
    }

    /// A list of a kind begins, from scratch.
    fn listing(&self, kind: WorkloadKind) {
        self.lock().present.remove(&kind);
    }

    /// A namespace has some of a kind now, or has none any more.
    fn has(&self, kind: WorkloadKind, namespace: &str, some: bool) {
        let mut state = self.lock();
        let Some(present) = state.present.get_mut(&kind) else {
            return;
        };
        if !some {
            present.remove(namespace);
        } else if !present.contains(namespace) {
            present.insert(namespace.to_owned());
        }
    }

    /// There is such a placement.
    pub fn placed(&self, placement: &Key) {
        let namespace = placement.namespace.clone().unwrap_or_default();
        let mut state = self.lock();
        let names = state.placements.entry(namespace).or_default();
        names.entry(placement.name.clone()).or_default();
    }

    /// The placement is gone.
    pub fn gone(&self, placement: &Key) {
        let namespace = placement.namespace.as_deref().unwrap_or_default();
        let mut state = self.lock();
        state.waiting.remove(placement);
        if let Some(names) = state.placements.get_mut(namespace) {
            names.remove(&placement.name);
            if names.is_empty() {
                state.placements.remove(namespace);
            }
        }
    }

    /// All kinds are watched, and there is one placement.
    #[cfg(test)]
    pub(crate) fn of_watched(placement: &Key) -> Self {
        let workloads = Self::default();
        for kind in KINDS {
            workloads.watched(kind, BTreeSet::new());
        }
        workloads.placed(placement);
        workloads
    }

    /// The placements of a namespace.
    fn of(&self, namespace: &str) -> Vec<Key> {
        let state = self.lock();
        let names = state.placements.get(namespace).into_iter().flatten();
        names
            .map(|(name, _)| Key::namespaced(namespace, name))
            .collect()
    }

    /// A workload of the placement is another.
    pub(crate) fn changed(&self, placement: &Key) {
        if let Some(entry) = self.lock().entry(placement) {
            entry.changes += 1;
        }
    }

    /// Whether the placement may be woken now. If not, it is among those that are [`Self::due`]
    /// later.
    fn may_wake(&self, placement: &Key, now: Mono) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.entry(placement) else {
            return false;
        };
        let may = entry.may_wake(now);
        if may {
            entry.woken = Some(now);
        } else {
            state.waiting.insert(placement.clone());
        }
        may
    }

    /// Who waited, and is to be woken now.
    fn due(&self, now: Mono) -> Vec<Key> {
        let mut state = self.lock();
        let mut due = Vec::new();
        for key in std::mem::take(&mut state.waiting) {
            match state.entry(&key) {
                Some(entry) if due.len() < AT_ONCE && entry.may_wake(now) => {
                    entry.woken = Some(now);
                    due.push(key);
                }
                Some(_) => {
                    state.waiting.insert(key);
                }
                None => {}
            }
        }
        due
    }

    /// The list of a kind is complete: there are some in these namespaces, and no others. True
    /// where it was not watched before.
    fn watched(&self, kind: WorkloadKind, namespaces: BTreeSet<String>) -> bool {
        let mut state = self.lock();
        state.present.insert(kind, namespaces);
        state.watched.insert(kind)
    }

    /// A kind is no longer watched: everybody must look again. True where it was watched.
    fn lost(&self, kind: WorkloadKind) -> bool {
        let mut state = self.lock();
        let was = state.watched.remove(&kind);
        state.present.remove(&kind);
        if was {
            state.losses += 1;
            let all = state.placements.iter().flat_map(|(namespace, names)| {
                names
                    .keys()
                    .map(move |name| Key::namespaced(namespace, name))
            });
            let all: Vec<Key> = all.collect();
            state.waiting.extend(all);
        }
        was
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
