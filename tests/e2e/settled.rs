//! A world in which nothing changes costs nothing.

use std::time::Duration;

use domicile_lab::process::Patience;
use domicile_lab::story::audit::{Call, calls};
use domicile_lab::{LabError, Result};

use super::passes::{logged, poke};
use super::world::{HOME, World, ensure, rest};

const LIMIT: Duration = Duration::from_mins(2);
const PASSES: u32 = 10;
const WINDOWS: u32 = 4;

/// Ten forced passes over all resources: no write to the apiserver but of the lease, no
/// transaction with a write but of the heartbeat.
pub(crate) fn nothing(world: &World) -> Result<String> {
    let stage = &world.stage;
    stage.scale_apps(0)?;
    for sql in [
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
    ] {
        world.sql(HOME, sql)?;
    }
    let told = (1..=WINDOWS).find_map(|_| window(world).transpose());
    for sql in ["ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()"] {
        world.sql(HOME, sql)?;
    }
    stage.scale_apps(1)?;
    told.unwrap_or_else(|| {
        let text = format!("void: servers changed in each of {WINDOWS} windows");
        Err(LabError::State(text))
    })
}

/// None when a server missed a probe meanwhile: then the world was not settled.
fn window(world: &World) -> Result<Option<String>> {
    let (before, transactions) = settle(world)?;
    let probes = logged(world, &["\"Server changed\""])?;
    for round in 1..=PASSES {
        poke(world, &round.to_string())?;
        rest(500);
    }
    rest(1500);
    let after = writes(world)?;
    let more = transactions_but_heartbeats(world)? - transactions;
    if logged(world, &["\"Server changed\""])? != probes {
        return Ok(None);
    }
    let fresh = after.get(before.len()..).unwrap_or_default();
    ensure(!before.is_empty(), || {
        "the audit log tells of no write at all".to_owned()
    })?;
    ensure(fresh.is_empty(), || {
        format!("the operator wrote: {}", fresh.join(", "))
    })?;
    ensure(more == 0, || format!("{more} transactions wrote to {HOME}"))?;
    let told = format!("0 writes in {PASSES} passes, after {} before", before.len());
    Ok(Some(told))
}

/// Waits until nothing was written for longer than workloads are looked at.
fn settle(world: &World) -> Result<(Vec<String>, i64)> {
    let patience = Patience::new("a settled world", LIMIT);
    let mut before = writes(world)?;
    loop {
        rest(12_000);
        let now = writes(world)?;
        if now.len() == before.len() {
            return Ok((now, transactions_but_heartbeats(world)?));
        }
        before = now;
        patience.pause(|| format!("the last write was {:?}", before.last()))?;
    }
}

/// What the operator wrote so far, but for its leases.
fn writes(world: &World) -> Result<Vec<String>> {
    let (calls, _) = calls(&world.stage.lab, 0)?;
    let writes = calls.into_iter().filter(Call::writes);
    let writes = writes.filter(|call| call.resource != "leases");
    let told = writes.map(|call| format!("{} {} {}", call.verb, call.resource, call.name));
    Ok(told.collect())
}

/// Transactions that wrote, less the beats: each beat is one. A beat that is under way counts
/// before it is seen, so the smallest of some looks is taken.
fn transactions_but_heartbeats(world: &World) -> Result<i64> {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - sequence \
               FROM domicile.heartbeat";
    let mut least = i64::MAX;
    for _ in 0..5 {
        let text = world.sql(HOME, sql)?;
        let odd = |_| LabError::State(format!("{HOME} answers {text:?}"));
        least = least.min(text.trim().parse().map_err(odd)?);
        rest(50);
    }
    Ok(least)
}
