//! Code that a tenant planted in its database must not run with the operator's rights.

use domicile_core::facts::Epoch;
use domicile_core::names::{Access, Slot};
use domicile_lab::postgres::{ADMIN, Binaries};
use domicile_providers::{Applied, Generic, TenantPlan, scram_verifier};
use secrecy::SecretString;

use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    everything_that_is_shadowed_stays_unused,
    what_event_triggers_run_has_no_rights_to_take,
    a_drop_runs_no_event_trigger_of_a_tenant,
);

/// A trap that tells whether Domicile's login stepped into it, beyond any rollback, and that then
/// makes the tenant's login an administrator.
const TRAP: &str = "
CREATE SEQUENCE public.tripped;
GRANT ALL ON SEQUENCE public.tripped TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;
CREATE FUNCTION public.spring() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN
  IF pg_catalog.starts_with(session_user::pg_catalog.text, 'domicile') THEN
    PERFORM pg_catalog.nextval('public.tripped'::pg_catalog.regclass);
    EXECUTE 'RESET ROLE';
    EXECUTE 'ALTER ROLE acme_a CREATEROLE CREATEDB';
  END IF;
END $f$;
CREATE SCHEMA acme_a; CREATE SCHEMA acme;
";

/// Everything in `pg_catalog` that a statement can name, once more, in the schemas that a default
/// `search_path` knows: functions and operators of the same arguments, relations, types.
const SHADOWS: &str = r"
SET search_path = pg_catalog;
DO $do$ DECLARE s text; f record; n int := 0; BEGIN
FOREACH s IN ARRAY ARRAY['$schema'] LOOP
  FOR f IN SELECT p.proname, p.proretset, pg_get_function_identity_arguments(p.oid) AS args,
      pg_get_function_result(p.oid) AS result
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
  LOOP BEGIN
    EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', s, f.proname,
      f.args, f.result, CASE WHEN f.proretset THEN 'BEGIN PERFORM public.spring(); RETURN; END'
        ELSE 'BEGIN PERFORM public.spring(); RETURN NULL; END' END);
    n := n + 1;
  EXCEPTION WHEN others THEN NULL; END; END LOOP;
  FOR f IN SELECT o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r,
      format_type(o.oprresult, NULL) AS result, o.oid
    FROM pg_operator o
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0 AND o.oprright <> 0
  LOOP BEGIN
    EXECUTE format('CREATE FUNCTION %I.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', s, f.oid,
      f.l, f.r, f.result, 'BEGIN PERFORM public.spring(); RETURN NULL; END');
    EXECUTE format('CREATE OPERATOR %I.%s (FUNCTION = %I.op%s, LEFTARG = %s, RIGHTARG = %s)', s,
      f.oprname, s, f.oid, f.l, f.r);
    n := n + 1;
  EXCEPTION WHEN others THEN NULL; END; END LOOP;
  FOR f IN SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
  LOOP BEGIN
    EXECUTE format('CREATE VIEW %I.%I AS SELECT public.spring() AS x', s, f.relname);
    n := n + 1;
  EXCEPTION WHEN others THEN NULL; END; END LOOP;
END LOOP;
EXECUTE format('COMMENT ON SCHEMA %I IS %L', '$schema', n);
END $do$;
";

/// Types too, and the path that leads to all of it.
const PATH: &str = r"
DO $do$ DECLARE s text; BEGIN
FOREACH s IN ARRAY ARRAY['name', 'text', 'oid', 'regclass', 'pg_lsn', 'aclitem'] LOOP
  EXECUTE format('CREATE DOMAIN acme_a.%I AS pg_catalog.text', s);
END LOOP;
END $do$;
ALTER DATABASE acme SET search_path = public, acme_a, acme, pg_catalog;
SET ROLE NONE;
ALTER ROLE acme_a SET search_path = public, acme_a, acme, pg_catalog;
";

/// Whether the trap was sprung, and whether the tenant's login gained rights.
fn sprung(world: &World) -> String {
    world.sql(
        "acme",
        "SET search_path = pg_catalog; SELECT s.is_called, r.rolcreaterole
         FROM public.tripped s, pg_roles r WHERE r.rolname = 'acme_a'",
    )
}

/// The same of another tenant's trap, made by its login in its database.
fn sprung_of(world: &World, tenant: &str) -> String {
    let sql = format!(
        "SET search_path = pg_catalog; SELECT s.is_called, r.rolcreaterole
         FROM public.tripped s, pg_roles r WHERE r.rolname = '{tenant}_a'"
    );
    world.sql(tenant, &sql)
}

fn rearm(world: &World) {
    world.sql(
        "acme",
        "SET search_path = pg_catalog; ALTER SEQUENCE public.tripped RESTART;
         ALTER ROLE acme_a NOCREATEROLE NOCREATEDB",
    );
}

/// What Domicile's login would step into if its session were not what it is.
fn step_in(world: &World, sql: &str) {
    let password = &world.lab.passwords().admin;
    let sql = format!("SET ROLE acme; {sql}");
    drop(world.primary.login_sql(ADMIN, password, "acme", &sql));
}

/// Differences that a look mends inside the database and outside of it.
fn drift(world: &World) {
    world.sql(
        "acme",
        "SET search_path = pg_catalog; REVOKE USAGE ON SCHEMA public FROM acme_ro;
         ALTER DEFAULT PRIVILEGES FOR ROLE acme REVOKE SELECT ON TABLES FROM acme_ro;
         DROP SCHEMA IF EXISTS app; COMMENT ON DATABASE acme IS 'x'; ALTER ROLE acme_a NOLOGIN",
    );
}

fn all_mended(mended: &[String]) {
    for what in [
        "database acme had another comment",
        "role acme_ro had no USAGE on schema public",
        "role acme_ro was not to read what is made from now on",
        "schema app was not there",
        "extension citext was not there",
    ] {
        assert!(mended.iter().any(|one| one == what), "{what}: {mended:?}");
    }
}

async fn every_other_pass(provider: &Generic, acme: &TenantPlan) {
    let password = SecretString::from(CANARY);
    let verifier = scram_verifier(&password);
    let one = [(Access::ReadWrite, verifier.clone())];
    let set = provider.set_passwords(acme, Slot::B, &one, Epoch(0));
    set.await.unwrap();
    for login in ["acme_a", "acme_b"] {
        let tried = provider.can_log_in(&acme.database, login, &password).await;
        tried.unwrap();
    }
    provider.sessions(acme, Slot::A).await.unwrap();
    provider.observe_tenant(acme).await.unwrap();
    provider.tenants().await.unwrap();
    provider.written_databases().await.unwrap();
    provider
        .close_logins(acme, Slot::B, Epoch(0))
        .await
        .unwrap();
    facts(provider).await;
    provider.drain(Epoch(1)).await.unwrap();
    provider.fence(Epoch(1)).await.unwrap();
    provider.take_authority(Epoch(2)).await.unwrap();
}

/// Faults: 16.
async fn everything_that_is_shadowed_stays_unused(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    world.as_tenant("acme_a", "acme", TRAP).unwrap();
    drift(&world);
    world.sql("postgres", "ALTER ROLE acme_a LOGIN");
    for schema in ["public", "acme_a", "acme"] {
        let shadows = SHADOWS.replace("$schema", schema);
        world.as_tenant("acme_a", "acme", &shadows).unwrap();
    }
    world.as_tenant("acme_a", "acme", PATH).unwrap();
    let planted = "SET search_path = pg_catalog;
                   SELECT sum(obj_description(oid, 'pg_namespace')::int) FROM pg_namespace
                   WHERE nspname IN ('public', 'acme_a', 'acme')";
    let planted: u32 = world.sql("acme", planted).parse().unwrap();
    assert!(planted > 6_000, "only {planted} things were planted");
    // The trap works on whoever does not pin the path.
    step_in(&world, "SELECT pg_is_in_recovery()");
    assert_eq!(sprung(&world), "t|t", "the trap is none");
    rearm(&world);
    step_in(
        &world,
        "SELECT oid = 1::pg_catalog.oid FROM pg_catalog.pg_roles",
    );
    assert_eq!(sprung(&world), "t|t", "the operators are none");
    rearm(&world);

    acme.schemas = vec!["app".into()];
    acme.extensions = vec!["citext".into()];
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    let settled = settled.unwrap();
    assert_eq!(settled.applied, Applied::Done);
    assert_eq!(settled.refused, []);
    all_mended(&settled.mended);
    let again = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(again.unwrap().applied, Applied::Already);
    every_other_pass(&provider, &acme).await;
    assert_eq!(sprung(&world), "f|f");
    let dropped = provider.drop_tenant(&acme, Epoch(2)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    println!("{planted} shadows, none used");
}

/// Event triggers are made by superusers; one whose function the tenant can replace is the trap.
const TRIGGERS: &str = "
CREATE FUNCTION public.on_event() RETURNS event_trigger LANGUAGE plpgsql AS
  $f$ BEGIN PERFORM public.spring(); END $f$;
ALTER FUNCTION public.on_event() OWNER TO acme;
CREATE EVENT TRIGGER before_all ON ddl_command_start EXECUTE FUNCTION public.on_event();
CREATE EVENT TRIGGER after_all ON ddl_command_end EXECUTE FUNCTION public.on_event();
CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION public.on_event();
";

/// Faults: 16.
async fn what_event_triggers_run_has_no_rights_to_take(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    world.as_tenant("acme_a", "acme", TRAP).unwrap();
    drift(&world);
    world.sql("acme", TRIGGERS);
    let version: u32 = world
        .sql("postgres", "SHOW server_version_num")
        .parse()
        .unwrap();
    let on_login = "CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION public.on_event();
                    ALTER EVENT TRIGGER on_login ENABLE ALWAYS";
    if version >= 170_000 {
        world.sql("acme", on_login);
    }
    step_in(&world, "CREATE SCHEMA x");
    assert_eq!(sprung(&world), "t|t", "the trap is none");
    rearm(&world);

    acme.schemas = vec!["app".into()];
    acme.extensions = vec!["citext".into()];
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    let settled = settled.unwrap();
    if version >= 170_000 {
        // They are turned off for these sessions.
        assert_eq!(settled.left, [] as [String; 0]);
        all_mended(&settled.mended);
    } else {
        assert_eq!(settled.left.len(), 3, "{:?}", settled.left);
        assert!(settled.left[0].contains("event trigger \"after_all\""));
        assert_eq!(settled.mended.len(), 2, "{:?}", settled.mended);
    }
    every_other_pass(&provider, &acme).await;
    assert_eq!(sprung(&world), "f|f");
    if version >= 170_000 {
        // A login that may not turn them off is told of those that are there.
        world.sql(
            "postgres",
            "REVOKE SET ON PARAMETER event_triggers FROM domicile_admin",
        );
        world.sql(
            "acme",
            "SET event_triggers = off; DROP EVENT TRIGGER on_login",
        );
        world.sql(
            "acme",
            "SET event_triggers = off; REVOKE USAGE ON SCHEMA app FROM acme_ro",
        );
        let settled = provider.ensure_tenant(&acme, Epoch(2), &verifiers()).await;
        let settled = settled.unwrap();
        assert_eq!((settled.left.len(), settled.applied), (3, Applied::Already));
        assert_eq!(sprung(&world), "f|f");
    }
    let dropped = provider.drop_tenant(&acme, Epoch(2)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
}

/// Sets the trap in the database of a tenant.
fn set_trap(world: &World, tenant: &str) {
    let login = format!("{tenant}_a");
    let of = |sql: &str| sql.replace("acme", tenant);
    world.as_tenant(&login, tenant, &of(TRAP)).unwrap();
    world.sql(tenant, &of(TRIGGERS));
}

/// A drop that is refused because of a trap in the database of `tenant`; what it says.
async fn refused(provider: &Generic, acme: &TenantPlan, world: &World, tenant: &str) -> String {
    let error = provider.drop_tenant(acme, Epoch(0)).await.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.reason(), "DatabaseBusy", "{told}");
    assert!(
        told.contains(&format!("in database \"{tenant}\"")),
        "{told}"
    );
    assert_eq!(sprung_of(world, tenant), "f|f");
    told
}

const DISABLE: &str = "ALTER EVENT TRIGGER before_all DISABLE;
    ALTER EVENT TRIGGER after_all DISABLE; ALTER EVENT TRIGGER on_drop DISABLE";

/// Where Domicile's login cannot turn them off: a deletion ends a subscription in the tenant's own
/// database, and takes rights back in those of other tenants.
async fn a_drop_runs_no_event_trigger_of_a_tenant(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    let version = world.sql("postgres", "SHOW server_version_num");
    let version: u32 = version.parse().unwrap();
    let may = "SET ON PARAMETER event_triggers";
    if version >= 170_000 {
        world.sql("postgres", &format!("REVOKE {may} FROM domicile_admin"));
    }
    if version >= 160_000 {
        world.sql("postgres", "GRANT pg_create_subscription TO acme");
        let create = "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 user=x password=x' \
                      PUBLICATION p WITH (connect = false, slot_name = 'far')";
        world.as_tenant("acme_a", "acme", create).unwrap();
        set_trap(&world, "acme");
        refused(&provider, &acme, &world, "acme").await;
        world.sql("acme", DISABLE);
    }
    let grant = "CREATE TABLE t (); GRANT SELECT ON t TO acme_ro";
    world.as_tenant("globex_a", "globex", grant).unwrap();
    set_trap(&world, "globex");
    let told = refused(&provider, &acme, &world, "globex").await;
    for part in ["\"after_all\"", "ALTER EVENT TRIGGER it DISABLE"] {
        assert!(told.contains(part), "{told}");
    }
    // What another tenant has keeps nobody's data.
    let left = "SELECT count(*) FROM pg_database WHERE datname = 'acme'";
    assert_eq!(world.sql("postgres", left), "0");
    // A function of a role that the tenant is a member of, written down or not, is in its reach.
    let sql = "CREATE ROLE developers; GRANT developers TO globex";
    world.sql("postgres", sql);
    for owner in ["developers", "pg_database_owner"] {
        let give = format!("ALTER FUNCTION public.on_event() OWNER TO {owner}");
        world.sql("globex", &give);
        refused(&provider, &acme, &world, "globex").await;
    }
    world.sql("globex", DISABLE);
    if version >= 170_000 {
        let on_login = "CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION public.on_event();
                        ALTER EVENT TRIGGER on_login ENABLE ALWAYS";
        world.sql("globex", on_login);
        let told = refused(&provider, &acme, &world, "globex").await;
        assert!(told.contains("event triggers on login"), "{told}");
        world.sql(
            "globex",
            "SET event_triggers = off; DROP EVENT TRIGGER on_login",
        );
        // A session that finds none left puts that down.
        world.sql("globex", "SELECT 1");
    }
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(sprung_of(&world, "globex"), "f|f");
}
