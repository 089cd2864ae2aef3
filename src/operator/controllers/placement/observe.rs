//! From resources to the seat of a tenant: its home, its law, and the server that answers now.

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::convert::policy_view;
use domicile_api::placement::TenantPlacement;
use domicile_api::policy::PromotionRule;
use domicile_core::facts::Epoch;
use domicile_core::failover::State;
use domicile_core::health::Verdict;
use domicile_core::names::{DatabaseName, Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, Hold, PolicyView, Recorded, RegionState, Route};

use super::choose::{Map, Residence, no_region, unseated};
use super::error::Halt;
use super::progress::{Progress, Stop, Until};
use super::regional;
use super::room::Room;
use crate::context::Ctx;
use crate::kube::cache::Unreadable;

mod unplaced;

/// Where a tenant is and must be.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) database: DatabaseName,
    pub(super) home: RegionName,
    pub(super) home_key: String,
    pub(super) jurisdiction: Jurisdiction,
    /// The tenant's law.
    pub(super) allowed: BTreeSet<Jurisdiction>,
    /// The server that answers now.
    pub(super) active: ServerId,
    pub(super) active_key: String,
    /// What its region is for; absent when there is no such region.
    pub(super) state: Option<RegionState>,
    /// The server that the tenant has its place on.
    pub(super) place: ServerId,
    /// All servers that may ever serve the tenant, that one first, in an order that no move
    /// changes.
    pub(super) servers: Vec<ServerId>,
    /// The extensions that tenants of that server may ask for.
    pub(super) listed: BTreeSet<String>,
    pub(super) epoch: Epoch,
    /// The machine waits for this tenant, and others, to be pointed at `active`.
    pub(super) repointing: bool,
    /// An outage or a move of the server has only begun: what is to be said of it may be over in a
    /// moment.
    pub(super) brief: bool,
    /// The server neither moves nor is about to.
    pub(super) steady: bool,
    /// The policy that may move the tenants of the server, and its epoch.
    pub(super) guard: Option<(String, Epoch)>,
}

/// How long a state of a move may last before every tenant's status tells of it: writing to all of
/// them would hold up the move itself.
pub(super) const BRIEF: Duration = Duration::from_secs(3);

/// How often a pass looks whether its server is being left.
const GLANCE: Duration = Duration::from_millis(50);

/// Finds the tenant's seat from what the API server holds and the probes found. No I/O. `room` is
/// what was found of the servers, for a tenant that has none yet.
pub(super) fn seat(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    room: Option<&Room<'_>>,
    progress: &mut Progress,
) -> Result<Seat, Halt> {
    let database = tenant.database_name().map_err(|error| {
        let message = format!(
            "the database's name {error}; it comes from {}",
            name_field(tenant)
        );
        Stop::new(Until::Person, Reason::InvalidName, message)
    })?;
    let unreadable = ctx.stores.policies.unreadable();
    let map = Map::read(ctx);
    let recorded = recorded(tenant);
    let placed = placed(&map, tenant, (room, unreadable), progress);
    let (residence, server, policy) =
        placed.inspect_err(|stop| unplaced::answer(&map, tenant, stop, progress))?;
    protection(ctx, policy, progress);
    // The law is answered for also while nothing may be changed.
    let allowed = &residence.allowed;
    let known = recorded.as_ref().map_or(&server, |(server, _)| server);
    let copies = placement::copies(known, policy, allowed, &map.regions);
    residency(&copies, progress);
    progress.copies = Some(copies);
    let plan = |steady| regional::plan(&map, tenant, (&residence, &server, policy), steady);
    progress.clusters = Some(plan(false));
    let last = recorded.as_ref().map(|(server, epoch)| Recorded {
        active: server.region.clone(),
        epoch: *epoch,
    });
    let sample = ctx.samples.get(&server);
    let row = sample.and_then(|sample| sample.facts.as_ref()?.authority);
    let (active, epoch) = match placement::route(&server, policy, last.as_ref(), row) {
        Route::Serve { server, epoch } => (server, epoch),
        Route::Hold(hold) => return Err(unmoved(ctx, policy, &hold, progress)),
    };
    let state = policy.and_then(|policy| policy.machine.as_ref()?.state);
    let place = map.regions.get(&server.region);
    let listed = place.and_then(|region| Some(region.server(&server.server)?.extensions.clone()));
    progress.copies = Some(placement::copies(&active, policy, allowed, &map.regions));
    let steady = policy.is_none() || state == Some(State::Steady);
    progress.clusters = Some(plan(steady));
    Ok(Seat {
        database,
        home_key: key_of(ctx, &residence.home)?,
        jurisdiction: residence.view.jurisdiction.clone(),
        allowed: residence.allowed,
        home: residence.home,
        active_key: key_of(ctx, &active.region)?,
        state: map.regions.get(&active.region).map(|region| region.state),
        listed: listed.unwrap_or_default(),
        servers: servers(ctx, policy, (&server, &active)),
        place: server,
        active,
        epoch,
        repointing: state == Some(State::Rerouting),
        brief: state != Some(State::Steady) && brief(ctx, policy),
        steady,
        guard: policy.and_then(guard),
    })
}

/// Where a tenant belongs, the server that it has its place on, and the policy of that.
type Placed<'m> = (Residence<'m>, ServerId, Option<&'m PolicyView>);

/// Finds the tenant's place. `before` are the policies that could not be read before the map was.
fn placed<'m>(
    map: &'m Map<'_>,
    tenant: &TenantPlacement,
    (room, before): (Option<&Room<'_>>, Vec<Unreadable>),
    progress: &mut Progress,
) -> Result<Placed<'m>, Stop> {
    // One that has become unreadable since is in neither of the two.
    let after = map.ctx.stores.policies.unreadable();
    let mut unreadable = before.into_iter().chain(after);
    if recorded(tenant).is_none()
        && let Some(policy) = unreadable.next()
    {
        return Err(obscured(&policy));
    }
    if let Some(policy) = unplaced::obscuring(map, tenant, unreadable) {
        progress.held = true;
        return Err(obscured(&policy));
    }
    let (residence, server) = map.place(tenant, room, progress)?;
    let policy = placement::policy_of(&server, &map.policies)
        .map_err(|error| unseated(&error, &server.region, progress))?;
    Ok((residence, server, policy))
}

/// The policy that may move the tenants of its server, and its epoch.
fn guard(policy: &PolicyView) -> Option<(String, Epoch)> {
    let machine = policy.machine.as_ref()?;
    Some((policy.name.clone(), machine.epoch))
}

/// The servers that may serve the tenant: its own, and those that a move may lead to.
fn servers(
    ctx: &Ctx,
    policy: Option<&PolicyView>,
    (place, active): (&ServerId, &ServerId),
) -> Vec<ServerId> {
    let live = policy.and_then(|policy| ctx.stores.policies.get(&policy.name));
    let standbys = live.iter().flat_map(|policy| &policy.spec.standbys);
    let willing = standbys.filter(|standby| standby.promotion != PromotionRule::MustNot);
    let willing = willing.map(|standby| ServerId::new(&standby.region, &standby.server));
    let primary = policy.map(|policy| policy.primary.clone());
    let mut servers = vec![place.clone()];
    for server in primary.into_iter().chain(willing).chain([active.clone()]) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// Returns once the tenants of the server are being moved: under a newer epoch than the guard's.
/// What is under way on a server that does not answer would else hold up their way to another.
pub(super) async fn moved(ctx: &Ctx, guard: Option<&(String, Epoch)>) {
    let Some((name, epoch)) = guard else {
        return std::future::pending().await;
    };
    let newer = || {
        let policy = ctx.stores.policies.get(name)?;
        Some(policy_view(&policy).machine?.epoch > *epoch)
    };
    while newer() != Some(true) {
        ctx.clock.sleep(GLANCE).await;
    }
}

/// True when the policy's state is new.
fn brief(ctx: &Ctx, policy: Option<&PolicyView>) -> bool {
    let live = policy.and_then(|policy| ctx.stores.policies.get(&policy.name));
    let since = live.and_then(|policy| policy.status.as_ref()?.since);
    since.is_some_and(|since| {
        let passed = ctx.clock.now().wall.duration_since(since);
        passed.unsigned_abs() < BRIEF
    })
}

/// A server is chosen once and for ever, and a policy that cannot be read may copy it anywhere.
pub(super) fn obscured(policy: &Unreadable) -> Stop {
    let message = format!(
        "FailoverPolicy {} cannot be read by this version of Domicile, so where it copies tenants \
         to is not known; see its conditions",
        policy.metadata.name.as_deref().unwrap_or_default()
    );
    Stop::new(Until::Mended, Reason::InvalidObject, message)
}

/// Whether the server may be worked on. `None` before it was probed.
pub(super) fn answers(ctx: &Ctx, server: &ServerId) -> Option<Result<(), String>> {
    ctx.samples.get(server)?.workable()
}

/// Whether the server answers without any doubt.
pub(super) fn is_up(ctx: &Ctx, server: &ServerId) -> bool {
    let sample = ctx.samples.get(server);
    sample.is_some_and(|sample| sample.verdict == Verdict::Up)
}

/// The server that last served the tenant, and under which epoch.
pub(super) fn recorded(tenant: &TenantPlacement) -> Option<(ServerId, Epoch)> {
    let status = tenant.status.as_ref()?;
    let server = ServerId::new(status.active_region.clone()?, status.server.clone()?);
    Some((server, Epoch(status.epoch.unwrap_or(0))))
}

/// Nothing of the tenant may be changed. What has only begun is not told.
fn unmoved(ctx: &Ctx, policy: Option<&PolicyView>, hold: &Hold, progress: &mut Progress) -> Halt {
    let stop = held(hold, progress);
    if matches!(hold, Hold::Moving { .. }) && brief(ctx, policy) {
        Halt::Later(BRIEF)
    } else {
        stop.into()
    }
}

/// Nothing of the tenant may be changed.
pub(super) fn held(hold: &Hold, progress: &mut Progress) -> Stop {
    progress.held = true;
    let message = hold.to_string();
    match hold {
        Hold::Moving {
            state: Some(State::Halted),
            ..
        } => Stop::new(Until::Person, Reason::Halted, message),
        Hold::Moving { .. } | Hold::PolicyStarting(_) => {
            Stop::new(Until::Moved, Reason::FailoverInProgress, message)
        }
        Hold::ActiveRegionUnknown { .. } => {
            Stop::new(Until::Person, Reason::Contradiction, message)
        }
        Hold::PolicyMissing { .. } | Hold::Fenced { .. } => {
            Stop::new(Until::Person, Reason::PolicyNotFound, message)
        }
    }
}

fn protection(ctx: &Ctx, policy: Option<&PolicyView>, progress: &mut Progress) {
    let type_ = ConditionType::FailoverProtected;
    let Some(policy) = policy else {
        let message = "no FailoverPolicy covers the tenant's server";
        return progress.found(type_, Status::False, Reason::NoPolicy, message);
    };
    let live = ctx.stores.policies.get(&policy.name);
    let status = live.as_ref().and_then(|policy| policy.status.as_ref());
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let name = &policy.name;
    if conditions::is_true(conditions, ConditionType::FailoverReady) {
        let message = format!("FailoverPolicy {name} would fail over by itself");
        progress.found(type_, Status::True, Reason::Armed, message);
    } else {
        let message = format!(
            "FailoverPolicy {name} would not fail over by itself now; see `kubectl domicile \
             explain failoverpolicy/{name}`"
        );
        progress.found(type_, Status::False, Reason::NotArmed, message);
    }
}

fn residency(copies: &placement::Copies, progress: &mut Progress) {
    let type_ = ConditionType::ResidencyCompliant;
    let outside = copies.outside();
    if outside.is_empty() {
        let message = "every copy stands within the allowed jurisdictions";
        return progress.found(type_, Status::True, Reason::WithinJurisdiction, message);
    }
    let places: Vec<String> = outside.iter().map(ToString::to_string).collect();
    let message = format!(
        "copies stand outside `spec.allowedJurisdictions`: {}; take these standbys out of the \
         FailoverPolicy, these backups out of `spec.residency` of their Region, and remove their \
         data",
        places.join(", ")
    );
    progress.notice(Reason::WouldLeaveJurisdiction, message.clone());
    progress.found(
        type_,
        Status::False,
        Reason::WouldLeaveJurisdiction,
        message,
    );
}

fn key_of(ctx: &Ctx, region: &RegionName) -> Result<String, Stop> {
    let found = ctx.stores.regions.get(region.as_str());
    found
        .map(|found| found.spec.key.clone())
        .ok_or_else(|| no_region(region))
}

fn name_field(tenant: &TenantPlacement) -> &'static str {
    if tenant.spec.database.name.is_some() {
        "`spec.database.name`"
    } else {
        "`spec.tenantID`"
    }
}
