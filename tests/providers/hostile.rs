//! What a tenant, or a name, might try.

use domicile_core::facts::{Epoch, Heartbeat};
use domicile_core::time::Mono;
use domicile_lab::postgres::Binaries;
use domicile_providers::Applied;

use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    hostile_names_stay_names,
    what_a_tenant_plants_is_not_run_by_the_operator,
    what_a_tenant_sets_does_not_reach_the_operator,
    no_password_reaches_the_log,
);

/// Texts that would do harm if they became SQL.
const HOSTILE: [&str; 6] = [
    "u'; DROP SCHEMA domicile CASCADE; --",
    "u\"; DROP SCHEMA domicile CASCADE; --",
    "back\\'; DROP SCHEMA domicile CASCADE; --",
    "$$; DROP SCHEMA domicile CASCADE; $$",
    "ü\u{202e}\u{0}%s{}",
    "u\n; DROP SCHEMA domicile CASCADE",
];

/// Faults: 13.
async fn hostile_names_stay_names(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    for (n, text) in HOSTILE.iter().enumerate() {
        let database = format!("t{n}");
        let plan = plan(&database, text);
        place(&provider, &plan, 0).await;
        let again = provider
            .ensure_tenant(&plan, Epoch(0), &verifiers())
            .await
            .unwrap();
        assert_eq!(again.applied, Applied::Already, "{text}");
        let held = provider.tenants().await.unwrap();
        let kept = text.replace('\0', "");
        assert!(
            held.iter().any(|t| t.database == database && t.uid == kept),
            "{held:?}"
        );
        let beat = Heartbeat {
            sequence: 1,
            leader: (*text).into(),
            at: Mono(1),
            epoch: Epoch(0),
        };
        provider.heartbeat(&beat).await.unwrap();
        assert_eq!(
            facts(&provider).await.heartbeat.map(|beat| beat.leader),
            Some(kept)
        );
        let nobody = provider
            .can_log_in(&plan.database, text, &CANARY.into())
            .await;
        assert!(nobody.is_err(), "{text}");
    }
    assert!(facts(&provider).await.authority.is_some());
}

/// Functions and operators that shadow those the operator's statements use; each would leave a
/// trace, and make its caller's rights its own.
const TRAPS: &str = "
CREATE TABLE public.trap (who text, what text);
GRANT ALL ON public.trap TO PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE FUNCTION public.caught(what text) RETURNS boolean LANGUAGE sql AS
  $$ INSERT INTO public.trap VALUES (current_user, what) RETURNING true $$;
CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS
  $$ SELECT public.caught('pg_is_in_recovery') $$;
CREATE FUNCTION public.aclexplode(aclitem[]) RETURNS TABLE (grantee oid, privilege_type text)
  LANGUAGE sql AS $$ SELECT 0::oid, 'x' FROM public.caught('aclexplode') $$;
CREATE FUNCTION public.has_table_privilege(name, oid, text) RETURNS boolean LANGUAGE sql AS
  $$ SELECT public.caught('has_table_privilege') $$;
CREATE FUNCTION public.has_table_privilege(text, oid, text) RETURNS boolean LANGUAGE sql AS
  $$ SELECT public.caught('has_table_privilege') $$;
CREATE FUNCTION public.eq(name, text) RETURNS boolean LANGUAGE sql AS
  $$ SELECT public.caught('=') $$;
CREATE OPERATOR public.= (FUNCTION = public.eq, LEFTARG = name, RIGHTARG = text);
CREATE TABLE public.pg_default_acl AS SELECT public.caught('pg_default_acl') AS defaclacl;
CREATE VIEW public.pg_roles AS SELECT public.caught('pg_roles') AS rolname, 1::oid AS oid;
CREATE VIEW public.pg_namespace AS SELECT public.caught('pg_namespace') AS nspname;
TRUNCATE public.trap;
ALTER DATABASE acme SET search_path = public, pg_catalog;
SET ROLE NONE;
ALTER ROLE acme_a SET search_path = public, pg_catalog;
";

/// Faults: 16.
async fn what_a_tenant_plants_is_not_run_by_the_operator(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    world.as_tenant("acme_a", "acme", TRAPS).unwrap();
    // The traps work for whoever does not pin the path.
    world
        .as_tenant(
            "acme_a",
            "acme",
            "SELECT pg_is_in_recovery(); SELECT * FROM pg_roles",
        )
        .unwrap();
    let caught = "SELECT count(*) FROM public.trap";
    assert_eq!(world.sql("acme", caught), "2");
    world.sql("acme", "TRUNCATE public.trap");

    // Each part of what is done inside the database, reading and writing.
    let drift = "REVOKE USAGE ON SCHEMA public FROM acme_ro;
        ALTER DEFAULT PRIVILEGES FOR ROLE acme REVOKE SELECT ON TABLES FROM acme_ro";
    world.sql("acme", drift);
    assert_eq!(
        provider
            .ensure_tenant(&acme, Epoch(0), &verifiers())
            .await
            .unwrap()
            .applied,
        Applied::Done
    );
    provider
        .can_log_in(&acme.database, "acme_a", &CANARY.into())
        .await
        .unwrap();
    facts(&provider).await;
    provider.fence(Epoch(1)).await.unwrap();
    provider.take_authority(Epoch(2)).await.unwrap();
    assert_eq!(world.sql("acme", caught), "0");
}

/// Faults: 16.
async fn what_a_tenant_sets_does_not_reach_the_operator(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    let settings = [
        "statement_timeout = 1",
        "lock_timeout = 1",
        "default_transaction_read_only = on",
        "role = acme_ro",
        "idle_in_transaction_session_timeout = 1",
        "row_security = off",
        "standard_conforming_strings = off",
        "default_transaction_isolation = serializable",
        "datestyle = 'German'",
        "client_encoding = 'LATIN1'",
        "array_nulls = off",
    ];
    for setting in settings {
        world.sql("acme", "REVOKE USAGE ON SCHEMA public FROM acme_ro");
        let sql = format!("ALTER DATABASE acme SET {setting}");
        world.as_tenant("acme_a", "acme", &sql).unwrap();
        let repaired = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(repaired.unwrap().applied, Applied::Done, "{setting}");
        world.sql("postgres", "ALTER DATABASE acme RESET ALL");
    }
}

/// Faults: 28.
async fn no_password_reaches_the_log(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, password) = (plan("acme", "u1"), CANARY.into());
    place(&provider, &acme, 0).await;
    provider
        .can_log_in(&acme.database, "acme_a", &password)
        .await
        .unwrap();
    provider
        .can_log_in(&acme.database, "acme_b", &password)
        .await
        .unwrap_err();
    let log = std::fs::read_to_string(world.primary.log()).unwrap();
    assert!(
        log.contains("CREATE DATABASE") && log.contains("SCRAM-SHA-256"),
        "not all is logged"
    );
    assert!(!log.contains(CANARY));
}
