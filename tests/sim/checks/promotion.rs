//! What must hold when a standby becomes a primary.

use std::collections::BTreeSet;

use domicile_core::facts::{Epoch, Role};
use domicile_core::failover::{Accept, Journal, LossBound, MoveKind, Proof, State, Stored};

use super::{Checks, Promoted};
use crate::fault::Ms;
use crate::setup::Setup;
use crate::world::database::{HOME, Server};
use crate::world::hub::Hub;
use crate::world::people::index;

impl Checks {
    /// I2, I6, I4, I5, I8, I9, I10, G6, G9 at the promotion itself.
    pub(crate) fn promotes(
        &mut self,
        now: Ms,
        at: usize,
        epoch: Epoch,
        setup: &Setup,
        servers: &[Server],
        hub: &Hub,
    ) {
        let stored = &hub.policy.stored;
        let journal = match Self::journal_of(at, epoch, stored) {
            Ok(journal) => journal.clone(),
            Err(text) => return self.fail(text),
        };
        let proof = journal.proof.unwrap_or(Proof::Assumed);
        if let Some(before) = self.promotions.iter().find(|p| p.epoch == epoch) {
            let text = format!(
                "I2: servers {} and {at} promoted under epoch {epoch}",
                before.at
            );
            self.fail(text);
        }
        if setup.law(at) != setup.law(HOME) {
            self.fail("I4: a server under another law was promoted");
        }
        let from = &servers[index(&journal.from)];
        if from.role == Role::Primary && servers[at].timeline < from.timeline {
            self.fail("I6: the promoted server is on an older timeline than the one it follows");
        }
        if journal.kind != MoveKind::Failover && journal.proof != Some(Proof::Confirmed) {
            self.fail("I8: a planned move without a confirmed fence");
        }
        self.permitted(setup, &journal, proof);
        self.judges_loss(now, &servers[at], &journal, proof);
        let unasked = journal.automatic && journal.kind == MoveKind::Failover;
        if unasked && self.only_operators {
            self.fail("needless: a failover, and no server had a fault");
        }
        self.promotions.push(Promoted {
            epoch,
            at,
            when: now,
            proof,
            kind: journal.kind,
            hole: self.relaxed_unread(index(&journal.from)),
        });
    }

    /// The machine goes on with a server that a person promoted: it answers for nothing of that.
    pub(crate) fn takes_up(&mut self, now: Ms, server: &Server, epoch: Epoch) {
        let held: BTreeSet<u32> = server.log.iter().filter_map(|entry| entry.commit).collect();
        self.acknowledged.retain(|a| held.contains(&a.commit));
        self.promotions.push(Promoted {
            epoch,
            at: server.at,
            when: now,
            proof: Proof::Assumed,
            kind: MoveKind::Failover,
            hole: false,
        });
    }

    fn journal_of(at: usize, epoch: Epoch, stored: &Stored) -> Result<&Journal, String> {
        let state = stored.state;
        if stored.epoch != epoch || !matches!(state, State::Promoting | State::Halted) {
            return Err(format!(
                "I10: promoted under epoch {epoch} while the policy is {state} at epoch {}",
                stored.epoch
            ));
        }
        let journal = stored
            .journal
            .as_ref()
            .ok_or("I10: promoted without a journal")?;
        if index(&journal.to) != at {
            return Err("I10: the journal names another server than was promoted".into());
        }
        Ok(journal)
    }

    /// What the policy allows without being asked, and what somebody accepted by name.
    fn permitted(&mut self, setup: &Setup, journal: &Journal, proof: Proof) {
        let accepts = |what| journal.accept.contains(&what);
        let settings = &setup.settings;
        if proof < settings.minimum_proof && !accepts(Accept::UnprovenFencing) {
            self.fail(format!("G9: promoted on {proof}"));
        }
        let loss = journal.loss.unwrap_or(LossBound::Unknown);
        let limit = LossBound::Seconds(settings.max_data_loss_seconds);
        if loss > limit && !accepts(Accept::DataLoss) {
            self.fail(format!("G6: promoted with a loss bound of {loss}"));
        }
    }

    /// I5: what was acknowledged and is missing is no older than the bound that was decided on.
    fn judges_loss(&mut self, now: Ms, server: &Server, journal: &Journal, proof: Proof) {
        let held: BTreeSet<u32> = server.log.iter().filter_map(|entry| entry.commit).collect();
        let mut lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|a| !held.contains(&a.commit))
            .copied()
            .collect();
        // Case 21 of `failover.md`, as in `acknowledges`.
        lost.retain(|a| !(a.back && proof == Proof::LeaseExpired));
        self.acknowledged.retain(|a| held.contains(&a.commit));
        let Some(oldest) = lost.iter().map(|a| a.at).min() else {
            return;
        };
        let decided = if self.bounded_at == 0 {
            now
        } else {
            self.bounded_at
        };
        // What a lease ends, ends before the promotion: the bound runs back from the last write.
        let newest = lost.iter().map(|a| a.at).max().unwrap_or(decided);
        let until = if proof == Proof::LeaseExpired {
            newest
        } else {
            decided
        };
        let age = until.saturating_sub(oldest).div_ceil(1000);
        match journal.loss {
            None => self.fail("I5: promoted without a loss bound"),
            Some(LossBound::Unknown) => {}
            Some(LossBound::Seconds(bound)) => {
                // Clocks may drift by a thousandth.
                if bound == 0 || age > u64::from(bound) + 1 {
                    self.fail(format!(
                        "I5: lost {} writes, the oldest {age} s old, bound {bound} s, {proof}",
                        lost.len()
                    ));
                }
            }
        }
    }
}
