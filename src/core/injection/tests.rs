use super::*;

const BEHIND: Stage = Stage::Behind { stranded: false };
const STRANDED: Stage = Stage::Behind { stranded: true };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn pace(wave: u32, pause_seconds: u32) -> Pace {
    Pace {
        wave: Some(wave),
        pause_seconds,
    }
}

fn go(stages: &[Stage], pace: Pace, seconds: i64) -> Vec<usize> {
    turn(stages, pace, false, at(seconds)).go
}

#[test]
fn without_waves_all_go_at_once() {
    let all = Pace {
        wave: None,
        pause_seconds: 0,
    };
    let stages = [BEHIND, Stage::Rolling, STRANDED, Stage::Current(at(0))];
    assert_eq!(go(&stages, all, 0), [0, 2]);
}

#[test]
fn the_first_wave_waits_for_nobody() {
    assert_eq!(go(&[BEHIND; 3], pace(2, 60), 0), [0, 1]);
    assert_eq!(turn(&[], pace(2, 60), false, at(0)), Turn::default());
}

#[test]
fn the_next_wave_waits_for_the_end_of_the_one_before_and_for_the_pause() {
    let stages = [Stage::Current(at(0)), Stage::Rolling, BEHIND, BEHIND];
    assert_eq!(turn(&stages, pace(2, 60), false, at(999)), Turn::default());
    let stages = [
        Stage::Current(at(0)),
        Stage::Current(at(10)),
        BEHIND,
        BEHIND,
        BEHIND,
    ];
    let waits = turn(&stages, pace(2, 60), false, at(69));
    assert_eq!((waits.go, waits.pause_until), (Vec::new(), Some(at(70))));
    assert_eq!(go(&stages, pace(2, 60), 70), [2, 3]);
}

#[test]
fn nobody_waits_for_who_is_held() {
    let stages = [Stage::Held, BEHIND, BEHIND];
    assert_eq!(go(&stages, pace(1, 60), 0), [1]);
    let stages = [Stage::Held, Stage::Rolling, BEHIND];
    assert_eq!(go(&stages, pace(1, 60), 0), [0_usize; 0]);
}

#[test]
fn who_is_stranded_goes_at_once_and_the_others_wait_for_him() {
    let stages = [BEHIND, STRANDED, Stage::Rolling, STRANDED];
    assert_eq!(go(&stages, pace(1, 3600), 0), [1, 3]);
    let stages = [BEHIND, STRANDED, Stage::Current(at(0))];
    assert_eq!(go(&stages, pace(1, 3600), 1), [1]);
}

#[test]
fn in_a_hurry_nobody_waits() {
    let stages = [BEHIND, Stage::Rolling, Stage::Current(at(0)), BEHIND];
    assert_eq!(turn(&stages, pace(1, 3600), true, at(1)).go, [0, 3]);
}

#[test]
fn a_moment_ahead_of_the_clock_is_no_pause() {
    let stages = [Stage::Current(at(500)), BEHIND];
    assert_eq!(go(&stages, pace(1, 60), 0), [1]);
}

/// Whatever the operator is told, and whenever it is restarted, it never starts more than a wave
/// at once, leaves nobody out and keeps the order.
#[test]
fn every_workload_rolls_once_in_order_and_no_more_than_a_wave_at_a_time() {
    for wave in 1..=4 {
        let mut stages = vec![BEHIND; 7];
        let (mut started, mut now) = (Vec::new(), 0);
        while stages
            .iter()
            .any(|stage| !matches!(stage, Stage::Current(_)))
        {
            let turn = turn(&stages, pace(wave, 5), false, at(now));
            // Killed after the first write of a wave: the rest of it is started later.
            let done = if now % 3 == 0 { 1 } else { turn.go.len() };
            for place in turn.go.into_iter().take(done) {
                stages[place] = Stage::Rolling;
                started.push(place);
            }
            let rolling = |stage: &&Stage| **stage == Stage::Rolling;
            let count = stages.iter().filter(rolling).count();
            assert!(count <= wave as usize, "{count} roll at once");
            if now % 4 == 3 {
                let ends = stages.iter_mut().find(|stage| **stage == Stage::Rolling);
                if let Some(stage) = ends {
                    *stage = Stage::Current(at(now));
                }
            }
            now += 1;
            assert!(now < 1000, "it never ends: {stages:?}");
        }
        assert_eq!(started, [0, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn credentials_lead_nowhere_on_another_server_or_when_their_logins_are_closed() {
    let origin = |server: &str, generation| Origin {
        server: ServerId::new(server, "main"),
        generation,
    };
    let present = origin("a", 4);
    assert!(is_stranded(&origin("b", 4), &present, true));
    assert!(!is_stranded(&origin("a", 4), &present, false));
    assert!(is_stranded(&origin("a", 3), &present, false));
    assert!(!is_stranded(&origin("a", 3), &present, true));
    assert!(is_stranded(&origin("a", 2), &present, true));
}
