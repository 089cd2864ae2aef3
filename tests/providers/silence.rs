//! Servers that say nothing: at the first packet, or from some message on.

use std::net::Ipv4Addr;
use std::time::Duration;

use domicile_core::facts::Epoch;
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::time::Mono;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Endpoint, Generic, ProviderError};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::relay::Relay;
use crate::world::{World, on_both_versions};

on_both_versions!(
    an_address_that_swallows_everything_is_given_up_in_time,
    an_answer_without_end_is_not_read_to_its_end,
    wherever_a_server_falls_silent_the_call_ends_in_time,
);

/// An address that answers no first packet: its queue is full, and nobody empties it. The kernel
/// then drops what comes, as a network does that drops all.
async fn black_hole(address: Ipv4Addr) -> (tokio::net::TcpListener, u16, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut waiting = Vec::new();
    loop {
        let connect = TcpStream::connect((address, port));
        match timeout(Duration::from_millis(300), connect).await {
            Ok(connected) => waiting.push(connected.unwrap()),
            Err(_) => return (listener, port, waiting),
        }
        assert!(waiting.len() < 100, "the queue has no end");
    }
}

/// Faults: 54.
async fn an_address_that_swallows_everything_is_given_up_in_time(binaries: &Binaries) {
    let world = World::new(binaries);
    let right = world.endpoint(&world.primary);
    let (_listener, port, _waiting) = black_hole(world.primary.address()).await;
    let limit = Duration::from_secs(2);
    let provider = Generic::new(Endpoint { port, ..right }, limit).unwrap();
    let began = Instant::now();
    let probe = provider.probe(Mono(0)).await;
    let took = began.elapsed();
    let Probe::Failed(failure, text) = probe else {
        panic!("answered: {probe:?}");
    };
    // Not silence of a server: nothing took the connection.
    assert_eq!(failure, ProbeFailure::Unreachable, "{text}");
    assert!(failure.suggests_outage());
    assert!(took > limit / 2 && took < limit, "{took:?}");
}

/// Faults: 25.
async fn an_answer_without_end_is_not_read_to_its_end(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    provider.ensure_tables().await.unwrap();
    let endless = "DROP TABLE domicile.heartbeat; CREATE VIEW domicile.heartbeat AS
        SELECT n AS sequence, 'x' AS leader, n AS at_ms, n AS epoch
        FROM generate_series(1, 100000) n, generate_series(1, 10000);
        GRANT SELECT ON domicile.heartbeat TO PUBLIC";
    world.sql("postgres", endless);
    let probe = provider.probe(Mono(0)).await;
    let Probe::Failed(_, text) = probe else {
        panic!("answered: {probe:?}");
    };
    assert!(text.contains("more than 100000 rows"), "{text}");
}

/// Faults: 25, 55.
async fn wherever_a_server_falls_silent_the_call_ends_in_time(binaries: &Binaries) {
    let world = World::new(binaries);
    world.provider().ensure_tables().await.unwrap();
    let (limit, late) = (Duration::from_millis(700), Duration::from_millis(1500));
    let right = world.endpoint(&world.primary);
    for messages in 0..40 {
        let relay = Relay::hushing(world.primary.address(), right.port, messages).await;
        let endpoint = Endpoint {
            port: relay.port,
            ..right.clone()
        };
        let provider = Generic::new(endpoint, limit).unwrap();
        let began = Instant::now();
        let fenced = provider.fence(Epoch(1)).await;
        assert!(began.elapsed() < late, "{messages}: {:?}", began.elapsed());
        let Err(error) = fenced else {
            assert!(messages > 5, "a fence took only {messages} messages");
            return;
        };
        let silent = matches!(error, ProviderError::TimedOut { .. });
        assert!(silent, "{messages}: {error}");
        assert_eq!(error.probe_failure(), ProbeFailure::TimedOut);
    }
    panic!("40 messages were not enough");
}
