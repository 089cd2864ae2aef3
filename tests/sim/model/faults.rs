//! Seeded faults: a model that finds nothing when something is wrong shows nothing.

use domicile_core::facts::Authority;
use domicile_core::failover::{Answer, Decision, Look, Observation, Proof, State, decide};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// A write of the policy or the lease replaces whatever is there.
    NoCompareAndSwap,
    /// Statements do not look at the authority row.
    RowsUnchecked,
    /// Every fence is believed at once.
    BelievesFences,
    /// Whatever the proof is, it is taken for enough.
    AnyProof,
    /// The wait for the lease is over at once.
    NoLeaseWait,
    /// An agent that lost everything goes on.
    AgentsNeverFence,
    /// An abandoned move and the next one have the same epoch.
    KeepsEpoch,
}

impl Fault {
    /// The machine with this fault.
    pub(crate) fn decide(self) -> fn(&Observation) -> Decision {
        match self {
            Self::Nothing
            | Self::NoCompareAndSwap
            | Self::RowsUnchecked
            | Self::AgentsNeverFence => decide,
            Self::BelievesFences => believes_fences,
            Self::AnyProof => any_proof,
            Self::NoLeaseWait => no_lease_wait,
            Self::KeepsEpoch => keeps_epoch,
        }
    }
}

fn on(seen: &Observation, change: impl FnOnce(&mut Observation)) -> Decision {
    let mut blind = seen.clone();
    change(&mut blind);
    decide(&blind)
}

fn believes_fences(seen: &Observation) -> Decision {
    let (epoch, fencing) = (seen.stored.epoch, seen.stored.state == State::Fencing);
    let from = seen.journal().map(|journal| journal.from.clone());
    on(seen, |blind| {
        let old = from.and_then(|from| blind.servers.get_mut(&from));
        if let Some(facts) = old.filter(|_| fencing).and_then(|old| old.facts.as_mut()) {
            facts.authority = Some(Authority {
                epoch,
                writable: false,
            });
            (facts.tenant_sessions, facts.open_logins) = (0, 0);
        }
    })
}

fn any_proof(seen: &Observation) -> Decision {
    on(seen, |blind| blind.settings.minimum_proof = Proof::Assumed)
}

fn no_lease_wait(seen: &Observation) -> Decision {
    on(seen, |blind| {
        if let Look::There(lease) = &mut blind.lease {
            let wait = lease.record.terms.wait_ms();
            lease.renewed.0 = lease.renewed.0.saturating_sub(wait);
            blind.ages.outage.known_ms += wait;
        }
    })
}

fn keeps_epoch(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if let Answer::Move(next) = &mut decision.answer {
        next.epoch = seen.stored.epoch;
    }
    decision
}
