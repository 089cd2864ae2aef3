//! What the failover controller remembers between two passes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_core::failover::{Ages, InSync, Moments, Observation, Stored};
use domicile_core::names::ServerId;
use domicile_core::time::{Mono, Now};

use crate::leases::sightings::Sightings;

/// How long a Job that was refused is not asked for again, in milliseconds.
const REFUSED_MS: u64 = 15_000;

/// Rest before an old primary that takes writes after a fence is fenced again, in milliseconds:
/// the fence may wait for it as long as a probe does, and all else waits with it.
const FENCED_MS: u64 = 5_000;

/// Rest before an old primary that is reported is asked again, in milliseconds: it may not answer,
/// and the pass waits for it.
const EXAMINED_MS: u64 = 30_000;

/// What this process remembers between two passes: nothing that must survive it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How the home server was seen to stream from the active one, by policy.
    pub(super) in_sync: Mutex<BTreeMap<String, InSync>>,
    /// When this process first knew of what is stored, by policy.
    moments: Mutex<BTreeMap<String, Moments>>,
    /// When a policy's state or servers were changed last: older samples show what was before.
    changed: Mutex<BTreeMap<String, Mono>>,
    /// When a server was last asked to be rejoined, by policy and server.
    asked: Mutex<BTreeMap<(String, ServerId), Mono>>,
    /// Why the Job of a copy could not be made, and when, by policy and server.
    refused: Mutex<BTreeMap<(String, ServerId), (Mono, String)>>,
    /// When an old primary that is reported was last asked what its report lacks, by policy and
    /// server.
    examined: Mutex<BTreeMap<(String, ServerId), Mono>>,
    /// When a server was last fenced while no move was under way, and whether it takes writes in
    /// spite of that, by policy and server.
    fenced: Mutex<BTreeMap<(String, ServerId), (Mono, bool)>>,
    /// When leases and promises were seen to change.
    pub(super) sightings: Sightings,
}

impl Memory {
    pub(super) fn note_change(&self, policy: &str, now: Mono) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert(policy.to_owned(), now);
    }

    pub(super) fn ages(&self, policy: &str, stored: &Stored, now: Now) -> Ages {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments
            .entry(policy.to_owned())
            .or_default()
            .ages(stored, now)
    }

    /// Notes what is about to be stored.
    pub(super) fn note_storing(&self, seen: &Observation, next: &Stored) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let known = moments.entry(seen.settings.name.clone()).or_default();
        known.storing(&seen.stored, next, seen.now);
    }

    pub(super) fn note_asked(&self, policy: &str, server: &ServerId, now: Mono) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert((policy.to_owned(), server.clone()), now);
    }

    /// A newer report is rejoined anew, and told anew.
    pub(super) fn forget_asked(&self, policy: &str) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|(of, _), _| of != policy);
    }

    /// Notes a fence while no move was under way, and whether it was `done`.
    pub(super) fn note_fence(&self, policy: &str, server: &ServerId, now: Mono, done: bool) {
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (policy.to_owned(), server.clone());
        let again = |(last, _): &(Mono, bool)| now.since(*last) < FENCED_MS;
        let resists = !done || fenced.get(&place).is_some_and(again);
        fenced.insert(place, (now, resists));
    }

    /// Whether a fence of it failed a moment ago, or was needed twice.
    pub(super) fn resists(&self, policy: &str, server: &ServerId, now: Mono) -> bool {
        let fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let last = fenced.get(&(policy.to_owned(), server.clone()));
        last.is_some_and(|(last, resists)| *resists && now.since(*last) < FENCED_MS)
    }

    /// Notes why the Job of a copy could not be made.
    pub(super) fn note_refused(&self, policy: &str, server: &ServerId, now: Mono, why: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert((policy.to_owned(), server.clone()), (now, why));
    }

    /// Why the Job of a copy could not be made a while ago: it is tried again after that.
    pub(super) fn refused(&self, policy: &str, server: &ServerId, now: Mono) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = refused.get(&(policy.to_owned(), server.clone()))?;
        (now.since(*at) < REFUSED_MS).then(|| why.clone())
    }

    /// Forgets a policy that is gone.
    pub(super) fn forget(&self, policy: &str) {
        self.forget_asked(policy);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|(of, _), _| of != policy);
        let mut in_sync = self.in_sync.lock().unwrap_or_else(PoisonError::into_inner);
        in_sync.remove(policy);
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.remove(policy);
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.remove(policy);
        let mut examined = self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        examined.retain(|(of, _), _| of != policy);
    }

    /// True, and noted, when an old primary was not asked for a while what its report lacks.
    pub(super) fn examines(&self, policy: &str, server: &ServerId, now: Mono) -> bool {
        let mut examined = self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (policy.to_owned(), server.clone());
        let lately = examined
            .get(&key)
            .is_some_and(|at| now.since(*at) < EXAMINED_MS);
        if !lately {
            examined.insert(key, now);
        }
        !lately
    }

    pub(super) fn last_asked(&self, policy: &str, server: &ServerId) -> Option<Mono> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(policy.to_owned(), server.clone())).copied()
    }

    pub(super) fn last_change(&self, policy: &str) -> Option<Mono> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.get(policy).copied()
    }
}
