//! Who takes out again what was injected: a controller that writes whole workloads. The same is
//! written ever later then, so that its pods are not replaced for ever, and it is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_core::time::Mono;
use kube::ResourceExt;
use kube::api::DynamicObject;

/// Most workloads that are remembered; beyond it the count starts anew.
const LIMIT: usize = 4096;
/// The same may be written this often at once: a person, or a pipeline, replaces a workload.
const FEW: u32 = 3;
/// How long the next write waits after those, and after more.
const RESTS_MS: [u64; 3] = [30_000, 120_000, 300_000];
/// What was written before and held so long is another story. Longer than a rest and a pass.
const WINDOW_MS: u64 = 900_000;

/// What was written to workloads, by a number for each workload.
#[derive(Debug, Default)]
pub(super) struct Writes {
    known: Mutex<BTreeMap<u64, Written>>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    /// A number for what it was.
    of: u64,
    times: u32,
    last: Mono,
}

impl Writes {
    /// It was written once more.
    pub(super) fn written(&self, workload: u64, of: u64, now: Mono) {
        let recent = |one: &Written| now.since(one.last) < WINDOW_MS;
        let mut known = self.lock();
        if known.len() >= LIMIT {
            known.retain(|_, one| recent(one));
        }
        if known.len() >= LIMIT {
            known.clear();
        }
        let before = known.get(&workload);
        let before = before.filter(|one| one.of == of && recent(one));
        let times = before.map_or(0, |one| one.times).saturating_add(1);
        let last = now;
        known.insert(workload, Written { of, times, last });
    }

    /// How often the same was written, where it must wait before it is written again.
    pub(super) fn rests(&self, workload: u64, of: u64, now: Mono) -> Option<u32> {
        let known = self.lock();
        let one = known.get(&workload).filter(|one| one.of == of)?;
        let beyond = usize::try_from(one.times.checked_sub(FEW)?).unwrap_or(usize::MAX);
        let rest = RESTS_MS.get(beyond).or(RESTS_MS.last())?;
        (now.since(one.last) < *rest).then_some(one.times)
    }

    /// It was taken out by ourselves.
    pub(super) fn forget(&self, workload: u64) {
        self.lock().remove(&workload);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Written>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a workload belongs to, who is likely to write it. Who took something out leaves no trace on
/// it: a manager is recorded for what is there.
pub(super) fn controller(live: &DynamicObject) -> Option<String> {
    let mut owners = live.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(format!("{} {}", owner.kind, owner.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_is_written_ever_later() {
        let writes = Writes::default();
        let mut now = 1_000;
        for _ in 0..FEW {
            assert_eq!(writes.rests(7, 1, Mono(now)), None);
            writes.written(7, 1, Mono(now));
        }
        for (times, rest) in (FEW..).zip([30_000, 120_000, 300_000, 300_000]) {
            assert_eq!(writes.rests(7, 1, Mono(now + rest - 1)), Some(times));
            now += rest;
            assert_eq!(writes.rests(7, 1, Mono(now)), None);
            writes.written(7, 1, Mono(now));
        }
        assert_eq!(writes.rests(8, 1, Mono(now)), None, "another workload");
        assert_eq!(writes.rests(7, 2, Mono(now)), None, "another Secret");
        writes.written(7, 1, Mono(now + WINDOW_MS));
        assert_eq!(writes.rests(7, 1, Mono(now + WINDOW_MS)), None, "it held");
        for _ in 0..FEW {
            writes.written(9, 1, Mono(now));
        }
        assert_eq!(writes.rests(9, 1, Mono(now)), Some(FEW));
        writes.forget(9);
        assert_eq!(writes.rests(9, 1, Mono(now)), None, "we took it out");
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let writes = Writes::default();
        for workload in 0..=LIMIT as u64 {
            writes.written(workload, 1, Mono(1));
        }
        assert_eq!(writes.lock().len(), 1);
    }

    #[test]
    fn whom_it_belongs_to_is_named() {
        let owner = |kind: &str, controller: bool| -> serde_json::Value {
            json!({
                "apiVersion": "example.com/v1", "kind": kind, "name": "main", "uid": kind,
                "controller": controller,
            })
        };
        let owned = |owners: serde_json::Value| -> DynamicObject {
            let metadata = json!({ "name": "api", "ownerReferences": owners });
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let both = owned(json!([owner("Project", false), owner("Kafka", true)]));
        assert_eq!(controller(&both).as_deref(), Some("Kafka main"));
        assert_eq!(controller(&owned(json!([owner("Project", false)]))), None);
    }
}
