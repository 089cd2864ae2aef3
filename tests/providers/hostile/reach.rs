//! What a tenant's login reaches beside its own database.

use std::sync::atomic::{AtomicBool, Ordering};

use domicile_core::facts::Epoch;
use domicile_core::names::{Access, Slot};
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, HeldTenant, scram_verifier};
use secrecy::SecretString;

use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    nothing_of_the_server_or_of_others_is_in_a_tenants_reach,
    a_forged_mark_takes_nothing_over_and_drops_nothing,
    a_tenant_sees_nothing_of_what_the_operator_runs,
);

/// All that is not in any one database: roles, memberships, marks, databases, settings.
const SHARED: &str = "
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
  SELECT 'a' || r::text AS line FROM pg_authid r
  UNION ALL SELECT 'm' || m::text FROM pg_auth_members m
  UNION ALL SELECT 'c' || s::text FROM pg_shdescription s
  UNION ALL SELECT 'd' || concat_ws(' ', datname, datdba, datistemplate, datallowconn,
    datconnlimit, datacl) FROM pg_database
  UNION ALL SELECT 's' || s::text FROM pg_db_role_setting s
) AS lines";

/// Each must be refused to the login that writes, in its own database.
const REFUSED: &[&str] = &[
    "CREATE ROLE x",
    "ALTER ROLE acme CREATEROLE",
    "ALTER ROLE acme_a CREATEDB",
    "ALTER ROLE acme_a CONNECTION LIMIT -1",
    "ALTER ROLE acme_a VALID UNTIL 'infinity'",
    "ALTER ROLE acme_b PASSWORD 'x'",
    "ALTER ROLE acme_ro_a PASSWORD 'x'",
    "ALTER ROLE acme_ro_a SET search_path = public",
    "ALTER ROLE globex_a PASSWORD 'x'",
    "ALTER ROLE globex_a SET role = globex_ro",
    "ALTER ROLE domicile_admin PASSWORD 'x'",
    "ALTER ROLE domicile_admin SET search_path = public",
    "ALTER ROLE ALL SET search_path = public",
    "ALTER SYSTEM SET synchronous_standby_names = ''",
    "GRANT acme TO globex_a",
    "GRANT acme_a TO globex_a",
    "GRANT acme_ro TO globex_ro_a",
    "GRANT globex TO acme_a",
    "GRANT domicile_admin TO acme_a",
    "GRANT pg_monitor TO acme_a",
    "GRANT pg_execute_server_program TO acme_a",
    "GRANT pg_signal_backend TO acme_a",
    "COMMENT ON ROLE acme IS 'domicile:u2'",
    "COMMENT ON ROLE globex IS 'domicile:u1'",
    "COMMENT ON DATABASE globex IS 'domicile:u1'",
    "ALTER DATABASE acme RENAME TO other",
    "ALTER DATABASE acme OWNER TO acme_a",
    "ALTER DATABASE globex OWNER TO acme",
    "ALTER DATABASE globex CONNECTION LIMIT 0",
    "ALTER DATABASE globex SET role = globex_ro",
    "ALTER DATABASE postgres SET search_path = public",
    "GRANT CONNECT ON DATABASE globex TO acme",
    "CREATE DATABASE x",
    "CREATE DATABASE x TEMPLATE globex",
    "DROP DATABASE globex",
    "DROP ROLE globex_a",
    "DROP OWNED BY globex",
    "REASSIGN OWNED BY domicile_admin TO acme",
    "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION f()",
    "CREATE EXTENSION dblink",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false)",
    "CREATE LANGUAGE c",
    "CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'libc', 'system'",
    "CREATE CAST (text AS integer) WITHOUT FUNCTION",
    "CREATE FUNCTION pg_catalog.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE pg_catalog.t ()",
    "UPDATE pg_database SET datconnlimit = 0",
    "SET allow_system_table_mods = on",
    "SET session_preload_libraries = 'x'",
    "SET session_replication_role = replica",
    "SET SESSION AUTHORIZATION globex_a",
    "SET ROLE globex",
    "SET ROLE domicile_admin",
    "ALTER DEFAULT PRIVILEGES FOR ROLE domicile_admin GRANT SELECT ON TABLES TO acme",
    "LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE pg_catalog.pg_database IN SHARE MODE",
    "LOCK TABLE pg_catalog.pg_class IN ROW EXCLUSIVE MODE",
    "SELECT * FROM pg_authid",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_import('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SELECT pg_promote()",
    "SELECT pg_reload_conf()",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_create_logical_replication_slot('x', 'pgoutput')",
    "SELECT pg_switch_wal()",
];

/// The same in the maintenance database, in which everybody may log in by PostgreSQL's default.
const REFUSED_OUTSIDE: &[&str] = &[
    "SELECT * FROM domicile.authority",
    "UPDATE domicile.authority SET epoch = 99",
    "LOCK TABLE domicile.authority",
    "CREATE TABLE domicile.t ()",
    "DROP SCHEMA domicile CASCADE",
    "CREATE TABLE public.t ()",
    "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE SCHEMA domicile_admin",
    "CREATE TEMP TABLE t (); ALTER TABLE pg_temp.t SET SCHEMA domicile",
];

/// Faults: 18.
async fn nothing_of_the_server_or_of_others_is_in_a_tenants_reach(binaries: &Binaries) {
    let world = World::with(binaries, &[("wal_level", "logical")]);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let before = world.sql("postgres", SHARED);
    let mut tried = 0;
    for (database, refused) in [("acme", REFUSED), ("postgres", REFUSED_OUTSIDE)] {
        for sql in refused {
            // With the rights of the login, and with those of the owner that it acts as.
            for role in ["NONE", "acme"] {
                let sql = format!("SET ROLE {role}; {sql}");
                let said = world.as_tenant("acme_a", database, &sql);
                assert!(said.is_err(), "{database}: {sql} was not refused");
                tried += 1;
            }
        }
    }
    // What is merely ignored changes nothing either.
    let ended = "SELECT count(*) FROM pg_stat_activity
                 WHERE usename = 'domicile_admin' AND pg_terminate_backend(pid)";
    drop(world.as_tenant("acme_a", "postgres", ended));
    assert_eq!(world.sql("postgres", SHARED), before);
    for (login, database) in [
        ("acme_a", "globex"),
        ("acme_ro_a", "globex"),
        ("globex_a", "acme"),
        ("globex_ro_a", "acme"),
    ] {
        assert!(
            world.as_tenant(login, database, "SELECT 1").is_err(),
            "{login}"
        );
    }
    acme.idle = Some(Slot::B);
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(settled.unwrap().applied, Applied::Already);
    println!("{tried} statements refused");
}

async fn a_forged_mark_takes_nothing_over_and_drops_nothing(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    let forge = "COMMENT ON DATABASE acme IS 'domicile:u2'";
    world.as_tenant("acme_a", "acme", forge).unwrap();
    let held = |database: &str, uid: &str| HeldTenant {
        database: database.into(),
        uid: uid.into(),
    };
    let mine = [held("acme", "u1"), held("globex", "u2")];
    assert_eq!(provider.tenants().await.unwrap(), mine);
    // Whoever holds the forged UID gets nothing of it.
    let stolen = plan("acme", "u2");
    let error = provider
        .ensure_tenant(&stolen, Epoch(0), &verifiers())
        .await;
    assert_eq!(error.unwrap_err().reason(), "DatabaseNameTaken");
    let dropped = provider.drop_tenant(&stolen, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Already);
    let closed = provider.close_logins(&stolen, Slot::A, Epoch(0)).await;
    assert_eq!(closed.unwrap(), Applied::Already);
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(
        settled.unwrap().mended,
        ["database acme had another comment"]
    );
    // Without any comment it is still found, fenced and dropped.
    let bare = "COMMENT ON DATABASE acme IS NULL";
    world.as_tenant("acme_a", "acme", bare).unwrap();
    assert_eq!(provider.tenants().await.unwrap(), mine);
    provider.fence(Epoch(1)).await.unwrap();
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_err());
    provider.take_authority(Epoch(2)).await.unwrap();
    let dropped = provider.drop_tenant(&acme, Epoch(2)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert!(world.as_tenant("globex_a", "globex", "SELECT 1").is_ok());
}

/// Faults: 28.
async fn a_tenant_sees_nothing_of_what_the_operator_runs(binaries: &Binaries) {
    let preload = [("shared_preload_libraries", "pg_stat_statements")];
    let world = World::with(binaries, &preload);
    world.sql("postgres", "CREATE EXTENSION pg_stat_statements");
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    let watched = "SELECT count(*), count(*) FILTER (WHERE query <> '<insufficient privilege>')
                   FROM pg_stat_activity WHERE usename = 'domicile_admin'";
    let done = AtomicBool::new(false);
    let (seen, legible) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut seen, mut legible) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let said = world.as_tenant("acme_a", "postgres", watched).unwrap();
                let (all, read) = said.split_once('|').unwrap();
                seen += all.parse::<u32>().unwrap();
                legible += read.parse::<u32>().unwrap();
            }
            (seen, legible)
        });
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            let verifier = scram_verifier(&SecretString::from(CANARY));
            for _ in 0..40 {
                let (access, slot) = (Access::ReadWrite, Slot::A);
                let one = [(access, verifier.clone())];
                let set = provider.set_passwords(&acme, slot, &one, Epoch(0));
                runtime.block_on(set).unwrap();
                runtime
                    .block_on(provider.ensure_tenant(&acme, Epoch(0), &verifiers()))
                    .unwrap();
                runtime.block_on(facts(&provider));
            }
        });
        done.store(true, Ordering::SeqCst);
        watcher.join().unwrap()
    });
    assert!(seen > 0, "the operator was never seen");
    assert_eq!(legible, 0, "of {seen}");
    // What the statistics keep of statements holds verifiers, never a password, and not for
    // tenants.
    let kept = |what: &str| {
        let sql = format!("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%{what}%'");
        world.sql("postgres", &sql)
    };
    assert_ne!(kept("ALTER ROLE"), "0");
    assert_eq!(kept(CANARY), "0");
    let others = "SELECT count(*) FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
                  WHERE r.rolname = 'domicile_admin' AND query <> '<insufficient privilege>'";
    assert_eq!(world.as_tenant("acme_a", "postgres", others).unwrap(), "0");
    println!("{seen} looks at the operator's sessions, none legible");
}
