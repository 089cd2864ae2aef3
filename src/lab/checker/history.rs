//! What the writers did, put together from their logs.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Event, Record};

/// A server in one of its reigns: each promotion begins a new timeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reign {
    /// The timeline written.
    pub timeline: u32,
    /// The server's address.
    pub server: String,
}

/// How an attempt to write a row ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server acknowledged it.
    Acknowledged {
        /// When the answer came (monotonic nanoseconds).
        at: u64,
        /// Who acknowledged.
        by: Reign,
    },
    /// The server refused it.
    Failed {
        /// When the answer came (monotonic nanoseconds).
        at: u64,
    },
    /// Nobody knows.
    Unknown,
}

/// One row that a writer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The process that sent it.
    pub run: String,
    /// Number of the row within the run.
    pub seq: u64,
    /// When it was sent (monotonic nanoseconds).
    pub sent: u64,
    /// Acknowledgements that the run had received before.
    pub acknowledged_before: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// All that the writers of one tenant did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Every row sent, in the order of the runs' names and of sending.
    pub attempts: Vec<Attempt>,
    /// Times when a writer began (monotonic nanoseconds).
    pub starts: Vec<u64>,
    /// What makes the logs unfit as evidence; empty when they are complete.
    pub defects: Vec<String>,
    /// Runs whose log has no end (killed, or still writing), with the last row that each sent.
    pub open_runs: BTreeMap<String, u64>,
    /// Run and number of every row sent, also of those before [`History::since`].
    pub sent: BTreeSet<(String, u64)>,
}

/// The histories of all tenants, by writer name. Records may come in any order and twice (a log
/// that was rotated while it was copied).
pub fn histories(records: Vec<Record>) -> BTreeMap<String, History> {
    let mut runs: BTreeMap<String, BTreeMap<u64, Record>> = BTreeMap::new();
    let mut contradictions = Vec::new();
    for record in records {
        let lines = runs.entry(record.run.clone()).or_default();
        if let Some(other) = lines.insert(record.n, record.clone())
            && other != record
        {
            contradictions.push((record.run, record.n));
        }
    }
    let mut all: BTreeMap<String, History> = BTreeMap::new();
    for (run, lines) in runs {
        let first = lines.first_key_value().map(|(_, first)| &first.event);
        let writer = if let Some(Event::Started { writer }) = first {
            writer.clone()
        } else {
            format!("unknown (run {run} lacks its first line)")
        };
        let history = all.entry(writer).or_default();
        for (run, n) in contradictions.iter().filter(|(of, _)| *of == run) {
            let text = format!("run {run} has two different lines {n}");
            history.defects.push(text);
        }
        history.add(&run, lines);
    }
    all
}

impl History {
    /// The part of the history that begins at a moment: rows sent before are known, not judged.
    #[must_use]
    pub fn since(&self, moment: u64) -> Self {
        let later = |attempt: &&Attempt| attempt.sent >= moment;
        let starts = self.starts.iter().copied();
        Self {
            attempts: self.attempts.iter().filter(later).cloned().collect(),
            starts: starts.filter(|at| *at >= moment).collect(),
            ..self.clone()
        }
    }

    fn add(&mut self, run: &str, lines: BTreeMap<u64, Record>) {
        let mut expected = 1;
        let mut acknowledged = 0;
        let mut open: Option<Attempt> = None;
        let mut ended = false;
        let mut last_sent = 0;
        for (n, record) in lines {
            if n != expected {
                let gap = format!("run {run} lacks lines {expected} to {}", n - 1);
                self.defects.push(gap);
            }
            expected = n + 1;
            ended = false;
            let at = record.at;
            let answer = match record.event {
                Event::Started { .. } => {
                    self.starts.push(at);
                    None
                }
                Event::Sent { seq } => {
                    self.sent.insert((run.to_owned(), seq));
                    last_sent = seq;
                    self.close(open.take(), None, Outcome::Unknown);
                    open = Some(Attempt {
                        run: run.to_owned(),
                        seq,
                        sent: at,
                        acknowledged_before: acknowledged,
                        outcome: Outcome::Unknown,
                    });
                    None
                }
                Event::Acknowledged {
                    seq,
                    server,
                    timeline,
                } => {
                    acknowledged += 1;
                    let by = Reign { timeline, server };
                    Some((seq, Outcome::Acknowledged { at, by }))
                }
                Event::Failed { seq, .. } => Some((seq, Outcome::Failed { at })),
                Event::Unknown { seq, .. } => Some((seq, Outcome::Unknown)),
                Event::Disconnected { .. } => None,
                Event::Ended => {
                    ended = true;
                    None
                }
            };
            if let Some((seq, outcome)) = answer {
                if open.is_none() {
                    let text = format!("run {run} reports an answer for row {seq} it never sent");
                    self.defects.push(text);
                }
                self.close(open.take(), Some(seq), outcome);
            }
        }
        self.close(open, None, Outcome::Unknown);
        if !ended {
            self.open_runs.insert(run.to_owned(), last_sent);
        }
    }

    fn close(&mut self, open: Option<Attempt>, seq: Option<u64>, outcome: Outcome) {
        let Some(mut attempt) = open else { return };
        if let Some(seq) = seq
            && seq != attempt.seq
        {
            let (run, sent) = (&attempt.run, attempt.seq);
            let text = format!("run {run} sent row {sent} and reports an answer for row {seq}");
            self.defects.push(text);
        }
        attempt.outcome = outcome;
        self.attempts.push(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: Vec<Event>) -> Vec<Record> {
        let record = |(index, event)| Record {
            run: "r1".to_owned(),
            n: index as u64 + 1,
            at: index as u64 * 10,
            event,
        };
        events.into_iter().enumerate().map(record).collect()
    }

    fn started() -> Event {
        Event::Started {
            writer: "acme".to_owned(),
        }
    }

    fn acknowledged(seq: u64) -> Event {
        Event::Acknowledged {
            seq,
            server: "10.77.0.1".to_owned(),
            timeline: 1,
        }
    }

    #[test]
    fn a_row_without_an_answer_is_unknown() {
        let records = lines(vec![
            started(),
            Event::Sent { seq: 1 },
            acknowledged(1),
            Event::Sent { seq: 2 },
        ]);
        let history = &histories(records)["acme"];
        assert!(history.defects.is_empty(), "{:?}", history.defects);
        assert_eq!(history.attempts[1].outcome, Outcome::Unknown);
        assert_eq!(history.attempts[1].acknowledged_before, 1);
        assert_eq!(history.open_runs.get("r1"), Some(&2));
        assert!(history.since(25).attempts[0].seq == 2 && history.since(31).attempts.is_empty());
    }

    #[test]
    fn a_missing_line_is_a_defect() {
        let mut records = lines(vec![
            started(),
            Event::Sent { seq: 1 },
            acknowledged(1),
            Event::Ended,
        ]);
        records.remove(2);
        let history = &histories(records)["acme"];
        assert_eq!(history.defects, ["run r1 lacks lines 3 to 3"]);
    }

    #[test]
    fn a_copy_of_a_line_is_no_defect_but_a_different_one_is() {
        let records = lines(vec![started(), Event::Sent { seq: 1 }, acknowledged(1)]);
        let mut twice = records.clone();
        twice.extend(records.clone());
        let once = histories(records);
        assert_eq!(histories(twice.clone()), once);
        twice[1].event = Event::Sent { seq: 9 };
        assert!(!histories(twice)["acme"].defects.is_empty());
    }

    #[test]
    fn an_answer_for_another_row_is_a_defect() {
        let history = histories(lines(vec![
            started(),
            Event::Sent { seq: 1 },
            acknowledged(2),
        ]));
        assert_eq!(history["acme"].defects.len(), 1);
    }
}
