//! Sensors: one loop per database server, and one heartbeat per policy. Samples stay in memory;
//! only what changed wakes a controller.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domicile_api::meta::ACCEPT_SYSTEM_IDENTIFIER;
use domicile_api::policy::FailoverPolicy;
use domicile_api::reasons::Reason;
use domicile_api::region::{DatabaseServerStatus, Region};
use domicile_core::facts::Facts;
use domicile_core::health::{Probe, ProbeFailure, Thresholds, Verdict, judge};
use domicile_core::names::ServerId;
use domicile_core::time::Mono;
use kube::ResourceExt;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info};

use crate::context::Ctx;
use crate::servers::OpenError;
use crate::telemetry::{ServerLabels, seconds};

/// Most probes at once.
const AT_ONCE: usize = 64;
/// How often the set of servers and their intervals are looked at.
const TICK: Duration = Duration::from_secs(1);
/// For servers that no policy covers.
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const THRESHOLDS: Thresholds = Thresholds { fall: 3, rise: 3 };

/// What is known of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The latest probe; absent while the server cannot even be tried.
    pub probe: Option<Probe>,
    /// Why it cannot be tried.
    pub unopened: Option<OpenError>,
    /// What is believed of it.
    pub verdict: Verdict,
    /// What the last good probe found, however long ago; [`Facts::sampled`] says when.
    pub facts: Option<Arc<Facts>>,
    /// What the first of the failures in a row with one reason said; absent after a success. The
    /// same as long as the reason is, so that telling it causes no write per probe.
    pub detail: Option<String>,
    /// When the latest probe began.
    pub at: Mono,
}

/// What is known of all servers.
#[derive(Debug, Default)]
pub struct Samples {
    latest: RwLock<BTreeMap<ServerId, Arc<Sample>>>,
}

impl Samples {
    /// What is known of one server; nothing before its first probe.
    pub fn get(&self, id: &ServerId) -> Option<Arc<Sample>> {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// What is known of all servers.
    pub fn all(&self) -> BTreeMap<ServerId, Arc<Sample>> {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, id: &ServerId, sample: Arc<Sample>) {
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        latest.insert(id.clone(), sample);
    }

    fn remove(&self, id: &ServerId) {
        self.latest
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// How a server is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Time between the beginnings of two probes.
    pub interval: Duration,
    /// Longest time for one probe, with all its parts.
    pub timeout: Duration,
    /// How many probes change the verdict.
    pub thresholds: Thresholds,
    /// The policies that the server is in.
    pub policies: Vec<String>,
    /// The system identifiers that the server may have; any, when empty.
    pub identifiers: Vec<String>,
}

/// How each server of `regions` is probed. A server in several policies follows the first one.
pub fn plans(
    regions: &[Arc<Region>],
    policies: &[Arc<FailoverPolicy>],
) -> BTreeMap<ServerId, Plan> {
    let mut plans = BTreeMap::new();
    for region in regions {
        for server in &region.spec.database_servers {
            let id = ServerId::new(region.name_any(), server.name.clone());
            let plan = Plan {
                interval: INTERVAL,
                timeout: TIMEOUT,
                thresholds: THRESHOLDS,
                policies: Vec::new(),
                identifiers: identifiers(region, &server.name),
            };
            plans.insert(id, plan);
        }
    }
    for policy in policies {
        for id in members(policy) {
            let Some(plan) = plans.get_mut(&id) else {
                continue;
            };
            if plan.policies.is_empty() {
                let detection = &policy.spec.detection;
                plan.interval = duration(detection.interval_seconds);
                plan.timeout = duration(detection.timeout_seconds);
                plan.thresholds = Thresholds {
                    fall: count(detection.failure_threshold),
                    rise: count(detection.success_threshold),
                };
            }
            plan.policies.push(policy.name_any());
        }
    }
    plans
}

/// The servers of a policy, its primary first.
pub fn members(policy: &FailoverPolicy) -> Vec<ServerId> {
    let primary = &policy.spec.primary;
    let first = ServerId::new(primary.region.clone(), primary.server.clone());
    let standbys = policy.spec.standbys.iter();
    let rest = standbys.map(|s| ServerId::new(s.region.clone(), s.server.clone()));
    std::iter::once(first).chain(rest).collect()
}

/// The pinned identifier of a server and the one that a person accepted instead.
fn identifiers(region: &Region, server: &str) -> Vec<String> {
    let status = region.status.as_ref();
    let find = |entry: &&DatabaseServerStatus| entry.name == server;
    let pinned = status.and_then(|status| status.database_servers.iter().find(find));
    let Some(pinned) = pinned.and_then(|entry| entry.system_identifier.clone()) else {
        return Vec::new();
    };
    let accepted = region.annotations().get(ACCEPT_SYSTEM_IDENTIFIER).cloned();
    std::iter::once(pinned).chain(accepted).collect()
}

/// Probes every server until the process ends.
pub async fn run(ctx: Arc<Ctx>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut loops = JoinSet::new();
    let mut running: BTreeMap<ServerId, AbortHandle> = BTreeMap::new();
    loop {
        ctx.pulse.beat("probes", ctx.clock.mono());
        while let Some(ended) = loops.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "A probe loop panicked and starts anew");
            }
        }
        running.retain(|_, handle| !handle.is_finished());
        for id in plans(&ctx.stores.regions.all(), &ctx.stores.policies.all()).into_keys() {
            running.entry(id).or_insert_with_key(|id| {
                loops.spawn(probe_server(
                    Arc::clone(&ctx),
                    id.clone(),
                    Arc::clone(&slots),
                ))
            });
        }
        ctx.clock.sleep(TICK).await;
    }
}

/// Probes one server, one probe at a time, until no Region lists it.
async fn probe_server(ctx: Arc<Ctx>, id: ServerId, slots: Arc<Semaphore>) {
    while let Some(plan) = plan_of(&ctx, &id) {
        let started = ctx.clock.mono();
        if let Ok(_slot) = slots.acquire().await {
            probe_once(&ctx, &id, &plan).await;
        }
        rest(&ctx, &id, started).await;
    }
    info!(server = %id, "No longer probing");
    ctx.samples.remove(&id);
    ctx.metrics.region_up.remove(&labels(&id));
    ctx.metrics.probe_duration.remove(&labels(&id));
}

/// Waits for the next probe, in short sleeps, because the interval may change meanwhile.
async fn rest(ctx: &Ctx, id: &ServerId, started: Mono) {
    while let Some(plan) = plan_of(ctx, id) {
        let passed = Duration::from_millis(ctx.clock.mono().since(started));
        let left = plan.interval.saturating_sub(passed);
        if left.is_zero() {
            return;
        }
        ctx.clock.sleep(left.min(TICK)).await;
    }
}

fn plan_of(ctx: &Ctx, id: &ServerId) -> Option<Plan> {
    let region = ctx.stores.regions.get(id.region.as_str())?;
    plans(&[region], &ctx.stores.policies.all()).remove(id)
}

async fn probe_once(ctx: &Ctx, id: &ServerId, plan: &Plan) {
    let at = ctx.clock.mono();
    let before = ctx.samples.get(id);
    let sample = match ctx.open(id, plan.timeout).await {
        Ok(server) => {
            let limit = plan.timeout.saturating_add(Duration::from_secs(1));
            let probe = ctx
                .clock
                .within(limit, server.probe(ctx.clock.mono()))
                .await;
            let probe = probe.unwrap_or_else(|passed| {
                Probe::Failed(ProbeFailure::TimedOut, format!("Server {id}: {passed}"))
            });
            next(
                before.as_deref(),
                recognise(probe, id, plan),
                plan.thresholds,
                at,
            )
        }
        Err(unopened) => Sample {
            probe: None,
            detail: Some(unopened.message.clone()),
            unopened: Some(unopened),
            verdict: Verdict::Unknown,
            facts: before.as_ref().and_then(|sample| sample.facts.clone()),
            at,
        },
    };
    if refuses_login(sample.probe.as_ref()) {
        ctx.forget_login(id);
    }
    let up = i64::from(sample.verdict == Verdict::Up);
    ctx.metrics.region_up.get_or_create(&labels(id)).set(up);
    let took = seconds(ctx.clock.mono().since(at));
    ctx.metrics
        .probe_duration
        .get_or_create(&labels(id))
        .observe(took);
    let sample = Arc::new(sample);
    ctx.samples.put(id, Arc::clone(&sample));
    if before.is_none_or(|before| visible(&before) != visible(&sample)) {
        info!(server = %id, verdict = ?sample.verdict, reason = ?reason(&sample), "Server changed");
        ctx.wake.region(id.region.as_str());
    }
    for policy in &plan.policies {
        ctx.wake.policy(policy);
    }
}

/// Another server at the same address is a failure of its own.
fn recognise(probe: Probe, id: &ServerId, plan: &Plan) -> Probe {
    match probe {
        Probe::Answered(facts)
            if !plan.identifiers.is_empty()
                && !plan.identifiers.contains(&facts.system_identifier) =>
        {
            let message = format!(
                "Server {id} has system identifier {}, recorded is {}: correct its address, or \
                 accept it with the annotation {ACCEPT_SYSTEM_IDENTIFIER}",
                facts.system_identifier, plan.identifiers[0]
            );
            Probe::Failed(ProbeFailure::WrongServer, message)
        }
        Probe::Answered(_) | Probe::Failed(..) => probe,
    }
}

fn next(before: Option<&Sample>, probe: Probe, thresholds: Thresholds, at: Mono) -> Sample {
    let verdict = judge(
        before.map(|b| b.verdict).unwrap_or_default(),
        &probe,
        thresholds,
    );
    let facts = match &probe {
        Probe::Answered(facts) => Some(Arc::new(Facts::clone(facts))),
        Probe::Failed(..) => before.and_then(|before| before.facts.clone()),
    };
    let told = before.and_then(|before| before.detail.clone());
    let detail = match &probe {
        Probe::Answered(_) => None,
        Probe::Failed(failure, _) if before.and_then(reason) == Some(Reason::from(*failure)) => {
            told
        }
        Probe::Failed(_, text) => Some(text.clone()),
    };
    Sample {
        probe: Some(probe),
        unopened: None,
        verdict,
        facts,
        detail,
        at,
    }
}

fn refuses_login(probe: Option<&Probe>) -> bool {
    match probe {
        Some(Probe::Failed(failure, _)) => match failure {
            ProbeFailure::CredentialsDenied | ProbeFailure::CertificateInvalid => true,
            ProbeFailure::Unreachable
            | ProbeFailure::TimedOut
            | ProbeFailure::TooManyConnections
            | ProbeFailure::NotAccepting
            | ProbeFailure::WrongServer
            | ProbeFailure::VersionUnsupported
            | ProbeFailure::Unexpected => false,
        },
        Some(Probe::Answered(_)) | None => false,
    }
}

/// The reason of the latest probe, if it failed.
pub fn reason(sample: &Sample) -> Option<Reason> {
    match (&sample.unopened, &sample.probe) {
        (Some(unopened), _) => Some(unopened.reason),
        (None, Some(Probe::Failed(failure, _))) => Some(Reason::from(*failure)),
        (None, Some(Probe::Answered(_)) | None) => None,
    }
}

/// What a Region's status tells of a sample; the rest changes all the time.
fn visible(sample: &Sample) -> impl PartialEq + use<> {
    let facts = sample.facts.as_ref().map(|facts| {
        let identity = (facts.system_identifier.clone(), facts.version.clone());
        (
            identity,
            facts.role,
            facts.timeline,
            facts.missing_rights.clone(),
        )
    });
    (Coarse::from(sample.verdict), reason(sample), facts)
}

/// A verdict without its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coarse {
    Unknown,
    Up,
    Failing,
    Down,
    Recovering,
    Refusing(ProbeFailure),
}

impl From<Verdict> for Coarse {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unknown => Self::Unknown,
            Verdict::Up => Self::Up,
            Verdict::Failing { .. } => Self::Failing,
            Verdict::Down => Self::Down,
            Verdict::Recovering { .. } => Self::Recovering,
            Verdict::Refusing(failure) => Self::Refusing(failure),
        }
    }
}

fn labels(id: &ServerId) -> ServerLabels {
    ServerLabels {
        region: id.region.to_string(),
        server: id.server.clone(),
    }
}

fn duration(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1))
}

fn count(threshold: i32) -> u32 {
    u32::try_from(threshold).unwrap_or(1).max(1)
}
