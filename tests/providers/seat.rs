//! The seat of the agent beside a server: who has it, and what can be done in it.

use std::time::Duration;

use domicile_core::facts::{Authority, Epoch};
use domicile_core::health::{Probe, ProbeFailure};
use domicile_core::time::Mono;
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, Fenced, Generic, ProviderError, Seat};
use tokio::time::Instant;

use crate::world::{LIMIT, World, eventually, facts, on_both_versions, place, plan};

on_both_versions!(
    a_replica_that_stands_still_gives_its_seat_to_the_next,
    a_replica_that_leaves_its_seat_finds_it_taken_and_gets_it_back,
    a_foreign_holder_of_the_lock_is_sent_away,
    a_server_without_a_free_connection_is_fenced_by_its_seat,
    an_older_order_does_not_fence_through_the_seat,
    a_late_answer_keeps_the_seat_and_a_lasting_silence_ends_it,
);

/// What a tenant that knows the key of the lock may do.
const HOLD: &str = "SELECT pg_advisory_lock(1685024105, 1), pg_sleep(30)";

/// Faults: 47, 48.
async fn a_replica_that_stands_still_gives_its_seat_to_the_next(binaries: &Binaries) {
    let world = World::new(binaries);
    let (first, second) = (world.provider(), world.provider());
    let idle = Duration::from_secs(2);
    let mut seat = first.take_seat(idle).await.unwrap().unwrap();
    for _ in 0..3 {
        assert!(second.take_seat(idle).await.unwrap().is_none(), "two seats");
        assert!(seat.look(Mono(1)).await.unwrap().is_some());
    }
    // From here on the first replica does nothing, as if it were stopped.
    std::thread::sleep(idle + Duration::from_secs(1));
    let mut next = second.take_seat(idle).await.unwrap().unwrap();
    assert!(
        seat.look(Mono(1)).await.is_err(),
        "two replicas have a seat"
    );
    assert!(seat.fence(Epoch(1), LIMIT).await.is_err());
    assert!(next.look(Mono(1)).await.unwrap().is_some());
    // And one that goes leaves it at once.
    drop(next);
    let mut taken = None;
    for _ in 0..40 {
        taken = first.take_seat(idle).await.unwrap();
        if taken.is_some() {
            break;
        }
    }
    assert!(taken.is_some(), "the seat of a replica that ended is kept");
}

/// The one alone lost the hub, and both go their rounds.
async fn a_replica_that_leaves_its_seat_finds_it_taken_and_gets_it_back(binaries: &Binaries) {
    let world = World::new(binaries);
    let (first, second) = (world.provider(), world.provider());
    let idle = Duration::from_secs(9);
    let mut deaf = first.take_seat(idle).await.unwrap().unwrap();
    assert!(deaf.look(Mono(1)).await.unwrap().is_some());
    assert!(second.take_seat(idle).await.unwrap().is_none(), "two seats");
    drop(deaf);
    let mut acting = free(&second, idle).await;
    assert!(first.take_seat(idle).await.unwrap().is_none(), "two seats");
    // Nothing of the first one's is left that could fence or look beside it.
    assert!(acting.look(Mono(1)).await.unwrap().is_some());
    let fenced = acting.fence(Epoch(1), LIMIT).await.unwrap();
    assert_eq!(fenced.sessions_left, 0);
    drop(acting);
    assert!(
        free(&first, idle)
            .await
            .look(Mono(1))
            .await
            .unwrap()
            .is_some()
    );
}

/// The seat that another one left: its session takes a moment to end.
async fn free(replica: &Generic, idle: Duration) -> Seat {
    for _ in 0..40 {
        if let Some(seat) = replica.take_seat(idle).await.unwrap() {
            return seat;
        }
    }
    panic!("the seat was left, and is not free")
}

async fn a_foreign_holder_of_the_lock_is_sent_away(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    let idle = Duration::from_secs(10);
    let sent_away = std::thread::scope(|scope| {
        let tenant = world.session(scope, ("acme_a", "postgres"), HOLD);
        tokio::task::block_in_place(|| {
            let take = provider.take_seat(idle);
            let taken = tokio::runtime::Handle::current().block_on(take);
            assert!(taken.unwrap().is_none(), "the lock was not even held");
        });
        tenant.join().unwrap().is_err()
    });
    assert!(sent_away);
    assert!(provider.take_seat(idle).await.unwrap().is_some());

    // A superuser stays, and the call tells of no error.
    let hold = HOLD.replace("30", "2");
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| world.primary.superuser_sql("postgres", &hold));
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
        eventually("a superuser holds it", || world.sql("postgres", sql) == "1");
        tokio::task::block_in_place(|| {
            let take = provider.take_seat(idle);
            let taken = tokio::runtime::Handle::current().block_on(take);
            assert!(taken.unwrap().is_none());
        });
        holder.join().unwrap().unwrap();
    });
    assert!(provider.take_seat(idle).await.unwrap().is_some());
}

/// Faults: 57.
async fn a_server_without_a_free_connection_is_fenced_by_its_seat(binaries: &Binaries) {
    // Seven for all who are no superusers: the seat, and six sessions of a tenant.
    let world = World::with(binaries, &[("max_connections", "10")]);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    let idle = Duration::from_secs(20);
    let mut seat = provider.take_seat(idle).await.unwrap().unwrap();
    std::thread::scope(|scope| {
        // One more is sent as long as there is room: of those that come at the same time all may be
        // refused. Nobody asks the server in another way, for that would take up room too.
        let come = || world.as_tenant("acme_a", "acme", "SELECT pg_sleep(30)");
        let mut tenants = Vec::new();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut sessions = 0;
                for _ in 0..100 {
                    let seen = seat.look(Mono(1)).await.unwrap().unwrap();
                    sessions = seen.tenant_sessions;
                    if sessions == 6 {
                        break;
                    }
                    tenants.push(scope.spawn(come));
                    std::thread::sleep(Duration::from_millis(100));
                }
                assert_eq!(sessions, 6, "the server is not full");
                let probe = provider.probe(Mono(1)).await;
                let Probe::Failed(ProbeFailure::TooManyConnections, _) = probe else {
                    panic!("a connection was free: {probe:?}");
                };
                let refused = provider.fence(Epoch(1)).await.unwrap_err();
                assert_eq!(refused.reason(), "TooManyConnections", "{refused}");
                let fenced = seat.fence(Epoch(1), LIMIT).await.unwrap();
                let (applied, sessions_left) = (Applied::Done, 0);
                let wanted = Fenced {
                    applied,
                    sessions_left,
                };
                assert_eq!(fenced, wanted);
            });
        });
        for tenant in tenants {
            assert!(tenant.join().unwrap().is_err(), "a session was not ended");
        }
    });
    let found = facts(&provider).await;
    let shut = Authority {
        epoch: Epoch(1),
        writable: false,
    };
    assert_eq!(found.authority, Some(shut));
    assert_eq!((found.tenant_sessions, found.open_logins), (0, 0));
}

/// Faults: 46.
async fn an_older_order_does_not_fence_through_the_seat(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    place(&provider, &plan("acme", "u1"), 0).await;
    provider.take_authority(Epoch(5)).await.unwrap();
    let idle = Duration::from_secs(20);
    let mut seat = provider.take_seat(idle).await.unwrap().unwrap();
    let before = world.next_transaction();
    let refused = seat.fence(Epoch(4), LIMIT).await.unwrap_err();
    let stale = matches!(
        refused,
        ProviderError::Stale {
            found: Epoch(5),
            ..
        }
    );
    assert!(stale, "{refused}");
    assert_eq!(world.next_transaction(), before);
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_ok());
    // Refused, it is still good for a right one.
    let fenced = seat.fence(Epoch(5), LIMIT).await.unwrap();
    assert_eq!(fenced.sessions_left, 0);
    assert!(world.as_tenant("acme_a", "acme", "SELECT 1").is_err());
}

/// Faults: 55.
async fn a_late_answer_keeps_the_seat_and_a_lasting_silence_ends_it(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider().with_deadline(Duration::from_secs(1));
    let idle = Duration::from_secs(4);
    let mut seat = provider.take_seat(idle).await.unwrap().unwrap();
    world.primary.freeze();
    let began = Instant::now();
    assert_eq!(seat.look(Mono(1)).await.unwrap(), None);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    world.primary.thaw();
    assert!(
        seat.look(Mono(1)).await.unwrap().is_some(),
        "the seat was lost"
    );
    world.primary.freeze();
    let lost = loop {
        match seat.look(Mono(1)).await {
            Ok(seen) => assert_eq!(seen, None),
            Err(error) => break error,
        }
        assert!(began.elapsed() < Duration::from_secs(30), "never given up");
    };
    world.primary.thaw();
    assert!(matches!(lost, ProviderError::TimedOut { .. }), "{lost}");
}
