//! What changes while a move is under way or about to begin, and what must not follow from it.

use super::fixtures::{
    calm, facts, moving, objection, outage, pass, second, server, state_after, stored_after, view,
};
use super::*;
use crate::facts::{Authority, Epoch, Facts, Lsn, Role};
use crate::health::{ProbeFailure, Verdict};
use crate::names::{RegionName, ServerId};
use crate::time::Mono;

#[test]
fn one_failed_read_of_a_server_that_answered_its_last_probe_is_no_reason_for_a_weaker_proof() {
    let mut seen = moving(State::Fencing);
    let fencing = |verdict, seen: &mut Observation| {
        (server(seen, "west").verdict, server(seen, "west").live) = (verdict, false);
        state_after(seen)
    };
    assert_eq!(fencing(Verdict::Up, &mut seen), State::Fencing);
    assert_eq!(
        fencing(Verdict::Unknown, &mut seen),
        State::Fencing,
        "a new leader probes first"
    );
    assert_eq!(fencing(Verdict::Down, &mut seen), State::Promoting);
}

#[test]
fn a_standby_that_has_more_to_replay_is_waited_for_in_a_state_of_its_own() {
    let mut seen = moving(State::Fencing);
    (
        server(&mut seen, "west").verdict,
        server(&mut seen, "west").live,
    ) = (Verdict::Down, false);
    let central = server(&mut seen, "central").facts.as_mut().unwrap();
    central.received = Some(Lsn(central.position.0 + 1));
    assert_eq!(state_after(&seen), State::CatchingUp);
}

#[test]
fn an_old_primary_that_answers_while_the_standby_catches_up_is_fenced_first() {
    let mut seen = moving(State::CatchingUp);
    (
        server(&mut seen, "west").verdict,
        server(&mut seen, "west").live,
    ) = (Verdict::Recovering { successes: 1 }, true);
    let stored = stored_after(&seen);
    assert_eq!(stored.state, State::Fencing);
    assert_eq!(stored.journal.unwrap().proof, None);
}

#[test]
fn a_stream_that_lives_again_vetoes_an_automatic_failover_until_its_promotion() {
    let mut seen = moving(State::CatchingUp);
    server(&mut seen, "central").facts = Some(facts(Role::Standby));
    let stored = stored_after(&seen);
    assert_eq!((stored.state, stored.epoch), (State::Outage, Epoch(6)));
    assert!(decide(&seen).message.contains("PrimaryAliveAtPeer"));
}

#[test]
fn a_fenced_primary_whose_last_writes_do_not_come_gets_its_right_back() {
    let mut seen = moving(State::CatchingUp);
    let journal = seen.stored.journal.as_mut().unwrap();
    (journal.proof, journal.final_position) = (Some(Proof::Confirmed), Some(Lsn(101)));
    (
        server(&mut seen, "west").verdict,
        server(&mut seen, "west").live,
    ) = (Verdict::Up, true);
    assert_eq!(state_after(&seen), State::CatchingUp);
    pass(&mut seen, 21);
    assert_eq!(state_after(&seen), State::Aborting);
}

#[test]
fn an_old_primary_that_answers_before_the_promotion_hands_over_its_last_writes() {
    let mut seen = moving(State::Promoting);
    let fenced = Authority {
        epoch: Epoch(5),
        writable: false,
    };
    let west = server(&mut seen, "west");
    (west.verdict, west.live) = (Verdict::Recovering { successes: 1 }, true);
    let west = west.facts.as_mut().unwrap();
    (west.authority, west.open_logins, west.position) = (Some(fenced), 0, Lsn(120));
    seen.stored = stored_after(&seen);
    let journal = seen.stored.journal.as_ref().unwrap();
    assert_eq!(seen.stored.state, State::Promoting);
    assert_eq!(journal.final_position, Some(Lsn(120)));
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
    server(&mut seen, "central")
        .facts
        .as_mut()
        .unwrap()
        .position = Lsn(120);
    let promote = Step::Promote(ServerId::new("central", "main"), Epoch(5));
    assert_eq!(decide(&seen).answer, Answer::Work(promote));
}

#[test]
fn a_move_that_halted_before_its_decision_starts_over_with_the_fence() {
    let mut seen = moving(State::Halted);
    seen.stored.journal.as_mut().unwrap().loss = None;
    assert_eq!(state_after(&seen), State::Fencing);
}

#[test]
fn a_move_that_halted_for_longer_than_the_loss_bound_does_not_go_on_by_itself() {
    let mut seen = moving(State::Halted);
    assert_eq!(state_after(&seen), State::Promoting);
    seen.now.mono = Mono(100_000 + 600_000);
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

#[test]
fn a_standby_that_leaves_the_policy_mid_move_ends_the_move() {
    let mut seen = moving(State::CatchingUp);
    seen.servers.remove(&RegionName::from("central"));
    assert_eq!(state_after(&seen), State::Aborting);
    seen.stored.state = State::Promoting;
    assert_eq!(state_after(&seen), State::Halted);
}

#[test]
fn an_old_primary_that_returns_while_tenants_are_rerouted_is_fenced_at_once() {
    let mut seen = moving(State::Rerouting);
    seen.stored.active = "central".into();
    server(&mut seen, "west").live = true;
    let fence = Step::Fence(ServerId::new("west", "main"), Epoch(5));
    assert_eq!(decide(&seen).answer, Answer::Work(fence));
}

#[test]
fn a_synchronous_proof_needs_a_fresh_sample_and_ends_when_the_server_denies_it() {
    let mut seen = calm();
    let claim = Claim {
        standby: "central".into(),
        name: "central".into(),
    };
    seen.stored.claim = Some(claim);
    let west = server(&mut seen, "west");
    west.facts.as_mut().unwrap().synchrony.names = "central".into();
    (west.verdict, west.live) = (Verdict::Failing { failures: 1 }, false);
    let evidence = |seen: &Observation| stored_after(seen).evidence.unwrap().synchronous;
    assert_eq!(evidence(&seen), Some("central".into()));
    let mut old = seen.clone();
    old.now.mono = Mono(200_000);
    assert_eq!(evidence(&old), None, "refused for long, then lost");
    seen.stored = stored_after(&seen);
    let west = server(&mut seen, "west");
    west.facts.as_mut().unwrap().synchrony.names = String::new();
    (west.verdict, west.live) = (Verdict::Recovering { successes: 1 }, true);
    assert_eq!(evidence(&seen), None, "it came back for a moment");
}

#[test]
fn an_outage_after_a_voided_approval_asks_under_a_new_name() {
    let mut seen = outage();
    seen.settings.mode = Mode::SemiAutomatic;
    seen.stored = stored_after(&seen);
    let first = seen.stored.journal.clone().unwrap().operation;
    let back = server(&mut seen, "west");
    (back.verdict, back.live) = (Verdict::Up, true);
    let epoch = stored_after(&seen).epoch;
    let mut again = outage();
    (again.settings.mode, again.stored.epoch) = (Mode::SemiAutomatic, epoch);
    assert_ne!(stored_after(&again).journal.unwrap().operation, first);
}

#[test]
fn the_standby_that_holds_every_acknowledged_write_comes_before_any_preference() {
    let mut seen = outage();
    let mut other = view("south", Role::Standby);
    other.facts.as_mut().unwrap().receiver = None;
    seen.servers.insert("south".into(), other);
    seen.settings.standbys.push(Standby {
        server: ServerId::new("south", "main"),
        priority: 1,
        promotion: Promotion::Prefer,
    });
    assert_eq!(decide(&seen).candidate, Some("south".into()));
    seen.stored.claim = Some(Claim {
        standby: "central".into(),
        name: "central".into(),
    });
    assert_eq!(decide(&seen).candidate, Some("central".into()));
}

#[test]
fn a_drained_server_of_a_newer_epoch_is_never_passed_over_for_an_open_older_one() {
    let mut seen = calm();
    let central = server(&mut seen, "central");
    let drained = Authority {
        epoch: Epoch(6),
        writable: false,
    };
    central.facts = Some(Facts {
        authority: Some(drained),
        ..facts(Role::Primary)
    });
    assert!(adopt(&seen.settings, &seen.servers, None, seen.now).is_err());
}

#[test]
fn an_old_primary_that_answers_and_cannot_be_fenced_keeps_its_tenants() {
    let mut seen = moving(State::Fencing);
    let west = server(&mut seen, "west");
    (west.verdict, west.live) = (Verdict::Recovering { successes: 1 }, true);
    let fence = Step::Fence(ServerId::new("west", "main"), Epoch(5));
    assert_eq!(decide(&seen).answer, Answer::Work(fence));
    pass(&mut seen, 21);
    assert_eq!(state_after(&seen), State::Aborting);
}

#[test]
fn a_halted_machine_still_fences_a_primary_of_an_older_epoch() {
    let mut seen = calm();
    seen.stored.state = State::Halted;
    let older = Authority {
        epoch: Epoch(3),
        writable: true,
    };
    server(&mut seen, "central").facts = Some(Facts {
        authority: Some(older),
        ..facts(Role::Primary)
    });
    let fence = Step::Fence(ServerId::new("central", "main"), Epoch(4));
    assert_eq!(decide(&seen).answer, Answer::Work(fence));
    let same = Authority {
        epoch: Epoch(4),
        writable: true,
    };
    server(&mut seen, "central")
        .facts
        .as_mut()
        .unwrap()
        .authority = Some(same);
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

/// Faults: 64, 65.
#[test]
fn a_standby_that_has_fallen_behind_has_no_predicted_loss() {
    let mut seen = calm();
    let central = RegionName::from("central");
    assert_eq!(predicted_loss(&seen, &central), LossBound::Seconds(5));
    seen.now.mono = Mono(98_000 + 6_001);
    assert_eq!(predicted_loss(&seen, &central), LossBound::Unknown);
}

#[test]
fn a_halted_move_without_an_old_primary_rests() {
    let mut seen = moving(State::Halted);
    seen.stored.journal.as_mut().unwrap().loss = None;
    let west = server(&mut seen, "west");
    (west.verdict, west.live) = (Verdict::Up, true);
    west.facts.as_mut().unwrap().role = Role::Standby;
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)), "demoted");
    seen.servers.remove(&RegionName::from("west"));
    assert!(
        matches!(decide(&seen).answer, Answer::Wait(_)),
        "not listed"
    );
}

#[test]
fn a_newer_epoch_on_any_server_keeps_the_machine_halted() {
    let mut seen = calm();
    let newer = Authority {
        epoch: Epoch(5),
        writable: false,
    };
    let central = server(&mut seen, "central").facts.as_mut().unwrap();
    central.authority = Some(newer);
    assert_eq!(state_after(&seen), State::Halted);
    seen.stored.state = State::Halted;
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

/// Faults: 57.
#[test]
fn a_primary_without_a_free_slot_lives_and_ends_an_automatic_failover() {
    for state in [State::Fencing, State::CatchingUp] {
        let mut seen = moving(state);
        let full = Verdict::Refusing(ProbeFailure::TooManyConnections);
        server(&mut seen, "west").verdict = full;
        assert_eq!(state_after(&seen), State::Outage);
        seen.stored = stored_after(&seen);
        assert_eq!(state_after(&seen), State::Blocked);
    }
}

/// Faults: 63, 96.
#[test]
fn a_standby_that_somebody_promoted_in_an_outage_is_never_fenced() {
    let mut seen = outage();
    seen.stored.state = State::Steady;
    seen.stored = stored_after(&seen);
    (seen.stored.state, seen.stored.epoch) = (State::Blocked, Epoch(6));
    server(&mut seen, "central").facts = Some(Facts {
        timeline: 4,
        ..facts(Role::Primary)
    });
    assert_eq!(state_after(&seen), State::Halted);
    seen.stored = stored_after(&seen);
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

#[test]
fn a_move_that_leaves_a_stalled_tenant_behind_says_so() {
    let mut seen = moving(State::Verifying);
    seen.stored.active = "central".into();
    let epoch = seen.stored.epoch;
    server(&mut seen, "central").facts = Some(Facts {
        authority: Some(Authority {
            epoch,
            writable: true,
        }),
        heartbeat: Some(crate::facts::Heartbeat {
            sequence: 2,
            leader: "me".into(),
            at: Mono(99_000),
            epoch,
        }),
        timeline: 4,
        ..facts(Role::Primary)
    });
    seen.tenants[0].repointed = epoch;
    assert!(!decide(&seen).message.contains("not pointed"));
    (seen.tenants[0].stalled, seen.tenants[0].repointed) = (true, Epoch(4));
    let decision = decide(&seen);
    assert_eq!(stored_after(&seen).state, State::Steady);
    assert!(
        decision
            .message
            .contains("1 of 1 tenants are not pointed at it yet, ns/acme")
    );
}

#[test]
fn a_standby_left_behind_by_the_last_move_is_not_promoted_by_hand() {
    let mut seen = outage();
    seen.stored.evidence = None;
    seen.stored.history = vec![Past {
        operation: "eu-4".into(),
        kind: MoveKind::Failover,
        automatic: true,
        from: "central".into(),
        to: "west".into(),
        epoch: Epoch(4),
        proof: None,
        loss: LossBound::Seconds(0),
        rto_seconds: 1,
        fork: None,
        finished: second(0),
    }];
    assert!(!objection(&seen).contains(&GuardName::StandbyEligible));
    // One that stopped before that move, and one that follows the server that was fenced in it.
    for (epoch, writable) in [(3, true), (4, false)] {
        let row = Authority {
            epoch: Epoch(epoch),
            writable,
        };
        let standby = server(&mut seen, "central").facts.as_mut().unwrap();
        standby.authority = Some(row);
        assert!(objection(&seen).contains(&GuardName::StandbyEligible));
    }
}

#[test]
fn a_way_home_that_was_refused_does_not_stand_for_a_failover() {
    let mut seen = outage();
    seen.stored.state = State::Blocked;
    let mut home = calm();
    (home.stored.active, home.settings.failback) = ("central".into(), FailbackMode::Automatic);
    server(&mut home, "west").facts = Some(facts(Role::Standby));
    server(&mut home, "central").facts = Some(facts(Role::Primary));
    home.home_in_sync_ms = Some(u64::MAX);
    let asked = decide(&home).answer;
    let own = home.own_failback();
    assert!(
        matches!(&asked, Answer::Work(Step::Ask { name, .. }) if *name == own),
        "{asked:?}"
    );
    seen.ended = [seen.own_failback()].into();
    assert_eq!(state_after(&seen), State::Outage);
    seen.ended = [seen.own_operation()].into();
    assert_eq!(state_after(&seen), State::Blocked);
}

#[test]
fn a_standby_that_is_silent_for_a_moment_is_waited_for_and_a_lost_one_is_not() {
    let mut seen = moving(State::CatchingUp);
    server(&mut seen, "central").live = false;
    assert_eq!(decide(&seen).reason, "StandbySilent");
    server(&mut seen, "central").verdict = Verdict::Down;
    assert_eq!(decide(&seen).reason, "StandbyLost");
}
