//! One read of a server, and each way in which it fails.

use std::time::Duration;

use domicile_core::facts::{Epoch, Heartbeat, Role};
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::time::Mono;
use domicile_lab::postgres::{Binaries, Loopback, Settings};
use domicile_providers::{Applied, Endpoint, Generic, ProviderError};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::relay::Relay;
use crate::world::{CANARY, LIMIT, World, eventually, facts, on_both_versions, place, plan};

on_both_versions!(
    each_fault_has_its_own_reason,
    a_frozen_server_is_given_up_at_the_deadline,
    a_server_that_shuts_down_is_not_accepting,
    a_weak_login_method_gets_no_password,
    an_empty_server_tells_its_facts,
    a_pair_tells_who_follows_whom,
    what_a_primary_has_written_is_what_its_standby_can_reach,
    a_relaxed_commit_is_seen_wherever_it_is_set,
    a_login_without_rights_is_told_which,
);

async fn failure(endpoint: Endpoint) -> ProbeFailure {
    let provider = Generic::new(endpoint, Duration::from_secs(2)).unwrap();
    match provider.probe(Mono(0)).await {
        Probe::Answered(facts) => panic!("answered: {facts:?}"),
        Probe::Failed(failure, text) => {
            assert!(!text.contains(CANARY), "{text}");
            assert!(text.contains(provider.server()), "{text}");
            failure
        }
    }
}

/// Faults: 24, 25, 53, 57, 60, 61.
async fn each_fault_has_its_own_reason(binaries: &Binaries) {
    let world = World::new(binaries);
    let right = world.endpoint(&world.primary);
    assert!(facts(&world.provider()).await.missing_rights.is_empty());

    let wrong = Endpoint {
        password: SecretString::from(CANARY),
        ..right.clone()
    };
    assert_eq!(failure(wrong).await, ProbeFailure::CredentialsDenied);
    let nobody = Endpoint {
        username: "nobody".into(),
        ..right.clone()
    };
    assert_eq!(failure(nobody).await, ProbeFailure::CredentialsDenied);

    let stranger = Loopback::new(binaries, Settings::default()).unwrap();
    let foreign = Endpoint {
        ca_pem: stranger.ca_pem().to_owned(),
        ..right.clone()
    };
    assert_eq!(failure(foreign).await, ProbeFailure::CertificateInvalid);

    // The certificate names the server's address, not this one's.
    let address = [127, 0, 9, 9].into();
    let relay = Relay::misnamed(address, (world.primary.address(), right.port)).await;
    let misnamed = Endpoint {
        host: "127.0.9.9".into(),
        port: relay.port,
        ..right.clone()
    };
    assert_eq!(failure(misnamed).await, ProbeFailure::CertificateInvalid);

    assert_eq!(
        failure(Endpoint {
            port: 1,
            ..right.clone()
        })
        .await,
        ProbeFailure::Unreachable
    );
    assert_eq!(
        failure(plain_server(&right).await).await,
        ProbeFailure::CertificateInvalid
    );

    world.sql("postgres", "ALTER ROLE domicile_admin CONNECTION LIMIT 0");
    assert_eq!(
        failure(right.clone()).await,
        ProbeFailure::TooManyConnections
    );
    world.sql(
        "postgres",
        "ALTER ROLE domicile_admin CONNECTION LIMIT -1 NOLOGIN",
    );
    assert_eq!(
        failure(right.clone()).await,
        ProbeFailure::CredentialsDenied
    );

    let junk = Generic::new(
        Endpoint {
            ca_pem: "junk".into(),
            ..right
        },
        LIMIT,
    );
    assert!(matches!(junk, Err(ProviderError::CaInvalid { .. })));
}

/// A server that speaks no TLS. It answers one connection.
async fn plain_server(right: &Endpoint) -> Endpoint {
    let listener = TcpListener::bind((right.host.as_str(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = listener.into_std().unwrap();
        runtime.block_on(async move {
            let (mut client, _) = TcpListener::from_std(listener)
                .unwrap()
                .accept()
                .await
                .unwrap();
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            client.write_all(b"N").await.unwrap();
        });
    });
    Endpoint {
        port,
        ..right.clone()
    }
}

/// Faults: 55.
async fn a_frozen_server_is_given_up_at_the_deadline(binaries: &Binaries) {
    let world = World::new(binaries);
    world.primary.freeze();
    let began = Instant::now();
    assert_eq!(
        failure(world.endpoint(&world.primary)).await,
        ProbeFailure::TimedOut
    );
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(4),
        "{took:?}"
    );
    world.primary.thaw();
    facts(&world.provider()).await;
}

/// Faults: 67.
async fn a_server_that_shuts_down_is_not_accepting(binaries: &Binaries) {
    let world = World::new(binaries);
    place(&world.provider(), &plan("acme", "u1"), 0).await;
    let lock = std::fs::read_to_string(world.primary.data_dir().join("postmaster.pid")).unwrap();
    let postmaster = nix::unistd::Pid::from_raw(lock.lines().next().unwrap().parse().unwrap());
    std::thread::scope(|scope| {
        // The shutdown waits for this session and lets nobody else in.
        world.session(scope, ("acme_a", "acme"), "SELECT pg_sleep(3)");
        nix::sys::signal::kill(postmaster, nix::sys::signal::Signal::SIGTERM).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        tokio::task::block_in_place(|| {
            let refused = failure(world.endpoint(&world.primary));
            let refused = tokio::runtime::Handle::current().block_on(refused);
            assert_eq!(refused, ProbeFailure::NotAccepting);
        });
    });
}

/// Faults: 25, 28.
async fn a_weak_login_method_gets_no_password(binaries: &Binaries) {
    let world = World::new(binaries);
    let hba = world.primary.spec().dir.join("conf/pg_hba.conf");
    let strong = std::fs::read_to_string(&hba).unwrap();
    let weak = strong.replace("scram-sha-256", "password");
    assert_ne!(strong, weak);
    std::fs::write(&hba, weak).unwrap();
    world.sql("postgres", "SELECT pg_reload_conf()");
    let right = || world.endpoint(&world.primary);
    let mut last = None;
    for _ in 0..40 {
        match world.provider().probe(Mono(0)).await {
            Probe::Failed(failure, _) => {
                last = Some(failure);
                break;
            }
            // Not reloaded yet.
            Probe::Answered(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    assert_eq!(last, Some(ProbeFailure::CredentialsDenied));
    assert_eq!(failure(right()).await, ProbeFailure::CredentialsDenied);
}

async fn an_empty_server_tells_its_facts(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let found = facts(&provider).await;
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    assert_eq!(found.system_identifier, world.sql("postgres", identifier));
    assert_eq!((found.role, found.timeline), (Role::Primary, 1));
    assert_eq!((found.authority, found.heartbeat), (None, None));
    assert_eq!((found.tenant_sessions, found.open_logins), (0, 0));
    assert_eq!(found.missing_rights, Vec::<String>::new());
    assert_eq!(found.sampled, Mono(1));
    assert!(found.position.0 > 0 && found.receiver.is_none() && found.senders.is_empty());
    assert_eq!(found.synchrony, domicile_core::facts::Synchrony::default());

    assert_eq!(provider.ensure_tables().await.unwrap(), Applied::Done);
    assert_eq!(provider.ensure_tables().await.unwrap(), Applied::Already);
    let beat = Heartbeat {
        sequence: 7,
        leader: "o'brien\\".into(),
        at: Mono(9),
        epoch: Epoch(0),
    };
    provider.heartbeat(&beat).await.unwrap();
    let found = facts(&provider).await;
    assert_eq!(
        found.authority.map(|row| (row.epoch, row.writable)),
        Some((Epoch(0), true))
    );
    assert_eq!(found.heartbeat, Some(beat));
}

async fn a_pair_tells_who_follows_whom(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let provider = world.provider();
    provider.ensure_tables().await.unwrap();
    provider
        .set_synchronous(Some("eu-central"), Epoch(0))
        .await
        .unwrap();
    let mut west = facts(&provider).await;
    eventually("the standby is synchronous", || {
        let sql = "SELECT sync_state FROM pg_stat_replication";
        world.sql("postgres", sql) == "sync"
    });
    west.senders = facts(&provider).await.senders;
    let central = facts(&world.provider_of(&standby)).await;
    assert_eq!(central.system_identifier, west.system_identifier);
    assert_eq!((central.role, central.timeline), (Role::Standby, 1));
    assert_eq!(central.authority, west.authority);
    let receiver = central.receiver.unwrap();
    assert_eq!(
        (receiver.name.as_str(), receiver.timeline),
        ("eu-central", 1)
    );
    assert!(receiver.silent_ms < 2000 && receiver.patience_ms == 1000);
    let sender = &west.senders[0];
    assert_eq!(
        (sender.name.as_str(), sender.streaming, sender.synchronous),
        ("eu-central", true, true)
    );
    assert!(sender.replayed.is_some() && central.received.is_some());
    assert_eq!(west.synchrony.names, "\"eu-central\"");

    world.primary.freeze();
    std::thread::sleep(Duration::from_millis(1400));
    let silent = facts(&world.provider_of(&standby))
        .await
        .receiver
        .map(|r| r.silent_ms);
    world.primary.thaw();
    assert!(
        silent.is_none_or(|ms| ms > 1000),
        "a dead stream looks alive: {silent:?}"
    );
}

/// Also when a record fills its page, and when nobody waited for the flush.
async fn what_a_primary_has_written_is_what_its_standby_can_reach(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    world.sql("postgres", "CREATE TABLE t (content text)");
    let there = world.provider_of(&standby);
    for round in 0..40 {
        let content = format!("repeat('x', {})", round * 211);
        let insert = format!(
            "SET synchronous_commit = off; INSERT INTO t VALUES ({content}) RETURNING
             pg_current_wal_insert_lsn()"
        );
        world.sql("postgres", &insert);
        let written = facts(&world.provider()).await.position;
        let mut reached = facts(&there).await.position;
        for _ in 0..100 {
            if reached >= written {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            reached = facts(&there).await.position;
        }
        assert!(reached >= written, "round {round}: {reached} of {written}");
    }
}

/// Faults: 68.
async fn a_relaxed_commit_is_seen_wherever_it_is_set(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    assert!(!facts(&provider).await.synchrony.relaxed);
    world.sql("postgres", "CREATE ROLE other");
    world.sql("postgres", "CREATE DATABASE other OWNER other");
    let settings = [
        (
            "ALTER ROLE other SET synchronous_commit = off",
            "ALTER ROLE other RESET ALL",
        ),
        (
            "ALTER DATABASE other SET synchronous_commit = local",
            "ALTER DATABASE other RESET ALL",
        ),
        (
            "ALTER ROLE other IN DATABASE acme SET synchronous_commit = 'No'",
            "ALTER ROLE other IN DATABASE acme RESET ALL",
        ),
        (
            "ALTER SYSTEM SET synchronous_commit = remote_write",
            "ALTER SYSTEM RESET synchronous_commit",
        ),
    ];
    for (relax, restore) in settings {
        for (sql, relaxed) in [(relax, true), (restore, false)] {
            world.sql("postgres", sql);
            world.sql("postgres", "SELECT pg_reload_conf()");
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(facts(&provider).await.synchrony.relaxed, relaxed, "{sql}");
        }
    }
    // What only strengthens a commit, and the operator's own login, relax nothing for tenants.
    world.sql(
        "postgres",
        "ALTER DATABASE other SET synchronous_commit = remote_apply",
    );
    assert!(!facts(&provider).await.synchrony.relaxed);
}

async fn a_login_without_rights_is_told_which(binaries: &Binaries) {
    let world = World::new(binaries);
    world.provider().ensure_tables().await.unwrap();
    let weak = format!("CREATE ROLE weak LOGIN PASSWORD '{CANARY}'");
    world.sql(
        "postgres",
        &format!("SET log_min_error_statement = panic; {weak}"),
    );
    let endpoint = Endpoint {
        username: "weak".into(),
        password: SecretString::from(CANARY),
        ..world.endpoint(&world.primary)
    };
    let provider = Generic::new(endpoint, LIMIT).unwrap();
    let found = facts(&provider).await;
    for right in [
        "CREATEDB",
        "CREATEROLE",
        "pg_monitor",
        "pg_signal_backend",
        "pg_promote",
        "pg_reload_conf",
        "synchronous_standby_names",
        "schema domicile",
    ] {
        let named = found
            .missing_rights
            .iter()
            .any(|missing| missing.contains(right));
        assert!(named, "{right} is not in {:?}", found.missing_rights);
    }
    let refused = provider.drain(Epoch(1)).await.unwrap_err();
    assert_eq!(refused.reason(), "AdminPrivilegesInsufficient", "{refused}");
    assert!(refused.to_string().contains("admin-sql"), "{refused}");
}
