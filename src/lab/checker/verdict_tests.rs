//! Bad histories, each of which the checker must see.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn reign(timeline: u32, server: &str) -> Reign {
    let server = server.to_owned();
    Reign { timeline, server }
}

fn attempt(seq: u64, at: u64, outcome: Outcome) -> Attempt {
    Attempt {
        run: "r".to_owned(),
        seq,
        sent: at.saturating_sub(1),
        acknowledged_before: 0,
        outcome,
    }
}

fn acknowledged(seq: u64, at: u64, by: &Reign) -> Attempt {
    let by = by.clone();
    attempt(seq, at, Outcome::Acknowledged { at, by })
}

fn history(attempts: Vec<Attempt>) -> History {
    History {
        sent: attempts.iter().map(key).collect(),
        attempts,
        ..History::default()
    }
}

fn add(history: &mut History, attempt: Attempt) {
    history.sent.insert(key(&attempt));
    history.attempts.push(attempt);
}

fn stored(rows: &[u64]) -> Stored {
    rows.iter().map(|seq| (("r".to_owned(), *seq), 0)).collect()
}

/// Rows 1 and 2 on the first server, 3 and 4 on the second, 5 on the first again.
fn good() -> History {
    let (west, central, home) = (reign(1, "w"), reign(2, "c"), reign(3, "w"));
    history(vec![
        acknowledged(1, SECOND, &west),
        acknowledged(2, 2 * SECOND, &west),
        acknowledged(3, 7 * SECOND, &central),
        acknowledged(4, 8 * SECOND, &central),
        acknowledged(5, 9 * SECOND, &home),
    ])
}

#[test]
fn a_clean_move_and_return_has_one_writer_and_no_loss() {
    let verdict = judge(&good(), &stored(&[1, 2, 3, 4, 5]), &[]);
    assert_eq!(verdict.violations(), Vec::<String>::new());
    assert!(verdict.lost.is_empty());
    assert_eq!((verdict.acknowledged, verdict.writers_at_once), (5, 1));
}

#[test]
fn an_acknowledged_row_that_is_absent_is_lost_and_has_an_age() {
    let verdict = judge(&good(), &stored(&[1, 3, 4, 5]), &[]);
    assert_eq!(verdict.lost.len(), 1);
    assert_eq!(verdict.lost[0].seq, 2);
    assert!((verdict.loss_seconds(5 * SECOND) - 3.0).abs() < 1e-9);
}

#[test]
fn an_acknowledgement_by_the_superseded_server_is_dual() {
    let mut bad = good();
    let late = acknowledged(6, 7 * SECOND + 500, &reign(1, "w"));
    add(&mut bad, late);
    let verdict = judge(&bad, &stored(&[1, 2, 3, 4, 5, 6]), &[]);
    assert_eq!(verdict.dual.len(), 1);
    assert_eq!(verdict.dual[0].late, 500);
    assert_eq!(verdict.writers_at_once, 2);
    assert_eq!(verdict.violations().len(), 2);
}

#[test]
fn two_servers_on_one_timeline_are_dual_even_without_overlap() {
    let bad = history(vec![
        acknowledged(1, SECOND, &reign(1, "w")),
        acknowledged(2, 2 * SECOND, &reign(1, "c")),
    ]);
    assert_eq!(judge(&bad, &stored(&[1, 2]), &[]).dual.len(), 1);
}

#[test]
fn an_unknown_row_may_be_stored_or_not() {
    let mut history = good();
    for (seq, sent) in [(6, 3), (7, 4)] {
        add(&mut history, attempt(seq, sent, Outcome::Unknown));
    }
    let verdict = judge(&history, &stored(&[1, 2, 3, 4, 5, 6]), &[]);
    assert_eq!(verdict.unknown, 2);
    assert!(verdict.violations().is_empty() && verdict.lost.is_empty());
}

#[test]
fn a_row_that_nobody_sent_is_a_phantom() {
    let rows = stored(&[1, 2, 3, 4, 5, 99]);
    let verdict = judge(&good(), &rows, &[]);
    assert_eq!(verdict.phantom, 1);
    assert_eq!(verdict.violations().len(), 1);
    let mut writing = good();
    writing.open_runs.insert("r".to_owned(), 5);
    assert_eq!(judge(&writing, &rows, &[]).phantom, 0);
    writing.open_runs.insert("r".to_owned(), 99);
    assert_eq!(judge(&writing, &rows, &[]).phantom, 1);
}

#[test]
fn a_refused_row_must_not_be_stored() {
    let mut bad = good();
    add(&mut bad, attempt(6, 3, Outcome::Failed { at: 4 }));
    assert!(
        judge(&bad, &stored(&[1, 2, 3, 4, 5]), &[])
            .violations()
            .is_empty()
    );
    let verdict = judge(&bad, &stored(&[1, 2, 3, 4, 5, 6]), &[]);
    assert_eq!((verdict.failed, verdict.resurrected), (1, 1));
    assert_eq!(verdict.violations().len(), 1);
}

#[test]
fn a_row_that_knows_of_an_unlogged_acknowledgement_voids_the_log() {
    let mut rows = stored(&[1, 2, 3, 4, 5]);
    rows.insert(("r".to_owned(), 3), 2);
    assert_eq!(judge(&good(), &rows, &[]).defects.len(), 1);
}

#[test]
fn a_gap_in_the_log_is_a_violation() {
    let mut bad = good();
    bad.defects.push("run r lacks lines 3 to 4".to_owned());
    let verdict = judge(&bad, &stored(&[1, 2, 3, 4, 5]), &[]);
    assert_eq!(verdict.violations(), ["run r lacks lines 3 to 4"]);
}

#[test]
fn each_phase_has_its_own_count() {
    let phase = |name: &str, from: u64, to: u64| Phase {
        name: name.to_owned(),
        from: from * SECOND,
        to: to * SECOND,
    };
    let phases = [
        phase("steady", 0, 3),
        phase("outage", 3, 7),
        phase("moved", 7, 9),
    ];
    let verdict = judge(&good(), &stored(&[1, 3, 4, 5]), &phases);
    let counts: Vec<_> = verdict
        .phases
        .iter()
        .map(|phase| (phase.acknowledged, phase.lost, phase.writers_at_once))
        .collect();
    assert_eq!(counts, [(2, 1, 1), (0, 0, 0), (2, 0, 1)]);
}

#[test]
fn silence_and_rate_are_measured() {
    let history = good();
    assert_eq!(
        longest_silence(&history, SECOND, 9 * SECOND + 1),
        5 * SECOND
    );
    assert_eq!(longest_silence(&history, 0, 100 * SECOND), 91 * SECOND);
    assert!((rate(&history, 0, 4 * SECOND) - 0.5).abs() < 1e-9);
    assert!(rate(&history, 0, 4 * SECOND) < MIN_RATE);
    let first = first_acknowledgement(&history, 2 * SECOND + 1, Some("c"));
    assert_eq!(first, Some((7 * SECOND, reign(2, "c"))));
}
