//! Making a standby the primary.

use std::time::Duration;

use domicile_core::facts::{Authority, Epoch, Role};
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, ProviderError};

use crate::world::{World, facts, on_both_versions, place, plan};

on_both_versions!(
    a_promoted_standby_takes_over_with_its_tenants,
    a_standby_of_a_newer_epoch_is_not_promoted,
);

async fn a_promoted_standby_takes_over_with_its_tenants(binaries: &Binaries) {
    let mut world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let (old, new) = (world.provider(), world.provider_of(&standby));
    place(&old, &plan("acme", "u1"), 0).await;
    world
        .as_tenant("acme_a", "acme", "CREATE TABLE t AS SELECT 1 AS n")
        .unwrap();
    // Its own list names a server that is gone: left so, its first commit would hang.
    standby
        .superuser_sql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = 'gone'",
        )
        .unwrap();
    standby
        .superuser_sql("postgres", "SELECT pg_reload_conf()")
        .unwrap();
    old.fence(Epoch(1)).await.unwrap();
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    world.primary.kill().unwrap();

    assert_eq!(new.promote(Epoch(1)).await.unwrap(), Applied::Done);
    assert_eq!(new.promote(Epoch(1)).await.unwrap(), Applied::Already);
    let found = facts(&new).await;
    assert_eq!((found.role, found.timeline), (Role::Primary, 2));
    assert_eq!(found.synchrony.names, "");
    assert_eq!(
        found.authority,
        Some(Authority {
            epoch: Epoch(1),
            writable: false
        })
    );
    world.primary = standby;
    assert!(
        world.as_tenant("acme_a", "acme", "SELECT 1").is_err(),
        "a fence replicates"
    );

    assert_eq!(new.take_authority(Epoch(1)).await.unwrap(), Applied::Done);
    assert_eq!(
        new.take_authority(Epoch(1)).await.unwrap(),
        Applied::Already
    );
    let rows = world.as_tenant(
        "acme_a",
        "acme",
        "INSERT INTO t VALUES (2); SELECT sum(n) FROM t",
    );
    assert_eq!(rows.unwrap(), "3");
    // And it is settled: the same plan costs nothing under the new epoch.
    let before = world.next_transaction();
    place(&new, &plan("acme", "u1"), 1).await;
    assert_eq!(world.next_transaction(), before);
}

/// Faults: 46, 63.
async fn a_standby_of_a_newer_epoch_is_not_promoted(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    world.provider().take_authority(Epoch(7)).await.unwrap();
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    let provider = world.provider_of(&standby);
    let refused = provider.promote(Epoch(6)).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ProviderError::Stale {
                found: Epoch(7),
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(facts(&provider).await.role, Role::Standby);
}
