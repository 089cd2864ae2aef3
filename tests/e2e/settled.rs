//! A world in which nothing changes costs nothing.

use std::fs;
use std::time::Duration;

use domicile_lab::lab::SYSTEM_NAMESPACE;
use domicile_lab::process::Patience;
use domicile_lab::story::objects::kinds;
use domicile_lab::{LabError, Result};
use serde_json::{Value, json};

use super::world::{HOME, World, ensure, rest};

const OPERATOR: &str = "system:serviceaccount:domicile-system:domicile";
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
    let probes = changes_seen(world)?;
    for round in 1..=PASSES {
        poke(world, round)?;
        rest(500);
    }
    rest(1500);
    let after = writes(world)?;
    let more = transactions_but_heartbeats(world)? - transactions;
    if changes_seen(world)? != probes {
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

/// How often the operator said that a server changed.
fn changes_seen(world: &World) -> Result<usize> {
    let mut count = 0;
    for log in world.stage.logs.logs()? {
        if log.namespace == SYSTEM_NAMESPACE {
            let text = fs::read_to_string(&log.file).map_err(LabError::file("read", &log.file))?;
            count += text.matches("\"Server changed\"").count();
        }
    }
    Ok(count)
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

fn poke(world: &World, round: u32) -> Result<()> {
    let objects = &world.stage.objects;
    let patch = json!({"metadata": {"annotations": {
        "domicile.dev/reconcile-at": round.to_string(),
    }}});
    for kind in [
        kinds::REGION,
        kinds::PLACEMENT,
        kinds::POLICY,
        kinds::OPERATION,
    ] {
        for object in objects.list(kind, None, "")? {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            objects.merge(kind, metadata["namespace"].as_str(), name, &patch)?;
        }
    }
    Ok(())
}

/// What the operator wrote so far, by the apiserver's own account.
fn writes(world: &World) -> Result<Vec<String>> {
    let path = world.stage.lab.cluster().audit_log();
    let text = fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
    let lines = text.lines().filter(|line| line.contains(OPERATOR));
    let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(events.filter_map(|event| write(&event)).collect())
}

fn write(event: &Value) -> Option<String> {
    let (verb, about) = (event["verb"].as_str()?, &event["objectRef"]);
    let resource = about["resource"].as_str().unwrap_or_default();
    let changes = ["create", "update", "patch", "delete", "deletecollection"].contains(&verb);
    let done = event["stage"] == "ResponseComplete" && event["user"]["username"] == OPERATOR;
    (changes && done && resource != "leases").then(|| {
        format!(
            "{verb} {resource} {}",
            about["name"].as_str().unwrap_or_default()
        )
    })
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
