//! Standbys that do not follow: their WAL is gone, or they apply nothing.

use std::time::Duration;

use domicile_core::facts::{Epoch, Role};
use domicile_core::failover::stream_broken;
use domicile_lab::postgres::Binaries;
use domicile_providers::Applied;

use crate::world::{World, eventually, facts, on_both_versions, place, plan};

on_both_versions!(
    a_standby_whose_wal_was_removed_is_one_that_does_not_follow,
    what_was_received_is_told_apart_from_what_was_replayed,
);

/// Faults: 65.
async fn a_standby_whose_wal_was_removed_is_one_that_does_not_follow(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let (west, central) = (world.provider(), world.provider_of(&standby));
    assert!(!stream_broken(&facts(&central).await));
    standby.stop().unwrap();
    for setting in ["max_slot_wal_keep_size = '1MB'", "wal_keep_size = 0"] {
        world.sql("postgres", &format!("ALTER SYSTEM SET {setting}"));
    }
    world.sql("postgres", "SELECT pg_reload_conf()");
    let lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'eu_central'";
    for _ in 0..8 {
        world.sql(
            "postgres",
            "CREATE TABLE more (); DROP TABLE more; SELECT pg_switch_wal()",
        );
        world.sql("postgres", "CHECKPOINT");
    }
    assert_eq!(world.sql("postgres", lost), "lost");
    standby.start().unwrap();
    // It answers, and tries again and again. For the moment of a try it says itself that it
    // streams, which the primary never does, and what it has received stays behind.
    let mut broken = 0;
    for _ in 0..20 {
        let there = facts(&central).await;
        assert_eq!(there.role, Role::Standby);
        broken += u32::from(stream_broken(&there));
        let here = facts(&west).await;
        assert!(there.received.max(Some(there.position)) < Some(here.position));
        let listed = here.senders.iter().any(|sender| sender.streaming);
        assert!(!listed, "{:?}", here.senders);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        broken > 10,
        "it looked as if it followed in {} of 20 looks",
        20 - broken
    );
}

/// What is received is not lost: it is there after the promotion, though nothing was replayed.
///
/// Faults: 66.
async fn what_was_received_is_told_apart_from_what_was_replayed(binaries: &Binaries) {
    let mut world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let (west, central) = (world.provider(), world.provider_of(&standby));
    place(&west, &plan("acme", "u1"), 0).await;
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    standby
        .superuser_sql("postgres", "SELECT pg_wal_replay_pause()")
        .unwrap();
    let paused = "SELECT pg_get_wal_replay_pause_state()";
    eventually("replay is paused", || {
        standby.superuser_sql("postgres", paused).unwrap() == "paused"
    });
    world
        .as_tenant("acme_a", "acme", "CREATE TABLE t AS SELECT 7 AS n")
        .unwrap();
    let written = facts(&west).await.position;
    let mut there = facts(&central).await;
    for _ in 0..100 {
        if there.received >= Some(written) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        there = facts(&central).await;
    }
    assert!(there.received >= Some(written), "{:?}", there.received);
    assert!(there.position < written, "replayed though paused");
    assert!(!stream_broken(&there), "paused is not broken");

    world.primary.kill().unwrap();
    assert_eq!(central.promote(Epoch(1)).await.unwrap(), Applied::Done);
    assert!(facts(&central).await.position >= written);
    central.take_authority(Epoch(1)).await.unwrap();
    world.primary = standby;
    let rows = world.as_tenant("acme_a", "acme", "SELECT n FROM t");
    assert_eq!(rows.unwrap(), "7");
}
