//! From a placement to a tenant that is served: database, Secret, login, workloads, in this order.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::placement::TenantPlacement;
use domicile_core::connection::{RenderError, Rendered};
use domicile_core::placement::{NoReplica, Reads, RegionState};
use domicile_providers::Endpoint;
use jiff::Timestamp;
use kube::ResourceExt;

use super::endpoint::{Facade, Front};
use super::error::Halt;
use super::external;
use super::memory::{Inputs, Memory};
use super::observe::{BRIEF, Seat, answers, is_up, moved, recorded, seat};
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::regional::{self, Order, Plan};
use super::room::Room;
use super::secret::{self, Chosen, Write};
use super::store::{Store, admit, secret_call};
use super::target::{Look, Target};
use super::wanted::{Found, Wanted, wanted};
use super::{SOON, endpoint, former, pace, reads, report, rotate, workloads};
use crate::context::Ctx;
use crate::controllers::LONGEST_WAIT;
use crate::kube::wake::Key;
use crate::turns::Turn;

/// A placement's turn in its namespace, once it has one.
pub(super) type Visit<'a> = Option<Turn<'a, String>>;

/// Does all that is missing, in an order in which each interruption leaves something that the next
/// pass completes. What was found is in `progress`; `tenant` is the object as last written.
pub(super) async fn serve<'a>(
    ctx: &'a Ctx,
    tenant: &mut Arc<TenantPlacement>,
    memory: &Memory,
    visit: &mut Visit<'a>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let room = Room::look(ctx, tenant, &memory.promises).await?;
    let seat = seat(ctx, tenant, Some(&room), progress)?;
    ready(ctx, tenant, &seat, progress)?;
    let server = ctx.endpoint(&seat.active).await;
    let server = server.map_err(|error| not_ready(&seat, &error.message, progress))?;
    // Who waits for a turn asks nobody for anything. A server that was chosen just now is recorded
    // first, so that nobody waits for a turn at one and chooses another then.
    let held = match recorded(tenant) {
        Some(_) => Some(turn(ctx, tenant, &seat)?),
        None => None,
    };
    enter(ctx, tenant, visit)?;
    let hub = Place::hub(ctx, tenant);
    let live = ctx.call(hub.secrets().get_opt(&tenant.secret_name())).await;
    let live = live.map_err(|error| secret_call(&hub, "reading", error, progress))?;
    admit(&hub, seat.epoch, live.as_ref())
        .map_err(|stop| progress.deny(ConditionType::CredentialsCurrent, stop))?;
    claim(ctx, tenant, &seat, progress).await?;
    former::claim(ctx, tenant).await?;
    endpoint::claim(ctx, tenant, progress).await?;
    let mut turn = held.map_or_else(|| turn(ctx, tenant, &seat), Ok)?;
    let hub = Place::hub(ctx, tenant);
    let before = former::before(&hub, seat.epoch, progress).await?;
    let found = Found { live, before };
    let done = tokio::select! {
        biased;
        done = Box::pin(provide((&hub, memory), (&seat, &server), &found, progress)) => done,
        () = moved(ctx, seat.guard.as_ref()) => Err(Halt::Later(Duration::ZERO)),
    };
    let uid = tenant.uid().unwrap_or_default();
    if let Some(replica) = progress.unread.take() {
        memory.unread(&uid, replica, ctx.clock.mono());
    }
    memory.awaits(&uid, progress.awaited.take());
    turn.heard(progress.heard);
    done
}

/// The placement's turn at its server, so that one that does not answer holds up its own tenants
/// alone.
pub(super) fn turn<'a>(
    ctx: &'a Ctx,
    tenant: &TenantPlacement,
    seat: &Seat,
) -> Result<Turn<'a>, Halt> {
    let turn = ctx.turn(&seat.active, Key::of(tenant));
    turn.ok_or(Halt::Later(LONGEST_WAIT))
}

/// The placement's turn in its namespace, where calls may hang. Asked for after that at the server,
/// so that no place there is kept for who waits here.
pub(super) fn enter<'a>(
    ctx: &'a Ctx,
    tenant: &TenantPlacement,
    visit: &mut Visit<'a>,
) -> Result<(), Halt> {
    if visit.is_none() {
        *visit = ctx.visit(namespace(tenant), Key::of(tenant));
    }
    match visit {
        Some(_) => Ok(()),
        None => Err(Halt::Later(LONGEST_WAIT)),
    }
}

/// Whatever moment it is dropped at, the next pass completes it.
async fn provide(
    (hub, memory): (&Place<'_>, &Memory),
    (seat, server): (&Seat, &Endpoint),
    found: &Found,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Place { ctx, tenant, .. } = *hub;
    let live = found.live.as_ref();
    let external = external::read(hub, progress).await?;
    let point = endpoint::choose(ctx, tenant, (seat, server), progress).await?;
    let facade = Facade::of(tenant, &point, server);
    let front = endpoint::look(hub, facade.as_ref(), seat.epoch, progress).await?;
    let reads = if point.service.is_some() {
        Reads::Primary(NoReplica::Service)
    } else {
        reads::reads(ctx, tenant, seat, memory)?
    };
    let awaited = memory.awaited(&tenant.uid().unwrap_or_default());
    let target = Target {
        tenant,
        seat,
        endpoint: server,
        external: &external,
        reads: &reads,
        awaited: awaited.as_ref(),
        published: &point,
    };
    let Wanted {
        chosen,
        rendered,
        inputs,
        write,
        published,
    } = wanted(ctx, &target, found, progress).await?;
    let store = Store {
        at: hub,
        live_hash: secret::told_hash(found.published()),
        front: front.as_ref(),
    };
    settle(&target, &store, memory, (&chosen, inputs, write), progress).await?;
    if chosen.fresh && target.turns(&chosen) {
        // As in a rotation, the status is stored before workloads get it.
        rotate::tell_replaced(&target, &chosen, progress);
        return Ok(());
    }
    let secret = (rendered, published);
    let taken_up = hand_out((hub, memory), (seat, facade), secret, progress).await?;
    if let Some(front) = &front {
        front.retire(hub, progress).await?;
    }
    former::retire_here(hub, live, progress).await?;
    rotate::close(&target, ctx, taken_up, progress).await?;
    // Its status is stored before workloads get it: the next pass does that.
    rotate::turn(&target, &store, live, &chosen, progress).await?;
    // The tenant is pointed at its server all the same: nobody's move waits for a password.
    progress
        .locked_out
        .clone()
        .map_or(Ok(()), |stop| Err(stop.into()))
}

/// Makes and publishes what is not as it must be, and looks at the rest when that is due.
async fn settle(
    target: &Target<'_>,
    store: &Store<'_>,
    memory: &Memory,
    (chosen, inputs, write): (&Chosen, Inputs, Write),
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Place { ctx, tenant, .. } = *store.at;
    let uid = tenant.uid().unwrap_or_default();
    let fresh = pace(ctx, false).look;
    if target.stands(&inputs) {
        // At a moment of its own, so that after a restart the looks do not come together.
        let ago = fresh.mul_f64(rand::random());
        let at = ctx.clock.mono().before(ago);
        memory.trust(&uid, inputs.clone(), at);
    }
    let enough = target.seat.repointing && memory.is_repointed(&uid, &inputs);
    let due = !enough && memory.due(&uid, &inputs, fresh, ctx.clock.mono());
    let differs = !matches!(write, Write::Nothing) || store.front.is_some_and(Front::differs);
    if due || differs {
        memory.doubt(&uid);
        match target.settle(store, chosen, write, progress).await {
            Ok(Look::All { missing, shut }) => {
                // A new tenant's other logins were made closed: no second look closes them.
                let idle = inputs.idle.or(shut);
                let inputs = Inputs { idle, ..inputs };
                memory.looked(&uid, inputs, missing, ctx.clock.mono());
            }
            Ok(Look::Logins) => memory.repointed(&uid, inputs),
            Err(halt) => {
                progress.served = None;
                return Err(halt);
            }
        }
    }
    if let Some((reason, message)) = memory.missing(&uid) {
        progress.notice(reason, message);
    }
    Ok(())
}

/// Gives the Secret to the workloads of the hub, and orders it for the clusters of regions. Answers
/// for how many milliseconds all workloads have run with it.
async fn hand_out(
    (hub, memory): (&Place<'_>, &Memory),
    (seat, facade): (&Seat, Option<Facade>),
    (rendered, published): (Rendered, Option<Timestamp>),
    progress: &mut Progress,
) -> Result<Option<u64>, Halt> {
    let Place { ctx, tenant, .. } = *hub;
    let Some(origin) = workloads::origin(tenant, progress) else {
        return Ok(None);
    };
    let (uid, rendered) = (tenant.uid().unwrap_or_default(), Arc::new(rendered));
    // Before the workloads: what is wrong with those of one cluster is no matter of the others.
    if progress.clusters.as_ref().is_some_and(Plan::delivers) {
        let authority = (seat.epoch, seat.guard.clone());
        let order = Order::new(Arc::clone(&rendered), origin.clone(), authority, facade);
        memory.regional.order(&uid, order);
    }
    let injected = workloads::inject(hub, memory, (&rendered, &origin, published), progress).await;
    if injected.is_err() {
        // The pass ends here, and would not send the errands.
        ctx.wake.regional.wake(Key::of(tenant));
    }
    injected?;
    let everywhere = regional::taken_up(tenant, memory, progress);
    Ok(memory.taken_up(&uid, everywhere, ctx.clock.mono()))
}

/// The namespace of a placement.
pub(super) fn namespace(tenant: &TenantPlacement) -> String {
    tenant.namespace().unwrap_or_default()
}

/// Records the server before anything is made on it, so that whatever happens next, a later pass
/// and a deletion know where to look.
async fn claim(
    ctx: &Ctx,
    tenant: &mut Arc<TenantPlacement>,
    seat: &Seat,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if recorded(tenant).is_some() {
        return Ok(());
    }
    progress.claimed = Some(seat.active.clone());
    let message = format!(
        "database {} is being made on {}",
        seat.database, seat.active
    );
    progress.stop = Some(Stop::new(Until::Mended, Reason::Provisioning, message));
    *tenant = report::write(ctx, tenant, progress).await?;
    progress.stop = None;
    Ok(())
}

/// Whether the server can be worked on now.
fn ready(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    seat: &Seat,
    progress: &mut Progress,
) -> Result<(), Halt> {
    match answers(ctx, &seat.active) {
        // What is recorded on a server that never answered would wait for it even to be deleted.
        Some(Ok(())) if recorded(tenant).is_none() && !is_up(ctx, &seat.active) => {
            Err(not_ready(seat, "it does not answer every probe now", progress).into())
        }
        Some(Ok(())) => Ok(()),
        Some(Err(_)) if seat.brief && recorded(tenant).is_some() => Err(Halt::Later(BRIEF)),
        Some(Err(fact)) => Err(not_ready(seat, &fact, progress).into()),
        // A restarted operator has probed nothing yet: no reason to call a served tenant unready.
        None if recorded(tenant).is_some() => Err(Halt::Later(SOON)),
        None => Err(not_ready(seat, "it was not probed yet", progress).into()),
    }
}

fn not_ready(seat: &Seat, fact: &str, progress: &mut Progress) -> Stop {
    let (reason, state) = if seat.state == Some(RegionState::Suspended) {
        (Reason::RegionSuspended, "suspended by its `spec.state`")
    } else {
        (Reason::RegionNotReady, "not ready")
    };
    let message = format!(
        "Region {} is {state}: its database server {}: {fact}",
        seat.active.region, seat.active.server
    );
    let stop = Stop::new(Until::Mended, reason, message);
    progress.deny(ConditionType::DatabaseReady, stop)
}

/// A template of the user's cannot be rendered.
pub(super) fn bad_template(error: &RenderError, progress: &mut Progress) -> Stop {
    let stop = Stop::new(Until::Person, Reason::InvalidTemplate, error.to_string());
    progress.deny(ConditionType::CredentialsCurrent, stop)
}
