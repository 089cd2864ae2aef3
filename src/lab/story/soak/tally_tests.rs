//! Reports of soaks that went well and wrong.

use super::*;

fn cycle(number: u64, kind: Kind) -> CycleReport {
    CycleReport {
        acknowledged: 500,
        gap_seconds: number as f64,
        ..CycleReport::new(number, kind, "eu-west")
    }
}

fn tally(cycles: Vec<CycleReport>) -> Tally {
    Tally {
        seed: 7,
        commit: "abc".to_owned(),
        lab: "a lab".to_owned(),
        asked: 2,
        min_writes: 100,
        controls: Vec::new(),
        residency: Vec::new(),
        cycles,
        failures: Vec::new(),
    }
}

#[test]
fn a_void_cycle_is_never_counted_as_passed() {
    let mut void = cycle(2, Kind::Freeze);
    void.void = Some("too little was written".to_owned());
    let mut soak = tally(vec![cycle(1, Kind::Kill), void]);
    assert!(!soak.well());
    assert_eq!(soak.passed(), 1);
    soak.cycles.push(cycle(2, Kind::Freeze));
    assert!(soak.well());
}

#[test]
fn a_problem_and_a_failure_are_not_well() {
    let mut wrong = cycle(2, Kind::Cut);
    wrong.problems.push("two writers".to_owned());
    assert!(!tally(vec![cycle(1, Kind::Kill), wrong]).well());
    let mut soak = tally(vec![cycle(1, Kind::Kill), cycle(2, Kind::Cut)]);
    soak.failures.push(Failure {
        cycle: 0,
        what: "the controls".to_owned(),
        why: vec!["nothing was lost".to_owned()],
        replay: "again".to_owned(),
    });
    assert!(!soak.well());
    assert!(soak.lines().contains(&"  replay: again".to_owned()));
}

#[test]
fn a_soak_of_no_cycle_proves_nothing() {
    let none = Tally {
        asked: 0,
        ..tally(Vec::new())
    };
    assert!(!none.well());
}

#[test]
fn percentiles_are_times_that_were_measured() {
    let times = Times::of((1..=100).map(f64::from).collect()).unwrap();
    assert_eq!((times.p50, times.p90), (50.0, 90.0));
    assert_eq!((times.p99, times.max), (99.0, 100.0));
    let one = Times::of(vec![3.0]).unwrap();
    assert_eq!(
        (one.count, one.p50.total_cmp(&one.max)),
        (1, std::cmp::Ordering::Equal)
    );
    assert_eq!(Times::of(Vec::new()), None);
}

#[test]
fn planned_moves_have_gaps_of_their_own_and_count_as_no_recovery() {
    let recovery = Recovery {
        total: 2.0,
        detect: 1.0,
        fence: 0.25,
        promote: 0.25,
        repoint: 0.25,
        first_write: 0.25,
    };
    let moved = |number, kind| CycleReport {
        recovery: Some(recovery),
        ..cycle(number, kind)
    };
    let soak = tally(vec![moved(1, Kind::Kill), moved(2, Kind::Switchover)]);
    assert_eq!(soak.phases()[0], ("total", Times::of(vec![2.0]).unwrap()));
    assert_eq!(soak.gaps(true), Times::of(vec![2.0]));
    assert_eq!(soak.gaps(false), Times::of(vec![1.0, 2.0]));
    assert_eq!(soak.json()["kinds"]["kill"]["passed"], 1);
}

#[test]
fn a_cycle_without_the_fault_of_its_name_shows_nothing() {
    let died = |state: &str, outcome| CycleReport {
        outcome,
        death: Some(Death {
            state: state.to_owned(),
            all: false,
        }),
        ..cycle(1, Kind::OperatorKilled)
    };
    assert_eq!(died("Fencing", Outcome::Moved).shows_nothing(), None);
    assert!(died("Steady", Outcome::Moved).shows_nothing().is_some());
    assert!(
        died("Fencing", Outcome::Moved)
            .line()
            .contains("the leader died in Fencing")
    );
    let inside = |rows| CycleReport {
        inside: Some(rows),
        ..cycle(1, Kind::Cut)
    };
    assert!(inside(49).shows_nothing().is_some());
    assert_eq!(inside(50).shows_nothing(), None);
    assert_eq!(cycle(1, Kind::Kill).shows_nothing(), None);
}
