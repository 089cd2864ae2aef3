//! The simulator: the real decision in a simulated world, with every fault that fits in one.
//!
//! Without arguments it does what CI does: kept replays, seeded faults, then a number of seeds that
//! must reach each place often enough. All of it is counted in seeds, so that a slow machine finds
//! the same. `SEED=n` runs from one seed on, alone or for `SECONDS=n`; `REPLAY=file` tells the
//! story of a file; `MUTANTS=n` hunts the seeded faults with at most so many seeds each.
#![expect(
    clippy::print_stdout,
    reason = "a test program of its own, without libtest"
)]

mod agent;
mod campaign;
mod chance;
mod checks;
mod clock;
mod coverage;
mod draw;
mod fault;
mod hands;
mod hunt;
mod mutants;
mod operator;
mod report;
mod run;
mod scripts;
mod setup;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use campaign::{Failure, Plan};
use clock::Clock;
use mutants::Machine;

/// The seeds of CI.
const SEEDS: u64 = 13_000;
/// Most seeds for one mutant.
const MUTANT_SEEDS: u64 = 4_000;

fn main() -> ExitCode {
    let clock = Clock::start();
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip(1);
        arguments.find_map(|text| text.strip_prefix(name).map(str::to_owned))
    };
    let number = |name| argument(name).and_then(|text| text.parse::<u64>().ok());
    let (seed, seconds) = (number("SEED="), number("SECONDS="));
    let good = if let Some(path) = argument("REPLAY=") {
        replay(Path::new(&path))
    } else if let Some(most) = number("MUTANTS=") {
        mutants(most)
    } else if let (Some(seed), None) = (seed, seconds) {
        one(seed)
    } else if let Some(seconds) = seconds {
        let time = Duration::from_secs(seconds);
        many(clock, Plan::For(seed.unwrap_or(0), time))
    } else {
        told("kept_replays", kept())
            && told("known_bugs", known())
            && told("seeded_faults", mutants(MUTANT_SEEDS))
            && told("seeds", many(clock, Plan::Seeds(SEEDS)))
    };
    println!("simulator: {} s", clock.passed().as_secs());
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says how a part of CI's run went, in libtest's words.
fn told(name: &str, good: bool) -> bool {
    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
    good
}

/// One seed, told aloud.
fn one(seed: u64) -> bool {
    let (faults, outcome) = run::seeded(seed, Machine::built());
    let Some(broken) = outcome.broken else {
        run::run(seed, &faults, Machine::built(), true);
        println!("seed {seed} breaks nothing; {} faults", faults.len());
        return true;
    };
    explain(&Failure {
        seed,
        faults,
        broken,
    });
    false
}

fn replay(path: &Path) -> bool {
    let file = match run::load(path) {
        Ok(file) => file,
        Err(problem) => {
            println!("{problem}");
            return false;
        }
    };
    println!("{}", file.why);
    let outcome = file.run(true);
    println!("{}", outcome.broken.as_deref().unwrap_or("nothing breaks"));
    outcome.broken.is_none()
}

/// The replays that are kept: each was once a bug.
fn kept() -> bool {
    let mut good = true;
    let paths = run::files("replays");
    for path in &paths {
        let outcome = run::load(path).map(|file| file.run(false).broken);
        if let Ok(None) = outcome {
            continue;
        }
        println!("replay {}: {outcome:?}", path.display());
        good = false;
    }
    println!("{} kept replays", paths.len());
    good
}

/// The replays of bugs that are known and not mended: each must still break what it says, so that
/// the one that mends it moves the file to the kept ones.
fn known() -> bool {
    let files = run::files("known");
    let mended = files.iter().filter(|path| {
        let still = run::load(path).map(|file| {
            let outcome = file.run(false);
            let broken = outcome.broken.unwrap_or_default();
            run::invariant(&broken) == run::invariant(&file.why)
        });
        still != Ok(true)
    });
    let mended: Vec<_> = mended.collect();
    println!(
        "{} known bugs, of which no longer seen: {mended:?}",
        files.len()
    );
    mended.is_empty()
}

fn mutants(most: u64) -> bool {
    let found = hunt::hunt(most);
    report::mutants(&found);
    found.iter().all(|one| one.by.is_some())
}

/// Random seeds; those of CI must have reached every place.
fn many(clock: Clock, plan: Plan) -> bool {
    let all = matches!(plan, Plan::Seeds(_));
    let began = clock.passed();
    let (coverage, failures) = campaign::seeds(clock, Machine::built(), plan);
    report::reached(&coverage, clock.passed().saturating_sub(began));
    for failure in &failures {
        explain(failure);
    }
    let missing = coverage.missing();
    if all && !missing.is_empty() {
        println!(
            "reached less than {} times: {}",
            coverage::OFTEN,
            missing.join(", ")
        );
    }
    let unlisted = coverage.unlisted();
    if !unlisted.is_empty() {
        println!("reached, and in no list: {}", unlisted.join(", "));
    }
    failures.is_empty() && unlisted.is_empty() && (!all || missing.is_empty())
}

/// Shrinks a failure, writes its file, and says how to see it again.
fn explain(failure: &Failure) {
    let Failure {
        seed,
        faults,
        broken,
    } = failure;
    println!("seed {seed}: {broken}");
    let least = run::shrink(*seed, faults, Machine::built(), broken);
    let file = run::Replay {
        why: broken.clone(),
        seed: *seed,
        setup: setup::Setup::of(*seed).draws,
        faults: least,
    };
    file.run(true);
    match run::save(&file, &format!("seed-{seed}")) {
        Ok(path) => println!("make sim REPLAY={}", path.display()),
        Err(error) => println!("the replay was not written: {error}"),
    }
}
