//! Many tenants of one server that does not answer, and one of another.

use domicile_api::conditions::{ConditionType, find};
use domicile_lab::regions::How;
use serde_json::json;

use super::refused::drop_placement;
use super::world::{SPACE, World, tenant};

const SILENT: &str = "us-east";

/// More than there are workers.
const CROWD: usize = 12;

pub(super) fn a_server_that_is_silent_holds_up_its_own_tenants_alone(world: &World) {
    let crowd: Vec<String> = (0..CROWD).map(|n| format!("crowd-{n}")).collect();
    for name in &crowd {
        let spec = json!({ "tenantID": name, "region": SILENT });
        world.apply(&tenant(name, &spec));
    }
    for name in &crowd {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    let regions = world.running.lab.regions();
    regions.lose(SILENT, How::Freeze).unwrap();
    for name in &crowd {
        world.poke(name, "crowd");
    }
    let spec = json!({ "tenantID": "alone", "region": "eu-west" });
    world.apply(&tenant("alone", &spec));
    world.await_ready(SPACE, "alone", "True", "Placed");
    // It had no need to wait until one of the crowd gave up.
    for name in &crowd {
        let status = world.placement(SPACE, name).unwrap().status.unwrap();
        let ready = find(&status.conditions, ConditionType::DatabaseReady).unwrap();
        assert_eq!(ready.reason, "Provisioned", "{name}: {}", ready.message);
    }
    world.await_region(SILENT, "ProbeTimedOut");
    regions.restore(SILENT).unwrap();
    world.await_region(SILENT, "Serving");
    for name in &crowd {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    // Each that waited for its turn gets one.
    for name in crowd.iter().chain(&["alone".to_owned()]) {
        drop_placement(world, name);
    }
}
