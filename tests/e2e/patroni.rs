//! Patroni runs the servers: from the loss of a region to the return home no person acts.

use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::regions::How;
use domicile_lab::story::hands::in_sync;
use domicile_lab::story::objects::{is, kinds};
use domicile_lab::{LabError, Result};
use serde_json::Value;

use super::world::{HOME, OTHER, World, ensure, one_writer, recovery, rest};

/// For rejoining, five seconds in sync, and the way home, on a machine that many share.
const HOME_LIMIT: Duration = Duration::from_mins(5);

pub(crate) fn hands_free(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    rest(3000);
    let fault = stage.lose(HOME, How::Kill)?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    let bound = world.stage.told_loss()?;
    rest(2000);
    // Judged before the old primary returns: what it alone has is lost to the tenants.
    let (lost, oldest, _) = losses(world, start, fault)?;
    ensure(oldest <= bound as f64, || {
        format!("{oldest:.2} s lost, {bound} s told")
    })?;
    // The region has power again; the rest is up to Patroni and Domicile.
    let returned = monotonic()?;
    stage.lab.regions().restore(HOME)?;
    let home =
        |one: &domicile_lab::story::watch::Transition| one.state == "Steady" && one.active == HOME;
    world
        .watch
        .wait("tenants at home", returned, HOME_LIMIT, home)
        .map_err(|error| LabError::State(format!("{}; {}", error.report(), told(world))))?;
    reported_before_it_was_rejoined(world)?;
    // The server that served meanwhile is an old primary now, and rejoined as well.
    stage.await_policy("the other server follows", |policy| {
        in_sync(policy, OTHER, false) && is(policy, "StandbyHealthy", "True")
    })?;
    rest(2000);
    let (lost_in_all, _, reports) = losses(world, start, fault)?;
    ensure(lost_in_all == lost, || {
        format!("{lost} rows were lost in the outage, {lost_in_all} in all")
    })?;
    let history = stage.policy()?;
    let past = history.pointer("/status/history/0").unwrap_or(&Value::Null);
    let planned = past["kind"] == "Failback" && past["proof"] == "Confirmed";
    ensure(planned, || format!("the history says {past}"))?;
    let recovery = recovery(&moved, &reports)?;
    Ok(format!("lost {lost} rows of at most {bound} s; {recovery}"))
}

type Reports = std::collections::BTreeMap<String, domicile_lab::story::TenantReport>;

/// How many acknowledged rows are gone, how old the oldest was at the fault in seconds, and the
/// reports, none of which tells of two writers.
fn losses(world: &World, start: u64, fault: u64) -> Result<(usize, f64, Reports)> {
    let reports = world.judge(start, &[])?;
    let (mut lost, mut oldest) = (0, 0.0_f64);
    for (name, report) in &reports {
        one_writer(name, report)?;
        lost += report.verdict.lost.len();
        oldest = oldest.max(report.verdict.loss_seconds(fault));
    }
    Ok((lost, oldest, reports))
}

/// The status tells what the home server alone held, and events tell the order.
fn reported_before_it_was_rejoined(world: &World) -> Result<()> {
    let policy = world.stage.policy()?;
    let none = Vec::new();
    let returned = policy.pointer("/status/returned");
    let mut returned = returned.and_then(Value::as_array).unwrap_or(&none).iter();
    let report = returned.find(|one| one["region"] == HOME);
    ensure(report.is_some_and(|one| one["bytes"].is_i64()), || {
        format!("no report of {HOME}: {}", policy["status"])
    })?;
    let events = world.stage.objects.list(kinds::EVENT, None, "")?;
    let first = |reason: &str| {
        let of = |event: &&Value| event["reason"] == reason;
        let times = events
            .iter()
            .filter(of)
            .map(|event| event["eventTime"].to_string());
        times.min()
    };
    let order = ["OldPrimaryReported", "OldPrimaryRejoining"].map(first);
    let [Some(reported), Some(rejoining)] = order else {
        return Err(LabError::State(format!("not both were told: {order:?}")));
    };
    ensure(reported <= rejoining, || {
        format!("rejoined at {rejoining}, reported at {reported}")
    })
}

fn told(world: &World) -> String {
    world.stage.policy_summary()
}
