//! When a tenant's logins change places, and when those before are closed.
//!
//! Two logins alternate. The one that is not published is given a new password, tried, and
//! published; the other one stays open until nobody uses it any more or the overlap ends. So no
//! client meets a password that does not work, whichever Secret it read. All times are wall-clock
//! times, in days or seconds: a clock that jumps makes a rotation early or late, and breaks no
//! login before its overlap by that clock has ended.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::names::Slot;

const DAY_SECONDS: i64 = 86_400;

/// How long the logins before stay open at least, from the rotation and from the moment when the
/// last workload was seen to have taken up the others, unless the overlap is shorter: pods that a
/// rollout ends are counted no more and may still connect.
const LEAVING_SECONDS: i64 = 60;

const LEAVING_MS: u64 = LEAVING_SECONDS.unsigned_abs() * 1000;

/// What is known of a tenant's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Since when the published logins are published.
    pub since: Timestamp,
    /// The logins of this slot were published before, and are still open.
    pub retiring: Option<Slot>,
    /// The request that was answered last.
    pub answered: Option<String>,
}

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Days from one rotation to the next; none by the calendar when absent.
    pub interval_days: Option<u32>,
    /// Longest time for which the logins before stay open, in seconds.
    pub overlap_seconds: u32,
    /// The last request for a rotation: any text; another one is another request.
    pub request: Option<String>,
}

/// Whether credentials may be changed now, and who still needs the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The present moment.
    pub now: Timestamp,
    /// The tenant's server neither moves nor is about to.
    pub steady: bool,
    /// The password is taken from another Secret, which holds another one than is published.
    pub replaced: bool,
    /// For how many milliseconds there have been workloads that get the Secret by Domicile and all
    /// run with the present one; absent when that is not so. Other readers are not known.
    pub taken_up_ms: Option<u64>,
}

/// Why logins change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The interval is over.
    Scheduled,
    /// A person or a program asked for it.
    Asked,
    /// The Secret that the password is taken from holds another one.
    Replaced,
    /// The Secret that held them is gone.
    Lost,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduled => "the interval of `spec.credentials.rotation` is over",
            Self::Asked => "it was asked for",
            Self::Replaced => "the password in `spec.credentials.passwordSecretRef` changed",
            Self::Lost => "the Secret that held the published passwords is lost",
        })
    }
}

/// What is to be done about a tenant's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Publish the other logins, with new passwords.
    Rotate(Cause),
    /// Close the logins of this slot.
    Close {
        /// Those that were published before.
        slot: Slot,
        /// Only if no session uses them.
        if_unused: bool,
    },
}

/// What is to be done now. A rotation that is due while the logins before are open waits for their
/// end: there are two of each, not three.
pub fn step(credentials: &Credentials, wish: &Wish, sight: Sight) -> Step {
    if !sight.steady {
        return Step::Rest;
    }
    if let Some(slot) = credentials.retiring {
        let over = sight.now >= open_until(credentials, wish);
        let late = sight.now >= after(credentials.since, LEAVING_SECONDS);
        let left = sight.taken_up_ms.is_some_and(|ms| ms >= LEAVING_MS);
        return if over || late && left {
            let if_unused = !over;
            Step::Close { slot, if_unused }
        } else {
            Step::Rest
        };
    }
    due(credentials, wish, sight).map_or(Step::Rest, Step::Rotate)
}

/// A rotation that waits until the logins before are closed: why it is due, and until when it waits
/// at the latest.
pub fn waiting(credentials: &Credentials, wish: &Wish, sight: Sight) -> Option<(Cause, Timestamp)> {
    credentials.retiring?;
    let cause = due(credentials, wish, sight)?;
    Some((cause, open_until(credentials, wish)))
}

/// Why a rotation is due, if one is.
fn due(credentials: &Credentials, wish: &Wish, sight: Sight) -> Option<Cause> {
    if sight.replaced {
        return Some(Cause::Replaced);
    }
    if asked(credentials, wish) {
        return Some(Cause::Asked);
    }
    let next = next(credentials, wish)?;
    (sight.now >= next).then_some(Cause::Scheduled)
}

/// The logins that are published where nobody knows the passwords of the present ones any more: the
/// others, so that who still holds a password in memory goes on, and the present ones where the
/// others are in use, or must not change now.
pub fn replacement(credentials: Option<&Credentials>, active: Slot, steady: bool) -> Slot {
    match credentials {
        Some(known) if steady && known.retiring.is_none() => active.other(),
        Some(_) | None => active,
    }
}

/// The request that a Secret's logins answer and the record does not tell yet: a pass ended in
/// between. What the Secret tells counts for the present request alone, so that it makes none
/// forgotten.
pub fn answered<'a>(told: Option<&'a str>, wish: &Wish) -> Option<&'a str> {
    told.filter(|told| wish.request.as_deref() == Some(told))
}

/// When the next rotation is due by the calendar.
pub fn next(credentials: &Credentials, wish: &Wish) -> Option<Timestamp> {
    let days = wish.interval_days?;
    Some(after(
        credentials.since,
        i64::from(days).saturating_mul(DAY_SECONDS),
    ))
}

/// Until when the logins before the published ones stay open at the latest.
pub fn open_until(credentials: &Credentials, wish: &Wish) -> Timestamp {
    after(credentials.since, i64::from(wish.overlap_seconds))
}

/// Whether half of the time is over for which the logins before stay open: who still has them gets
/// the others now, whatever he was to wait for.
pub fn is_pressing(credentials: &Credentials, wish: &Wish, now: Timestamp) -> bool {
    let half = after(credentials.since, i64::from(wish.overlap_seconds / 2));
    credentials.retiring.is_some() && now >= half
}

/// Whether a rotation is asked for that has not taken place.
pub fn asked(credentials: &Credentials, wish: &Wish) -> bool {
    wish.request.is_some() && wish.request != credentials.answered
}

fn after(moment: Timestamp, seconds: i64) -> Timestamp {
    moment
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
