//! Which servers' certificates carry the name under which workloads reach them.

use std::time::Duration;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_core::endpoint::{Certificate, Fault, nameless};
use domicile_core::names::ServerId;
use domicile_providers::{Endpoint, Generic, ProviderError};
use futures::future::join_all;

use super::Published;
use crate::context::Ctx;
use crate::controllers::placement::observe::{Seat, is_up};
use crate::controllers::placement::progress::{Progress, Stop, Until};

/// Longest time for one login.
const LOGIN: Duration = Duration::from_secs(5);

/// The first server whose certificate lacks the name: the one that serves, else one that may take
/// over.
pub(super) async fn fault(
    ctx: &Ctx,
    seat: &Seat,
    endpoint: &Endpoint,
    host: &str,
) -> Result<Option<Fault>, ProviderError> {
    let server = Generic::new(endpoint.clone(), LOGIN)?;
    if let Some(fact) = server.lacks_name(host).await? {
        let server = seat.active.clone();
        return Ok(Some(Fault::Name { server, fact }));
    }
    let others = seat.servers.iter().filter(|server| **server != seat.active);
    let found = join_all(others.map(|server| look(ctx, server, host))).await;
    Ok(nameless(&found))
}

async fn look(ctx: &Ctx, server: &ServerId, host: &str) -> (ServerId, Certificate) {
    let certificate = if is_up(ctx, server) {
        match ctx.open(server, LOGIN).await {
            Ok(open) => match open.lacks_name(host).await {
                Ok(None) => Certificate::Carries,
                Ok(Some(fact)) => Certificate::Lacks(fact),
                Err(_) => Certificate::Unknown,
            },
            Err(_) => Certificate::Unknown,
        }
    } else {
        Certificate::Unknown
    };
    (server.clone(), certificate)
}

/// Looks again, once the name is published. What keeps clients out now ends the pass; what would
/// after a move is answered.
pub(in crate::controllers::placement) async fn watch(
    ctx: &Ctx,
    seat: &Seat,
    (endpoint, published): (&Endpoint, &Published),
    progress: &mut Progress,
) -> Option<(Reason, String)> {
    published.service.as_ref()?;
    let host = &published.host;
    // Who does not answer now has just been logged in to, or is told by others.
    let fault = fault(ctx, seat, endpoint, host).await.ok()??;
    let Fault::Name { server, fact } = fault else {
        return None;
    };
    let reason = Reason::CertificateLacksName;
    let step = mend(&published.namespace);
    if server != seat.active {
        let message = format!(
            "clients that verify could not log in after a move to {server}, whose certificate \
             lacks {host} ({fact}); {step}"
        );
        return Some((reason, message));
    }
    let message = format!(
        "clients that verify cannot log in: the certificate of {server} lacks {host} ({fact}); \
         {step}"
    );
    let type_ = ConditionType::CredentialsCurrent;
    progress.found(type_, Status::False, reason, message.clone());
    progress.locked_out = Some(Stop::new(Until::Person, reason, message));
    None
}

/// What a person must do about a certificate.
pub(super) fn mend(namespace: &str) -> String {
    format!(
        "add it, or *.{namespace}.svc, to its subject alternative names, or set \
         `spec.connection.endpoint` to Direct"
    )
}
