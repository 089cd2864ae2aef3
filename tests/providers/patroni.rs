//! Servers that Patroni runs, in two clusters of which one follows the other.

use std::time::Duration;

use domicile_core::facts::{Epoch, Role};
use domicile_core::failover::Rejoin;
use domicile_core::health::Probe;
use domicile_core::time::Mono;
use domicile_lab::postgres::{REST_PORT, REST_USER, Server};
use domicile_providers::{
    Applied, EngineFailure, Managed, Patroni, PatroniEndpoint, ProviderError, Upstream,
};
use secrecy::ExposeSecret;

use crate::world::{LIMIT, World, facts, place, plan};

const WEST: &str = "eu-west";
const CENTRAL: &str = "eu-central";

/// Faults: 94.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patroni_promotes_and_makes_what_came_back_a_standby_again() {
    // Only an earlier test could make it fail, and then a provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::under_patroni(&[WEST, CENTRAL]);
    let standby = world.lab.standby(CENTRAL, &world.primary).unwrap();
    cannot_be_asked(&world, &standby).await;

    place(&world.provider(), &plan("acme", "u1"), 0).await;
    let table = "CREATE TABLE t AS SELECT 1 AS n";
    world.as_tenant("acme_a", "acme", table).unwrap();
    let old = world.provider();
    until("the write is counted", async || {
        old.written_databases().await.unwrap() == ["acme"]
    })
    .await;

    let sql = world.provider_of(&standby);
    let server = managed(&world, &standby);
    world.provider().fence(Epoch(3)).await.unwrap();
    standby
        .await_streaming(&world.primary, Duration::from_secs(5))
        .unwrap();
    let stale = server.promote(Epoch(2)).await;
    assert!(
        matches!(stale, Err(ProviderError::Stale { .. })),
        "{stale:?}"
    );
    // The addresses of two clusters were mixed up: the other one has the same system identifier.
    let crossed = Managed::patroni(
        world.provider_of(&standby),
        patroni(endpoint(&world, &world.primary)),
    );
    for asked in [
        crossed.check().await,
        crossed.promote(Epoch(3)).await.map(drop),
    ] {
        let error = asked.unwrap_err();
        assert_eq!(error.reason(), EngineFailure::Invalid.reason(), "{error}");
    }
    server.check().await.unwrap();
    assert_eq!(facts(&sql).await.role, Role::Standby);

    assert_eq!(server.promote(Epoch(3)).await.unwrap(), Applied::Done);
    let found = facts(&sql).await;
    assert_eq!((found.role, found.timeline), (Role::Primary, 2));
    assert_eq!(server.promote(Epoch(3)).await.unwrap(), Applied::Already);
    assert_eq!(facts(&sql).await.timeline, 2);
    sql.take_authority(Epoch(3)).await.unwrap();
    comes_back(&world, &standby).await;
}

/// The old primary is started again by its own Patroni: on a timeline of the same number as that of
/// the new primary, with another content.
async fn comes_back(world: &World, standby: &Server) {
    let west = &world.primary;
    world.sql("postgres", "CREATE TABLE alone AS SELECT 1 AS n");
    west.kill().unwrap();
    west.start().unwrap();
    let (sql, server) = (world.provider(), managed(world, west));
    let is = async |role, timeline| match sql.probe(Mono(1)).await {
        Probe::Answered(facts) => facts.role == role && facts.timeline == timeline,
        Probe::Failed(..) => false,
    };
    until("it writes", async || is(Role::Primary, 2).await).await;
    let upstream = Upstream {
        host: standby.address().to_string(),
        port: standby.port(),
        slot: Some("eu_west".to_owned()),
    };
    let stale = server.rejoin(Epoch(2), &upstream, Rejoin::Rewind).await;
    assert!(
        matches!(stale, Err(ProviderError::Stale { .. })),
        "{stale:?}"
    );
    let open = server.rejoin(Epoch(4), &upstream, Rejoin::Rewind).await;
    assert!(
        matches!(open, Err(ProviderError::NotFenced { .. })),
        "{open:?}"
    );

    // It left the common timeline behind all that the new primary had replayed of it.
    until("Patroni has written down where", async || {
        server.ends().await.is_ok_and(|ends| ends.len() == 1)
    })
    .await;
    let (ends, own) = (server.ends().await.unwrap(), facts(&sql).await);
    let new = facts(&world.provider_of(standby)).await;
    assert_eq!((ends[0].0, Some(ends[0].1)), (1, own.recovered));
    assert!(new.recovered.is_some_and(|at| at < ends[0].1), "{new:?}");
    // Asked again and again, as the machine does, also while the server is being restarted.
    until("it has a timeline that the other never had", async || {
        let _busy = server.outgrow(Epoch(3)).await;
        is(Role::Primary, 3).await
    })
    .await;
    let asked = server.rejoin(Epoch(3), &upstream, Rejoin::Rewind).await;
    assert_eq!(asked.unwrap(), Applied::Done);
    until("it follows", async || match sql.probe(Mono(1)).await {
        Probe::Answered(facts) => facts.receiver.is_some_and(|it| it.timeline == 2),
        Probe::Failed(..) => false,
    })
    .await;
    west.await_streaming(standby, Duration::from_secs(20))
        .unwrap();
    let alone = world.sql("postgres", "SELECT to_regclass('alone') IS NULL");
    assert_eq!(alone, "t", "what it alone held is undone");
    // A standby that follows is left alone, whoever asks.
    let late = server.outgrow(Epoch(3)).await;
    assert!(
        matches!(late, Err(ProviderError::NotFenced { .. })),
        "{late:?}"
    );
    let slots = "SELECT active FROM pg_replication_slots WHERE slot_name = 'eu_west'";
    assert_eq!(standby.superuser_sql("postgres", slots).unwrap(), "t");
}

async fn cannot_be_asked(world: &World, server: &Server) {
    let right = patroni(endpoint(world, server));
    // Its server streams before Patroni has read its own settings from etcd.
    until("Patroni answers", async || right.check().await.is_ok()).await;

    let mut strange = endpoint(world, server);
    strange.password = "canary".into();
    fails(&patroni(strange), EngineFailure::Denied).await;

    let mut untrusted = endpoint(world, server);
    untrusted.ca_pem = other_authority();
    fails(&patroni(untrusted), EngineFailure::Unreachable).await;

    let mut silent = endpoint(world, server);
    silent.urls = vec!["https://127.0.0.1:1".to_owned()];
    fails(&patroni(silent), EngineFailure::Unreachable).await;

    // A member that takes no connection is passed over.
    let mut second = endpoint(world, server);
    second.urls.insert(0, "https://127.0.0.1:1".to_owned());
    // Neither is one waited for that takes it and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    second.urls.insert(0, format!("https://{address}"));
    patroni(second).check().await.unwrap();

    for url in ["http://127.0.0.1:8008", "no address"] {
        let mut wrong = endpoint(world, server);
        wrong.urls = vec![url.to_owned()];
        let error = Patroni::new(wrong, LIMIT).unwrap_err();
        assert_eq!(error.reason(), EngineFailure::Invalid.reason(), "{error}");
        assert!(
            error.to_string().contains("provider.patroni.urls"),
            "{error}"
        );
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..300 {
        if holds().await {
            return;
        }
        pace.tick().await;
    }
    panic!("not within 30 s: {what}");
}

/// It fails in this way, with a next step, and without the password.
async fn fails(patroni: &Patroni, wanted: EngineFailure) {
    let error = patroni.check().await.unwrap_err();
    assert_eq!(error.reason(), wanted.reason(), "{error}");
    let told = format!("{error} {error:?} {patroni:?}");
    assert!(!told.contains("canary"), "{told}");
    assert!(error.to_string().contains("provider.patroni"), "{error}");
}

fn other_authority() -> String {
    let authority = domicile_lab::pki::Authority::new("somebody else's").unwrap();
    authority.cert_pem().to_owned()
}

fn patroni(endpoint: PatroniEndpoint) -> Patroni {
    Patroni::new(endpoint, LIMIT).unwrap()
}

fn managed(world: &World, server: &Server) -> Managed {
    let sql = world.provider_of(server);
    Managed::patroni(sql, patroni(endpoint(world, server)))
}

fn endpoint(world: &World, server: &Server) -> PatroniEndpoint {
    let address = server.address();
    PatroniEndpoint {
        server: format!("{address}:{}", server.port()),
        urls: vec![format!("https://{address}:{REST_PORT}")],
        ca_pem: world.lab.ca_pem().to_owned(),
        username: REST_USER.to_owned(),
        password: world.lab.passwords().patroni.expose_secret().into(),
    }
}
