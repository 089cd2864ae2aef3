//! `domicile-lab`: brings the lab up, breaks it on request, takes it down.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod clusters;
mod stories;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use domicile_lab::lab::find_program;
use domicile_lab::postgres::Rejoined;
use domicile_lab::process::interrupt;
use domicile_lab::regions::{How, RegionStatus};
use domicile_lab::{Engine, Lab, LabError, Options, Places, Postgres, Result, Setup, init};
use serde_json::json;

use clusters::{ClusterArguments, ToolArguments};
use stories::{BenchArguments, SoakArguments};

/// Real servers for demo and tests, on one Linux machine as root: Kubernetes with a node that
/// runs pods, and PostgreSQL in three regions.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the running lab (default: `$DOMICILE_LAB_DIR`, else `/var/lib/domicile-lab`).
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the lab; fine if it runs with the same options.
    Up {
        /// 15 is the system's own (15 or newer), 18 is 18.4.
        #[arg(long, default_value = "15")]
        postgres: Version,
        /// The primary of the EU does not wait for its standby.
        #[arg(long = "async")]
        asynchronous: bool,
        /// What runs the databases; with patroni replication is asynchronous.
        #[arg(long, default_value = "plain")]
        engine: Engine,
    },
    /// Tell the whole story in a lab of its own: a region is lost, its tenants move and come home.
    Demo {
        /// How the region is lost.
        #[arg(long, default_value = "kill")]
        how: How,
        /// Leave the lab up at the end.
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        made: StoryArguments,
    },
    /// Break one thing after another in a lab of its own (the lab's folder with the ending `soak`,
    /// unless `--dir` says another) while tenants write, and judge what they were told.
    Soak {
        #[command(flatten)]
        soak: SoakArguments,
        #[command(flatten)]
        made: StoryArguments,
    },
    /// Measure failovers with many databases, each number in a lab of its own (the lab's folder
    /// with the ending `bench`, unless `--dir` says another), and print the table.
    BenchFailover {
        /// How many databases the server has, one lab for each number.
        #[arg(long, value_delimiter = ',', default_value = "2,100,1000")]
        databases: Vec<usize>,
        #[command(flatten)]
        made: StoryArguments,
    },
    /// Measure what tenants cost, each number in a lab of its own (the lab's folder with the ending
    /// `bench`, unless `--dir` says another), and print the tables.
    Bench {
        #[command(flatten)]
        bench: BenchArguments,
        #[command(flatten)]
        made: StoryArguments,
    },
    /// Take the lab down, with all it left; fine if there is none.
    Down,
    /// Say what runs.
    Status {
        /// Form of the output.
        #[arg(short, long, default_value = "text")]
        output: Form,
    },
    /// Lose a region until it is restored or rejoins.
    Lose {
        /// The region.
        region: String,
        /// How it is lost.
        #[arg(long, default_value = "kill")]
        how: How,
    },
    /// Undo the loss of a region: its server comes back as what it was.
    Restore {
        /// The region.
        region: String,
    },
    /// Make a region's server a streaming standby of its peer, as a DBA does.
    Rejoin {
        /// The region.
        region: String,
    },
    /// Give a region a Kubernetes cluster of its own, whose pods kwok fakes, and the hub its
    /// kubeconfig. It ends with the lab.
    Cluster(ClusterArguments),
    /// Run kubectl as administrator of the lab's cluster.
    Kubectl(ToolArguments),
    /// Run helm as administrator of the lab's cluster.
    Helm(ToolArguments),
    /// Print how to reach the lab's cluster from a shell.
    Env,
    /// Begins the private space; for the lab itself.
    #[command(hide = true)]
    Begin {
        #[arg(long)]
        owner: Option<u32>,
    },
    /// First process of the private space; for the lab itself.
    #[command(hide = true)]
    Init {
        #[arg(long)]
        owner: Option<u32>,
    },
}

/// What a lab of a story's own is made of.
#[derive(clap::Args)]
struct StoryArguments {
    /// 15 is the system's own (15 or newer), 18 is 18.4.
    #[arg(long, default_value = "15")]
    postgres: Version,
    /// The folder with `charts` and `examples`.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

impl StoryArguments {
    fn setup(&self) -> Setup {
        self.postgres.setup(true, Engine::Plain)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "15")]
    System,
    #[value(name = "18")]
    V18,
}

impl Version {
    fn setup(self, synchronous: bool, engine: Engine) -> Setup {
        let postgres = match self {
            Self::System => Postgres::System,
            Self::V18 => Postgres::V18,
        };
        Setup {
            postgres,
            synchronous,
            engine,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Does what the command line asks; the environment is read here only.
pub(crate) fn main() -> ExitCode {
    let Arguments { dir, verb } = Arguments::parse();
    let mut places = Places::from_env(|name| std::env::var_os(name));
    match (dir, &verb) {
        (Some(dir), _) => places.dir = dir,
        // Not the folder of a lab that a person has up.
        (None, Verb::Soak { .. }) => drop(places.dir.set_extension("soak")),
        (None, Verb::Bench { .. } | Verb::BenchFailover { .. }) => {
            places.dir.set_extension("bench");
        }
        (None, _) => {}
    }
    let ended = std::path::absolute(&places.dir)
        .map_err(LabError::file("resolve", &places.dir))
        .and_then(|dir| run(verb, Places { dir, ..places }));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb, places: Places) -> Result<ExitCode> {
    match verb {
        Verb::Up {
            postgres,
            asynchronous,
            engine,
        } => {
            let synchronous = !asynchronous && engine == Engine::Plain;
            up(places, postgres.setup(synchronous, engine))
        }
        Verb::Demo { how, keep, made } => {
            stories::demo(places, made.setup(), (how, keep), &made.repository)
        }
        Verb::Soak { soak, made } => stories::soak(places, made.setup(), soak, &made.repository),
        Verb::BenchFailover { databases, made } => {
            stories::bench_failover(places, made.setup(), &databases, &made.repository)
        }
        Verb::Bench { bench, made } => {
            stories::bench(places, made.setup(), &bench, &made.repository)
        }
        Verb::Down => {
            heed_signals()?;
            Lab::down(&places.dir)?;
            println!("the lab is down");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Status { output } => status(&places, output),
        Verb::Lose { region, how } => {
            Lab::open(&places.dir)?.regions().lose(&region, how)?;
            println!("{region} is lost ({how})");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Restore { region } => restore(&places, &region),
        Verb::Rejoin { region } => rejoin(&places, &region),
        Verb::Cluster(arguments) => {
            heed_signals()?;
            clusters::give(&places, &arguments)
        }
        Verb::Kubectl(arguments) => clusters::kubectl(&places, &arguments),
        Verb::Helm(arguments) => clusters::helm(&places, &arguments),
        Verb::Env => env(&places),
        Verb::Begin { owner } => {
            println!("{}", init::begin(&this_program()?, &places.dir, owner)?);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Init { owner } => init::init(&places.dir, owner).map(|()| ExitCode::SUCCESS),
    }
}

fn restore(places: &Places, region: &str) -> Result<ExitCode> {
    match Lab::open(&places.dir)?.regions().restore(region)? {
        Some(how) => println!("{region} is restored; it was lost ({how})"),
        None => println!("{region} was not lost"),
    }
    Ok(ExitCode::SUCCESS)
}

fn rejoin(places: &Places, region: &str) -> Result<ExitCode> {
    match Lab::open(&places.dir)?.regions().rejoin(region)? {
        Rejoined::Followed => println!("{region} streams; its data needed no repair"),
        Rejoined::Rewound => println!("{region} streams after pg_rewind"),
        Rejoined::Cloned { why } => {
            println!("{region} streams after a new base backup: {why}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(places: Places, setup: Setup) -> Result<ExitCode> {
    heed_signals()?;
    let program = find_program(&this_program()?)?;
    let options = Options {
        places,
        program,
        setup,
    };
    let lab = Lab::up(&options, &mut |step| println!("{step}"))?;
    let said = if lab.was_running() {
        "the lab was up already"
    } else {
        "the lab is up"
    };
    println!("{said}, with {setup}");
    Ok(ExitCode::SUCCESS)
}

fn status(places: &Places, output: Form) -> Result<ExitCode> {
    let lab = Lab::open(&places.dir)?;
    let servers = clusters::servers(&lab)?;
    let regions = lab.regions().status()?;
    let (setup, healthy) = (lab.setup(), lab.healthy()?);
    match output {
        Form::Json => println!(
            "{}",
            json!({"healthy": healthy, "setup": setup, "regions": regions, "cluster": servers})
        ),
        Form::Text => {
            println!(
                "{setup}: {}",
                if healthy { "healthy" } else { "NOT healthy" }
            );
            regions.iter().for_each(print_region);
            for (name, runs) in servers {
                println!("{name:<34} {}", if runs { "runs" } else { "has ended" });
            }
        }
    }
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_region(status: &RegionStatus) {
    let RegionStatus {
        region,
        jurisdiction,
        endpoint,
        lost,
        role,
        timeline,
        ..
    } = status;
    let role = role.as_deref().unwrap_or("does not answer");
    let timeline = timeline
        .map(|number| format!(", timeline {number}"))
        .unwrap_or_default();
    let lost = lost
        .map(|how| format!(", lost ({how})"))
        .unwrap_or_default();
    let replication = status.replication.as_deref().unwrap_or_default();
    println!("{region:<24} {jurisdiction} {endpoint} {role}{timeline}{lost} {replication}");
}

fn env(places: &Places) -> Result<ExitCode> {
    let lab = Lab::open(&places.dir)?;
    let pid = lab.space().init().pid;
    println!("# The cluster is in a network of its own; programs reach it from inside:");
    println!("alias lab='nsenter --target={pid} --mount --net --pid --uts --ipc --'");
    println!("export KUBECONFIG={}", lab.kubeconfig().display());
    println!(
        "export PATH={}:$PATH",
        lab.space().dir().join("bin").display()
    );
    Ok(ExitCode::SUCCESS)
}

fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(LabError::system("find this program"))
}

/// Ctrl-C and SIGTERM end the waits of a start, which then takes down what it began.
fn heed_signals() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(LabError::system("start the signal thread"))?;
    let guard = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    drop(guard);
    let [first, second] = kinds;
    let mut first = first.map_err(LabError::system("heed SIGINT"))?;
    let mut second = second.map_err(LabError::system("heed SIGTERM"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! { _ = first.recv() => {}, _ = second.recv() => {} }
                interrupt();
            }
        });
    });
    Ok(())
}
