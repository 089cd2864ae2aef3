//! How long ago each stored moment was, by the monotonic clock of the process that leads.
//!
//! What is stored is a time of the wall, for people and for a successor. A wall clock jumps, and
//! those of two machines differ, so that a leader never subtracts one from another while it leads:
//! it notes on its own clock when it first knew of a moment. What had passed before that is known
//! exactly to the leader that stored the moment itself (nothing), and only about, by the wall, to
//! one that came later (`docs/adr/0015`).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::state::{MoveKind, Stored};
use crate::facts::Epoch;
use crate::time::{Mono, Now};

/// How long ago something was that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Age {
    /// Milliseconds since this leader first knew of it.
    pub known_ms: u64,
    /// What had passed before that, by the wall clocks of two leaders; nothing when this leader
    /// stored it itself.
    pub before_ms: Option<u64>,
}

impl Age {
    /// So long ago at least, whatever wall clocks do.
    pub fn at_least_ms(self) -> u64 {
        self.known_ms
    }

    /// So long ago at most, whatever wall clocks do; `None` when another leader stored it.
    pub fn at_most_ms(self) -> Option<u64> {
        self.before_ms.is_none().then_some(self.known_ms)
    }

    /// About so long ago. Only where being wrong harms no invariant.
    pub fn about_ms(self) -> u64 {
        self.known_ms.saturating_add(self.before_ms.unwrap_or(0))
    }
}

/// How long ago the moments of one stored machine were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Ages {
    /// Since the machine entered its state.
    pub state: Age,
    /// Since the move under way began.
    pub started: Age,
    /// Since the moment that the loss bound speaks of.
    pub bounded: Age,
    /// Since the first probe failed.
    pub outage: Age,
    /// What is left of the cooldown, in milliseconds.
    pub cooldown_left_ms: u64,
    /// Since each finished move, newest first.
    pub finished: Vec<Age>,
}

impl Ages {
    /// How long ago a finished move of the history was.
    pub fn finished(&self, place: usize) -> Age {
        self.finished.get(place).copied().unwrap_or_default()
    }
}

/// What a moment is of. Two moments with the same time of the wall are told apart by the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Of {
    State(super::state::State, Epoch),
    Started(String),
    Bounded(String),
    Outage,
    Cooldown,
    Finished(String),
}

type Moment = (Of, Timestamp);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Known {
    at: Mono,
    before_ms: Option<u64>,
    /// From then to the moment, when that lies ahead.
    ahead_ms: u64,
}

/// When a leader first knew of which stored moment. Memory of one process about one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Moments {
    known: BTreeMap<Moment, Known>,
}

/// How long a moment is remembered that is not stored: a write whose answer was lost may show
/// later.
const FORGET_MS: u64 = 120_000;

impl Moments {
    /// Notes what this leader is about to store. Called before it is sent: the answer may be lost.
    pub fn storing(&mut self, before: &Stored, next: &Stored, now: Now) {
        let old = moments(before);
        for moment in moments(next) {
            if !old.contains(&moment) {
                let ahead_ms = ahead(moment.1, now);
                let known = Known {
                    at: now.mono,
                    before_ms: None,
                    ahead_ms,
                };
                self.known.insert(moment, known);
            }
        }
    }

    /// How long ago the moments of `stored` are. One that is seen for the first time was stored by
    /// another leader.
    pub fn ages(&mut self, stored: &Stored, now: Now) -> Ages {
        let all = moments(stored);
        for moment in &all {
            let (of, time) = moment;
            let longest = match of {
                Of::Cooldown => cooldown_ms(stored),
                Of::State(..) | Of::Started(_) | Of::Bounded(_) | Of::Outage | Of::Finished(_) => {
                    u64::MAX
                }
            };
            self.known.entry(moment.clone()).or_insert_with(|| Known {
                at: now.mono,
                before_ms: Some(span_ms(*time, now.wall)),
                ahead_ms: ahead(*time, now).min(longest),
            });
        }
        let young = |known: &Known| now.mono.since(known.at) < FORGET_MS;
        self.known
            .retain(|moment, known| all.contains(moment) || young(known));
        self.read(&all, now.mono)
    }

    fn read(&self, all: &[Moment], now: Mono) -> Ages {
        let mut ages = Ages::default();
        for moment in all {
            let Some(known) = self.known.get(moment) else {
                continue;
            };
            let known_ms = now.since(known.at);
            let age = Age {
                known_ms,
                before_ms: known.before_ms,
            };
            match moment.0 {
                Of::State(..) => ages.state = age,
                Of::Started(_) => ages.started = age,
                Of::Bounded(_) => ages.bounded = age,
                Of::Outage => ages.outage = age,
                Of::Cooldown => ages.cooldown_left_ms = known.ahead_ms.saturating_sub(known_ms),
                Of::Finished(_) => ages.finished.push(age),
            }
        }
        ages
    }
}

/// All moments of a stored machine, finished moves newest first.
fn moments(stored: &Stored) -> Vec<Moment> {
    let mut all = vec![(Of::State(stored.state, stored.epoch), stored.since)];
    if let Some(journal) = &stored.journal {
        let operation = &journal.operation;
        all.push((Of::Started(operation.clone()), journal.started));
        // A bound without a moment of its own is as old as the state.
        let bounded = journal.loss_at.unwrap_or(stored.since);
        all.push((Of::Bounded(operation.clone()), bounded));
    }
    let outage = stored.evidence.as_ref().map(|known| known.outage_since);
    all.extend(outage.map(|since| (Of::Outage, since)));
    all.extend(stored.cooldown_until.map(|until| (Of::Cooldown, until)));
    let past = stored.history.iter();
    all.extend(past.map(|past| (Of::Finished(past.operation.clone()), past.finished)));
    all
}

/// How long the cooldown was when it began; both times were written at once by one leader.
fn cooldown_ms(stored: &Stored) -> u64 {
    let mut past = stored.history.iter();
    let last = past.find(|past| past.kind == MoveKind::Failover);
    last.zip(stored.cooldown_until)
        .map_or(u64::MAX, |(last, until)| span_ms(last.finished, until))
}

fn ahead(moment: Timestamp, now: Now) -> u64 {
    span_ms(now.wall, moment)
}

/// Milliseconds from one time of the wall to a later one; 0 when it is earlier.
fn span_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::fixtures::{calm, outage, second, stored_after};
    use super::*;

    fn at(mono: u64, wall: i64) -> Now {
        Now {
            wall: second(wall),
            mono: Mono(mono),
        }
    }

    #[test]
    fn the_leader_that_stored_a_moment_counts_on_its_own_clock_alone() {
        let seen = outage();
        let next = stored_after(&seen);
        assert_eq!(next.state, State::Fencing);
        let mut moments = Moments::default();
        moments.ages(&seen.stored, seen.now);
        moments.storing(&seen.stored, &next, seen.now);
        let mono = seen.now.mono.0;
        for wall in [1000 - 3600, 1007, 1000 + 3600] {
            let ages = moments.ages(&next, at(mono + 7_000, wall));
            for age in [ages.state, ages.started] {
                assert_eq!((age.at_least_ms(), age.about_ms()), (7_000, 7_000));
                assert_eq!(age.at_most_ms(), Some(7_000));
            }
        }
    }

    #[test]
    fn a_later_leader_believes_the_wall_in_nothing_that_must_hold() {
        let stored = stored_after(&outage());
        let mut moments = Moments::default();
        let first = moments.ages(&stored, at(50, 1000 + 30)).started;
        assert_eq!((first.at_least_ms(), first.at_most_ms()), (0, None));
        assert_eq!(first.about_ms(), 30_000);
        let later = moments.ages(&stored, at(5_050, 1000 - 3600)).started;
        assert_eq!((later.at_least_ms(), later.at_most_ms()), (5_000, None));
        assert_eq!(later.about_ms(), 35_000);
        let behind = Moments::default().ages(&stored, at(50, 1000 - 3600));
        assert_eq!(behind.started.about_ms(), 0);
    }

    #[test]
    fn a_state_that_is_entered_again_is_new() {
        let before = calm().stored;
        let next = before.enter(State::Suspect, second(1000));
        let mut moments = Moments::default();
        moments.storing(&before, &next, at(1_000, 1000));
        moments.storing(&next, &before, at(2_000, 1000));
        moments.storing(&before, &next, at(3_000, 1000));
        assert_eq!(moments.ages(&next, at(4_000, 1000)).state.known_ms, 1_000);
        // What stays as it was keeps its age.
        let mut claimed = next.clone();
        claimed.restore_synchronous = true;
        moments.storing(&next, &claimed, at(5_000, 1000));
        assert_eq!(
            moments.ages(&claimed, at(6_000, 1000)).state.known_ms,
            3_000
        );
    }

    #[test]
    fn what_was_stored_without_an_answer_is_remembered_for_a_while() {
        let before = calm().stored;
        let next = before.enter(State::Suspect, second(1000));
        let mut moments = Moments::default();
        moments.storing(&before, &next, at(1_000, 1000));
        moments.ages(&before, at(2_000, 1001));
        assert_eq!(moments.ages(&next, at(3_000, 1002)).state.before_ms, None);
        moments.ages(&before, at(1_000 + FORGET_MS, 1121));
        let late = moments.ages(&next, at(1_000 + FORGET_MS, 1121)).state;
        assert_eq!((late.known_ms, late.before_ms), (0, Some(121_000)));
    }

    #[test]
    fn a_cooldown_runs_down_on_the_leaders_clock() {
        let mut stored = calm().stored;
        let before = stored.clone();
        stored.cooldown_until = Some(second(1000 + 60));
        let mut moments = Moments::default();
        moments.storing(&before, &stored, at(1_000, 1000));
        let left = |moments: &mut Moments, mono, wall| {
            moments.ages(&stored, at(mono, wall)).cooldown_left_ms
        };
        assert_eq!(left(&mut moments, 11_000, 1000 + 3600), 50_000);
        assert_eq!(left(&mut moments, 61_000, 1000 - 3600), 0);
        // A later leader goes by the wall.
        assert_eq!(left(&mut Moments::default(), 5, 1000 + 20), 40_000);
    }
}
