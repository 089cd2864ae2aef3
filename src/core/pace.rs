//! How often settled tenants are looked at: all of them together at a bounded rate, and each at
//! least once in the drift interval.

use std::time::Duration;

/// Between two passes over one tenant, for each tenant that there is: ten passes a second in all
/// where something is awaited, two a second for Secrets alone.
const PASS_WHERE_AWAITED: Duration = Duration::from_millis(100);
const PASS: Duration = Duration::from_millis(500);
/// The same for its database, which takes sessions.
const LOOK: Duration = Duration::from_millis(600);
/// However few tenants there are.
const SHORTEST_PASS: Duration = Duration::from_secs(10);
const SHORTEST_LOOK: Duration = Duration::from_mins(1);
/// However many there are: a workload that was just made does not start without its variables.
const LONGEST_WHERE_AWAITED: Duration = Duration::from_mins(1);

/// How long one tenant is believed to be as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Its Secret and its workloads.
    pub pass: Duration,
    /// Its database.
    pub look: Duration,
}

/// The pace for one of `tenants`. Something is `awaited` where a workload may come, another Secret
/// may bring a password, or logins are to be closed. `drift` is the longest time until a drift must
/// be found, one minute at least.
pub fn pace(tenants: usize, awaited: bool, drift: Duration) -> Pace {
    let tenants = u32::try_from(tenants).unwrap_or(u32::MAX);
    let drift = drift.max(SHORTEST_LOOK);
    let between =
        |each: Duration, shortest, longest| each.saturating_mul(tenants).clamp(shortest, longest);
    Pace {
        pass: if awaited {
            between(PASS_WHERE_AWAITED, SHORTEST_PASS, LONGEST_WHERE_AWAITED)
        } else {
            between(PASS, SHORTEST_PASS, drift)
        },
        look: between(LOOK, SHORTEST_LOOK, drift),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: Duration = Duration::from_mins(10);

    fn seconds(tenants: usize, awaited: bool, drift: Duration) -> (u64, u64) {
        let Pace { pass, look } = pace(tenants, awaited, drift);
        (pass.as_secs(), look.as_secs())
    }

    #[test]
    fn few_tenants_are_looked_at_soon_and_many_within_the_drift_interval() {
        for awaited in [false, true] {
            assert_eq!(seconds(0, awaited, DRIFT), (10, 60));
            assert_eq!(seconds(20, awaited, DRIFT), (10, 60));
        }
        assert_eq!(seconds(300, false, DRIFT), (150, 180));
        assert_eq!(seconds(300, true, DRIFT), (30, 180));
        assert_eq!(seconds(1000, true, DRIFT), (60, 600));
        assert_eq!(seconds(usize::MAX, false, DRIFT), (600, 600));
    }

    #[test]
    fn a_longer_interval_costs_less_and_none_is_too_short() {
        assert_eq!(
            seconds(10_000, false, Duration::from_hours(1)),
            (3600, 3600)
        );
        assert_eq!(seconds(10_000, true, Duration::ZERO), (60, 60));
    }
}
