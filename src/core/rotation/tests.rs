use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn known(since: i64, retiring: Option<Slot>) -> Credentials {
    Credentials {
        since: at(since),
        retiring,
        answered: None,
    }
}

fn wish() -> Wish {
    Wish {
        interval_days: Some(90),
        overlap_seconds: 3600,
        request: None,
    }
}

fn sight(now: i64) -> Sight {
    Sight {
        now: at(now),
        steady: true,
        replaced: false,
        taken_up_ms: None,
    }
}

#[test]
fn a_rotation_is_due_when_the_interval_is_over() {
    let due = 90 * DAY_SECONDS;
    assert_eq!(step(&known(0, None), &wish(), sight(due - 1)), Step::Rest);
    let rotate = Step::Rotate(Cause::Scheduled);
    assert_eq!(step(&known(0, None), &wish(), sight(due)), rotate);
    let never = Wish {
        interval_days: None,
        ..wish()
    };
    assert_eq!(step(&known(0, None), &never, sight(due * 9)), Step::Rest);
}

#[test]
fn each_request_is_answered_once() {
    let asks = |text: &str| Wish {
        request: Some(text.to_owned()),
        ..wish()
    };
    let before = known(0, None);
    let rotate = Step::Rotate(Cause::Asked);
    assert_eq!(step(&before, &asks("one"), sight(1)), rotate);
    let answered = Credentials {
        answered: Some("one".to_owned()),
        ..before
    };
    assert_eq!(step(&answered, &asks("one"), sight(1)), Step::Rest);
    assert_eq!(step(&answered, &asks("two"), sight(1)), rotate);
    assert_eq!(step(&answered, &wish(), sight(1)), Step::Rest);
}

/// Faults: 87.
#[test]
fn logins_before_are_closed_when_unused_and_taken_up_or_when_the_overlap_ends() {
    let before = known(0, Some(Slot::A));
    let close = |if_unused| {
        let slot = Slot::A;
        Step::Close { slot, if_unused }
    };
    assert_eq!(step(&before, &wish(), sight(3599)), Step::Rest);
    let taken_up = Sight {
        taken_up_ms: Some(LEAVING_MS),
        ..sight(3599)
    };
    assert_eq!(step(&before, &wish(), taken_up), close(true));
    let early = Sight {
        now: at(LEAVING_SECONDS - 1),
        ..taken_up
    };
    assert_eq!(step(&before, &wish(), early), Step::Rest);
    let just_now = Sight {
        taken_up_ms: Some(LEAVING_MS - 1),
        ..taken_up
    };
    assert_eq!(step(&before, &wish(), just_now), Step::Rest);
    assert_eq!(step(&before, &wish(), sight(3600)), close(false));
}

#[test]
fn another_password_in_the_other_secret_is_published_once_the_logins_before_are_closed() {
    let replaced = Sight {
        replaced: true,
        ..sight(10)
    };
    let rotate = Step::Rotate(Cause::Replaced);
    assert_eq!(step(&known(0, None), &wish(), replaced), rotate);
    assert_eq!(
        step(&known(0, Some(Slot::A)), &wish(), replaced),
        Step::Rest
    );
}

#[test]
fn a_request_waits_for_the_logins_before() {
    let asks = Wish {
        request: Some("now".to_owned()),
        ..wish()
    };
    let before = known(0, Some(Slot::B));
    assert_eq!(step(&before, &asks, sight(10)), Step::Rest);
}

proptest! {
    /// Faults: 86.
    #[test]
    fn nothing_changes_while_the_server_moves(
        since in 0..10_000_000_i64, now in 0..100_000_000_i64, open: bool, taken_up: u64,
        request in proptest::option::of("[a-z]{0,3}"), overlap_seconds in 0..100_000_u32,
        interval_days in proptest::option::of(0..100_u32),
    ) {
        let credentials = known(since, open.then_some(Slot::A));
        let wish = Wish { interval_days, overlap_seconds, request };
        let taken_up_ms = Some(taken_up);
        let sight = Sight { now: at(now), steady: false, replaced: open, taken_up_ms };
        prop_assert_eq!(step(&credentials, &wish, sight), Step::Rest);
    }

    /// Faults: 87.
    #[test]
    fn what_may_be_in_use_is_never_closed_before_its_time(
        since in 0..10_000_000_i64, now in 0..100_000_000_i64, overlap_seconds in 0..100_000_u32,
        taken_up_ms: Option<u64>,
    ) {
        let wish = Wish { overlap_seconds, ..wish() };
        let sight = Sight { taken_up_ms, ..sight(now) };
        let step = step(&known(since, Some(Slot::B)), &wish, sight);
        let close = |if_unused| Step::Close { slot: Slot::B, if_unused };
        if step == close(false) {
            prop_assert!(now >= since + i64::from(overlap_seconds));
        } else if step == close(true) {
            prop_assert!(taken_up_ms >= Some(LEAVING_MS));
            prop_assert!(now >= since + LEAVING_SECONDS);
        } else {
            prop_assert_eq!(step, Step::Rest);
        }
    }
}

#[test]
fn what_waits_for_an_overlap_is_known_with_its_end() {
    let open = known(100, Some(Slot::A));
    let replaced = Sight {
        replaced: true,
        ..sight(200)
    };
    let until = at(100 + 3600);
    let expected = Some((Cause::Replaced, until));
    assert_eq!(waiting(&open, &wish(), replaced), expected);
    let asks = Wish {
        request: Some("one".to_owned()),
        ..wish()
    };
    assert_eq!(
        waiting(&open, &asks, sight(200)),
        Some((Cause::Asked, until))
    );
    assert_eq!(waiting(&open, &wish(), sight(200)), None, "nothing is due");
    assert_eq!(waiting(&known(100, None), &asks, sight(200)), None);
}

#[test]
fn what_a_secret_answers_counts_for_the_present_request_alone() {
    let asks = |text: &str| Wish {
        request: Some(text.to_owned()),
        ..wish()
    };
    assert_eq!(answered(Some("one"), &asks("one")), Some("one"));
    assert_eq!(answered(Some("one"), &asks("two")), None);
    assert_eq!(answered(Some("one"), &wish()), None);
    assert_eq!(answered(None, &asks("one")), None);
}

#[test]
fn lost_passwords_are_replaced_by_those_of_the_other_logins() {
    for active in [Slot::A, Slot::B] {
        let alone = known(0, None);
        assert_eq!(replacement(Some(&alone), active, true), active.other());
        // The others are in use, or nothing is known of them, or the server moves.
        let open = known(0, Some(active.other()));
        assert_eq!(replacement(Some(&open), active, true), active);
        assert_eq!(replacement(Some(&alone), active, false), active);
        assert_eq!(replacement(None, active, true), active);
    }
}
