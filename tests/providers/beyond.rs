//! What a tenant's roles hold outside of its database when it is dropped: others' data stays.

use std::time::Duration;

use domicile_core::facts::Epoch;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Generic, TenantPlan};

use crate::drop::LEFT;
use crate::world::{World, eventually, on_both_versions, place, plan};

on_both_versions!(
    what_a_tenants_roles_own_elsewhere_is_named_and_never_dropped,
    rights_that_others_gave_are_named_when_they_cannot_be_taken_back,
    what_everybody_may_make_anywhere_does_not_block_a_drop,
    what_another_than_the_owner_granted_keeps_the_roles_alone,
    another_tenant_cannot_keep_a_tenants_data,
    one_that_lets_a_session_wait_cannot_either,
);

const TABLE: &str = "CREATE TABLE kept AS SELECT 7 AS n";

/// A drop that is refused, and touches nothing; what it says.
async fn blocked(world: &World, provider: &Generic, acme: &TenantPlan) -> String {
    let error = provider.drop_tenant(acme, Epoch(0)).await.unwrap_err();
    assert_eq!(error.reason(), "DatabaseBusy", "{error}");
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    error.to_string()
}

async fn what_a_tenants_roles_own_elsewhere_is_named_and_never_dropped(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    // Made by a superuser: a second database of the owner, and one that is shared.
    for sql in [
        "CREATE ROLE keeper",
        "CREATE DATABASE staging OWNER acme",
        "CREATE DATABASE shared",
    ] {
        world.sql("postgres", sql);
    }
    for (database, role) in [
        ("staging", "acme"),
        ("shared", "acme_a"),
        ("postgres", "acme_ro_a"),
    ] {
        let open = format!("GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role}; {TABLE}");
        let close = format!("RESET ROLE; REVOKE CREATE ON SCHEMA public FROM {role}");
        world.sql(database, &format!("{open}; {close}"));
    }
    let kept = || {
        for database in ["staging", "shared", "postgres"] {
            let rows = world.sql(database, "SELECT n FROM public.kept");
            assert_eq!(rows, "7", "{database}");
        }
    };
    let told = blocked(&world, &provider, &acme).await;
    kept();
    assert!(told.contains("domicile.dev/skip-cleanup=true"), "{told}");
    let database = "ALTER DATABASE \"staging\" OWNER TO ";
    let objects = |role: &str| {
        let own = "ALTER DATABASE \"acme\" OWNER TO \"acme\"; COMMIT";
        let begin = format!("BEGIN; REASSIGN OWNED BY \"{role}\" TO ");
        (begin, own)
    };
    assert!(told.contains(&format!("{database}another role")), "{told}");
    world.sql("postgres", &format!("{database}keeper"));
    // Each step is done as it is told, and what is left is told then.
    for (place, role) in [
        ("staging", "acme"),
        ("shared", "acme_a"),
        ("postgres", "acme_ro_a"),
    ] {
        let told = blocked(&world, &provider, &acme).await;
        assert!(!told.contains(database), "{told}");
        let named = format!("objects of \"{role}\" in database \"{place}\"");
        assert!(told.contains(&named), "{told}");
        let (begin, own) = objects(role);
        let step = format!("{begin}another role; {own}");
        assert!(told.contains(&step), "{told}");
        world.sql(place, &format!("{begin}keeper; {own}"));
    }
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
    kept();
}

/// What a superuser granted on a superuser's things, the login passes over with a warning.
async fn rights_that_others_gave_are_named_when_they_cannot_be_taken_back(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    world.sql("postgres", "CREATE DATABASE shared");
    for database in ["shared", "postgres"] {
        world.sql(database, "GRANT CREATE ON SCHEMA public TO acme_a");
    }
    // One after the other: the maintenance database comes last.
    for database in ["shared", "postgres"] {
        let error = provider.drop_tenant(&acme, Epoch(0)).await.unwrap_err();
        assert_eq!(error.reason(), "DatabaseBusy", "{error}");
        let told = error.to_string();
        let named = format!("rights of \"acme_a\" in database \"{database}\"");
        assert!(told.contains(&named), "{told}");
        assert!(told.contains("DROP OWNED BY \"acme_a\""), "{told}");
        world.sql(database, "DROP OWNED BY \"acme_a\"");
    }
    // What is in no database is told with the maintenance database.
    for right in [
        "CONNECT ON DATABASE postgres",
        "CREATE ON TABLESPACE pg_default",
        "SET ON PARAMETER log_min_messages",
    ] {
        world.sql("postgres", &format!("GRANT {right} TO acme_a"));
        let error = provider.drop_tenant(&acme, Epoch(0)).await.unwrap_err();
        let told = error.to_string();
        assert_eq!(error.reason(), "DatabaseBusy", "{told}");
        let named = "rights of \"acme_a\" in database \"postgres\", or on databases";
        assert!(told.contains(named), "{right}: {told}");
        world.sql("postgres", "DROP OWNED BY \"acme_a\"");
    }
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
}

/// Else a tenant could keep its own end away.
async fn what_everybody_may_make_anywhere_does_not_block_a_drop(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    world.sql("postgres", "CREATE DATABASE shared");
    let make = "SELECT lo_create(0); ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC";
    let hold = "CREATE TEMP TABLE t (n int); CREATE FUNCTION pg_temp.f() RETURNS int
                LANGUAGE sql AS 'SELECT 1'; SELECT pg_sleep(20)";
    for database in ["shared", "postgres"] {
        world.as_tenant("acme_a", database, make).unwrap();
    }
    let temporary = "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                     WHERE r.rolname IN ('acme_a', 'acme_ro_a') AND c.relpersistence = 't'";
    std::thread::scope(|scope| {
        let sessions = [("acme_a", "shared"), ("acme_ro_a", "postgres")];
        let sessions = sessions.map(|who| (who.1, world.session(scope, who, hold)));
        for (database, _) in &sessions {
            eventually("the temporary table is there", || {
                world.sql(database, temporary) == "1"
            });
        }
        let dropped = tokio::task::block_in_place(|| {
            let dropped = provider.drop_tenant(&acme, Epoch(0));
            tokio::runtime::Handle::current().block_on(dropped)
        });
        assert_eq!(dropped.unwrap().applied, Applied::Done);
        for (_, session) in sessions {
            assert!(session.join().unwrap().is_err());
        }
    });
    assert_eq!(world.sql("postgres", LEFT), "0");
}

/// A drop that only the rights in the database of globex keep from its end: acme's own is gone.
fn kept_roles(provider: &Generic, acme: &TenantPlan, world: &World) -> String {
    let runtime = tokio::runtime::Handle::current();
    let dropped =
        tokio::task::block_in_place(|| runtime.block_on(provider.drop_tenant(acme, Epoch(0))));
    let error = dropped.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.reason(), "DatabaseBusy", "{told}");
    assert!(told.contains("in database \"globex\""), "{told}");
    let open = "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'acme'),
                       (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acme%' AND rolcanlogin)";
    assert_eq!(world.sql("postgres", open), "0|0", "{told}");
    told
}

/// Grants rights to a tenant in the database of another one.
async fn granted(world: &World, provider: &Generic) -> TenantPlan {
    let acme = plan("acme", "u1");
    place(provider, &acme, 0).await;
    place(provider, &plan("globex", "u2"), 0).await;
    let grant = "CREATE TABLE t (); GRANT SELECT ON t TO acme, acme_ro_a";
    world.as_tenant("globex_a", "globex", grant).unwrap();
    acme
}

/// By a login itself on what is its own, and by who was granted something with the option.
async fn what_another_than_the_owner_granted_keeps_the_roles_alone(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = granted(&world, &provider).await;
    let own = "SET ROLE NONE; CREATE TABLE own (); GRANT SELECT ON own TO acme_a";
    world.as_tenant("globex_a", "globex", own).unwrap();
    let option = "GRANT SELECT ON t TO globex_ro_b WITH GRANT OPTION";
    world.as_tenant("globex_a", "globex", option).unwrap();
    let others = "SET ROLE globex_ro_b; GRANT SELECT ON t TO acme_a";
    world.sql("globex", others);
    // The first step takes back what an owner granted, and the second one the rest.
    for (table, step) in [
        ("own", "DROP OWNED BY \"acme_a\""),
        ("t", "SET ROLE globex_ro_b; REVOKE SELECT ON t FROM acme_a"),
    ] {
        let told = kept_roles(&provider, &acme, &world);
        for part in ["(there: DROP OWNED BY \"acme_a\"", "SET ROLE", "REVOKE"] {
            assert!(told.contains(part), "{told}");
        }
        let reads = format!("SELECT has_table_privilege('acme_a', '{table}', 'SELECT')");
        assert_eq!(world.sql("globex", &reads), "t", "{table}");
        world.sql("globex", step);
        assert_eq!(world.sql("globex", &reads), "f", "{table}");
    }
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
}

async fn another_tenant_cannot_keep_a_tenants_data(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = granted(&world, &provider).await;
    for (shut, again) in [
        ("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
    ] {
        let alter = |how: &str| {
            let sql = format!("ALTER DATABASE globex {how}");
            world.as_tenant("globex_a", "postgres", &sql).unwrap();
        };
        alter(shut);
        let told = kept_roles(&provider, &acme, &world);
        println!("{told}");
        alter(again);
    }
    let half = "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'globex'";
    world.sql("postgres", half);
    println!("{}", kept_roles(&provider, &acme, &world));
    world.sql("postgres", &half.replace("-2", "-1"));
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
}

/// Who owns a database may wait for a lock on its catalogue, and whoever comes then waits behind.
async fn one_that_lets_a_session_wait_cannot_either(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider().with_deadline(Duration::from_secs(4));
    let acme = granted(&world, &provider).await;
    let hold = "BEGIN; SELECT count(*) FROM pg_class; SELECT pg_sleep(20)";
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_class'::regclass
                 AND mode = 'AccessExclusiveLock' AND NOT granted";
    std::thread::scope(|scope| {
        let who = ("globex_a", "globex");
        let held = world.session(scope, who, hold);
        let held = [held, world.session(scope, who, "VACUUM FULL pg_class")];
        eventually("the catalogue is locked", || {
            world.sql("postgres", waits) == "1"
        });
        println!("{}", kept_roles(&provider, &acme, &world));
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE usename = 'globex_a'";
        world.sql("postgres", end);
        for session in held {
            assert!(session.join().unwrap().is_err());
        }
    });
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("postgres", LEFT), "0");
}
