//! The operator is killed in each state of a move; its successor finishes the move.

use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::process::Patience;
use domicile_lab::regions::How;
use domicile_lab::story::objects::kinds;
use domicile_lab::story::operator::{kill_all, processes, signal};
use domicile_lab::{LabError, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::latch;
use super::world::{HOME, OTHER, World, ensure, lossless, recovery, rest};

const LIMIT: Duration = Duration::from_mins(1);
/// How long the operator runs between two looks at the state: long while the threshold of probes
/// is being reached, and shorter than a write to the apiserver from then on.
const STRIDE_MS: u64 = 40;
const STEP_MS: u64 = 3;
/// Whether a standby's replay stands still before the end of what it has received.
const BEHIND: &str = "SELECT pg_get_wal_replay_pause_state() = 'paused' \
                      AND pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()";

pub(crate) fn suspect(world: &World) -> Result<String> {
    killed_in(world, "Suspect")
}

pub(crate) fn outage(world: &World) -> Result<String> {
    killed_in(world, "Outage")
}

pub(crate) fn fencing(world: &World) -> Result<String> {
    killed_in(world, "Fencing")
}

/// A standby that has replayed all is not waited for, so its replay stands still until the kill,
/// and the loss waits until it has received more than it has replayed.
pub(crate) fn catching_up(world: &World) -> Result<String> {
    let stage = &world.stage;
    let pause = || {
        stage.sql(OTHER, "SELECT pg_wal_replay_pause()")?;
        let patience = Patience::new("the standby is behind in its replay", LIMIT);
        loop {
            let behind = stage.sql(OTHER, BEHIND)?;
            if behind.trim() == "t" {
                return Ok(());
            }
            patience.pause(|| format!("behind: {behind}"))?;
        }
    };
    let resume = || stage.sql(OTHER, "SELECT pg_wal_replay_resume()").map(drop);
    killed_between(world, "CatchingUp", pause, resume)
}

pub(crate) fn promoting(world: &World) -> Result<String> {
    killed_in(world, "Promoting")
}

pub(crate) fn rerouting(world: &World) -> Result<String> {
    killed_in(world, "Rerouting")
}

pub(crate) fn verifying(world: &World) -> Result<String> {
    killed_in(world, "Verifying")
}

/// The same for a planned move, which is finished or given up, and in both cases without loss.
pub(crate) fn draining(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    latch::hold(world, "Draining")?;
    rest(3000);
    let (operation, begun) = stage.operate("Switchover", OTHER, &[])?;
    kill_when(world, "Draining")?;
    world.stage.renew_operator()?;
    let ended = stage.await_end(&operation)?;
    let state = ended["status"]["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let finished = ["Succeeded", "Aborted", "Failed"].contains(&&*state);
    ensure(finished, || {
        format!("the operation says {}", ended["status"])
    })?;
    if state == "Succeeded" {
        stage.await_moved(&world.watch, HOME, begun)?;
        rest(2000);
        world.go_home(true)?;
    }
    world.ready()?;
    rest(2000);
    serves_again(world, start, begun)?;
    Ok(format!("the operation ended {state}"))
}

/// A move that waits for a person is not forgotten: the successor goes on from the approval.
pub(crate) fn awaiting_approval(world: &World) -> Result<String> {
    let stage = &world.stage;
    world.change_policy(&json!({"mode": "SemiAutomatic"}))?;
    let start = monotonic()?;
    latch::hold(world, "AwaitingApproval")?;
    rest(3000);
    let fault = stage.lose(HOME, How::Kill)?;
    kill_when(world, "AwaitingApproval")?;
    world.stage.renew_operator()?;
    let policy = stage.policy()?;
    let operation = policy.pointer("/status/journal/operation");
    let operation = operation.and_then(Value::as_str).unwrap_or_default();
    let target = (kinds::OPERATION, None, operation);
    let asks = |object: &Value| {
        let status = &object["status"];
        status["state"] == "AwaitingApproval" && status["evidenceHash"].is_string()
    };
    stage.objects.wait(target, "asks", LIMIT, asks)?;
    ensure(stage.active()? == HOME, || "nobody agreed".to_owned())?;
    let asked = monotonic()?;
    world.cli(&["approve", operation, "--yes"])?;
    let ended = stage.await_success(operation)?;
    let approvals = ended.pointer("/status/approvals/0/user");
    ensure(approvals.is_some(), || format!("{}", ended["status"]))?;
    let moved = stage.await_moved(&world.watch, HOME, asked)?;
    rest(2000);
    stage.restore(HOME)?;
    let home = world.go_home(true)?;
    world.change_policy(&json!({"mode": "Automatic"}))?;
    rest(2000);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, fault)?;
    recovery(&home, &reports)?;
    let told = recovery(&moved, &reports)?;
    Ok(format!("after the approval {told}"))
}

/// Nothing moves that may not, whoever leads; and the primary that comes back serves again.
pub(crate) fn blocked(world: &World) -> Result<String> {
    let stage = &world.stage;
    world.set_synchronous(false)?;
    let start = monotonic()?;
    latch::hold(world, "Blocked")?;
    rest(3000);
    let fault = stage.lose(HOME, How::Kill)?;
    kill_when(world, "Blocked")?;
    world.stage.renew_operator()?;
    rest(25_000);
    let (state, active) = (stage.policy_summary(), stage.active()?);
    ensure(active == HOME, || format!("it moved: {state}"))?;
    stage.lab.regions().restore(HOME)?;
    world.set_synchronous(true)?;
    world.ready()?;
    rest(2000);
    serves_again(world, start, fault)?;
    Ok("it stayed".to_owned())
}

/// A planned move whose standby is lost is given up, and the successor of a killed operator gives
/// the primary its right back.
pub(crate) fn aborting(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    latch::hold(world, "Aborting")?;
    rest(3000);
    let (operation, begun) = stage.operate("Switchover", OTHER, &[])?;
    stage.lab.regions().lose(OTHER, How::Kill)?;
    kill_when(world, "Aborting")?;
    world.stage.renew_operator()?;
    let ended = stage.await_end(&operation)?;
    let state = &ended["status"]["state"];
    ensure(state == "Aborted", || {
        format!("the operation says {}", ended["status"])
    })?;
    stage.lab.regions().restore(OTHER)?;
    world.ready()?;
    rest(2000);
    serves_again(world, start, begun)?;
    Ok(ended["status"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Every tenant writes at the end, has lost nothing, and never had two writers.
fn serves_again(world: &World, start: u64, begun: u64) -> Result<()> {
    let now = monotonic()?;
    let patience = Patience::new("every tenant writes again", LIMIT);
    let reports = loop {
        let reports = world.judge(start, &[])?;
        let until = monotonic()?;
        let silent = reports.iter().find(|(_, one)| one.rate(now, until) <= 0.0);
        let Some((name, _)) = silent else {
            break reports;
        };
        patience.pause(|| name.clone())?;
    };
    lossless(&reports, start, begun)
}

fn killed_in(world: &World, state: &str) -> Result<String> {
    let nothing = || Ok(());
    killed_between(world, state, nothing, nothing)
}

/// The same, with something done just before the loss, and something just after the kill.
fn killed_between(
    world: &World,
    state: &str,
    before: impl Fn() -> Result<()>,
    after: impl Fn() -> Result<()>,
) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    latch::hold(world, state)?;
    rest(3000);
    before()?;
    let fault = stage.lose(HOME, How::Kill)?;
    kill_when(world, state)?;
    let dead = monotonic()?;
    after()?;
    world.stage.renew_operator()?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    rest(2000);
    stage.restore(HOME)?;
    let home = world.go_home(true)?;
    rest(2000);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, fault)?;
    recovery(&moved, &reports)?;
    recovery(&home, &reports)?;
    let seconds = (moved.steady - dead) as f64 / 1e9;
    Ok(format!(
        "its successor was done {seconds:.1} s after the kill"
    ))
}

/// Lets the operator run in short steps until the policy's state, read while it stands still, is
/// the one wanted, which the latch keeps, and kills it there. Errors: the state was passed, or
/// never came.
fn kill_when(world: &World, wanted: &str) -> Result<()> {
    let running = processes(world.stage.space());
    ensure(!running.is_empty(), || "no operator runs".to_owned())?;
    let patience = Patience::new(format!("the state {wanted}"), LIMIT);
    let mut path: Vec<String> = Vec::new();
    loop {
        signal(&running, Signal::SIGSTOP);
        let policy = world.stage.policy()?;
        let state = policy["status"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if path.last() != Some(&state) {
            path.push(state.clone());
        }
        if state == wanted {
            kill_all(&running);
            return latch::release(world);
        }
        signal(&running, Signal::SIGCONT);
        let back = path.len() > 2 && state == "Steady";
        if back {
            return Err(LabError::State(format!(
                "{wanted} was passed: {}",
                path.join(" > ")
            )));
        }
        rest(if state == "Steady" || state == "Suspect" {
            STRIDE_MS
        } else {
            STEP_MS
        });
        patience.pause(|| path.join(" > "))?;
    }
}
