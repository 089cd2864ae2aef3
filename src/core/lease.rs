//! Write leases and promises: what they say, and how long each side may rely on them.
//!
//! Two kinds of record, each changed only by compare-and-swap. The *write lease* lies in the hub:
//! the agent of the primary's region renews it, and the hub ends it by taking it for the next
//! epoch. A *promise* lies in each standby's own region: only while the hub is silent the agent
//! lives on by renewing all of them, and the hub needs the permit of the one that it promotes. The
//! two sets meet in every case, so two regions need no third store. A holder counts from *sending*
//! its write, a taker from when it *saw* the last one, each on its own clock (Gray and Cheriton,
//! "Leases", 1989); clocks of two machines are never compared.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::facts::Epoch;
use crate::names::RegionName;
use crate::time::{Mono, Now};

/// What a taker adds for clocks that run at different rates: a tenth of the lease, and this.
const MARGIN_MS: u64 = 3_000;

/// How long a lease holds, and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a holder may rely on a renewal, in seconds.
    pub lease_seconds: u32,
    /// Seconds between two renewals.
    pub renew_seconds: u32,
}

impl Terms {
    /// How long a holder may rely on a renewal, in milliseconds from sending it.
    pub fn lease_ms(self) -> u64 {
        u64::from(self.lease_seconds) * 1_000
    }

    /// When a holder that could not renew begins to fence its own server, in milliseconds from
    /// sending its last renewal: a third of the lease is left for doing it.
    pub fn fence_after_ms(self) -> u64 {
        self.lease_ms() / 3 * 2
    }

    /// How long a taker waits after the last renewal that it saw, in milliseconds.
    pub fn wait_ms(self) -> u64 {
        self.lease_ms() / 10 * 11 + MARGIN_MS
    }

    /// The same in whole seconds.
    pub fn wait_seconds(self) -> u32 {
        u32::try_from(self.wait_ms().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Milliseconds between two renewals.
    pub fn renew_ms(self) -> u64 {
        u64::from(self.renew_seconds) * 1_000
    }

    /// How old the last renewal of a living agent may look, in milliseconds: two renewals, and what
    /// a busy machine adds; never as much as a taker waits.
    pub fn fresh_ms(self) -> u64 {
        (self.renew_ms() * 2 + MARGIN_MS).min(self.lease_ms())
    }
}

/// What an agent took upon itself with its last renewal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pledge {
    /// Its region.
    pub region: RegionName,
    /// The epoch that it renewed.
    pub epoch: Epoch,
    /// The standbys that may be promoted once it is silent. It fences its server before that.
    pub members: BTreeSet<RegionName>,
    /// While the hub is silent it may live on by promises of all members: whoever promotes one of
    /// them needs that one's permit. It has given each of them for this epoch once, and lately read
    /// it there.
    pub promises: bool,
}

/// The record of the write lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WriteLease {
    /// The newest epoch that the hub wrote.
    pub epoch: Epoch,
    /// The region that may write, or, once taken, the one that is to be promoted.
    pub holder: RegionName,
    /// The standbys that may be promoted under it. With none the lease is disarmed: no primary
    /// fences itself.
    pub members: BTreeSet<RegionName>,
    /// How long it holds: both sides count by what is written here.
    pub terms: Terms,
    /// The hub has ended it: no renewal of an older epoch can succeed any more.
    pub taken: bool,
    /// The last renewal. Kept when the lease is taken, gone when it is offered anew.
    pub pledge: Option<Pledge>,
}

impl WriteLease {
    /// A lease that `holder` may renew.
    pub fn offer(
        epoch: Epoch,
        holder: RegionName,
        members: BTreeSet<RegionName>,
        terms: Terms,
    ) -> Self {
        Self {
            epoch,
            holder,
            members,
            terms,
            taken: false,
            pledge: None,
        }
    }

    /// The same lease, ended for the promotion of `target` under `epoch`.
    #[must_use]
    pub fn taken_for(&self, epoch: Epoch, target: &RegionName) -> Self {
        Self {
            epoch,
            holder: target.clone(),
            taken: true,
            ..self.clone()
        }
    }

    /// The pledge that is in force: of the holder, for this very offer.
    pub fn in_force(&self) -> Option<&Pledge> {
        self.pledge.as_ref().filter(|pledge| {
            !self.taken
                && pledge.region == self.holder
                && pledge.epoch == self.epoch
                && pledge.members == self.members
                && !self.members.is_empty()
        })
    }
}

/// A promise: what a standby's own region holds for the primary or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Promise {
    /// The epoch of the last writer of this record.
    pub epoch: Epoch,
    /// The hub may promote this standby under `epoch`. No promise for an older epoch can be given.
    pub permitted: bool,
}

impl Promise {
    /// As an agent gives it for `epoch`.
    pub fn given(epoch: Epoch) -> Self {
        let permitted = false;
        Self { epoch, permitted }
    }

    /// The record once an agent has renewed it for `epoch`; `None` when it must not.
    pub fn renewed(before: Option<Self>, epoch: Epoch) -> Option<Self> {
        let free = before
            .is_none_or(|held| held.epoch < epoch || (held.epoch == epoch && !held.permitted));
        free.then(|| Self::given(epoch))
    }

    /// The record once the hub may promote under `epoch`; `None` when a newer epoch holds it.
    pub fn permit(before: Option<Self>, epoch: Epoch) -> Option<Self> {
        let free = before.is_none_or(|held| held.epoch <= epoch);
        free.then_some(Self {
            epoch,
            permitted: true,
        })
    }

    /// An agent gave it under this pledge, and nobody else since but the hub, which permits only
    /// where it saw that. Otherwise it lies in another cluster than the one that the agent means.
    pub fn is_of(self, pledge: &Pledge) -> bool {
        if self.permitted {
            self.epoch > pledge.epoch
        } else {
            self.epoch == pledge.epoch
        }
    }

    /// True when the hub may promote under `epoch`.
    pub fn permits(self, epoch: Epoch) -> bool {
        self.permitted && self.epoch == epoch
    }
}

/// When a renewal was sent, on both clocks: a machine that was suspended may count on neither
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sent {
    /// On the boot clock.
    pub mono: Mono,
    /// On the wall clock.
    pub wall: Timestamp,
}

impl Sent {
    /// At this moment.
    pub fn at(now: Now) -> Self {
        Self {
            mono: now.mono,
            wall: now.wall,
        }
    }

    /// Milliseconds since, by the clock that says more. A wall clock that went back says nothing.
    pub fn age_ms(self, now: Now) -> u64 {
        let wall = now.wall.as_millisecond() - self.wall.as_millisecond();
        now.mono
            .since(self.mono)
            .max(u64::try_from(wall).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        lease_seconds: 30,
        renew_seconds: 10,
    };

    /// Faults: 78.
    #[test]
    fn a_holder_has_fenced_itself_before_a_taker_may_act() {
        assert_eq!(TERMS.fence_after_ms(), 20_000);
        assert_eq!(TERMS.wait_ms(), 36_000);
        assert_eq!(TERMS.wait_seconds(), 36);
        // A holder's clock that is slow by a tenth still ends before the taker's wait does.
        assert!(TERMS.lease_ms() * 11 / 10 < TERMS.wait_ms());
    }

    #[test]
    fn a_promise_and_a_permit_of_the_next_epoch_exclude_each_other() {
        let given = Promise::renewed(None, Epoch(4));
        assert_eq!(Promise::renewed(given, Epoch(4)), given);
        let permit = Promise::permit(given, Epoch(5));
        assert!(permit.is_some_and(|p| p.permits(Epoch(5))));
        assert_eq!(Promise::renewed(permit, Epoch(4)), None);
        assert_eq!(Promise::renewed(permit, Epoch(5)), None);
        let next = Promise::renewed(permit, Epoch(6));
        assert!(next.is_some_and(|p| !p.permitted));
        assert_eq!(Promise::permit(next, Epoch(5)), None);
    }

    #[test]
    fn a_pledge_counts_for_the_offer_that_it_answers() {
        let members: BTreeSet<RegionName> = ["central".into()].into();
        let mut lease = WriteLease::offer(Epoch(4), "west".into(), members.clone(), TERMS);
        assert_eq!(lease.in_force(), None);
        lease.pledge = Some(Pledge {
            region: "west".into(),
            epoch: Epoch(4),
            members,
            promises: false,
        });
        assert!(lease.in_force().is_some());
        let taken = lease.taken_for(Epoch(5), &"central".into());
        assert_eq!(taken.in_force(), None);
        assert_eq!(taken.pledge, lease.pledge);
        lease.members.clear();
        assert_eq!(lease.in_force(), None);
    }

    /// Faults: 51.
    #[test]
    fn the_clock_that_says_more_counts() {
        let at = |mono, wall| Now {
            mono: Mono(mono),
            wall: Timestamp::from_millisecond(wall).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        let sent = Sent::at(at(1_000, 50_000));
        assert_eq!(sent.age_ms(at(3_000, 50_500)), 2_000);
        assert_eq!(sent.age_ms(at(3_000, 59_000)), 9_000);
        assert_eq!(sent.age_ms(at(3_000, 40_000)), 2_000);
    }
}
