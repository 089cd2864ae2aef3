//! Making a tenant under disturbance: cut off, watched, at once, and taken apart again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domicile_core::facts::Epoch;
use domicile_core::health::ProbeFailure;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Class, Endpoint, Generic, ProviderError, TenantPlan};
use secrecy::SecretString;

use crate::relay::Relay;
use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    actors_at_once_make_one_tenant,
    what_was_taken_away_comes_back,
    a_call_cut_anywhere_is_completed_by_the_next,
    nobody_else_connects_while_a_tenant_is_made,
    another_server_than_the_recorded_one_is_not_touched,
);

/// Faults: 47.
async fn actors_at_once_make_one_tenant(binaries: &Binaries) {
    let world = World::new(binaries);
    let acme = TenantPlan {
        schemas: vec!["billing".into(), "audit".into()],
        ..plan("acme", "u1")
    };
    let (provider, verifiers) = (world.provider(), verifiers());
    let call = || provider.ensure_tenant(&acme, Epoch(0), &verifiers);
    for outcome in futures::future::join_all((0..4).map(|_| call())).await {
        // A loser may see what the winner is at; it is told to try again.
        let class = outcome.as_ref().err().map(ProviderError::class);
        assert!(
            matches!(class, None | Some(Class::Transient)),
            "{outcome:?}"
        );
    }
    call().await.unwrap();
    assert_eq!(call().await.unwrap().applied, Applied::Already);
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
}

/// Faults: 18.
async fn what_was_taken_away_comes_back(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    let drift = [
        ("postgres", "REVOKE CONNECT ON DATABASE acme FROM acme_ro"),
        ("postgres", "GRANT CONNECT ON DATABASE acme TO PUBLIC"),
        (
            "postgres",
            "GRANT CONNECT ON DATABASE acme TO globex_a WITH GRANT OPTION",
        ),
        ("postgres", "COMMENT ON DATABASE acme IS 'domicile:other'"),
        ("postgres", "ALTER DATABASE acme ALLOW_CONNECTIONS false"),
        ("postgres", "ALTER ROLE acme_a NOLOGIN"),
        ("postgres", "ALTER ROLE acme_ro_a CONNECTION LIMIT 1"),
        ("postgres", "ALTER ROLE acme_b IN DATABASE acme RESET role"),
        (
            "postgres",
            "SET ROLE domicile_admin; REVOKE acme FROM acme_a",
        ),
        (
            "postgres",
            "SET ROLE domicile_admin; REVOKE acme_ro FROM acme_ro_b",
        ),
        (
            "postgres",
            "SET ROLE domicile_admin; GRANT acme TO acme_ro_a",
        ),
        ("postgres", "DROP ROLE acme_ro_b"),
        ("acme", "GRANT CREATE ON SCHEMA public TO PUBLIC"),
        ("acme", "REVOKE USAGE ON SCHEMA public FROM acme_ro"),
        (
            "acme",
            "ALTER DEFAULT PRIVILEGES FOR ROLE acme REVOKE SELECT ON TABLES FROM acme_ro",
        ),
    ];
    for (database, sql) in drift {
        world.sql(database, sql);
        let repaired = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(repaired.unwrap().applied, Applied::Done, "{sql}");
        let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(settled.unwrap().applied, Applied::Already, "{sql}");
    }
    world
        .as_tenant("acme_a", "acme", "CREATE TABLE t AS SELECT 1 AS n")
        .unwrap();
    assert_eq!(
        world
            .as_tenant("acme_ro_a", "acme", "SELECT n FROM t")
            .unwrap(),
        "1"
    );
    assert!(world.as_tenant("globex_a", "acme", "SELECT 1").is_err());
    assert!(
        world
            .as_tenant("acme_ro_a", "acme", "INSERT INTO t VALUES (1)")
            .is_err()
    );
}

/// Faults: 44, 45, 69.
async fn a_call_cut_anywhere_is_completed_by_the_next(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    provider.ensure_tables().await.unwrap();
    for messages in 1..200 {
        let name = format!("t{messages}");
        let plan = plan(&name, "u1");
        let endpoint = world.endpoint(&world.primary);
        let relay = Relay::cutting(world.primary.address(), endpoint.port, messages).await;
        let cut = Generic::new(
            Endpoint {
                port: relay.port,
                ..endpoint
            },
            Duration::from_secs(5),
        );
        let Err(error) = cut
            .unwrap()
            .ensure_tenant(&plan, Epoch(0), &verifiers())
            .await
        else {
            assert!(messages > 30, "the call took only {messages} messages");
            return;
        };
        assert_eq!(
            error.probe_failure(),
            ProbeFailure::Unreachable,
            "{messages}: {error}"
        );
        // The server may still be at the last statement of the session that was cut.
        let mut ensured = provider.ensure_tenant(&plan, Epoch(0), &verifiers()).await;
        for _ in 0..5 {
            if ensured.is_err() {
                ensured = provider.ensure_tenant(&plan, Epoch(0), &verifiers()).await;
            }
        }
        ensured.unwrap_or_else(|error| panic!("cut after {messages}: {error}"));
        let settled = provider
            .ensure_tenant(&plan, Epoch(0), &verifiers())
            .await
            .unwrap();
        assert_eq!(settled.applied, Applied::Already, "cut after {messages}");
        let password = SecretString::from(CANARY);
        provider
            .can_log_in(&plan.database, &format!("{name}_a"), &password)
            .await
            .unwrap();
        provider.drop_tenant(&plan, Epoch(0)).await.unwrap();
    }
    panic!("200 messages were not enough");
}

/// Faults: 19.
async fn nobody_else_connects_while_a_tenant_is_made(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("globex", "u2"), 0).await;
    let made = AtomicBool::new(false);
    let (came_in, tried) = std::thread::scope(|scope| {
        let intruder = scope.spawn(|| {
            let (mut came_in, mut tried) = (0, 0);
            while !made.load(Ordering::SeqCst) {
                for n in 0..3 {
                    let target = format!("acme{n}");
                    tried += 1;
                    came_in += u32::from(world.as_tenant("globex_a", &target, "SELECT 1").is_ok());
                }
            }
            (came_in, tried)
        });
        tokio::task::block_in_place(|| {
            for round in 0..4 {
                for n in 0..3 {
                    let plan = plan(&format!("acme{n}"), "u1");
                    let runtime = tokio::runtime::Handle::current();
                    runtime.block_on(place(&provider, &plan, 0));
                    if round < 3 {
                        runtime
                            .block_on(provider.drop_tenant(&plan, Epoch(0)))
                            .unwrap();
                    }
                }
            }
        });
        made.store(true, Ordering::SeqCst);
        intruder.join().unwrap()
    });
    assert_eq!(came_in, 0);
    assert!(tried > 12, "the intruder tried only {tried} times");
}

/// Faults: 62.
async fn another_server_than_the_recorded_one_is_not_touched(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    let before = world.next_transaction();
    let known_by = |identifiers| {
        let endpoint = world.endpoint(&world.primary);
        let endpoint = Endpoint {
            identifiers,
            ..endpoint
        };
        Generic::new(endpoint, Duration::from_secs(5)).unwrap()
    };
    let stranger = known_by(vec!["1".to_owned()]);
    let verifiers = verifiers();
    for refused in [
        stranger.ensure_tables().await.err(),
        stranger
            .ensure_tenant(&acme, Epoch(0), &verifiers)
            .await
            .err(),
        stranger.drop_tenant(&acme, Epoch(0)).await.err(),
        stranger.take_authority(Epoch(1)).await.err(),
        stranger.fence(Epoch(1)).await.err(),
        stranger.promote(Epoch(1)).await.err(),
    ] {
        assert_eq!(refused.map(|error| error.reason()), Some("WrongServer"));
    }
    assert_eq!(world.next_transaction(), before, "something was written");
    let identifier = facts(&provider).await.system_identifier;
    place(&known_by(vec!["1".to_owned(), identifier]), &acme, 0).await;
}
