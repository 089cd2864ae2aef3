//! A database that somebody else made: taken over with consent, with nothing taken from it.

use domicile_core::facts::Epoch;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Adoption, Applied, ProviderError, TenantPlan};

use crate::world::{CANARY, World, on_both_versions, plan, verifiers};

on_both_versions!(
    a_database_of_others_waits_until_an_administrator_agreed,
    an_owner_of_more_than_the_database_is_not_adopted,
    an_adopted_database_keeps_all_that_it_has,
    a_fence_closes_an_adopted_owner_and_opens_it_again,
    what_a_lost_hub_left_is_adopted_by_a_new_placement,
    nothing_is_made_where_there_is_nothing_to_adopt,
);

const CONSENT: &str = "shop/acme";

fn keeping(uid: &str) -> TenantPlan {
    TenantPlan {
        keeps: true,
        makes: false,
        ..plan("acme", uid)
    }
}

/// A database as an application's own scripts make it.
fn world(binaries: &Binaries) -> World {
    let world = World::new(binaries);
    let owner = format!("CREATE ROLE acme LOGIN PASSWORD '{CANARY}' CONNECTION LIMIT 7");
    for sql in [owner.as_str(), "CREATE ROLE cron LOGIN"] {
        world.sql("postgres", sql);
    }
    world.sql(
        "postgres",
        "CREATE DATABASE acme OWNER acme CONNECTION LIMIT 33",
    );
    world.sql("postgres", "COMMENT ON DATABASE acme IS 'the shop'");
    let table = "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)";
    world.as_tenant("acme", "acme", table).unwrap();
    world
}

/// What an administrator is asked to do.
fn agree(world: &World) {
    for sql in [
        "GRANT acme TO domicile_admin WITH ADMIN OPTION",
        "COMMENT ON ROLE acme IS 'domicile-adopt:shop/acme'",
        "REVOKE CONNECT ON DATABASE acme FROM PUBLIC",
    ] {
        world.sql("postgres", sql);
    }
}

fn attributes(world: &World) -> String {
    world.sql(
        "acme",
        "SELECT d.datacl, d.datconnlimit, shobj_description(d.oid, 'pg_database'), r.rolcanlogin,
           r.rolconnlimit, r.rolvaliduntil, a.rolpassword, n.nspacl, c.relacl IS NULL
         FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_authid a ON a.oid = r.oid,
           pg_namespace n, pg_class c
         WHERE d.datname = 'acme' AND n.nspname = 'public' AND c.relname = 'orders'",
    )
}

async fn a_database_of_others_waits_until_an_administrator_agreed(binaries: &Binaries) {
    let world = world(binaries);
    let (provider, acme) = (world.provider(), keeping("u1"));
    let taken = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert!(matches!(
        taken,
        Err(ProviderError::NameTaken { marker: None, .. })
    ));
    world.sql("postgres", "GRANT CONNECT ON DATABASE acme TO cron");
    let before = (attributes(&world), world.next_transaction());
    let Adoption::Waits(obstacles) = provider
        .adopt_tenant(&acme, CONSENT, Epoch(0))
        .await
        .unwrap()
    else {
        panic!("adopted without consent");
    };
    assert_eq!((attributes(&world), world.next_transaction()), before);
    let steps: Vec<&str> = obstacles.iter().map(|one| one.step.as_str()).collect();
    assert!(
        steps
            .iter()
            .any(|step| step.contains("domicile-adopt:shop/acme")),
        "{steps:?}"
    );
    assert!(
        steps.iter().any(|step| step.contains("FROM PUBLIC")),
        "{steps:?}"
    );
    // Who else may connect is for the server's administrators to know.
    let texts = obstacles.iter().flat_map(|one| [&one.fact, &one.step]);
    assert!(
        texts.clone().all(|text| !text.contains("cron")),
        "{obstacles:?}"
    );
    let named: Vec<&String> = obstacles.iter().flat_map(|one| &one.logins).collect();
    assert_eq!(named, ["cron"]);
    let administer = "GRANT \"acme\" TO \"domicile_admin\" WITH ADMIN OPTION";
    let newer = binaries.major() >= 16;
    assert_eq!(steps.contains(&administer), newer, "{steps:?}");
    // Each that is SQL alone can be run as it stands; consent for another placement is none.
    agree(&world);
    world.sql("postgres", "REVOKE CONNECT ON DATABASE acme FROM cron");
    let other = provider.adopt_tenant(&acme, "shop/other", Epoch(0)).await;
    let Ok(Adoption::Waits(obstacles)) = other else {
        panic!("{other:?}");
    };
    assert_eq!(obstacles.len(), 1, "{obstacles:?}");
    // A login that only is a member of the owner may connect too.
    world.sql("postgres", "GRANT acme TO cron");
    let member = provider.adopt_tenant(&acme, CONSENT, Epoch(0)).await;
    let Ok(Adoption::Waits(obstacles)) = member else {
        panic!("{member:?}");
    };
    assert!(
        obstacles.iter().all(|one| one.logins == ["cron"]),
        "{obstacles:?}"
    );
    world.sql(
        "postgres",
        "REVOKE acme FROM cron; ALTER ROLE acme CREATEDB",
    );
    let powerful = provider.adopt_tenant(&acme, CONSENT, Epoch(0)).await;
    let Ok(Adoption::Waits(obstacles)) = powerful else {
        panic!("{powerful:?}");
    };
    assert_eq!(obstacles[0].step, "ALTER ROLE \"acme\" NOCREATEDB");
}

/// By its mark all that it owns would be the tenant's: in reach of a fence, and of a drop.
async fn an_owner_of_more_than_the_database_is_not_adopted(binaries: &Binaries) {
    let world = world(binaries);
    let (provider, acme) = (world.provider(), keeping("u1"));
    agree(&world);
    world.sql("postgres", "CREATE DATABASE staging OWNER acme");
    let table = "SET ROLE acme; CREATE TABLE kept AS SELECT 7 AS n";
    world.sql("staging", table);
    let waits = async || match provider.adopt_tenant(&acme, CONSENT, Epoch(0)).await {
        Ok(Adoption::Waits(obstacles)) => obstacles,
        other => panic!("{other:?}"),
    };
    let obstacles = waits().await;
    assert_eq!(obstacles.len(), 2, "{obstacles:?}");
    assert!(obstacles[0].fact.contains("other databases"));
    // Which they are is for the server's administrators to know.
    let mut texts = obstacles.iter().flat_map(|one| [&one.fact, &one.step]);
    assert!(texts.all(|text| !text.contains("staging")), "{obstacles:?}");
    let named = "SELECT datname FROM pg_database WHERE datdba = '\"acme\"'::regrole";
    assert!(obstacles[0].step.contains(named), "{obstacles:?}");
    let found = world.sql("postgres", named);
    assert_eq!(found.lines().count(), 2, "{found}");
    world.sql("postgres", "ALTER DATABASE staging OWNER TO cron");
    let obstacles = waits().await;
    assert_eq!(obstacles.len(), 1, "{obstacles:?}");
    let (begin, back) = (
        "BEGIN; REASSIGN OWNED BY \"acme\" TO ",
        "; ALTER DATABASE \"acme\" OWNER TO \"acme\"; COMMIT",
    );
    let step = format!("{begin}another role{back}");
    assert!(obstacles[0].step.contains(&step), "{obstacles:?}");
    world.sql("staging", &format!("{begin}cron{back}"));
    let adopted = provider.adopt_tenant(&acme, CONSENT, Epoch(0)).await;
    assert_eq!(adopted.unwrap(), Adoption::Done);
    let dropped = provider.drop_tenant(&acme, Epoch(0)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
    assert_eq!(world.sql("staging", "SELECT n FROM kept"), "7");
}

async fn an_adopted_database_keeps_all_that_it_has(binaries: &Binaries) {
    let world = world(binaries);
    let (provider, acme) = (world.provider(), keeping("u1"));
    agree(&world);
    let before = attributes(&world);
    let adopted = provider.adopt_tenant(&acme, CONSENT, Epoch(0)).await;
    assert_eq!(adopted.unwrap(), Adoption::Done);
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    let settled = settled.unwrap();
    assert_eq!(settled.applied, Applied::Done);
    for line in [
        "PUBLIC has rights on database acme",
        "database acme has connection limit 33",
        "role acme logs in with a password that Domicile does not know",
    ] {
        let told = settled.left.iter().any(|left| left.starts_with(line));
        assert!(told, "{line}: {:?}", settled.left);
    }
    // Rights of the reader were added; nothing that was there is gone.
    let after = attributes(&world);
    for right in ["acme_ro=c/acme", "acme_ro=U/"] {
        assert!(after.contains(right), "{after}");
    }
    let (before, after) = (before.split('|'), after.split('|'));
    let unlike = before
        .zip(after)
        .enumerate()
        .filter(|(_, (was, is))| was != is);
    let unlike: Vec<usize> = unlike.map(|(column, _)| column).collect();
    assert_eq!(unlike, [0, 7, 8], "the lists of rights alone have grown");
    let again = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(again.unwrap().applied, Applied::Already);
    // The login before and those of Domicile see the same rows, and write for one owner.
    for (login, sql) in [
        ("acme", "INSERT INTO orders VALUES (2)"),
        (
            "acme_a",
            "INSERT INTO orders VALUES (3); CREATE TABLE made (id int)",
        ),
        ("acme", "INSERT INTO made VALUES (1)"),
    ] {
        world.as_tenant(login, "acme", sql).unwrap();
    }
    let rows = world.as_tenant("acme_ro_a", "acme", "SELECT count(*) FROM orders");
    assert_eq!(rows.unwrap(), "3");
    assert!(
        world
            .as_tenant("acme_ro_a", "acme", "DELETE FROM orders")
            .is_err()
    );
}

async fn a_fence_closes_an_adopted_owner_and_opens_it_again(binaries: &Binaries) {
    let world = world(binaries);
    let (provider, acme) = (world.provider(), keeping("u1"));
    agree(&world);
    provider
        .adopt_tenant(&acme, CONSENT, Epoch(0))
        .await
        .unwrap();
    provider
        .ensure_tenant(&acme, Epoch(0), &verifiers())
        .await
        .unwrap();
    let enters = |login: &str| world.as_tenant(login, "acme", "SELECT 1").is_ok();
    assert!(enters("acme") && enters("acme_a"));
    std::thread::scope(|scope| {
        let session = world.session(scope, ("acme", "acme"), "SELECT pg_sleep(60)");
        let runtime = tokio::runtime::Handle::current();
        let fence = || runtime.block_on(provider.fence(Epoch(1)));
        let fenced = tokio::task::block_in_place(fence);
        assert_eq!(fenced.unwrap().sessions_left, 0);
        session.join().unwrap().unwrap_err();
    });
    assert!(!enters("acme") && !enters("acme_a"));
    provider.take_authority(Epoch(2)).await.unwrap();
    assert!(enters("acme") && enters("acme_a"));
    // Closed by a person, it stays closed after the next move.
    world.sql("postgres", "ALTER ROLE acme NOLOGIN");
    provider
        .ensure_tenant(&acme, Epoch(2), &verifiers())
        .await
        .unwrap();
    provider.fence(Epoch(3)).await.unwrap();
    provider.take_authority(Epoch(4)).await.unwrap();
    assert!(!enters("acme") && enters("acme_a"));
    let settled = provider
        .ensure_tenant(&acme, Epoch(4), &verifiers())
        .await
        .unwrap();
    assert_eq!(settled.applied, Applied::Already);
}

/// The placements were created anew, with other UIDs, after the hub's storage was lost.
async fn what_a_lost_hub_left_is_adopted_by_a_new_placement(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    provider.ensure_tables().await.unwrap();
    let first = plan("acme", "u1");
    provider
        .ensure_tenant(&first, Epoch(0), &verifiers())
        .await
        .unwrap();
    let again = keeping("u2");
    let taken = provider.ensure_tenant(&again, Epoch(0), &verifiers()).await;
    assert!(matches!(
        taken,
        Err(ProviderError::NameTaken {
            marker: Some(_),
            ..
        })
    ));
    let waits = provider.adopt_tenant(&again, CONSENT, Epoch(0)).await;
    assert!(matches!(waits, Ok(Adoption::Waits(_))), "{waits:?}");
    world.sql(
        "postgres",
        "COMMENT ON ROLE acme IS 'domicile-adopt:shop/acme'",
    );
    let adopted = provider.adopt_tenant(&again, CONSENT, Epoch(0)).await;
    assert_eq!(adopted.unwrap(), Adoption::Done);
    provider
        .ensure_tenant(&again, Epoch(0), &verifiers())
        .await
        .unwrap();
    let old = provider.ensure_tenant(&first, Epoch(0), &verifiers()).await;
    assert!(matches!(
        old,
        Err(ProviderError::NameTaken {
            marker: Some(_),
            ..
        })
    ));
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
}

/// Neither a wrong name nor a database that somebody dropped gives an empty one.
async fn nothing_is_made_where_there_is_nothing_to_adopt(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), keeping("u1"));
    provider.ensure_tables().await.unwrap();
    let count = "SELECT count(*) FILTER (WHERE rolname ^@ 'acme'),
                   (SELECT count(*) FROM pg_database WHERE datname = 'acme') FROM pg_roles";
    let before = world.next_transaction();
    let nothing = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert!(
        matches!(nothing, Err(ProviderError::NoDatabase { .. })),
        "{nothing:?}"
    );
    assert_eq!(world.sql("postgres", count), "0|0");
    assert_eq!(world.next_transaction(), before);
    // One that the placement had is not made again either, unless that is asked for.
    let first = plan("acme", "u1");
    let made = provider.ensure_tenant(&first, Epoch(0), &verifiers()).await;
    assert_eq!(made.unwrap().applied, Applied::Done);
    let kept = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(kept.unwrap().applied, Applied::Already);
    world.sql("postgres", "DROP DATABASE acme");
    let gone = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert!(
        matches!(gone, Err(ProviderError::NoDatabase { .. })),
        "{gone:?}"
    );
    assert_eq!(world.sql("postgres", count), "6|0");
    let made = provider.ensure_tenant(&first, Epoch(0), &verifiers()).await;
    let mended = made.unwrap().mended;
    let told = mended
        .iter()
        .any(|line| line.contains("acme was not there"));
    assert!(told, "{mended:?}");
}
