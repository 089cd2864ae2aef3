//! What the agent of a region does: renews the write lease of a primary in its region, lives on
//! promises while the hub is silent, and fences its own server before either ends. It never lets
//! anybody in: only the hub gives the right to write.

mod promises;
mod reach;
mod seat;

use std::collections::BTreeMap;

use crate::facts::{Authority, Epoch};
use crate::lease::{Pledge, Promise, Sent, Terms, WriteLease};
use crate::names::RegionName;
use crate::time::Now;

use promises::{first_promises, promises};
pub use reach::Reach;
pub use seat::{knows_its_duty, leaves_seat};

/// What the hub's API server said of the write lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hub {
    /// It did not answer.
    Silent,
    /// It answers; the lease is this, or there is none.
    Says(Option<WriteLease>),
}

/// What the agent's own server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Database {
    /// It did not answer in time.
    Silent,
    /// It is a standby.
    Standby,
    /// It is a primary.
    Primary {
        /// Its authority row.
        row: Option<Authority>,
        /// A tenant's login is open, or a tenant has a session.
        open: bool,
    },
}

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    /// The moment of the look; renewals count from here.
    pub now: Now,
    /// This agent's region.
    pub region: RegionName,
    /// The write lease.
    pub hub: Hub,
    /// The own server.
    pub database: Database,
    /// The promises in the regions whose cluster this agent was given: `None` inside when there is
    /// no record yet. A region that does not answer is absent.
    pub promises: BTreeMap<RegionName, Option<Promise>>,
    /// What this agent lately read in the clusters that it was given, see [`Reach`].
    pub reachable: BTreeMap<RegionName, Option<Promise>>,
    /// The versions of the records that were read.
    pub versions: Versions,
}

/// The version of each record that was read, which every write changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Of the write lease; absent when there is none, or it was not read.
    pub lease: Option<String>,
    /// Of the promises that were read; `None` inside when there is no record yet.
    pub promises: BTreeMap<RegionName, Option<String>>,
}

/// What an agent remembers between two looks. A process that begins has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What it took upon itself, and how long that holds; `None` while nothing obliges it.
    pub pledge: Option<(Pledge, Terms)>,
    /// When its last renewal of the write lease that succeeded was sent; for another replica's, not
    /// later than that.
    pub hub: Option<Sent>,
    /// The same for the promises.
    pub promises: BTreeMap<RegionName, Sent>,
    /// The last reads.
    reads: Reads,
}

/// Which version of each record was read last, and when that read began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Reads {
    lease: Option<(String, Sent)>,
    promises: BTreeMap<RegionName, (Option<String>, Sent)>,
}

impl Reads {
    /// When the last read of the write lease began that showed another version than this look, if
    /// there was one: what this look shows was written after that.
    fn before_lease(&self, seen: &Sight) -> Option<Sent> {
        let (version, read) = self.lease.as_ref()?;
        let now = seen.versions.lease.as_ref()?;
        (now != version).then_some(*read)
    }

    /// The same for the promise of a region.
    fn before_promise(&self, seen: &Sight, region: &RegionName) -> Option<Sent> {
        let (version, read) = self.promises.get(region)?;
        let now = seen.versions.promises.get(region)?;
        (now != version).then_some(*read)
    }

    fn note(&mut self, seen: &Sight) {
        let Versions { lease, promises } = &seen.versions;
        let sent = Sent::at(seen.now);
        if let Some(version) = lease {
            self.lease = Some((version.clone(), sent));
        }
        for (region, version) in promises {
            self.promises
                .insert(region.clone(), (version.clone(), sent));
        }
    }
}

/// A renewal: a record to be written by compare-and-swap on the version that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Renewal {
    /// Of the write lease.
    Lease(WriteLease),
    /// Of the promise in this region.
    Promise(RegionName, Promise),
}

impl Memory {
    /// Takes note of what was read, on every replica of the agent: a pledge that the hub released
    /// is forgotten, one that another replica gave is known from now on. What another replica
    /// renewed counts from the read before, which it came after.
    pub fn note(&mut self, seen: &Sight) {
        let before = std::mem::take(&mut self.reads);
        self.note_lease(seen, &before);
        self.note_promises(seen, &before);
        self.reads = before;
        self.reads.note(seen);
    }

    fn note_lease(&mut self, seen: &Sight, before: &Reads) {
        let Hub::Says(record) = &seen.hub else { return };
        let Some(lease) = record else {
            // Without a record nobody can promote on its expiry.
            *self = Self::default();
            return;
        };
        if self.knows_better(lease) {
            return;
        }
        if disarmed(seen, lease) {
            *self = Self::default();
            return;
        }
        let given = in_force(lease).filter(|(pledge, _)| pledge.region == seen.region);
        if given.is_none() {
            return;
        }
        if given != self.pledge {
            // With or without promises, what the hub confirmed is the same.
            let same = duty(given.clone()) == duty(self.pledge.take());
            *self = Self {
                pledge: given,
                hub: self.hub.filter(|_| same),
                ..Self::default()
            };
        }
        // Only an agent writes a lease with a pledge in force.
        if let Some(sent) = before.before_lease(seen) {
            self.hub = Some(later(self.hub, sent, seen.now));
        }
    }

    fn note_promises(&mut self, seen: &Sight, before: &Reads) {
        let Some((pledge, _)) = self.pledge.as_ref().filter(|(p, _)| p.promises) else {
            return;
        };
        let given = Promise::given(pledge.epoch);
        for (region, promise) in &seen.promises {
            let sent = before.before_promise(seen, region);
            if let Some(sent) = sent.filter(|_| *promise == Some(given)) {
                let known = self.promises.get(region).copied();
                let sent = later(known, sent, seen.now);
                self.promises.insert(region.clone(), sent);
            }
        }
    }

    /// Takes upon itself what `renewal` is about to promise. The write may take effect without an
    /// answer, and the hub would count on it: what is new obliges from before it is sent. It gives
    /// no right before the hub is known to have it: who lives on promises that the hub never heard
    /// of is asked for no permit.
    pub fn sending(&mut self, renewal: &Renewal, seen: &Sight) {
        let Renewal::Lease(record) = renewal else {
            return;
        };
        let promised = in_force(record);
        if promised != self.pledge {
            let promised = duty(promised);
            // An older confirmation ends sooner and stays; the first one counts from here.
            let hub = self.hub.filter(|_| self.pledge.is_some());
            *self = Self {
                pledge: promised,
                hub: Some(hub.unwrap_or_else(|| Sent::at(seen.now))),
                promises: BTreeMap::new(),
                reads: std::mem::take(&mut self.reads),
            };
        }
    }

    /// A hub that was restored from an old copy knows less than this agent.
    fn knows_better(&self, lease: &WriteLease) -> bool {
        let known = self.pledge.as_ref().map(|(pledge, _)| pledge.epoch);
        known.is_some_and(|known| lease.epoch < known)
    }

    /// What is remembered once `renewal`, sent after the look `seen` began, has succeeded.
    pub fn renewed(&mut self, renewal: &Renewal, seen: &Sight) {
        match renewal {
            Renewal::Lease(record) => {
                *self = Self {
                    pledge: in_force(record),
                    hub: Some(Sent::at(seen.now)),
                    promises: BTreeMap::new(),
                    reads: std::mem::take(&mut self.reads),
                };
            }
            Renewal::Promise(region, _) => {
                self.promises.insert(region.clone(), Sent::at(seen.now));
            }
        }
    }

    /// The time is over that a pledge leaves this server for writing without a confirmation. A
    /// process that confirmed nothing, and saw no other do it, cannot know how much is left.
    pub fn is_over(&self, now: Now) -> bool {
        self.pledge.as_ref().is_some_and(|(_, terms)| {
            let age = self.age_ms(now);
            age.is_none_or(|age| age >= terms.fence_after_ms())
        })
    }

    /// Milliseconds since the authority to write was last confirmed: by the hub, or by every
    /// standby's region. `None` when this process never confirmed it.
    fn age_ms(&self, now: Now) -> Option<u64> {
        let hub = self.hub.map(|sent| sent.age_ms(now));
        let pledge = self.pledge.as_ref().map(|(pledge, _)| pledge);
        let pledge = pledge.filter(|pledge| pledge.promises);
        let promised = pledge.and_then(|pledge| {
            let sent = pledge
                .members
                .iter()
                .map(|region| self.promises.get(region));
            let ages: Option<Vec<_>> = sent.map(|sent| Some(sent?.age_ms(now))).collect();
            ages?.into_iter().max()
        });
        match (hub, promised) {
            (Some(hub), Some(promised)) => Some(hub.min(promised)),
            (age, None) | (None, age) => age,
        }
    }
}

/// What to renew after this look. Only while the own server works: a lease is no sign of life of
/// its agent alone.
pub fn renewals(seen: &Sight, memory: &Memory) -> Vec<Renewal> {
    let Database::Primary { row, .. } = seen.database else {
        return Vec::new();
    };
    match heard(seen, memory) {
        Some(lease) if is_mine(seen, lease) => {
            let newer = row.is_some_and(|row| row.epoch > lease.epoch);
            let sent = memory.hub.filter(|_| in_force(lease) == memory.pledge);
            let age = sent.map(|sent| sent.age_ms(seen.now));
            let next = pledged(seen, lease);
            let changed = lease.in_force() != next.pledge.as_ref();
            let due = !newer && (changed || age.is_none_or(|age| age >= lease.terms.renew_ms()));
            let mut renewals = Vec::from_iter(due.then_some(Renewal::Lease(next)));
            // A hub that can be read and not written is as good as silent.
            if age.is_some_and(|age| age >= lease.terms.renew_ms() / 2 * 3) {
                renewals.extend(promises(seen, memory));
            } else if !newer {
                renewals.extend(first_promises(seen, lease));
            }
            renewals
        }
        Some(_) => Vec::new(),
        None => promises(seen, memory),
    }
}

/// The epoch at which the own server must be fenced now, if it must. To be asked after the
/// renewals: what they confirmed counts.
pub fn fence_due(seen: &Sight, memory: &Memory) -> Option<Epoch> {
    // Taken for this very region, the lease ends another's right and not this server's: it is being
    // promoted, and is offered the lease once it serves.
    if let Some(lease) = heard(seen, memory).filter(|lease| lease.holder != seen.region) {
        // The hub gave the right to write to another region.
        return Some(lease.epoch).filter(|epoch| is_open(seen, *epoch));
    }
    let (pledge, _) = memory.pledge.as_ref()?;
    // A server that is being drained is at the hub's next epoch, and its old sessions still write.
    let epoch = match seen.database {
        Database::Primary { row: Some(row), .. } if !row.writable => pledge.epoch.max(row.epoch),
        Database::Primary { .. } | Database::Standby | Database::Silent => pledge.epoch,
    };
    Some(epoch).filter(|epoch| memory.is_over(seen.now) && is_open(seen, *epoch))
}

/// The later of two confirmations.
fn later(known: Option<Sent>, sent: Sent, now: Now) -> Sent {
    known
        .filter(|known| known.age_ms(now) <= sent.age_ms(now))
        .unwrap_or(sent)
}

fn in_force(lease: &WriteLease) -> Option<(Pledge, Terms)> {
    Some((lease.in_force()?.clone(), lease.terms))
}

/// What a pledge obliges to, without the right that it may give.
fn duty(pledge: Option<(Pledge, Terms)>) -> Option<(Pledge, Terms)> {
    let (pledge, terms) = pledge?;
    let promises = false;
    Some((Pledge { promises, ..pledge }, terms))
}

/// Nobody relies on this region's fence. Another region's lease releases nothing, armed or not:
/// this one's server may come back open.
fn disarmed(seen: &Sight, lease: &WriteLease) -> bool {
    lease.members.is_empty() && !lease.taken && lease.holder == seen.region
}

fn is_mine(seen: &Sight, lease: &WriteLease) -> bool {
    lease.holder == seen.region && !lease.taken
}

/// The armed lease, if the hub speaks of one. A hub that knows less than this agent, restored from
/// an old copy, counts as silent.
fn heard<'a>(seen: &'a Sight, memory: &Memory) -> Option<&'a WriteLease> {
    let Hub::Says(record) = &seen.hub else {
        return None;
    };
    record
        .as_ref()
        .filter(|lease| !disarmed(seen, lease) && !memory.knows_better(lease))
}

fn pledged(seen: &Sight, lease: &WriteLease) -> WriteLease {
    let promise = Some(Promise::given(lease.epoch));
    let given = |region: &RegionName| seen.reachable.get(region) == Some(&promise);
    let pledge = Pledge {
        region: seen.region.clone(),
        epoch: lease.epoch,
        members: lease.members.clone(),
        promises: lease.members.iter().all(given),
    };
    WriteLease {
        pledge: Some(pledge),
        ..lease.clone()
    }
}

/// A fence at `epoch` has something to do: no newer epoch holds the server, and it may still take
/// writes. A server that is silent is tried.
fn is_open(seen: &Sight, epoch: Epoch) -> bool {
    match seen.database {
        Database::Standby => false,
        Database::Silent => true,
        Database::Primary { row, open } => row
            .is_none_or(|row| row.epoch < epoch || (row.epoch == epoch && (row.writable || open))),
    }
}

#[cfg(test)]
mod tests;
