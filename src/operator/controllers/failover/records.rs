//! The records of operations, kept up to date behind the machine: no step of a move waits for one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use domicile_core::failover::{Decision, Observation, Stored};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::operations;
use crate::context::Ctx;
use crate::controllers::chain;

/// Most passes that wait to be recorded. The record of one that does not fit lacks its step; the
/// next pass brings it up to date.
const QUEUE: usize = 256;

pub(super) type Sender = mpsc::Sender<Followed>;
pub(super) type Receiver = mpsc::Receiver<Followed>;

/// What one pass saw and decided, and what is stored since.
#[derive(Debug)]
pub(super) struct Followed {
    seen: Observation,
    stored: Stored,
    decision: Decision,
    /// Who waits until it is recorded.
    recorded: Option<oneshot::Sender<()>>,
}

pub(super) fn channel() -> (Sender, Receiver) {
    mpsc::channel(QUEUE)
}

/// Hands over a pass; the order of passes is kept. Waits for the record only where the next pass
/// would judge an operation by it: one that is refused, or whose move has ended, must not be taken
/// for one that waits.
pub(super) async fn send(
    sender: &Sender,
    seen: &Observation,
    stored: &Stored,
    decision: &Decision,
) {
    let waited_for = ends_operation(&seen.stored, stored, decision);
    let (recorded, done) = oneshot::channel();
    let followed = Followed {
        seen: told(seen),
        stored: stored.clone(),
        decision: decision.clone(),
        recorded: waited_for.then_some(recorded),
    };
    if waited_for {
        // Neither fails but at the end of the process.
        let sent = sender.send(followed).await.is_ok();
        let _ = sent && done.await.is_ok();
    } else if sender.try_send(followed).is_err() {
        let policy = &seen.settings.name;
        warn!(policy, "Too many passes wait to be recorded");
    }
}

/// True when an operation is refused, or is that of the journal no longer.
fn ends_operation(before: &Stored, stored: &Stored, decision: &Decision) -> bool {
    let operation = |stored: &Stored| stored.journal.as_ref().map(|j| j.operation.clone());
    let ended = before.journal.is_some() && operation(before) != operation(stored);
    ended || !decision.refusals.is_empty()
}

/// What a record is made of: without the tenants, who may be thousands, in each pass that waits.
fn told(seen: &Observation) -> Observation {
    Observation {
        now: seen.now,
        leader: seen.leader.clone(),
        settings: seen.settings.clone(),
        stored: seen.stored.clone(),
        ages: seen.ages.clone(),
        conflict: seen.conflict.clone(),
        servers: seen.servers.clone(),
        others: seen.others.clone(),
        tenants: Vec::new(),
        requests: seen.requests.clone(),
        ended: seen.ended.clone(),
        lease: seen.lease.clone(),
        promises: seen.promises.clone(),
        home_in_sync_ms: seen.home_in_sync_ms,
    }
}

/// Records one pass after the other until the process ends. What fails is left to the next pass of
/// its policy, whose record says all that this one would.
pub(super) async fn keep(ctx: Arc<Ctx>, mut receiver: Receiver) {
    while let Some(followed) = receiver.recv().await {
        let Followed {
            seen,
            stored,
            decision,
            recorded,
        } = followed;
        let policy = &seen.settings.name;
        let following = operations::follow(&ctx, &seen, &stored, &decision);
        match AssertUnwindSafe(following).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(
                policy,
                error = chain(&error),
                "An operation was not recorded"
            ),
            Err(_) => error!(policy, "A panic while an operation was recorded"),
        }
        if let Some(recorded) = recorded {
            // Who waited may be gone.
            let _ = recorded.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use domicile_core::failover::{Journal, MoveKind, Refusal, State, decide};

    use super::super::report::tests::calm;
    use super::*;

    fn refusing() -> Decision {
        let mut decision = decide(&calm());
        decision.refusals.push(Refusal {
            operation: "late".to_owned(),
            reason: "PrimaryNotHealthy",
            message: "no".to_owned(),
        });
        decision
    }

    #[tokio::test]
    async fn a_refused_operation_is_recorded_before_the_pass_ends() {
        let (sender, mut receiver) = channel();
        let seen = calm();
        let decision = refusing();
        let sending = send(&sender, &seen, &seen.stored, &decision);
        let recording = async {
            let followed = receiver.recv().await.unwrap();
            assert!(followed.seen.tenants.is_empty());
            followed.recorded.unwrap()
        };
        tokio::pin!(sending);
        let recorded = tokio::select! {
            () = &mut sending => panic!("nothing is recorded yet"),
            recorded = recording => recorded,
        };
        assert!(futures::poll!(&mut sending).is_pending());
        recorded.send(()).unwrap();
        sending.await;
    }

    #[tokio::test]
    async fn no_other_pass_waits_even_for_a_full_queue() {
        let (sender, mut receiver) = channel();
        let seen = calm();
        let decision = decide(&seen);
        for _ in 0..=QUEUE {
            send(&sender, &seen, &seen.stored, &decision).await;
        }
        assert!(receiver.recv().await.unwrap().recorded.is_none());
    }

    #[test]
    fn the_end_of_a_move_is_waited_for() {
        let seen = calm();
        let decision = decide(&seen);
        let mut moving = seen.stored.enter(State::Fencing, seen.now.wall);
        moving.journal = Some(journal());
        assert!(!ends_operation(&seen.stored, &moving, &decision));
        assert!(!ends_operation(&moving, &moving, &decision));
        assert!(ends_operation(&moving, &seen.stored, &decision));
        assert!(ends_operation(&seen.stored, &seen.stored, &refusing()));
    }

    fn journal() -> Journal {
        let began = calm().now.wall;
        Journal {
            operation: "eu-5".to_owned(),
            kind: MoveKind::Failover,
            automatic: true,
            from: "west".into(),
            to: "central".into(),
            accept: [].into(),
            proof: None,
            system_identifier: "1".to_owned(),
            timeline: 1,
            final_position: None,
            loss: None,
            loss_at: None,
            fork: None,
            loss_bytes: None,
            started: began,
            outage_since: None,
        }
    }
}
