//! What a deleted placement left: the next one of the tenant finds it, on whichever server it is.

use domicile_api::conditions::ConditionType;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::capacity::{ROOM, probed, room};
use super::refused::{drop_placement, remove_region};
use super::world::{SOON, SPACE, World, tenant};

/// It was made on the second server while the first took others only.
pub(super) fn what_a_placement_left_is_found_and_adopted(world: &World) {
    let open = json!({});
    world.apply(&room(&json!({ "plans": ["paid"] }), &open));
    probed(world);
    let spec = json!({ "tenantID": "keeper", "region": ROOM });
    world.apply(&tenant("keeper", &spec));
    world.await_ready(SPACE, "keeper", "True", "Placed");
    assert!(world.database_exists("us-east", "tenant_keeper"));
    world.delete(SPACE, "keeper");
    world.await_gone(SPACE, "keeper");
    // Now both take it, the first one first; and the second has no room for another.
    world.apply(&room(&open, &json!({ "maxTenants": 1 })));

    let mut again = spec;
    again["connection"] = json!({ "secretName": "keeper-again" });
    world.apply(&tenant("keeper", &again));
    let taken = (ConditionType::DatabaseReady, "False", "DatabaseNameTaken");
    let told = world.await_condition(SPACE, "keeper", taken);
    assert!(told.contains("`spec.adoption.policy`"), "{told}");
    let status = world.placement(SPACE, "keeper").unwrap().status.unwrap();
    assert_eq!(status.server.as_deref(), Some("b"));
    assert!(!world.database_exists("eu-west", "tenant_keeper"));

    let adopts = json!({ "spec": { "adoption": { "policy": "Adopt" } } });
    world.patch(SPACE, "keeper", &adopts);
    let waits = (ConditionType::DatabaseReady, "False", "AdoptionWaits");
    let told = world.await_condition(SPACE, "keeper", waits);
    let agreed = format!("COMMENT ON ROLE \"tenant_keeper\" IS 'domicile-adopt:{SPACE}/keeper'");
    assert!(told.contains(&agreed), "{told}");
    world.sql("us-east", &agreed);
    world.poke("keeper", "agreed");
    world.await_ready(SPACE, "keeper", "True", "Placed");
    world.await_event(SPACE, "keeper", "Adopted");
    assert!(world.can_log_in("us-east", &world.secret("keeper-again").unwrap()));

    a_status_that_was_lost_is_no_other_server(world);
    drop_placement(world, "keeper");
    assert!(!world.database_exists("us-east", "tenant_keeper"));
    let (secrets, parameters) = (world.secrets(), DeleteParams::default());
    let gone = secrets.delete("keeper-db", &parameters);
    let _ = world.running.block_on(gone).unwrap();
    remove_region(world, ROOM);
}

/// Where no server has a limit, too.
fn a_status_that_was_lost_is_no_other_server(world: &World) {
    let open = json!({});
    world.apply(&room(&open, &open));
    let seen = || {
        let region = world.running.ctx.stores.regions.get(ROOM)?;
        let servers = region.spec.database_servers.iter();
        let open = servers
            .filter(|server| server.max_tenants.is_none())
            .count();
        (open == 2).then_some(())
    };
    world.running.until("no server has a limit", SOON, seen);
    let lost = Patch::Merge(json!({ "status": { "server": null, "activeRegion": null } }));
    let (api, parameters) = (world.placements(SPACE), PatchParams::default());
    let patched = api.patch_status("keeper", &parameters, &lost);
    let status = world.running.block_on(patched).unwrap().status.unwrap();
    assert_eq!(status.server, None);
    world.running.until("its server is found again", SOON, || {
        let status = world.placement(SPACE, "keeper")?.status?;
        let server = status.server?;
        assert_eq!(server, "b");
        Some(())
    });
    world.await_ready(SPACE, "keeper", "True", "Placed");
    assert!(!world.database_exists("eu-west", "tenant_keeper"));
}
