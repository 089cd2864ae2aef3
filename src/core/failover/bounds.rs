//! A loss bound that is older than the promotion it was decided for.

use super::fixtures::{moving, pass, second, server, state_after, stored_after};
use super::*;
use crate::facts::Role;

/// A promotion that hangs, and heartbeats that tell this leader no time.
fn hanging() -> Observation {
    let mut seen = moving(State::Promoting);
    let standby = server(&mut seen, "central").facts.as_mut().unwrap();
    standby.heartbeat.as_mut().unwrap().leader = "the leader before".into();
    seen.stored.since = second(985);
    seen.stored.journal.as_mut().unwrap().loss_at = Some(second(985));
    seen.ages.bounded.known_ms = 15_000;
    seen
}

/// The bound grows with the time since it was stored, once, and the promotion goes on.
#[test]
fn a_bound_that_grew_does_not_grow_again_by_the_same_seconds() {
    let mut seen = hanging();
    let grown = stored_after(&seen);
    assert_eq!(
        grown.since,
        second(985),
        "or a promotion that hangs is never late"
    );
    let loss = |stored: &Stored| stored.journal.as_ref().and_then(|journal| journal.loss);
    assert_eq!(loss(&grown), Some(LossBound::Seconds(2 + 15)));
    seen.stored = grown;
    seen.ages.bounded.known_ms = 0;
    let next = decide(&seen).answer;
    assert!(matches!(next, Answer::Work(Step::Promote(..))), "{next:?}");
}

/// How long the leader before was silent only wall clocks tell, and they may be wrong by an hour.
#[test]
fn a_later_leader_does_not_know_what_was_lost_since_the_bound() {
    let mut seen = hanging();
    seen.ages.bounded.before_ms = Some(0);
    assert_eq!(state_after(&seen), State::Halted);
    let journal = seen.stored.journal.as_mut().unwrap();
    journal.accept = [Accept::DataLoss].into();
    let grown = stored_after(&seen);
    let loss = grown.journal.and_then(|journal| journal.loss);
    assert_eq!(
        (grown.state, loss),
        (State::Promoting, Some(LossBound::Unknown))
    );
}

/// A person made the old primary a standby meanwhile: it has no last writes to hand over.
#[test]
fn a_stopped_move_whose_bound_grew_too_large_stays_stopped() {
    let mut seen = moving(State::Halted);
    let west = server(&mut seen, "west");
    west.live = true;
    west.facts.as_mut().unwrap().role = Role::Standby;
    assert_eq!(state_after(&seen), State::Promoting);
    pass(&mut seen, 200);
    assert_eq!(state_after(&seen), State::Halted);
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.role = Role::Primary;
    west.authority = Some(crate::facts::Authority {
        epoch: crate::facts::Epoch(5),
        writable: false,
    });
    west.open_logins = 0;
    assert_eq!(state_after(&seen), State::Promoting);
}
