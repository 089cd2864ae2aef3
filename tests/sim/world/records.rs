//! The write lease in the hub and the promises in the regions' own clusters.

use domicile_core::agent::Renewal;
use domicile_core::failover::{Look, Watched};
use domicile_core::lease::{Pledge, Promise, WriteLease};
use domicile_core::time::Mono;

use super::World;
use super::database::MEMBERS;
use super::people::index;

/// What is written by compare-and-swap.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Lease(WriteLease),
    Promise(usize, Promise),
}

/// The versions of all records at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versions {
    pub lease: Option<u64>,
    pub promises: [Option<u64>; MEMBERS],
}

impl Versions {
    pub(crate) fn of(&self, renewal: &Renewal) -> Option<u64> {
        match renewal {
            Renewal::Lease(_) => self.lease,
            Renewal::Promise(region, _) => self.promises[index(region)],
        }
    }
}

/// When an operator's process first saw a version, and the last one that it did not write.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    version: u64,
    since: Mono,
    renewed: Mono,
    witnessed: bool,
    pledge: Option<Pledge>,
}

impl World {
    pub(crate) fn versions(&self) -> Versions {
        Versions {
            lease: self.lease.as_ref().map(|(_, version)| *version),
            promises: self.promises.map(|held| held.map(|(_, version)| version)),
        }
    }

    /// Writes a record if it is still of this version, and answers the new one.
    pub(crate) fn put_record(&mut self, record: Record, version: Option<u64>) -> Result<u64, ()> {
        let versions = self.versions();
        let next = self.hub.next_version();
        match record {
            Record::Lease(lease) if versions.lease == version => {
                self.lease = Some((lease, next));
            }
            Record::Promise(at, promise) if versions.promises[at] == version => {
                self.promises[at] = Some((promise, next));
            }
            Record::Lease(_) | Record::Promise(..) => return Err(()),
        }
        Ok(next)
    }
}

/// Notes what a look has shown, as `leases/sightings.rs` does.
pub(crate) fn look<T>(
    seen: &mut Option<Sighting>,
    found: Option<(T, u64)>,
    pledge: impl Fn(&T) -> Option<Pledge>,
    now: Mono,
) -> Look<T> {
    let Some((record, version)) = found else {
        *seen = None;
        return Look::Absent;
    };
    let pledge = pledge(&record);
    let fresh = Sighting {
        version,
        since: now,
        renewed: now,
        witnessed: seen.as_ref().is_some_and(|known| known.pledge == pledge),
        pledge,
    };
    let known = seen.take().filter(|known| known.version == version);
    let known = seen.insert(known.unwrap_or(fresh));
    Look::There(Watched {
        record,
        version: version.to_string(),
        since: known.since,
        renewed: known.renewed,
        witnessed: known.witnessed,
    })
}

/// Notes a version that this process wrote: no renewal.
pub(crate) fn wrote(seen: &mut Option<Sighting>, version: u64, now: Mono) {
    let known = seen.take();
    *seen = Some(Sighting {
        version,
        since: now,
        renewed: known.as_ref().map_or(now, |known| known.renewed),
        witnessed: known.as_ref().is_some_and(|known| known.witnessed),
        pledge: known.and_then(|known| known.pledge),
    });
}
