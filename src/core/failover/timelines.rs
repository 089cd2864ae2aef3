//! The timeline on which the active server was last seen to write outlives whoever saw it.

use super::fixtures::{calm, objection, outage, server, stored_after};
use super::*;
use crate::facts::Role;
use crate::health::Verdict;

#[test]
fn a_timeline_that_nobody_stored_is_stored() {
    let mut seen = calm();
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
    server(&mut seen, "west").facts.as_mut().unwrap().timeline = 5;
    assert_eq!(stored_after(&seen).timeline, 5);
    // A server that was made from a backup begins anew.
    server(&mut seen, "west").facts.as_mut().unwrap().timeline = 1;
    assert_eq!(stored_after(&seen).timeline, 1);
}

/// A person promoted the active server anew, and its standby never followed.
#[test]
fn a_leader_that_never_saw_the_active_server_promotes_no_copy_of_an_older_timeline() {
    let mut seen = outage();
    seen.stored.evidence = None;
    let west = server(&mut seen, "west");
    (west.facts, west.live, west.verdict) = (None, false, Verdict::Down);
    let refused = |seen: &Observation| objection(seen).contains(&GuardName::StandbyEligible);
    assert!(!refused(&seen));
    seen.stored.timeline = 4;
    assert!(refused(&seen));
    seen.stored.timeline = 0;
    assert!(!refused(&seen), "nobody knows");
}

#[test]
fn what_was_seen_last_counts_while_the_server_is_silent() {
    let mut seen = calm();
    let west = server(&mut seen, "west");
    (west.live, west.verdict) = (false, Verdict::Failing { failures: 1 });
    let facts = west.facts.as_mut().unwrap();
    (facts.role, facts.timeline) = (Role::Primary, 6);
    assert_eq!(stored_after(&seen).timeline, 6);
    // Another leader had seen a later one.
    seen.stored.timeline = 7;
    assert_eq!(stored_after(&seen).timeline, 7);
}
