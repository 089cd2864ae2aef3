//! Whether the agent lived when the outage began, as a later leader knows it.

use super::*;
use crate::failover::fixtures::stored_after;
use crate::health::Verdict;

/// A leader that came in the middle of the outage: what it saw first it takes for a renewal.
fn later(lived: bool) -> Observation {
    let mut seen = fencing(7_000, false);
    seen.ages.outage = Age {
        known_ms: 7_000,
        before_ms: Some(60_000),
    };
    seen.stored.evidence.as_mut().unwrap().agent_lived = lived;
    if let Look::There(lease) = &mut seen.lease {
        lease.witnessed = false;
    }
    seen
}

#[test]
fn a_later_leader_takes_the_word_of_the_one_that_saw_the_outage_begin() {
    let seen = later(true);
    assert_eq!(reason(&seen), "LeasePending");
    let mut over = later(true);
    over.now.mono = Mono(over.now.mono.0 + 60_000);
    assert_eq!(reason(&over), "CaughtUp");
    // The agent had died before; that its record is there tells nothing.
    assert_eq!(reason(&later(false)), "FencingUnproven");
    let mut late = later(false);
    late.now.mono = Mono(late.now.mono.0 + 60_000);
    assert_eq!(reason(&late), "FencingUnproven");
    // Nor does what is seen of the record later: the last leader's own writes come late, too.
    let mut changed = later(false);
    if let Look::There(lease) = &mut changed.lease {
        lease.witnessed = true;
    }
    assert_eq!(reason(&changed), "FencingUnproven");
}

#[test]
fn that_an_agent_lives_is_stored_when_suspicion_begins_and_only_if_it_was_seen() {
    let stored = |quiet_ms: u64, witnessed: bool| {
        let mut seen = calm();
        server(&mut seen, "west").verdict = Verdict::Failing { failures: 1 };
        seen.lease = there(pledged(&seen, false), quiet_ms);
        if let Look::There(lease) = &mut seen.lease {
            lease.witnessed = witnessed;
        }
        let next = stored_after(&seen);
        assert_eq!(next.state, State::Suspect);
        next.evidence.unwrap().agent_lived
    };
    assert!(stored(1_000, true));
    assert!(!stored(60_000, true), "it was silent before");
    assert!(!stored(1_000, false), "a first look is no renewal");
}

#[test]
fn a_take_whose_answer_was_lost_is_no_renewal() {
    let mut seen = fencing(60_000, false);
    seen.stored.evidence.as_mut().unwrap().agent_lived = false;
    assert_ne!(reason(&seen), "FencingUnproven");
    if let Look::There(lease) = &mut seen.lease {
        lease.renewed = Mono(NOW - 50_000);
    }
    assert_eq!(reason(&seen), "FencingUnproven");
}
