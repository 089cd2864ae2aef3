//! One policy, as the agent of one region serves it: look, renew, fence.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_core::agent::{
    Database, Hub, Memory, Reach, Renewal, Sight, fence_due, knows_its_duty, leaves_seat, renewals,
};
use domicile_core::facts::Epoch;
use domicile_core::lease::{Promise, Terms};
use domicile_core::names::RegionName;
use domicile_core::time::{Mono, Now};
use domicile_providers::{Fenced, Generic, ProviderError};
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tracing::{debug, info, warn};

use super::orders::Orders;
use super::sight::{self, Post};
use crate::context::Ctx;
use crate::kube::client::CallError;
use crate::leases::Book;

/// What is assumed of a lease before one was seen.
const TERMS: Terms = Terms {
    lease_seconds: 30,
    renew_seconds: 10,
};
/// Least time for a look at the server: TLS and a login.
const LOGIN: Duration = Duration::from_millis(500);
/// Least time for a fence: sessions must end.
const FENCE: Duration = Duration::from_secs(2);

/// Found promises, each with the version that a renewal must name.
type Found = BTreeMap<RegionName, Option<(Promise, String)>>;

/// The agent's work for one policy.
#[derive(Debug)]
pub(super) struct Service {
    policy: String,
    region: RegionName,
    clusters: BTreeMap<RegionName, Api<Lease>>,
    orders: Orders,
    terms: Terms,
    memory: Memory,
    reach: Reach,
    post: Post,
    /// Since when this replica has the seat.
    seated: Option<Mono>,
    /// When it last left the seat to the others.
    left: Option<Mono>,
    /// The hub did not answer in the last round.
    silent: bool,
    /// The hub has said once what it asks, and the server is known that it asks that for.
    informed: bool,
    /// What was told last, so that each edge is told once.
    told: &'static str,
}

impl Service {
    pub(super) fn new(
        policy: String,
        region: RegionName,
        clusters: BTreeMap<RegionName, Api<Lease>>,
        orders: Orders,
    ) -> Self {
        Self {
            policy,
            region,
            clusters,
            orders,
            terms: TERMS,
            memory: Memory::default(),
            reach: Reach::default(),
            post: Post::Unknown,
            seated: None,
            left: None,
            silent: true,
            informed: false,
            told: "",
        }
    }

    /// The longest wait for one answer: a twentieth of the lease. A round waits for two at most and
    /// rests for half of one, so that the fence begins in time and has time left.
    fn limit(&self) -> Duration {
        Duration::from_millis((self.terms.lease_ms() / 20).clamp(250, 2_000))
    }

    /// Whether it has learned what it is pledged to.
    pub(super) fn knows_its_duty(&self) -> bool {
        self.informed
    }

    /// One round; answers how long to rest.
    pub(super) async fn round(&mut self, ctx: &Ctx) -> Duration {
        let limit = self.limit();
        let Some(server) = self.orders.server() else {
            self.tell("No server of this region is known yet");
            let (hub, _) = sight::lease(ctx, &self.policy, limit).await;
            self.informed |= knows_its_duty(&hub, &self.region, false);
            return limit;
        };
        let server = server.with_deadline(limit.max(LOGIN));
        // Who knows of no pledge and hears no hub has nothing to do on the seat, and another
        // replica may have.
        let idle = self.silent && self.memory.pledge.is_none();
        if idle {
            self.post = Post::Unknown;
        }
        let (seen, version, found) = self.look(ctx, &server, idle).await;
        self.memory.note(&seen);
        self.informed |= knows_its_duty(&seen.hub, &self.region, true);
        if matches!(self.post, Post::Seated(_)) {
            self.renew(ctx, &seen, version.as_deref(), &found).await;
        }
        // What was waited for has taken time, and that counts.
        let late = Sight {
            now: ctx.clock.now(),
            ..seen
        };
        if let Some(epoch) = fence_due(&late, &self.memory).filter(|_| !idle) {
            self.fence(&server, epoch).await;
        } else {
            self.leave(&late);
        }
        self.report(&late);
        limit / 2
    }

    /// The hub's lease, the own server but while the seat is left to others, and the promises.
    async fn look(
        &mut self,
        ctx: &Ctx,
        server: &Generic,
        idle: bool,
    ) -> (Sight, Option<String>, Found) {
        let limit = self.limit();
        let now = ctx.clock.now();
        let away = idle || self.stays_away(now);
        let wanted = self.may_need_promises(now.mono) || self.reach.is_due(self.terms, now.mono);
        let ((hub, version), database, found) = futures::join!(
            sight::lease(ctx, &self.policy, limit),
            async {
                if away {
                    return Database::Silent;
                }
                sight::database(ctx, server, &mut self.post, limit * 6).await
            },
            async {
                if wanted {
                    sight::promises(ctx, &self.clusters, &self.policy, limit).await
                } else {
                    Found::new()
                }
            },
        );
        let promises = sight::records(&found);
        if wanted {
            self.reach.note(&promises, now.mono);
        }
        self.silent = hub == Hub::Silent;
        if let Some(lease) = sight::told_of(&hub) {
            self.terms = lease.terms;
        }
        let seen = Sight {
            now,
            region: self.region.clone(),
            hub,
            database,
            promises,
            versions: sight::versions(version.as_ref(), &found),
            reachable: self.reach.lately(self.terms, now.mono),
        };
        (seen, version, found)
    }

    /// It left the seat a moment ago, long enough for each other replica to try for it. Once the
    /// pledge is over it asks at once who has it now: nobody else may be there to fence.
    fn stays_away(&self, now: Now) -> bool {
        let Some(left) = self.left else {
            return false;
        };
        u128::from(now.mono.since(left)) < (self.limit() * 2).as_millis()
            && !self.memory.is_over(now)
    }

    /// Leaves the seat to the others when one of them may hear the hub and this one does not.
    fn leave(&mut self, seen: &Sight) {
        let now = seen.now.mono;
        if !matches!(self.post, Post::Seated(_)) {
            self.seated = None;
            return;
        }
        let since = *self.seated.get_or_insert(now);
        if leaves_seat(seen, &self.memory, now.since(since)) {
            (self.post, self.left, self.seated) = (Post::Left, Some(now), None);
        }
    }

    /// The hub is silent, or does not take renewals.
    fn may_need_promises(&self, now: Mono) -> bool {
        let late = |sent: Mono| now.since(sent) >= self.terms.renew_ms();
        self.silent || self.memory.hub.is_some_and(|sent| late(sent.mono))
    }

    async fn renew(&mut self, ctx: &Ctx, seen: &Sight, version: Option<&str>, found: &Found) {
        let wanted = renewals(seen, &self.memory);
        for renewal in &wanted {
            self.memory.sending(renewal, seen);
        }
        let sent = wanted.into_iter().map(async |renewal| {
            let sent = self.send(ctx, &renewal, version, found).await;
            (renewal, sent)
        });
        for (renewal, sent) in join_all(sent).await {
            match sent {
                Ok(()) => {
                    self.memory.renewed(&renewal, seen);
                    if let Renewal::Promise(region, promise) = &renewal {
                        self.reach.gave(region, *promise, seen.now.mono);
                    }
                }
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

    /// In the seat's own session first, else by a new login. While another replica has the seat,
    /// the fence is its business: it answers, or it would have lost the seat.
    async fn fence(&mut self, server: &Generic, epoch: Epoch) {
        let limit = Duration::from_millis(self.terms.lease_ms() / 3).max(FENCE);
        let mut fenced = match &mut self.post {
            Post::Relieved | Post::Left => return,
            Post::Unknown => server.with_deadline(limit).fence(epoch).await,
            Post::Seated(seat) => seat.fence(epoch, limit).await,
        };
        let seated = matches!(self.post, Post::Seated(_));
        if seated && matches!(fenced, Err(ProviderError::Connect { .. })) {
            self.post = Post::Unknown;
            fenced = server.with_deadline(limit).fence(epoch).await;
        }
        self.tell_fence(epoch, fenced);
    }

    fn tell_fence(&self, epoch: Epoch, fenced: Result<Fenced, ProviderError>) {
        let (policy, epoch) = (&self.policy, epoch.0);
        match fenced {
            Ok(fenced) if fenced.sessions_left == 0 => {
                warn!(
                    policy,
                    epoch, "Fenced the own server: its right to write has ended"
                );
            }
            Ok(fenced) => {
                let left = fenced.sessions_left;
                warn!(policy, epoch, left, "Sessions of tenants did not end yet");
            }
            Err(error) => warn!(policy, epoch, %error, "The own server was not fenced"),
        }
    }

    fn report(&mut self, seen: &Sight) {
        let confirmed = self.memory.hub.is_some();
        let text = match (&self.post, &seen.hub, &seen.database) {
            (Post::Relieved, _, _) => "Standing by: another replica acts",
            (Post::Left, _, _) => "The hub confirms nothing: the seat is left to the others",
            (Post::Unknown, _, _) => "The own server is silent",
            (Post::Seated(_), Hub::Silent, Database::Primary { .. })
                if !self.memory.promises.is_empty() =>
            {
                "The hub is silent: living on promises"
            }
            (Post::Seated(_), Hub::Silent, _) => "The hub is silent",
            (Post::Seated(_), Hub::Says(_), Database::Primary { .. }) if confirmed => {
                "Renewing the write lease"
            }
            (Post::Seated(_), Hub::Says(_), _) => "Nothing to renew",
        };
        self.tell(text);
    }

    fn tell(&mut self, text: &'static str) {
        if self.told != text {
            self.told = text;
            info!(policy = self.policy, region = %self.region, "{text}");
        }
    }
}
