//! Where a tenant's reading login leads, and the proof that it is let in there (ADR 31).

use std::time::Duration;

use domicile_api::conditions::MAX_MESSAGE_BYTES;
use domicile_api::convert::region_view;
use domicile_api::placement::{Privileges, TenantPlacement};
use domicile_api::placement_status::{ReadOnlyStatus, ReadTarget};
use domicile_core::facts::Lsn;
use domicile_core::health::Probe;
use domicile_core::names::ServerId;
use domicile_core::placement::{self, Reader, Reads};
use domicile_core::replica::{Address, Awaited};
use domicile_core::time::Mono;
use domicile_providers::Generic;
use kube::ResourceExt;
use tracing::info;

use super::SOON;
use super::choose::no_region;
use super::endpoint::Published;
use super::error::Halt;
use super::memory::Memory;
use super::observe::Seat;
use super::progress::Progress;
use super::secret::Chosen;
use super::target::Target;
use crate::context::Ctx;
use crate::probes::replicas::{at, views};
use crate::servers::entry;

/// Longest time for one login on a replica.
const LOGIN: Duration = Duration::from_secs(2);
/// How long one pass waits for a replica to replay a login that was just made.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(250);
/// The same between passes.
const REPLAY: Duration = Duration::from_secs(2);

/// Where the tenant's reading login leads now.
pub(super) fn reads(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    seat: &Seat,
    memory: &Memory,
) -> Result<Reads, Halt> {
    let region = ctx.stores.regions.get(seat.active.region.as_str());
    let region = region.ok_or_else(|| no_region(&seat.active.region))?;
    let replicas = entry(&region, &seat.active)
        .map(|server| views(ctx, &seat.active, server))
        .unwrap_or_default();
    let (_, view) = region_view(&region);
    let uid = tenant.uid().unwrap_or_default();
    let led = recorded(tenant);
    let reads = placement::reads(&Reader {
        server: &seat.active,
        jurisdiction: &view.jurisdiction,
        allowed: &seat.allowed,
        replicas: &replicas,
        recorded: led.as_ref(),
        refused: &memory.refused(&uid, ctx.clock.mono()),
        settled: seat.steady || seat.repointing,
    });
    // A tenant that was just made would be led elsewhere, and restarted, a moment later.
    let new = tenant
        .status
        .as_ref()
        .is_none_or(|s| s.connection.is_none());
    if new && reads_alone(tenant) && reads.is_open() {
        return Err(Halt::Later(SOON));
    }
    Ok(reads)
}

fn reads_alone(tenant: &TenantPlacement) -> bool {
    let mut roles = tenant.spec.roles.iter();
    roles.any(|role| role.privileges == Privileges::ReadOnly)
}

/// The replica that the tenant is led to by its status.
pub(super) fn recorded(tenant: &TenantPlacement) -> Option<Address> {
    let connection = tenant.status.as_ref()?.connection.as_ref()?;
    connection.read_only.as_ref()?.replica()
}

/// What the status says of it.
pub(super) fn told(reads: &Reads, server: &ServerId, published: &Published) -> ReadOnlyStatus {
    let (host, port, leads_to) = match reads {
        Reads::Replica(Address { host, port }) => (host, *port, ReadTarget::ReadReplica),
        Reads::Primary(_) => (&published.host, published.port, ReadTarget::Primary),
    };
    let why = reads.why(server);
    ReadOnlyStatus {
        host: host.clone(),
        port: i32::from(port),
        leads_to,
        message: why[..why.floor_char_boundary(MAX_MESSAGE_BYTES)].to_owned(),
    }
}

/// For how long a replica may refuse a login before it counts as one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// For a moment within this pass.
    Pass,
    /// Over passes, until it has replayed what the server held when the login was there.
    Replay,
}

impl Target<'_> {
    /// Logs in on the replica with what is about to be published for it, and waits for one that has
    /// yet to replay the login. A replica that lets it in no sooner is remembered, and the next
    /// pass leads elsewhere: the Secret is written once, with what works.
    pub(super) async fn try_reads(
        &self,
        ctx: &Ctx,
        chosen: &Chosen,
        patience: Patience,
        progress: &mut Progress,
    ) -> Result<(), Halt> {
        let Some(replica) = self.reads.replica() else {
            return Ok(());
        };
        let username = super::database::usernames(self.tenant, self.seat, chosen.slot).read_only;
        let (Some(username), Some(password)) = (username, &chosen.passwords.read_only) else {
            return Ok(());
        };
        // Somebody changed the password: the replica refuses it as the server does.
        if progress.locked_out.is_some() {
            return Ok(());
        }
        let known = self.awaited.filter(|known| known.replica == *replica);
        let began = ctx.clock.mono();
        let provider = Generic::new(at(self.endpoint.clone(), replica), LOGIN);
        let mut why = match &provider {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        while let Ok(provider) = &provider {
            let tried = provider.can_log_in(&self.seat.database, &username, password);
            match tried.await {
                Ok(login) if !login.writable => return Ok(()),
                Ok(_) => why = format!("{replica} takes writes by its own account"),
                Err(error) => why = error.to_string(),
            }
            let passed = Duration::from_millis(ctx.clock.mono().since(began));
            // In a move, everybody waits; and where this is not the first pass, it is no hurry.
            if self.seat.repointing || known.is_some() || passed >= PATIENCE {
                break;
            }
            ctx.clock.sleep(AGAIN).await;
        }
        if let (Ok(provider), Patience::Replay, false) = (&provider, patience, self.seat.repointing)
            && let Some(awaited) =
                Box::pin(self.behind(ctx, (replica, provider), known, began)).await
        {
            info!(%replica, position = %awaited.position, "The read replica has yet to replay");
            progress.awaited = Some(awaited);
            return Err(Halt::Later(REPLAY));
        }
        info!(%replica, why, "The read replica does not let the tenant in");
        progress.unread = Some(replica.clone());
        Err(Halt::Later(Duration::ZERO))
    }

    /// What there is to be waited for on a replica that refuses the login: where the server's WAL
    /// ended when the login was there, as long as the replica has not replayed that.
    async fn behind(
        &self,
        ctx: &Ctx,
        (replica, provider): (&Address, &Generic),
        known: Option<&Awaited>,
        since: Mono,
    ) -> Option<Awaited> {
        let awaited = if let Some(known) = known {
            known.clone()
        } else {
            let server = Generic::new(self.endpoint.clone(), LOGIN).ok()?;
            let position = position(&server, ctx).await?;
            let replica = replica.clone();
            Awaited {
                replica,
                position,
                since,
            }
        };
        let replayed = position(provider, ctx).await?;
        awaited
            .is_open(replayed, ctx.clock.mono())
            .then_some(awaited)
    }
}

/// How far a server has written, or a replica replayed.
async fn position(server: &Generic, ctx: &Ctx) -> Option<Lsn> {
    match Box::pin(server.probe(ctx.clock.mono())).await {
        Probe::Answered(facts) => Some(facts.position),
        Probe::Failed(..) => None,
    }
}
