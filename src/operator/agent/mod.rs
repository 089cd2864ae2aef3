//! `domicile agent`: the process beside the database servers of one region. It renews the write
//! lease of a primary there, lives on the promises of the standbys' regions while the hub is
//! silent, and fences its own server before either ends. `domicile_core::agent` decides.

mod orders;
mod post;
mod sight;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domicile_core::names::RegionName;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::info;

use self::orders::Orders;
use self::post::Service;
use crate::context::Ctx;
use crate::http;
use crate::kube::client::{self, ConnectError};
use crate::run::{RunError, Stopping, context, outcome};
use crate::settings::{AgentSettings, Settings};

/// A kubeconfig that gives no client.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read, or is none.
    #[error("{path} is no usable kubeconfig")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: kube::config::KubeconfigError,
    },
    /// It gives no client.
    #[error("{path} gives no client")]
    Client {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConnectError,
    },
}

/// How often the kubeconfigs are read again.
const REREAD: Duration = Duration::from_secs(10);

/// Runs the agent until SIGTERM or SIGINT, or until something forces it to end. It leaves without
/// a fence: another replica goes on, and a lease that nobody renews is offered anew.
pub async fn run(settings: AgentSettings, process: Settings) -> Result<(), RunError> {
    let client = match &settings.hub_kubeconfig {
        Some(path) => from_file(path).await.map_err(RunError::File)?,
        None => client::connect().await.map_err(RunError::Connect)?,
    };
    let mut clusters = BTreeMap::new();
    for (region, path) in &settings.standby_clusters {
        let client = from_file(path).await.map_err(RunError::File)?;
        let leases: Api<Lease> = Api::namespaced(client, process.namespace());
        clusters.insert(region.clone(), leases);
    }
    let files = files(&settings);
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
    loops.spawn(watch(Arc::clone(&ctx), files));
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
        loops.spawn(keep(Arc::clone(&ctx), service));
    }
    tokio::select! {
        () = stop.asked() => {
            ctx.stop.now();
            Ok(())
        }
        ended = loops.join_next() => Err(outcome(ended)),
    }
}

/// The files that clients were made from, as they were then.
fn files(settings: &AgentSettings) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let standbys = settings.standby_clusters.iter().map(|(_, path)| path);
    let all = settings.hub_kubeconfig.iter().chain(standbys);
    all.map(|path| (path.clone(), std::fs::read(path).ok()))
        .collect()
}

/// Ends once a kubeconfig has changed, so that the process begins anew with it: an expired token
/// would have the agent take the hub for lost. The other replica goes on meanwhile.
async fn watch(
    ctx: Arc<Ctx>,
    files: Vec<(PathBuf, Option<Vec<u8>>)>,
) -> Result<&'static str, RunError> {
    loop {
        ctx.clock.sleep(REREAD).await;
        for (path, before) in &files {
            if let Ok(now) = std::fs::read(path)
                && before.as_ref() != Some(&now)
            {
                return Err(RunError::Changed(path.clone()));
            }
        }
    }
}

async fn keep(ctx: Arc<Ctx>, mut service: Service) -> Result<&'static str, RunError> {
    loop {
        let rest = service.round(&ctx).await;
        ctx.pulse.beat("lease", ctx.clock.mono());
        ctx.clock.sleep(rest).await;
    }
}

async fn from_file(path: &PathBuf) -> Result<kube::Client, FileError> {
    let unusable = |source| FileError::Kubeconfig {
        path: path.clone(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let config = config.await.map_err(unusable)?;
    client::from_config(config).map_err(|source| FileError::Client {
        path: path.clone(),
        source,
    })
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
