//! What a tenant left in its database, or set on it, keeps nobody from dropping it.

use domicile_core::facts::Epoch;
use domicile_core::names::Slot;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Class, Dropped};

use crate::world::{World, eventually, on_both_versions, place, plan};

on_both_versions!(
    what_a_tenant_left_or_set_does_not_block_a_drop,
    a_subscription_of_the_tenant_goes_and_its_far_slot_is_told,
    a_slot_that_another_server_is_fed_from_goes,
    a_session_of_a_superuser_is_named_and_nothing_is_touched,
    only_the_logins_of_one_slot_are_closed,
);

/// How many roles and databases are left whose name begins with `acme`.
pub(crate) const LEFT: &str = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acme%')
                         + (SELECT count(*) FROM pg_database WHERE datname LIKE 'acme%')";

/// Faults: 17, 70.
async fn what_a_tenant_left_or_set_does_not_block_a_drop(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "8")]);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    let left = [
        (
            "acme_a",
            "acme",
            "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'it''s \\ \"$$; --'",
        ),
        (
            "acme_a",
            "acme",
            "SET ROLE NONE; BEGIN; SELECT 1; PREPARE TRANSACTION 'as itself'",
        ),
        (
            "acme_ro_a",
            "acme",
            "BEGIN; SELECT 1; PREPARE TRANSACTION 'of the reader'",
        ),
        ("acme_a", "acme", "ALTER DATABASE acme SET role = acme_ro"),
        (
            "acme_a",
            "acme",
            "ALTER DATABASE acme SET default_transaction_read_only = on",
        ),
        // In the maintenance database, where roles cannot be dropped that own something.
        ("acme_a", "postgres", "SELECT lo_create(0)"),
    ];
    for (login, database, sql) in left {
        world.as_tenant(login, database, sql).unwrap();
    }
    std::thread::scope(|scope| {
        let session = world.session(scope, ("acme_ro_a", "acme"), "SELECT pg_sleep(20)");
        // The tenant may do the first three itself, as the owner of its database.
        for sql in [
            "SET ROLE acme; ALTER DATABASE acme IS_TEMPLATE true",
            "SET ROLE acme; ALTER DATABASE acme CONNECTION LIMIT 0",
            "SET ROLE acme; REVOKE CONNECT ON DATABASE acme FROM acme",
            "ALTER DATABASE acme ALLOW_CONNECTIONS false",
        ] {
            world.sql("postgres", sql);
        }
        tokio::task::block_in_place(|| {
            let dropped = provider.drop_tenant(&acme, Epoch(0));
            let dropped = tokio::runtime::Handle::current().block_on(dropped).unwrap();
            let (applied, slots_left) = (Applied::Done, Vec::new());
            assert_eq!(
                dropped,
                Dropped {
                    applied,
                    slots_left
                }
            );
        });
        assert!(session.join().unwrap().is_err());
    });
    assert_eq!(world.sql("postgres", LEFT), "0");
    assert_eq!(
        world.sql("postgres", "SELECT count(*) FROM pg_prepared_xacts"),
        "0"
    );
    let again = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(again.applied, Applied::Already);
    place(&provider, &plan("acme", "u2"), 0).await;
}

/// Faults: 17, 70.
async fn a_subscription_of_the_tenant_goes_and_its_far_slot_is_told(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    // The other server takes connections and says nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let create = format!(
        "CREATE SUBSCRIPTION \"the'irs\" \
         CONNECTION 'host=127.0.0.1 port={port} user=x password=x' PUBLICATION p \
         WITH (connect = false, slot_name = 'far')"
    );
    // Before 16, subscriptions are made by superusers, and only they can end them.
    let version = world.sql("postgres", "SHOW server_version_num");
    if version.parse::<u32>().unwrap() < 160_000 {
        world.sql("acme", &create);
        let error = provider.drop_tenant(&acme, Epoch(0)).await.unwrap_err();
        let told = error.to_string();
        let wanted = "subscription \"the'irs\" of role \"postgres\"";
        assert!(told.contains(wanted), "{told}");
        return;
    }
    world.sql("postgres", "GRANT pg_create_subscription TO acme");
    world.as_tenant("acme_a", "acme", &create).unwrap();
    // A table that is still to be copied: what is known of it there would be asked for.
    world.sql("acme", "CREATE TABLE t ()");
    world.sql(
        "acme",
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
         SELECT oid, 't'::regclass, 'i' FROM pg_subscription",
    );
    let enable = "ALTER SUBSCRIPTION \"the'irs\" ENABLE";
    world.as_tenant("acme_a", "acme", enable).unwrap();
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    let (applied, slots_left) = (Applied::Done, vec!["far".to_owned()]);
    assert_eq!(
        dropped,
        Dropped {
            applied,
            slots_left
        }
    );
    assert_eq!(world.sql("postgres", LEFT), "0");
}

/// Faults: 70.
async fn a_slot_that_another_server_is_fed_from_goes(binaries: &Binaries) {
    let world = World::with(binaries, &[("wal_level", "logical")]);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    world.sql(
        "postgres",
        "CREATE ROLE feed LOGIN REPLICATION PASSWORD 'canary-of-a-feed'",
    );
    world.sql("postgres", "GRANT CONNECT ON DATABASE acme TO feed");
    world.sql("acme", "GRANT USAGE ON SCHEMA public TO feed");
    world.sql("acme", "CREATE PUBLICATION p FOR ALL TABLES");
    let slot = "SELECT pg_create_logical_replication_slot('far', 'pgoutput')";
    world.sql("acme", slot);
    world.sql(
        "acme",
        "SELECT pg_create_logical_replication_slot('idle', 'pgoutput')",
    );
    world.sql("postgres", "CREATE DATABASE reader");
    let (host, port) = (world.primary.address(), world.primary.port());
    let subscribe = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host={host} port={port} dbname=acme user=feed \
         password=canary-of-a-feed sslmode=require' PUBLICATION p \
         WITH (create_slot = false, slot_name = 'far')"
    );
    world.sql("reader", &subscribe);
    let active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'far'";
    eventually("the slot is used", || world.sql("postgres", active) == "t");
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
    assert_eq!(
        world.sql("postgres", "SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
}

/// Faults: 17, 70.
async fn a_session_of_a_superuser_is_named_and_nothing_is_touched(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    let held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(5)%'";
    std::thread::scope(|scope| {
        let session = scope.spawn(|| world.sql("acme", "SELECT pg_sleep(5)"));
        eventually("the session is there", || {
            world.sql("postgres", held) == "1"
        });
        let error = tokio::task::block_in_place(|| {
            let dropped = provider.drop_tenant(&acme, Epoch(0));
            tokio::runtime::Handle::current()
                .block_on(dropped)
                .unwrap_err()
        });
        assert_eq!(
            (error.class(), error.reason()),
            (Class::Transient, "DatabaseBusy")
        );
        let told = error.to_string();
        assert!(told.contains("session with process ID"), "{told}");
        assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
        drop(session.join());
    });
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
}

async fn only_the_logins_of_one_slot_are_closed(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    let close = async |uid: &str| {
        let plan = plan("acme", uid);
        let closed = provider.close_logins(&plan, Slot::A, Epoch(0));
        closed.await.unwrap()
    };
    assert_eq!(close("u2").await, Applied::Already);
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    assert_eq!(close("u1").await, Applied::Done);
    assert_eq!(close("u1").await, Applied::Already);
    for login in ["acme_a", "acme_ro_a"] {
        assert!(
            world.as_tenant(login, "acme", "SELECT 1").is_err(),
            "{login}"
        );
    }
    let stale = provider.close_logins(&acme, Slot::A, Epoch(-1)).await;
    assert_eq!(stale.unwrap_err().reason(), "StaleEpoch");
}
