//! One read of everything that a report may draw on.

use kube::api::ListParams;
use serde_json::Value;

use crate::client::call;
use crate::error::CliError;
use crate::json::{self, name};
use crate::kinds::Kind;
use crate::session::{Session, as_json};

/// Objects per request.
const PAGE: u32 = 500;

/// Most objects of one kind that are read.
const MOST: usize = 10_000;

/// Which placements to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placements {
    /// Those of the session's namespace.
    OfNamespace,
    /// Those of all namespaces.
    OfAll,
}

/// What was there when the command began.
#[derive(Debug, Default)]
pub struct World {
    /// All regions.
    pub regions: Vec<Value>,
    /// The placements asked for.
    pub placements: Vec<Value>,
    /// All policies.
    pub policies: Vec<Value>,
    /// All operations.
    pub operations: Vec<Value>,
    /// What this user may not read, in words.
    pub unread: Vec<String>,
}

impl World {
    /// Reads all four kinds. What this user may not list is noted in `unread`, not an error.
    ///
    /// # Errors
    /// When the API server cannot be reached or does not know the kinds.
    pub async fn read(session: &Session<'_>, placements: Placements) -> Result<Self, CliError> {
        let mut world = Self::default();
        let namespace = match placements {
            Placements::OfNamespace => Some(session.namespace.as_str()),
            Placements::OfAll => None,
        };
        for kind in Kind::ALL {
            let found = match list(session, kind, namespace).await {
                Err(error) if error.is_forbidden() => {
                    world.unread.push(error.chain());
                    continue;
                }
                other => other?,
            };
            match kind {
                Kind::Region => world.regions = found,
                Kind::TenantPlacement => world.placements = found,
                Kind::FailoverPolicy => world.policies = found,
                Kind::FailoverOperation => world.operations = found,
            }
        }
        Ok(world)
    }

    /// The objects of one kind.
    pub fn of(&self, kind: Kind) -> &[Value] {
        match kind {
            Kind::Region => &self.regions,
            Kind::TenantPlacement => &self.placements,
            Kind::FailoverPolicy => &self.policies,
            Kind::FailoverOperation => &self.operations,
        }
    }

    /// The object of this kind and name; in `namespace` for a placement.
    pub fn find(&self, kind: Kind, namespace: &str, wanted: &str) -> Option<&Value> {
        let here = |object: &&Value| {
            kind != Kind::TenantPlacement
                || json::namespace(object).is_none_or(|found| found == namespace)
        };
        self.of(kind)
            .iter()
            .filter(here)
            .find(|object| name(object) == wanted)
    }

    /// The policies that cover the server `server` of `region`, as home or standby.
    pub fn policies_of(&self, region: &str, server: &str) -> Vec<&Value> {
        let covers = |policy: &&Value| {
            members(policy)
                .iter()
                .any(|(r, s)| r == region && (server.is_empty() || s == server))
        };
        self.policies.iter().filter(covers).collect()
    }

    /// The operations of a policy, newest first.
    pub fn operations_of(&self, policy: &str) -> Vec<&Value> {
        let mut found: Vec<&Value> = self
            .operations
            .iter()
            .filter(|o| json::text(o, "/spec/policyRef/name") == policy)
            .collect();
        found.sort_by_key(|operation| {
            std::cmp::Reverse(json::text(operation, "/metadata/creationTimestamp"))
        });
        found
    }
}

/// A policy's servers as (region, server), home first.
pub fn members(policy: &Value) -> Vec<(String, String)> {
    let home = std::iter::once(json::at(policy, "/spec/primary"));
    let all = home.chain(json::items(policy, "/spec/standbys"));
    all.map(|member| (json::text(member, "/region"), json::text(member, "/server")))
        .collect()
}

async fn list(
    session: &Session<'_>,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Vec<Value>, CliError> {
    let api = kind.api(&session.client, namespace);
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    while found.len() < MOST {
        let page = call(format!("list {}", kind.plural()), api.list(&params)).await?;
        found.extend(page.items.into_iter().map(as_json));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Ok(found)
}
