//! When this process first saw what: a taker counts from there, on its own clock, and never from a
//! time that another machine wrote.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_core::failover::{Look, Watched};
use domicile_core::lease::Pledge;
use domicile_core::time::Mono;

/// All sightings of this process, by a name of the record.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: Mutex<BTreeMap<String, Sighting>>,
    /// Records that this process could not write, and when it tried.
    refused: Mutex<BTreeMap<String, Mono>>,
}

/// How long a record that could not be written is left alone, in milliseconds.
const REFUSED_MS: u64 = 10_000;

#[derive(Debug, Clone)]
struct Sighting {
    version: String,
    since: Mono,
    renewed: Mono,
    witnessed: bool,
    /// What an agent took upon itself by it.
    pledge: Option<Pledge>,
}

impl Sightings {
    /// Notes what a look has shown. A version that this process did not write itself is a
    /// renewal; a write of its own whose answer was lost counts as one, too, which only makes it
    /// wait longer. It witnessed one when a version of the same `pledge` came before: until then
    /// the replica that gave the pledge may be the only one that knows of it.
    pub fn look<T>(
        &self,
        key: &str,
        found: Option<(T, String)>,
        pledge: impl Fn(&T) -> Option<Pledge>,
        now: Mono,
    ) -> Look<T> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((record, version)) = found else {
            seen.remove(key);
            return Look::Absent;
        };
        let fresh = Sighting {
            version: version.clone(),
            since: now,
            renewed: now,
            witnessed: false,
            pledge: pledge(&record),
        };
        let known = seen.entry(key.to_owned()).or_insert_with(|| fresh.clone());
        if known.version != version {
            let witnessed = known.pledge == fresh.pledge;
            *known = Sighting { witnessed, ..fresh };
        }
        Look::There(Watched {
            record,
            version,
            since: known.since,
            renewed: known.renewed,
            witnessed: known.witnessed,
        })
    }

    /// Notes that a record could not be written, for another reason than that somebody was first.
    pub fn refused(&self, key: &str, now: Mono) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(key.to_owned(), now);
    }

    /// True for a while after that: what cannot be written keeps nothing else waiting.
    pub fn is_refused(&self, key: &str, now: Mono) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused
            .get(key)
            .is_some_and(|at| now.since(*at) < REFUSED_MS)
    }

    /// Notes a version that this process wrote: no renewal.
    pub fn wrote(&self, key: &str, version: String, now: Mono) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What this process made itself nobody has renewed yet.
        let known = seen.get(key);
        let renewed = known.map_or(Mono(0), |known| known.renewed);
        let witnessed = known.is_some_and(|known| known.witnessed);
        let pledge = known.and_then(|known| known.pledge.clone());
        let own = Sighting {
            version,
            since: now,
            renewed,
            witnessed,
            pledge,
        };
        seen.insert(key.to_owned(), own);
    }
}

#[cfg(test)]
mod tests {
    use domicile_core::facts::Epoch;

    use super::*;

    fn times(look: &Look<()>) -> (u64, u64) {
        let there = look.there().unwrap();
        (there.since.0, there.renewed.0)
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_seen_and_an_own_write_is_none() {
        let sightings = Sightings::default();
        let look = |version: &str, now| {
            let found = Some(((), version.to_owned()));
            times(&sightings.look("eu", found, |()| None, Mono(now)))
        };
        assert_eq!(look("1", 10), (10, 10));
        assert_eq!(look("1", 20), (10, 10));
        assert_eq!(look("2", 30), (30, 30));
        sightings.wrote("eu", "3".to_owned(), Mono(40));
        assert_eq!(look("3", 50), (40, 30));
        assert_eq!(look("4", 60), (60, 60));
    }

    #[test]
    fn what_could_not_be_written_is_left_alone_for_a_while() {
        let sightings = Sightings::default();
        assert!(!sightings.is_refused("eu", Mono(10)));
        sightings.refused("eu", Mono(10));
        assert!(sightings.is_refused("eu", Mono(10_009)));
        assert!(!sightings.is_refused("eu", Mono(10_010)));
    }

    #[test]
    fn a_record_of_its_own_making_was_never_renewed() {
        let sightings = Sightings::default();
        sightings.look("eu", None, |()| None, Mono(10));
        sightings.wrote("eu", "1".to_owned(), Mono(20));
        let look = sightings.look("eu", Some(((), "1".to_owned())), |()| None, Mono(30));
        assert_eq!(times(&look), (20, 0));
    }

    #[test]
    fn a_record_that_was_made_anew_is_seen_for_the_first_time() {
        let sightings = Sightings::default();
        sightings.look("eu", Some(((), "1".to_owned())), |()| None, Mono(10));
        assert_eq!(
            sightings.look("eu", None, |()| None, Mono(20)),
            Look::Absent
        );
        let again = sightings.look("eu", Some(((), "1".to_owned())), |()| None, Mono(30));
        assert_eq!(times(&again), (30, 30));
    }

    #[test]
    fn a_first_look_and_an_own_write_witness_no_renewal() {
        let sightings = Sightings::default();
        let look = |version: &str, now| {
            let found = Some(((), version.to_owned()));
            let look = sightings.look("eu", found, |()| None, Mono(now));
            look.there().unwrap().witnessed
        };
        assert!(!look("1", 10) && !look("1", 20));
        sightings.wrote("eu", "2".to_owned(), Mono(25));
        assert!(!look("2", 30));
        assert!(look("3", 40));
        sightings.wrote("eu", "4".to_owned(), Mono(45));
        assert!(look("4", 50), "what was seen before is not forgotten");
    }

    #[test]
    fn a_pledge_counts_once_its_own_renewal_was_seen() {
        let pledge = |epoch| Pledge {
            region: "west".into(),
            epoch: Epoch(epoch),
            members: ["central".into()].into(),
            promises: false,
        };
        let sightings = Sightings::default();
        let look = |version: &str, record: Option<Pledge>| {
            let found = Some((record, version.to_owned()));
            let look = sightings.look("eu", found, Clone::clone, Mono(10));
            look.there().unwrap().witnessed
        };
        sightings.wrote("eu", "1".to_owned(), Mono(5));
        assert!(!look("1", None));
        // Its replica may not have read it yet, and it may die now.
        assert!(!look("2", Some(pledge(4))));
        assert!(look("3", Some(pledge(4))));
        sightings.wrote("eu", "4".to_owned(), Mono(15));
        assert!(!look("5", Some(pledge(5))));
        assert!(look("6", Some(pledge(5))));
    }
}
