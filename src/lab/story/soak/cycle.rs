//! One cycle: traffic, a fault, its outcome, the way back to two healthy servers, a judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::fault::{Dice, Kind, Means};
use super::inject::{Fault, Posts};
use super::tally::CycleReport;
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::regions::Region;
use crate::story::Agents;
use crate::story::hands::in_sync;
use crate::story::objects::{condition, is};
use crate::story::stage::{Stage, Tenant};
use crate::story::watch::{PolicyWatch, path};
use crate::story::writer::acknowledged;

/// Rows that each tenant of the policy must have been told are stored before the fault.
pub(super) const MIN_WRITES: u64 = 100;
/// The home of the tenant that no fault concerns.
pub(super) const BYSTANDERS: &str = "us-east";
/// Rows by which a tenant shows that it writes again.
const AGAIN: u64 = 20;
/// Heartbeats of the operator before the fault, one a second.
const HEARTBEATS: i64 = 4;
const TRAFFIC_LIMIT: Duration = Duration::from_mins(1);
/// Where cycles take place: a stage, and what is known of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) watch: PolicyWatch,
    /// Rows sent before are not judged (monotonic nanoseconds).
    pub(super) since: u64,
    pub(super) means: Means,
    /// The agents on both sides, if they are the means.
    pub(super) posts: Posts,
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
        let mut steps = Steps::begin()?;
        let start = monotonic()?;
        fault.prepare()?;
        let inside = if kind.has_writer_inside() {
            Some(self.stage.write_inside(primary.name)?)
        } else {
            None
        };
        match self.await_writes(primary.name, MIN_WRITES) {
            // A machine that is too busy for traffic proves nothing.
            Err(LabError::Deadline { what, detail, .. }) => {
                let mut report = CycleReport::new(dice.cycle, kind, primary.name);
                report.void = Some(format!("{what} did not happen: {detail}"));
                return Ok(report);
            }
            written => written?,
        }
        self.await_heartbeats(standby.name)?;
        steps.done("traffic")?;
        let begun = monotonic()?;
        let death = fault.play(&mut self.posts, begun)?;
        steps.done("fault")?;
        let moved = self.settle(primary, standby)?;
        steps.done("settle")?;
        let inside = inside.map(|(writer, log)| writer.end().map(|()| log));
        let inside = inside.transpose()?;
        let (now_primary, now_standby) = self.roles()?;
        if moved {
            self.stage.rejoin(now_standby.name, self.synchronous())?;
        }
        steps.done("rejoin")?;
        self.await_writes(now_primary.name, AGAIN)?;
        steps.done("traffic again")?;
        let mut report = self.judge_cycle((start, begun), dice.cycle, (kind, primary, moved))?;
        report.death = death;
        report.inside = inside
            .map(|log| acknowledged(&log, start, begun))
            .transpose()?;
        report.void = report.void.take().or_else(|| report.shows_nothing());
        steps.done("judge")?;
        report.steps = steps.done;
        for agents in self.posts.values_mut() {
            agents.fill(&self.stage)?;
        }
        if !self.synchronous() {
            // What asynchronous replication lost is told once.
            self.since = monotonic()?;
        }
        Ok(report)
    }

    pub(super) fn synchronous(&self) -> bool {
        self.means == Means::Synchronous
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

    /// Waits until a standby has replayed some more of the operator's heartbeats: then an operator
    /// leads, and has looked at both servers. One that begins after the fault knows of no server
    /// in sync, and rightly moves nobody.
    fn await_heartbeats(&self, standby: &str) -> Result<()> {
        let patience = Patience::new(format!("heartbeats in {standby}"), TRAFFIC_LIMIT);
        let mut first = self.heartbeat(standby)?;
        loop {
            let now = self.heartbeat(standby)?;
            if now.0 != first.0 {
                // Each leader counts its own.
                first.clone_from(&now);
            }
            if now.1 >= first.1 + HEARTBEATS {
                return Ok(());
            }
            for _ in 0..10 {
                patience.pause(|| format!("first {first:?}, then {now:?}"))?;
            }
        }
    }

    /// The leader of the last heartbeat that a standby has replayed, and its number.
    fn heartbeat(&self, standby: &str) -> Result<(String, i64)> {
        let sql = "SELECT leader, sequence FROM domicile.heartbeat";
        let told = self.stage.sql(standby, sql)?;
        let beat = told.split_once('|');
        let beat =
            beat.and_then(|(leader, number)| Some((leader.to_owned(), number.parse().ok()?)));
        beat.ok_or_else(|| LabError::State(format!("{standby} answers {told:?} for a heartbeat")))
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
            let healthy = || {
                is(policy, "StandbyHealthy", "True") && in_sync(policy, other, self.synchronous())
            };
            status["state"] == "Steady"
                && (status["activeRegion"] == home && healthy()
                    || status["activeRegion"] == other && kept_apart())
        })?;
        Ok(self.stage.active()? == other)
    }
}

/// How long the steps of a cycle took.
struct Steps {
    since: u64,
    done: Vec<(&'static str, f64)>,
}

impl Steps {
    fn begin() -> Result<Self> {
        let since = monotonic()?;
        Ok(Self {
            since,
            done: Vec::new(),
        })
    }

    fn done(&mut self, step: &'static str) -> Result<()> {
        let now = monotonic()?;
        self.done.push((step, (now - self.since) as f64 / 1e9));
        self.since = now;
        Ok(())
    }
}

/// What helps to understand a failure.
pub(super) fn diagnosis(world: &World) -> Vec<String> {
    let mut lines = vec![
        format!("states: {}", path(&world.watch.seen(), world.since)),
        format!("policy: {}", world.stage.policy_summary()),
    ];
    let policy = world.stage.policy().unwrap_or(Value::Null);
    lines.push(format!("guards: {}", policy["status"]["guards"]));
    for log in world.posts.values().flat_map(Agents::logs) {
        lines.push(format!("log {}:", log.display()));
        lines.push(crate::process::tail(log));
    }
    for log in world.stage.logs.logs().unwrap_or_default() {
        if log.namespace == crate::lab::SYSTEM_NAMESPACE {
            lines.push(format!("log {}:", log.file.display()));
            lines.push(crate::process::tail(&log.file));
        }
    }
    lines
}
