//! What a tenant holds on to: locks, transactions, connections, rights on others.

use std::time::Duration;

use domicile_core::facts::Epoch;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Generic};
use tokio::time::{Instant, timeout};

use crate::world::{World, eventually, on_both_versions, place, plan, verifiers};

on_both_versions!(
    a_role_that_is_held_in_a_transaction_stops_no_move,
    a_role_that_is_held_in_a_prepared_transaction_stops_no_move,
    a_database_that_is_closed_over_a_prepared_transaction_stops_no_move,
    one_prepared_transaction_that_stays_keeps_no_other,
    what_a_tenant_locks_holds_up_nobody_else,
    what_tenants_hold_of_each_other_does_not_block_a_drop,
    full_connections_leave_some_to_the_operator_on_16_and_newer,
);

/// The session is there before the role is closed, where it is.
const HOLD: &str = "SET ROLE NONE; SELECT pg_sleep(1); BEGIN; ALTER ROLE acme_a PASSWORD 'held'; ";

/// Longest that an effect may take when a tenant is in its way; it waits 500 ms at a time.
const SOON: Duration = Duration::from_secs(4);

/// Drains, opens, fences and opens again, each time with the tenant in the way: `held` tells how
/// many of its transactions are.
fn moves(world: &World, provider: &Generic, then: &str, held: &str) {
    let runtime = tokio::runtime::Handle::current();
    let hold = format!("{HOLD}{then}");
    for (epoch, step) in (1..).zip(["drain", "open", "fence", "open"]) {
        std::thread::scope(|scope| {
            world.sql("postgres", "ALTER ROLE acme_a LOGIN");
            let session = world.session(scope, ("acme_a", "postgres"), &hold);
            if step == "open" {
                world.sql("postgres", "ALTER ROLE acme_a NOLOGIN");
            }
            eventually("the role is held", || world.sql("postgres", held) == "1");
            let began = Instant::now();
            let done = runtime.block_on(async {
                match step {
                    "drain" => provider.drain(Epoch(epoch)).await.map(drop),
                    "fence" => provider.fence(Epoch(epoch)).await.map(drop),
                    _ => provider.take_authority(Epoch(epoch)).await.map(drop),
                }
            });
            let took = began.elapsed();
            done.unwrap_or_else(|error| panic!("{step} after {took:?}: {error}"));
            assert!(took < SOON, "{step} took {took:?}");
            println!("{step} past a held role: {} ms", took.as_millis());
            drop(session.join());
        });
        let opened = if step == "open" { "t|t" } else { "f|f" };
        let can = "SELECT a.rolcanlogin, b.rolcanlogin FROM pg_roles a, pg_roles b
                   WHERE a.rolname = 'acme_a' AND b.rolname = 'globex_a'";
        assert_eq!(world.sql("postgres", can), opened, "{step}");
    }
}

async fn a_role_that_is_held_in_a_transaction_stops_no_move(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let held = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                WHERE relation = 'pg_authid'::regclass AND mode = 'RowExclusiveLock'
                  AND a.usename = 'acme_a'";
    tokio::task::block_in_place(|| moves(&world, &provider, "SELECT pg_sleep(30)", held));
    assert!(world.as_tenant("globex_a", "globex", "SELECT 1").is_ok());
}

async fn a_role_that_is_held_in_a_prepared_transaction_stops_no_move(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "8")]);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let mine = "BEGIN; SELECT 1; PREPARE TRANSACTION 'of another'";
    world.as_tenant("globex_a", "globex", mine).unwrap();
    let held = "SELECT count(*) FROM pg_prepared_xacts WHERE owner = 'acme_a'";
    let then = "PREPARE TRANSACTION 'it''s \\ held'";
    tokio::task::block_in_place(|| moves(&world, &provider, then, held));
    // What holds no role is nobody's business.
    let left = "SELECT string_agg(gid, ' ') FROM pg_prepared_xacts";
    assert_eq!(world.sql("postgres", left), "of another");
    assert!(world.as_tenant("globex_a", "globex", "SELECT 1").is_ok());
}

/// A login's role, held by a transaction that is prepared in a database.
fn prepare(world: &World, login: &str, database: &str, gid: &str) {
    let sql = format!(
        "SET ROLE NONE; BEGIN; ALTER ROLE {login} PASSWORD 'held'; PREPARE TRANSACTION '{gid}'"
    );
    world.as_tenant(login, database, &sql).unwrap();
}

const PREPARED: &str = "SELECT coalesce(string_agg(gid, ' ' ORDER BY gid), '')
                        FROM pg_prepared_xacts";

async fn a_database_that_is_closed_over_a_prepared_transaction_stops_no_move(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "8")]);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let closes = [
        "ALTER DATABASE acme ALLOW_CONNECTIONS false",
        "ALTER DATABASE acme CONNECTION LIMIT 0",
        "REVOKE CONNECT ON DATABASE acme FROM acme, acme_ro, PUBLIC",
    ];
    for (epoch, close) in (1..).step_by(2).zip(closes) {
        for login in ["acme_a", "acme_ro_a"] {
            prepare(&world, login, "acme", login);
        }
        world.as_tenant("acme_a", "postgres", close).unwrap();
        let said = world.as_tenant("acme_a", "acme", "SELECT 1");
        assert!(said.is_err(), "it is closed by {close}");
        let drained = provider.drain(Epoch(epoch)).await;
        assert_eq!(drained.unwrap(), Applied::Done, "{close}");
        assert_eq!(world.sql("postgres", PREPARED), "", "{close}");
        let back = provider.take_authority(Epoch(epoch + 1)).await;
        assert_eq!(back.unwrap(), Applied::Done, "{close}");
        place(&provider, &plan("acme", "u1"), epoch + 1).await;
    }
    // A limit that is no end in itself stays.
    world.sql("postgres", "ALTER DATABASE acme CONNECTION LIMIT 1");
    prepare(&world, "acme_a", "acme", "limited");
    std::thread::scope(|scope| {
        let session = world.session(scope, ("acme_ro_a", "acme"), "SELECT pg_sleep(20)");
        let there = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'acme_ro_a'";
        eventually("it is in", || world.sql("postgres", there) == "1");
        let said = world.as_tenant("acme_a", "acme", "SELECT 1");
        assert!(said.is_err(), "the database is full");
        let runtime = tokio::runtime::Handle::current();
        let drained = tokio::task::block_in_place(|| runtime.block_on(provider.drain(Epoch(9))));
        assert_eq!(drained.unwrap(), Applied::Done);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE usename = 'acme_ro_a'";
        world.sql("postgres", end);
        drop(session.join());
    });
    let limit = "SELECT datconnlimit FROM pg_database WHERE datname = 'acme'";
    assert_eq!(world.sql("postgres", PREPARED), "");
    assert_eq!(world.sql("postgres", limit), "1");
}

async fn one_prepared_transaction_that_stays_keeps_no_other(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "8")]);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    // A database of nobody's, which Domicile must not open.
    world.sql("postgres", "CREATE DATABASE shared");
    prepare(&world, "acme_a", "shared", "first");
    prepare(&world, "globex_a", "globex", "second");
    let allow = |word| format!("ALTER DATABASE shared ALLOW_CONNECTIONS {word}");
    world.sql("postgres", &allow("false"));
    let error = provider.drain(Epoch(1)).await.unwrap_err();
    assert!(error.to_string().contains("shared"), "{error}");
    assert_eq!(world.sql("postgres", PREPARED), "first");
    world.sql("postgres", &allow("true"));
    assert_eq!(provider.drain(Epoch(1)).await.unwrap(), Applied::Done);
    assert_eq!(world.sql("postgres", PREPARED), "");
}

async fn what_a_tenant_locks_holds_up_nobody_else(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    // A grant that does not end holds the row of the schema, which a mend must change.
    world.sql("acme", "REVOKE USAGE ON SCHEMA public FROM acme_ro");
    let lock = "BEGIN; GRANT CREATE ON SCHEMA public TO acme_ro; SELECT pg_sleep(6)";
    std::thread::scope(|scope| {
        let session = world.session(scope, ("acme_a", "acme"), lock);
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async {
                let verifiers = verifiers();
                let own = provider.ensure_tenant(&acme, Epoch(0), &verifiers);
                let others = async {
                    let moment = Duration::from_millis(150);
                    drop(timeout(moment, std::future::pending::<()>()).await);
                    world.sql("postgres", "ALTER ROLE globex_a NOLOGIN");
                    let began = Instant::now();
                    let other = provider.ensure_tenant(&globex, Epoch(0), &verifiers).await;
                    (other, began.elapsed())
                };
                let (own, (other, took)) = futures::join!(own, others);
                assert_eq!(own.unwrap_err().reason(), "DatabaseBusy");
                assert_eq!(other.unwrap().applied, Applied::Done);
                assert!(took < Duration::from_secs(2), "{took:?}");
                println!("another tenant waited {} ms", took.as_millis());
            });
        });
        drop(session.join());
    });
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(settled.unwrap().applied, Applied::Done);
}

/// Faults: 17, 70.
async fn what_tenants_hold_of_each_other_does_not_block_a_drop(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "8")]);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    world.sql("postgres", "CREATE DATABASE shared");
    let done = [
        // Another tenant names it in rights of its own: no role goes that is named anywhere.
        (
            "globex_a",
            "globex",
            "CREATE TABLE t AS SELECT 1 AS n; GRANT SELECT ON t TO acme, acme_ro_a;
             GRANT SELECT ON t TO globex_ro; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             CREATE POLICY p ON t TO acme_a; GRANT USAGE ON SCHEMA public TO acme_a;
             ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO acme_ro;
             GRANT CONNECT ON DATABASE globex TO acme",
        ),
        // It owns something in databases that are nobody's.
        ("acme_a", "template1", "SELECT lo_create(0)"),
        ("acme_ro_a", "shared", "SELECT lo_create(0)"),
        (
            "acme_a",
            "postgres",
            "SET ROLE NONE; BEGIN; ALTER ROLE acme_a PASSWORD 'held'; PREPARE TRANSACTION 'p'",
        ),
    ];
    for (login, database, sql) in done {
        world.as_tenant(login, database, sql).unwrap();
    }
    std::thread::scope(|scope| {
        // A lock on the database itself, from outside of it.
        let lock = "BEGIN; ALTER DATABASE acme SET work_mem = '1MB'; SELECT pg_sleep(20)";
        let session = world.session(scope, ("acme_ro_a", "shared"), "SELECT pg_sleep(20)");
        let other = scope.spawn(|| world.as_tenant("acme_a", "postgres", lock));
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            let began = Instant::now();
            let dropped = runtime.block_on(provider.drop_tenant(&acme, Epoch(0)));
            assert_eq!(dropped.unwrap().applied, Applied::Done);
            println!("dropped in {} ms", began.elapsed().as_millis());
        });
        assert!(session.join().unwrap().is_err());
        drop(other.join());
    });
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acme%')
                     + (SELECT count(*) FROM pg_database WHERE datname LIKE 'acme%')";
    assert_eq!(world.sql("postgres", left), "0");
    // What the other tenant has of its own is as it was.
    assert_eq!(
        world
            .as_tenant("globex_a", "globex", "SELECT n FROM t")
            .unwrap(),
        "1"
    );
    let reads = "SELECT has_table_privilege('globex_ro', 't', 'SELECT'), count(*) FROM pg_policy";
    assert_eq!(world.sql("globex", reads), "t|0");
    let settled = provider
        .ensure_tenant(&globex, Epoch(0), &verifiers())
        .await;
    assert_eq!(settled.unwrap().applied, Applied::Already);
}

/// Faults: 57.
async fn full_connections_leave_some_to_the_operator_on_16_and_newer(binaries: &Binaries) {
    let version = World::new(binaries).sql("postgres", "SHOW server_version_num");
    let few = [("max_connections", "12"), ("reserved_connections", "3")];
    let secure = version.parse::<u32>().unwrap() >= 160_000;
    let world = World::with(binaries, &few[..=usize::from(secure)]);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.access[0].1 = 200;
    place(&provider, &acme, 0).await;
    // The tenant takes all that is to be had.
    std::thread::scope(|scope| {
        let full = || {
            // One more each time: a client that gives up leaves its session asleep.
            scope.spawn(|| world.as_tenant("acme_a", "acme", "SELECT pg_sleep(60)"));
            let said = world.as_tenant("acme_ro_a", "acme", "SELECT 1");
            said.is_err_and(|error| error.contains("connection slots"))
        };
        eventually("all connections are taken", full);
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            let look = runtime.block_on(provider.ensure_tenant(&acme, Epoch(0), &verifiers()));
            if secure {
                assert_eq!(look.unwrap().applied, Applied::Already);
                let fenced = runtime.block_on(provider.fence(Epoch(1))).unwrap();
                assert_eq!(fenced.sessions_left, 0);
            } else {
                assert_eq!(look.unwrap_err().reason(), "TooManyConnections");
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE usename = 'acme_a'";
                world.sql("postgres", end);
            }
        });
    });
}
