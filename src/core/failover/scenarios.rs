//! Single situations, each with the one answer that is right.

use super::fixtures::{
    ask, calm, facts, objection, outage, pass, second, server, state_after, stored_after, view,
};
use super::*;
use crate::facts::{Authority, Engine, Epoch, Facts, Lsn, Role};
use crate::health::{ProbeFailure, Verdict};
use crate::names::{Jurisdiction, RegionName, ServerId};

#[test]
fn a_calm_world_needs_nothing() {
    assert!(matches!(decide(&calm()).answer, Answer::Wait(_)));
}

#[test]
fn an_outage_with_all_guards_open_begins_to_fence_under_the_next_epoch() {
    let Answer::Move(next) = decide(&outage()).answer else {
        panic!("no move")
    };
    assert_eq!((next.state, next.epoch), (State::Fencing, Epoch(5)));
    assert_eq!(
        next.active,
        "west".into(),
        "nothing is repointed before promotion"
    );
}

/// Faults: 74.
#[test]
fn a_live_stream_at_the_standby_vetoes_failover() {
    let mut seen = outage();
    seen.stored.state = State::Suspect;
    let central = seen.servers.get_mut(&RegionName::from("central")).unwrap();
    central.facts = Some(facts(Role::Standby));
    assert_eq!(state_after(&seen), State::Suspect);
    assert!(decide(&seen).message.contains("PrimaryAliveAtPeer"));
}

/// Faults: 60.
#[test]
fn a_refused_login_is_no_outage() {
    let mut seen = calm();
    let west = seen.servers.get_mut(&RegionName::from("west")).unwrap();
    west.verdict = Verdict::Refusing(ProbeFailure::CredentialsDenied);
    west.live = false;
    let decision = decide(&seen);
    assert!(matches!(decision.answer, Answer::Wait(_)));
    assert_eq!(decision.reason, "CredentialsDenied");
}

/// Faults: 6, 64, 82, 84.
#[test]
fn each_guard_blocks_alone() {
    type Spoil = fn(&mut Observation);
    let spoils: [(GuardName, Spoil); 7] = [
        (GuardName::Armed, |s| s.settings.paused = true),
        (GuardName::Armed, |s| s.settings.mode = Mode::Manual),
        (GuardName::NotIsolated, |s| {
            s.others = [
                ("east".into(), Verdict::Down),
                ("south".into(), Verdict::Down),
            ]
            .into();
        }),
        (GuardName::Jurisdiction, |s| {
            s.tenants[0].allowed = [Jurisdiction::new("CH")].into();
        }),
        (GuardName::LossBound, |s| s.leader = "another".into()),
        (GuardName::Cooldown, |s| {
            s.stored.cooldown_until = Some(second(2000));
            s.ages.cooldown_left_ms = 1;
        }),
        (GuardName::FencingProof, |s| {
            s.settings.minimum_proof = Proof::SynchronousReplication;
        }),
    ];
    for (guard, spoil) in spoils {
        let mut seen = outage();
        spoil(&mut seen);
        assert_eq!(objection(&seen), [guard]);
        assert_eq!(state_after(&seen), State::Blocked, "{}", guard.as_str());
    }
}

/// Faults: 6.
#[test]
fn nothing_an_operation_accepts_leaves_the_jurisdiction() {
    let mut seen = outage();
    seen.stored.state = State::Blocked;
    seen.tenants[0].allowed = [Jurisdiction::new("CH")].into();
    let accept = Accept::ALL.iter().copied().collect();
    seen.requests = vec![Request {
        accept,
        ..ask(MoveKind::Failover, 4)
    }];
    let decision = decide(&seen);
    assert_eq!(decision.refusals.len(), 1);
    assert!(
        decision.refusals[0]
            .message
            .contains("TenantPlacement ns/acme")
    );
    assert!(!matches!(decision.answer, Answer::Move(next) if next.state == State::Fencing));
}

#[test]
fn an_operation_that_accepts_the_missing_proof_moves_a_blocked_policy() {
    let mut seen = outage();
    seen.stored.state = State::Blocked;
    seen.settings.minimum_proof = Proof::SynchronousReplication;
    assert_eq!(state_after(&seen), State::Blocked);
    let accept = [Accept::UnprovenFencing].into();
    seen.requests = vec![Request {
        accept,
        ..ask(MoveKind::Failover, 4)
    }];
    assert_eq!(state_after(&seen), State::Fencing);
}

#[test]
fn an_operation_of_an_older_epoch_is_refused() {
    let mut seen = calm();
    seen.requests = vec![ask(MoveKind::Switchover, 3)];
    let decision = decide(&seen);
    assert_eq!(decision.refusals[0].reason, "EpochMismatch");
    assert!(matches!(decision.answer, Answer::Wait(_)));
}

#[test]
fn of_two_operations_one_runs_and_one_is_refused() {
    let mut seen = calm();
    let second = Request {
        name: "late".into(),
        ..ask(MoveKind::Failover, 4)
    };
    seen.requests = vec![ask(MoveKind::Switchover, 4), second];
    let decision = decide(&seen);
    assert_eq!(decision.refusals[0].operation, "late");
    assert!(matches!(decision.answer, Answer::Move(next) if next.state == State::Draining));
}

#[test]
fn approval_is_asked_for_and_the_return_of_the_primary_voids_it() {
    let mut seen = outage();
    seen.settings.mode = Mode::SemiAutomatic;
    let Answer::Move(asked) = decide(&seen).answer else {
        panic!("no move")
    };
    assert_eq!(
        (asked.state, asked.epoch),
        (State::AwaitingApproval, Epoch(4))
    );
    seen.stored = *asked;
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
    let own = Request {
        name: "eu-5".into(),
        approved: true,
        ..ask(MoveKind::Failover, 4)
    };
    seen.requests = vec![own];
    assert_eq!(state_after(&seen), State::Fencing);
    let west = seen.servers.get_mut(&RegionName::from("west")).unwrap();
    (west.verdict, west.live) = (Verdict::Up, true);
    assert_eq!(state_after(&seen), State::Steady);
}

#[test]
fn an_approval_that_nobody_gave_in_time_blocks() {
    let mut seen = outage();
    seen.settings.mode = Mode::SemiAutomatic;
    let Answer::Move(asked) = decide(&seen).answer else {
        panic!("no move")
    };
    seen.stored = *asked;
    pass(&mut seen, 1800);
    assert_eq!(state_after(&seen), State::Blocked);
}

/// Faults: 63, 96.
#[test]
fn two_servers_with_the_right_of_one_epoch_halt() {
    let mut seen = calm();
    let central = seen.servers.get_mut(&RegionName::from("central")).unwrap();
    central.facts = Some(facts(Role::Primary));
    assert_eq!(state_after(&seen), State::Halted);
}

/// Faults: 71.
#[test]
fn an_old_primary_that_came_back_is_fenced_before_anything_else() {
    let mut seen = calm();
    let central = seen.servers.get_mut(&RegionName::from("central")).unwrap();
    central.facts = Some(Facts {
        authority: Some(Authority {
            epoch: Epoch(3),
            writable: true,
        }),
        ..facts(Role::Primary)
    });
    seen.requests = vec![];
    let fence = Step::Fence(ServerId::new("central", "main"), Epoch(4));
    assert_eq!(decide(&seen).answer, Answer::Work(fence));
}

#[test]
fn failback_comes_by_itself_only_when_asked_for_and_after_the_stable_time() {
    let mut seen = calm();
    seen.stored.active = "central".into();
    for (name, role) in [("west", Role::Standby), ("central", Role::Primary)] {
        seen.servers.insert(name.into(), view(name, role));
    }
    seen.home_in_sync_ms = Some(300_000);
    assert!(
        matches!(decide(&seen).answer, Answer::Wait(_)),
        "Manual is the default"
    );
    seen.settings.failback = FailbackMode::Automatic;
    assert!(matches!(
        decide(&seen).answer,
        Answer::Work(Step::Ask { .. })
    ));
    seen.home_in_sync_ms = Some(299_999);
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

#[test]
fn a_claim_waits_until_the_standby_holds_what_came_before_it() {
    let mut seen = calm();
    let west = seen.servers.get_mut(&RegionName::from("west")).unwrap();
    west.facts.as_mut().unwrap().synchrony.names = "\"central\"".into();
    let raised = |seen: &Observation| match decide(seen).answer {
        Answer::Move(next) => next.claim.is_some(),
        Answer::Work(_) | Answer::Wait(_) => false,
    };
    assert!(raised(&seen));
    let central = seen.servers.get_mut(&RegionName::from("central")).unwrap();
    central.facts.as_mut().unwrap().received = Some(Lsn(99));
    central.facts.as_mut().unwrap().position = Lsn(99);
    assert!(!raised(&seen));
}

/// Faults: 92, 96.
#[test]
fn a_new_policy_takes_up_what_the_servers_hold_and_never_guesses() {
    let seen = calm();
    let adopted = adopt(&seen.settings, &seen.servers, None, seen.now).unwrap();
    assert_eq!((adopted.active, adopted.epoch), ("west".into(), Epoch(4)));
    let mut silent = seen.servers.clone();
    silent.get_mut(&RegionName::from("central")).unwrap().live = false;
    assert!(adopt(&seen.settings, &silent, None, seen.now).is_err());
    let mut two = seen.servers.clone();
    two.get_mut(&RegionName::from("central")).unwrap().facts = Some(facts(Role::Primary));
    assert!(adopt(&seen.settings, &two, None, seen.now).is_err());
}

/// Faults: 96.
#[test]
fn what_an_engine_may_relax_by_itself_is_never_claimed() {
    let mut seen = calm();
    server(&mut seen, "west")
        .facts
        .as_mut()
        .unwrap()
        .synchrony
        .names = "central".into();
    let claimed = stored_after(&seen).claim;
    assert!(claimed.is_some(), "by SQL alone it may be claimed");
    server(&mut seen, "west").engine = Engine::Patroni;
    assert_eq!(stored_after(&seen), seen.stored);
    seen.stored.claim = claimed;
    seen.stored.restore_synchronous = true;
    let lowered = stored_after(&seen);
    assert_eq!((lowered.claim, lowered.restore_synchronous), (None, false));
}

/// Faults: 75.
#[test]
fn a_standby_that_does_not_answer_is_not_promoted() {
    let mut seen = outage();
    server(&mut seen, "central").live = false;
    let objections = objection(&seen);
    for guard in [GuardName::SecondVantage, GuardName::StandbyEligible] {
        assert!(objections.contains(&guard), "{objections:?}");
    }
    assert_eq!(state_after(&seen), State::Blocked);
    seen.stored.state = State::Suspect;
    assert_eq!(state_after(&seen), State::Suspect);
}

/// Neither for a setting that makes commits wait, nor without one.
///
/// Faults: 76.
#[test]
fn a_broken_stream_alone_moves_nobody_and_relaxes_nothing() {
    for names in ["", "central"] {
        let mut seen = calm();
        let west = server(&mut seen, "west").facts.as_mut().unwrap();
        west.synchrony.names = names.into();
        west.senders.clear();
        let central = server(&mut seen, "central").facts.as_mut().unwrap();
        central.receiver = None;
        let decision = decide(&seen);
        assert!(matches!(decision.answer, Answer::Wait(_)), "{decision:?}");
        seen.stored.claim = Some(Claim {
            standby: "central".into(),
            name: "central".into(),
        });
        assert_eq!(state_after(&seen), State::Steady);
        let step = decide(&seen).answer;
        assert!(!matches!(step, Answer::Work(_)), "{step:?}");
    }
}

/// Faults: 58, 63, 96.
#[test]
fn an_active_server_that_became_a_standby_halts_and_is_no_outage() {
    let mut seen = calm();
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.role = Role::Standby;
    let stored = stored_after(&seen);
    assert_eq!((stored.state, stored.journal), (State::Halted, None));
    seen.stored.state = State::Halted;
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

/// Faults: 83.
#[test]
fn without_any_server_left_nobody_is_promoted_and_the_first_to_return_serves() {
    let mut seen = outage();
    let central = server(&mut seen, "central");
    (central.verdict, central.live) = (Verdict::Down, false);
    for state in [State::Suspect, State::Outage, State::Blocked] {
        seen.stored.state = state;
        let next = state_after(&seen);
        assert!(matches!(next, State::Suspect | State::Blocked), "{next}");
    }
    let west = server(&mut seen, "west");
    (west.verdict, west.live) = (Verdict::Up, true);
    assert_eq!(state_after(&seen), State::Steady);
}

#[test]
fn a_contradiction_that_is_gone_ends_the_halt() {
    let mut seen = calm();
    seen.stored.state = State::Halted;
    assert_eq!(state_after(&seen), State::Steady);
    seen.servers
        .get_mut(&RegionName::from("central"))
        .unwrap()
        .live = false;
    assert_eq!(state_after(&seen), State::Halted);
}

#[test]
fn a_standby_is_not_given_the_right_back() {
    let mut seen = super::fixtures::moving(State::Aborting);
    seen.lease = Look::Absent;
    let west = seen.servers.get_mut(&RegionName::from("west")).unwrap();
    west.live = true;
    west.facts.as_mut().unwrap().role = Role::Standby;
    assert_eq!(state_after(&seen), State::Halted);
}

/// After the fence of a planned move there would be no way forward, and after the promotion began
/// no way back.
#[test]
fn a_standby_that_its_engine_would_not_promote_is_not_eligible() {
    let mut seen = outage();
    server(&mut seen, "central").engine_fails = Some("Patroni is in maintenance mode".into());
    assert_eq!(objection(&seen), [GuardName::StandbyEligible]);
    assert_eq!(state_after(&seen), State::Blocked);
    server(&mut seen, "central").engine_fails = None;
    assert_eq!(state_after(&seen), State::Fencing);
}
