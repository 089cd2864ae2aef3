//! The soak: cycle after cycle breaks something for real while tenants write, and a checker judges
//! what they were told. Its end is a report.

mod controls;
mod cycle;
mod fault;
mod inject;
mod judge;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use fault::{Kind, Means};
pub use tally::{CycleReport, Failure, Tally};

use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::lab::{Lab, Options};
use crate::process::run_ok;
use crate::regions::REGIONS;
use crate::setup::Postgres;
use crate::state::write_atomically;
use crate::story::stage::{Parts, Stage};
use crate::story::watch::PolicyWatch;
use cycle::{MIN_WRITES, World, diagnosis};
use fault::Dice;
use inject::Posts;

/// Cycles after which a new lab begins: the logs of one lab are all read again in each cycle.
const CYCLES_OF_A_LAB: u64 = 25;
/// Failures after which the rest is not run.
const MAX_FAILURES: usize = 3;
const GIT_LIMIT: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of the first cycle, from 1: above 1 to see one again.
    pub first: u64,
    /// Number of the last cycle.
    pub last: u64,
    /// What decides about kinds and moments.
    pub seed: u64,
    /// What is relied on against a second writer.
    pub means: Means,
    /// The file of the report (JSON). The transcript lies beside it, with the ending `log`.
    pub report: PathBuf,
}

/// Runs the soak in a lab of its own. Returns whether all was well. Errors: the lab cannot be had,
/// the report cannot be written, or the user interrupted.
pub fn run(
    options: &Options,
    parts: &Parts,
    plan: &Plan,
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    let begun = monotonic()?;
    let mut transcript = String::new();
    let mut soak = Soak {
        tally: tally(options, parts, plan),
        options,
        parts,
        plan,
    };
    let mut step = |text: &str| {
        let now = monotonic().unwrap_or(begun);
        let line = format!("[{:>7.1} s] {text}", (now - begun) as f64 / 1e9);
        say(&line);
        transcript.push_str(&line);
        transcript.push('\n');
    };
    let ended = soak.cycles(&mut step);
    let down = Lab::down(&options.places.dir);
    for line in soak.tally.lines() {
        step(&line);
    }
    let well = soak.tally.well() && ended.is_ok();
    step(if well {
        "All is well."
    } else {
        "The soak failed."
    });
    // Also of a soak that was ended, what was seen is kept.
    soak.write()?;
    let log = plan.report.with_extension("log");
    write_atomically(&log, transcript.as_bytes())?;
    ended.and(down).map(|()| well)
}

fn tally(options: &Options, parts: &Parts, plan: &Plan) -> Tally {
    let mut git = Command::new("git");
    let git = git.arg("-C").arg(&parts.repository);
    let commit = run_ok(git.args(["describe", "--always", "--dirty"]), GIT_LIMIT);
    Tally {
        seed: plan.seed,
        // The repository may be a copy without its history.
        commit: commit.map_or_else(
            |_| "unknown".to_owned(),
            |said| said.stdout.trim().to_owned(),
        ),
        lab: format!(
            "{}, against a second writer: {:?}",
            options.setup, plan.means
        ),
        asked: (plan.last + 1).saturating_sub(plan.first),
        min_writes: MIN_WRITES,
        controls: Vec::new(),
        residency: Vec::new(),
        cycles: Vec::new(),
        failures: Vec::new(),
    }
}

struct Soak<'a> {
    tally: Tally,
    options: &'a Options,
    parts: &'a Parts,
    plan: &'a Plan,
}

impl Soak<'_> {
    fn cycles(&mut self, step: &mut dyn FnMut(&str)) -> Result<()> {
        let mut kinds = Kind::ALL.to_vec();
        kinds.retain(|kind| kind.fits(self.plan.means));
        let mut world: Option<World> = None;
        let mut of_lab = 0;
        let mut voids = self.tally.asked / 4 + 2;
        let mut cycle = self.plan.first;
        while cycle <= self.plan.last && self.tally.failures.len() < MAX_FAILURES {
            let mut current = match world.take() {
                Some(current) => current,
                None => match self.begin(step)? {
                    Some(begun) => begun,
                    None => return Ok(()),
                },
            };
            let seed = self.plan.seed;
            let dice = Dice { seed, cycle };
            let Some(kind) = dice.kind(&kinds) else {
                return Ok(());
            };
            of_lab += 1;
            let Some(void) = self.one(&mut current, dice, kind, step)? else {
                // It may have left anything behind: the next one gets a new lab.
                cycle += 1;
                continue;
            };
            if void && voids == 0 {
                self.fail(
                    cycle,
                    kind.to_string(),
                    vec!["too many void cycles".to_owned()],
                );
                return Ok(());
            }
            voids -= u64::from(void);
            cycle += u64::from(!void);
            if of_lab % CYCLES_OF_A_LAB == 0 || cycle > self.plan.last {
                self.reside(&current, step)?;
            } else {
                world = Some(current);
            }
        }
        Ok(())
    }

    /// A new lab, in which the controls have fired if it is the first; none when they did not.
    fn begin(&mut self, step: &mut dyn FnMut(&str)) -> Result<Option<World>> {
        Lab::down(&self.options.places.dir)?;
        let stage = Stage::begin(self.options, self.parts.clone(), step)?;
        let watch = PolicyWatch::begin(&stage.objects, &stage.policy)?;
        let mut world = World {
            stage,
            watch,
            since: monotonic()?,
            means: self.plan.means,
            posts: Posts::new(),
        };
        if self.tally.controls.is_empty() {
            match world.controls() {
                Ok(told) => {
                    for line in &told {
                        step(&format!("control: {line}"));
                    }
                    self.tally.controls = told;
                }
                Err(LabError::Interrupted) => return Err(LabError::Interrupted),
                Err(error) => {
                    for line in diagnosis(&world) {
                        step(&line);
                    }
                    let what = "the positive controls".to_owned();
                    self.fail(0, what, vec![error.report()]);
                    return Ok(None);
                }
            }
        }
        world.arm()?;
        Ok(Some(world))
    }

    /// Plays one cycle; returns whether it was void, or none when it went wrong.
    fn one(
        &mut self,
        world: &mut World,
        dice: Dice,
        kind: Kind,
        step: &mut dyn FnMut(&str),
    ) -> Result<Option<bool>> {
        let problems = match world.cycle(dice, kind) {
            Ok(report) => {
                step(&report.line());
                let (problems, void) = (report.problems.clone(), report.void.is_some());
                self.tally.cycles.push(report);
                if problems.is_empty() {
                    self.write()?;
                    return Ok(Some(void));
                }
                problems
            }
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(error) => vec![error.report()],
        };
        for problem in &problems {
            step(&format!("cycle {} {kind} FAILED: {problem}", dice.cycle));
        }
        for line in diagnosis(world) {
            step(&line);
        }
        let kept = self.keep(world, dice.cycle)?;
        step(&format!("the logs are in {}", kept.display()));
        self.fail(dice.cycle, kind.to_string(), problems);
        self.write()?;
        Ok(None)
    }

    fn reside(&mut self, world: &World, step: &mut dyn FnMut(&str)) -> Result<()> {
        let found = world.stage.residency()?;
        let told = format!(
            "{} files in us-east hold rows of EU tenants, {} packets went between it and the EU \
             (the search finds such rows in {} files of the EU)",
            found.strays, found.packets, found.at_home
        );
        step(&format!("residency: {told}"));
        self.tally.residency.push(told);
        let wrong = found.violations();
        if !wrong.is_empty() {
            self.fail(0, "residency".to_owned(), wrong);
        }
        Ok(())
    }

    fn fail(&mut self, cycle: u64, what: String, why: Vec<String>) {
        let seed = self.plan.seed;
        let version = match self.options.setup.postgres {
            Postgres::System => "",
            Postgres::V18 => " --postgres 18",
        };
        let means = match self.plan.means {
            Means::Synchronous => "",
            Means::Agents => " --agents",
            Means::Nothing => " --async",
        };
        let range = match cycle {
            0 => format!("--first {} --cycles {}", self.plan.first, self.tally.asked),
            _ => format!("--first {cycle} --cycles 1"),
        };
        self.tally.failures.push(Failure {
            cycle,
            what,
            why,
            replay: format!("domicile-lab soak --seed {seed} {range}{version}{means}"),
        });
    }

    /// Keeps the logs of operators, tenants and servers of a cycle that went wrong beside the
    /// report; returns the folder.
    fn keep(&self, world: &World, cycle: u64) -> Result<PathBuf> {
        let folder = self.plan.report.with_extension(format!("cycle-{cycle}"));
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let mut logs: Vec<_> = world.stage.logs.logs()?;
        logs.retain(|log| log.file.exists());
        for log in logs {
            let name = log.file.file_name().unwrap_or_default();
            fs::copy(&log.file, folder.join(name)).map_err(LabError::file("copy", &log.file))?;
        }
        for region in &REGIONS {
            let log = world.stage.lab.regions().server(region.name)?.log();
            let name = format!("postgres-{}.log", region.name);
            fs::copy(&log, folder.join(name)).map_err(LabError::file("copy", &log))?;
        }
        Ok(folder)
    }

    fn write(&self) -> Result<()> {
        let folder = self.plan.report.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
        let text = format!("{:#}\n", self.tally.json());
        write_atomically(&self.plan.report, text.as_bytes())
    }
}
