//! When a Secret under a name that it no longer has is deleted.

use jiff::{SignedDuration, Timestamp};

/// Who may still read a Secret under its name before, in one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody of the selected workloads: all of them run with the Secret under its present name.
    Gone,
    /// A selected workload, or its pods.
    Some,
    /// Nobody is known: no workload is selected, or some do not tell what their pods have.
    Unknown,
}

/// What becomes of such a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It is deleted.
    Now,
    /// It stays until then, for readers that nobody knows of.
    At(Timestamp),
    /// It stays until the last workload has taken up the other one, however long that takes: a pod
    /// does not start without the Secret that it names.
    AfterWorkloads,
}

/// What becomes of a Secret that has had another name `since`. Readers that are not known have as
/// long as those of logins that were published before.
pub fn leave(since: Timestamp, overlap_seconds: u32, readers: Readers, now: Timestamp) -> Leave {
    let overlap = SignedDuration::from_secs(i64::from(overlap_seconds));
    match readers {
        Readers::Gone => Leave::Now,
        Readers::Some => Leave::AfterWorkloads,
        Readers::Unknown => match since.checked_add(overlap) {
            Ok(until) if now >= until => Leave::Now,
            Ok(until) => Leave::At(until),
            Err(_) => Leave::At(Timestamp::MAX),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    #[test]
    fn workloads_that_have_the_other_one_need_it_no_more() {
        assert_eq!(leave(at(0), 3600, Readers::Gone, at(1)), Leave::Now);
    }

    #[test]
    fn a_workload_that_is_behind_is_waited_for_beyond_the_overlap() {
        let late = leave(at(0), 10, Readers::Some, at(11));
        assert_eq!(late, Leave::AfterWorkloads);
    }

    #[test]
    fn readers_that_are_not_known_have_the_overlap() {
        let unknown = |now| leave(at(100), 10, Readers::Unknown, now);
        assert_eq!(unknown(at(109)), Leave::At(at(110)));
        assert_eq!(unknown(at(110)), Leave::Now);
        // A clock that went back makes it later, and a time beyond all times is no end.
        assert_eq!(unknown(at(50)), Leave::At(at(110)));
        let never = leave(Timestamp::MAX, 10, Readers::Unknown, at(0));
        assert_eq!(never, Leave::At(Timestamp::MAX));
    }
}
