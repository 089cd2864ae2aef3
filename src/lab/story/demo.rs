//! The demo: one region is lost, its tenants move, and come home.

use std::time::Duration;

use serde_json::Value;

use super::moves::Moved;
use super::operator::{processes, resident_kib};
use super::report::{TenantReport, Untouched};
use super::screen::{findings, lines, recovery, table};
use super::stage::{Parts, Stage, Tenant};
use super::watch::PolicyWatch;
use crate::checker::{MIN_RATE, Phase};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::lab::{Lab, Options};
use crate::process::interrupted;
use crate::regions::{How, Region};

const HOME: &str = "eu-west";
const ELSEWHERE: &str = "us-east";
const STEADY: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(5);
/// Longest pause between two rows of the US tenant that counts as nothing, in seconds: a machine
/// that many share holds everything up now and then. A tenant that is moved or fenced shows it by a
/// new pod or by refused rows.
const NOTHING: f64 = 10.0;

/// Tells the story and takes down the lab that it brought up, unless `keep`. Returns whether all
/// is well. Errors: a step did not happen.
pub fn run(
    options: &Options,
    parts: Parts,
    (how, keep): (How, bool),
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    let dir = &options.places.dir;
    let keep = keep || Lab::open(dir).is_ok();
    let told = tell(options, parts, how, say);
    if keep {
        say("the lab stays up; `domicile-lab down` ends it");
    } else {
        Lab::down(dir)?;
    }
    let wrong = told?;
    for text in &wrong {
        say(&format!("WRONG: {text}"));
    }
    say(if wrong.is_empty() {
        "All is well."
    } else {
        "The story went wrong."
    });
    Ok(wrong.is_empty())
}

/// Tells the story and prints it through `say`. Returns what went wrong; empty when all is well.
/// Errors: a step did not happen. The lab stays up.
fn tell(
    options: &Options,
    parts: Parts,
    how: How,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let begun = monotonic()?;
    let mut step = |text: &str| {
        let now = monotonic().unwrap_or(begun);
        say(&format!("[{:>6.1} s] {text}", (now - begun) as f64 / 1e9));
    };
    let stage = Stage::begin(options, parts, &mut step)?;
    let active = stage.active()?;
    if active != HOME {
        let hint = "take the lab down first";
        return Err(LabError::State(format!(
            "tenants are in {active} already: {hint}"
        )));
    }
    let played = play(&stage, how, &mut step)?;
    step("judging what the writers were told against what the servers hold");
    let outcome = verdict(&stage, &played)?;
    say("");
    outcome.screen.iter().for_each(|line| say(line));
    Ok(outcome.violations)
}

/// What happened, before it is judged.
struct Played {
    start: u64,
    lost: Moved,
    returned: u64,
    apart: u64,
    home: Moved,
    guarded: u64,
    end: u64,
    before: Vec<(Tenant, Untouched)>,
    how: How,
}

struct Outcome {
    screen: Vec<String>,
    violations: Vec<String>,
}

fn play(stage: &Stage, how: How, step: &mut dyn FnMut(&str)) -> Result<Played> {
    let watch = PolicyWatch::begin(&stage.objects, &stage.policy)?;
    let others = stage
        .tenants()?
        .into_values()
        .filter(|one| one.home == ELSEWHERE);
    let before = others.map(|tenant| {
        let state = stage.untouched(&tenant)?;
        Ok((tenant, state))
    });
    let before = before.collect::<Result<Vec<_>>>()?;
    let start = monotonic()?;
    step("all tenants write");
    rest(STEADY)?;
    let fault = stage.lose(HOME, how)?;
    step(&format!("{HOME} is lost ({how})"));
    let lost = stage.await_moved(&watch, HOME, fault)?;
    step(&format!("tenants are served from {}", lost.to));
    rest(AFTER)?;
    let returned = monotonic()?;
    stage.restore(HOME)?;
    let apart = monotonic()?;
    step(&format!("{HOME} is back and kept apart"));
    let way = stage.rejoin(HOME, true)?;
    step(&format!("{HOME} follows {} ({way:?})", lost.to));
    let home = stage.fail_back(&watch, HOME)?;
    step(&format!("tenants are home in {HOME}, by a planned move"));
    rest(AFTER)?;
    let guarded = monotonic()?;
    let way = stage.rejoin(&lost.to, true)?;
    step(&format!("{} follows {HOME} again ({way:?})", lost.to));
    Ok(Played {
        start,
        lost,
        returned,
        apart,
        home,
        guarded,
        end: monotonic()?,
        before,
        how,
    })
}

fn phases(played: &Played) -> Vec<Phase> {
    let Played { start, lost, .. } = played;
    let (to, home) = (&lost.to, &played.home);
    let marks = [
        (format!("served from {HOME}"), *start),
        (format!("{HOME} lost ({}): detect", played.how), lost.begun),
        ("fence".to_owned(), lost.fencing),
        (format!("promote {to}"), lost.promoting),
        ("repoint Secrets and pods".to_owned(), lost.rerouting),
        ("verify".to_owned(), lost.verifying),
        (format!("served from {to}"), lost.steady),
        (format!("{HOME} returns, is kept apart"), played.returned),
        (format!("{HOME} rejoins as standby"), played.apart),
        ("failback: drain and fence".to_owned(), home.begun),
        (format!("failback: promote {HOME}"), home.promoting),
        ("failback: repoint and verify".to_owned(), home.rerouting),
        (format!("home again in {HOME}"), home.steady),
        (format!("{to} rejoins as standby"), played.guarded),
    ];
    let ends = marks.iter().skip(1).map(|(_, from)| *from);
    let ends = ends.chain([played.end]);
    let phase = |((name, from), to): (&(String, u64), u64)| Phase {
        name: name.clone(),
        from: *from,
        to,
    };
    marks.iter().zip(ends).map(phase).collect()
}

fn verdict(stage: &Stage, played: &Played) -> Result<Outcome> {
    let phases = phases(played);
    let reports = stage.judge(played.start, &phases)?;
    let (others, moving): (Vec<&TenantReport>, Vec<_>) = reports
        .values()
        .partition(|report| report.tenant.home == ELSEWHERE);
    let residency = stage.residency()?;
    let mut screen = table(&lines(&phases, &moving, others.first().copied()));
    let mut violations = residency.violations();
    for report in &moving {
        violations.extend(check(report, played));
    }
    for (tenant, before) in &played.before {
        let report = others.iter().find(|report| report.tenant == *tenant);
        violations.extend(check_other(stage, tenant, before, report.copied(), played)?);
    }
    screen.push(String::new());
    for moved in [&played.lost, &played.home] {
        let address = Region::named(&moved.to)?.address.to_string();
        match recovery(moved, &moving, &address) {
            Some(text) => screen.push(format!("{} -> {}: {text}", moved.from, moved.to)),
            None => violations.push(format!("a tenant never wrote again in {}", moved.to)),
        }
    }
    screen.push(guarantees(stage)?);
    screen.push(memory(stage));
    screen.extend(findings(&moving, &residency));
    let calm = violations.iter().all(|text| !text.starts_with("US tenant"));
    if calm {
        let silence = others
            .iter()
            .map(|one| one.silence(played.start, played.end));
        let silence = silence.fold(0.0, f64::max);
        screen.push(format!(
            "US tenant: nothing happened (same pod, same Secret, longest pause {silence:.2} s)"
        ));
    }
    Ok(Outcome { screen, violations })
}

fn check(report: &TenantReport, played: &Played) -> Vec<String> {
    let name = &report.tenant.name;
    let rate = report.rate(played.start, played.lost.begun);
    let mut wrong = report.verdict.violations();
    if rate < MIN_RATE {
        wrong.push(format!(
            "void: only {rate:.0} rows per second before the loss"
        ));
    }
    let lost = report.verdict.lost.len();
    if lost > 0 {
        wrong.push(format!("{lost} acknowledged rows are lost"));
    }
    wrong
        .into_iter()
        .map(|text| format!("tenant {name}: {text}"))
        .collect()
}

fn check_other(
    stage: &Stage,
    tenant: &Tenant,
    before: &Untouched,
    report: Option<&TenantReport>,
    played: &Played,
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut complain = |text: String| wrong.push(format!("US tenant {}: {text}", tenant.name));
    let after = stage.untouched(tenant)?;
    if after != *before {
        complain(format!("it was {before:?} and is {after:?}"));
    }
    let Some(report) = report else {
        complain("it has no history".to_owned());
        return Ok(wrong);
    };
    report
        .verdict
        .violations()
        .into_iter()
        .for_each(&mut complain);
    let silence = report.silence(played.start, played.end);
    let refused = report.refused(played.start, played.end);
    if silence > NOTHING || refused > 0 || !report.verdict.lost.is_empty() {
        complain(format!(
            "it paused for {silence:.2} s, lost {}, was refused {refused}",
            report.verdict.lost.len()
        ));
    }
    Ok(wrong)
}

fn guarantees(stage: &Stage) -> Result<String> {
    let policy = stage.policy()?;
    let claim = policy.pointer("/status/guarantees").unwrap_or(&Value::Null);
    let split = claim["splitBrain"].as_str().unwrap_or("none");
    let loss = claim["dataLossSeconds"].as_i64();
    let loss = loss.map_or_else(|| "unknown".to_owned(), |seconds| format!("{seconds} s"));
    Ok(format!(
        "the policy claims now: proof against two writers {split}, loss at most {loss}"
    ))
}

fn memory(stage: &Stage) -> String {
    let held: Vec<_> = processes(stage.space())
        .into_iter()
        .filter_map(resident_kib)
        .map(|kib| format!("{:.1} MiB", kib as f64 / 1024.0))
        .collect();
    format!("memory of the operator's replicas: {}", held.join(", "))
}

fn rest(time: Duration) -> Result<()> {
    let until = monotonic()? + time.as_nanos() as u64;
    while monotonic()? < until {
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
