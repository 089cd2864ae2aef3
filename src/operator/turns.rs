//! Turns at the database servers, and at the clusters of regions: one that does not answer must not
//! hold up the tenants of all others. The rules are `domicile_core::turns`.

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

/// A placement may work on a server until this is dropped.
pub struct Turn<'a> {
    ctx: &'a Ctx,
    server: ServerId,
    key: Key,
    heard: Option<bool>,
}

impl Turn<'_> {
    /// What the server said, if anything.
    pub fn heard(&mut self, answered: Option<bool>) {
        self.heard = answered.or(self.heard);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self {
            ctx,
            server,
            key,
            heard,
        } = self;
        let now = (limit(ctx), ctx.clock.mono());
        for key in ctx.turns.leave(server, key, *heard, now) {
            ctx.wake.placements.wake(key);
        }
    }
}

impl Ctx {
    /// A turn for the placement `key`, or None: then it is woken when it has one.
    pub fn turn(&self, server: &ServerId, key: Key) -> Option<Turn<'_>> {
        self.turns
            .enter(server, &key, limit(self), self.clock.mono())
            .then(|| Turn {
                ctx: self,
                server: server.clone(),
                key,
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
