//! How a failover grows with the number of databases on the server: for each number a lab of its
//! own, in which a region is lost and its tenants come home.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::ready::ReadyWatch;
use super::{BATCH_LIMIT, HOME, NAMESPACE, each, limit, make_room, markdown, placement};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::lab::Options;
use crate::process::Patience;
use crate::regions::{How, Region};
use crate::story::hands;
use crate::story::moves::Moved;
use crate::story::objects::kinds;
use crate::story::report::TenantReport;
use crate::story::screen::{Recovery, recovery};
use crate::story::stage::{Parts, Stage};
use crate::story::watch::PolicyWatch;

const OTHER: &str = "eu-central";
/// Placements in one call of `kubectl apply`.
const BATCH: usize = 100;
/// For a writer that reconnects once its Secret has changed.
const FIRST_ROW: Duration = Duration::from_mins(1);
/// As many placements are looked at all the time: to list more takes from what is measured.
const FEW: usize = 100;
/// Between two looks at all placements: to list a thousand costs the API server more than to make
/// one.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);
/// Before the loss, so that the standby has what was made.
const STEADY: Duration = Duration::from_secs(10);

/// What one lab measured, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// Tenants of the lost server, each with a database of its own; two of them write.
    databases: usize,
    /// Making and wiring the databases that were added, all of them.
    provisioned: f64,
    /// The failover, until the writers' first rows.
    failover: Recovery,
    /// From the decision until every Secret points at the new primary.
    all_repointed: f64,
    /// The killed server's start, until it answers.
    restart: f64,
    /// Its rejoining by `pg_rewind`, until it streams.
    rewind: f64,
    /// Longest time without an acknowledged row in the planned move home.
    switchover_gap: f64,
    /// The planned move home, from the operation until all Secrets point home.
    all_home: f64,
}

/// Measures each number of databases, in order, and answers the table.
///
/// Errors: a lab cannot be had, or a move did not happen; the lab is down then as well.
pub fn run(
    options: &Options,
    parts: &Parts,
    numbers: &[usize],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let rows = each(options, numbers, say, |number, say| {
        measure(options, parts.clone(), number, say)
    })?;
    Ok(table(&rows))
}

/// The rows as a table in Markdown.
fn table(rows: &[Row]) -> Vec<String> {
    let names = [
        "databases",
        "made",
        "detect",
        "fence",
        "promote",
        "repoint",
        "first write",
        "decision to all repointed",
        "restart",
        "rewind",
        "switchover gap",
        "all home",
    ];
    let of = |row: &Row| {
        let Recovery {
            total: _,
            detect,
            fence,
            promote,
            repoint,
            first_write,
        } = row.failover;
        let seconds = vec![
            row.provisioned,
            detect,
            fence,
            promote,
            repoint,
            first_write,
            row.all_repointed,
            row.restart,
            row.rewind,
            row.switchover_gap,
            row.all_home,
        ];
        (row.databases, seconds)
    };
    markdown(&names, rows.iter().map(of))
}

fn measure(
    options: &Options,
    parts: Parts,
    number: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Row> {
    let stage = Stage::begin(options, parts, &mut |text| say(&format!("  {text}")))?;
    let begun = monotonic()?;
    // The examples bring two of them.
    fill(&stage, number.saturating_sub(2), say)?;
    let provisioned = since(begun)?;
    let watch = PolicyWatch::begin(&stage.objects, &stage.policy)?;
    stage.await_policy("the standby has it all", |policy| {
        hands::in_sync(policy, OTHER, true)
    })?;
    // What was made lies behind: a rewind reads from the last checkpoint that both have.
    for region in [HOME, OTHER] {
        stage.sql(region, "CHECKPOINT")?;
    }
    let start = monotonic()?;
    std::thread::sleep(STEADY);
    say("  the region is lost");
    let fault = stage.lose(HOME, How::Kill)?;
    let lost = stage.await_moved(&watch, HOME, fault)?;
    let all_repointed = repointed(&stage, lost.fencing, &lost)?;
    let failover = judged(&stage, start, &lost)?;
    let begun = monotonic()?;
    stage.lab.regions().restore(HOME)?;
    let restart = since(begun)?;
    say("  it rejoins, and tenants go home");
    let begun = monotonic()?;
    let how = stage.lab.regions().rejoin(HOME)?;
    let rewind = since(begun)?;
    say(&format!("  {how:?}"));
    stage.await_policy("the old primary follows", |policy| {
        hands::in_sync(policy, HOME, true)
    })?;
    let start = monotonic()?;
    std::thread::sleep(STEADY);
    let home = stage.fail_back(&watch, HOME)?;
    let all_home = repointed(&stage, home.begun, &home)?;
    let reports = moving(&stage, start)?;
    let until = monotonic()?;
    let gaps = reports.iter().map(|one| one.silence(home.begun, until));
    Ok(Row {
        databases: number.max(2),
        provisioned,
        failover,
        all_repointed,
        restart,
        rewind,
        switchover_gap: gaps.fold(0.0, f64::max),
        all_home,
    })
}

/// Seconds from `begun` until every placement points where it moved to: the machine goes on without
/// the last ones after a while.
fn repointed(stage: &Stage, begun: u64, moved: &Moved) -> Result<f64> {
    let patience = Patience::new("all placements to be repointed", BATCH_LIMIT);
    let mut at = moved.verifying;
    loop {
        let placed = stage.objects.list(kinds::PLACEMENT, Some(NAMESPACE), "")?;
        let here = |one: &&Value| one["status"]["epoch"].as_i64() == Some(moved.epochs.1);
        let left = placed.len() - placed.iter().filter(here).count();
        if left == 0 {
            return Ok(span(begun, at));
        }
        patience.pause(|| format!("{left} of {} are left", placed.len()))?;
        if left > FEW {
            std::thread::sleep(BETWEEN_LISTS);
        }
        at = monotonic()?;
    }
}

/// Places tenants without workloads, and waits until each has its Secret.
fn fill(stage: &Stage, number: usize, say: &mut dyn FnMut(&str)) -> Result<()> {
    make_room(stage, [NAMESPACE])?;
    let watch = ReadyWatch::begin(&stage.objects, kinds::PLACEMENT)?;
    let names: Vec<String> = (0..number).map(|one| format!("bench-{one:04}")).collect();
    let mut placed = 0;
    for batch in names.chunks(BATCH) {
        let placements: Vec<Value> = batch.iter().map(|name| placement(name)).collect();
        stage.apply(&placements)?;
        watch.settle(batch, limit(batch.len()), &mut |_| Ok(()))?;
        placed += batch.len();
        say(&format!("  {placed} databases added"));
    }
    Ok(())
}

/// The tenants that move, as the checker sees them. Errors: it sees a broken promise; a fast
/// failover that lost rows is worth nothing.
fn moving(stage: &Stage, start: u64) -> Result<Vec<TenantReport>> {
    let reports = stage.judge(start, &[])?.into_values();
    let moving: Vec<_> = reports.filter(|one| one.tenant.home == HOME).collect();
    let wrong: Vec<_> = moving
        .iter()
        .flat_map(|one| {
            let lost = one.verdict.lost.len();
            let lost = (lost > 0).then(|| format!("{lost} acknowledged rows are lost"));
            one.verdict.violations().into_iter().chain(lost)
        })
        .collect();
    if wrong.is_empty() {
        Ok(moving)
    } else {
        Err(LabError::State(wrong.join("; ")))
    }
}

/// Waits for the first row of each writer: the move ends before its clients are back, and what a
/// new pod wrote is not known until it runs.
fn judged(stage: &Stage, start: u64, moved: &Moved) -> Result<Recovery> {
    let address = Region::named(&moved.to)?.address.to_string();
    let patience = Patience::new("each tenant's first row", FIRST_ROW);
    loop {
        let reports = stage.judge(start, &[])?.into_values();
        let reports: Vec<_> = reports.filter(|one| one.tenant.home == HOME).collect();
        let reports: Vec<_> = reports.iter().collect();
        if let Some(recovery) = recovery(moved, &reports, &address) {
            moving(stage, start)?;
            return Ok(recovery);
        }
        patience.pause(|| "a tenant has not written again".to_owned())?;
    }
}

fn since(begun: u64) -> Result<f64> {
    Ok(span(begun, monotonic()?))
}

fn span(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}
