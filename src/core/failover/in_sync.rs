//! For how long a standby was seen to follow the active server: by looks that came without a gap.

use std::collections::BTreeMap;

use super::observation::ServerView;
use super::standby::stream_broken;
use super::state::{Settings, Stored};
use crate::facts::Role;
use crate::names::RegionName;
use crate::time::Mono;

/// Looks at the home server that all found it a streaming standby of the active one, each soon
/// after the one before. What happened while nobody looked is not known: a process that stood
/// still begins to count anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSync {
    first: Mono,
    last: Mono,
}

impl InSync {
    /// What is known after one more pass; `None` when the home server does not follow, or nobody
    /// has looked lately.
    #[must_use]
    pub fn next(
        before: Option<Self>,
        settings: &Settings,
        stored: &Stored,
        servers: &BTreeMap<RegionName, ServerView>,
        now: Mono,
    ) -> Option<Self> {
        let active = servers.get(&stored.active).and_then(ServerView::now)?;
        let home = servers.get(&settings.home.region)?.now()?;
        let follows =
            home.role == Role::Standby && !stream_broken(home) && home.timeline == active.timeline;
        // A pass knows of the moment in which the older of both was read.
        let looked = home.sampled.min(active.sampled);
        let limit = gap_ms(settings);
        if !follows || now.since(looked) > limit {
            return None;
        }
        let unbroken = before.filter(|known| looked.since(known.last) <= limit);
        Some(Self {
            first: unbroken.map_or(looked, |known| known.first),
            last: unbroken.map_or(looked, |known| known.last.max(looked)),
        })
    }

    /// Milliseconds from the first of these looks to the last.
    pub fn ms(self) -> u64 {
        self.last.since(self.first)
    }
}

/// How far two looks may lie apart: a probe is due after the interval, and takes no longer than its
/// deadline.
fn gap_ms(settings: &Settings) -> u64 {
    let seconds = settings
        .interval_seconds
        .saturating_add(settings.timeout_seconds);
    u64::from(seconds) * 1_000
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{calm, server};
    use super::*;
    use crate::names::ServerId;

    /// `west` serves and `central`, the home server, follows it; read and looked at then.
    fn looks(moments: &[(u64, u64)]) -> Option<InSync> {
        let mut seen = calm();
        seen.settings.home = ServerId::new("central", "main");
        moments.iter().fold(None, |before, (sampled, now)| {
            for view in seen.servers.values_mut() {
                view.facts
                    .iter_mut()
                    .for_each(|f| f.sampled = Mono(*sampled));
            }
            InSync::next(
                before,
                &seen.settings,
                &seen.stored,
                &seen.servers,
                Mono(*now),
            )
        })
    }

    #[test]
    fn time_counts_from_the_first_look_to_the_last() {
        let known = looks(&[(1_000, 1_010), (2_000, 2_010), (4_000, 4_010)]);
        assert_eq!(known.map(InSync::ms), Some(3_000));
        // No look, no time.
        let known = looks(&[(1_000, 1_010), (2_000, 2_010), (2_000, 3_900)]);
        assert_eq!(known.map(InSync::ms), Some(1_000));
    }

    #[test]
    fn what_happened_while_nobody_looked_is_not_known() {
        // Two looks lie further apart than an interval and a deadline, 1 s and 1 s.
        let known = looks(&[(1_000, 1_010), (2_000, 2_010), (4_001, 4_010)]);
        assert_eq!(known.map(InSync::ms), Some(0));
        // The leader goes on with what it saw before it stood still.
        let known = looks(&[(1_000, 1_010), (2_000, 2_010), (2_000, 9_000)]);
        assert_eq!(known, None);
    }

    #[test]
    fn a_standby_that_does_not_follow_begins_anew() {
        let mut seen = calm();
        seen.settings.home = ServerId::new("central", "main");
        let next = |before, seen: &super::super::Observation| {
            InSync::next(
                before,
                &seen.settings,
                &seen.stored,
                &seen.servers,
                seen.now.mono,
            )
        };
        let known = next(None, &seen);
        assert!(known.is_some());
        let mut other = seen.clone();
        server(&mut other, "central").live = false;
        assert_eq!(next(known, &other), None);
        let mut other = seen.clone();
        let facts = server(&mut other, "central").facts.as_mut().unwrap();
        facts.timeline += 1;
        assert_eq!(next(known, &other), None);
        let mut other = seen.clone();
        let facts = server(&mut other, "central").facts.as_mut().unwrap();
        facts.receiver = None;
        assert_eq!(next(known, &other), None);
        let mut other = seen;
        other.settings.home = ServerId::new("west", "main");
        assert_eq!(next(known, &other), None);
    }
}
