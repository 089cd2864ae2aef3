//! The verdict on one tenant's history.

use std::collections::BTreeMap;

use super::history::{Attempt, History, Outcome, Reign};

/// Acknowledgements per second before a fault, below which a run proves nothing.
pub const MIN_RATE: f64 = 20.0;

const NANOSECONDS: f64 = 1e9;

/// The rows that a server holds: run and number, and how many acknowledgements the run had
/// received when it sent the row.
pub type Stored = BTreeMap<(String, u64), u64>;

/// A part of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its begin (monotonic nanoseconds).
    pub from: u64,
    /// Its end (monotonic nanoseconds), not included.
    pub to: u64,
}

/// What happened in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseReport {
    /// Rows acknowledged in it.
    pub acknowledged: u64,
    /// Of these, rows that the final server does not hold.
    pub lost: u64,
    /// Most servers that acknowledged in overlapping time; 0 when none did.
    pub writers_at_once: usize,
}

/// A row that was acknowledged and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRow {
    /// The process that sent it.
    pub run: String,
    /// Number of the row within the run.
    pub seq: u64,
    /// When it was acknowledged (monotonic nanoseconds).
    pub at: u64,
    /// Who acknowledged it.
    pub by: Reign,
}

/// An acknowledgement by a server after another one had taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dual {
    /// When it came (monotonic nanoseconds).
    pub at: u64,
    /// Who gave it.
    pub by: Reign,
    /// Who had taken over.
    pub after: Reign,
    /// How long before, in nanoseconds.
    pub late: u64,
}

/// What the logs and the final table say about one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Rows acknowledged.
    pub acknowledged: u64,
    /// Rows acknowledged and absent from the final server.
    pub lost: Vec<LostRow>,
    /// Rows whose fate the writer does not know.
    pub unknown: u64,
    /// Rows that the server refused.
    pub failed: u64,
    /// Rows that the final server holds and nobody sent.
    pub phantom: u64,
    /// Rows that were refused and are there nevertheless.
    pub resurrected: u64,
    /// Acknowledgements by a server that had been superseded.
    pub dual: Vec<Dual>,
    /// Most servers that acknowledged in overlapping time (1 is right).
    pub writers_at_once: usize,
    /// Why the logs are no evidence: missing lines, or acknowledgements that only the rows know.
    pub defects: Vec<String>,
    /// What accounts and lists say against the rows; see [`super::audit`].
    pub books: Vec<String>,
    /// The phases, in the order asked for.
    pub phases: Vec<PhaseReport>,
}

/// Judges a tenant's history against the rows of the server that is active at the end. Read the
/// logs first and the rows after: then each acknowledged row must be there. Books are judged by
/// [`super::audit`].
pub fn judge(history: &History, stored: &Stored, phases: &[Phase]) -> Verdict {
    let acknowledgements = acknowledgements(history);
    let lost = lost(history, stored);
    let phases = phases
        .iter()
        .map(|phase| report(phase, &acknowledgements, &lost))
        .collect();
    let (mut unknown, mut failed, mut resurrected) = (0, 0, 0);
    for attempt in &history.attempts {
        match attempt.outcome {
            Outcome::Acknowledged { .. } => {}
            Outcome::Failed { .. } => {
                failed += 1;
                resurrected += u64::from(stored.contains_key(&key(attempt)));
            }
            Outcome::Unknown => unknown += 1,
        }
    }
    let phantom = stored.keys().filter(|row| phantom(history, row)).count() as u64;
    let mut defects = history.defects.clone();
    defects.extend(unreported(history, stored));
    Verdict {
        acknowledged: acknowledgements.len() as u64,
        lost,
        unknown,
        failed,
        phantom,
        resurrected,
        dual: duals(&acknowledgements),
        writers_at_once: writers_at_once(&acknowledgements),
        defects,
        books: Vec::new(),
        phases,
    }
}

impl Verdict {
    /// What is wrong, whatever the replication mode: empty when at most rows were lost.
    pub fn violations(&self) -> Vec<String> {
        let mut found = self.defects.clone();
        found.extend(self.books.iter().cloned());
        let mut complain = |wrong: bool, text: String| {
            if wrong {
                found.push(text);
            }
        };
        let dual = self.dual.len();
        complain(
            dual > 0,
            format!("{dual} acknowledgements by a superseded server"),
        );
        let (writers, phantom) = (self.writers_at_once, self.phantom);
        complain(writers > 1, format!("{writers} writers at once"));
        complain(phantom > 0, format!("{phantom} rows that nobody sent"));
        let refused = self.resurrected;
        complain(refused > 0, format!("{refused} refused rows are stored"));
        found
    }

    /// Age in seconds, at the time of the fault, of the oldest acknowledged row that was lost.
    pub fn loss_seconds(&self, fault: u64) -> f64 {
        let oldest = self.lost.iter().map(|row| row.at).min();
        oldest.map_or(0.0, |at| seconds(at, fault))
    }
}

/// Acknowledgements per second between two moments (monotonic nanoseconds).
pub fn rate(history: &History, from: u64, to: u64) -> f64 {
    let within = acknowledgements(history)
        .into_iter()
        .filter(|(at, _)| (from..to).contains(at));
    let count = within.count() as f64;
    if to > from {
        count / seconds(from, to)
    } else {
        0.0
    }
}

/// When the first acknowledgement after a moment came, and from whom. With `server`, only those
/// of that address count.
pub fn first_acknowledgement(
    history: &History,
    after: u64,
    server: Option<&str>,
) -> Option<(u64, Reign)> {
    let mut found = acknowledgements(history).into_iter();
    found
        .find(|(at, by)| *at >= after && server.is_none_or(|address| by.server == address))
        .map(|(at, by)| (at, by.clone()))
}

/// Longest time in nanoseconds without an acknowledgement between two moments.
pub fn longest_silence(history: &History, from: u64, to: u64) -> u64 {
    let mut last = from;
    let mut longest = 0;
    for (at, _) in acknowledgements(history) {
        if (from..to).contains(&at) {
            longest = longest.max(at - last);
            last = at;
        }
    }
    longest.max(to.saturating_sub(last))
}

type Acknowledgement<'a> = (u64, &'a Reign);

/// In the order of their times.
fn acknowledgements(history: &History) -> Vec<Acknowledgement<'_>> {
    let mut all: Vec<_> = history
        .attempts
        .iter()
        .filter_map(|attempt| match &attempt.outcome {
            Outcome::Acknowledged { at, by } => Some((*at, by)),
            Outcome::Failed { .. } | Outcome::Unknown => None,
        })
        .collect();
    all.sort();
    all
}

fn key(attempt: &Attempt) -> (String, u64) {
    (attempt.run.clone(), attempt.seq)
}

fn lost(history: &History, stored: &Stored) -> Vec<LostRow> {
    let mut lost = Vec::new();
    for attempt in &history.attempts {
        if let Outcome::Acknowledged { at, by } = &attempt.outcome
            && !stored.contains_key(&key(attempt))
        {
            lost.push(LostRow {
                run: attempt.run.clone(),
                seq: attempt.seq,
                at: *at,
                by: by.clone(),
            });
        }
    }
    lost
}

/// A row that nobody sent. A run without an end may have sent more since its log was read.
fn phantom(history: &History, row: &(String, u64)) -> bool {
    let later = |last: &u64| row.1 > *last;
    !history.sent.contains(row) && !history.open_runs.get(&row.0).is_some_and(later)
}

/// Rows that say more acknowledgements came than the log tells.
fn unreported(history: &History, stored: &Stored) -> Vec<String> {
    let differs = |attempt: &&Attempt| {
        stored
            .get(&key(attempt))
            .is_some_and(|count| *count != attempt.acknowledged_before)
    };
    let found = history.attempts.iter().find(differs);
    let describe = |attempt: &Attempt| {
        format!(
            "row {} of run {} knows another number of acknowledgements than the log ({})",
            attempt.seq, attempt.run, attempt.acknowledged_before
        )
    };
    found.map(describe).into_iter().collect()
}

fn duals(acknowledgements: &[Acknowledgement<'_>]) -> Vec<Dual> {
    let mut first: BTreeMap<&Reign, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, by) in acknowledgements {
        first.entry(*by).or_insert(*at);
        let usurper = first.iter().find(|(other, _)| {
            other.timeline > by.timeline
                || (other.timeline == by.timeline && other.server != by.server)
        });
        if let Some((after, since)) = usurper {
            found.push(Dual {
                at: *at,
                by: (*by).clone(),
                after: (*after).clone(),
                late: at - since,
            });
        }
    }
    found
}

/// The most reigns, each from its first to its last acknowledgement, that share a moment.
fn writers_at_once(acknowledgements: &[Acknowledgement<'_>]) -> usize {
    let mut reigns: BTreeMap<&Reign, (u64, u64)> = BTreeMap::new();
    for (at, by) in acknowledgements {
        let (_, last) = reigns.entry(*by).or_insert((*at, *at));
        *last = *at;
    }
    let during = |moment: u64| {
        let reigning = |(from, to): &&(u64, u64)| (*from..=*to).contains(&moment);
        reigns.values().filter(reigning).count()
    };
    let begins = reigns.values().map(|(from, _)| during(*from));
    begins.max().unwrap_or(0)
}

fn report(phase: &Phase, all: &[Acknowledgement<'_>], lost: &[LostRow]) -> PhaseReport {
    let span = phase.from..phase.to;
    let within: Vec<_> = all
        .iter()
        .filter(|(at, _)| span.contains(at))
        .copied()
        .collect();
    PhaseReport {
        acknowledged: within.len() as u64,
        lost: lost.iter().filter(|row| span.contains(&row.at)).count() as u64,
        writers_at_once: writers_at_once(&within),
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / NANOSECONDS
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
