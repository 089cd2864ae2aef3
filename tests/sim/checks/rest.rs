//! What must hold once all is at rest, and what a run amounts to.

use domicile_core::failover::{MoveKind, Proof};

use super::{Checks, Promoted};
use crate::coverage::Coverage;
use crate::world::World;
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

    /// I13: at rest nothing is written, heartbeats aside.
    pub(crate) fn at_rest(&self, world: &World) -> Result<(), String> {
        if self.last_row_change + 5_000 > world.now {
            return Err("I13: at rest, and rows are written".into());
        }
        let secret = world.hub.secret;
        let stored = &world.hub.policy.stored;
        if (secret.region, secret.epoch) != (index(&stored.active), stored.epoch) {
            return Err(format!(
                "I3: at rest, and {secret:?} is not of {}",
                stored.epoch
            ));
        }
        Ok(())
    }
}
