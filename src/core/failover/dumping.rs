//! A copy of what an old primary alone holds comes before anything that undoes it.

use super::fixtures::{server, stored_after};
use super::returning::{reported, returned, step};
use super::*;
use crate::facts::{Engine, Epoch, Role};
use crate::names::ServerId;

/// The old primary `west` is fenced and reported, and the policy asks for a copy, of which this was
/// seen.
fn asked(look: DumpLook) -> Observation {
    let mut seen = reported();
    seen.settings.dump = Some("keep".to_owned());
    server(&mut seen, "west").dump = Some(DumpView {
        job: "dump-1".to_owned(),
        look,
    });
    seen
}

/// It is asked for.
fn makes(seen: &Observation) -> bool {
    let expected = Step::Dump {
        server: ServerId::new("west", "main"),
        epoch: Epoch(5),
        job: "dump-1".to_owned(),
    };
    step(seen) == Some(expected)
}

fn rejoins(seen: &Observation) -> bool {
    matches!(step(seen), Some(Step::Rejoin { .. }))
}

/// The same world once the machine has stored what it saw, with its reason and message.
fn stored(mut seen: Observation) -> (Observation, &'static str, String) {
    let decision = decide(&seen);
    seen.stored = stored_after(&seen);
    (seen, decision.reason, decision.message)
}

fn west(seen: &Observation) -> &ServerView {
    &seen.servers[&"west".into()]
}

#[test]
fn a_copy_is_made_before_an_old_primary_is_rejoined() {
    assert!(rejoins(&reported()), "no copy is asked for");
    assert!(makes(&asked(DumpLook::Absent)));
    let mut grown = asked(DumpLook::Absent);
    let facts = server(&mut grown, "west").facts.as_mut().unwrap();
    facts.timeline = 4;
    let (mut grown, reason, _) = stored(grown);
    assert_eq!(reason, "OldPrimaryReported", "it is on another timeline");
    assert!(makes(&grown), "before it outgrows its timeline, too");
    server(&mut grown, "west").dump.as_mut().unwrap().look = DumpLook::Running;
    let (grown, ..) = stored(grown);
    assert_eq!(step(&grown), None);
}

#[test]
fn a_copy_is_kept_when_the_same_old_primary_is_reported_anew() {
    let (mut seen, reason, _) = stored(asked(DumpLook::Complete));
    assert_eq!(reason, "DumpComplete");
    server(&mut seen, "west").facts.as_mut().unwrap().timeline = 4;
    let (seen, reason, _) = stored(seen);
    assert_eq!(reason, "OldPrimaryReported");
    assert!(!awaits_dump(&seen, west(&seen)));
}

#[test]
fn a_rejoin_waits_until_the_copy_is_complete_and_says_why() {
    let blocked = || DumpLook::Blocked("there is no CronJob keep".to_owned());
    for (look, reason, state, words) in [
        (
            DumpLook::Running,
            "DumpRunning",
            DumpState::Running,
            "undone only after",
        ),
        (
            DumpLook::Failed,
            "DumpFailed",
            DumpState::Failed,
            "delete the Job",
        ),
        (
            blocked(),
            "DumpBlocked",
            DumpState::Blocked,
            "no CronJob keep, or take `spec.dump` away",
        ),
    ] {
        let (seen, told, message) = stored(asked(look));
        assert_eq!(told, reason);
        assert!(message.contains(words), "{message}");
        let dump = seen.stored.returned[0].dump.clone().unwrap();
        assert_eq!((dump.job.as_str(), dump.state), ("dump-1", state));
        assert_eq!(step(&seen), None, "{reason}");
        let again = decide(&seen).answer;
        assert!(matches!(again, Answer::Wait(_)), "{reason} is told once");
        assert!(awaits_dump(&seen, west(&seen)));
        // The field taken away is a person's word.
        let mut without = seen;
        without.settings.dump = None;
        assert!(rejoins(&without), "{reason}");
    }
    let (seen, told, _) = stored(asked(DumpLook::Complete));
    assert_eq!(told, "DumpComplete");
    assert!(rejoins(&seen));
    assert!(!awaits_dump(&seen, west(&seen)));
}

#[test]
fn what_was_not_looked_at_is_waited_for() {
    let mut seen = asked(DumpLook::Running);
    server(&mut seen, "west").dump = None;
    assert_eq!(step(&seen), None);
    let (state, text) = dump_told(&seen, west(&seen));
    assert_eq!(state, DumpState::Blocked);
    assert!(text.contains("not looked at now"), "{text}");
    let (mut seen, ..) = stored(asked(DumpLook::Running));
    server(&mut seen, "west").dump = None;
    let (state, _) = dump_told(&seen, west(&seen));
    assert_eq!(state, DumpState::Running, "what was seen last stands");
}

#[test]
fn a_complete_copy_stays_complete_when_its_job_is_gone() {
    let (mut seen, ..) = stored(asked(DumpLook::Complete));
    server(&mut seen, "west").dump.as_mut().unwrap().look = DumpLook::Absent;
    assert!(rejoins(&seen));
    // A report of another epoch is of another return, and wants a copy of its own.
    seen.stored.returned[0].epoch = Epoch(4);
    assert!(stored_after(&seen).returned[0].dump.is_none());
}

#[test]
fn a_failed_job_that_was_deleted_is_made_again() {
    let (mut seen, ..) = stored(asked(DumpLook::Failed));
    server(&mut seen, "west").dump.as_mut().unwrap().look = DumpLook::Absent;
    assert!(makes(&seen));
}

#[test]
fn no_copy_is_made_of_what_was_not_fenced_or_not_reported() {
    let mut unreported = returned();
    unreported.settings.dump = Some("keep".to_owned());
    assert!(!awaits_dump(&unreported, west(&unreported)));
    let mut open = asked(DumpLook::Absent);
    let facts = server(&mut open, "west").facts.as_mut().unwrap();
    facts.open_logins = 1;
    assert!(matches!(step(&open), Some(Step::Fence(..))));
    assert!(!awaits_dump(&open, west(&open)));
    let mut silent = asked(DumpLook::Absent);
    server(&mut silent, "west").live = false;
    assert_eq!(step(&silent), None);
}

#[test]
fn a_copy_is_left_out_only_when_nothing_can_be_held_alone() {
    // Statistics begin anew after a crash: that they count nothing is no proof.
    let mut crashed = asked(DumpLook::Absent);
    crashed.stored.returned[0].databases.clear();
    assert!(makes(&crashed));
    // After a planned move all was replayed elsewhere.
    let mut planned = crashed.clone();
    let past = &mut planned.stored.history[0];
    (past.proof, past.loss) = (Some(Proof::Confirmed), LossBound::Seconds(0));
    assert!(rejoins(&planned));
    let mut equal = crashed;
    let report = &mut equal.stored.returned[0];
    report.position = report.fork.unwrap().position;
    assert!(rejoins(&equal), "no byte past the fork");
}

#[test]
fn who_rejoins_by_hand_gets_a_copy_first_too() {
    let mut seen = asked(DumpLook::Absent);
    seen.settings.rejoin = Rejoin::Manual;
    server(&mut seen, "west").engine = Engine::Sql;
    assert!(makes(&seen));
    // A person already began: a standby of nobody is copied as well as a primary.
    let facts = server(&mut seen, "west").facts.as_mut().unwrap();
    facts.role = Role::Standby;
    assert!(makes(&seen));
}
