//! One run, its shrinking, and its file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::coverage::Coverage;
use crate::draw::schedule;
use crate::fault::Fault;
use crate::mutants::Machine;
use crate::setup::Setup;
use crate::world::World;

/// A run that can be done again: the file holds all that it depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// Why it is kept.
    pub why: String,
    pub seed: u64,
    /// What was drawn for the setting: later draws must not change a replay.
    pub setup: Vec<u64>,
    pub faults: Vec<Fault>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub broken: Option<String>,
    pub coverage: Coverage,
    /// Equal for equal runs.
    pub trace: u64,
}

pub(crate) fn run(seed: u64, faults: &[Fault], machine: Machine, aloud: bool) -> Outcome {
    of(Setup::of(seed), faults, machine, aloud)
}

impl Replay {
    /// Does it again.
    pub(crate) fn run(&self, aloud: bool) -> Outcome {
        let setup = Setup::with(self.seed, &self.setup);
        of(setup, &self.faults, Machine::built(), aloud)
    }
}

fn of(setup: Setup, faults: &[Fault], machine: Machine, aloud: bool) -> Outcome {
    let mut world = World::new(setup, faults.to_vec(), machine.decide, machine.process);
    world.aloud = aloud;
    let broken = world.run().err();
    let mut coverage = std::mem::take(&mut world.coverage);
    world.checks.count(&mut coverage);
    coverage.events = world.events;
    coverage.runs = 1;
    coverage.milliseconds = world.now;
    Outcome {
        broken,
        coverage,
        trace: world.trace,
    }
}

/// The run of a seed with the schedule that is drawn from it.
pub(crate) fn seeded(seed: u64, machine: Machine) -> (Vec<Fault>, Outcome) {
    let faults = schedule(&Setup::of(seed));
    let outcome = run(seed, &faults, machine, false);
    (faults, outcome)
}

/// The words before the colon name the invariant.
pub(crate) fn invariant(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

/// Fewer and shorter faults that break the same invariant.
pub(crate) fn shrink(seed: u64, faults: &[Fault], machine: Machine, broken: &str) -> Vec<Fault> {
    let wanted = invariant(broken);
    let still = |faults: &[Fault]| {
        let outcome = run(seed, faults, machine, false);
        outcome
            .broken
            .is_some_and(|text| invariant(&text) == wanted)
    };
    let mut least = faults.to_vec();
    let mut size = least.len().div_ceil(2).max(1);
    loop {
        let before = least.len();
        let mut start = 0;
        while start < least.len() {
            let mut fewer = least.clone();
            fewer.drain(start..(start + size).min(fewer.len()));
            if still(&fewer) {
                least = fewer;
            } else {
                start += size;
            }
        }
        if size == 1 && least.len() == before {
            break;
        }
        size = size.div_ceil(2).max(1);
    }
    for at in 0..least.len() {
        for _ in 0..8 {
            let mut shorter = least.clone();
            shorter[at].duration /= 2;
            if shorter[at].duration == 0 || !still(&shorter) {
                break;
            }
            least = shorter;
        }
    }
    least
}

/// The replays in a folder beside this file.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Writes a replay below the build folder, and answers where.
pub(crate) fn save(replay: &Replay, name: &str) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sim");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(replay)?;
    std::fs::write(&path, text + "\n")?;
    Ok(path)
}

pub(crate) fn load(path: &Path) -> Result<Replay, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}
