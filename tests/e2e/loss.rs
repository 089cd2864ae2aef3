//! The primary region is lost while replication is synchronous.

use std::path::Path;

use domicile_lab::Result;
use domicile_lab::clock::monotonic;
use domicile_lab::regions::How;
use domicile_lab::story::writer::acknowledged;
use serde_json::Value;

use super::passes::{logged, poke};
use super::world::{HOME, OTHER, World, ensure, lossless, recovery, rest};

pub(crate) fn kill(world: &World) -> Result<String> {
    lose(world, How::Kill)
}

pub(crate) fn freeze(world: &World) -> Result<String> {
    lose(world, How::Freeze)
}

pub(crate) fn cut(world: &World) -> Result<String> {
    lose(world, How::Cut)
}

fn lose(world: &World, how: How) -> Result<String> {
    let stage = &world.stage;
    let (start, told) = (monotonic()?, world.receiver.notices().len());
    let inside = match how {
        How::Cut => Some(world.write_inside()?),
        How::Kill | How::Freeze | How::CutIn | How::CutOut | How::Full => None,
    };
    rest(3000);
    let foretold = world.foretold()?;
    let right = foretold.fate == "Moves"
        && (&*foretold.to, &*foretold.proof) == (OTHER, "SynchronousReplication")
        && (&*foretold.crash_loss, &*foretold.partition_loss) == ("0", "0");
    ensure(right, || format!("foretold: {foretold:?}"))?;
    let waited = hung_passes(world)?;
    let fault = stage.lose(HOME, how)?;
    // Passes over the tenants are then under way on a server that does not answer.
    poke(world, &format!("{how} {fault}"))?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    ensure(moved.to == OTHER && moved.epochs.1 > moved.epochs.0, || {
        format!("{moved:?}")
    })?;
    let waited = hung_passes(world)? - waited;
    // A killed server refuses at once.
    ensure(waited == 0 || how == How::Kill, || {
        format!("{waited} passes waited for {HOME} while their tenants were to be moved")
    })?;
    rest(3000);
    stage.restore(HOME)?;
    // A writer inside meets the old primary while it is back and not yet rejoined.
    rest(1500);
    if let Some((inside, log)) = inside {
        inside.end()?;
        hung(&log, start, fault, moved.promoting)?;
    }
    let home = world.go_home(true)?;
    rest(1000);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, fault)?;
    recovery(&home, &reports)?;
    proven(world, &moved.to)?;
    edges(world, told)?;
    recovery(&moved, &reports)
}

/// Passes that ended because a server did not answer until their deadline.
fn hung_passes(world: &World) -> Result<usize> {
    let mut count = 0;
    for reason in ["Unreachable", "ProbeTimedOut"] {
        let reason = format!("\"reason\":\"{reason}\"");
        count += logged(world, &["\"The placement waits\"", &reason])?;
    }
    Ok(count)
}

/// A writer inside the region wrote before, or it would show nothing, and was told nothing since
/// the other region began to be promoted.
fn hung(log: &Path, start: u64, fault: u64, promoting: u64) -> Result<()> {
    let before = acknowledged(log, start, fault)?;
    ensure(before > 50, || {
        format!("void: the writer inside wrote {before} rows")
    })?;
    let after = acknowledged(log, promoting, u64::MAX)?;
    ensure(after == 0, || {
        format!("the writer inside was told of {after} rows")
    })
}

/// The history names the proof and no loss.
fn proven(world: &World, to: &str) -> Result<()> {
    let policy = world.stage.policy()?;
    let none = Vec::new();
    let history = policy["status"]["history"].as_array().unwrap_or(&none);
    let past = history
        .iter()
        .find(|past| past["kind"] == "Failover" && past["to"] == to);
    let past = past.unwrap_or(&Value::Null);
    let right = past["proof"] == "SynchronousReplication" && past["lossSeconds"] == 0;
    ensure(right, || format!("the history says {past}"))
}

/// One notification per edge: an outage, its move and its end, the way home and its end.
fn edges(world: &World, already: usize) -> Result<()> {
    let notices = world.receiver.notices();
    let states: Vec<_> = notices
        .iter()
        .skip(already)
        .filter_map(|notice| notice["state"].as_str())
        .filter(|state| *state != "Blocked")
        .collect();
    let expected = ["Outage", "Fencing", "Steady", "Draining", "Steady"];
    ensure(states == expected, || {
        format!("notified of {states:?}, not {expected:?}")
    })
}
