//! What tenants cost: many placed by one `kubectl apply`, one after another, and left alone.

use std::time::Duration;

use super::cost::{Cost, Mark};
use super::ready::ReadyWatch;
use super::trouble::{self, Trouble};
use super::usage::Usage;
use super::{NAMESPACE, await_placed, each, floor, make_room, markdown, placement};
use crate::clock::monotonic;
use crate::error::Result;
use crate::lab::Options;
use crate::story::objects::kinds;
use crate::story::stage::{Parts, Stage};
use crate::story::times::Times;

/// Placements that are made one after another.
const ALONE: usize = 20;
/// Before the operator counts as left alone, and for how long it is watched then.
const CALM: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_mins(2);

/// What one lab measured. Times are in seconds.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Placements, each with a database of its own.
    placements: usize,
    /// From the call of `kubectl apply` until the last one was ready.
    wall: f64,
    /// The statements of one placement alone, by a session that does nothing else.
    floor: f64,
    /// From its creation until a placement was ready, when all are made at once.
    ready: Times,
    /// The same, when it is made alone.
    alone: Times,
    /// What placing took of the API server, the server and the machine, each by the placements.
    placing: Cost,
    /// The most memory that a process of the operator held, in MiB.
    peak: f64,
    /// What a minute took in which nothing happened.
    calm: Cost,
    /// Memory of the operator's largest process then, in MiB.
    resident: f64,
    /// What a restart took, until a while after another process had begun to lead.
    restart: Cost,
    /// What trouble elsewhere does to placements of another region.
    trouble: Trouble,
}

/// Measures each number of placements, in order, and answers the tables.
///
/// Errors: a lab cannot be had, or a placement was not ready in time; the lab is down then as well.
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

/// The rows as three tables in Markdown: placing, being left alone, and trouble elsewhere.
fn table(rows: &[Row]) -> Vec<String> {
    let placing = [
        "placements",
        "wall",
        "of the SQL alone",
        "ready p50",
        "ready p99",
        "alone p50",
        "alone max",
        "writes each",
        "events each",
        "reads each",
        "sessions each",
        "CPU ms each",
        "peak MiB",
    ];
    let of_placing = |row: &Row| {
        let Cost {
            writes,
            events,
            reads,
            sessions,
            transactions: _,
            cpu,
        } = row.placing;
        let figures = vec![
            row.wall,
            row.wall / row.placements as f64 / row.floor,
            row.ready.p50,
            row.ready.p99,
            row.alone.p50,
            row.alone.max,
            writes,
            events,
            reads,
            sessions,
            cpu * 1000.0,
            row.peak,
        ];
        (row.placements, figures)
    };
    let mut lines = markdown(&placing, rows.iter().map(of_placing));
    lines.push(String::new());
    lines.extend(markdown(&CALM_NAMES, rows.iter().map(of_calm)));
    lines.push(String::new());
    lines.extend(markdown(&TROUBLE_NAMES, rows.iter().map(of_trouble)));
    lines
}

const CALM_NAMES: [&str; 10] = [
    "placements",
    "reads/min",
    "writes/min",
    "sessions/min",
    "SQL writes/min",
    "% of a core",
    "MiB",
    "restart: reads",
    "restart: writes",
    "restart: sessions",
];

fn of_calm(row: &Row) -> (usize, Vec<f64>) {
    let (calm, restart) = (row.calm, row.restart);
    let figures = vec![
        calm.reads,
        calm.writes + calm.events,
        calm.sessions,
        calm.transactions,
        calm.cpu * 100.0 / 60.0,
        row.resident,
        restart.reads,
        restart.writes + restart.events,
        restart.sessions,
    ];
    (row.placements, figures)
}

const TROUBLE_NAMES: [&str; 7] = [
    "placements",
    "alone p50",
    "alone max",
    "beside a bad one p50",
    "beside a bad one max",
    "beside a silent region p50",
    "beside a silent region max",
];

fn of_trouble(row: &Row) -> (usize, Vec<f64>) {
    let Trouble {
        none,
        tenant,
        region,
    } = row.trouble;
    let times = [none, tenant, region].into_iter();
    let figures = times.flat_map(|one| [one.p50, one.max]);
    (row.placements, figures.collect())
}

fn measure(
    options: &Options,
    parts: Parts,
    number: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Row> {
    let stage = Stage::begin(options, parts, &mut |text| say(&format!("  {text}")))?;
    // Only what is measured shall be at work.
    stage.scale_apps(0)?;
    make_room(&stage)?;
    std::thread::sleep(CALM);
    let all: Vec<String> = (0..number).map(|one| format!("bench-{one:05}")).collect();
    let placements: Vec<_> = all.iter().map(|name| placement(name)).collect();
    let watch = ReadyWatch::begin(&stage.objects, kinds::PLACEMENT, NAMESPACE)?;
    say("  placing them all");
    let (start, begun) = (Mark::now(&stage)?, monotonic()?);
    stage.apply(&placements)?;
    await_placed(&stage)?;
    let placing = Mark::now(&stage)?.since(&start, number as f64);
    let (ready, last) = watch.times(&all)?;
    say("  placing some alone");
    let names: Vec<String> = (0..ALONE).map(|one| format!("alone-{one:05}")).collect();
    for name in &names {
        stage.apply(&[placement(name)])?;
        await_placed(&stage)?;
    }
    let (alone, _) = watch.times(&names)?;
    let peak = Usage::now(stage.space())?.peak;
    say("  leaving them alone");
    std::thread::sleep(CALM);
    let start = Mark::now(&stage)?;
    std::thread::sleep(WINDOW);
    let calm = Mark::now(&stage)?.since(&start, WINDOW.as_secs_f64() / 60.0);
    let resident = Usage::now(stage.space())?.resident;
    say("  a restart");
    let start = Mark::now(&stage)?;
    stage.renew_operator()?;
    std::thread::sleep(CALM);
    let restart = Mark::now(&stage)?.since(&start, 1.0);
    say("  the SQL alone");
    let floor = floor::measure(&stage)?;
    say("  trouble elsewhere");
    let trouble = trouble::measure(&stage, &watch, &all)?;
    Ok(Row {
        placements: number,
        wall: last.saturating_sub(begun) as f64 / 1e9,
        floor,
        ready,
        alone,
        placing,
        peak,
        calm,
        resident,
        restart,
        trouble,
    })
}
