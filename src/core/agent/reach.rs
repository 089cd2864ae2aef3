//! The clusters of the standbys' regions, as an agent can reach them.

use std::collections::BTreeMap;

use crate::lease::{Promise, Terms};
use crate::names::RegionName;
use crate::time::Mono;

/// When an agent last read the promise in each cluster that it was given. That it was given a
/// cluster says nothing: its credentials may be over, or the network closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    asked: Option<Mono>,
    read: BTreeMap<RegionName, (Option<Promise>, Mono)>,
}

impl Reach {
    /// All clusters are to be asked again, although nothing else needs their promises now.
    pub fn is_due(&self, terms: Terms, now: Mono) -> bool {
        let every_ms = terms.renew_ms() / 2;
        self.asked.is_none_or(|asked| now.since(asked) >= every_ms)
    }

    /// Notes what those said that answered, when all were asked.
    pub fn note(&mut self, answers: &BTreeMap<RegionName, Option<Promise>>, now: Mono) {
        self.asked = Some(now);
        for (region, promise) in answers {
            self.read.insert(region.clone(), (*promise, now));
        }
    }

    /// Notes a promise that was written.
    pub fn gave(&mut self, region: &RegionName, promise: Promise, now: Mono) {
        self.read.insert(region.clone(), (Some(promise), now));
    }

    /// What was read within two renewals.
    pub fn lately(&self, terms: Terms, now: Mono) -> BTreeMap<RegionName, Option<Promise>> {
        let read = self.read.iter();
        read.filter(|(_, (_, at))| now.since(*at) <= terms.renew_ms() * 2)
            .map(|(region, (promise, _))| (region.clone(), *promise))
            .collect()
    }
}
