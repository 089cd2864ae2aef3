//! Agents beside both servers: they fence a primary before another is promoted, and the hub can be
//! lost.

use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::cluster::SmallCluster;
use domicile_lab::process::run_ok;
use domicile_lab::regions::{How, Region};
use domicile_lab::story::Agents;
use domicile_lab::story::agents::give_cluster;
use domicile_lab::story::objects::kinds;
use domicile_lab::story::operator::signal;
use domicile_lab::story::writer::acknowledged;
use domicile_lab::{LabError, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::world::{HOME, OTHER, World, ensure, one_writer, recovery, rest};

const CALL: Duration = Duration::from_mins(1);

/// Without synchronous replication a cut primary with clients inside would go on: its agent fences
/// it in time, and only then the other is promoted.
pub(crate) fn cut(world: &World) -> Result<String> {
    lose(world, |_| Ok(()))
}

/// The acting replica dies in the moment of the cut, unable to fence anything.
pub(crate) fn cut_and_killed(world: &World) -> Result<String> {
    lose(world, Agents::kill_acting)
}

fn lose(world: &World, at_the_cut: impl FnOnce(&mut Agents) -> Result<()>) -> Result<String> {
    let stage = &world.stage;
    begin(world)?;
    let mut agents = Agents::begin(stage, HOME, &[])?;
    let others = Agents::begin(stage, OTHER, &[])?;
    pledged(world, false)?;
    let start = monotonic()?;
    let (inside, log) = stage.write_inside(HOME)?;
    rest(3000);
    let fault = stage.lose(HOME, How::Cut)?;
    at_the_cut(&mut agents)?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    rest(2000);
    let before = acknowledged(&log, start, fault)?;
    let alone = acknowledged(&log, fault, moved.promoting)?;
    let after = acknowledged(&log, moved.promoting, u64::MAX)?;
    let said = || agents.told();
    // A replica that takes over cannot know how much time is left, and fences at once.
    ensure(before > 50 && alone > 10, || {
        format!("void: the writer inside wrote {before} rows before and {alone} after the cut")
    })?;
    ensure(after == 0, || {
        format!(
            "{after} rows were acknowledged beside the new primary\n{}",
            said()
        )
    })?;
    rests_on_the_lease(world)?;
    let bound = stage.told_loss()?;
    let reports = world.judge(start, &[])?;
    let mut lost = 0;
    for (name, report) in &reports {
        one_writer(name, report)?;
        lost += report.verdict.lost.len();
        let span = report.lost_span();
        ensure(span <= bound as f64, || {
            format!("{name} lost {span:.2} s of rows, {bound} s were told")
        })?;
    }
    ensure(lost > 0, || "void: nothing was lost".to_owned())?;
    stage.restore(HOME)?;
    rest(1500);
    inside.end()?;
    // The new primary's agents let a planned move through, and those of the old one renew again.
    world.go_home(false)?;
    pledged(world, false)?;
    drop((agents, others));
    end(world)?;
    let told = recovery(&moved, &reports)?;
    Ok(format!(
        "{alone} rows acknowledged while cut off, 0 beside the new primary; lost {lost} rows of at \
         most {bound} s; {told}"
    ))
}

/// The API server of the hub stands still for longer than the lease. With a promise of the
/// standby's region the primary serves on; without one its agent fences it, and the hub lets it in
/// again once it is back.
pub(crate) fn hub_lost(world: &World) -> Result<String> {
    let stage = &world.stage;
    begin(world)?;
    let (cluster, file) = give_cluster(stage, Region::named(OTHER)?)?;
    let agents = Agents::begin(stage, HOME, &[(OTHER, file)])?;
    pledged(world, true)?;
    let start = monotonic()?;
    rest(2000);
    let epoch = stage.policy()?["status"]["epoch"].clone();
    without_hub(world)?;
    let (ours, promise) = (row(world)?, promise(&cluster, &stage.policy)?);
    ensure(
        promise["epoch"] == epoch && promise["permitted"] == false,
        || format!("the promise is {promise}, the epoch {epoch}"),
    )?;
    ensure(ours == format!("{epoch}|t"), || {
        format!("the row is {ours}\n{}", agents.told())
    })?;
    steady(world)?;
    let refused: u64 = (world.judge(start, &[])?.values())
        .map(|report| report.verdict.failed)
        .sum();
    ensure(refused == 0, || format!("{refused} rows were refused"))?;
    drop(agents);

    let agents = Agents::begin(stage, HOME, &[])?;
    pledged(world, false)?;
    without_hub(world)?;
    let theirs = row(world)?;
    steady(world)?;
    // Under its own epoch where its agent was first to renew, and else under the next one, which
    // that agent's pledge does not reach.
    let epoch = epoch.as_i64().unwrap_or_default();
    let restored = [format!("{epoch}|t"), format!("{}|t", epoch + 1)];
    let patience = domicile_lab::process::Patience::new("the right to write", CALL);
    while !restored.contains(&row(world)?) {
        patience.pause(|| agents.told())?;
    }
    let first = row(world)?;
    rest(5_000);
    let later = row(world)?;
    ensure(later == first, || {
        format!("the row was {first} and is {later}\n{}", agents.told())
    })?;
    ensure(theirs == format!("{epoch}|f"), || {
        format!("without promises the row is {theirs}\n{}", agents.told())
    })?;
    drop(agents);
    let none = json!({"spec": {"cluster": null}});
    stage.objects.merge(kinds::REGION, None, OTHER, &none)?;
    cluster.end()?;
    end(world)?;
    Ok(format!(
        "with promises 0 rows refused; without, fenced at epoch {epoch} and let in again as {first}"
    ))
}

/// Asynchronous, with short leases, and no weaker proof than their end.
fn begin(world: &World) -> Result<()> {
    world.set_synchronous(false)?;
    world.stage.change_policy(&json!({"fencing": {
        "minimumProof": "LeaseExpired", "leaseSeconds": 12, "renewSeconds": 3,
    }}))?;
    rest(2500);
    Ok(())
}

fn end(world: &World) -> Result<()> {
    world.stage.change_policy(&json!({"fencing": {
        "minimumProof": "SynchronousReplication", "leaseSeconds": 30, "renewSeconds": 10,
    }}))?;
    world.set_synchronous(true)
}

/// The policy says what it can claim by the lease.
fn pledged(world: &World, survives: bool) -> Result<()> {
    world.stage.await_policy("the lease is pledged", |policy| {
        let status = &policy["status"];
        status["lease"]["state"] == "Pledged"
            && status["lease"]["survivesHub"] == survives
            && status["guarantees"]["splitBrain"] == "LeaseExpired"
    })
}

fn steady(world: &World) -> Result<()> {
    let stage = &world.stage;
    stage.await_operator()?;
    stage.await_policy("steady", |policy| {
        let status = &policy["status"];
        status["state"] == "Steady" && status["activeRegion"] == HOME
    })
}

/// The hub's API server and its store stand still for twice the lease.
fn without_hub(world: &World) -> Result<()> {
    let cluster = world.stage.lab.cluster();
    let servers = [cluster.process("kube-apiserver")?, cluster.process("etcd")?];
    signal(&servers, Signal::SIGSTOP);
    rest(26_000);
    signal(&servers, Signal::SIGCONT);
    Ok(())
}

fn row(world: &World) -> Result<String> {
    let sql = "SELECT epoch || '|' || CASE WHEN writable THEN 't' ELSE 'f' END \
               FROM domicile.authority";
    world.sql(HOME, sql).map(|text| text.trim().to_owned())
}

fn promise(cluster: &SmallCluster, policy: &str) -> Result<Value> {
    let lease = format!("{policy}-promise");
    let mut kubectl = cluster.kubectl();
    kubectl.args([
        "--namespace",
        "domicile-system",
        "get",
        "lease",
        &lease,
        "-o",
        "json",
    ]);
    let lease: Value = read(&run_ok(&mut kubectl, CALL)?.stdout)?;
    let record = lease["metadata"]["annotations"]["domicile.dev/authority"].as_str();
    read(record.unwrap_or_default())
}

fn read(text: &str) -> Result<Value> {
    let what = "a promise".to_owned();
    serde_json::from_str(text).map_err(|source| LabError::Json { what, source })
}

/// The history says so of the last move.
fn rests_on_the_lease(world: &World) -> Result<()> {
    let policy = world.stage.policy()?;
    let past = &policy["status"]["history"][0];
    ensure(past["proof"] == "LeaseExpired", || {
        format!("the history says {past}")
    })
}
