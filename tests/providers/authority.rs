//! Effects that are conditional on the authority row.

use std::time::Duration;

use domicile_core::facts::{Authority, Epoch, Heartbeat};
use domicile_core::names::{Access, Slot};
use domicile_core::time::Mono;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Class, Fenced, Generic, ProviderError, scram_verifier};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::world::{CANARY, World, eventually, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    a_stale_epoch_is_refused_by_every_effect,
    an_epoch_that_does_not_hold_gives_no_login_and_no_password,
    a_drain_shuts_the_door_and_ends_nobody,
    a_fence_leaves_no_session_and_no_login,
    a_fence_does_not_wait_for_a_lost_synchronous_standby,
    a_sleeping_holder_of_the_lock_does_not_stop_a_fence_for_good,
    a_repeated_effect_writes_nothing,
    a_standby_refuses_every_effect,
    a_synchronous_standby_is_named_literally,
);

fn beat(epoch: i64) -> Heartbeat {
    Heartbeat {
        sequence: 1,
        leader: "hub".into(),
        at: Mono(5),
        epoch: Epoch(epoch),
    }
}

/// Every effect that takes an epoch, with its name.
async fn effects(provider: &Generic, epoch: i64) -> Vec<(&'static str, ProviderError)> {
    let (plan, e) = (plan("acme", "u1"), Epoch(epoch));
    let verifier = scram_verifier(&SecretString::from("another"));
    let (access, slot) = (Access::ReadWrite, Slot::B);
    let password = provider
        .set_passwords(&plan, slot, &[(access, verifier.clone())], e)
        .await;
    [
        ("drain", provider.drain(e).await.err()),
        ("fence", provider.fence(e).await.err()),
        ("take_authority", provider.take_authority(e).await.err()),
        ("heartbeat", provider.heartbeat(&beat(epoch)).await.err()),
        (
            "set_synchronous",
            provider.set_synchronous(Some("x"), e).await.err(),
        ),
        (
            "ensure_tenant",
            provider.ensure_tenant(&plan, e, &verifiers()).await.err(),
        ),
        ("set_passwords", password.err()),
        (
            "adopt_tenant",
            provider.adopt_tenant(&plan, "shop/acme", e).await.err(),
        ),
        ("drop_tenant", provider.drop_tenant(&plan, e).await.err()),
        ("promote", provider.promote(e).await.err()),
    ]
    .into_iter()
    .filter_map(|(name, error)| error.map(|error| (name, error)))
    .collect()
}

/// Faults: 46.
async fn a_stale_epoch_is_refused_by_every_effect(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    provider.take_authority(Epoch(5)).await.unwrap();
    let before = world.next_transaction();
    let refused = effects(&provider, 4).await;
    assert_eq!(refused.len(), 10, "{refused:?}");
    for (name, error) in refused {
        let ProviderError::Stale {
            found, presented, ..
        } = &error
        else {
            panic!("{name}: {error}");
        };
        assert_eq!((*found, *presented), (Epoch(5), Epoch(4)), "{name}");
        assert_eq!(
            (error.class(), error.reason()),
            (Class::Conflict, "StaleEpoch"),
            "{name}"
        );
    }
    assert_eq!(
        world.next_transaction(),
        before,
        "a refused effect wrote something"
    );
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
}

/// Faults: 23, 86.
async fn an_epoch_that_does_not_hold_gives_no_login_and_no_password(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    provider.fence(Epoch(3)).await.unwrap();
    // The fenced epoch itself, and one that the server was never given.
    for epoch in [3, 4] {
        let plan = plan("acme", "u1");
        let verifier = scram_verifier(&SecretString::from(CANARY));
        let (access, slot, e) = (Access::ReadWrite, Slot::A, Epoch(epoch));
        let refused = [
            provider
                .ensure_tenant(&plan, e, &verifiers())
                .await
                .unwrap_err(),
            provider
                .set_passwords(&plan, slot, &[(access, verifier.clone())], e)
                .await
                .unwrap_err(),
            provider.heartbeat(&beat(epoch)).await.unwrap_err(),
            provider.set_synchronous(Some("x"), e).await.unwrap_err(),
            provider.drop_tenant(&plan, e).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.reason(), "NotWritable", "{error}");
            assert!(error.to_string().contains("fenced at epoch 3"), "{error}");
        }
    }
    assert_eq!(facts(&provider).await.open_logins, 0);
}

async fn a_drain_shuts_the_door_and_ends_nobody(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    let at_work = std::thread::scope(|scope| {
        let at_work = world.session(
            scope,
            ("acme_a", "acme"),
            "SELECT pg_sleep(2); SELECT 'done'",
        );
        tokio::task::block_in_place(|| {
            let drained = tokio::runtime::Handle::current().block_on(provider.drain(Epoch(1)));
            assert_eq!(drained.unwrap(), Applied::Done);
        });
        for login in ["acme_a", "acme_ro_a"] {
            assert!(world.as_tenant(login, "acme", "SELECT 1").is_err());
        }
        at_work.join().unwrap()
    });
    assert!(at_work.unwrap().ends_with("done"));
    let found = facts(&provider).await;
    assert_eq!(
        found.authority,
        Some(Authority {
            epoch: Epoch(1),
            writable: false
        })
    );
    assert_eq!(found.open_logins, 0);
}

/// Faults: 71, 87.
async fn a_fence_leaves_no_session_and_no_login(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    place(&provider, &plan("globex", "u2"), 0).await;
    // A tenant cannot hide: the comment on its database is its own to change.
    world
        .as_tenant("globex_a", "globex", "COMMENT ON DATABASE globex IS NULL")
        .unwrap();
    world.sql(
        "postgres",
        "CREATE ROLE guest LOGIN; GRANT CONNECT ON DATABASE acme TO guest",
    );
    let sleep = "SET application_name = 'domicile'; SELECT pg_sleep(9)";
    let ended: Vec<bool> = std::thread::scope(|scope| {
        let sessions = [
            world.session(scope, ("acme_a", "acme"), sleep),
            world.session(scope, ("acme_ro_a", "acme"), sleep),
            world.session(scope, ("globex_a", "globex"), sleep),
            world.session(scope, ("globex_a", "postgres"), sleep),
        ];
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            assert_eq!(runtime.block_on(facts(&provider)).tenant_sessions, 4);
            assert_eq!(runtime.block_on(facts(&provider)).open_logins, 4);
            let fenced = runtime.block_on(provider.fence(Epoch(1))).unwrap();
            assert_eq!(
                fenced,
                Fenced {
                    applied: Applied::Done,
                    sessions_left: 0
                }
            );
        });
        sessions
            .into_iter()
            .map(|session| session.join().unwrap().is_err())
            .collect()
    });
    assert_eq!(ended, [true; 4]);
    let found = facts(&provider).await;
    assert_eq!((found.tenant_sessions, found.open_logins), (0, 0));
    // The read-only login too: what its tenant granted to it is not known.
    for login in ["acme_a", "acme_b", "acme_ro_a", "globex_a", "globex_b"] {
        assert!(
            world.as_tenant(login, "postgres", "SELECT 1").is_err(),
            "{login} logged in"
        );
    }

    assert_eq!(
        provider.take_authority(Epoch(2)).await.unwrap(),
        Applied::Done
    );
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    let open = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin
                AND rolname ~ '^(acme|globex)'";
    // Owners and the slots that never had a password stay shut.
    assert_eq!(
        world.sql("postgres", open),
        "acme_a acme_ro_a globex_a globex_ro_a"
    );
}

/// Faults: 68, 76.
async fn a_fence_does_not_wait_for_a_lost_synchronous_standby(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    world
        .as_tenant("acme_a", "acme", "CREATE TABLE t (n int)")
        .unwrap();
    provider
        .set_synchronous(Some("eu-central"), Epoch(0))
        .await
        .unwrap();
    standby.freeze();
    let waits = |count: u32| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("commits wait", || {
            world.sql("postgres", sql).parse() == Ok(count)
        });
    };
    let began = std::thread::scope(|scope| {
        let insert = world.session(scope, ("acme_a", "acme"), "INSERT INTO t VALUES (1)");
        waits(1);
        // It holds the lock on its own role, which the fence needs, for as long as it waits.
        let alter = "SET ROLE NONE; ALTER ROLE CURRENT_USER PASSWORD NULL";
        let alter = world.session(scope, ("acme_a", "acme"), alter);
        waits(2);
        let began = Instant::now();
        tokio::task::block_in_place(|| {
            let fence = provider.fence(Epoch(1));
            let fenced = tokio::runtime::Handle::current().block_on(fence).unwrap();
            assert_eq!(
                fenced,
                Fenced {
                    applied: Applied::Done,
                    sessions_left: 0
                }
            );
        });
        let took = began.elapsed();
        assert!(insert.join().unwrap().is_err() && alter.join().unwrap().is_err());
        took
    });
    assert!(began < Duration::from_secs(5), "{began:?}");
    provider.take_authority(Epoch(2)).await.unwrap();
    provider.heartbeat(&beat(2)).await.unwrap();
    standby.thaw();
}

/// Faults: 48.
async fn a_sleeping_holder_of_the_lock_does_not_stop_a_fence_for_good(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    provider.ensure_tables().await.unwrap();
    // As an operator that was frozen in the middle of an effect.
    let hold = "BEGIN; SELECT FROM domicile.authority FOR UPDATE; SELECT pg_sleep(4); COMMIT";
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| world.sql("postgres", hold));
        eventually("the row is locked", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%'
                       AND pid <> pg_backend_pid()";
            world.sql("postgres", sql) == "1"
        });
        tokio::task::block_in_place(|| {
            let fence = provider.fence(Epoch(1));
            let fenced = tokio::runtime::Handle::current().block_on(fence).unwrap();
            assert_eq!(
                fenced,
                Fenced {
                    applied: Applied::Done,
                    sessions_left: 0
                }
            );
        });
        holder.join().unwrap();
    });
}

/// Faults: 47.
async fn a_repeated_effect_writes_nothing(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    provider.take_authority(Epoch(1)).await.unwrap();
    provider.set_synchronous(None, Epoch(1)).await.unwrap();
    let before = world.next_transaction();
    for _ in 0..10 {
        assert_eq!(
            provider.take_authority(Epoch(1)).await.unwrap(),
            Applied::Already
        );
        assert_eq!(
            provider.set_synchronous(None, Epoch(1)).await.unwrap(),
            Applied::Already
        );
        assert_eq!(provider.promote(Epoch(1)).await.unwrap(), Applied::Already);
    }
    assert_eq!(world.next_transaction(), before);
    provider.fence(Epoch(2)).await.unwrap();
    let fenced = world.next_transaction();
    assert_ne!(fenced, before, "the count does not count");
    for _ in 0..10 {
        assert_eq!(provider.drain(Epoch(2)).await.unwrap(), Applied::Already);
        let again = provider.fence(Epoch(2)).await.unwrap();
        assert_eq!(
            again,
            Fenced {
                applied: Applied::Already,
                sessions_left: 0
            }
        );
    }
    assert_eq!(world.next_transaction(), fenced);
}

/// Faults: 58.
async fn a_standby_refuses_every_effect(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    place(&world.provider(), &plan("acme", "u1"), 0).await;
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    let provider = world.provider_of(&standby);
    let (plan, e) = (plan("acme", "u1"), Epoch(0));
    let refused = [
        provider.drain(e).await.unwrap_err(),
        provider.fence(e).await.unwrap_err(),
        provider.take_authority(e).await.unwrap_err(),
        provider.heartbeat(&beat(0)).await.unwrap_err(),
        provider.set_synchronous(Some("x"), e).await.unwrap_err(),
        provider
            .ensure_tenant(&plan, e, &verifiers())
            .await
            .unwrap_err(),
        provider.drop_tenant(&plan, e).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(
            (error.reason(), error.class()),
            ("NotPrimary", Class::Conflict),
            "{error}"
        );
    }
}

async fn a_synchronous_standby_is_named_literally(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    for name in [
        "eu-central",
        "*",
        "a\"b",
        "it's",
        "x, y",
        "ANY 1 (z)",
        "back\\slash",
    ] {
        let applied = provider
            .set_synchronous(Some(name), Epoch(0))
            .await
            .unwrap();
        assert_eq!(applied, Applied::Done, "{name}");
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        assert_eq!(facts(&provider).await.synchrony.names, quoted);
    }
    for none in [None, Some("")] {
        provider.set_synchronous(Some("x"), Epoch(0)).await.unwrap();
        provider.set_synchronous(none, Epoch(0)).await.unwrap();
        assert_eq!(facts(&provider).await.synchrony.names, "");
    }
}
