//! Standbys that do not follow: their WAL is gone, or they apply nothing.

use std::process::Command;
use std::time::Duration;

use domicile_core::facts::{Epoch, Facts, Role};
use domicile_core::failover::stream_broken;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Generic};

use crate::world::{World, eventually, facts, on_both_versions, place, plan, system};

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

/// A second client under the standby's name, from another address: commits wait for whichever of
/// the two the server chose. The lab's version 18 has no program that streams beside a standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_either_of_two_standbys_wait_for_none_of_them() {
    let binaries = system();
    let world = World::new(&binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let west = world.provider();
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    let name = facts(&west).await.senders[0].name.clone();
    let sql = |sql: &str| world.sql("postgres", sql);
    let hba = sql("SHOW hba_file");
    let mut rules = std::fs::read_to_string(&hba).unwrap();
    rules.push_str("local replication all trust\n");
    std::fs::write(&hba, rules).unwrap();
    sql(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = '\"{name}\"'"
    ));
    sql("SELECT pg_reload_conf()");
    until(&west, "the standby is waited for", |facts| {
        facts.senders[0].synchronous
    })
    .await;
    assert!(!facts(&west).await.synchrony.relaxed);
    let folder = tempfile::tempdir().unwrap();
    let target = format!(
        "host={} port={} user={} application_name={name}",
        sql("SHOW unix_socket_directories"),
        world.primary.port(),
        sql("SELECT session_user"),
    );
    let mut other = Command::new(binaries.program("pg_receivewal"))
        .args(["--synchronous", "--no-loop", "--directory"])
        .arg(folder.path())
        .args(["--dbname", &target])
        .spawn()
        .unwrap();
    until(&west, "both stream", |facts| {
        facts.senders.iter().filter(|one| one.streaming).count() == 2
    })
    .await;
    assert!(facts(&west).await.synchrony.relaxed);
    other.kill().unwrap();
    other.wait().unwrap();
    until(&west, "one is left", |facts| !facts.synchrony.relaxed).await;
}

async fn until(provider: &Generic, what: &str, holds: impl Fn(&Facts) -> bool) {
    for _ in 0..200 {
        if holds(&facts(provider).await) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within 10 s: {what}");
}
