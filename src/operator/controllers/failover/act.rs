//! One effect on one server. Each is idempotent and conditional on the server's authority row.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::meta::{POLICY_LABEL, TRIGGER_AUTOMATIC, TRIGGER_LABEL};
use domicile_api::operation::{FailoverOperation, FailoverOperationSpec, PolicyRef};
use domicile_core::facts::{Epoch, Heartbeat};
use domicile_core::failover::{MoveKind, Observation, Rejoin, Step};
use domicile_core::names::ServerId;
use domicile_providers::{Generic, Managed, ProviderError};
use kube::Api;
use kube::api::PostParams;
use tracing::{info, warn};

use super::{Pass, authority, dump};
use crate::context::Ctx;
use crate::kube::client::CallError;

/// Time for an effect that is more than a row: sessions must end, a server must leave recovery.
const LONG: Duration = Duration::from_secs(30);

/// Does it. False when it failed; the next pass observes again and repeats or decides anew.
pub(super) async fn act(pass: &Pass<'_>, step: &Step) -> bool {
    let Pass {
        ctx,
        policy,
        seen,
        memory,
        outbox: _,
    } = pass;
    let short = Duration::from_secs(u64::from(seen.settings.timeout_seconds) * 2);
    info!(policy = seen.settings.name, ?step, "Taking a step");
    let outcome = match step {
        Step::Drain(server, epoch) => drain(ctx, server, *epoch, short).await,
        Step::Fence(server, epoch) => fence(ctx, server, *epoch, short).await,
        Step::Promote(server, epoch) => promote(ctx, server, *epoch).await,
        Step::TakeAuthority(server, epoch) => take_authority(ctx, server, *epoch, LONG).await,
        Step::Canary(server, epoch) => canary(ctx, seen, server, *epoch, short).await,
        Step::SetSynchronous(server, epoch, name) => {
            set_synchronous(ctx, server, *epoch, name, short).await
        }
        Step::Dump {
            server,
            epoch,
            job: _,
        } => dump::create(ctx, memory, seen, server, *epoch, short).await,
        Step::Outgrow(server, epoch) => outgrow(ctx, server, *epoch, short).await,
        Step::Rejoin {
            server,
            upstream,
            epoch,
            how,
        } => rejoin(ctx, (server, upstream), *epoch, *how, short).await,
        Step::WriteLease(record, version) => {
            authority::write(ctx, memory, policy, record, version.as_deref()).await
        }
        Step::Permit(region, epoch, version) => {
            let policy = &seen.settings.name;
            authority::permit(ctx, memory, policy, region, *epoch, version.as_deref()).await
        }
        Step::Ask {
            name,
            kind,
            target,
            epoch,
        } => {
            let spec = spec(seen, *kind, target.as_str(), *epoch, "failback is due");
            create(ctx, seen, name, spec)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        }
    };
    match outcome {
        Ok(()) => true,
        Err(error) => {
            warn!(policy = seen.settings.name, ?step, error, "A step failed");
            false
        }
    }
}

/// Creates a `FailoverOperation` on the machine's own account, and answers it. One that exists is
/// as good, and the watch will show it.
pub(super) async fn create(
    ctx: &Ctx,
    seen: &Observation,
    name: &str,
    spec: FailoverOperationSpec,
) -> Result<Option<Arc<FailoverOperation>>, CallError> {
    let mut operation = FailoverOperation::new(name, spec);
    operation.metadata.labels = Some(
        [
            (TRIGGER_LABEL.to_owned(), TRIGGER_AUTOMATIC.to_owned()),
            (POLICY_LABEL.to_owned(), seen.settings.name.clone()),
        ]
        .into(),
    );
    let api: Api<FailoverOperation> = Api::all(ctx.client.clone());
    match ctx
        .call(api.create(&PostParams::default(), &operation))
        .await
    {
        Ok(created) => {
            let created = Arc::new(created);
            ctx.stores.operations.wrote(Arc::clone(&created));
            Ok(Some(created))
        }
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The spec of an operation of this policy.
pub(super) fn spec(
    seen: &Observation,
    kind: MoveKind,
    target: &str,
    expected_epoch: Epoch,
    reason: &str,
) -> FailoverOperationSpec {
    FailoverOperationSpec {
        policy_ref: PolicyRef {
            name: seen.settings.name.clone(),
        },
        type_: kind.into(),
        target: target.to_owned(),
        expected_epoch: expected_epoch.0,
        accept: Vec::new(),
        reason: Some(reason.to_owned()),
    }
}

async fn open(ctx: &Ctx, server: &ServerId, deadline: Duration) -> Result<Generic, String> {
    ctx.open(server, deadline)
        .await
        .map_err(|error| error.to_string())
}

fn told<T>(result: Result<T, ProviderError>) -> Result<(), String> {
    result
        .map(|_| ())
        .map_err(|error| super::super::chain(&error))
}

async fn drain(ctx: &Ctx, server: &ServerId, epoch: Epoch, limit: Duration) -> Result<(), String> {
    told(open(ctx, server, limit).await?.drain(epoch).await)
}

async fn fence(ctx: &Ctx, server: &ServerId, epoch: Epoch, limit: Duration) -> Result<(), String> {
    let provider = open(ctx, server, limit).await?;
    // A server that Domicile never wrote to has no row yet, and needs one to be fenced by.
    told(provider.ensure_tables().await)?;
    match provider.fence(epoch).await {
        Ok(fenced) if fenced.sessions_left > 0 => {
            let left = fenced.sessions_left;
            Err(format!("{left} sessions of tenants did not end in time"))
        }
        fenced => told(fenced),
    }
}

async fn promote(ctx: &Ctx, server: &ServerId, epoch: Epoch) -> Result<(), String> {
    told(managed(ctx, server, LONG).await?.promote(epoch).await)
}

async fn managed(ctx: &Ctx, server: &ServerId, limit: Duration) -> Result<Managed, String> {
    let opened = ctx.open_managed(server, limit).await;
    opened.map_err(|error| error.to_string())
}

async fn outgrow(
    ctx: &Ctx,
    server: &ServerId,
    epoch: Epoch,
    limit: Duration,
) -> Result<(), String> {
    told(managed(ctx, server, limit).await?.outgrow(epoch).await)
}

async fn rejoin(
    ctx: &Ctx,
    (server, upstream): (&ServerId, &ServerId),
    epoch: Epoch,
    how: Rejoin,
    limit: Duration,
) -> Result<(), String> {
    let upstream = ctx.upstream(server, upstream);
    let upstream = upstream.map_err(|error| error.to_string())?;
    let server = managed(ctx, server, limit).await?;
    told(server.rejoin(epoch, &upstream, how).await)
}

async fn take_authority(
    ctx: &Ctx,
    server: &ServerId,
    epoch: Epoch,
    limit: Duration,
) -> Result<(), String> {
    let provider = open(ctx, server, limit).await?;
    told(provider.ensure_tables().await)?;
    told(provider.take_authority(epoch).await)
}

async fn canary(
    ctx: &Ctx,
    seen: &Observation,
    server: &ServerId,
    epoch: Epoch,
    limit: Duration,
) -> Result<(), String> {
    let facts = seen.server(&server.region).and_then(|view| view.now());
    let before = facts
        .and_then(|f| f.heartbeat.as_ref())
        .map_or(0, |beat| beat.sequence);
    let beat = Heartbeat {
        sequence: before.saturating_add(1),
        leader: ctx.identity().to_owned(),
        at: ctx.clock.mono(),
        epoch,
    };
    told(open(ctx, server, limit).await?.heartbeat(&beat).await)
}

async fn set_synchronous(
    ctx: &Ctx,
    server: &ServerId,
    epoch: Epoch,
    name: &str,
    limit: Duration,
) -> Result<(), String> {
    told(
        open(ctx, server, limit)
            .await?
            .set_synchronous(Some(name), epoch)
            .await,
    )
}
