//! The operator alone is cut off from the primary, which lives and serves.

use std::time::Duration;

use domicile_lab::Result;
use domicile_lab::clock::monotonic;
use serde_json::Value;

use super::world::{HELD_UP_SECONDS, HOME, World, ensure, lossless, rest};

const LIMIT: Duration = Duration::from_secs(20);

/// The standby still hears from the primary: nothing moves, and no tenant notices.
pub(crate) fn live_stream(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    rest(3000);
    let cut = monotonic()?;
    let regions = stage.lab.regions();
    regions.part(HOME, &stage.operator_addresses()?)?;
    let outcome = stay(world, cut);
    regions.mend(HOME)?;
    let said = outcome?;
    let healed = monotonic()?;
    world
        .watch
        .wait("Steady", healed, LIMIT, |one| one.state == "Steady")?;
    rest(1500);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, cut)?;
    for (name, report) in &reports {
        let now = monotonic()?;
        let (silence, refused) = (report.silence(cut, now), report.refused(cut, now));
        let calm = report.restarts(start, u64::MAX) == 0 && refused == 0;
        ensure(calm && silence < HELD_UP_SECONDS, || {
            format!("{name} was hit: {silence:.2} s of silence, {refused} rows refused")
        })?;
    }
    ensure(stage.active()? == HOME, || "it moved".to_owned())?;
    Ok(said)
}

fn stay(world: &World, cut: u64) -> Result<String> {
    let suspicion = |one: &domicile_lab::story::watch::Transition| one.state == "Suspect";
    world.watch.wait("Suspect", cut, LIMIT, suspicion)?;
    rest(8000);
    let seen = world.watch.seen();
    let other = seen
        .iter()
        .find(|one| one.at >= cut && one.state != "Suspect");
    ensure(other.is_none(), || format!("it went on: {other:?}"))?;
    let policy = world.stage.policy()?;
    let none = Vec::new();
    let guards = policy["status"]["guards"].as_array().unwrap_or(&none);
    let veto = guards.iter().find(|guard| guard["name"] == "SecondVantage");
    let veto = veto.unwrap_or(&Value::Null);
    let said = veto["message"].as_str().unwrap_or_default();
    let right = veto["ok"] == false && said.contains("PrimaryAliveAtPeer");
    ensure(right, || format!("the guard says {veto}"))?;
    Ok(said.to_owned())
}
