//! Failover: observes a policy's servers, lets `core` decide, stores or acts, and tells.

mod act;
mod authority;
mod conditions;
mod dump;
mod examine;
mod finalizer;
mod memory;
mod notify;
mod obscure;
mod observe;
mod operations;
mod records;
mod report;

use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{ConditionType, Reason, find};
use domicile_api::convert::ConvertError;
use domicile_api::meta::{POLICY_FINALIZER, manager};
use domicile_api::policy::FailoverPolicy;
use domicile_api::policy_status::FailoverPolicyStatus;
use domicile_core::failover::{
    Answer, Decision, Look, Observation, Settings, State, Step, Stored, adopt, decide,
};
use domicile_core::names::ServerId;
use kube::ResourceExt;
use thiserror::Error;
use tracing::info;

use super::{Work, drive};
use crate::context::Ctx;
use crate::error::{Class, Classify};
use crate::kube::cas::{CasError, write_status};
use crate::kube::client::CallError;
use crate::kube::events::Severity;
use crate::leases;
use memory::Memory;

/// Longest time that one pass may take: a promotion and its probes.
const DEADLINE: Duration = Duration::from_secs(90);
/// When to look again after something was done.
const AT_ONCE: Duration = Duration::ZERO;
/// When to look again after an operation was asked for: the watch shows it by then.
const AFTER_ASKING: Duration = Duration::from_secs(1);
/// When to look again while a server was not probed yet.
const UNTIL_PROBED: Duration = Duration::from_millis(100);
/// When to look again after an effect failed.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

#[derive(Debug, Error)]
enum Error {
    #[error("the policy's status was not stored")]
    Store(#[from] CasError),
    #[error("the API server did not do as asked")]
    Call(#[from] CallError),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::Call(error) => error.class(),
        }
    }
}

/// Runs until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let (notices, told) = notify::channel();
    let (records, kept) = records::channel();
    let outbox = Outbox { notices, records };
    let memory = Arc::new(Memory::default());
    let work = Work {
        name: "failover",
        cache: ctx.stores.policies.clone(),
        queue: Arc::clone(&ctx.wake.policies),
        deadline: DEADLINE,
    };
    let operations = Work {
        name: "operation",
        cache: ctx.stores.operations.clone(),
        queue: Arc::clone(&ctx.wake.operations),
        deadline: Duration::from_secs(30),
    };
    let reconcile = move |policy, ctx| {
        let (memory, outbox) = (Arc::clone(&memory), outbox.clone());
        async move { reconcile(policy, ctx, memory, outbox).await }
    };
    tokio::join!(
        drive(Arc::clone(&ctx), work, reconcile),
        drive(Arc::clone(&ctx), operations, operations::reconcile),
        notify::deliver(Arc::clone(&ctx), told),
        records::keep(Arc::clone(&ctx), kept),
    );
}

/// What a pass leaves to others, so that the next one need not wait.
#[derive(Debug, Clone)]
struct Outbox {
    notices: notify::Sender,
    records: records::Sender,
}

async fn reconcile(
    policy: Arc<FailoverPolicy>,
    ctx: Arc<Ctx>,
    memory: Arc<Memory>,
    outbox: Outbox,
) -> Result<Duration, Error> {
    let stored = policy
        .status
        .as_ref()
        .map_or(Ok(None), FailoverPolicyStatus::stored);
    let (settings, stored) =
        match Settings::try_from(policy.as_ref()).and_then(|s| Ok((s, stored?))) {
            Ok(understood) => understood,
            Err(problem) => return refuse(&ctx, &policy, &problem).await,
        };
    // A stopped move ends by a person's hand alone, and deleting the policy is one way: a new
    // policy takes up what the servers hold, and never guesses.
    let stopped = |s: &Stored| s.state == State::Halted;
    let moving = stored
        .as_ref()
        .is_some_and(|s| s.journal.is_some() && !stopped(s));
    if policy.metadata.deletion_timestamp.is_some() && !moving {
        memory.forget(&settings.name);
        return finalizer::release(&ctx, &policy).await;
    }
    if !policy.finalizers().iter().any(|f| f == POLICY_FINALIZER) && !moving {
        finalizer::hold(&ctx, &policy).await?;
    }
    if observe::unprobed(&ctx, &settings) {
        return Ok(UNTIL_PROBED);
    }
    let servers = observe::servers(&ctx, &memory, &settings, stored.as_ref()).await;
    let lease = authority::lease(&ctx, &memory, &settings.name).await;
    let Some(stored) = stored else {
        let now = ctx.clock.now();
        let conflict = observe::conflict(&ctx, &policy, &settings);
        let adopted = match (conflict, &lease) {
            (Some(conflict), _) => Err(conflict),
            (None, Look::Unread) => {
                let fact = format!(
                    "Lease {} cannot be read",
                    leases::write_lease(&settings.name)
                );
                Err((Reason::ApiServerError, fact))
            }
            (None, Look::Absent | Look::There(_)) => {
                let leased = lease.there().map(|lease| lease.record.epoch);
                adopt(&settings, &servers, leased, now)
                    .map_err(|fact| (Reason::Contradiction, fact))
            }
        };
        return begin(&ctx, &policy, adopted, now.wall).await;
    };
    let promises = authority::promises(&ctx, &memory, &settings, &stored, &lease).await;
    let records = observe::Records { lease, promises };
    let mut seen = observe::all(&ctx, &memory, &policy, settings, stored, servers, records);
    look_at_old_primaries(&ctx, &memory, &mut seen).await;
    let decision = decide(&seen);
    let pass = Pass {
        ctx: &ctx,
        policy: &policy,
        seen: &seen,
        memory: &memory,
        outbox: &outbox,
    };
    pass.carry_out(decision).await
}

/// Only at rest is anything done about an old primary: an outage waits for no look at it.
async fn look_at_old_primaries(ctx: &Ctx, memory: &Memory, seen: &mut Observation) {
    if seen.stored.state == State::Steady && seen.active().is_some_and(|active| active.live) {
        examine::examine(ctx, memory, seen).await;
        dump::observe(ctx, memory, seen).await;
    }
}

/// One pass with all that it knows.
struct Pass<'a> {
    ctx: &'a Arc<Ctx>,
    policy: &'a Arc<FailoverPolicy>,
    seen: &'a Observation,
    memory: &'a Memory,
    outbox: &'a Outbox,
}

impl Pass<'_> {
    async fn carry_out(&self, decision: Decision) -> Result<Duration, Error> {
        let (stored, rest) = match &decision.answer {
            Answer::Move(next) => {
                self.memory.note_storing(self.seen, next);
                self.store(next, &decision).await?;
                self.note_change();
                self.tell(next, &decision);
                (next.as_ref(), AT_ONCE)
            }
            Answer::Work(step) => {
                if let Some(server) = returning(step) {
                    self.tell_rejoining(server, &decision);
                }
                let done = act::act(self, step).await;
                if let (Step::Fence(server, _), None) = (step, self.seen.journal()) {
                    let (policy, now) = (&self.seen.settings.name, self.ctx.clock.mono());
                    self.memory.note_fence(policy, server, now, done);
                }
                self.note_change();
                let asked = matches!(step, Step::Ask { .. });
                let rest = if asked { AFTER_ASKING } else { AT_ONCE };
                return Ok(if done { rest } else { AFTER_FAILURE });
            }
            Answer::Wait(milliseconds) => {
                self.store(&self.seen.stored, &decision).await?;
                (&self.seen.stored, Duration::from_millis(*milliseconds))
            }
        };
        records::send(&self.outbox.records, self.seen, stored, &decision).await;
        Ok(rest)
    }

    /// Notes that a server is asked to be rejoined; the first time with an event.
    fn tell_rejoining(&self, server: &ServerId, decision: &Decision) {
        let (policy, now) = (&self.seen.settings.name, self.ctx.clock.mono());
        let first = self.memory.last_asked(policy, server).is_none();
        self.memory.note_asked(policy, server, now);
        if first {
            self.event(Severity::Normal, "Rejoin", decision);
        }
    }

    fn event(&self, severity: Severity, action: &str, decision: &Decision) {
        let (object, note) = (self.policy.as_ref(), decision.message.clone());
        let events = &self.ctx.events;
        events.publish(object, severity, decision.reason, action, note);
    }

    fn note_change(&self) {
        let now = self.ctx.clock.mono();
        self.memory.note_change(&self.seen.settings.name, now);
    }

    /// Stores `next` by compare-and-swap against the object that the decision was made on.
    async fn store(&self, next: &Stored, decision: &Decision) -> Result<(), Error> {
        let status = report::status(self.policy, self.seen, next, decision);
        if next.state == self.seen.stored.state {
            return write(self.ctx, self.policy, status).await;
        }
        // A change of state has its own event.
        let cache = &self.ctx.stores.policies;
        write_status(self.ctx, cache, manager::FAILOVER, self.policy, status).await?;
        Ok(())
    }

    /// Log, event, figures, notification and those who wait, once per change of state.
    fn tell(&self, next: &Stored, decision: &Decision) {
        let before = &self.seen.stored;
        let policy = &self.seen.settings.name;
        for tenant in &self.seen.tenants {
            if let Some((namespace, name)) = tenant.name.split_once('/') {
                self.ctx.wake.placement(namespace, name);
            }
        }
        if next.state == before.state {
            if next.returned != before.returned {
                self.memory.forget_asked(policy);
                let severity = report::found_severity(decision.reason);
                self.event(severity, "Examine", decision);
            }
            return;
        }
        info!(
            %policy,
            from = %before.state,
            to = %next.state,
            epoch = next.epoch.0,
            reason = decision.reason,
            message = decision.message,
            "Changing state"
        );
        let severity = report::severity(next.state, decision.reason);
        self.event(severity, next.state.as_str(), decision);
        report::figures(&self.ctx.metrics, self.seen, next);
        if let Some(notice) = notify::notice(self.seen, next, decision) {
            notify::send(&self.outbox.notices, self.policy, &notice);
        }
    }
}

/// The server that a step is to bring back.
fn returning(step: &Step) -> Option<&ServerId> {
    match step {
        Step::Outgrow(server, _) | Step::Rejoin { server, .. } => Some(server),
        Step::Drain(..)
        | Step::Fence(..)
        | Step::Promote(..)
        | Step::TakeAuthority(..)
        | Step::Canary(..)
        | Step::SetSynchronous(..)
        | Step::WriteLease(..)
        | Step::Permit(..)
        | Step::Dump { .. }
        | Step::Ask { .. } => None,
    }
}

/// Writes a status, with an event when it newly waits for a person, or for another reason.
async fn write(
    ctx: &Ctx,
    policy: &Arc<FailoverPolicy>,
    status: FailoverPolicyStatus,
) -> Result<(), Error> {
    let stalled = |status: &FailoverPolicyStatus| {
        let stalled = find(&status.conditions, ConditionType::Stalled);
        stalled.filter(|c| c.status == "True").cloned()
    };
    let before = policy.status.as_ref().and_then(stalled);
    let now = stalled(&status);
    write_status(ctx, &ctx.stores.policies, manager::FAILOVER, policy, status).await?;
    if let Some(now) = now.filter(|now| before.is_none_or(|old| old.reason != now.reason)) {
        let object = policy.as_ref();
        ctx.events.publish(
            object,
            Severity::Warning,
            &now.reason,
            "Reconcile",
            now.message,
        );
    }
    Ok(())
}

/// The first status of a policy.
async fn begin(
    ctx: &Ctx,
    policy: &Arc<FailoverPolicy>,
    adopted: Result<Stored, (Reason, String)>,
    now: jiff::Timestamp,
) -> Result<Duration, Error> {
    let (status, rest) = match adopted {
        Ok(stored) => (report::adopted(policy, &stored, now), AT_ONCE),
        Err((reason, fact)) => (
            report::waiting(policy, reason, &fact, now),
            Duration::from_secs(1),
        ),
    };
    write(ctx, policy, status).await?;
    Ok(rest)
}

/// A policy whose words cannot be understood does nothing until a person has looked.
async fn refuse(
    ctx: &Ctx,
    policy: &Arc<FailoverPolicy>,
    problem: &ConvertError,
) -> Result<Duration, Error> {
    let status = report::misunderstood(policy, problem, ctx.clock.now().wall);
    write(ctx, policy, status).await?;
    Ok(super::LONGEST_WAIT)
}
