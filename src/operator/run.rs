//! `domicile run`: one process, of which the leader works.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::agent::FileError;
use crate::clock::Clock;
use crate::context::{Ctx, Pulse, Stop};
use crate::controllers;
use crate::heartbeats;
use crate::http;
use crate::kube::backoff::Backoff;
use crate::kube::client::{self, ConnectError};
use crate::kube::events::{self, Outbox};
use crate::kube::lease::{self, Held, Lost};
use crate::kube::wake::Wake;
use crate::leases::clusters::Clusters;
use crate::probes::{self, Samples};
use crate::servers::Servers;
use crate::service_bindings::{self, ServiceBindings};
use crate::settings::Settings;
use crate::stores::{self, Writers};
use crate::telemetry::Metrics;
use crate::turns::{ClusterTurns, NamespaceTurns, ServerTurns};
use crate::workloads::{self, Workloads};

#[cfg(test)]
mod tests;

/// How long running work may take to end after the process was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Why the process ended although nobody asked.
#[derive(Debug, Error)]
pub enum RunError {
    /// No way to the API server.
    #[error("cannot connect to Kubernetes")]
    Connect(#[source] ConnectError),
    /// A kubeconfig that was named on the command line gives no client.
    #[error("cannot connect to a cluster")]
    File(#[source] FileError),
    /// Signals cannot be received.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// Another replica leads now. Work of two leaders must not overlap.
    #[error("leadership is lost")]
    Leadership(#[source] Lost),
    /// A loop that never ends ended.
    #[error("the loop {0} ended")]
    LoopEnded(&'static str),
    /// A loop panicked.
    #[error("a loop panicked")]
    LoopPanicked(#[source] tokio::task::JoinError),
    /// The port of `/livez` cannot be had.
    #[error("cannot serve HTTP")]
    Http(#[source] std::io::Error),
}

/// What [`context`] makes beside the context itself.
pub struct Ends {
    writers: Writers,
    outbox: Outbox,
}

type Loop = Result<&'static str, RunError>;

/// Runs the operator until SIGTERM or SIGINT, or until something forces it to end.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let client = client::connect().await.map_err(RunError::Connect)?;
    let mut stop = Stopping::listen().map_err(RunError::Signals)?;
    let (ctx, ends) = context(client, settings);
    let mut loops = JoinSet::new();
    spawn_always(&ctx, &mut loops);
    let mut held = tokio::select! {
        held = lease::acquire(&ctx) => held,
        () = stop.asked() => {
            ctx.stop.now();
            return Ok(());
        }
        ended = loops.join_next() => return Err(outcome(ended)),
    };
    lead(&ctx, ends, &mut loops);
    let result = tokio::select! {
        lost = lease::keep(&ctx, &mut held) => return Err(RunError::Leadership(lost)),
        () = stop.asked() => Ok(()),
        ended = loops.join_next() => Err(outcome(ended)),
    };
    shut_down(&ctx, &mut loops, &held).await;
    result
}

/// The context of a process with empty caches.
pub fn context(client: Client, settings: Settings) -> (Arc<Ctx>, Ends) {
    let (stores, writers) = stores::stores();
    let (recorder, outbox) = events::recorder();
    let ctx = Ctx {
        client,
        clock: Clock::default(),
        settings,
        stores,
        servers: Servers::default(),
        clusters: Clusters::default(),
        workloads: Workloads::default(),
        service_bindings: ServiceBindings::default(),
        samples: Samples::default(),
        events: recorder,
        metrics: Metrics::default(),
        backoff: Backoff::default(),
        turns: ServerTurns::default(),
        cluster_turns: ClusterTurns::default(),
        visits: NamespaceTurns::default(),
        wake: Wake::default(),
        pulse: Pulse::default(),
        stop: Stop::default(),
    };
    (Arc::new(ctx), Ends { writers, outbox })
}

/// What runs on every replica.
fn spawn_always(ctx: &Arc<Ctx>, loops: &mut JoinSet<Loop>) {
    let shared = Arc::clone(ctx);
    loops.spawn(async move {
        let address = shared.settings.listen;
        http::serve(shared, address)
            .await
            .map_err(RunError::Http)
            .map(|()| "http")
    });
}

/// What runs on the leader alone: the watches, the sensors and the controllers.
pub fn lead(ctx: &Arc<Ctx>, ends: Ends, loops: &mut JoinSet<Loop>) {
    let Ends { writers, outbox } = ends;
    ctx.metrics.leader.set(1);
    spawn(loops, "stores", stores::run(Arc::clone(ctx), writers));
    spawn(loops, "workloads", workloads::run(Arc::clone(ctx)));
    spawn(loops, "events", events::deliver(Arc::clone(ctx), outbox));
    spawn(loops, "probes", probes::sense::run(Arc::clone(ctx)));
    spawn(loops, "heartbeats", heartbeats::run(Arc::clone(ctx)));
    spawn(
        loops,
        "service bindings",
        service_bindings::run(Arc::clone(ctx)),
    );
    controller(
        ctx,
        loops,
        "binding",
        controllers::binding::run(Arc::clone(ctx)),
    );
    controller(
        ctx,
        loops,
        "failover",
        controllers::failover::run(Arc::clone(ctx)),
    );
    controller(
        ctx,
        loops,
        "orphan",
        controllers::orphan::run(Arc::clone(ctx)),
    );
    controller(
        ctx,
        loops,
        "placement",
        controllers::placement::run(Arc::clone(ctx)),
    );
    controller(
        ctx,
        loops,
        "region",
        controllers::region::run(Arc::clone(ctx)),
    );
}

/// A controller begins when *every* cache holds its first list: what is missing from a cache would
/// be taken for missing from the world, and a tenant that is not seen is a tenant whose law is not
/// asked.
fn controller(
    ctx: &Arc<Ctx>,
    loops: &mut JoinSet<Loop>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let ctx = Arc::clone(ctx);
    spawn(loops, name, async move {
        stores::filled(&ctx).await;
        work.await;
    });
}

fn spawn(
    loops: &mut JoinSet<Loop>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    loops.spawn(async move {
        work.await;
        Ok(name)
    });
}

pub(crate) fn outcome(ended: Option<Result<Loop, tokio::task::JoinError>>) -> RunError {
    match ended {
        Some(Ok(Ok(name))) => RunError::LoopEnded(name),
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => RunError::LoopPanicked(error),
        None => RunError::LoopEnded("of loops"),
    }
}

/// Lets running passes end, for a moment, and only then gives the lease to the next leader.
async fn shut_down(ctx: &Arc<Ctx>, loops: &mut JoinSet<Loop>, held: &Held) {
    info!("Stopping");
    ctx.stop.now();
    let controllers_end = async {
        while !ctx.stop.is_idle() {
            ctx.clock.sleep(Duration::from_millis(50)).await;
        }
    };
    if ctx.clock.within(GRACE, controllers_end).await.is_err() {
        error!("Work did not end in time and is cut off");
    }
    loops.shutdown().await;
    if ctx
        .clock
        .within(Duration::from_secs(1), lease::release(ctx, held))
        .await
        .is_err()
    {
        error!("The lease was not released in time");
    }
}

/// SIGTERM and SIGINT.
pub(crate) struct Stopping {
    terminate: Signal,
    interrupt: Signal,
}

impl Stopping {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
