//! Why what a placement asks for is not published, for people.

use domicile_api::conditions::Reason;
use domicile_api::placement::TenantPlacement;
use domicile_core::endpoint::{self, Fault};
use domicile_core::names::ServerId;
use domicile_providers::Endpoint;

use super::certificates;
use crate::context::Ctx;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::observe::Seat;
use crate::controllers::placement::progress::{Stop, Until};
use crate::error::{Class, Classify};

/// The authorities of all servers that may serve, in an order of their own, whoever serves now.
pub(super) async fn authorities(
    ctx: &Ctx,
    seat: &Seat,
    server: &Endpoint,
) -> Result<(String, usize), Halt> {
    let mut pems = Vec::new();
    for id in &seat.servers {
        if *id == seat.active {
            pems.push(server.ca_pem.clone());
        } else if let Some(other) = reached(ctx, id).await? {
            pems.push(other.ca_pem);
        }
    }
    Ok(endpoint::authorities(pems.iter().map(String::as_str)))
}

/// How a server that may take over is reached; nothing where it cannot be: nobody is moved there.
pub(super) async fn reached(ctx: &Ctx, server: &ServerId) -> Result<Option<Endpoint>, Halt> {
    match ctx.endpoint(server).await {
        Ok(endpoint) => Ok(Some(endpoint)),
        // Without it the Secret would change, and change back.
        Err(error) if error.class() == Class::Transient => {
            Err(Stop::new(Until::Mended, error.reason, error.message).into())
        }
        Err(_) => Ok(None),
    }
}

/// A key that carries one authority alone.
pub(super) fn one_authority(tenant: &TenantPlacement) -> Option<Fault> {
    let keys = tenant.spec.connection.keys.iter().flatten();
    let mut keys = keys.filter(|(_, value)| endpoint::carries_one_authority(value));
    let (entry, _) = keys.next()?;
    let entry = entry.clone();
    Some(Fault::Authority { entry })
}

/// What a fault means to people.
pub(super) fn told(fault: &Fault, host: &str, namespace: &str) -> (Reason, String) {
    match fault {
        Fault::Name { server, fact } => {
            let message = format!(
                "the certificate of {server} lacks {host} ({fact}); {}",
                certificates::mend(namespace)
            );
            (Reason::CertificateLacksName, message)
        }
        Fault::Authority { entry } => {
            let message = format!(
                "`spec.connection.keys[{entry:?}]` carries the authority of one server, and those \
                 that may take over have others; use datasource-url-file, or one authority for all"
            );
            (Reason::EndpointUnsuited, message)
        }
        Fault::Fence { policy, minimum } => {
            let message = format!(
                "`spec.connection.endpoint` is MultiHost, and FailoverPolicy {policy} has \
                 `spec.fencing.minimumProof` {minimum}: it promotes while the old primary may \
                 still take writes, and a client that chooses for itself would find that one; set \
                 the proof to LeaseExpired or SynchronousReplication, or the endpoint to Direct"
            );
            (Reason::EndpointUnsuited, message)
        }
    }
}

/// What it means that another Service is recorded than the one that is asked for.
pub(super) fn outlives(other: &str, asked: &str) -> (Reason, String) {
    let message = format!(
        "the Secret keeps the server's own name: Service {other}, by the Secret's name before, is \
         still there, or in the cluster of a region; it is removed in each cluster when no \
         selected workload there has its name, and Service {asked} is made after that"
    );
    (Reason::EndpointUnsuited, message)
}
