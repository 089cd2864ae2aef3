//! What the agent looks at: the hub's lease, its own server, the promises.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_core::agent::{Database, Hub, Versions};
use domicile_core::facts::{Facts, Role};
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::names::RegionName;
use domicile_providers::{Generic, Seat};
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tracing::{debug, info};

use crate::context::Ctx;
use crate::leases::{Book, ReadError};

/// The hub's leases as this agent asks for them.
pub(super) fn hub(ctx: &Ctx, limit: Duration) -> Book<'_> {
    Book {
        api: Api::namespaced(ctx.client.clone(), ctx.settings.namespace()),
        clock: &ctx.clock,
        limit,
    }
}

/// What the hub says, and the version that a renewal must name.
pub(super) async fn lease(ctx: &Ctx, policy: &str, limit: Duration) -> (Hub, Option<String>) {
    match hub(ctx, limit).write_lease(policy).await {
        Ok(Some((record, version))) => (Hub::Says(Some(record)), Some(version)),
        Ok(None) => (Hub::Says(None), None),
        Err(error) => {
            debug!(policy, error = told(&error), "The hub is silent");
            (Hub::Silent, None)
        }
    }
}

fn told(error: &ReadError) -> String {
    crate::controllers::chain(error)
}

/// The promises of all clusters that answer, each with its version.
pub(super) async fn promises(
    ctx: &Ctx,
    clusters: &BTreeMap<RegionName, Api<Lease>>,
    policy: &str,
    limit: Duration,
) -> BTreeMap<RegionName, Option<(Promise, String)>> {
    let looks = clusters.iter().map(async |(region, api)| {
        let book = Book {
            api: api.clone(),
            clock: &ctx.clock,
            limit,
        };
        match book.promise(policy).await {
            Ok(found) => Some((region.clone(), found)),
            Err(error) => {
                debug!(policy, %region, error = told(&error), "A promise was not read");
                None
            }
        }
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// What this replica may do at the own server.
#[derive(Debug)]
pub(super) enum Post {
    /// It has the seat: it renews, and fences.
    Seated(Box<Seat>),
    /// Another replica has the seat, and does both.
    Relieved,
    /// It left the seat to the others for a moment, and does neither.
    Left,
    /// The server gives no seat to anybody: who remembers a pledge fences.
    Unknown,
}

/// The own server, looked at from the seat, which is taken first.
pub(super) async fn database(
    ctx: &Ctx,
    server: &Generic,
    post: &mut Post,
    idle: Duration,
) -> Database {
    if !matches!(post, Post::Seated(_)) {
        *post = match server.take_seat(idle).await {
            Ok(Some(seat)) => {
                info!(
                    server = server.server(),
                    "Acting: this replica has the seat"
                );
                Post::Seated(Box::new(seat))
            }
            Ok(None) => Post::Relieved,
            Err(error) => {
                debug!(%error, "The own server does not answer");
                Post::Unknown
            }
        };
    }
    let Post::Seated(seat) = post else {
        return Database::Silent;
    };
    match seat.look(ctx.clock.mono()).await {
        Ok(facts) => facts.as_ref().map_or(Database::Silent, database_of),
        Err(error) => {
            info!(%error, "The seat is lost");
            *post = Post::Unknown;
            Database::Silent
        }
    }
}

fn database_of(facts: &Facts) -> Database {
    match facts.role {
        Role::Standby => Database::Standby,
        Role::Primary => Database::Primary {
            row: facts.authority,
            open: facts.tenant_sessions > 0 || facts.open_logins > 0,
        },
    }
}

/// The record alone, for the decision.
pub(super) fn records(
    found: &BTreeMap<RegionName, Option<(Promise, String)>>,
) -> BTreeMap<RegionName, Option<Promise>> {
    let bare = |found: &Option<(Promise, String)>| found.as_ref().map(|(record, _)| *record);
    found
        .iter()
        .map(|(region, found)| (region.clone(), bare(found)))
        .collect()
}

/// The versions of what was read.
pub(super) fn versions(
    lease: Option<&String>,
    found: &BTreeMap<RegionName, Option<(Promise, String)>>,
) -> Versions {
    let name = |found: &Option<(Promise, String)>| found.as_ref().map(|(_, name)| name.clone());
    let promises = found.iter();
    Versions {
        lease: lease.cloned(),
        promises: promises
            .map(|(region, found)| (region.clone(), name(found)))
            .collect(),
    }
}

/// The lease that the hub speaks of.
pub(super) fn told_of(hub: &Hub) -> Option<&WriteLease> {
    match hub {
        Hub::Says(lease) => lease.as_ref(),
        Hub::Silent => None,
    }
}
