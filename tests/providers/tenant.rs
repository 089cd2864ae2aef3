//! A tenant from nothing to dropped, and what others may not do to it.

use std::collections::{BTreeMap, BTreeSet};

use domicile_core::facts::Epoch;
use domicile_core::health::ProbeFailure;
use domicile_core::names::{Access, DatabaseName, Slot};
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, HeldTenant, Standing, TenantPlan, scram_verifier};
use secrecy::SecretString;

use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    a_tenant_gets_what_its_plan_says_and_no_more,
    a_login_is_tried_as_the_tenant_does_it,
    a_settled_tenant_costs_no_write,
    what_belongs_to_others_is_left_alone,
    a_dropped_tenant_leaves_nothing,
    a_password_is_replaced_and_the_old_one_ends,
    an_access_that_is_not_planned_is_shut,
    an_idle_login_is_shut_and_sessions_are_counted_by_slot,
    a_login_that_holds_all_its_sessions_is_full,
    what_stands_under_a_name_is_told,
);

async fn a_tenant_gets_what_its_plan_says_and_no_more(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.access = vec![(Access::ReadWrite, 2), (Access::ReadOnly, 3)];
    place(&provider, &acme, 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let tenant = |login, sql| world.as_tenant(login, "acme", sql);

    tenant(
        "acme_a",
        "CREATE TABLE public.t AS SELECT 1 AS n; CREATE SCHEMA s",
    )
    .unwrap();
    tenant("acme_a", "CREATE TABLE s.t AS SELECT 2 AS n").unwrap();
    assert_eq!(
        tenant("acme_ro_a", "SELECT t.n + u.n FROM public.t t, s.t u").unwrap(),
        "3"
    );
    for refused in [
        "INSERT INTO public.t VALUES (2)",
        "CREATE TABLE x ()",
        "CREATE SCHEMA x",
        "CREATE TEMP TABLE x ()",
        "SET ROLE acme",
    ] {
        assert!(tenant("acme_ro_a", refused).is_err(), "{refused}");
    }
    let owners = "SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE tablename = 't'";
    assert_eq!(tenant("acme_a", owners).unwrap(), "acme");
    let limits = "SELECT string_agg(rolname || rolconnlimit, ' ' ORDER BY rolname) FROM pg_roles
                  WHERE rolname LIKE 'acme%' AND rolconnlimit <> -1";
    assert_eq!(
        world.sql("postgres", limits),
        "acme_a2 acme_b2 acme_ro_a3 acme_ro_b3"
    );
    for login in [
        "acme",
        "acme_ro",
        "acme_b",
        "acme_ro_b",
        "globex_a",
        "globex_ro_a",
    ] {
        assert!(tenant(login, "SELECT 1").is_err(), "{login} came into acme");
    }
    let elsewhere = "SELECT count(*) FROM pg_roles r, pg_database d
        WHERE r.rolname LIKE 'acme%' AND d.datname = 'globex'
        AND has_database_privilege(r.oid, d.oid, 'CONNECT')";
    assert_eq!(world.sql("postgres", elsewhere), "0");
}

async fn a_login_is_tried_as_the_tenant_does_it(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    let password = SecretString::from(CANARY);
    let login = provider
        .can_log_in(&acme.database, "acme_a", &password)
        .await
        .unwrap();
    assert!(login.writable);
    let wrong = provider
        .can_log_in(&acme.database, "acme_a", &SecretString::from("no"))
        .await;
    assert_eq!(
        wrong.unwrap_err().probe_failure(),
        ProbeFailure::CredentialsDenied
    );
    let held = |database: &str, uid: &str| HeldTenant {
        database: database.into(),
        uid: uid.into(),
    };
    assert_eq!(
        provider.tenants().await.unwrap(),
        [held("acme", "u1"), held("globex", "u2")]
    );
}

async fn a_settled_tenant_costs_no_write(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    let (none, first) = (BTreeMap::new(), verifiers());
    for (given, shut) in [(&none, vec![Slot::A, Slot::B]), (&first, vec![Slot::B])] {
        let made = provider
            .ensure_tenant(&acme, Epoch(0), given)
            .await
            .unwrap();
        assert_eq!(made.applied, Applied::Done);
        assert_eq!(Vec::from_iter(made.shut), shut);
    }
    let before = world.next_transaction();
    for _ in 0..10 {
        let again = provider
            .ensure_tenant(&acme, Epoch(0), &verifiers())
            .await
            .unwrap();
        assert_eq!(again.applied, Applied::Already);
        assert_eq!(again.shut, BTreeSet::from([Slot::B]));
    }
    assert_eq!(world.next_transaction(), before);
}

/// Faults: 1, 10, 22.
async fn what_belongs_to_others_is_left_alone(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("globex", "u2"), 0).await;
    world.sql("postgres", "CREATE DATABASE plain");
    world.sql("postgres", "COMMENT ON DATABASE plain IS 'domicile:u1'");
    world.sql("postgres", "CREATE ROLE single_ro_b; CREATE ROLE marked");
    world.sql("postgres", "COMMENT ON ROLE marked IS 'domicile:u9'");
    // A database of which an old owner role is left over, now owned by someone else.
    world.sql(
        "postgres",
        "SET ROLE domicile_admin; CREATE ROLE moved; COMMENT ON ROLE moved IS 'domicile:u1'",
    );
    world.sql("postgres", "CREATE DATABASE moved");
    let cases = [
        ("globex", "database", Some("u2")),
        ("plain", "database", Some("u1")),
        ("moved", "database", None),
        ("single", "role", None),
        ("marked", "role", Some("u9")),
    ];
    let before = world.next_transaction();
    for (database, kind, marker) in cases {
        let plan = plan(database, "u1");
        let error = provider
            .ensure_tenant(&plan, Epoch(0), &verifiers())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "DatabaseNameTaken", "{error}");
        assert!(error.to_string().contains(kind), "{database}: {error}");
        assert!(
            marker.is_none_or(|uid| error.to_string().contains(uid)),
            "{database}: {error}"
        );
        if database != "moved" {
            let dropped = provider.drop_tenant(&plan, Epoch(0)).await.unwrap();
            assert_eq!(dropped.applied, Applied::Already, "{database}");
        }
    }
    assert_eq!(world.next_transaction(), before);
    // Only what carries its marker goes: the role, never the database.
    provider
        .drop_tenant(&plan("moved", "u1"), Epoch(0))
        .await
        .unwrap();
    let left =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(world.sql("postgres", left), "globex moved plain postgres");
    assert!(world.as_tenant("globex_a", "globex", "SELECT 1").is_ok());
}

/// Faults: 70.
async fn a_dropped_tenant_leaves_nothing(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    world
        .as_tenant("acme_a", "acme", "CREATE TABLE t (n int)")
        .unwrap();
    let ended = std::thread::scope(|scope| {
        let session = world.session(scope, ("acme_a", "acme"), "SELECT pg_sleep(9)");
        tokio::task::block_in_place(|| {
            let dropped = provider.drop_tenant(&acme, Epoch(0));
            let dropped = tokio::runtime::Handle::current().block_on(dropped).unwrap();
            assert_eq!(dropped.applied, Applied::Done);
        });
        session.join().unwrap()
    });
    assert!(ended.is_err());
    assert_eq!(
        provider.drop_tenant(&acme, Epoch(0)).await.unwrap().applied,
        Applied::Already
    );
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acme%')
                     + (SELECT count(*) FROM pg_database WHERE datname LIKE 'acme%')";
    assert_eq!(world.sql("postgres", left), "0");
    // The same name serves the next one.
    place(&provider, &plan("acme", "u3"), 0).await;
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
}

async fn a_password_is_replaced_and_the_old_one_ends(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    let fresh = SecretString::from("fresh-one");
    let set = async |plan: &TenantPlan, slot| {
        let verifier = scram_verifier(&fresh);
        provider
            .set_passwords(
                plan,
                slot,
                &[(Access::ReadWrite, verifier.clone())],
                Epoch(0),
            )
            .await
    };
    provider.ensure_tables().await.unwrap();
    assert_eq!(
        set(&acme, Slot::A).await.unwrap_err().reason(),
        "DatabaseMissing"
    );
    place(&provider, &acme, 0).await;
    set(&acme, Slot::A).await.unwrap();
    set(&acme, Slot::B).await.unwrap();
    for login in ["acme_a", "acme_b"] {
        provider
            .can_log_in(&acme.database, login, &fresh)
            .await
            .unwrap();
        assert!(
            world.as_tenant(login, "acme", "SELECT 1").is_err(),
            "{login}"
        );
    }
    // A settled tenant keeps it: verifiers are for logins that have none.
    place(&provider, &acme, 0).await;
    provider
        .can_log_in(&acme.database, "acme_a", &fresh)
        .await
        .unwrap();
    let other = set(&plan("acme", "u2"), Slot::A).await.unwrap_err();
    assert_eq!(other.reason(), "DatabaseNameTaken");
    assert_eq!(facts(&provider).await.open_logins, 3);
}

async fn an_access_that_is_not_planned_is_shut(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    acme.access = vec![(Access::ReadWrite, 20)];
    place(&provider, &acme, 0).await;
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    assert!(world.as_tenant("acme_ro_a", "acme", "SELECT 1").is_err());
    let settled = provider
        .ensure_tenant(&acme, Epoch(0), &BTreeMap::new())
        .await
        .unwrap();
    assert_eq!(settled.applied, Applied::Already);
    place(&provider, &plan("acme", "u1"), 0).await;
    assert!(world.as_tenant("acme_ro_a", "acme", "SELECT 1").is_ok());
}

/// Faults: 87.
async fn an_idle_login_is_shut_and_sessions_are_counted_by_slot(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let both = plan("acme", "u1");
    place(&provider, &both, 0).await;
    let verifier = scram_verifier(&SecretString::from("second"));
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let one = [(access, verifier.clone())];
        let set = provider.set_passwords(&both, Slot::B, &one, Epoch(0));
        set.await.unwrap();
    }
    std::thread::scope(|scope| {
        let held = world.session(scope, ("acme_ro_a", "acme"), "SELECT pg_sleep(9)");
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            let count = |slot| runtime.block_on(provider.sessions(&both, slot)).unwrap();
            assert_eq!((count(Slot::A), count(Slot::B)), (1, 0));
        });
        world.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'acme_ro_a'",
        );
        assert!(held.join().unwrap().is_err());
    });
    let only_b = TenantPlan {
        idle: Some(Slot::A),
        ..both.clone()
    };
    let shut = async |plan: &TenantPlan| {
        let none = BTreeMap::new();
        let settled = provider.ensure_tenant(plan, Epoch(0), &none);
        let settled = settled.await.unwrap();
        (settled.applied, Vec::from_iter(settled.shut))
    };
    assert_eq!(shut(&both).await, (Applied::Already, vec![]));
    assert_eq!(shut(&only_b).await, (Applied::Done, vec![Slot::A]));
    assert_eq!(shut(&only_b).await, (Applied::Already, vec![Slot::A]));
    for (login, password, opens) in [
        ("acme_a", CANARY, false),
        ("acme_ro_a", CANARY, false),
        ("acme_b", "second", true),
        ("acme_ro_b", "second", true),
    ] {
        let password = SecretString::from(password);
        let entered = provider.can_log_in(&both.database, login, &password).await;
        assert_eq!(entered.is_ok(), opens, "{login}");
    }
    // A password alone is taken, too: nobody is to guess it.
    world.sql("postgres", "ALTER ROLE acme_a VALID UNTIL 'infinity'");
    assert_eq!(shut(&only_b).await, (Applied::Done, vec![Slot::A]));
    // Without an idle slot nothing is opened by itself.
    assert_eq!(shut(&both).await, (Applied::Already, vec![Slot::A]));
}

async fn a_login_that_holds_all_its_sessions_is_full(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.access = vec![(Access::ReadWrite, 1), (Access::ReadOnly, 2)];
    place(&provider, &acme, 0).await;
    std::thread::scope(|scope| {
        let ends = ["acme_a", "acme_ro_a"]
            .map(|login| world.session(scope, (login, "acme"), "SELECT pg_sleep(9)"));
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            let full = |login| runtime.block_on(provider.is_full(login)).unwrap();
            assert!(full("acme_a"));
            assert!(!full("acme_ro_a"), "it may have one more");
            assert!(!full("acme_b"));
            assert!(!full("nobody"));
        });
        world.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename ^@ 'acme'",
        );
        for end in ends {
            assert!(end.join().unwrap().is_err());
        }
    });
    assert!(!provider.is_full("acme_a").await.unwrap());
}

async fn what_stands_under_a_name_is_told(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    world.sql("postgres", "CREATE DATABASE plain");
    world.sql("postgres", "COMMENT ON DATABASE plain IS 'domicile:u9'");
    for (name, stands) in [
        ("acme", Standing::Marked("u1".into())),
        ("plain", Standing::Unmarked),
        ("nothing", Standing::Absent),
    ] {
        let name = DatabaseName::parse(name).unwrap();
        assert_eq!(provider.standing(&name).await.unwrap(), stands, "{name}");
    }
}
