//! What the server itself stops: a creation that is killed, a drop that is blocked, writes by a
//! setting, a start that takes its time, a certificate that is over.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

use domicile_core::facts::{Epoch, Heartbeat, Role};
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::time::Mono;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Class};

use crate::world::{World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    a_creation_whose_session_is_killed_is_completed_by_the_next,
    a_blocked_drop_ends_in_time_and_takes_nothing_along,
    a_server_that_takes_no_writes_answers_and_is_fenced_all_the_same,
    a_server_that_starts_up_is_not_accepting,
    a_certificate_that_is_over_is_not_passed_over,
);

/// Ends the first session that creates a database, while it does.
const KILL: &str = "DO $$ BEGIN
  FOR i IN 1..10000 LOOP
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE state = 'active' AND query LIKE 'CREATE DATABASE %' AND pid <> pg_backend_pid();
    IF FOUND THEN RETURN; END IF;
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_sleep(0.001);
  END LOOP;
  RAISE 'nobody created a database';
END $$";

/// Faults: 45, 69.
async fn a_creation_whose_session_is_killed_is_completed_by_the_next(binaries: &Binaries) {
    let world = World::new(binaries);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    provider.ensure_tables().await.unwrap();
    let killed = std::thread::scope(|scope| {
        let killer = scope.spawn(|| world.sql("postgres", KILL));
        let looks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $$%'";
        crate::world::eventually("the killer is there", || {
            world.sql("postgres", looks) == "1"
        });
        let killed = tokio::task::block_in_place(|| {
            let verifiers = verifiers();
            let ensure = provider.ensure_tenant(&acme, Epoch(0), &verifiers);
            tokio::runtime::Handle::current().block_on(ensure)
        });
        killer.join().unwrap();
        killed
    });
    let error = killed.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error}");
    place(&provider, &acme, 0).await;
    let again = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(again.unwrap().applied, Applied::Already);
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    // And nothing of the first try is left over beside it.
    assert_eq!(
        provider.drop_tenant(&acme, Epoch(0)).await.unwrap().applied,
        Applied::Done
    );
    let folders = fs::read_dir(world.primary.data_dir().join("base")).unwrap();
    let databases = "SELECT count(*) FROM pg_database";
    assert_eq!(
        world.sql("postgres", databases),
        folders.count().to_string()
    );
}

/// Faults: 70.
async fn a_blocked_drop_ends_in_time_and_takes_nothing_along(binaries: &Binaries) {
    let world = World::with(binaries, &[("max_prepared_transactions", "2")]);
    let (provider, acme) = (world.provider(), plan("acme", "u1"));
    place(&provider, &acme, 0).await;
    // An open session does not block it; these do.
    let blocks = [
        (
            "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'theirs'",
            "ROLLBACK PREPARED 'theirs'",
        ),
        (
            "CREATE SUBSCRIPTION theirs CONNECTION 'host=nowhere' PUBLICATION p
             WITH (connect = false)",
            "ALTER SUBSCRIPTION theirs SET (slot_name = NONE); DROP SUBSCRIPTION theirs",
        ),
    ];
    for (block, free) in blocks {
        world.sql("acme", block);
        let blocked = provider.drop_tenant(&acme, Epoch(0)).await.unwrap_err();
        let told = (blocked.class(), blocked.reason());
        assert_eq!(told, (Class::Transient, "DatabaseBusy"), "{blocked}");
        // The database, its roles and their passwords are as they were, and no lock is left.
        assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
        let ensured = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(ensured.unwrap().applied, Applied::Already);
        let beat = Heartbeat {
            sequence: 1,
            leader: "hub".into(),
            at: Mono(5),
            epoch: Epoch(0),
        };
        provider.heartbeat(&beat).await.unwrap();
        world.sql("acme", free);
    }
    assert_eq!(
        provider.drop_tenant(&acme, Epoch(0)).await.unwrap().applied,
        Applied::Done
    );
}

/// Faults: 58.
async fn a_server_that_takes_no_writes_answers_and_is_fenced_all_the_same(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    world.sql(
        "postgres",
        "ALTER SYSTEM SET default_transaction_read_only = on",
    );
    world.sql("postgres", "SELECT pg_reload_conf()");
    let write = || world.as_tenant("acme_a", "acme", "CREATE TABLE t ()");
    crate::world::eventually("tenants cannot write", || write().is_err());
    assert_eq!(facts(&provider).await.role, Role::Primary);
    let fenced = provider.fence(Epoch(1)).await.unwrap();
    assert_eq!((fenced.applied, fenced.sessions_left), (Applied::Done, 0));
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_err());
}

/// It looks for WAL elsewhere before it takes anybody in, and that takes a second each time.
///
/// Faults: 67.
async fn a_server_that_starts_up_is_not_accepting(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    world.sql(
        "postgres",
        "ALTER SYSTEM SET restore_command = 'sleep 1; false'",
    );
    world.primary.kill().unwrap();
    let data = world.primary.data_dir();
    let (signal, owner) = (data.join("recovery.signal"), fs::metadata(&data).unwrap());
    fs::write(&signal, "").unwrap();
    chown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
    let seen = std::thread::scope(|scope| {
        let start = scope.spawn(|| world.primary.start());
        let mut seen = Vec::new();
        while !start.is_finished() {
            let probe = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(provider.probe(Mono(0)))
            });
            if let Probe::Failed(failure, _) = probe {
                seen.push(failure);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        start.join().unwrap().unwrap();
        seen
    });
    // Before the postmaster listens there is nothing there.
    assert!(seen.contains(&ProbeFailure::NotAccepting), "{seen:?}");
    let known = [ProbeFailure::NotAccepting, ProbeFailure::Unreachable];
    assert!(
        seen.iter().all(|failure| known.contains(failure)),
        "{seen:?}"
    );
    // Once it takes people in, it still recovers, as a standby does.
    let mut role = facts(&provider).await.role;
    for _ in 0..200 {
        if role == Role::Primary {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        role = facts(&provider).await.role;
    }
    assert_eq!(role, Role::Primary);
}

/// Faults: 61.
async fn a_certificate_that_is_over_is_not_passed_over(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    facts(&provider).await;
    let (certificate, key) = world.lab.expired_certificate(&world.primary).unwrap();
    let tls = world.primary.spec().dir.join("tls");
    fs::write(tls.join("server.crt"), certificate).unwrap();
    fs::write(tls.join("server.key"), key).unwrap();
    world.sql("postgres", "SELECT pg_reload_conf()");
    let mut last = None;
    for _ in 0..40 {
        match provider.probe(Mono(0)).await {
            Probe::Failed(failure, text) => {
                last = Some((failure, text));
                break;
            }
            // Not reloaded yet.
            Probe::Answered(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    let (failure, text) = last.unwrap();
    assert_eq!(failure, ProbeFailure::CertificateInvalid, "{text}");
    assert!(text.contains("xpired"), "{text}");
    assert!(!failure.suggests_outage());
    let refused = provider.fence(Epoch(1)).await.unwrap_err();
    assert_eq!(refused.reason(), "CertificateInvalid", "{refused}");
}
