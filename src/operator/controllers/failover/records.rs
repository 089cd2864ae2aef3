//! The records of operations, kept up to date behind the machine: no step of a move waits for one.

use std::sync::Arc;
use std::time::Duration;

use domicile_core::failover::{Decision, Observation, Stored};
use tokio::sync::mpsc;
use tracing::warn;

use super::operations;
use crate::context::Ctx;
use crate::controllers::chain;

/// Most passes that wait to be recorded. The record of one that does not fit lacks its step; the
/// next pass brings it up to date.
const QUEUE: usize = 256;

/// Rest after a record could not be written.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

pub(super) type Sender = mpsc::Sender<Followed>;
pub(super) type Receiver = mpsc::Receiver<Followed>;

/// What one pass saw and decided, and what is stored since.
#[derive(Debug)]
pub(super) struct Followed {
    seen: Observation,
    stored: Stored,
    decision: Decision,
}

pub(super) fn channel() -> (Sender, Receiver) {
    mpsc::channel(QUEUE)
}

/// Hands over a pass. The order of passes is kept.
pub(super) fn send(sender: &Sender, seen: &Observation, stored: &Stored, decision: &Decision) {
    let followed = Followed {
        seen: seen.clone(),
        stored: stored.clone(),
        decision: decision.clone(),
    };
    if sender.try_send(followed).is_err() {
        warn!(
            policy = seen.settings.name,
            "Too many passes wait to be recorded"
        );
    }
}

/// Records one pass after the other until the process ends. One that fails is left to the next pass
/// of its policy, which is woken.
pub(super) async fn keep(ctx: Arc<Ctx>, mut receiver: Receiver) {
    while let Some(followed) = receiver.recv().await {
        let Followed {
            seen,
            stored,
            decision,
        } = &followed;
        if let Err(error) = operations::follow(&ctx, seen, stored, decision).await {
            let policy = &seen.settings.name;
            warn!(
                policy,
                error = chain(&error),
                "An operation was not recorded"
            );
            ctx.clock.sleep(AFTER_FAILURE).await;
            ctx.wake.policy(policy);
        }
    }
}
