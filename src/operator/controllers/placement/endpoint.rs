//! The name under which workloads reach the server, and the Service behind it (ADR 33), or the
//! names of all servers (ADR 35).

use std::sync::Arc;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::ReloadStrategy;
use domicile_api::meta::manager;
use domicile_api::placement::{EndpointKind, TenantPlacement};
use domicile_core::endpoint::{self, Before, Decision, Fault, Lead};
use domicile_core::replica::Address;
use domicile_providers::Endpoint;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, ResourceExt};
use tracing::info;

use super::database;
use super::error::Halt;
use super::observe::Seat;
use super::progress::{Progress, Stop, Until};
use super::regional::Plan;
use super::serve::namespace;
use crate::context::Ctx;
use crate::kube::apply::{self, Ownership};
use crate::kube::cas::write_status;

mod calls;
mod certificates;
mod faults;
mod hosts;
mod objects;

use calls::{delete, delete_all, failed, read, refused};
pub(super) use certificates::watch;
use faults::{authorities, one_authority, told};
use objects::{Change, Live, Wanted};

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

/// The Service as it is, and what is to be written to it.
pub(super) struct Front {
    name: String,
    live: Live,
    changes: Vec<Change>,
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
    if let Some(before) = known {
        remove(ctx, tenant, &before).await?;
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
    let (ca_pem, differ) = authorities(ctx, seat, server).await?;
    let delivers = progress.clusters.as_ref().is_some_and(Plan::delivers);
    let one = if delivers {
        Some(Fault::Clusters)
    } else {
        (differ > 1).then(|| one_authority(tenant)).flatten()
    };
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

/// Looks at the Service, if there is to be one: because it is published, or because pods may still
/// use it that started when it was.
pub(super) async fn look(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    (seat, server): (&Seat, &Endpoint),
    published: &Published,
    progress: &mut Progress,
) -> Result<Option<Front>, Halt> {
    if let Some(name) = &published.service {
        return found(ctx, tenant, (seat, server), name, progress)
            .await
            .map(Some);
    }
    // Also while it is asked for again, and cannot be had yet: pods may use it from before.
    let Some(name) = recorded(tenant) else {
        return Ok(None);
    };
    let asked = tenant.endpoint() == EndpointKind::Service;
    let mut aside = Progress::default();
    match found(ctx, tenant, (seat, server), name, &mut aside).await {
        // What is not there is not made to be kept.
        Ok(front) if front.live == Live::default() => {
            if !asked {
                progress.removed_service = Some(name.to_owned());
            }
            Ok(None)
        }
        Ok(front) => Ok(Some(front)),
        // Nothing is published that needs it, so it keeps the tenant from nothing.
        Err(Halt::Stop(stop)) => {
            if stop.reason == Reason::ServiceOwnedByOther && !asked {
                remove(ctx, tenant, name).await?;
                progress.removed_service = Some(name.to_owned());
            } else {
                progress.notice(stop.reason, stop.message);
            }
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

async fn found(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    (seat, server): (&Seat, &Endpoint),
    name: &str,
    progress: &mut Progress,
) -> Result<Front, Halt> {
    let live = read(ctx, tenant, name).await;
    let live = live.map_err(|error| failed(tenant, "reading", name, error, progress))?;
    let uid = tenant.uid().unwrap_or_default();
    objects::admit(&live, &uid, seat.epoch)
        .map_err(|refusal| progress.deny(CURRENT, refused(tenant, name, seat, &refusal)))?;
    let wanted = Wanted {
        name: name.to_owned(),
        namespace: namespace(tenant),
        placement: tenant.name_any(),
        uid,
        lead: Lead::to(&server.host, server.port),
        epoch: seat.epoch,
    };
    let changes = objects::changes(&live, &wanted);
    Ok(Front {
        name: name.to_owned(),
        live,
        changes,
    })
}

impl Front {
    /// Whether it leads elsewhere than it must.
    pub(super) fn differs(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Makes it lead to the server, which was just seen to take the published logins.
    pub(super) async fn turn(
        &self,
        ctx: &Ctx,
        tenant: &TenantPlacement,
        progress: &mut Progress,
    ) -> Result<(), Halt> {
        let namespace = namespace(tenant);
        let services: Api<Service> = Api::namespaced(ctx.client.clone(), &namespace);
        let slices: Api<EndpointSlice> = Api::namespaced(ctx.client.clone(), &namespace);
        let ownership = |new: &bool| {
            if *new {
                Ownership::Respect
            } else {
                Ownership::Force
            }
        };
        let by = manager::ENDPOINT;
        for change in &self.changes {
            info!(service = self.name, "Turning the Service");
            let written = match change {
                Change::Slice { document, new } => {
                    let name = document["metadata"]["name"].as_str().unwrap_or_default();
                    let applied = apply::apply(ctx, &slices, name, by, ownership(new), document);
                    applied.await.map(drop)
                }
                Change::Service { document, new } => {
                    let applied =
                        apply::apply(ctx, &services, &self.name, by, ownership(new), document);
                    applied.await.map(drop)
                }
                Change::Remove(slice) => delete(ctx, &slices, slice.as_ref()).await,
            };
            written.map_err(|error| failed(tenant, "writing", &self.name, error, progress))?;
        }
        Ok(())
    }

    /// Removes it when the Secret tells the server's own name again, and no selected workload has
    /// the one before.
    pub(super) async fn retire(
        &self,
        ctx: &Ctx,
        tenant: &TenantPlacement,
        published: &Published,
        progress: &mut Progress,
    ) -> Result<(), Halt> {
        // What was turned in this pass is another version than the one that was read.
        let asked = tenant.endpoint() == EndpointKind::Service;
        let used = asked || published.service.is_some() || is_used(tenant, progress);
        if used || self.differs() {
            return Ok(());
        }
        info!(service = self.name, "Removing the Service");
        let removed = delete_all(ctx, tenant, &self.live).await;
        removed.map_err(|error| failed(tenant, "removing", &self.name, error, progress))?;
        progress.removed_service = Some(self.name.clone());
        Ok(())
    }
}

/// Removes the Service of a placement that goes, if there is one.
pub(super) async fn release(ctx: &Ctx, tenant: &TenantPlacement) -> Result<(), Halt> {
    match recorded(tenant) {
        Some(name) => remove(ctx, tenant, name).await,
        None => Ok(()),
    }
}

const CURRENT: ConditionType = ConditionType::CredentialsCurrent;

async fn remove(ctx: &Ctx, tenant: &TenantPlacement, name: &str) -> Result<(), Halt> {
    let mut progress = Progress::default();
    let removed = match read(ctx, tenant, name).await {
        Ok(live) => delete_all(ctx, tenant, &live).await,
        Err(error) => Err(error),
    };
    removed.map_err(|error| failed(tenant, "removing", name, error, &mut progress))
}

/// The recorded Service.
fn recorded(tenant: &TenantPlacement) -> Option<&str> {
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

/// Whether a pod may still use what the Secret told before.
fn is_used(tenant: &TenantPlacement, progress: &Progress) -> bool {
    let Some(injected) = progress.findings.get(&ConditionType::Injected) else {
        return true;
    };
    let restarts = tenant.reload_strategy() == ReloadStrategy::RollingRestart;
    if [Reason::NoWorkloads, Reason::InjectionOff].contains(&injected.reason) {
        return false;
    }
    injected.status != Status::True
        || (restarts && !progress.taken_up)
        || injected.reason == Reason::RolloutUnknown
}
