//! Turns at the database servers: one server that does not answer must not hold up the tenants of
//! all others. The rules are `domicile_core::turns`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_core::names::ServerId;
use domicile_core::turns::Turns;
use domicile_providers::ProviderError;

use crate::context::Ctx;
use crate::kube::wake::Key;

/// The turns of placements at each server.
#[derive(Debug, Default)]
pub struct ServerTurns(Mutex<BTreeMap<ServerId, Turns<Key>>>);

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
        let mut servers = ctx.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(turns) = servers.get_mut(server) else {
            return;
        };
        let next = turns.leave(key, *heard, limit(ctx), ctx.clock.mono());
        if turns.is_idle() {
            servers.remove(server);
        }
        drop(servers);
        for key in next {
            ctx.wake.placements.wake(key);
        }
    }
}

impl Ctx {
    /// A turn for the placement `key`, or None: then it is woken when it has one.
    pub fn turn(&self, server: &ServerId, key: Key) -> Option<Turn<'_>> {
        let mut servers = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = servers.entry(server.clone()).or_default();
        turns
            .enter(&key, limit(self), self.clock.mono())
            .then(|| Turn {
                ctx: self,
                server: server.clone(),
                key,
                heard: None,
            })
    }
}

/// Most placements at one server: some workers are left for the others.
fn limit(ctx: &Ctx) -> usize {
    let workers = usize::from(ctx.settings.concurrency);
    workers - workers / 4
}

/// Whether an error shows that the server answers; None when it shows neither.
pub fn heard(error: &ProviderError) -> Option<bool> {
    error.is_silence().then_some(false)
}
