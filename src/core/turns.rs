//! Who may work on one thing at once: so many, the others in the order in which they came. Nobody
//! waits inside; who is turned away is called when there is room.
//!
//! A silent thing takes one at a time, which tries whether it answers again, so that those who wait
//! for its answer do not hold up the work on everything else (a circuit breaker, Nygard, Release
//! It!, ch. 5).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::time::Mono;

/// How long room is kept for one who was called, in milliseconds. It may be gone by then.
const KEPT_MS: u64 = 10_000;

/// How long it comes before all others, though no room is kept for it any more: where thousands
/// arrive at once, who was called waits among them to be heard.
const FIRST_MS: u64 = 600_000;

/// Most that wait in order. Who comes later asks again by itself.
const LONGEST_LINE: usize = 16_384;

/// The turns at one thing. `K` names who works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns<K> {
    inside: BTreeSet<K>,
    /// Who was called, and when.
    called: BTreeMap<K, Mono>,
    line: VecDeque<K>,
    silent: bool,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            inside: BTreeSet::new(),
            called: BTreeMap::new(),
            line: VecDeque::new(),
            silent: false,
        }
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// True when `key` may begin now; else it waits in line and asks again when it is called. Of
    /// those that answer, `limit` may be inside at once, never less than one.
    pub fn enter(&mut self, key: &K, limit: usize, now: Mono) -> bool {
        self.lapse(now);
        let called = self.called.remove(key);
        let kept = called.is_some_and(|at| is_kept(at, now));
        let place = self.line.iter().position(|waiting| waiting == key);
        let ahead = match called {
            Some(_) => 0,
            None => place.unwrap_or(self.line.len()),
        };
        if kept || self.inside.contains(key) || ahead < self.room(limit, now) {
            place.and_then(|place| self.line.remove(place));
            self.inside.insert(key.clone());
            return true;
        }
        if called.is_some() {
            self.line.push_front(key.clone());
        } else if place.is_none() && self.line.len() < LONGEST_LINE {
            self.line.push_back(key.clone());
        }
        false
    }

    /// `key` is done, and heard an answer, or waited in vain for one, or asked nothing. Returns who
    /// is called.
    pub fn leave(&mut self, key: &K, heard: Option<bool>, limit: usize, now: Mono) -> Vec<K> {
        self.inside.remove(key);
        self.silent = heard.map_or(self.silent, |heard| !heard);
        self.lapse(now);
        let room = self.room(limit, now).min(self.line.len());
        let next: Vec<K> = self.line.drain(..room).collect();
        self.called
            .extend(next.iter().map(|key| (key.clone(), now)));
        next
    }

    /// True when nothing is to be remembered.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    fn room(&self, limit: usize, now: Mono) -> usize {
        let limit = if self.silent { 1 } else { limit.max(1) };
        let kept = self.called.values().filter(|at| is_kept(**at, now)).count();
        limit.saturating_sub(self.inside.len() + kept)
    }

    fn lapse(&mut self, now: Mono) {
        self.called.retain(|_, at| now.since(*at) < FIRST_MS);
    }
}

/// Whether room is kept for who was called at `at`.
fn is_kept(at: Mono, now: Mono) -> bool {
    now.since(at) < KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(0);

    /// The keys that get in, of `keys`, in this order.
    fn entered(turns: &mut Turns<u32>, keys: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let keys = keys.into_iter();
        keys.filter(|key| turns.enter(key, 3, NOW)).collect()
    }

    #[test]
    fn so_many_are_inside_and_the_others_are_called_in_order() {
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..6), [0, 1, 2]);
        assert_eq!(turns.leave(&1, Some(true), 3, NOW), [3]);
        // Room is kept for who was called: nobody gets in before.
        assert_eq!(entered(&mut turns, [6, 4, 5]), []);
        assert_eq!(entered(&mut turns, [3]), [3]);
        assert_eq!(turns.leave(&0, Some(true), 3, NOW), [4]);
        assert_eq!(turns.leave(&2, Some(true), 3, NOW), [5]);
        assert_eq!(turns.leave(&3, Some(true), 3, NOW), [6]);
    }

    #[test]
    fn a_silent_thing_takes_one_at_a_time_until_it_answers() {
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..8), [0, 1, 2]);
        assert_eq!(turns.leave(&0, Some(false), 3, NOW), []);
        assert_eq!(turns.leave(&1, None, 3, NOW), []);
        assert_eq!(turns.leave(&2, Some(false), 3, NOW), [3]);
        assert_eq!(entered(&mut turns, [3, 4]), [3]);
        assert_eq!(turns.leave(&3, Some(true), 3, NOW), [4, 5, 6]);
    }

    #[test]
    fn who_was_called_and_never_came_loses_its_place() {
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..5), [0, 1, 2]);
        assert_eq!(turns.leave(&0, Some(true), 3, NOW), [3]);
        assert!(!turns.enter(&4, 3, Mono(KEPT_MS - 1)));
        assert!(turns.enter(&4, 3, Mono(KEPT_MS)));
    }

    #[test]
    fn who_comes_late_is_before_those_who_wait() {
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..6), [0, 1, 2]);
        assert_eq!(turns.leave(&0, Some(true), 3, NOW), [3]);
        // Its room is not kept: others are called.
        assert_eq!(turns.leave(&1, Some(true), 3, Mono(KEPT_MS)), [4, 5]);
        let later = Mono(KEPT_MS + 1);
        assert!(!turns.enter(&3, 3, later) && !turns.enter(&6, 3, later));
        assert!(turns.enter(&4, 3, later) && turns.enter(&5, 3, later));
        assert_eq!(turns.leave(&2, Some(true), 3, later), [3]);
        // Long after it is one of all.
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..5), [0, 1, 2]);
        assert_eq!(turns.leave(&0, Some(true), 3, NOW), [3]);
        assert_eq!(turns.leave(&1, Some(true), 3, Mono(FIRST_MS)), [4]);
        assert!(!turns.enter(&5, 2, Mono(FIRST_MS)) && !turns.enter(&3, 2, Mono(FIRST_MS)));
        assert_eq!(turns.line, [5, 3]);
    }

    #[test]
    fn who_asks_again_keeps_its_place_and_gets_in_when_nobody_is_ahead() {
        let mut turns = Turns::default();
        assert_eq!(entered(&mut turns, 0..6), [0, 1, 2]);
        assert_eq!(turns.leave(&0, None, 1, NOW), []);
        assert_eq!(turns.leave(&1, None, 1, NOW), []);
        // The limit grew meanwhile, and nobody was called.
        assert_eq!(entered(&mut turns, [5, 4, 3]), [4, 3]);
        assert_eq!(turns.leave(&2, None, 3, NOW), [5]);
    }

    #[test]
    fn the_line_is_bounded_and_nothing_is_remembered_of_those_who_left() {
        let mut turns = Turns::default();
        let many = u32::try_from(LONGEST_LINE).unwrap_or_default();
        assert_eq!(entered(&mut turns, 0..many + 9), [0, 1, 2]);
        assert_eq!(turns.line.len(), LONGEST_LINE);
        let mut turns = Turns::default();
        assert!(turns.enter(&1, 3, NOW));
        assert!(!turns.is_idle());
        assert_eq!(turns.leave(&1, Some(true), 3, NOW), []);
        assert!(turns.is_idle());
    }
}
