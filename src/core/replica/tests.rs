use proptest::prelude::*;

use super::*;
use crate::facts::{Receiver, Synchrony};

fn facts(role: Role, timeline: u32, position: u64, sampled: u64) -> Facts {
    Facts {
        system_identifier: "7".into(),
        major_version: 18,
        version: "18.4".into(),
        role,
        timeline,
        position: Lsn(position),
        recovered: None,
        received: None,
        receiver: None,
        senders: Vec::new(),
        synchrony: Synchrony::default(),
        authority: None,
        heartbeat: None,
        tenant_sessions: 0,
        open_logins: 0,
        missing_rights: Vec::new(),
        slow_logins: false,
        sampled: Mono(sampled),
        round_trip_ms: 1,
    }
}

#[test]
fn an_address_is_known_by_any_spelling() {
    let at = |host: &str, port| Address {
        host: host.into(),
        port,
    };
    for (one, other) in [
        ("host.example", "Host.Example."),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ] {
        assert!(at(one, 5432).is_same(&at(other, 5432)), "{one} {other}");
        assert!(!at(one, 5432).is_same(&at(other, 5433)), "{one} {other}");
    }
    for (one, other) in [
        ("host.example", "other.example"),
        ("10.0.0.1", "10.0.0.10"),
        ("2001:db8::1", "2001:db8::2"),
    ] {
        assert!(!at(one, 5432).is_same(&at(other, 5432)), "{one} {other}");
    }
}

#[test]
fn a_login_that_is_not_replayed_is_refused_by_nobody_as_long_as_a_replica_may_be_behind() {
    let awaited = Awaited {
        replica: Address {
            host: "ro".into(),
            port: 5432,
        },
        position: Lsn(100),
        since: Mono(1_000),
    };
    assert!(awaited.is_open(Lsn(99), Mono(1_000)));
    assert!(awaited.is_open(Lsn(99), Mono(60_999)));
    assert!(
        !awaited.is_open(Lsn(99), Mono(61_000)),
        "it is too far behind"
    );
    assert!(
        !awaited.is_open(Lsn(100), Mono(1_000)),
        "it knows the login"
    );
}

fn server() -> Facts {
    facts(Role::Primary, 3, 100, 0)
}

fn look(found: Facts) -> Result<(), Fault> {
    let probe = Probe::Answered(Box::new(found));
    examine(&probe, &server(), &mut Marks::default(), Mono(0))
}

#[test]
fn a_standby_of_the_same_system_and_timeline_is_a_replica() {
    assert_eq!(look(facts(Role::Standby, 3, 1, 0)), Ok(()));
}

#[test]
fn what_is_no_copy_of_the_server_is_told_apart() {
    let mut foreign = facts(Role::Standby, 3, 100, 0);
    foreign.system_identifier = "8".into();
    assert_eq!(look(foreign), Err(Fault::Foreign));
    let promoted = facts(Role::Primary, 3, 100, 0);
    assert_eq!(look(promoted), Err(Fault::Promoted));
    assert_eq!(look(facts(Role::Standby, 2, 100, 0)), Err(Fault::Diverged));
}

#[test]
fn a_stream_of_the_new_timeline_counts_before_its_restart_point() {
    let mut found = facts(Role::Standby, 2, 100, 0);
    found.receiver = Some(Receiver {
        name: "r".into(),
        silent_ms: 0,
        patience_ms: 1000,
        timeline: 3,
    });
    assert_eq!(look(found), Ok(()));
}

#[test]
fn before_its_server_is_promoted_no_timeline_is_asked() {
    let standby = facts(Role::Standby, 3, 100, 0);
    let probe = Probe::Answered(Box::new(facts(Role::Standby, 2, 100, 0)));
    let said = examine(&probe, &standby, &mut Marks::default(), Mono(0));
    assert_eq!(said, Ok(()));
}

#[test]
fn a_replica_must_hold_what_its_server_held_a_minute_ago() {
    let mut marks = Marks::default();
    for second in 0..=90_u64 {
        marks.note(&facts(Role::Primary, 3, 100 + second, second * 1000));
    }
    let now = Mono(90_000);
    let mut said = |position| {
        let probe = Probe::Answered(Box::new(facts(Role::Standby, 3, position, 0)));
        examine(&probe, &server(), &mut marks, now)
    };
    assert_eq!(said(129), Err(Fault::Behind));
    assert_eq!(said(130), Ok(()));
    assert!(marks.positions.len() <= 14, "{}", marks.positions.len());
}

#[test]
fn a_server_that_was_watched_for_less_demands_nothing() {
    let mut marks = Marks::default();
    marks.note(&facts(Role::Primary, 3, 100, 0));
    assert_eq!(marks.due(Mono(59_999)), None);
    assert_eq!(marks.due(Mono(60_000)), Some(Lsn(100)));
}

#[test]
fn a_promotion_or_a_rewind_of_the_server_begins_anew() {
    for later in [
        facts(Role::Primary, 4, 200, 61_000),
        facts(Role::Primary, 3, 50, 61_000),
    ] {
        let mut marks = Marks::default();
        marks.note(&facts(Role::Primary, 3, 100, 0));
        marks.note(&later);
        assert_eq!(marks.due(Mono(61_000)), None);
    }
}

/// What is believed after these looks.
fn after(looks: impl IntoIterator<Item = Result<(), Fault>>) -> Standing {
    let mut standing = None;
    for look in looks {
        standing = Some(Standing::next(standing.as_ref(), look));
    }
    standing.unwrap()
}

fn good(count: u32) -> impl Iterator<Item = Result<(), Fault>> {
    (0..count).map(|_| Ok(()))
}

fn bad(count: u32) -> impl Iterator<Item = Result<(), Fault>> {
    (0..count).map(|_| Err(Fault::Silent))
}

#[test]
fn one_good_look_is_enough_at_first_and_three_bad_ones_leave_it() {
    assert_eq!(after(good(1)).fault(), None);
    assert_eq!(after(good(1).chain(bad(2))).fault(), None);
    let left = after(good(1).chain(bad(3)));
    assert_eq!(left.fault(), Some(&Fault::Silent));
    assert!(!left.holds());
}

#[test]
fn who_reads_already_goes_on_through_the_first_looks_of_a_new_process() {
    assert!(after(bad(2)).holds());
    assert!(!after(bad(3)).holds());
    assert!(after(bad(2)).fault().is_some());
}

#[test]
fn what_is_no_copy_is_left_at_once() {
    let elsewhere = Fault::IsServer(ServerId::new("eu-west", "main"));
    for wrong in [Fault::Foreign, Fault::Promoted, elsewhere] {
        let left = after(good(9).chain([Err(wrong.clone())]));
        assert_eq!(left.fault(), Some(&wrong));
        assert!(!after([Err(wrong)]).holds());
    }
}

#[test]
fn one_that_comes_and_goes_must_stay_for_longer_each_time() {
    let mut standing = after(good(1));
    let mut waits = Vec::new();
    for _ in 0..9 {
        for look in bad(3) {
            standing = Standing::next(Some(&standing), look);
        }
        let mut wait = 0;
        while standing.fault().is_some() {
            standing = Standing::next(Some(&standing), Ok(()));
            wait += 1;
        }
        waits.push(wait);
    }
    assert_eq!(waits, [6, 12, 24, 48, 96, 192, 384, 384, 384]);
    for look in good(FORGET) {
        standing = Standing::next(Some(&standing), look);
    }
    let back = good(6).fold(
        bad(3).fold(standing, |standing, look| {
            Standing::next(Some(&standing), look)
        }),
        |standing, look| Standing::next(Some(&standing), look),
    );
    assert_eq!(back.fault(), None, "an hour without a fault is forgotten");
}

#[test]
fn what_is_told_of_one_that_was_left_stays_the_same() {
    let told = after(bad(3).chain([Err(Fault::Behind), Ok(()), Err(Fault::LoginRefused)]));
    assert_eq!(told.fault(), Some(&Fault::Silent));
    let worse = after(bad(3).chain([Err(Fault::Promoted)]));
    assert_eq!(worse.fault(), Some(&Fault::Promoted));
}

proptest! {
    /// A used replica changes its readers' Secrets at most twice in so many looks, however its
    /// looks fall.
    #[test]
    fn whatever_the_looks_say_readers_seldom_move(
        looks in proptest::collection::vec(any::<bool>(), 0..2000)
    ) {
        let (mut standing, mut moves, mut used) = (None, 0_u32, None);
        let total = looks.len() as u32;
        for good in looks {
            let look = if good { Ok(()) } else { Err(Fault::Silent) };
            let next = Standing::next(standing.as_ref(), look);
            let now = next.fault().is_none();
            moves += u32::from(used.is_some_and(|used| used != now));
            (used, standing) = (Some(now), Some(next));
        }
        // Each return takes at least six looks, and twice as many as the one before, until 384.
        prop_assert!(moves <= 2 * (2 + total.next_power_of_two().ilog2() + total / 384), "{moves}");
    }
}
