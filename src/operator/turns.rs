//! Turns at the database servers, at the clusters of regions, and in namespaces: one that does not
//! answer must not hold up the tenants of all others. The rules are `domicile_core::turns`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_core::names::{RegionName, ServerId};
use domicile_core::time::Mono;
use domicile_core::turns::Turns;
use domicile_providers::ProviderError;

use crate::context::Ctx;
use crate::kube::wake::Key;

/// The turns of placements at each thing of a kind.
#[derive(Debug)]
pub struct TurnsAt<T>(Mutex<BTreeMap<T, Turns<Key>>>);

/// The turns of placements at each server.
pub type ServerTurns = TurnsAt<ServerId>;

/// The turns of placements at the cluster of each region.
pub type ClusterTurns = TurnsAt<RegionName>;

/// The turns of placements in each namespace.
pub type NamespaceTurns = TurnsAt<String>;

impl<T> Default for TurnsAt<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Ord + Clone> TurnsAt<T> {
    /// Whether `key` may work on `thing` now; if not, it is called when it may.
    pub fn enter(&self, thing: &T, key: &Key, limit: usize, now: Mono) -> bool {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = things.entry(thing.clone()).or_default();
        turns.enter(key, limit, now)
    }

    /// `key` is done, and heard an answer or not. Returns who is called.
    pub fn leave(
        &self,
        thing: &T,
        key: &Key,
        heard: Option<bool>,
        (limit, now): (usize, Mono),
    ) -> Vec<Key> {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(turns) = things.get_mut(thing) else {
            return Vec::new();
        };
        let next = turns.leave(key, heard, limit, now);
        if turns.is_idle() {
            things.remove(thing);
        }
        next
    }
}

/// A placement may work on a thing until this is dropped.
pub struct Turn<'a, T: Ord + Clone = ServerId> {
    ctx: &'a Ctx,
    at: &'a TurnsAt<T>,
    thing: T,
    key: Key,
    limit: usize,
    heard: Option<bool>,
}

impl<T: Ord + Clone> Turn<'_, T> {
    /// What the thing said, if anything.
    pub fn heard(&mut self, answered: Option<bool>) {
        self.heard = answered.or(self.heard);
    }
}

impl<T: Ord + Clone> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let now = (self.limit, self.ctx.clock.mono());
        for key in self.at.leave(&self.thing, &self.key, self.heard, now) {
            self.ctx.wake.placements.wake(key);
        }
    }
}

impl Ctx {
    /// A turn for the placement `key`, or None: then it is woken when it has one.
    pub fn turn(&self, server: &ServerId, key: Key) -> Option<Turn<'_>> {
        self.enter(&self.turns, server.clone(), key, limit(self))
    }

    /// A turn in a namespace, as [`Ctx::turn`]: calls may hang in one alone, by a webhook. As long
    /// as it answers all may work there, for they may all be tenants of one that does not hang.
    pub fn visit(&self, namespace: String, key: Key) -> Option<Turn<'_, String>> {
        let workers = usize::from(self.settings.concurrency);
        self.enter(&self.visits, namespace, key, workers)
    }

    fn enter<'a, T: Ord + Clone>(
        &'a self,
        at: &'a TurnsAt<T>,
        thing: T,
        key: Key,
        limit: usize,
    ) -> Option<Turn<'a, T>> {
        at.enter(&thing, &key, limit, self.clock.mono())
            .then(|| Turn {
                ctx: self,
                at,
                thing,
                key,
                limit,
                heard: None,
            })
    }
}

/// Most placements at one server or cluster: some workers are left for the others.
pub fn limit(ctx: &Ctx) -> usize {
    let workers = usize::from(ctx.settings.concurrency);
    workers - workers / 4
}

/// Whether an error shows that the server answers; None when it shows neither.
pub fn heard(error: &ProviderError) -> Option<bool> {
    error.is_silence().then_some(false)
}
