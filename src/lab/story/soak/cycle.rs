//! One cycle: traffic, a fault, its outcome, the way back to two healthy servers, a judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::fault::{Dice, Expected, Kind};
use super::inject::{Fault, Happened};
use super::tally::{CycleReport, Outcome};
use crate::checker::{MIN_RATE, Outcome as Answer, longest_silence};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::regions::Region;
use crate::story::hands::in_sync;
use crate::story::moves::Moved;
use crate::story::objects::{condition, is};
use crate::story::report::TenantReport;
use crate::story::screen::recovery;
use crate::story::stage::{Stage, Tenant};
use crate::story::watch::{PolicyWatch, Transition, path};

/// Rows that each tenant of the policy must have been told are stored before the fault.
pub(super) const MIN_WRITES: u64 = 100;
/// The home of the tenant that no fault concerns.
const BYSTANDERS: &str = "us-east";
/// Rows by which a tenant shows that it writes again.
const AGAIN: u64 = 20;
const TRAFFIC_LIMIT: Duration = Duration::from_mins(1);
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

/// Where cycles take place: a stage, and what is known of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) watch: PolicyWatch,
    /// Rows sent before are not judged (monotonic nanoseconds).
    pub(super) since: u64,
    pub(super) synchronous: bool,
}

impl World {
    /// Plays a cycle and judges it. Errors: a step that must come did not come.
    pub(super) fn cycle(&mut self, dice: Dice, kind: Kind) -> Result<CycleReport> {
        let (primary, standby) = self.roles()?;
        let fault = Fault {
            stage: &self.stage,
            watch: &self.watch,
            dice,
            kind,
            primary,
            standby,
        };
        fault.prepare()?;
        let start = monotonic()?;
        let inside = if kind.has_writer_inside() {
            Some(self.stage.write_inside(primary.name)?)
        } else {
            None
        };
        self.await_writes(primary.name, MIN_WRITES)?;
        let happened = fault.play()?;
        let moved = self.settle(primary, standby)?;
        if let Some((inside, _)) = inside {
            inside.end()?;
        }
        let (now_primary, now_standby) = self.roles()?;
        if moved {
            self.stage.rejoin(now_standby.name, self.synchronous)?;
        }
        self.await_writes(now_primary.name, AGAIN)?;
        let report = self.judge((start, &happened), dice.cycle, (kind, primary, moved))?;
        if !self.synchronous {
            // What asynchronous replication lost is told once.
            self.since = monotonic()?;
        }
        Ok(report)
    }

    /// The active region of the policy and its standby.
    pub(super) fn roles(&self) -> Result<(&'static Region, &'static Region)> {
        let primary = Region::named(&self.stage.active()?)?;
        let alone = || LabError::State(format!("{} has no standby", primary.name));
        Ok((primary, primary.peer().ok_or_else(alone)?))
    }

    /// Waits until each tenant of the policy has that many rows more in a region.
    pub(super) fn await_writes(&self, region: &str, rows: u64) -> Result<()> {
        let tenants = self.stage.tenants()?;
        let moving: Vec<_> = tenants
            .values()
            .filter(|tenant| tenant.home != BYSTANDERS)
            .collect();
        let before = self.rows(region, &moving);
        let patience = Patience::new(format!("traffic in {region}"), TRAFFIC_LIMIT);
        loop {
            let now = self.rows(region, &moving);
            let grown = |name: &&String| {
                let count = |rows: &BTreeMap<String, u64>| rows.get(*name).copied().unwrap_or(0);
                count(&now) >= count(&before) + rows
            };
            if !now.is_empty() && now.keys().all(|name| grown(&name)) {
                return Ok(());
            }
            for _ in 0..10 {
                patience.pause(|| format!("rows before {before:?}, now {now:?}"))?;
            }
        }
    }

    /// Rows by tenant; a tenant whose server does not answer has none.
    fn rows(&self, region: &str, tenants: &[&Tenant]) -> BTreeMap<String, u64> {
        let count = |tenant: &&&Tenant| {
            let server = self.stage.lab.regions().server(region).ok()?;
            let sql = "SELECT count(*) FROM lab_rows";
            let told = server.superuser_sql(&tenant.database, sql).ok()?;
            Some((tenant.name.clone(), told.parse().ok()?))
        };
        let found = tenants
            .iter()
            .map(|tenant| count(&tenant).unwrap_or_else(|| (tenant.name.clone(), 0)));
        found.collect()
    }

    /// Waits until the machine rests: at the primary with its standby, or at the standby with the
    /// old primary kept apart. Returns whether it moved.
    fn settle(&self, primary: &Region, standby: &Region) -> Result<bool> {
        let (home, other) = (primary.name, standby.name);
        self.stage.await_policy("at rest", |policy| {
            let status = &policy["status"];
            let kept_apart = || {
                let reason = condition(policy, "StandbyHealthy").map(|one| one["reason"].clone());
                reason.is_some_and(|one| one == "AwaitingRejoin" || one == "Quarantined")
            };
            let healthy =
                || is(policy, "StandbyHealthy", "True") && in_sync(policy, other, self.synchronous);
            status["state"] == "Steady"
                && (status["activeRegion"] == home && healthy()
                    || status["activeRegion"] == other && kept_apart())
        })?;
        Ok(self.stage.active()? == other)
    }

    fn judge(
        &self,
        (start, happened): (u64, &Happened),
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
        report.fault_to_mended = (happened.mended - happened.fault) as f64 / 1e9;
        let seen = self.watch.seen();
        report.path = path(&seen, happened.fault);
        count(&mut report, &moving, (start, happened, until));
        let told = self.bound(moved)?;
        report.bound_seconds = told;
        report.problems = self.problems(&report, &moving, &others, start);
        report
            .problems
            .extend(outcome(kind, moved, &seen, happened));
        if moved && let Some(way) = Moved::read(&seen, happened.fault) {
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
        if report.loss_seconds > report.bound_seconds as f64 || self.synchronous && report.lost > 0
        {
            wrong.push(format!(
                "{} acknowledged rows are lost, the oldest {:.2} s old, and {} s were told",
                report.lost, report.loss_seconds, report.bound_seconds
            ));
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
    (start, happened, until): (u64, &Happened, u64),
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
        let before = one.rate(start, happened.fault);
        let written = before * (happened.fault - start) as f64 / 1e9;
        let enough = before >= MIN_RATE && written.round() as u64 >= MIN_WRITES;
        report.void |= !enough;
        report.rate += before;
        report.lost += one.verdict.lost.len() as u64;
        report.dual += one.verdict.dual.len() as u64;
        report.dual_ms = one
            .verdict
            .dual
            .iter()
            .map(|dual| dual.late / 1_000_000)
            .fold(report.dual_ms, u64::max);
        let loss = one.verdict.loss_seconds(happened.fault);
        report.loss_seconds = report.loss_seconds.max(loss);
        let gap = longest_silence(&history, happened.fault, until) as f64 / 1e9;
        report.gap_seconds = report.gap_seconds.max(gap);
    }
}

/// What is wrong with where the tenants went.
fn outcome(kind: Kind, moved: bool, seen: &[Transition], happened: &Happened) -> Vec<String> {
    let since = |one: &&Transition| one.at >= happened.fault;
    let promotions = seen.iter().filter(since);
    let promotions = promotions.filter(|one| one.state == "Promoting").count();
    let way = path(seen, happened.fault);
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

/// What helps to understand a failure.
pub(super) fn diagnosis(world: &World) -> Vec<String> {
    let mut lines = vec![
        format!("states: {}", path(&world.watch.seen(), world.since)),
        format!("policy: {}", world.stage.policy_summary()),
    ];
    let policy = world.stage.policy().unwrap_or(Value::Null);
    lines.push(format!("guards: {}", policy["status"]["guards"]));
    for log in world.stage.logs.logs().unwrap_or_default() {
        if log.namespace == crate::lab::SYSTEM_NAMESPACE {
            lines.push(format!("log {}:", log.file.display()));
            lines.push(crate::process::tail(&log.file));
        }
    }
    lines
}
