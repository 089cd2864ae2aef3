//! What must hold once all is at rest, and what a run amounts to.

use domicile_core::facts::Role;
use domicile_core::failover::{MoveKind, Proof};

use super::{Checks, Promoted};
use crate::coverage::Coverage;
use crate::world::World;
use crate::world::database::{MEMBERS, Server};
use crate::world::people::index;

impl Checks {
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        let failovers = self
            .promotions
            .iter()
            .filter(|p| p.kind == MoveKind::Failover)
            .count();
        coverage.failovers += failovers as u64;
        coverage.planned += (self.promotions.len() - failovers) as u64;
        let expired = |p: &&Promoted| p.proof == Proof::LeaseExpired;
        coverage.lease_expired = self.promotions.iter().filter(expired).count() as u64;
        coverage.overlap = self.overlap;
        coverage.returns = self.returns;
    }

    /// I13: at rest nothing is written, heartbeats aside. I3: the Secret is of the policy. I1: one
    /// server takes writes.
    pub(crate) fn at_rest(&self, world: &World) -> Result<(), String> {
        if self.last_row_change.max(self.last_setting) + 5_000 > world.now {
            return Err("I13: at rest, and rows or settings are written".into());
        }
        let secret = world.hub.secret;
        let stored = &world.hub.policy.stored;
        if (secret.region, secret.epoch) != (index(&stored.active), stored.epoch) {
            return Err(format!(
                "I3: at rest, and {secret:?} is not of {}",
                stored.epoch
            ));
        }
        let open = |other: &&Server| {
            let primary = other.at < MEMBERS && other.role == Role::Primary;
            let writes = other.row().writable || !other.sessions.is_empty();
            other.at != secret.region && primary && other.answers(world.now) && writes
        };
        match world.servers.iter().find(open) {
            Some(other) => Err(format!("I1: at rest, and server {} takes writes", other.at)),
            None => Ok(()),
        }
    }
}
