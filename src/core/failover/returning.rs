//! An old primary comes back: fenced, reported, and only then rejoined.

use super::fixtures::{calm, facts, moving, second, server, stored_after};
use super::*;
use crate::facts::{Authority, Engine, Epoch, Lsn, Role};
use crate::health::Verdict;
use crate::names::{RegionName, ServerId};

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
            latest: Some(Lsn(104)),
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

/// `west` began timeline 4 of its own before it was fenced, where timeline 3 ended with it.
fn on_its_own(end: u64) -> Observation {
    let mut seen = returned();
    let now = west(&mut seen);
    (now.timeline, now.recovered) = (4, Some(Lsn(150)));
    server(&mut seen, "west").ends = vec![(2, Lsn(50)), (3, Lsn(end))];
    seen.stored = stored_after(&seen);
    seen
}

#[test]
fn a_finished_move_stores_where_the_new_primary_left_the_old_timeline_at_the_latest() {
    let mut seen = moving(State::Verifying);
    seen.stored.active = "central".into();
    seen.tenants.clear();
    seen.stored.journal.as_mut().unwrap().fork = Some(Lsn(100));
    let epoch = seen.stored.epoch;
    let central = server(&mut seen, "central").facts.as_mut().unwrap();
    (central.role, central.recovered) = (Role::Primary, Some(Lsn(104)));
    central.heartbeat.as_mut().unwrap().epoch = epoch;
    let fork = stored_after(&seen).history[0].fork;
    let known = fork.map(|fork| (fork.position, fork.latest));
    assert_eq!(known, Some((Lsn(100), Some(Lsn(104)))));
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
        let mut seen = on_its_own(130);
        west(&mut seen).timeline = timeline;
        let outgrow = matches!(step(&seen), Some(Step::Outgrow(..)));
        assert_eq!(outgrow, outgrows, "on timeline {timeline}");
    }
    // While it has none to follow it is a standby, and still fenced.
    let mut seen = on_its_own(130);
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

/// Timelines of one number and one beginning are one to `pg_rewind`, whatever they hold.
#[test]
fn a_server_that_may_have_left_the_common_timeline_where_the_new_primary_did_is_left_to_a_person() {
    // The new primary left it between 100 and 104.
    for (end, apart) in [(100, false), (102, false), (104, false), (105, true)] {
        let seen = on_its_own(end);
        assert_eq!(seen.stored.returned[0].left, Some(Lsn(end)));
        assert_eq!(step(&seen).is_some(), apart, "left at {end}");
        let view = &seen.servers[&"west".into()];
        assert_eq!(must_be_copied(&seen, view).is_none(), apart);
        assert_eq!(is_rejoined_by_machine(&seen, view), apart);
    }
    // It stays so on whatever timeline it is later, and while it is none's standby.
    for (timeline, role) in [(5, Role::Primary), (4, Role::Standby)] {
        let mut later = on_its_own(104);
        (west(&mut later).timeline, west(&mut later).role) = (timeline, role);
        assert_eq!(step(&later), None, "{role:?} on timeline {timeline}");
    }
    // Where the new primary left it is not known.
    let mut unknown = returned();
    unknown.stored.history[0].fork.as_mut().unwrap().latest = None;
    west(&mut unknown).timeline = 4;
    server(&mut unknown, "west").ends = vec![(3, Lsn(130))];
    unknown.stored = stored_after(&unknown);
    assert_eq!(step(&unknown), None);
    // One that was started on the common timeline left nothing.
    let mut common = on_its_own(104);
    west(&mut common).timeline = 3;
    assert!(matches!(step(&common), Some(Step::Rejoin { .. })));
}

#[test]
fn where_a_server_left_the_common_timeline_is_asked_until_a_fitting_list_tells() {
    let unfit: [&[(u32, u64)]; 6] = [
        &[],
        // Written before its present timeline, or for another one.
        &[(2, 50)],
        &[(3, 130), (4, 140)],
        // The common timeline is not listed any more, or ended where this server had written more.
        &[(2, 130)],
        &[(3, 99)],
        // Or behind the beginning of what it wrote since.
        &[(3, 151)],
    ];
    for ends in unfit {
        let mut seen = on_its_own(130);
        seen.stored.returned.clear();
        let ends = ends.iter().map(|(timeline, end)| (*timeline, Lsn(*end)));
        server(&mut seen, "west").ends = ends.collect();
        seen.stored = stored_after(&seen);
        let report = &seen.stored.returned[0];
        assert_eq!(report.left, None);
        assert!(report.told().contains("where is not known"));
        assert_eq!(decide(&seen).answer, Answer::Wait(1_000), "nothing is news");
        let view = &seen.servers[&"west".into()];
        assert!(is_to_be_examined(&seen, view));
        server(&mut seen, "west").ends = vec![(3, Lsn(130))];
        seen.stored = stored_after(&seen);
        assert_eq!(seen.stored.returned.len(), 1);
        assert_eq!(seen.stored.returned[0].left, Some(Lsn(130)));
        assert!(matches!(step(&seen), Some(Step::Outgrow(..))));
    }
    // A server that nothing runs is asked once.
    let mut plain = on_its_own(130);
    plain.stored.returned[0].left = None;
    server(&mut plain, "west").engine = Engine::Sql;
    assert!(!is_to_be_examined(&plain, &plain.servers[&"west".into()]));
}

/// Its own engine may start it once more after it was reported.
#[test]
fn a_server_that_left_the_common_timeline_after_its_report_is_reported_anew() {
    let mut seen = reported();
    let now = west(&mut seen);
    (now.timeline, now.position) = (4, Lsn(180));
    assert_eq!(stored_after(&seen).returned[0].left, None);
    assert_eq!(step(&seen), None);
    server(&mut seen, "west").ends = vec![(3, Lsn(170))];
    seen.stored = stored_after(&seen);
    assert_eq!(seen.stored.returned[0].left, Some(Lsn(170)));
    assert!(matches!(step(&seen), Some(Step::Outgrow(..))));
}

/// `central` was lost as well, and `east` serves at epoch 6 on timeline 5.
fn lost_twice() -> Observation {
    let mut seen = on_its_own(130);
    (seen.stored.epoch, seen.stored.active) = (Epoch(6), "east".into());
    let past = Past {
        from: "central".into(),
        to: "east".into(),
        epoch: Epoch(6),
        fork: None,
        ..seen.stored.history[0].clone()
    };
    seen.stored.history.insert(0, past);
    let mut east = seen.servers[&"central".into()].clone();
    east.server = ServerId::new("east", "main");
    let now = east.facts.as_mut().unwrap();
    now.timeline = 5;
    now.authority = Some(Authority {
        epoch: Epoch(6),
        writable: true,
    });
    seen.servers.insert("east".into(), east);
    seen.servers.remove(&RegionName::from("central"));
    seen
}

#[test]
fn a_server_halfway_to_a_timeline_of_its_own_goes_on_when_another_epoch_begins() {
    let mut seen = lost_twice();
    west(&mut seen).role = Role::Standby;
    // It is asked under the fence that it holds, and can take no other before it is a primary.
    let server_of = || ServerId::new("west", "main");
    assert_eq!(step(&seen), Some(Step::Outgrow(server_of(), Epoch(5))));
    assert!(is_rejoined_by_machine(&seen, &seen.servers[&"west".into()]));
    let change: [fn(&mut Observation); 6] = [
        |seen| seen.settings.rejoin = Rejoin::Manual,
        |seen| seen.settings.paused = true,
        |seen| server(seen, "west").engine = Engine::Sql,
        |seen| west(seen).open_logins = 1,
        // It was never reported under that fence: a standby that holds a copy of it.
        |seen| seen.stored.returned[0].epoch = Epoch(4),
        |seen| west(seen).authority.as_mut().unwrap().writable = true,
    ];
    for (number, change) in change.into_iter().enumerate() {
        let mut seen = seen.clone();
        change(&mut seen);
        assert_eq!(step(&seen), None, "change {number}");
    }

    // Then it is fenced anew, reported anew, and brought back.
    let now = west(&mut seen);
    (now.role, now.timeline, now.position) = (Role::Primary, 5, Lsn(190));
    server(&mut seen, "west").ends = vec![(2, Lsn(50)), (3, Lsn(130)), (4, Lsn(150))];
    west(&mut seen).recovered = Some(Lsn(150));
    assert_eq!(step(&seen), Some(Step::Fence(server_of(), Epoch(6))));
    west(&mut seen).authority = Some(Authority {
        epoch: Epoch(6),
        writable: false,
    });
    seen.stored = stored_after(&seen);
    assert_eq!(seen.stored.returned[0].left, Some(Lsn(130)));
    assert_eq!(step(&seen), Some(Step::Outgrow(server_of(), Epoch(6))));
}

/// A timeline that is newer than the lost server's is the mark of somebody's rescue otherwise.
#[test]
fn an_old_primary_on_its_way_back_is_no_rescue_when_the_active_server_is_lost() {
    for epoch in [5, 6] {
        let mut seen = if epoch == 5 {
            on_its_own(130)
        } else {
            lost_twice()
        };
        west(&mut seen).timeline = 7;
        seen.stored.state = State::Suspect;
        let active = seen.stored.active.clone();
        let known = seen.servers[&active].facts.clone().unwrap();
        seen.stored.evidence = Some(Evidence {
            agent_lived: false,
            sampled: second(990),
            outage_since: second(995),
            system_identifier: known.system_identifier,
            timeline: known.timeline,
            major_version: known.major_version,
            position: known.position,
            synchronous: None,
        });
        let lost = seen.servers.get_mut(&active).unwrap();
        (lost.live, lost.verdict) = (false, Verdict::Down);
        assert_ne!(decide(&seen).reason, "SplitBrain", "at epoch {epoch}");
        // One that somebody opened is.
        west(&mut seen).open_logins = 1;
        assert_eq!(decide(&seen).reason, "SplitBrain", "at epoch {epoch}");
    }
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
