//! Planned moves.

use domicile_lab::Result;
use domicile_lab::clock::monotonic;
use domicile_lab::regions::How;
use domicile_lab::story::objects::kinds;
use serde_json::{Value, json};

use super::world::{HOME, OTHER, World, ensure, lossless, recovery, rest};

pub(crate) fn there_and_back(world: &World) -> Result<String> {
    let stage = &world.stage;
    let start = monotonic()?;
    rest(3000);
    let (operation, begun) = stage.operate("Switchover", OTHER, &[])?;
    let ended = stage.await_success(&operation)?;
    let moved = stage.await_moved(&world.watch, HOME, begun)?;
    let status = &ended["status"];
    let exact = status["proof"] == "Confirmed" && status["lossBound"]["seconds"] == 0;
    ensure(exact, || format!("the operation says {status}"))?;
    rest(2000);
    let home = world.go_home(true)?;
    rest(2000);
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, begun)?;
    let (there, back) = (recovery(&moved, &reports)?, recovery(&home, &reports)?);
    Ok(format!("there {there}; back {back}"))
}

/// With `failback.mode: Automatic` tenants come home without anybody asking.
pub(crate) fn automatic_failback(world: &World) -> Result<String> {
    let stage = &world.stage;
    let failback = json!({"mode": "Automatic", "stableSeconds": 3, "maxStableSeconds": 5});
    world.change_policy(&json!({"failback": failback}))?;
    let start = monotonic()?;
    rest(3000);
    let fault = stage.lose(HOME, How::Kill)?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    stage.restore(HOME)?;
    let back = monotonic()?;
    stage.lab.regions().rejoin(HOME)?;
    let home = stage.await_moved(&world.watch, &moved.to, back)?;
    ensure(home.to == HOME, || format!("{home:?}"))?;
    rest(1500);
    stage.rejoin(OTHER, true)?;
    let policy = stage.policy()?;
    let past = policy.pointer("/status/history/0").unwrap_or(&Value::Null);
    let right = past["kind"] == "Failback" && past["trigger"] == "Automatic";
    ensure(right, || format!("the history says {past}"))?;
    world.change_policy(&json!({"failback": {"mode": "Manual"}}))?;
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, fault)?;
    recovery(&home, &reports)
}

pub(crate) fn stale_epoch_is_refused(world: &World) -> Result<String> {
    let stage = &world.stage;
    let policy = stage.policy()?;
    let epoch = policy["status"]["epoch"].as_i64().unwrap_or(0);
    let stale = if epoch > 0 { epoch - 1 } else { 1 };
    let name = format!("stale-{}", monotonic()?);
    stage.objects.create(
        kinds::OPERATION,
        None,
        json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverOperation",
            "metadata": {"name": name},
            "spec": {
                "policyRef": {"name": stage.policy}, "type": "Switchover", "target": OTHER,
                "expectedEpoch": stale, "reason": "an old file is applied again",
            },
        }),
    )?;
    let ended = stage.await_end(&name)?;
    let status = &ended["status"];
    ensure(status["state"] == "Refused", || {
        format!("the operation says {status}")
    })?;
    ensure(stage.active()? == HOME, || {
        "it moved all the same".to_owned()
    })?;
    Ok(status["message"].as_str().unwrap_or_default().to_owned())
}
