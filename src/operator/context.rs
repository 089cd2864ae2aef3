//! What every controller is given.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use domicile_api::operation::FailoverOperation;
use domicile_api::placement::TenantPlacement;
use domicile_api::policy::FailoverPolicy;
use domicile_api::region::Region;
use domicile_api::service_binding::{ClusterWorkloadResourceMapping, ServiceBinding};
use domicile_core::time::Mono;
use kube::Client;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::kube::backoff::Backoff;
use crate::kube::cache::Cache;
use crate::kube::client::{self, CallError};
use crate::kube::events::Recorder;
use crate::kube::wake::Wake;
use crate::leases::clusters::Clusters;
use crate::probes::Samples;
use crate::servers::Servers;
use crate::service_bindings::ServiceBindings;
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::turns::{ClusterTurns, NamespaceTurns, ServerTurns};
use crate::workloads::Workloads;

/// What every controller is given. One per process.
pub struct Ctx {
    /// The API server. Each call through [`Ctx::call`].
    pub client: Client,
    /// The clocks.
    pub clock: Clock,
    /// What the process was told.
    pub settings: Settings,
    /// What the API server holds, as last seen.
    pub stores: Stores,
    /// The way to database servers.
    pub servers: Servers,
    /// The way to the clusters of the regions.
    pub clusters: Clusters,
    /// Which placements' workloads changed.
    pub workloads: Workloads,
    /// Whether there are service bindings to reconcile.
    pub service_bindings: ServiceBindings,
    /// What the probes found.
    pub samples: Samples,
    /// Takes events.
    pub events: Recorder,
    /// Takes figures.
    pub metrics: Metrics,
    /// When failed objects are tried again.
    pub backoff: Backoff,
    /// Who works on which database server.
    pub turns: ServerTurns,
    /// Who works on which region's cluster.
    pub cluster_turns: ClusterTurns,
    /// Who works in which namespace.
    pub visits: NamespaceTurns,
    /// Asks for reconciles.
    pub wake: Wake,
    /// Signs of life of the loops.
    pub pulse: Pulse,
    /// Tells that the process ends.
    pub stop: Stop,
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}

impl Ctx {
    /// Waits for the answer to one call to the API server, within the deadline of all calls.
    pub async fn call<T>(
        &self,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        client::call(&self.clock, self.settings.call_timeout(), future).await
    }

    /// Who this process is: the replica's name and its start.
    pub fn identity(&self) -> &str {
        self.settings.identity()
    }
}

/// One cache per kind.
#[derive(Debug)]
pub struct Stores {
    /// `Region`.
    pub regions: Cache<Region>,
    /// `TenantPlacement`.
    pub placements: Cache<TenantPlacement>,
    /// `FailoverPolicy`.
    pub policies: Cache<FailoverPolicy>,
    /// `FailoverOperation`.
    pub operations: Cache<FailoverOperation>,
    /// `ServiceBinding`, where its definition is installed.
    pub bindings: Cache<ServiceBinding>,
    /// `ClusterWorkloadResourceMapping`, where its definition is installed.
    pub mappings: Cache<ClusterWorkloadResourceMapping>,
}

/// Signs of life: each loop says when it last went round.
#[derive(Debug, Default)]
pub struct Pulse {
    loops: Mutex<BTreeMap<&'static str, Mono>>,
}

/// Longest time, in milliseconds, that a loop may take to go round once.
const LONGEST_ROUND_MS: u64 = 120_000;

impl Pulse {
    /// The loop `name` went round.
    pub fn beat(&self, name: &'static str, now: Mono) {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, now);
    }

    /// The loop `name` ended on purpose and is no longer missed.
    pub fn retire(&self, name: &'static str) {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    /// The loops that stand still.
    pub fn stuck(&self, now: Mono) -> Vec<&'static str> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = loops
            .iter()
            .filter(|(_, last)| now.since(**last) > LONGEST_ROUND_MS);
        stuck.map(|(name, _)| *name).collect()
    }

    /// Whether the loop `name` has gone round at least once.
    pub fn has_beaten(&self, name: &str) -> bool {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }
}

/// Tells every loop that the process ends.
#[derive(Debug)]
pub struct Stop {
    flag: watch::Sender<bool>,
    working: AtomicUsize,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            flag: watch::Sender::new(false),
            working: AtomicUsize::new(0),
        }
    }
}

impl Stop {
    /// Asks all loops to end.
    pub fn now(&self) {
        self.flag.send_replace(true);
    }

    /// Ends once [`Stop::now`] was called, also before.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut flag = self.flag.subscribe();
        async move {
            // The sender lives as long as the process; its end means the same.
            let _ = flag.wait_for(|stop| *stop).await;
        }
    }

    /// A controller began to work.
    pub fn enter(&self) {
        self.working.fetch_add(1, Ordering::SeqCst);
    }

    /// A controller has ended its running passes and begins no more.
    pub fn leave(&self) {
        self.working.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether no controller works.
    pub fn is_idle(&self) -> bool {
        self.working.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named() {
        let pulse = Pulse::default();
        pulse.beat("region", Mono(0));
        pulse.beat("lease", Mono(100_000));
        assert_eq!(pulse.stuck(Mono(LONGEST_ROUND_MS)), Vec::<&str>::new());
        assert_eq!(pulse.stuck(Mono(LONGEST_ROUND_MS + 1)), ["region"]);
        pulse.retire("region");
        assert_eq!(pulse.stuck(Mono(LONGEST_ROUND_MS + 1)), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn who_waits_late_still_hears_the_stop() {
        let stop = Stop::default();
        let early = stop.asked();
        stop.now();
        early.await;
        stop.asked().await;
    }
}
