//! The verbs that need a lab of their own: the demo, the soak and the benches.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use domicile_lab::lab::find_program;
use domicile_lab::regions::How;
use domicile_lab::story::bench::{failover, tenants};
use domicile_lab::story::soak::{Means, Plan};
use domicile_lab::story::{self, Parts};
use domicile_lab::{LabError, Options, Places, Result, Setup};

use super::{heed_signals, this_program};

/// What `soak` is asked for.
#[derive(clap::Args)]
pub(super) struct SoakArguments {
    /// How many cycles, each with one fault; the first 20 have each kind of fault once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    cycles: u64,
    /// Begin with this cycle of the seed: to see one again, or to go on where a soak ended.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    first: u64,
    /// Decides about the order of faults and their moments (default: the time).
    #[arg(long)]
    seed: Option<u64>,
    /// Asynchronous replication without a fence: only faults that leave no primary alive unseen.
    #[arg(long = "async")]
    asynchronous: bool,
    /// Asynchronous replication and agents on both sides, which are broken too.
    #[arg(long, conflicts_with = "asynchronous")]
    agents: bool,
    /// Where the report goes, as JSON; the transcript goes beside it.
    #[arg(long, default_value = "target/soak/report.json")]
    report: PathBuf,
}

impl SoakArguments {
    fn means(&self) -> Means {
        match (self.asynchronous, self.agents) {
            (_, true) => Means::Agents,
            (true, false) => Means::Nothing,
            (false, false) => Means::Synchronous,
        }
    }
}

pub(super) fn demo(
    places: Places,
    setup: Setup,
    (how, keep): (How, bool),
    repository: &Path,
) -> Result<ExitCode> {
    heed_signals()?;
    let (options, parts) = begin(places, setup, repository, false)?;
    let well = story::demo::run(&options, parts, (how, keep), &mut |line| println!("{line}"))?;
    Ok(code(well))
}

pub(super) fn soak(
    places: Places,
    setup: Setup,
    arguments: SoakArguments,
    repository: &Path,
) -> Result<ExitCode> {
    heed_signals()?;
    let means = arguments.means();
    let setup = Setup {
        synchronous: means == Means::Synchronous,
        ..setup
    };
    let (options, parts) = begin(places, setup, repository, true)?;
    let SoakArguments {
        cycles,
        first,
        seed,
        asynchronous: _,
        agents: _,
        report,
    } = arguments;
    let plan = Plan {
        first,
        last: first.saturating_add(cycles - 1),
        seed: seed.unwrap_or_else(time_seed),
        means,
        report: std::path::absolute(&report).map_err(LabError::file("resolve", &report))?,
    };
    let well = story::soak::run(&options, &parts, &plan, &mut |line| println!("{line}"))?;
    Ok(code(well))
}

/// What `bench` is asked for.
#[derive(clap::Args)]
pub(super) struct BenchArguments {
    /// How many tenants are placed at once, one lab for each number.
    #[arg(long, value_delimiter = ',', default_value = "100,1000",
        value_parser = clap::value_parser!(u32).range(1..=99_999))]
    tenants: Vec<u32>,
    /// Give each of them a Deployment with one pod, which kwok fakes (built once), ten in a
    /// namespace; without it they are placed without workloads, all in one namespace.
    #[arg(long)]
    workloads: bool,
    /// Spread them over so many regions, each with a server of its own; but the first, these have
    /// no standby.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=99))]
    regions: u32,
    /// The operator's `driftIntervalSeconds`; 600 is the chart's.
    #[arg(long, default_value = "600", value_parser = clap::value_parser!(u32).range(60..=86_400))]
    drift_interval_seconds: u32,
}

pub(super) fn bench(
    places: Places,
    setup: Setup,
    arguments: &BenchArguments,
    repository: &Path,
) -> Result<ExitCode> {
    let numbers: Vec<usize> = arguments.tenants.iter().map(|one| *one as usize).collect();
    measure(places, setup, repository, |options, parts, say| {
        let drift_seconds = arguments.drift_interval_seconds;
        let parts = Parts {
            drift_seconds,
            ..parts.clone()
        };
        let regions = arguments.regions as usize;
        tenants::run(
            options,
            &parts,
            (&numbers, arguments.workloads, regions),
            say,
        )
    })
}

pub(super) fn bench_failover(
    places: Places,
    setup: Setup,
    numbers: &[usize],
    repository: &Path,
) -> Result<ExitCode> {
    measure(places, setup, repository, |options, parts, say| {
        failover::run(options, parts, numbers, say)
    })
}

/// Measures some numbers, each in a lab of its own, and prints what is answered.
fn measure(
    places: Places,
    setup: Setup,
    repository: &Path,
    run: impl FnOnce(&Options, &Parts, &mut dyn FnMut(&str)) -> Result<Vec<String>>,
) -> Result<ExitCode> {
    heed_signals()?;
    let (options, parts) = begin(places, setup, repository, true)?;
    for line in run(&options, &parts, &mut |line| println!("{line}"))? {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(places: Places, setup: Setup, repository: &Path, owned: bool) -> Result<(Options, Parts)> {
    let program = find_program(&this_program()?)?;
    let parts = Parts {
        programs: program.parent().unwrap_or(&program).to_owned(),
        repository: std::path::absolute(repository)
            .map_err(LabError::file("resolve", repository))?,
        regions: "00-regions.yaml",
        policy: "20-policy-demo.yaml",
        log_statements: false,
        owned,
        drift_seconds: 600,
    };
    let options = Options {
        places,
        program,
        setup,
    };
    Ok((options, parts))
}

#[expect(
    clippy::disallowed_methods,
    reason = "only a number that differs from run to run"
)]
fn time_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn code(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
