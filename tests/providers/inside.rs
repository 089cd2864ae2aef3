//! What is in a tenant's database by its plan: schemas and extensions; and what differs from it.

use std::collections::{BTreeMap, BTreeSet};

use domicile_core::facts::Epoch;
use domicile_core::names::Slot;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Generic, Refused, Settled, TenantPlan, Why};

use crate::world::{World, on_both_versions, place, plan};

on_both_versions!(
    a_schema_belongs_to_the_tenant_and_its_reader_reads_there,
    a_trusted_extension_is_made_and_belongs_to_the_tenant,
    what_cannot_be_made_says_why_and_keeps_nothing_else_back,
    what_differs_is_named,
    a_schema_of_somebody_else_is_told_and_left_alone,
    a_schema_public_of_somebody_else_is_told_and_never_mended_in_vain,
    a_database_of_somebody_else_is_compared_and_not_changed,
);

async fn settle(provider: &Generic, plan: &TenantPlan) -> Settled {
    let none = BTreeMap::new();
    let settled = provider.ensure_tenant(plan, Epoch(0), &none);
    settled.await.unwrap()
}

/// Nothing differs, and the logins that nobody uses are closed.
fn as_planned() -> Settled {
    Settled {
        shut: BTreeSet::from([Slot::B]),
        ..Settled::default()
    }
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn a_schema_belongs_to_the_tenant_and_its_reader_reads_there(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    acme.schemas = list(&["app", "user"]);
    let made = settle(&provider, &acme).await;
    assert_eq!(
        made.mended,
        ["schema app was not there", "schema user was not there"]
    );
    assert_eq!(settle(&provider, &acme).await, as_planned());
    let as_tenant = |login, sql| world.as_tenant(login, "acme", sql);
    as_tenant("acme_a", "CREATE TABLE app.t AS SELECT 7 AS n").unwrap();
    as_tenant("acme_a", "CREATE TABLE \"user\".t AS SELECT 8 AS n").unwrap();
    let read = "SELECT n FROM app.t UNION SELECT n FROM \"user\".t ORDER BY 1";
    assert_eq!(as_tenant("acme_ro_a", read).unwrap(), "7\n8");
    assert!(as_tenant("acme_ro_a", "CREATE TABLE app.x ()").is_err());
    assert!(as_tenant("acme_ro_a", "INSERT INTO app.t VALUES (1)").is_err());
    // Nothing is dropped that is no longer planned.
    acme.schemas = list(&["app"]);
    assert_eq!(settle(&provider, &acme).await.applied, Applied::Already);
    assert_eq!(as_tenant("acme_ro_a", read).unwrap(), "7\n8");
}

async fn a_trusted_extension_is_made_and_belongs_to_the_tenant(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.extensions = list(&["pgcrypto", "uuid-ossp"]);
    place(&provider, &acme, 0).await;
    assert_eq!(settle(&provider, &acme).await, as_planned());
    let login = "SELECT length(gen_random_bytes(8)) + length(uuid_generate_v4()::text)";
    let said = world.as_tenant("acme_a", "acme", login);
    assert_eq!(said.unwrap(), "44");
    let owners = "SELECT string_agg(extowner::regrole::text, ' ') FROM pg_extension
                  WHERE extname <> 'plpgsql'";
    assert_eq!(world.sql("acme", owners), "acme acme");
    acme.extensions.clear();
    assert_eq!(settle(&provider, &acme).await.applied, Applied::Already);
    world.as_tenant("acme_a", "acme", login).unwrap();
}

async fn what_cannot_be_made_says_why_and_keeps_nothing_else_back(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    let refused = |extension: &str, why| Refused {
        extension: extension.to_owned(),
        why,
    };
    // One that is not listed keeps all that are missing from being made, and nothing else.
    acme.extensions = list(&["pgcrypto", "dblink"]);
    acme.unlisted = BTreeSet::from(["dblink".to_owned()]);
    acme.schemas = list(&["app"]);
    let settled = settle(&provider, &acme).await;
    assert_eq!(settled.refused, [refused("dblink", Why::Unlisted)]);
    let there = "SELECT (SELECT count(*) FROM pg_extension), to_regnamespace('app')";
    assert_eq!(world.sql("acme", there), "1|app");
    acme.unlisted.clear();
    acme.extensions = list(&["dblink", "no-such_thing", "pgcrypto", "earthdistance"]);
    let settled = settle(&provider, &acme).await;
    let [missing, untrusted, alone] = settled.refused.as_slice() else {
        panic!("{:?}", settled.refused);
    };
    assert_eq!(*missing, refused("no-such_thing", Why::Unavailable));
    assert_eq!(*untrusted, refused("dblink", Why::NotTrusted));
    // It needs another one, which is not made unasked.
    assert_eq!(alone.extension, "earthdistance");
    let told = matches!(&alone.why, Why::Failed(fact) if fact.contains("cube"))
        || alone.why == Why::NotTrusted;
    assert!(told, "{alone:?}");
    assert_eq!(settled.mended, ["extension pgcrypto was not there"]);
    // Trying again changes nothing, and a superuser's help is found.
    assert_eq!(settle(&provider, &acme).await.applied, Applied::Already);
    world.sql(
        "acme",
        "CREATE EXTENSION dblink; CREATE EXTENSION earthdistance CASCADE",
    );
    let settled = settle(&provider, &acme).await;
    assert_eq!(
        settled.refused,
        [refused("no-such_thing", Why::Unavailable)]
    );
    world.sql("acme", "DROP SCHEMA public CASCADE");
    acme.extensions = list(&["citext"]);
    let settled = settle(&provider, &acme).await;
    assert_eq!(settled.refused, [refused("citext", Why::NoSchema)]);
}

async fn what_differs_is_named(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.schemas = list(&["app"]);
    acme.extensions = list(&["pgcrypto"]);
    place(&provider, &acme, 0).await;
    let drift = [
        (
            "postgres",
            "REVOKE CONNECT ON DATABASE acme FROM acme_ro",
            "role acme_ro had no CONNECT on database acme",
        ),
        (
            "postgres",
            "ALTER ROLE acme_ro_a CONNECTION LIMIT 1",
            "login acme_ro_a had connection limit 1",
        ),
        (
            "postgres",
            "ALTER ROLE acme_a NOLOGIN",
            "login acme_a was closed",
        ),
        ("acme", "DROP SCHEMA app", "schema app was not there"),
        (
            "acme",
            "REVOKE USAGE ON SCHEMA app FROM acme_ro",
            "role acme_ro had no USAGE on schema app",
        ),
        (
            "acme",
            "DROP EXTENSION pgcrypto",
            "extension pgcrypto was not there",
        ),
        (
            "acme",
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            "PUBLIC had rights on schema public",
        ),
    ];
    for (database, sql, told) in drift {
        world.sql(database, sql);
        let settled = settle(&provider, &acme).await;
        assert_eq!(settled.mended, [told], "{sql}");
        assert_eq!(settle(&provider, &acme).await, as_planned(), "{sql}");
    }
}

async fn a_schema_of_somebody_else_is_told_and_left_alone(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    world.sql("acme", "CREATE SCHEMA app");
    acme.schemas = list(&["app"]);
    for _ in 0..2 {
        let settled = settle(&provider, &acme).await;
        assert_eq!(settled.applied, Applied::Already);
        assert_eq!(settled.left, ["schema app belongs to role postgres"]);
    }
}

async fn a_schema_public_of_somebody_else_is_told_and_never_mended_in_vain(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    let step = "ALTER SCHEMA public OWNER TO pg_database_owner";
    for (taken, mended) in [
        // As in a database that was begun before PostgreSQL 15: a grant there only warns.
        (
            "ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO PUBLIC;
             REVOKE ALL ON SCHEMA public FROM acme_ro",
            2,
        ),
        // Without any right there a grant is refused.
        ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", 1),
    ] {
        world.sql("acme", taken);
        let before = world.next_transaction();
        for _ in 0..2 {
            let settled = settle(&provider, &acme).await;
            assert_eq!(settled.applied, Applied::Already, "{settled:?}");
            let [line] = settled.left.as_slice() else {
                panic!("{settled:?}");
            };
            let said = line.starts_with("schema public belongs to role postgres");
            assert!(said && line.contains(step), "{line}");
        }
        assert_eq!(world.next_transaction(), before);
        world.sql("acme", step);
        let settled = settle(&provider, &acme).await;
        assert_eq!(settled.mended.len(), mended, "{settled:?}");
        assert_eq!(settle(&provider, &acme).await, as_planned());
    }
}

async fn a_database_of_somebody_else_is_compared_and_not_changed(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    world.sql("postgres", "CREATE ROLE acme LOGIN");
    world.sql("postgres", "CREATE DATABASE acme OWNER acme");
    provider.ensure_tables().await.unwrap();
    let before = world.next_transaction();
    let lines = provider.observe_tenant(&plan("acme", "u1")).await.unwrap();
    for line in [
        "role acme is there, without a mark",
        "role acme can log in, and would only own",
        "Domicile's login was no member of role acme",
        "role acme_ro was not there",
        "PUBLIC had rights on database acme",
        "database acme had another comment",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    assert_eq!(world.next_transaction(), before);
    place(&provider, &plan("globex", "u2"), 0).await;
    let none = provider.observe_tenant(&plan("globex", "u2")).await;
    assert_eq!(none.unwrap(), [] as [String; 0]);
}
