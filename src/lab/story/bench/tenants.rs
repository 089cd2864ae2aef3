//! What tenants cost: many placed by one `kubectl apply`, one after another, and left alone.

use std::path::PathBuf;
use std::time::Duration;

use super::cost::{Cost, Meter};
use super::fleet::Fleet;
use super::quiet::{self, Burst};
use super::ready::ReadyWatch;
use super::sites::Sites;
use super::trouble::{self, Trouble};
use super::usage::Usage;
use super::{NAMESPACE, ONE_LIMIT, apply_all, each, floor, growth, limit, make_room, markdown};
use crate::clock::{monotonic, wall};
use crate::error::Result;
use crate::lab::Options;
use crate::story::objects::{kinds, ready};
use crate::story::stage::{Parts, Stage};
use crate::story::times::Times;
use crate::tools;

/// Placements that are made one after another.
const ALONE: usize = 20;
/// Before the operator counts as left alone, and for how long it is watched then.
const CALM: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_mins(2);
/// Between two lines that say how far it is.
const TOLD: u64 = 60_000_000_000;

/// What one lab measured. Times are in seconds.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Placements, each with a database of its own.
    placements: usize,
    /// From the call of `kubectl apply` until the last one was ready.
    wall: f64,
    /// The same until the last workload ran with its variables, where there are workloads.
    rolled: Option<f64>,
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
    /// What a restart took, until the operator had been quiet for a while.
    restart: Cost,
    /// When that was, in seconds since the processes before were ended.
    burst: Burst,
    /// What trouble elsewhere does to placements of another region.
    trouble: Trouble,
}

/// Measures each number of placements, in order, with or without workloads, spread over so many
/// regions, and answers the tables.
///
/// Errors: a lab cannot be had, or a placement was not ready in time; the lab is down then as well.
pub fn run(
    options: &Options,
    parts: &Parts,
    (numbers, workloads, regions): (&[usize], bool, usize),
    say: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let kwok = workloads.then(|| tools::kwok(&options.places.cache, say));
    let kwok = kwok.transpose()?;
    let rows = each(options, numbers, say, |number, say| {
        let stage = Stage::begin(options, parts.clone(), &mut |text| {
            say(&format!("  {text}"));
        })?;
        let row = measure(&stage, (number, kwok.as_ref(), regions), say)?;
        // Those of an hour must not be lost by what goes wrong in the next lab.
        if numbers.len() > 1 {
            for line in table(&[row]) {
                say(&line);
            }
        }
        Ok(row)
    })?;
    Ok(table(&rows))
}

/// The rows as three tables in Markdown: placing, being left alone, and trouble elsewhere; and how
/// the figures grow.
fn table(rows: &[Row]) -> Vec<String> {
    let mut lines = markdown(&PLACING_NAMES, rows.iter().map(of_placing));
    lines.push(String::new());
    lines.extend(markdown(&CALM_NAMES, rows.iter().map(of_calm)));
    lines.push(String::new());
    lines.extend(markdown(&TROUBLE_NAMES, rows.iter().map(of_trouble)));
    if let [first, .., last] = rows {
        let (from, to) = (first.placements, last.placements);
        let figures = [
            ("wall", first.wall, last.wall),
            ("peak memory", first.peak, last.peak),
            ("calm memory", first.resident, last.resident),
            ("calm reads", first.calm.reads, last.calm.reads),
            ("calm CPU", first.calm.cpu, last.calm.cpu),
        ];
        lines.extend([String::new(), growth::line(from, to, &figures)]);
    }
    lines
}

const PLACING_NAMES: [&str; 14] = [
    "placements",
    "wall",
    "workloads rolled",
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

fn of_placing(row: &Row) -> (usize, Vec<f64>) {
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
        row.rolled.unwrap_or_default(),
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
}

const CALM_NAMES: [&str; 12] = [
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
    "restart: first call s",
    "restart: then quiet after s",
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
        row.burst.begun,
        row.burst.lasted,
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
    stage: &Stage,
    (number, kwok, regions): (usize, Option<&PathBuf>, usize),
    say: &mut dyn FnMut(&str),
) -> Result<Row> {
    // Only what is measured shall be at work.
    stage.scale_apps(0)?;
    make_room(stage, [NAMESPACE])?;
    let sites = Sites::begin(stage, regions)?;
    let all = Fleet::of("bench", number, kwok.is_some()).spread(&sites.names());
    let few = Fleet::of("alone", ALONE, kwok.is_some());
    if let Some(kwok) = kwok {
        say("  starting kwok, and the workloads");
        stage.lab.cluster().start_fakes(kwok)?;
        all.prepare(stage)?;
        few.prepare(stage)?;
    }
    std::thread::sleep(CALM);
    let watch = ReadyWatch::begin(&stage.objects, kinds::PLACEMENT)?;
    let mut meter = Meter::of(&sites);
    say("  placing them all");
    let (start, begun) = (meter.mark(stage)?, monotonic()?);
    place(stage, &watch, &all, say)?;
    let placing = meter.mark(stage)?.since(&start, number as f64);
    let (ready, last) = watch.times(&all.names())?;
    let rolled = match kwok {
        Some(_) => {
            all.await_injected(stage)?;
            Some(seconds(begun, monotonic()?))
        }
        None => None,
    };
    // With thousands an hour has passed: what goes wrong from here on must not lose its figures.
    say(&format!(
        "  {ready:?}, all rolled {rolled:?}, each {placing:?}"
    ));
    say("  placing some alone");
    let alone = one_by_one(stage, &watch, &few)?;
    let peak = Usage::now(stage.space())?.peak;
    say(&format!("  {alone:?}, at most {peak:.1} MiB"));
    let (calm, usual, resident) = leave_alone(stage, &mut meter, &all, say)?;
    let (restart, burst) = begin_anew(stage, &mut meter, (usual, number), say)?;
    say("  the SQL alone");
    let floor = floor::measure(stage)?;
    say("  trouble elsewhere");
    let trouble = trouble::measure(stage, &watch, &all)?;
    Ok(Row {
        placements: number,
        wall: seconds(begun, last),
        rolled,
        floor,
        ready,
        alone,
        placing,
        peak,
        calm,
        resident,
        restart,
        burst,
        trouble,
    })
}

/// What a minute takes in which nothing happens, the calls of its busiest second, and the memory of
/// the operator's largest process.
fn leave_alone(
    stage: &Stage,
    meter: &mut Meter<'_>,
    all: &Fleet,
    say: &mut dyn FnMut(&str),
) -> Result<(Cost, usize, f64)> {
    say("  leaving them alone");
    std::thread::sleep(CALM);
    let start = meter.mark(stage)?;
    std::thread::sleep(WINDOW);
    let end = meter.mark(stage)?;
    let calm = end.since(&start, WINDOW.as_secs_f64() / 60.0);
    let resident = Usage::now(stage.space())?.resident;
    all.check(stage)?;
    say(&format!("  a minute {calm:?}, {resident:.1} MiB"));
    Ok((calm, quiet::busiest(&end.moments), resident))
}

/// What a restart takes until no second is busier than it `usual`ly is.
fn begin_anew(
    stage: &Stage,
    meter: &mut Meter<'_>,
    (usual, number): (usize, usize),
    say: &mut dyn FnMut(&str),
) -> Result<(Cost, Burst)> {
    say("  a restart");
    let (start, from) = (meter.mark(stage)?, wall());
    stage.renew_operator()?;
    let burst = quiet::await_quiet(stage, meter, (from, usual, number))?;
    let restart = meter.mark(stage)?.since(&start, 1.0);
    let (reads, writes) = (restart.reads, restart.writes + restart.events);
    say(&format!("  {reads} reads, {writes} writes, {burst:?}"));
    Ok((restart, burst))
}

/// Places all at once, and waits until they are ready.
fn place(stage: &Stage, watch: &ReadyWatch, all: &Fleet, say: &mut dyn FnMut(&str)) -> Result<()> {
    apply_all(stage, &all.placements())?;
    let names = all.names();
    let mut told = monotonic()?;
    watch.settle(&names, limit(names.len()), &mut |waiting| {
        let now = monotonic()?;
        if now - told >= TOLD {
            told = now;
            say(&format!("  {waiting} of {} are left", names.len()));
        }
        all.heed(stage)
    })
}

/// Places one after another, and answers how long each took.
fn one_by_one(stage: &Stage, watch: &ReadyWatch, few: &Fleet) -> Result<Times> {
    for (placement, (namespace, name)) in few.placements().into_iter().zip(few.places()) {
        stage.apply(&[placement])?;
        let place = (kinds::PLACEMENT, Some(namespace), name);
        stage.objects.wait(place, "ready", ONE_LIMIT, ready)?;
    }
    Ok(watch.times(&few.names())?.0)
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}
