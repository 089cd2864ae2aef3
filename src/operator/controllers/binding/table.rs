//! Which kinds in which namespaces are watched, and which found no room: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::projection::kinds::Kind;

/// The objects of one kind in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// The namespace.
    pub(super) namespace: String,
    /// The kind.
    pub(super) kind: Kind,
}

/// What came of asking for a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It runs, or is about to.
    There,
    /// There is no room for it, as for others before.
    Full,
    /// There is no room for it, and there was for all before.
    FullAnew,
}

/// The watches, and what has none.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Each watch, and whether it shows what is.
    running: BTreeMap<Target, bool>,
    /// What found no room; at most [`MOST_WAITING`].
    waiting: BTreeSet<Target>,
}

/// Most targets without room that are counted.
const MOST_WAITING: usize = 65_536;

impl Table {
    /// Takes room for a watch, when there are fewer than `limit` and `begin` can begin it.
    pub(super) fn take(
        &mut self,
        target: Target,
        limit: usize,
        begin: impl FnOnce(&Target) -> bool,
    ) -> Room {
        if self.running.contains_key(&target) {
            return Room::There;
        }
        if self.running.len() < limit && begin(&target) {
            self.waiting.remove(&target);
            self.running.insert(target, false);
            return Room::There;
        }
        let first = self.waiting.is_empty();
        if self.waiting.len() < MOST_WAITING {
            self.waiting.insert(target);
        }
        if first { Room::FullAnew } else { Room::Full }
    }

    /// A watch shows what is, or does not.
    pub(super) fn saw(&mut self, target: &Target, sees: bool) {
        self.running.insert(target.clone(), sees);
    }

    /// A watch ended.
    pub(super) fn end(&mut self, target: &Target) {
        self.running.remove(target);
    }

    /// Forgets of what waits all that is not needed any more.
    pub(super) fn keep(&mut self, needed: impl FnOnce() -> BTreeSet<Target>) {
        if !self.waiting.is_empty() {
            let needed = needed();
            self.waiting.retain(|target| needed.contains(target));
        }
    }

    /// Whether a change is seen at once.
    pub(super) fn sees(&self, target: &Target) -> bool {
        self.running.get(target) == Some(&true)
    }

    /// How many targets are not seen.
    pub(super) fn blind(&self) -> usize {
        let running = self.running.values().filter(|sees| !**sees).count();
        running + self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(namespace: &str) -> Target {
        Target {
            namespace: namespace.to_owned(),
            kind: Kind::parse("apps/v1/Deployment").unwrap(),
        }
    }

    /// Asks for one of two watches.
    fn take(table: &mut Table, namespace: &str) -> Room {
        table.take(target(namespace), 2, |_| true)
    }

    #[test]
    fn want_of_room_is_new_once_until_nobody_waits() {
        let mut table = Table::default();
        let first = ["a", "b", "a", "c", "d", "c"].map(|name| take(&mut table, name));
        let (there, full) = (Room::There, Room::Full);
        assert_eq!(first, [there, there, there, Room::FullAnew, full, full]);
        table.end(&target("a"));
        assert_eq!(take(&mut table, "c"), there);
        assert_eq!(take(&mut table, "a"), full, "d still waits");
        table.end(&target("b"));
        table.keep(|| BTreeSet::from([target("e")]));
        assert_eq!(take(&mut table, "e"), there);
        assert_eq!(take(&mut table, "f"), Room::FullAnew);
    }

    #[test]
    fn a_watch_that_cannot_begin_waits_as_one_without_room() {
        let mut table = Table::default();
        assert_eq!(table.take(target("a"), 2, |_| false), Room::FullAnew);
        assert_eq!(table.blind(), 1);
    }

    #[test]
    fn what_waits_and_what_shows_nothing_is_blind() {
        let mut table = Table::default();
        for name in ["a", "b", "c"] {
            take(&mut table, name);
        }
        assert_eq!(table.blind(), 3);
        table.saw(&target("a"), true);
        assert!(table.sees(&target("a")) && !table.sees(&target("b")));
        assert_eq!(table.blind(), 2);
        table.saw(&target("a"), false);
        assert_eq!(table.blind(), 3);
    }
}
