//! All that one pass knows, from samples, live reads and the caches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use domicile_api::Region;
use domicile_api::conditions::{ConditionType, Reason, is_true};
use domicile_api::convert::{self, engine};
use domicile_api::fit::RegionState;
use domicile_api::meta::{TRIGGER_AUTOMATIC, TRIGGER_LABEL};
use domicile_api::operation::{FailoverOperation, MoveType, OperationState};
use domicile_api::placement::TenantPlacement;
use domicile_api::policy::FailoverPolicy;
use domicile_core::facts::{Engine, Epoch};
use domicile_core::failover::{
    InSync, Look, Observation, Request, ServerView, Settings, State, Stored, Tenant,
};
use domicile_core::health::{Probe, ProbeFailure, Verdict};
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::time::Mono;
use futures::future::join_all;
use kube::ResourceExt;

use super::{Memory, obscure, operations};
use crate::context::Ctx;
use crate::probes::Sample;
use crate::probes::engine::EngineReport;
use crate::probes::plan::members;
use crate::servers::entry;

/// True while this leader has not tried each of the policy's servers at least once. What it has not
/// looked at must not count as silent: an operation would be refused, and an old primary that came
/// back would be overtaken without a fence. A probe ends within its deadline, and one for which
/// there is no Secret has been tried; a server that no Region lists is a conflict, and has none.
pub(super) fn unprobed(ctx: &Ctx, settings: &Settings) -> bool {
    let servers = settings.servers().into_iter().map(|s| s.server);
    let mut listed = servers.filter(|id| missing(ctx, id).is_none());
    listed.any(|id| {
        ctx.samples
            .get(&id)
            .is_none_or(|sample| sample.is_kept_waiting())
    })
}

/// The policy's servers. At rest the samples tell; otherwise each server whose latest sample
/// answered is read anew, so that nothing is decided on what was. The active server is read first:
/// a standby that then holds its position holds all that was acknowledged before.
pub(super) async fn servers(
    ctx: &Ctx,
    memory: &Memory,
    settings: &Settings,
    stored: Option<&Stored>,
) -> BTreeMap<RegionName, ServerView> {
    let deadline = Duration::from_secs(u64::from(settings.timeout_seconds));
    let active = stored.map_or(&settings.home.region, |stored| &stored.active);
    let at_rest = stored.is_some_and(|stored| at_rest(ctx, settings, stored))
        && memory
            .last_change(&settings.name)
            .is_none_or(|changed| sampled_since(ctx, settings, changed));
    let (first, others): (Vec<_>, Vec<_>) = settings
        .servers()
        .into_iter()
        .map(|s| s.server)
        .partition(|id| id.region == *active);
    let mut views = BTreeMap::new();
    for group in [first, others] {
        let reads = group.into_iter().map(async |id| {
            let sample = ctx.samples.get(&id);
            let fresh = if at_rest || !answered(sample.as_deref()) {
                None
            } else {
                Some(read(ctx, &id, deadline).await)
            };
            (id.region.clone(), view(ctx, id, sample.as_deref(), fresh))
        });
        views.extend(join_all(reads).await);
    }
    views
}

/// True while samples are enough: steady, and no claim of synchronous replication to be proven.
fn at_rest(ctx: &Ctx, settings: &Settings, stored: &Stored) -> bool {
    let claimable = || {
        let mut servers = settings.servers().into_iter().map(|s| s.server);
        let active = servers.find(|id| id.region == stored.active);
        let facts = active
            .and_then(|id| ctx.samples.get(&id))
            .and_then(|s| s.facts.clone());
        facts.is_some_and(|facts| !facts.synchrony.names.is_empty())
    };
    stored.state == State::Steady && (stored.claim.is_some() || !claimable())
}

/// True when every server was probed after `changed`. Before that the samples still show the world
/// as it was before this process changed it: a new primary as a standby, a fenced server as open.
fn sampled_since(ctx: &Ctx, settings: &Settings, changed: Mono) -> bool {
    let servers = settings.servers();
    let mut samples = servers.iter().map(|s| ctx.samples.get(&s.server));
    samples.all(|sample| sample.is_some_and(|sample| sample.at > changed))
}

fn answered(sample: Option<&Sample>) -> bool {
    sample.is_some_and(|sample| matches!(sample.probe, Some(Probe::Answered(_))))
}

async fn read(ctx: &Ctx, id: &ServerId, deadline: Duration) -> Probe {
    match ctx.open(id, deadline).await {
        Ok(provider) => provider.probe(ctx.clock.mono()).await,
        Err(error) => Probe::Failed(ProbeFailure::Unexpected, error.to_string()),
    }
}

fn view(ctx: &Ctx, server: ServerId, sample: Option<&Sample>, fresh: Option<Probe>) -> ServerView {
    let region = ctx.stores.regions.get(server.region.as_str());
    let engine = region.as_ref().map_or(Engine::Sql, |region| {
        entry(region, &server).map_or(Engine::Sql, engine)
    });
    let suspended = region.as_ref().is_some_and(|region| is_suspended(region));
    let backups = region.as_ref().map(|region| backups(ctx, region));
    let jurisdiction = region.map(|region| Jurisdiction::new(region.spec.jurisdiction.clone()));
    let sampled = sample.and_then(|s| s.facts.as_deref()).cloned();
    let pinned = sampled
        .as_ref()
        .map(|facts| facts.system_identifier.clone());
    let (facts, live) = match fresh {
        None => (sampled, answered(sample)),
        Some(Probe::Answered(facts)) if pinned.is_none_or(|id| id == facts.system_identifier) => {
            (Some(*facts), true)
        }
        Some(Probe::Answered(_) | Probe::Failed(..)) => (sampled, false),
    };
    let verdict = sample.map_or(Verdict::Unknown, |s| s.verdict);
    let engine_fails = match ctx.samples.engine(&server) {
        Some(EngineReport::Fails { message, .. }) => Some(message),
        Some(EngineReport::Answers) | None => None,
    };
    ServerView {
        server,
        jurisdiction,
        backups: backups.unwrap_or_default(),
        suspended,
        verdict,
        facts,
        live,
        engine,
        touched: None,
        ends: Vec::new(),
        asked_ms: None,
        resists: false,
        dump: None,
        engine_fails,
    }
}

/// Where the backups of a region's servers lie, and under which law.
fn backups(ctx: &Ctx, region: &Region) -> BTreeMap<RegionName, Option<Jurisdiction>> {
    let law = |name: &RegionName| {
        let region = ctx.stores.regions.get(name.as_str())?;
        Some(Jurisdiction::new(region.spec.jurisdiction.clone()))
    };
    let names = convert::backups(region).into_iter();
    names.map(|name| (name.clone(), law(&name))).collect()
}

/// What leases and promises say.
pub(super) struct Records {
    pub lease: Look<WriteLease>,
    pub promises: BTreeMap<RegionName, Look<Promise>>,
}

/// Puts together what one pass knows, as of now.
pub(super) fn all(
    ctx: &Ctx,
    memory: &Memory,
    policy: &FailoverPolicy,
    settings: Settings,
    stored: Stored,
    mut servers: BTreeMap<RegionName, ServerView>,
    records: Records,
) -> Observation {
    let now = ctx.clock.now();
    let Records { lease, promises } = records;
    for view in servers.values_mut() {
        view.resists = memory.resists(&settings.name, &view.server, now.mono);
    }
    let operations = operations::of_policy(ctx, &settings.name);
    let ended = operations
        .iter()
        .filter(|o| state(o).is_final())
        .map(|o| o.name_any())
        .collect();
    let requests = operations
        .iter()
        .filter_map(|o| request(o, &settings, &stored))
        .collect();
    Observation {
        now,
        ages: memory.ages(&settings.name, &stored, now),
        leader: ctx.identity().to_owned(),
        conflict: conflict(ctx, policy, &settings).map(|(_, fact)| fact),
        others: others(ctx, &settings),
        tenants: tenants(ctx, policy),
        home_in_sync_ms: in_sync(memory, &settings, &stored, &servers, now.mono),
        lease,
        promises,
        requests,
        ended,
        settings,
        stored,
        servers,
    }
}

/// Why the policy cannot be followed: one of its servers is another policy's too (the older policy
/// keeps it), or a Region or server does not exist.
pub(super) fn conflict(
    ctx: &Ctx,
    policy: &FailoverPolicy,
    settings: &Settings,
) -> Option<(Reason, String)> {
    let mine: BTreeSet<ServerId> = members(policy).into_iter().collect();
    let age = |p: &FailoverPolicy| {
        (
            p.metadata.creation_timestamp.clone().map(|t| t.0),
            p.name_any(),
        )
    };
    for other in ctx.stores.policies.all() {
        if other.name_any() == settings.name || age(&other) > age(policy) {
            continue;
        }
        if let Some(server) = members(&other).into_iter().find(|id| mine.contains(id)) {
            let fact = format!(
                "{server} is a server of FailoverPolicy {} already; a server is in one policy only",
                other.name_any()
            );
            return Some((Reason::ServerInTwoPolicies, fact));
        }
    }
    mine.into_iter().find_map(|id| missing(ctx, &id))
}

/// Why there is no such server.
fn missing(ctx: &Ctx, id: &ServerId) -> Option<(Reason, String)> {
    let Some(region) = ctx.stores.regions.get(id.region.as_str()) else {
        let fact = format!(
            "Region {} does not exist; create it or correct the spec",
            id.region
        );
        return Some((Reason::RegionNotFound, fact));
    };
    let mut servers = region.spec.database_servers.iter();
    (!servers.any(|server| server.name == id.server)).then(|| {
        let fact = format!(
            "Region {} has no database server named {}; add it or correct the spec",
            id.region, id.server
        );
        (Reason::ServerNotFound, fact)
    })
}

fn is_suspended(region: &Region) -> bool {
    region.spec.state == RegionState::Suspended
}

/// What is believed of all regions that are not the policy's.
fn others(ctx: &Ctx, settings: &Settings) -> BTreeMap<RegionName, Verdict> {
    let mine: BTreeSet<RegionName> = settings
        .servers()
        .into_iter()
        .map(|s| s.server.region)
        .collect();
    let mut verdicts = BTreeMap::new();
    let suspended = |region: &RegionName| {
        let region = ctx.stores.regions.get(region.as_str());
        region.is_some_and(|region| is_suspended(&region))
    };
    for (id, sample) in ctx.samples.all() {
        if mine.contains(&id.region) || suspended(&id.region) {
            continue;
        }
        let known = verdicts.entry(id.region).or_insert(sample.verdict);
        if sample.verdict == Verdict::Up {
            *known = Verdict::Up;
        }
    }
    verdicts
}

/// The placements that are recorded on one of the policy's servers.
fn tenants(ctx: &Ctx, policy: &FailoverPolicy) -> Vec<Tenant> {
    let mine: BTreeSet<ServerId> = members(policy).into_iter().collect();
    let placements = ctx.stores.placements.all();
    let unreadable = ctx.stores.placements.unreadable();
    let readable = placements.iter().filter_map(|p| tenant(ctx, p, &mine));
    let law_of = |region: &str| {
        let region = ctx.stores.regions.get(region)?;
        Some(Jurisdiction::new(region.spec.jurisdiction.clone()))
    };
    let others = unreadable
        .iter()
        .filter_map(|p| obscure::tenant(p, &mine, law_of));
    readable.chain(others).collect()
}

fn tenant(ctx: &Ctx, placement: &TenantPlacement, mine: &BTreeSet<ServerId>) -> Option<Tenant> {
    let status = placement.status.as_ref()?;
    let id = ServerId::new(status.active_region.clone()?, status.server.clone()?);
    if !mine.contains(&id) {
        return None;
    }
    let home = status
        .home_region
        .as_deref()
        .and_then(|name| ctx.stores.regions.get(name));
    let mut allowed: BTreeSet<_> = placement
        .spec
        .allowed_jurisdictions
        .iter()
        .flatten()
        .map(Jurisdiction::new)
        .collect();
    if allowed.is_empty() {
        allowed.extend(home.map(|region| Jurisdiction::new(region.spec.jurisdiction.clone())));
    }
    Some(Tenant {
        name: format!(
            "{}/{}",
            placement.namespace().unwrap_or_default(),
            placement.name_any()
        ),
        allowed,
        repointed: Epoch(status.epoch.unwrap_or_default()),
        // One that is served all the same, such as one whose Secret a cluster does not take, is
        // pointed at its new server like all others.
        stalled: (is_true(&status.conditions, ConditionType::Stalled)
            && !is_true(&status.conditions, ConditionType::Ready))
            || placement.metadata.deletion_timestamp.is_some(),
    })
}

/// An operation that may be started or is being run. What the machine made for its own failover is
/// a record, and no request to make another.
fn request(operation: &FailoverOperation, settings: &Settings, stored: &Stored) -> Option<Request> {
    let name = operation.name_any();
    let current = stored.journal.as_ref().is_some_and(|j| j.operation == name);
    let trigger = operation.labels().get(TRIGGER_LABEL);
    let automatic = trigger.is_some_and(|trigger| trigger == TRIGGER_AUTOMATIC);
    let own = automatic && operation.spec.type_ == MoveType::Failover;
    let waiting = state(operation) == OperationState::Pending && !own;
    let gone = operation.metadata.deletion_timestamp.is_some();
    if state(operation).is_final() || !(current || (waiting && !gone)) {
        return None;
    }
    let hash = operations::evidence_hash(&settings.name, stored);
    let approvals = operation
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.approvals);
    Some(Request {
        name,
        kind: operation.spec.type_.into(),
        target: RegionName::new(operation.spec.target.clone()),
        expected_epoch: Epoch(operation.spec.expected_epoch),
        accept: operation.spec.accept.iter().map(|a| (*a).into()).collect(),
        automatic,
        approved: hash.is_some_and(|hash| approvals.iter().any(|a| a.evidence_hash == hash)),
    })
}

fn state(operation: &FailoverOperation) -> OperationState {
    operation
        .status
        .as_ref()
        .and_then(|s| s.state)
        .unwrap_or(OperationState::Pending)
}

/// How long the home server has followed the active one, without a break or a gap in what this
/// process saw.
fn in_sync(
    memory: &Memory,
    settings: &Settings,
    stored: &Stored,
    servers: &BTreeMap<RegionName, ServerView>,
    now: Mono,
) -> Option<u64> {
    let mut in_sync = memory
        .in_sync
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let before = in_sync.remove(&settings.name);
    let known = InSync::next(before, settings, stored, servers, now)?;
    in_sync.insert(settings.name.clone(), known);
    Some(known.ms())
}
