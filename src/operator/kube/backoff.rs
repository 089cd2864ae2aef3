//! When an object that failed is tried again: per object, exponential, with jitter.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Class;

/// Most objects whose failures are remembered; beyond it the count starts anew, which only means
/// a shorter wait.
const LIMIT: usize = 65_536;

/// Failures in a row, by object UID.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Backoff {
    /// Counts one more failure of `uid` and tells how long to wait. `jitter` is in 0..1.
    pub fn failed(&self, uid: &str, class: Class, jitter: f64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= LIMIT && !failures.contains_key(uid) {
            failures.clear();
        }
        let count = failures.entry(uid.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        delay(class, *count, jitter)
    }

    /// Forgets the failures of `uid`: it succeeded, or it is gone.
    pub fn reset(&self, uid: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

/// The wait after `failures` failures in a row: base × 2^(failures-1), at most the class's limit,
/// and then up to a quarter less by `jitter` (0..1), so that objects which failed together do not
/// come back together.
pub fn delay(class: Class, failures: u32, jitter: f64) -> Duration {
    let (base, limit) = match class {
        Class::Conflict => (Duration::from_millis(100), Duration::from_secs(5)),
        Class::Transient | Class::Provider => (Duration::from_millis(500), Duration::from_mins(1)),
        Class::Config => (Duration::from_secs(15), Duration::from_mins(5)),
        Class::Bug => (Duration::from_secs(10), Duration::from_mins(5)),
    };
    let doublings = failures.saturating_sub(1).min(16);
    let full = base.saturating_mul(1 << doublings).min(limit);
    full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: 35.
    #[test]
    fn the_wait_grows_up_to_a_limit() {
        let waits: Vec<_> = (1..40).map(|n| delay(Class::Transient, n, 0.0)).collect();
        assert_eq!(waits[0], Duration::from_millis(500));
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(waits.last(), Some(&Duration::from_mins(1)));
    }

    /// Faults: 35.
    #[test]
    fn jitter_only_shortens_and_by_a_quarter_at_most() {
        for jitter in [-1.0, 0.0, 0.5, 1.0, 7.0] {
            let wait = delay(Class::Bug, 1, jitter);
            assert!(wait <= Duration::from_secs(10) && wait >= Duration::from_millis(7_500));
        }
    }

    #[test]
    fn success_starts_the_count_anew_and_objects_do_not_share_it() {
        let backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed("a", Class::Transient, 0.0);
        }
        assert_eq!(
            backoff.failed("b", Class::Transient, 0.0),
            Duration::from_millis(500)
        );
        assert_eq!(
            backoff.failed("a", Class::Transient, 0.0),
            Duration::from_secs(16)
        );
        backoff.reset("a");
        assert_eq!(
            backoff.failed("a", Class::Transient, 0.0),
            Duration::from_millis(500)
        );
    }
}
