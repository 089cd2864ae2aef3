//! What a person is asked for, and what one does by hand instead.

use super::fixtures::{facts, moving, outage, pass, server, state_after, stored_after};
use super::*;
use crate::facts::{Authority, Epoch, Role};
use crate::health::Verdict;

/// `west` is lost, and a person is asked to move its tenants to `central`.
fn asked() -> Observation {
    let mut seen = outage();
    seen.settings.mode = Mode::SemiAutomatic;
    seen.stored = stored_after(&seen);
    assert_eq!(seen.stored.state, State::AwaitingApproval);
    seen
}

fn west_is_back(seen: &mut Observation) {
    let west = server(seen, "west");
    (west.verdict, west.live) = (Verdict::Up, true);
}

/// Somebody promotes a standby instead: its row is the copy that it had.
fn promoted_by_hand(region: &str, seen: &mut Observation) {
    let mut now = facts(Role::Primary);
    now.timeline = 4;
    server(seen, region).facts = Some(now);
}

/// Faults: 63.
#[test]
fn a_server_promoted_by_hand_ends_the_question_and_starts_no_move() {
    for rescued in ["central", "north"] {
        let mut seen = asked();
        let mut north = seen.servers[&"central".into()].clone();
        north.server = crate::names::ServerId::new("north", "main");
        seen.servers.insert("north".into(), north);
        promoted_by_hand(rescued, &mut seen);
        seen.stored = stored_after(&seen);
        assert_eq!(seen.stored.state, State::Halted);
        assert_eq!(
            decide(&seen).answer,
            Answer::Wait(1000),
            "{rescued} was promoted by a person, and nobody approved a move"
        );
    }
}

#[test]
fn once_the_contradiction_is_gone_the_next_outage_asks_under_another_name() {
    let mut seen = asked();
    let name = seen.own_operation();
    promoted_by_hand("central", &mut seen);
    seen.stored = stored_after(&seen);
    west_is_back(&mut seen);
    server(&mut seen, "central").facts = Some(facts(Role::Standby));
    seen.ended.insert(name.clone());
    seen.stored = stored_after(&seen);
    assert_eq!(
        (seen.stored.state, seen.stored.epoch),
        (State::Steady, Epoch(5))
    );
    assert_ne!(seen.own_operation(), name);
}

#[test]
fn the_outage_after_one_that_nobody_approved_asks_under_another_name() {
    let mut seen = asked();
    let name = seen.own_operation();
    pass(&mut seen, 1800);
    seen.stored = stored_after(&seen);
    assert_eq!(seen.stored.state, State::Blocked);
    seen.ended.insert(name.clone());
    assert_eq!(state_after(&seen), State::Blocked);
    west_is_back(&mut seen);
    seen.stored = stored_after(&seen);
    assert_eq!(seen.stored.state, State::Steady);
    assert_ne!(seen.own_operation(), name);
    // The server gets its right under the new epoch, as at any other time.
    let row = Authority {
        epoch: Epoch(4),
        writable: true,
    };
    server(&mut seen, "west").facts.as_mut().unwrap().authority = Some(row);
    assert!(matches!(
        decide(&seen).answer,
        Answer::Work(Step::TakeAuthority(_, Epoch(5)))
    ));
}

/// A move was given up, and had spent an epoch, when somebody promoted `central`.
#[test]
fn a_machine_that_halted_goes_on_once_its_server_is_the_only_primary() {
    let mut seen = outage();
    seen.stored.epoch = Epoch(6);
    seen.stored.state = State::Halted;
    west_is_back(&mut seen);
    let central = Authority {
        epoch: Epoch(6),
        writable: false,
    };
    let mut now = facts(Role::Primary);
    (now.timeline, now.authority, now.open_logins) = (4, Some(central), 0);
    server(&mut seen, "central").facts = Some(now);
    assert_eq!(decide(&seen).answer, Answer::Wait(1000));
    server(&mut seen, "central").facts = Some(facts(Role::Standby));
    assert_eq!(state_after(&seen), State::Steady);
    // Not while one is silent, or the active server is a standby.
    let mut silent = seen.clone();
    server(&mut silent, "central").live = false;
    assert_eq!(state_after(&silent), State::Halted);
    server(&mut seen, "west").facts = Some(facts(Role::Standby));
    assert_eq!(state_after(&seen), State::Halted);
}

/// The standby was made anew of the old primary, which somebody had demoted and promoted again.
#[test]
fn a_halted_move_whose_target_fits_no_more_is_undone() {
    let mut seen = moving(State::Halted);
    seen.stored.journal.as_mut().unwrap().loss = None;
    server(&mut seen, "central")
        .facts
        .as_mut()
        .unwrap()
        .timeline = 4;
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)), "silent");
    west_is_back(&mut seen);
    assert_eq!(state_after(&seen), State::Fencing);
}
