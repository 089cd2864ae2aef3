//! The name under which workloads reach the server, and the Service behind it (ADR 33), or the
//! names of all servers (ADR 35).

use std::sync::Arc;

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::meta::manager;
use domicile_api::placement::{EndpointKind, TenantPlacement};
use domicile_core::endpoint::{self, Before, Decision, Fault, Lead};
use domicile_core::replica::Address;
use domicile_providers::Endpoint;

use super::error::Halt;
use super::observe::Seat;
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::serve::namespace;
use super::{database, regional};
use crate::context::Ctx;
use crate::kube::cas::write_status;

mod calls;
mod certificates;
mod faults;
mod front;
mod hosts;
mod objects;

pub(super) use certificates::watch;
use faults::{authorities, one_authority, told};
pub(super) use front::{Facade, Front, look, release};

/// Where the Secret points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) namespace: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The authorities to verify against.
    pub(super) ca_pem: String,
    /// The Service that follows the tenant; absent for the server's own name.
    pub(super) service: Option<String>,
    /// The servers to name, that one first; absent where it is named alone.
    pub(super) hosts: Option<Vec<Address>>,
}

/// Records the Service before it is made, so that it is found however the pass ends.
pub(super) async fn claim(
    ctx: &Ctx,
    tenant: &mut Arc<TenantPlacement>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if tenant.endpoint() != EndpointKind::Service {
        return Ok(());
    }
    let name = name(tenant).map_err(|stop| progress.deny(CURRENT, stop))?;
    let known = recorded(tenant).map(str::to_owned);
    if known.as_deref() == Some(name.as_str()) {
        return Ok(());
    }
    if known.is_some() {
        // It is turned until it is gone everywhere: one is recorded at a time.
        if !regional::recorded(tenant).is_empty() {
            return Ok(());
        }
        release(&Place::hub(ctx, tenant)).await?;
    }
    let mut status = tenant.status.clone().unwrap_or_default();
    status.service = Some(name);
    let cache = &ctx.stores.placements;
    *tenant = write_status(ctx, cache, manager::PLACEMENT, tenant, status).await?;
    Ok(())
}

/// Where the Secret is to point.
pub(super) async fn choose(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    (seat, server): (&Seat, &Endpoint),
    progress: &mut Progress,
) -> Result<Published, Halt> {
    let direct = Published {
        namespace: namespace(tenant),
        host: server.host.clone(),
        port: server.port,
        ca_pem: server.ca_pem.clone(),
        service: None,
        hosts: None,
    };
    match tenant.endpoint() {
        EndpointKind::Direct => Ok(direct),
        EndpointKind::Service => by_service(ctx, tenant, (seat, server), direct, progress).await,
        EndpointKind::MultiHost => {
            hosts::choose(ctx, tenant, (seat, server), direct, progress).await
        }
    }
}

async fn by_service(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    (seat, server): (&Seat, &Endpoint),
    direct: Published,
    progress: &mut Progress,
) -> Result<Published, Halt> {
    let name = name(tenant).map_err(|stop| progress.deny(CURRENT, stop))?;
    let host = endpoint::service_host(&name, &direct.namespace);
    let before = before(tenant, &host);
    // A server that is lost cannot be asked, and a move is no time to find out.
    if before == Before::Direct && !seat.steady {
        return Ok(direct);
    }
    if let Some(other) = recorded(tenant).filter(|recorded| *recorded != name) {
        let (reason, fact) = faults::outlives(other, &name);
        progress.notice(reason, fact);
        return Ok(direct);
    }
    let (ca_pem, differ) = authorities(ctx, seat, server).await?;
    let one = (differ > 1).then(|| one_authority(tenant)).flatten();
    let fault = if before == Before::Asked || one.is_some() {
        one
    } else {
        let fault = certificates::fault(ctx, seat, server, &host).await;
        fault.map_err(|error| database::denied(&error, progress))?
    };
    let asked = Published {
        port: Lead::to(&server.host, server.port).published_port(),
        host,
        ca_pem,
        service: Some(name),
        ..direct.clone()
    };
    publish((before, fault), asked, direct, progress)
}

/// What is published of the two, and what is told of a fault.
fn publish(
    (before, fault): (Before, Option<Fault>),
    asked: Published,
    direct: Published,
    progress: &mut Progress,
) -> Result<Published, Halt> {
    let told = |fault: &Fault| told(fault, &asked.host, &asked.namespace);
    if let (Before::Asked, Some(fault)) = (before, &fault) {
        let (reason, fact) = told(fault);
        progress.notice(reason, fact);
    }
    match endpoint::decide(before, fault) {
        Decision::Asked => Ok(asked),
        Decision::StayDirect(fault) => {
            let (reason, fact) = told(&fault);
            let message = format!("the Secret keeps the server's own name: {fact}");
            progress.notice(reason, message);
            Ok(direct)
        }
        Decision::Refuse(fault) => {
            let (reason, fact) = told(&fault);
            let message = format!("nothing is published: {fact}");
            let stop = Stop::new(Until::Person, reason, message);
            Err(progress.deny(CURRENT, stop).into())
        }
    }
}

const CURRENT: ConditionType = ConditionType::CredentialsCurrent;

/// Whether the placement asks for the Service of this name.
fn asks(tenant: &TenantPlacement, service: &str) -> bool {
    let asked = tenant.endpoint() == EndpointKind::Service;
    asked && name(tenant).is_ok_and(|name| name == service)
}

/// The recorded Service, which may be in the hub, and wherever the Secret may be.
pub(super) fn recorded(tenant: &TenantPlacement) -> Option<&str> {
    tenant.status.as_ref()?.service.as_deref()
}

fn name(tenant: &TenantPlacement) -> Result<String, Stop> {
    endpoint::service_name(&tenant.secret_name()).map_err(|error| {
        let message = format!(
            "`spec.connection.endpoint` is Service, and {error}; set another \
             `spec.connection.secretName`"
        );
        Stop::new(Until::Person, Reason::InvalidName, message)
    })
}

/// What the status tells that the Secret holds.
fn before(tenant: &TenantPlacement, host: &str) -> Before {
    let status = tenant.status.as_ref();
    match status.and_then(|status| status.connection.as_ref()) {
        None => Before::Nothing,
        Some(connection) if connection.host == host => Before::Asked,
        Some(_) => Before::Direct,
    }
}
