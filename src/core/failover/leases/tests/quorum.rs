//! Who else says that the primary is gone.

use super::*;

pub(super) fn evidence(seen: &Observation, outage_since: i64) -> Evidence {
    let mut moved = moving(State::Fencing);
    let known = moved.stored.evidence.take().unwrap();
    assert_eq!(seen.stored.epoch, Epoch(4));
    Evidence {
        outage_since: second(outage_since),
        ..known
    }
}

#[test]
fn an_agent_that_renews_during_the_outage_is_a_vantage_that_disagrees() {
    let mut seen = outage();
    seen.stored.evidence = Some(evidence(&seen, 1000 - 10));
    seen.lease = there(pledged(&seen, false), 2_000);
    assert_eq!(objection(&seen), [GuardName::SecondVantage]);
    seen.lease = there(pledged(&seen, false), 12_000);
    assert_eq!(objection(&seen), []);
}

#[test]
fn a_quorum_of_three_wants_one_more_vantage() {
    let mut seen = outage();
    seen.settings.quorum = 3;
    assert_eq!(objection(&seen), [GuardName::SecondVantage]);
    seen.stored.evidence = Some(evidence(&seen, 1000 - 10));
    seen.lease = there(pledged(&seen, false), 12_000);
    assert_eq!(objection(&seen), []);
}
