//! The policy of a tenant becomes one that this version cannot read.

use std::time::Duration;

use domicile_api::conditions::ConditionType;
use domicile_api::placement_status::DataCopy;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::modes::{KNOWN, MODES, allow_modes, policies};
use crate::world::{SOON, SPACE, World};

/// It is not taken for one that is gone: what it may say is not known, and nothing is changed.
pub(super) fn nothing_changes_while_the_policy_cannot_be_read(world: &World) {
    let running = &world.running;
    let secret = world.secret("mover-db").unwrap();
    let template = || world.deployment("mover")["spec"]["template"].clone();
    let (workload, known) = (template(), copies(world));
    assert!(known.len() > 1, "{known:?}");
    allow_modes(running, &MODES);
    turn(world, "Telepathic");
    let hidden = |type_, status| {
        let told = world.await_condition(SPACE, "mover", (type_, status, "InvalidObject"));
        let fact = "FailoverPolicy eu cannot be read by this version of Domicile";
        assert!(told.contains(fact), "{told}");
    };
    // Nobody asks for a pass: the policy itself is the news.
    hidden(ConditionType::Ready, "False");
    hidden(ConditionType::FailoverProtected, "Unknown");
    hidden(ConditionType::ResidencyCompliant, "Unknown");
    world.poke("mover", "obscured");
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(2)));
    hidden(ConditionType::Ready, "False");
    assert_eq!(copies(world), known);
    assert_eq!(world.secret("mover-db").unwrap(), secret);
    assert_eq!(template(), workload);

    turn(world, "Automatic");
    world.await_ready(SPACE, "mover", "True", "Placed");
    let within = (
        ConditionType::ResidencyCompliant,
        "True",
        "WithinJurisdiction",
    );
    world.await_condition(SPACE, "mover", within);
    assert_eq!(copies(world), known);
    assert_eq!(world.secret("mover-db").unwrap(), secret);
    allow_modes(running, &MODES[..KNOWN]);
}

/// Gives the policy a mode, and waits until the operator has seen it.
fn turn(world: &World, mode: &str) {
    let running = &world.running;
    let patch: Patch<Value> = Patch::Merge(json!({ "spec": { "mode": mode } }));
    let api = policies(&running.admin);
    let _ = running
        .block_on(api.patch("eu", &PatchParams::default(), &patch))
        .unwrap();
    let readable = MODES[..KNOWN].contains(&mode);
    running.until(&format!("the mode {mode} is seen"), SOON, || {
        let seen = running.ctx.stores.policies.get("eu");
        (seen.is_some() == readable).then_some(())
    });
}

fn copies(world: &World) -> Vec<DataCopy> {
    let status = world.placement(SPACE, "mover").unwrap().status.unwrap();
    status.copies
}
