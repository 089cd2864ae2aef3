//! Where a tenant lives, which server answers for it now, and what its deletion means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::facts::Epoch;
use crate::failover::State;
use crate::names::{Jurisdiction, RegionName, ServerId};

mod copies;
mod deletion;
mod effective;
mod route;

pub use copies::{Copies, Copy, CopyKind, copies};
pub use deletion::{Deletion, deletion};
pub use effective::effective;
pub use route::{Hold, Recorded, Route, home_server, route};

/// What a placement needs to know of a `Region`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionView {
    /// Its jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// `spec.default`.
    pub default: bool,
    /// The names of its database servers, in the order of the spec.
    pub servers: Vec<String>,
}

/// What a placement needs to know of a `FailoverPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// The home server.
    pub primary: ServerId,
    /// The standbys.
    pub standbys: Vec<ServerId>,
    /// The machine, once it has started. Absent before its first status.
    pub machine: Option<MachineView>,
}

/// The part of the machine's stored state that routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineView {
    /// The state; absent when the stored word is unknown.
    pub state: Option<State>,
    /// The epoch.
    pub epoch: Epoch,
    /// The region that tenants are pointed at.
    pub active: RegionName,
}

/// Why a placement has no home yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeError {
    /// The spec names no region, and none is the default.
    NoDefault,
    /// The spec names no region, and several are the default.
    DuplicateDefault(Vec<RegionName>),
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefault => f.write_str(
                "the placement names no `spec.region` and no Region has `spec.default: true`; \
                 create the placement again with a region, or make one Region the default",
            ),
            Self::DuplicateDefault(names) => write!(
                f,
                "the placement names no `spec.region` and several Regions are the default: {}; \
                 leave `spec.default: true` on one of them",
                join(names)
            ),
        }
    }
}

/// The tenant's home region: the recorded one for ever, else the one that the spec names, else the
/// single default.
pub fn home(
    recorded: Option<&RegionName>,
    spec: Option<&RegionName>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Result<RegionName, HomeError> {
    if let Some(name) = recorded.or(spec) {
        return Ok(name.clone());
    }
    let defaults: Vec<&RegionName> = regions
        .iter()
        .filter(|(_, region)| region.default)
        .map(|(name, _)| name)
        .collect();
    match defaults.as_slice() {
        [] => Err(HomeError::NoDefault),
        [one] => Ok((*one).clone()),
        [_, ..] => Err(HomeError::DuplicateDefault(
            defaults.into_iter().cloned().collect(),
        )),
    }
}

/// Why no server of the home region takes the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerError {
    /// The region lists no database server, or no longer the one that holds the tenant.
    NotFound(String),
    /// The home region itself is outside the allowed jurisdictions.
    HomeNotAllowed(Jurisdiction),
    /// Each server has a standby in a jurisdiction that the tenant does not allow.
    WouldLeaveJurisdiction {
        /// The server.
        server: ServerId,
        /// The policy that gives it the standby.
        policy: String,
        /// The standby.
        standby: ServerId,
    },
    /// Each server is a standby of another one and takes no tenant of its own.
    IsStandby {
        /// The server.
        server: ServerId,
        /// The policy that makes it one.
        policy: String,
    },
    /// Several policies claim the server as their primary.
    InTwoPolicies {
        /// The server.
        server: ServerId,
        /// The policies.
        policies: Vec<String>,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(server) if server.is_empty() => {
                f.write_str("the home region lists no database server")
            }
            Self::NotFound(server) => write!(
                f,
                "the home region no longer lists the database server {server:?}, which holds the \
                 tenant; list it again"
            ),
            Self::HomeNotAllowed(jurisdiction) => write!(
                f,
                "the home region is in jurisdiction {jurisdiction}, which \
                 `spec.allowedJurisdictions` does not list"
            ),
            Self::WouldLeaveJurisdiction {
                server,
                policy,
                standby,
            } => write!(
                f,
                "FailoverPolicy {policy} copies {server} to {standby}, outside \
                 `spec.allowedJurisdictions`; allow that jurisdiction or use another server"
            ),
            Self::IsStandby { server, policy } => write!(
                f,
                "{server} is a standby in FailoverPolicy {policy} and takes no tenant of its own; \
                 place the tenant in the primary's region"
            ),
            Self::InTwoPolicies { server, policies } => write!(
                f,
                "{server} is in several FailoverPolicies: {}; leave it in one",
                policies.join(", ")
            ),
        }
    }
}

/// The tenant's law: the jurisdictions in which copies of it may lie.
pub fn allowed(
    spec: Option<&BTreeSet<Jurisdiction>>,
    home: &Jurisdiction,
) -> BTreeSet<Jurisdiction> {
    spec.cloned()
        .unwrap_or_else(|| BTreeSet::from([home.clone()]))
}

/// The server of the home region that takes the tenant: the first that the law admits, and the
/// recorded one for ever.
///
/// A recorded server is kept even when a policy has since given it a standby outside the law: the
/// tenant's data cannot be moved by naming another server. [`copies`] then says so.
pub fn choose_server(
    home: &RegionName,
    recorded: Option<&str>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<String, ServerError> {
    let region = regions
        .get(home)
        .ok_or_else(|| ServerError::NotFound(String::new()))?;
    if let Some(server) = recorded {
        let listed = region.servers.iter().any(|name| name == server);
        return if listed {
            Ok(server.to_owned())
        } else {
            Err(ServerError::NotFound(server.to_owned()))
        };
    }
    if !allowed.contains(&region.jurisdiction) {
        return Err(ServerError::HomeNotAllowed(region.jurisdiction.clone()));
    }
    let mut refused = None;
    for server in &region.servers {
        let id = ServerId {
            region: home.clone(),
            server: server.clone(),
        };
        match admits(&id, allowed, regions, policies) {
            Ok(()) => return Ok(server.clone()),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| ServerError::NotFound(String::new())))
}

fn admits(
    server: &ServerId,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<(), ServerError> {
    if let Some(policy) = policies
        .iter()
        .find(|policy| policy.standbys.contains(server))
    {
        let policy = policy.name.clone();
        return Err(ServerError::IsStandby {
            server: server.clone(),
            policy,
        });
    }
    let policy = policy_of(server, policies)?;
    let outside = |standby: &&ServerId| {
        regions
            .get(&standby.region)
            .is_none_or(|region| !allowed.contains(&region.jurisdiction))
    };
    if let Some((policy, standby)) =
        policy.and_then(|policy| Some((policy, policy.standbys.iter().find(outside)?)))
    {
        return Err(ServerError::WouldLeaveJurisdiction {
            server: server.clone(),
            policy: policy.name.clone(),
            standby: standby.clone(),
        });
    }
    Ok(())
}

/// The one policy whose primary is `server`.
pub fn policy_of<'a>(
    server: &ServerId,
    policies: &'a [PolicyView],
) -> Result<Option<&'a PolicyView>, ServerError> {
    let found: Vec<&PolicyView> = policies
        .iter()
        .filter(|policy| policy.primary == *server)
        .collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        [_, ..] => Err(ServerError::InTwoPolicies {
            server: server.clone(),
            policies: found.iter().map(|policy| policy.name.clone()).collect(),
        }),
    }
}

fn join(names: &[RegionName]) -> String {
    names
        .iter()
        .map(RegionName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
