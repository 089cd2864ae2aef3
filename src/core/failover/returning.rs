//! An old primary comes back: fenced, reported, and only then rejoined.

use super::fixtures::{calm, facts, second, server, stored_after};
use super::*;
use crate::facts::{Authority, Engine, Epoch, Lsn, Role};
use crate::names::ServerId;

/// `central` serves at epoch 5 on timeline 4, since a failover from `west`, which is back: fenced,
/// and on the timeline that both shared up to position 100.
pub(super) fn returned() -> Observation {
    let mut seen = calm();
    (seen.stored.epoch, seen.stored.active) = (Epoch(5), "central".into());
    seen.stored.history = vec![Past {
        operation: "eu-5".into(),
        kind: MoveKind::Failover,
        automatic: true,
        from: "west".into(),
        to: "central".into(),
        epoch: Epoch(5),
        proof: Some(Proof::Assumed),
        loss: LossBound::Seconds(2),
        rto_seconds: 9,
        fork: Some(Fork {
            timeline: 3,
            position: Lsn(100),
        }),
        finished: second(900),
    }];
    seen.settings.rejoin = Rejoin::Rewind;
    let row = |writable| {
        Some(Authority {
            epoch: Epoch(5),
            writable,
        })
    };
    let central = server(&mut seen, "central");
    let mut now = facts(Role::Primary);
    (now.timeline, now.position, now.authority) = (4, Lsn(900), row(true));
    (central.facts, central.engine) = (Some(now), Engine::Patroni);
    let west = server(&mut seen, "west");
    let mut now = facts(Role::Primary);
    (now.position, now.authority, now.open_logins) = (Lsn(160), row(false), 0);
    (west.facts, west.engine) = (Some(now), Engine::Patroni);
    west.touched = Some(vec!["acme".to_owned()]);
    seen
}

/// The same, with the report stored.
pub(super) fn reported() -> Observation {
    let mut seen = returned();
    seen.stored = stored_after(&seen);
    seen
}

pub(super) fn step(seen: &Observation) -> Option<Step> {
    match decide(seen).answer {
        Answer::Work(step) => Some(step),
        Answer::Move(_) | Answer::Wait(_) => None,
    }
}

fn west(seen: &mut Observation) -> &mut crate::facts::Facts {
    server(seen, "west").facts.as_mut().unwrap()
}

/// Faults: 72.
#[test]
fn what_an_old_primary_holds_is_stored_before_it_is_rejoined() {
    let seen = returned();
    let decision = decide(&seen);
    assert_eq!(decision.reason, "OldPrimaryReported");
    let stored = stored_after(&seen);
    let found = &stored.returned[0];
    assert_eq!((found.bytes(), found.epoch), (Some(60), Epoch(5)));
    assert_eq!(found.databases, ["acme"]);
    assert!(
        decision.message.contains("60 bytes"),
        "{}",
        decision.message
    );
    assert_eq!(
        step(&reported()),
        Some(Step::Rejoin {
            server: ServerId::new("west", "main"),
            upstream: ServerId::new("central", "main"),
            epoch: Epoch(5),
            how: Rejoin::Rewind,
        })
    );
}

#[test]
fn a_report_is_written_once_and_anew_under_another_epoch() {
    let mut seen = reported();
    seen.settings.rejoin = Rejoin::Manual;
    assert_eq!(stored_after(&seen), seen.stored);
    west(&mut seen).position = Lsn(170);
    assert_eq!(
        stored_after(&seen),
        seen.stored,
        "its own housekeeping is no news"
    );
    seen.stored.returned[0].epoch = Epoch(4);
    let again = stored_after(&seen).returned;
    assert_eq!((again.len(), again[0].bytes()), (1, Some(70)));
}

#[test]
fn nothing_is_rejoined_that_is_not_fenced_or_not_reported() {
    let mut open = reported();
    west(&mut open).open_logins = 1;
    assert!(matches!(step(&open), Some(Step::Fence(..))));
    let mut unasked = returned();
    server(&mut unasked, "west").touched = None;
    assert_eq!(step(&unasked), None);
    // No move tells where the histories part: what would be undone is not known.
    let mut unknown = returned();
    unknown.stored.history[0].from = "elsewhere".into();
    unknown.stored = stored_after(&unknown);
    assert_eq!(unknown.stored.returned[0].bytes(), None);
    assert_eq!(step(&unknown), None);
}

#[test]
fn a_server_that_outgrew_the_common_timeline_first_gets_one_that_nobody_else_has() {
    for (timeline, outgrows) in [(3, false), (4, true), (5, false)] {
        let mut seen = reported();
        west(&mut seen).timeline = timeline;
        let outgrow = matches!(step(&seen), Some(Step::Outgrow(..)));
        assert_eq!(outgrow, outgrows, "on timeline {timeline}");
    }
    // While it has none to follow it is a standby, and still fenced.
    let mut seen = reported();
    let west = west(&mut seen);
    (west.role, west.timeline) = (Role::Standby, 4);
    assert!(matches!(step(&seen), Some(Step::Outgrow(..))));
    // One that follows has replayed the new primary's row.
    self::west(&mut seen).authority = Some(Authority {
        epoch: Epoch(5),
        writable: true,
    });
    assert_eq!(step(&seen), None);
}

#[test]
fn only_a_provider_that_can_is_asked_and_only_when_the_policy_says_so() {
    let change: [fn(&mut Observation); 5] = [
        |seen| seen.settings.rejoin = Rejoin::Manual,
        |seen| seen.settings.paused = true,
        |seen| server(seen, "west").engine = Engine::Sql,
        |seen| server(seen, "west").asked_ms = Some(10),
        |seen| west(seen).system_identifier = "8".into(),
    ];
    for (number, change) in change.into_iter().enumerate() {
        let mut seen = reported();
        change(&mut seen);
        assert_eq!(step(&seen), None, "change {number}");
    }
    let mut again = reported();
    server(&mut again, "west").asked_ms = Some(60_000);
    assert!(
        step(&again).is_some(),
        "what was asked long ago is asked again"
    );
}

#[test]
fn after_a_planned_move_no_tenant_has_writes_of_its_own_on_the_old_primary() {
    let mut seen = returned();
    let past = &mut seen.stored.history[0];
    (past.proof, past.loss) = (Some(Proof::Confirmed), LossBound::Seconds(0));
    assert!(stored_after(&seen).returned[0].databases.is_empty());
    // Unless its own engine started it again meanwhile, on a timeline of its own.
    west(&mut seen).timeline = 4;
    assert_eq!(stored_after(&seen).returned[0].databases, ["acme"]);
}
