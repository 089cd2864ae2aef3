//! One policy, as the agent of one region serves it: look, renew, fence.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_api::policy::FailoverPolicy;
use domicile_api::region::Region;
use domicile_core::agent::{Database, Hub, Memory, Renewal, Sight, fence_due, renewals};
use domicile_core::facts::Epoch;
use domicile_core::lease::{Promise, Terms};
use domicile_core::names::{RegionName, ServerId};
use domicile_core::time::Mono;
use domicile_providers::{Generic, Seat};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tracing::{debug, info, warn};

use super::sight;
use crate::context::Ctx;
use crate::kube::client::{self, CallError};
use crate::leases::Book;
use crate::probes::plan::members;

/// How often the Region and the policy are read again: a server that moved is found by then.
const REFRESH_MS: u64 = 30_000;
/// What is assumed of a lease before one was seen.
const TERMS: Terms = Terms {
    lease_seconds: 30,
    renew_seconds: 10,
};
/// Least time for a fence: sessions must end.
const FENCE: Duration = Duration::from_secs(2);

/// Found promises, each with the version that a renewal must name.
type Found = BTreeMap<RegionName, Option<(Promise, String)>>;

/// The agent's work for one policy.
#[derive(Debug)]
pub(super) struct Post {
    policy: String,
    region: RegionName,
    clusters: BTreeMap<RegionName, Api<Lease>>,
    server: Option<(ServerId, Region)>,
    refreshed: Option<Mono>,
    terms: Terms,
    memory: Memory,
    seat: Option<Seat>,
    /// What was told last, so that each edge is told once.
    told: &'static str,
}

impl Post {
    pub(super) fn new(
        policy: String,
        region: RegionName,
        clusters: BTreeMap<RegionName, Api<Lease>>,
    ) -> Self {
        Self {
            policy,
            region,
            clusters,
            server: None,
            refreshed: None,
            terms: TERMS,
            memory: Memory::default(),
            seat: None,
            told: "",
        }
    }

    /// The longest wait for one answer: a twentieth of the lease, so that a whole round, with all
    /// of its waits, fits into what is left between the moment to fence and the lease's end.
    fn limit(&self) -> Duration {
        Duration::from_millis((self.terms.lease_ms() / 20).clamp(250, 2_000))
    }

    /// One round; answers how long to rest.
    pub(super) async fn round(&mut self, ctx: &Ctx) -> Duration {
        self.refresh(ctx).await;
        let limit = self.limit();
        let Some(server) = self.generic(ctx, limit).await else {
            self.tell("No server of this region is known yet");
            return limit;
        };
        let now = ctx.clock.now();
        let ((hub, version), database) = futures::join!(
            sight::lease(ctx, &self.policy, limit),
            sight::database(ctx, &server, &mut self.seat, limit * 6),
        );
        if let Some(lease) = sight::armed(&hub) {
            self.terms = lease.terms;
        }
        let found = if self.may_need_promises(&hub, now.mono) {
            sight::promises(ctx, &self.clusters, &self.policy, limit).await
        } else {
            Found::new()
        };
        let seen = Sight {
            now,
            region: self.region.clone(),
            hub,
            database,
            promises: sight::records(&found),
            reachable: self.clusters.keys().cloned().collect(),
        };
        self.memory.note(&seen);
        if self.seat.is_some() {
            self.renew(ctx, &seen, version.as_deref(), &found).await;
            if let Some(epoch) = fence_due(&seen, &self.memory) {
                self.fence(&server, epoch).await;
            }
        }
        self.report(&seen);
        limit
    }

    /// The hub is silent, or does not take renewals.
    fn may_need_promises(&self, hub: &Hub, now: Mono) -> bool {
        let late = self
            .memory
            .hub
            .is_some_and(|sent| now.since(sent.mono) >= self.terms.renew_ms());
        *hub == Hub::Silent || late
    }

    async fn renew(&mut self, ctx: &Ctx, seen: &Sight, version: Option<&str>, found: &Found) {
        for renewal in renewals(seen, &self.memory) {
            match self.send(ctx, &renewal, version, found).await {
                Ok(()) => self.memory.renewed(&renewal, seen),
                Err(error) => debug!(policy = self.policy, %error, "A renewal failed"),
            }
        }
    }

    async fn send(
        &self,
        ctx: &Ctx,
        renewal: &Renewal,
        version: Option<&str>,
        found: &Found,
    ) -> Result<(), CallError> {
        let limit = self.limit();
        let policy = &self.policy;
        let written = match renewal {
            Renewal::Lease(record) => {
                let book = sight::hub(ctx, limit);
                book.write(policy, record, version, None).await
            }
            Renewal::Promise(region, record) => {
                // A region without a cluster has no promise to renew.
                let Some(api) = self.clusters.get(region).cloned() else {
                    return Ok(());
                };
                let held = found.get(region).and_then(Option::as_ref);
                let version = held.map(|(_, version)| version.as_str());
                let clock = &ctx.clock;
                let book = Book { api, clock, limit };
                book.write(policy, record, version, None).await
            }
        };
        written.map(drop)
    }

    async fn fence(&self, server: &Generic, epoch: Epoch) {
        let policy = &self.policy;
        warn!(
            policy,
            epoch = epoch.0,
            "Fencing the own server: its right to write has ended"
        );
        let limit = Duration::from_millis(self.terms.lease_ms() / 3).max(FENCE);
        match server.with_deadline(limit).fence(epoch).await {
            Ok(fenced) if fenced.sessions_left == 0 => {
                info!(
                    policy = self.policy,
                    epoch = epoch.0,
                    "Fenced the own server"
                );
            }
            Ok(fenced) => {
                let left = fenced.sessions_left;
                warn!(
                    policy = self.policy,
                    left, "Sessions of tenants did not end yet"
                );
            }
            Err(error) => warn!(policy = self.policy, %error, "The own server was not fenced"),
        }
    }

    fn report(&mut self, seen: &Sight) {
        let confirmed = self.memory.hub.is_some();
        let acts = self.seat.is_some();
        let text = match (&seen.hub, &seen.database) {
            _ if !acts => "Standing by: another replica acts, or the own server is silent",
            (Hub::Silent, Database::Primary { .. }) if !self.memory.promises.is_empty() => {
                "The hub is silent: living on promises"
            }
            (Hub::Silent, _) => "The hub is silent",
            (Hub::Says(_), Database::Primary { .. }) if confirmed => "Renewing the write lease",
            (Hub::Says(_), Database::Primary { .. } | Database::Standby | Database::Silent) => {
                "Nothing to renew"
            }
        };
        self.tell(text);
    }

    fn tell(&mut self, text: &'static str) {
        if self.told != text {
            self.told = text;
            info!(policy = self.policy, region = %self.region, "{text}");
        }
    }

    /// A way to the own server with this deadline.
    async fn generic(&self, ctx: &Ctx, limit: Duration) -> Option<Generic> {
        let (id, region) = self.server.as_ref()?;
        match ctx
            .open_in(region, id, limit.max(Duration::from_millis(500)))
            .await
        {
            Ok(server) => Some(server),
            Err(error) => {
                warn!(policy = self.policy, %error, "The own server cannot be tried");
                None
            }
        }
    }

    /// Reads the policy and the own Region again when it is time. What is known stays known while
    /// the hub is silent.
    async fn refresh(&mut self, ctx: &Ctx) {
        let now = ctx.clock.mono();
        let fresh = |at: Mono| now.since(at) < REFRESH_MS;
        if self.server.is_some() && self.refreshed.is_some_and(fresh) {
            return;
        }
        self.refreshed = Some(now);
        let regions: Api<Region> = Api::all(ctx.client.clone());
        let policies: Api<FailoverPolicy> = Api::all(ctx.client.clone());
        let limit = self.limit();
        let (region, policy) = futures::join!(
            client::call(&ctx.clock, limit, regions.get(self.region.as_str())),
            client::call(&ctx.clock, limit, policies.get(&self.policy)),
        );
        match (region, policy) {
            (Ok(region), Ok(policy)) => {
                let mut servers = members(&policy).into_iter();
                let own = servers.find(|id| id.region == self.region);
                self.server = own.map(|id| (id, region));
            }
            (Err(error), _) | (_, Err(error)) => {
                debug!(policy = self.policy, %error, "The hub did not tell of the server");
            }
        }
    }
}
