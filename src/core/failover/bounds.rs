//! Loss bounds, before a move and while it lasts.

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

#[test]
fn nothing_is_foretold_to_be_lost_on_the_claimed_standby_alone() {
    let mut seen = super::fixtures::calm();
    let foretold = |seen: &Observation| predicted_loss(seen, &"central".into());
    assert_eq!(foretold(&seen), LossBound::Seconds(5));
    let mut claim = Claim {
        standby: "central".into(),
        name: "central".into(),
    };
    seen.stored.claim = Some(claim.clone());
    assert_eq!(foretold(&seen), LossBound::Seconds(0));
    claim.standby = "north".into();
    seen.stored.claim = Some(claim);
    assert_eq!(foretold(&seen), LossBound::Seconds(5));
}

/// What the machine began because the primary was lost it gives up when that is back; a planned
/// move it has begun itself needs a primary that answers.
#[test]
fn a_primary_that_is_healthy_again_ends_a_failover_and_no_planned_move() {
    let mut seen = moving(State::Fencing);
    let west = server(&mut seen, "west");
    (west.live, west.verdict) = (true, crate::health::Verdict::Up);
    assert_eq!(decide(&seen).reason, "Recovered");
    seen.stored.journal.as_mut().unwrap().kind = MoveKind::Failback;
    assert_eq!(decide(&seen).reason, "Fencing");
}
