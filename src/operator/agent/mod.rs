//! `domicile agent`: the process beside the database servers of one region. It renews the write
//! lease of a primary there, lives on the promises of the standbys' regions while the hub is
//! silent, and fences its own server before either ends. `domicile_core::agent` decides.

mod files;
mod orders;
mod post;
mod sight;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domicile_core::names::RegionName;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::task::JoinSet;
use tracing::info;

pub use self::files::FileError;
use self::files::Files;
use self::orders::Orders;
use self::post::Service;
use crate::context::Ctx;
use crate::http;
use crate::kube::client;
use crate::run::{RunError, Stopping, context, outcome};
use crate::settings::{AgentSettings, Settings};

/// Runs the agent until SIGTERM or SIGINT, or until something forces it to end. It leaves without
/// a fence: another replica goes on, and a lease that nobody renews is offered anew.
pub async fn run(settings: AgentSettings, process: Settings) -> Result<(), RunError> {
    let mut files = Files::default();
    let client = match &settings.hub_kubeconfig {
        Some(path) => files.open(path).await.map_err(RunError::File)?,
        None => client::connect().await.map_err(RunError::Connect)?,
    };
    let mut clusters = BTreeMap::new();
    for (region, path) in &settings.standby_clusters {
        let client = files.open(path).await.map_err(RunError::File)?;
        let leases: Api<Lease> = Api::namespaced(client, process.namespace());
        clusters.insert(region.clone(), leases);
    }
    let mut stop = Stopping::listen().map_err(RunError::Signals)?;
    let AgentSettings {
        region, policies, ..
    } = settings;
    // The caches stay empty but for the own Region, and the outbox is not read.
    let (ctx, _ends) = context(client, process);
    let mut loops = JoinSet::new();
    let shared = Arc::clone(&ctx);
    loops.spawn(async move {
        let address = shared.settings.listen;
        let served = http::serve(shared, address).await;
        served.map_err(RunError::Http).map(|()| "http")
    });
    info!(%region, ?policies, "Standing by");
    let following = files.follow(Arc::clone(&ctx));
    loops.spawn(async move {
        following.await;
        Ok("files")
    });
    let readiness = Readiness::of(policies.len());
    for policy in policies {
        let orders = Orders::default();
        let following = orders
            .clone()
            .follow(Arc::clone(&ctx), policy.clone(), region.clone());
        loops.spawn(async move {
            following.await;
            Ok("orders")
        });
        let service = Service::new(policy, region.clone(), clusters.clone(), orders);
        loops.spawn(keep(Arc::clone(&ctx), service, readiness.clone()));
    }
    tokio::select! {
        () = stop.asked() => {
            ctx.stop.now();
            Ok(())
        }
        ended = loops.join_next() => Err(outcome(ended)),
    }
}

/// How many policies are left of which this process does not know yet what they ask of it.
#[derive(Debug, Clone)]
struct Readiness {
    unknown: Arc<AtomicUsize>,
}

impl Readiness {
    fn of(policies: usize) -> Self {
        Self {
            unknown: Arc::new(AtomicUsize::new(policies)),
        }
    }

    /// One more is known; to be told once of each.
    fn knows_one(&self) {
        self.unknown.fetch_sub(1, Ordering::SeqCst);
    }

    fn knows_all(&self) -> bool {
        self.unknown.load(Ordering::SeqCst) == 0
    }
}

/// Ready is who knows what it is pledged to: a rollout that goes on before that would have the
/// last replica forgotten that does.
async fn keep(
    ctx: Arc<Ctx>,
    mut service: Service,
    readiness: Readiness,
) -> Result<&'static str, RunError> {
    let mut knew = false;
    loop {
        let rest = service.round(&ctx).await;
        ctx.pulse.beat("rounds", ctx.clock.mono());
        if service.knows_its_duty() && !knew {
            knew = true;
            readiness.knows_one();
        }
        if readiness.knows_all() {
            ctx.pulse.beat(http::READY[1], ctx.clock.mono());
        }
        ctx.clock.sleep(rest).await;
    }
}

/// A region and the file that leads to its cluster, as `REGION=FILE`.
pub fn region_file(text: &str) -> Result<(RegionName, PathBuf), String> {
    match text.split_once('=') {
        Some((region, file)) if !region.is_empty() && !file.is_empty() => {
            Ok((RegionName::new(region), PathBuf::from(file)))
        }
        Some(_) | None => Err("expected REGION=FILE".to_owned()),
    }
}
