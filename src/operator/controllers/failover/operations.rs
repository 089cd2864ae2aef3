//! Operations: their record follows the machine; one that names no policy is refused.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{Conditions, Reason, Summary};
use domicile_api::convert::{exact, loss_seconds};
use domicile_api::meta::manager;
use domicile_api::operation::{
    EpochRange, FailoverOperation, FailoverOperationStatus, LossBoundStatus, OperationState,
    StepStatus,
};
use domicile_api::policy::FailoverPolicy;
use domicile_core::facts::Epoch;
use domicile_core::failover::{
    Decision, Journal, MoveKind, Observation, Past, Refusal, State, Stored,
};
use kube::{Api, ResourceExt};
use sha2::{Digest, Sha256};

use super::{Error, act};
use crate::context::Ctx;
use crate::controllers::LONGEST_WAIT;
use crate::kube::cas::write_status;
use crate::kube::events::Severity;

/// When to look again at an operation whose policy exists and was not seen yet, or is not readable.
const BEHIND: Duration = Duration::from_secs(2);

/// Most steps that one record keeps; a move has fewer.
const STEPS: usize = 32;

/// The operations of a policy, oldest first.
pub(super) fn of_policy(ctx: &Ctx, policy: &str) -> Vec<Arc<FailoverOperation>> {
    let mut operations = ctx.stores.operations.all();
    operations.retain(|operation| operation.spec.policy_ref.name == policy);
    operations.sort_by_key(|o| {
        (
            o.metadata.creation_timestamp.clone().map(|t| t.0),
            o.name_any(),
        )
    });
    operations
}

/// Stands for what an approver agrees to: this move, from this epoch, on this evidence.
pub(super) fn evidence_hash(policy: &str, stored: &Stored) -> Option<String> {
    let journal = stored.journal.as_ref()?;
    let outage = journal
        .outage_since
        .map(|t| t.to_string())
        .unwrap_or_default();
    let text = format!(
        "{policy}\n{}\n{}\n{}\n{}\n{outage}",
        stored.epoch, journal.to, journal.system_identifier, journal.timeline
    );
    let digest = Sha256::digest(text.as_bytes());
    let mut hash = String::with_capacity(32);
    for byte in digest.iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    Some(hash)
}

/// Brings the records of all operations of the policy up to date with what is stored now.
pub(super) async fn follow(
    ctx: &Ctx,
    seen: &Observation,
    stored: &Stored,
    decision: &Decision,
) -> Result<(), Error> {
    let mut operations = of_policy(ctx, &seen.settings.name);
    if let Some(journal) = &stored.journal {
        // The watch may not show it yet, and its first step is to be recorded.
        operations.extend(ensure(ctx, seen, stored, journal).await?);
    }
    for operation in operations {
        let next = record(&operation, seen, stored, decision);
        let Some(next) = next else { continue };
        if operation.status.as_ref().and_then(|s| s.state) != next.state {
            announce(ctx, &operation, &next);
        }
        write_status(
            ctx,
            &ctx.stores.operations,
            manager::FAILOVER,
            &operation,
            next,
        )
        .await?;
    }
    Ok(())
}

/// The machine's own move has a record too; answers it when it was made just now.
async fn ensure(
    ctx: &Ctx,
    seen: &Observation,
    stored: &Stored,
    journal: &Journal,
) -> Result<Option<Arc<FailoverOperation>>, Error> {
    let own = journal.automatic && journal.kind == MoveKind::Failover;
    if !own || ctx.stores.operations.get(&journal.operation).is_some() {
        return Ok(None);
    }
    let asking = stored.state == State::AwaitingApproval;
    let before = Epoch(if asking {
        stored.epoch.0
    } else {
        stored.epoch.0 - 1
    });
    let spec = act::spec(
        seen,
        journal.kind,
        journal.to.as_str(),
        before,
        "the region is lost",
    );
    Ok(act::create(ctx, seen, &journal.operation, spec).await?)
}

/// What the record of one operation must say now; `None` when it has ended, or tells of a later
/// epoch than the pass knows: that pass read what was stored before.
fn record(
    operation: &FailoverOperation,
    seen: &Observation,
    stored: &Stored,
    decision: &Decision,
) -> Option<FailoverOperationStatus> {
    let name = operation.name_any();
    let before = operation.status.clone().unwrap_or_default();
    let state = before.state.unwrap_or(OperationState::Pending);
    let told = before.epoch.as_ref().and_then(|epoch| epoch.to);
    if state.is_final() || told.is_some_and(|told| told > stored.epoch.0) {
        return None;
    }
    let refused = decision
        .refusals
        .iter()
        .find(|refusal| refusal.operation == name);
    let current = stored
        .journal
        .as_ref()
        .filter(|journal| journal.operation == name);
    let past = stored.history.iter().find(|past| past.operation == name);
    let mut next = before;
    next.observed_generation = operation.metadata.generation;
    let (summary, reason, message) = if let Some(journal) = current {
        running(&mut next, operation, seen, stored, journal, decision)
    } else if let Some(past) = past {
        succeeded(&mut next, operation, stored, past, decision)
    } else if let Some(refusal) = refused {
        refuse(&mut next, refusal)
    } else if state == OperationState::Pending {
        next.state = Some(OperationState::Pending);
        (
            Summary::NotReady,
            Reason::Pending,
            "waiting for the policy's next pass".to_owned(),
        )
    } else {
        aborted(&mut next, stored, decision)
    };
    next.message = Some(message.clone());
    let mut conditions = Conditions::of(
        &next.conditions,
        operation.metadata.generation,
        seen.now.wall,
    );
    conditions.summarize(summary, reason, &message);
    next.conditions = conditions.into_list();
    Some(next)
}

fn running(
    next: &mut FailoverOperationStatus,
    operation: &FailoverOperation,
    seen: &Observation,
    stored: &Stored,
    journal: &Journal,
    decision: &Decision,
) -> (Summary, Reason, String) {
    let asking = stored.state == State::AwaitingApproval;
    next.state = Some(if asking {
        OperationState::AwaitingApproval
    } else {
        OperationState::Running
    });
    next.evidence_hash = evidence_hash(&seen.settings.name, stored).filter(|_| asking);
    next.epoch = Some(EpochRange {
        from: operation.spec.expected_epoch,
        to: (!asking).then_some(stored.epoch.0),
    });
    next.proof = journal.proof.map(Into::into);
    next.loss_bound = journal.loss.map(|loss| LossBoundStatus {
        seconds: loss_seconds(loss),
        bytes: journal.loss_bytes.map(exact),
    });
    step(&mut next.steps, stored, decision);
    let message = if stored.state == State::Aborting && seen.stored.state == State::Aborting {
        next.message.clone().unwrap_or_default()
    } else {
        decision.message.clone()
    };
    let reason = Reason::parse(stored.state.as_str()).unwrap_or(Reason::Running);
    let summary = if asking || stored.state == State::Halted {
        Summary::Stalled { ready: false }
    } else {
        Summary::Reconciling { ready: false }
    };
    (summary, reason, message)
}

fn succeeded(
    next: &mut FailoverOperationStatus,
    operation: &FailoverOperation,
    stored: &Stored,
    past: &Past,
    decision: &Decision,
) -> (Summary, Reason, String) {
    next.state = Some(OperationState::Succeeded);
    next.evidence_hash = None;
    next.epoch = Some(EpochRange {
        from: operation.spec.expected_epoch,
        to: Some(past.epoch.0),
    });
    next.proof = past.proof.map(Into::into);
    let bytes = next.loss_bound.as_ref().and_then(|loss| loss.bytes);
    next.loss_bound = Some(LossBoundStatus {
        seconds: loss_seconds(past.loss),
        bytes,
    });
    next.rto_seconds = Some(exact(past.rto_seconds));
    close_last(&mut next.steps, stored.since, "Moved");
    let message = match decision.reason {
        // Told in the pass that ended the move, with what it left behind.
        "Moved" => decision.message.clone(),
        _later => format!("{} serves under epoch {}", past.to, past.epoch),
    };
    (Summary::Ready, Reason::Succeeded, message)
}

fn refuse(next: &mut FailoverOperationStatus, refusal: &Refusal) -> (Summary, Reason, String) {
    next.state = Some(OperationState::Refused);
    let reason = Reason::parse(refusal.reason).unwrap_or(Reason::GuardFailed);
    (
        Summary::Stalled { ready: false },
        reason,
        refusal.message.clone(),
    )
}

fn aborted(
    next: &mut FailoverOperationStatus,
    stored: &Stored,
    decision: &Decision,
) -> (Summary, Reason, String) {
    next.state = Some(OperationState::Aborted);
    next.evidence_hash = None;
    let was_aborting = next
        .steps
        .last()
        .is_some_and(|s| s.name == State::Aborting.as_str());
    close_last(&mut next.steps, stored.since, decision.reason);
    let told = next.message.clone().filter(|_| was_aborting);
    let message = told.unwrap_or_else(|| decision.message.clone());
    let reason = match decision.reason {
        "ApprovalExpired" => Reason::ApprovalExpired,
        _other => Reason::Aborted,
    };
    (Summary::Stalled { ready: false }, reason, message)
}

/// Notes that the machine is in `stored.state`, once.
fn step(steps: &mut Vec<StepStatus>, stored: &Stored, decision: &Decision) {
    let name = stored.state.as_str();
    if steps
        .last()
        .is_some_and(|last| last.name == name && last.finished.is_none())
    {
        return;
    }
    close_last(steps, stored.since, decision.reason);
    if steps.len() < STEPS {
        steps.push(StepStatus {
            name: name.to_owned(),
            started: stored.since,
            finished: None,
            outcome: String::new(),
        });
    }
}

fn close_last(steps: &mut [StepStatus], now: jiff::Timestamp, outcome: &str) {
    if let Some(last) = steps.last_mut().filter(|last| last.finished.is_none()) {
        last.finished = Some(now);
        outcome.clone_into(&mut last.outcome);
    }
}

fn announce(ctx: &Ctx, operation: &FailoverOperation, next: &FailoverOperationStatus) {
    let Some(state) = next.state else { return };
    let severity = match state {
        OperationState::Pending | OperationState::Running | OperationState::Succeeded => {
            Severity::Normal
        }
        OperationState::AwaitingApproval
        | OperationState::Failed
        | OperationState::Aborted
        | OperationState::Refused => Severity::Warning,
    };
    let note = next.message.clone().unwrap_or_default();
    ctx.events
        .publish(operation, severity, state.as_str(), "Operate", note);
}

/// Looks after operations that no policy will look at, and wakes the policy of all others.
pub(super) async fn reconcile(
    operation: Arc<FailoverOperation>,
    ctx: Arc<Ctx>,
) -> Result<Duration, Error> {
    let mut next = operation.status.clone().unwrap_or_default();
    if next.state.is_some_and(OperationState::is_final) {
        return Ok(LONGEST_WAIT);
    }
    let policy = &operation.spec.policy_ref.name;
    if ctx.stores.policies.get(policy).is_some() {
        ctx.wake.policy(policy);
        return Ok(LONGEST_WAIT);
    }
    // One watch may be behind the other, and a refusal is for ever.
    let api: Api<FailoverPolicy> = Api::all(ctx.client.clone());
    if ctx.call(api.get_metadata_opt(policy)).await?.is_some() {
        return Ok(BEHIND);
    }
    let message = format!("FailoverPolicy {policy} does not exist; correct `spec.policyRef.name`");
    next.state = Some(OperationState::Refused);
    next.observed_generation = operation.metadata.generation;
    next.message = Some(message.clone());
    let now = ctx.clock.now().wall;
    let mut conditions = Conditions::of(&next.conditions, operation.metadata.generation, now);
    conditions.summarize(
        Summary::Stalled { ready: false },
        Reason::PolicyNotFound,
        &message,
    );
    next.conditions = conditions.into_list();
    announce(&ctx, &operation, &next);
    write_status(
        &ctx,
        &ctx.stores.operations,
        manager::FAILOVER,
        &operation,
        next,
    )
    .await?;
    Ok(LONGEST_WAIT)
}

#[cfg(test)]
mod tests;
