//! What is deleted while something else still needs it, or is about to be made.

use std::time::Duration;

use serde_json::json;

use super::refused::{drop_placement, dropped, expect, remove_region};
use super::world::{EAST, SPACE, World, region, tenant};

/// As where admission is off: the API server would refuse it.
///
/// Faults: 3.
pub(super) fn a_region_that_is_deleted_leaves_its_tenants_as_they_are(world: &World) {
    let spec = |id: &str| json!({ "tenantID": id, "region": "us-east" });
    world.apply(&tenant("stays", &spec("stays")));
    world.await_ready(SPACE, "stays", "True", "Placed");
    let data = world.secret("stays-db").unwrap();
    remove_region(world, "us-east");
    world.poke("stays", "gone");
    expect(world, "stays", "RegionNotFound");
    world.apply(&tenant("late", &spec("late")));
    expect(world, "late", "RegionNotFound");
    assert_eq!(world.secret("late-db"), None);
    assert!(!world.database_exists("us-east", "tenant_late"));
    assert_eq!(world.secret("stays-db").as_ref(), Some(&data));
    assert!(world.can_log_in("us-east", &data));
    // Whoever deleted it by mistake applies it again.
    world.apply(&region("us-east", "US", EAST, "us-east-admin"));
    for name in ["stays", "late"] {
        world.await_ready(SPACE, name, "True", "Placed");
    }
    assert_eq!(world.secret("stays-db"), Some(data));
    for name in ["stays", "late"] {
        drop_placement(world, name);
    }
}

/// At twelve moments from before it is seen until it is served. What was under way then may end
/// after the placement is gone, and must not bring anything back.
///
/// Faults: 88.
pub(super) fn a_placement_that_is_deleted_while_it_is_made_leaves_nothing(world: &World) {
    let rest = |milliseconds| {
        let pause = Duration::from_millis(milliseconds);
        world.running.block_on(world.running.ctx.clock.sleep(pause));
    };
    let names: Vec<String> = (0..12).map(|n| format!("hasty-{n}")).collect();
    for (name, moment) in names.iter().zip(0_u64..) {
        world.apply(&tenant(name, &dropped(name)));
        rest(moment * 100);
        world.delete(SPACE, name);
    }
    for name in &names {
        world.await_gone(SPACE, name);
    }
    // One that was served before its deletion: the moments reach far enough.
    world.apply(&tenant("hasty", &dropped("hasty")));
    world.await_ready(SPACE, "hasty", "True", "Placed");
    world.delete(SPACE, "hasty");
    world.await_gone(SPACE, "hasty");
    rest(3_000);
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant_hasty%'";
    assert_eq!(world.sql("eu-west", left), "0");
    assert_eq!(world.roles("eu-west", "tenant_hasty"), "0");
    for name in &names {
        assert_eq!(world.secret(&format!("{name}-db")), None, "{name}");
    }
}
