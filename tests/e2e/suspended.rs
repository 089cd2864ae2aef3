//! A region that is suspended may be silent.

use std::time::Duration;

use domicile_lab::Result;
use domicile_lab::clock::monotonic;
use domicile_lab::regions::How;
use domicile_lab::story::objects::{condition, kinds};
use serde_json::json;

use super::world::{HOME, World, ensure, lossless, rest};

const LIMIT: Duration = Duration::from_secs(30);

/// Its server stands still for longer than an outage takes, and nobody is moved.
pub(crate) fn silent(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    rest(3000);
    say(world, "Suspended", "RegionSuspended")?;
    let cut = monotonic()?;
    stage.lose(HOME, How::Freeze)?;
    let stayed = stay(world, cut);
    stage.lab.regions().restore(HOME)?;
    stayed?;
    stage.await_policy("the primary answers again", |policy| {
        condition(policy, "PrimaryHealthy").is_some_and(|found| found["status"] == "True")
    })?;
    say(world, "Active", "Serving")?;
    rest(1500);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, cut)?;
    ensure(stage.active()? == HOME, || "it moved".to_owned())?;
    Ok("8 s of silence, and the policy stayed Steady".to_owned())
}

/// Gives the region a state, and waits until it says so.
fn say(world: &World, state: &str, reason: &str) -> Result<()> {
    let objects = &world.stage.objects;
    let patch = json!({ "spec": { "state": state } });
    objects.merge(kinds::REGION, None, HOME, &patch)?;
    let told = objects.wait((kinds::REGION, None, HOME), reason, LIMIT, |region| {
        condition(region, "Ready").is_some_and(|ready| ready["reason"] == reason)
    });
    told.map(drop)
}

fn stay(world: &World, cut: u64) -> Result<()> {
    rest(8000);
    let seen = world.watch.seen();
    let moved = seen.iter().find(|one| one.at >= cut);
    ensure(moved.is_none(), || format!("it began to move: {moved:?}"))?;
    let policy = world.stage.policy()?;
    let healthy = condition(&policy, "PrimaryHealthy");
    let told = healthy.is_some_and(|found| found["reason"] == "RegionSuspended");
    ensure(told, || format!("the policy says {healthy:?}"))
}
