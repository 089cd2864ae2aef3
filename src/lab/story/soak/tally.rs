//! What a soak has seen, and its report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::fault::Kind;
use crate::story::screen::Recovery;
use crate::story::times::Times;

/// Where the tenants were after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// In the other region.
    Moved,
    /// Where they had been.
    Stayed,
}

/// Rows of the writer inside before the fault, below which it shows nothing.
const MIN_INSIDE: usize = 50;

/// The moment at which operators died in a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Death {
    /// The last state that they had stored.
    pub state: String,
    /// Whether all of them died, or the one that led.
    pub all: bool,
}

/// One cycle. Writes are those of the tenants that the policy moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CycleReport {
    /// Its number.
    pub number: u64,
    /// What was broken.
    pub kind: Kind,
    /// The region that was active before.
    pub primary: String,
    /// Where the tenants were after it.
    pub outcome: Outcome,
    /// Why the cycle proves nothing and is repeated; none when it counts.
    pub void: Option<String>,
    /// When operators were killed, if the kind kills any.
    pub death: Option<Death>,
    /// Rows that the writer inside the primary's region was told of before the fault, if the kind
    /// has one.
    pub inside: Option<usize>,
    /// The states of the machine since the fault.
    pub path: String,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// How long its steps took, in seconds.
    pub steps: Vec<(&'static str, f64)>,
    /// Acknowledged writes per second before the fault.
    pub rate: f64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes without an answer.
    pub unknown: u64,
    /// Writes that a server refused.
    pub refused: u64,
    /// Acknowledged writes that the active server does not hold.
    pub lost: u64,
    /// Age in seconds, at the fault, of the oldest of these, or the span in which they were written
    /// if that is longer.
    pub loss_seconds: f64,
    /// Loss in seconds that the policy told.
    pub bound_seconds: i64,
    /// Acknowledgements by a server after another one had taken over.
    pub dual: u64,
    /// How late the latest of these came, in milliseconds.
    pub dual_ms: u64,
    /// Longest time in seconds in which a tenant was told of no write, from the fault on.
    pub gap_seconds: f64,
    /// Where the time of the move went.
    pub recovery: Option<Recovery>,
    /// Tenants moved though nothing was lost.
    pub needless: bool,
    /// What is wrong; empty when all is well.
    pub problems: Vec<String>,
}

/// How the cycles of one kind went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Cycles in which all was well.
    pub passed: u64,
    /// Of these, cycles in which the tenants moved.
    pub moved: u64,
    /// Cycles that proved nothing.
    pub void: u64,
    /// Cycles with a problem.
    pub failed: u64,
}

/// A cycle that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Number of the cycle; 0 for what is no cycle's.
    pub cycle: u64,
    /// What was being done.
    pub what: String,
    /// What went wrong.
    pub why: Vec<String>,
    /// How to see it again.
    pub replay: String,
}

/// All that a soak has seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The seed.
    pub seed: u64,
    /// The commit of the repository.
    pub commit: String,
    /// The kind of lab.
    pub lab: String,
    /// How many cycles were asked for.
    pub asked: u64,
    /// Writes per tenant below which a cycle is void.
    pub min_writes: u64,
    /// What the positive controls saw.
    pub controls: Vec<String>,
    /// Where the tenants' bytes were at the end.
    pub residency: Vec<String>,
    /// All cycles, void ones too.
    pub cycles: Vec<CycleReport>,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

impl CycleReport {
    /// A report in which nothing is known yet.
    pub fn new(number: u64, kind: Kind, primary: &str) -> Self {
        Self {
            number,
            kind,
            primary: primary.to_owned(),
            outcome: Outcome::Stayed,
            void: None,
            death: None,
            inside: None,
            path: String::new(),
            seconds: 0.0,
            steps: Vec::new(),
            rate: 0.0,
            acknowledged: 0,
            unknown: 0,
            refused: 0,
            lost: 0,
            loss_seconds: 0.0,
            bound_seconds: 0,
            dual: 0,
            dual_ms: 0,
            gap_seconds: 0.0,
            recovery: None,
            needless: false,
            problems: Vec::new(),
        }
    }

    /// Why a cycle proves nothing in which enough was written from outside: what its kind is about
    /// did not happen.
    pub fn shows_nothing(&self) -> Option<String> {
        let after = |death: &Death| death.state == "Steady" && self.outcome == Outcome::Moved;
        if self.death.as_ref().is_some_and(after) {
            return Some("operators died when the move was over".to_owned());
        }
        let inside = self.inside.filter(|rows| *rows < MIN_INSIDE)?;
        Some(format!(
            "the writer inside wrote {inside} rows before the fault"
        ))
    }

    /// One line about the cycle.
    pub fn line(&self) -> String {
        let word = match (self.problems.is_empty(), &self.void) {
            (false, _) => "FAILED".to_owned(),
            (true, Some(why)) => format!("void, {why}"),
            (true, None) => "ok".to_owned(),
        };
        let way = match (self.outcome, &self.recovery) {
            (Outcome::Moved, Some(recovery)) => format!("moved in {recovery}"),
            (Outcome::Moved, None) => "moved".to_owned(),
            (Outcome::Stayed, _) => "stayed".to_owned(),
        };
        let died = |Death { state, all }: &Death| {
            let who = if *all { "all operators" } else { "the leader" };
            format!(", {who} died in {state}")
        };
        let died = self.death.as_ref().map(died).unwrap_or_default();
        format!(
            "cycle {} {} at {}: {word} ({:.1} s) {way}{died}; {} acknowledged, {} unknown, \
             {} refused, {} lost, longest gap {:.2} s",
            self.number,
            self.kind,
            self.primary,
            self.seconds,
            self.acknowledged,
            self.unknown,
            self.refused,
            self.lost,
            self.gap_seconds
        )
    }
}

impl Tally {
    /// Whether all was well: as many cycles as were asked for passed, and nothing failed.
    pub fn well(&self) -> bool {
        self.failures.is_empty() && self.asked > 0 && self.passed() == self.asked
    }

    /// How many cycles passed.
    pub fn passed(&self) -> u64 {
        self.kinds().values().map(|count| count.passed).sum()
    }

    /// The cycles by kind.
    pub fn kinds(&self) -> BTreeMap<Kind, Count> {
        let mut kinds: BTreeMap<Kind, Count> = BTreeMap::new();
        for cycle in &self.cycles {
            let count = kinds.entry(cycle.kind).or_default();
            if !cycle.problems.is_empty() {
                count.failed += 1;
            } else if cycle.void.is_some() {
                count.void += 1;
            } else {
                count.passed += 1;
                count.moved += u64::from(cycle.outcome == Outcome::Moved);
            }
        }
        kinds
    }

    /// The times of automatic moves, by phase.
    pub fn phases(&self) -> Vec<(&'static str, Times)> {
        type Phase = (&'static str, fn(&Recovery) -> f64);
        let phases: [Phase; 6] = [
            ("total", |one| one.total),
            ("detect", |one| one.detect),
            ("fence", |one| one.fence),
            ("promote", |one| one.promote),
            ("repoint", |one| one.repoint),
            ("first write", |one| one.first_write),
        ];
        let times = |phase: fn(&Recovery) -> f64| {
            let moves = self.cycles.iter();
            let moves = moves.filter(|one| one.kind != Kind::Switchover);
            Times::of(
                moves
                    .filter_map(|one| one.recovery.as_ref())
                    .map(phase)
                    .collect(),
            )
        };
        let told = phases.into_iter();
        told.filter_map(|(name, phase)| Some((name, times(phase)?)))
            .collect()
    }

    /// How long tenants could not write: in planned moves, and in all faults.
    pub fn gaps(&self, planned: bool) -> Option<Times> {
        let chosen = self.cycles.iter().filter(|one| one.void.is_none());
        let chosen = chosen.filter(|one| !planned || one.kind == Kind::Switchover);
        Times::of(chosen.map(|one| one.gap_seconds).collect())
    }

    /// The report as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "well": self.well(), "passed": self.passed(), "needless": self.needless(),
            "kinds": self.kinds().iter().map(|(kind, count)| (kind.to_string(), *count))
                .collect::<BTreeMap<_, _>>(),
            "recovery": self.phases().into_iter().collect::<BTreeMap<_, _>>(),
            "switchoverGap": self.gaps(true), "gap": self.gaps(false), "details": self,
        })
    }

    /// How many moves nothing had called for.
    pub fn needless(&self) -> usize {
        self.cycles.iter().filter(|one| one.needless).count()
    }

    /// The report as text, a line each.
    pub fn lines(&self) -> Vec<String> {
        let sum = |count: fn(&CycleReport) -> u64| self.cycles.iter().map(count).sum::<u64>();
        let void = self.cycles.iter().filter(|one| one.void.is_some()).count();
        let mut lines = vec![
            format!("seed {}, commit {}, {}", self.seed, self.commit, self.lab),
            format!(
                "cycles: {} asked, {} passed, {} failures, {void} void (fewer than {} \
                 acknowledged writes of a tenant before the fault, or no fault as named)",
                self.asked,
                self.passed(),
                self.failures.len(),
                self.min_writes
            ),
        ];
        lines.extend(self.kinds().iter().map(|(kind, count)| {
            let Count {
                passed,
                moved,
                void,
                failed,
            } = count;
            let kind = kind.to_string();
            format!("  {kind:<22} passed {passed:>3} (moved {moved}), void {void}, failed {failed}")
        }));
        lines.push(format!(
            "writes: {} acknowledged, {} unknown, {} refused, {} lost",
            sum(|one| one.acknowledged),
            sum(|one| one.unknown),
            sum(|one| one.refused),
            sum(|one| one.lost)
        ));
        lines.push(self.loss());
        lines.push(format!(
            "double acknowledgements: {}, needless failovers: {}",
            sum(|one| one.dual),
            self.needless()
        ));
        for (name, times) in self.phases() {
            lines.push(format!("recovery, {name:<12} {}", told(times)));
        }
        for (name, planned) in [
            ("switchover write gap", true),
            ("longest gap of a cycle", false),
        ] {
            if let Some(times) = self.gaps(planned) {
                lines.push(format!("{name}: {}", told(times)));
            }
        }
        lines.extend(self.controls.iter().map(|one| format!("control: {one}")));
        lines.extend(self.residency.iter().map(|one| format!("residency: {one}")));
        for failure in &self.failures {
            lines.push(format!("FAILED cycle {} {}", failure.cycle, failure.what));
            lines.extend(failure.why.iter().map(|why| format!("  {why}")));
            lines.push(format!("  replay: {}", failure.replay));
        }
        lines
    }

    fn loss(&self) -> String {
        let worst = self.cycles.iter();
        let worst = worst.max_by(|one, other| one.loss_seconds.total_cmp(&other.loss_seconds));
        let mut text = String::from("largest loss: ");
        // Writing to a String does not fail.
        let _infallible = match worst {
            Some(worst) if worst.lost > 0 => write!(
                text,
                "{:.2} s of at most {} s told (cycle {})",
                worst.loss_seconds, worst.bound_seconds, worst.number
            ),
            Some(_) | None => write!(text, "none"),
        };
        text
    }
}

fn told(times: Times) -> String {
    let Times {
        count,
        p50,
        p90,
        p99,
        max,
    } = times;
    format!("p50 {p50:.2} s, p90 {p90:.2} s, p99 {p99:.2} s, max {max:.2} s ({count} times)")
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
