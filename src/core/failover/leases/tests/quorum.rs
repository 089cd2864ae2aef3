//! Who else says that the primary is gone.

use super::*;

/// An outage that this leader has known of for ten seconds.
pub(super) fn long_since(seen: &mut Observation) {
    let moved = moving(State::Fencing);
    assert_eq!(seen.stored.epoch, Epoch(4));
    seen.stored.evidence = moved.stored.evidence;
    seen.ages.outage.known_ms = 10_000;
}

#[test]
fn an_agent_that_renews_during_the_outage_is_a_vantage_that_disagrees() {
    let mut seen = outage();
    long_since(&mut seen);
    seen.lease = there(pledged(&seen, false), 2_000);
    assert_eq!(objection(&seen), [GuardName::SecondVantage]);
    seen.lease = there(pledged(&seen, false), 12_000);
    assert_eq!(objection(&seen), []);
}

#[test]
fn a_later_leader_takes_its_first_look_for_a_renewal() {
    let mut seen = outage();
    long_since(&mut seen);
    seen.ages.outage = Age {
        known_ms: 1_000,
        before_ms: Some(0),
    };
    seen.lease = there(pledged(&seen, false), 1_000);
    assert_eq!(objection(&seen), [GuardName::SecondVantage]);
}

#[test]
fn a_quorum_of_three_wants_one_more_vantage() {
    let mut seen = outage();
    seen.settings.quorum = 3;
    assert_eq!(objection(&seen), [GuardName::SecondVantage]);
    long_since(&mut seen);
    seen.lease = there(pledged(&seen, false), 12_000);
    assert_eq!(objection(&seen), []);
}
