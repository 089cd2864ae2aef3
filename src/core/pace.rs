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
/// However many there are: a workload that nobody watches does not start without its variables.
const LONGEST_WHERE_AWAITED: Duration = Duration::from_mins(1);
/// A controller lets nothing rest for more than an hour, a fifth of jitter included.
const LONGEST_PASS: Duration = Duration::from_mins(50);

/// How long one tenant is believed to be as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Its Secret, and the workloads that are not watched.
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
    // A look takes place in a pass, so that the two together must fit.
    let (pass_limit, look_limit) = (LONGEST_PASS.min(drift / 4), drift * 2 / 3);
    let between = |each: Duration, shortest: Duration, longest: Duration| {
        each.saturating_mul(tenants).max(shortest).min(longest)
    };
    Pace {
        pass: if awaited {
            let limit = LONGEST_WHERE_AWAITED.min(pass_limit);
            between(PASS_WHERE_AWAITED, SHORTEST_PASS, limit)
        } else {
            between(PASS, SHORTEST_PASS, pass_limit)
        },
        look: between(LOOK, SHORTEST_LOOK, look_limit),
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
        assert_eq!(seconds(200, false, DRIFT), (100, 120));
        assert_eq!(seconds(300, true, DRIFT), (30, 180));
        assert_eq!(seconds(1000, true, DRIFT), (60, 400));
        assert_eq!(seconds(usize::MAX, false, DRIFT), (150, 400));
        assert_eq!(seconds(usize::MAX, false, DRIFT * 6), (900, 2400));
        let day = DRIFT * 144;
        assert_eq!(seconds(1000, false, day), (500, 600));
        assert_eq!(seconds(usize::MAX, false, day), (3000, 57_600));
    }

    #[test]
    fn a_look_and_the_longest_rest_before_it_fit_into_the_drift_interval() {
        for drift in [60, 61, 250, 600, 86_400].map(Duration::from_secs) {
            for tenants in [0, 20, 120, 400, 1000, 100_000] {
                for awaited in [false, true] {
                    let Pace { pass, look } = pace(tenants, awaited, drift);
                    assert!(look + pass * 6 / 5 <= drift, "{tenants} {drift:?}");
                }
            }
        }
        assert_eq!(seconds(10_000, true, Duration::ZERO), (15, 40));
    }
}
