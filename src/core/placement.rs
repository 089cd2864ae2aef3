//! Where a tenant lives, which server answers for it now, and what its deletion means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::facts::Epoch;
use crate::failover::State;
use crate::names::{Jurisdiction, RegionName, ServerId};

mod adopted;
mod copies;
mod deletion;
mod destinations;
mod drift;
mod effective;
mod former;
mod held;
mod missing;
mod obscure;
mod orphan;
mod reads;
mod refusal;
mod residence;
mod route;
mod server;
mod unplaced;

pub use copies::{Closed, Copies, Copy, CopyKind, closed, copies};
pub use deletion::{Deletion, deletion};
pub use destinations::{ClusterUse, Errand, Errands, Reach, errands, secret_copies};
pub use drift::{Drift, drift, listed};
pub use effective::effective;
pub use former::{Leave, Readers, leave};
pub use held::{Held, Holder, held};
pub use missing::Missing;
pub use obscure::{Glimpse, is_covered};
pub use orphan::{Parting, orphan_route, parting};
pub use reads::{NoReplica, Reader, Reads, ReplicaView, Unread, reads};
pub use refusal::{Refusal, ServerError, Unfit};
pub use residence::{RegionState, ResidenceError, residence};
pub use route::{Hold, Recorded, Route, home_server, route};
pub use server::{
    Asked, Choice, Isolation, Plane, ServerView, Wish, choose_server, fits, is_standby, policy_of,
    serving_server,
};
pub use unplaced::{judged, withdrawals};

/// What a placement needs to know of a `Region`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionView {
    /// Its jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// `spec.default`.
    pub default: bool,
    /// What it is meant to do now.
    pub state: RegionState,
    /// The region that holds its tenants while it is `MetadataOnly`.
    pub served_by: Option<RegionName>,
    /// The regions in which backups of its servers lie; a name may stand for no Region.
    pub backups: BTreeSet<RegionName>,
    /// What its own cluster is for.
    pub cluster: ClusterUse,
    /// Its database servers, in the order of the spec.
    pub servers: Vec<ServerView>,
}

impl RegionView {
    /// The database server of that name.
    pub fn server(&self, name: &str) -> Option<&ServerView> {
        self.servers.iter().find(|server| server.name == name)
    }
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

/// The tenant's law: the jurisdictions in which copies of it may lie.
pub fn allowed(
    spec: Option<&BTreeSet<Jurisdiction>>,
    home: &Jurisdiction,
) -> BTreeSet<Jurisdiction> {
    spec.cloned()
        .unwrap_or_else(|| BTreeSet::from([home.clone()]))
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
