//! What the last runs of the tests said: logs that `.ci/record` keeps below `target/results`.

use std::collections::BTreeMap;

/// By program and test: whether all runs of it in one log went well.
pub(crate) type Outcomes = BTreeMap<(String, String), bool>;

/// A log: a first line `run of COMMIT at TIME`, then what the run said.
pub(crate) struct Run {
    commit: String,
    time: String,
    outcomes: Outcomes,
}

impl Run {
    /// Reads a log; none if its first line is of another form.
    pub(crate) fn read(log: &str) -> Option<Self> {
        let head = log.lines().next()?.strip_prefix("run of ")?;
        let (commit, time) = head.split_once(" at ")?;
        Some(Self {
            commit: commit.to_owned(),
            time: time.to_owned(),
            outcomes: outcomes(log),
        })
    }

    /// `passed 2026-11-24T20:00:00Z 0123abc`, when the test was part of the run.
    pub(crate) fn cell(&self, program: &str, test: &str) -> Option<String> {
        let key = (program.to_owned(), test.to_owned());
        let word = match self.outcomes.get(&key)? {
            true => "passed",
            false => "**failed**",
        };
        Some(format!("{word} {} {}", self.time, self.commit))
    }
}

/// The later one of two cells; one without a time is older than any.
pub(crate) fn later(one: String, other: String) -> String {
    let time = |cell: &str| cell.split(' ').nth(1).map(str::to_owned);
    let timed = |cell: &str| time(cell).filter(|time| time.ends_with('Z'));
    if timed(&other) > timed(&one) {
        other
    } else {
        one
    }
}

fn outcomes(log: &str) -> Outcomes {
    let mut found = Outcomes::new();
    let mut program = String::new();
    for line in log.lines().map(str::trim) {
        if let Some(started) = started(line) {
            started.clone_into(&mut program);
        } else if let Some((name, well)) = tested(line) {
            *found
                .entry((program.clone(), name.to_owned()))
                .or_insert(true) &= well;
        } else if let Some((kind, well)) = cycled(line) {
            *found
                .entry(("soak".to_owned(), kind.to_owned()))
                .or_insert(true) &= well;
        }
    }
    found
}

/// `Running tests/e2e.rs (target/debug/deps/e2e-0123abc)`, which cargo says.
fn started(line: &str) -> Option<&str> {
    let file = line.strip_prefix("Running ")?.strip_suffix(')')?;
    let (name, _hash) = file.rsplit_once('/')?.1.rsplit_once('-')?;
    Some(name)
}

/// `test on_18::a_fact ... ok`, as libtest says, and `test a_fact@18 ... ok (1.2 s)`, as ours do.
fn tested(line: &str) -> Option<(&str, bool)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.split([' ', '@']).next()?;
    let name = name.rsplit("::").next()?;
    match outcome.split(' ').next()? {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ignored => None,
    }
}

/// `[  12.3 s] cycle 4 kill at eu-west: ok (…`, as the soak says.
fn cycled(line: &str) -> Option<(&str, bool)> {
    let (_, cycle) = line.strip_prefix('[')?.split_once("] cycle ")?;
    let (_, told) = cycle.split_once(' ')?;
    let (kind, told) = told.split_once(' ')?;
    if told.contains("FAILED") {
        return Some((kind, false));
    }
    told.contains(": ok (").then_some((kind, true))
}
