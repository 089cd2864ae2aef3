//! The primary region is lost while replication is asynchronous.

use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::regions::How;
use domicile_lab::story::Moved;
use domicile_lab::{LabError, Result};
use serde_json::json;

use super::world::{HOME, OTHER, World, ensure, one_writer, recovery, rest};

const WAIT: Duration = Duration::from_secs(30);

/// Under `Assumed` it moves, loses rows (or the test would prove nothing), and not more than it
/// says.
pub(crate) fn assumed(world: &World) -> Result<String> {
    let stage = &world.stage;
    begin(world, "Assumed")?;
    let start = monotonic()?;
    rest(3000);
    let foretold = world.foretold()?;
    let right = foretold.fate == "Moves" && foretold.proof == "Assumed";
    ensure(right, || format!("foretold: {foretold:?}"))?;
    let followed = stage.stop_following(OTHER)?;
    rest(1000);
    let fault = stage.lose(HOME, How::Kill)?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    let bound = stage.told_loss()?;
    stage.follow(OTHER, &followed)?;
    rest(2000);
    // Judged before the old primary returns: what it alone has is lost to the tenants.
    let reports = world.judge(start, &[])?;
    let mut lost = 0;
    let mut oldest = 0.0_f64;
    for (name, report) in &reports {
        one_writer(name, report)?;
        lost += report.verdict.lost.len();
        oldest = oldest.max(report.verdict.loss_seconds(fault));
    }
    ensure(lost > 0, || {
        "nothing was lost, so that nothing is shown".to_owned()
    })?;
    ensure(oldest <= bound as f64, || {
        format!("{oldest:.2} s lost, {bound} s told")
    })?;
    let recovery = recovery(&moved, &reports)?;
    end(world)?;
    Ok(format!(
        "lost {lost} rows, {oldest:.2} s, of at most {bound} s; {recovery}"
    ))
}

/// Without the proof that the policy asks for nothing moves, until a person accepts that.
pub(crate) fn blocked(world: &World) -> Result<String> {
    let stage = &world.stage;
    begin(world, "SynchronousReplication")?;
    let start = monotonic()?;
    rest(3000);
    let foretold = world.foretold()?;
    let objects = |why: &String| why.starts_with("FencingProof: ");
    let right = foretold.fate == "StaysDown" && foretold.why.iter().all(objects);
    ensure(right, || format!("foretold: {foretold:?}"))?;
    let fault = stage.lose(HOME, How::Kill)?;
    world.watch.wait("Blocked", fault, WAIT, |one| {
        one.state == "Blocked" && one.at >= fault
    })?;
    rest(3000);
    let policy = stage.policy()?;
    ensure(stage.active()? == HOME, || {
        "it moved all the same".to_owned()
    })?;
    let none = Vec::new();
    let guards = policy["status"]["guards"].as_array().unwrap_or(&none);
    let objection = guards
        .iter()
        .find(|guard| guard["name"] == "FencingProof" && guard["ok"] == false);
    let objection =
        objection.ok_or_else(|| LabError::State(format!("no objection: {guards:?}")))?;
    let (refused, _) = stage.operate("Failover", OTHER, &[])?;
    let refused = stage.await_end(&refused)?;
    let state = &refused["status"]["state"];
    ensure(state == "Refused", || {
        format!("without `accept`: {refused}")
    })?;
    let (accepted, begun) = stage.operate("Failover", OTHER, &["UnprovenFencing", "DataLoss"])?;
    let accepted = stage.await_success(&accepted)?;
    let proof = &accepted["status"]["proof"];
    ensure(proof == "Assumed", || format!("proof {proof}"))?;
    stage.await_moved(&world.watch, HOME, begun)?;
    rest(2000);
    for (name, report) in &world.judge(start, &[])? {
        one_writer(name, report)?;
    }
    end(world)?;
    Ok(objection["message"].as_str().unwrap_or_default().to_owned())
}

/// The positive control: without any fence a cut gives two writers, and the checker must say so.
pub(crate) fn control(world: &World) -> Result<String> {
    let stage = &world.stage;
    begin(world, "Assumed")?;
    let start = monotonic()?;
    let (inside, _) = world.write_inside()?;
    rest(3000);
    let fault = stage.lose(HOME, How::Cut)?;
    let moved: Moved = stage.await_moved(&world.watch, HOME, fault)?;
    rest(3000);
    let reports = world.judge(start, &[])?;
    let acme = reports
        .get("acme")
        .map(|report| report.verdict.clone())
        .unwrap_or_default();
    let (dual, writers, lost) = (acme.dual.len(), acme.writers_at_once, acme.lost.len());
    let seen = dual > 0 && writers == 2 && lost > 0;
    ensure(seen, || {
        format!("the checker saw {writers} writers, {dual} dual, {lost} lost")
    })?;
    stage.restore(HOME)?;
    rest(1500);
    inside.end()?;
    end_after_restore(world)?;
    let seconds = (moved.steady - fault) as f64 / 1e9;
    Ok(format!(
        "{writers} writers, {dual} dual, {lost} lost; moved in {seconds:.2} s"
    ))
}

fn begin(world: &World, proof: &str) -> Result<()> {
    world.set_synchronous(false)?;
    world.change_policy(&json!({"fencing": {"minimumProof": proof}}))?;
    // A heartbeat must have been replayed since, or the loss bound is unknown.
    rest(2500);
    Ok(())
}

fn end(world: &World) -> Result<()> {
    world.stage.restore(HOME)?;
    end_after_restore(world)
}

fn end_after_restore(world: &World) -> Result<()> {
    world.go_home(false)?;
    world.change_policy(&json!({"fencing": {"minimumProof": "SynchronousReplication"}}))?;
    world.set_synchronous(true)
}
