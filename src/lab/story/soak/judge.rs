//! The judgement of one cycle: what the writers were told, and where the tenants went.

use std::collections::BTreeSet;

use super::cycle::{BYSTANDERS, MIN_WRITES, World};
use super::fault::{Expected, Kind};
use super::tally::{CycleReport, Outcome};
use crate::checker::{MIN_RATE, Outcome as Answer, longest_silence};
use crate::clock::monotonic;
use crate::error::Result;
use crate::regions::Region;
use crate::story::moves::Moved;
use crate::story::report::TenantReport;
use crate::story::screen::recovery;
use crate::story::watch::{Transition, path};

/// States in which tenants may be on their way.
const MOVING: [&str; 8] = [
    "Draining",
    "Fencing",
    "CatchingUp",
    "Promoting",
    "Rerouting",
    "Verifying",
    "Aborting",
    "Halted",
];

impl World {
    /// Judges a cycle that began at `start` and its fault at `begun`.
    pub(super) fn judge_cycle(
        &self,
        (start, begun): (u64, u64),
        number: u64,
        (kind, primary, moved): (Kind, &Region, bool),
    ) -> Result<CycleReport> {
        let until = monotonic()?;
        let reports = self.stage.judge(self.since, &[])?;
        let (others, moving): (Vec<&TenantReport>, Vec<_>) = reports
            .values()
            .partition(|report| report.tenant.home == BYSTANDERS);
        let mut report = CycleReport::new(number, kind, primary.name);
        report.seconds = (until - start) as f64 / 1e9;
        let seen = self.watch.seen();
        report.path = path(&seen, begun);
        count(&mut report, &moving, (start, begun, until));
        let told = self.bound(moved)?;
        report.bound_seconds = told;
        report.problems = self.problems(&report, &moving, &others, start);
        report.problems.extend(outcome(kind, moved, &seen, begun));
        if moved && let Some(way) = Moved::read(&seen, begun) {
            let address = Region::named(&way.to)?.address.to_string();
            report.recovery = recovery(&way, &moving, &address);
            if report.recovery.is_none() {
                let text = format!("a tenant never wrote again in {}", way.to);
                report.problems.push(text);
            }
        }
        report.outcome = if moved {
            Outcome::Moved
        } else {
            Outcome::Stayed
        };
        report.needless = moved && kind.expected() == Expected::Stays;
        Ok(report)
    }

    /// What the policy told of the loss of a move, in seconds: 0 when nobody moved.
    fn bound(&self, moved: bool) -> Result<i64> {
        if moved { self.stage.told_loss() } else { Ok(0) }
    }

    fn problems(
        &self,
        report: &CycleReport,
        moving: &[&TenantReport],
        others: &[&TenantReport],
        start: u64,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for one in moving.iter().chain(others) {
            let name = &one.tenant.name;
            let found = one.verdict.violations().into_iter();
            wrong.extend(found.map(|text| format!("tenant {name}: {text}")));
        }
        if report.loss_seconds > report.bound_seconds as f64
            || self.synchronous() && report.lost > 0
        {
            wrong.push(format!(
                "{} acknowledged rows are lost, the oldest {:.2} s old, and {} s were told",
                report.lost, report.loss_seconds, report.bound_seconds
            ));
        }
        let stays = report.kind.expected() == Expected::Stays;
        for one in moving.iter().filter(|_| stays) {
            let (restarts, refused) = (one.restarts(start, u64::MAX), one.refused(start, u64::MAX));
            if restarts + refused > 0 {
                wrong.push(format!(
                    "tenant {} had {restarts} restarts and {refused} refused rows though nothing \
                     was lost",
                    one.tenant.name
                ));
            }
        }
        for one in others {
            let (restarts, lost) = (one.restarts(start, u64::MAX), one.verdict.lost.len());
            let refused = one.refused(start, u64::MAX);
            if restarts + lost + refused > 0 {
                wrong.push(format!(
                    "tenant {} of {BYSTANDERS} was hit: {restarts} restarts, {lost} lost, \
                     {refused} refused",
                    one.tenant.name
                ));
            }
        }
        wrong
    }
}

/// Adds what the writers of the tenants say.
fn count(
    report: &mut CycleReport,
    moving: &[&TenantReport],
    (start, begun, until): (u64, u64, u64),
) {
    for one in moving {
        let history = one.history.since(start);
        for attempt in &history.attempts {
            match attempt.outcome {
                Answer::Acknowledged { .. } => report.acknowledged += 1,
                Answer::Failed { .. } => report.refused += 1,
                Answer::Unknown => report.unknown += 1,
            }
        }
        let before = one.rate(start, begun);
        let written = before * (begun - start) as f64 / 1e9;
        if before < MIN_RATE || (written.round() as u64) < MIN_WRITES {
            report.void = Some(format!(
                "{} wrote {before:.0} rows a second",
                one.tenant.name
            ));
        }
        report.rate += before;
        report.lost += one.verdict.lost.len() as u64;
        report.dual += one.verdict.dual.len() as u64;
        report.dual_ms = one
            .verdict
            .dual
            .iter()
            .map(|dual| dual.late / 1_000_000)
            .fold(report.dual_ms, u64::max);
        let loss = one.verdict.loss_seconds(begun).max(one.lost_span());
        report.loss_seconds = report.loss_seconds.max(loss);
        let gap = longest_silence(&history, begun, until) as f64 / 1e9;
        report.gap_seconds = report.gap_seconds.max(gap);
    }
}

/// What is wrong with where the tenants went.
fn outcome(kind: Kind, moved: bool, seen: &[Transition], begun: u64) -> Vec<String> {
    let since = |one: &&Transition| one.at >= begun;
    // A machine that halts and goes on enters the state again, for the same epoch and standby.
    let promoting = seen.iter().filter(since);
    let promoting = promoting.filter(|one| one.state == "Promoting");
    let promotions = promoting.map(|one| one.epoch).collect::<BTreeSet<_>>();
    let promotions = promotions.len();
    let way = path(seen, begun);
    let mut wrong = Vec::new();
    if promotions > 1 {
        wrong.push(format!("{promotions} promotions for one fault: {way}"));
    }
    match kind.expected() {
        Expected::Moves if !moved => wrong.push(format!("nobody moved: {way}")),
        Expected::Stays => {
            let began = seen.iter().filter(since);
            if began.clone().any(|one| MOVING.contains(&&*one.state)) {
                wrong.push(format!("a move began though nothing was lost: {way}"));
            }
        }
        Expected::Moves | Expected::MovesOnceOrStays => {}
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(states: &[&str]) -> Vec<Transition> {
        let transition = |(at, state): (usize, &&str)| Transition {
            at: at as u64 + 1,
            state: (*state).to_owned(),
            epoch: 1,
            active: "eu-west".to_owned(),
        };
        states.iter().enumerate().map(transition).collect()
    }

    #[test]
    fn a_kill_must_move_and_a_cut_operator_must_not() {
        let moves = way(&["Suspect", "Outage", "Fencing", "Promoting", "Steady"]);
        assert!(outcome(Kind::Kill, true, &moves, 0).is_empty());
        assert_eq!(outcome(Kind::Kill, false, &way(&["Suspect"]), 0).len(), 1);
        assert_eq!(outcome(Kind::OperatorPrimaryCut, true, &moves, 0).len(), 1);
        let suspects = way(&["Suspect", "Outage", "Steady"]);
        assert!(outcome(Kind::OperatorPrimaryCut, false, &suspects, 0).is_empty());
    }

    #[test]
    fn a_move_that_was_given_up_counts_where_nothing_was_lost_and_nowhere_else() {
        let aborted = way(&["Suspect", "Outage", "Fencing", "Aborting", "Steady"]);
        assert_eq!(outcome(Kind::LightLoss, false, &aborted, 0).len(), 1);
        assert!(outcome(Kind::HealsMidway, false, &aborted, 0).is_empty());
        // What was before the fault is not the fault's.
        assert!(outcome(Kind::LightLoss, false, &aborted, 5).is_empty());
    }

    #[test]
    fn two_promotions_for_one_fault_are_one_too_many() {
        let mut twice = way(&[
            "Fencing",
            "Promoting",
            "Halted",
            "Promoting",
            "Steady",
            "Fencing",
            "Promoting",
            "Steady",
        ]);
        assert!(outcome(Kind::Flap, true, &twice, 0).is_empty());
        for later in twice.iter_mut().skip(5) {
            later.epoch = 2;
        }
        assert_eq!(outcome(Kind::Flap, true, &twice, 0).len(), 1);
    }
}
