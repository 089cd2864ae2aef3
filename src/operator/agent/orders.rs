//! Which server an agent looks after. Read beside its rounds, so that no round waits for the hub;
//! what worked once is kept while the hub, a Secret or a right is away: a pledge is kept by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_api::policy::FailoverPolicy;
use domicile_api::region::Region;
use domicile_core::names::RegionName;
use domicile_providers::Generic;
use kube::Api;
use tracing::{info, warn};

use crate::context::Ctx;
use crate::probes::plan::members;

/// How often the Region, the policy and the Secrets are read again.
const REFRESH: Duration = Duration::from_secs(15);
/// The same, while no server is known yet.
const UNTIL_KNOWN: Duration = Duration::from_secs(1);

/// The way to the own server, once it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    server: Arc<Mutex<Option<Generic>>>,
}

impl Orders {
    /// The way to the own server as it was last known.
    pub(super) fn server(&self) -> Option<Generic> {
        let known = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Reads them again and again until the process ends.
    pub(super) async fn follow(self, ctx: Arc<Ctx>, policy: String, region: RegionName) {
        let mut told = String::new();
        loop {
            match read(&ctx, &policy, &region).await {
                Ok(server) => {
                    if !told.is_empty() || self.server().is_none() {
                        info!(policy, %region, server = server.server(), "Knowing the own server");
                        told.clear();
                    }
                    let mut known = self.server.lock().unwrap_or_else(PoisonError::into_inner);
                    *known = Some(server);
                }
                Err(error) if error != told => {
                    warn!(policy, %region, error, "The own server is not known anew");
                    told = error;
                }
                Err(_) => {}
            }
            let known = self.server().is_some();
            let rest = if known { REFRESH } else { UNTIL_KNOWN };
            ctx.clock.sleep(rest).await;
        }
    }
}

async fn read(ctx: &Ctx, policy: &str, name: &RegionName) -> Result<Generic, String> {
    let regions: Api<Region> = Api::all(ctx.client.clone());
    let policies: Api<FailoverPolicy> = Api::all(ctx.client.clone());
    let (region, policy) = futures::join!(
        ctx.call(regions.get(name.as_str())),
        ctx.call(policies.get(policy)),
    );
    let region = region.map_err(|error| error.to_string())?;
    let policy = policy.map_err(|error| error.to_string())?;
    let mut servers = members(&policy).into_iter();
    let own = servers.find(|id| id.region == *name);
    let own = own.ok_or_else(|| format!("the policy names no server in Region {name}"))?;
    let opened = ctx.open_in(&region, &own, UNTIL_KNOWN).await;
    opened.map_err(|error| error.to_string())
}
