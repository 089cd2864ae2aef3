//! A tenant that is as it should be costs next to nothing.

use std::time::Duration;

use domicile_operator::telemetry::ControllerLabels;

use super::world::{SOON, World};

/// What makes it looks at it: one session in its database as its owner, and one for each of its two
/// logins. One more is the test's own.
pub(super) fn a_new_tenant_is_looked_at_once(world: &World) {
    let before = passes(world);
    world.running.until("two passes more", SOON, || {
        (passes(world) > before + 1).then_some(())
    });
    let sql = "SELECT sessions FROM pg_stat_database WHERE datname = 'tenant_acme'";
    assert_eq!(world.sql("eu-west", sql), "4");
}

/// Ten passes, forced by an annotation: not one write to the API server, not one transaction that
/// writes to the database.
pub(super) fn a_settled_world_writes_nothing(world: &World) {
    let running = &world.running;
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    running.block_on(running.ctx.clock.sleep(Duration::from_secs(4)));
    let writes = running.writes();
    let transactions = world.sql("eu-west", next);
    for round in 1..=10 {
        let before = passes(world);
        world.poke("acme", &round.to_string());
        running.until("a pass", SOON, || (passes(world) > before).then_some(()));
        running.block_on(running.ctx.clock.sleep(Duration::from_millis(300)));
    }
    assert!(!writes.is_empty(), "the audit log tells of no write at all");
    assert_eq!(running.writes()[writes.len()..], [] as [String; 0]);
    assert_eq!(world.sql("eu-west", next), transactions);
    // The measure works: a write is seen.
    world.sql("eu-west", "CREATE ROLE probe; DROP ROLE probe");
    assert_ne!(world.sql("eu-west", next), transactions);
}

/// How many passes over placements there were.
fn passes(world: &World) -> u64 {
    let controller = ControllerLabels {
        controller: "placement".to_owned(),
    };
    let passes = &world.running.ctx.metrics.reconciles;
    passes.get_or_create(&controller).get()
}
