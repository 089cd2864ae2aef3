//! Which region's servers take the tenants of a home, by the state that the home is in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::RegionView;
use crate::names::{Jurisdiction, RegionName};

/// What a region is meant to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionState {
    /// It takes tenants.
    Active,
    /// It will: its placements wait.
    Planned,
    /// It has no server of its own yet: another region holds its tenants.
    MetadataOnly,
    /// It keeps the tenants that it has and takes no new ones.
    Draining,
    /// It is paused on purpose: it takes no tenants, and its silence is no outage.
    Suspended,
}

impl RegionState {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Planned => "Planned",
            Self::MetadataOnly => "MetadataOnly",
            Self::Draining => "Draining",
            Self::Suspended => "Suspended",
        }
    }
}

/// Why no region takes the tenant now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResidenceError {
    /// The region takes no new tenant in this state.
    Closed {
        /// The region.
        region: RegionName,
        /// Its state.
        state: RegionState,
    },
    /// The region that should hold the tenants of a home does not exist.
    NotFound {
        /// The home.
        home: RegionName,
        /// What it names; absent when it names none.
        served_by: Option<RegionName>,
    },
    /// The region that should hold the tenants of a home takes none itself.
    ServerClosed {
        /// The home.
        home: RegionName,
        /// The region that it names.
        served_by: RegionName,
        /// The state of that one.
        state: RegionState,
    },
    /// The region that should hold the tenants of a home is under a law that this one does not
    /// allow.
    NotAllowed {
        /// The home.
        home: RegionName,
        /// The region that it names.
        served_by: RegionName,
        /// Its law.
        jurisdiction: Jurisdiction,
    },
}

impl fmt::Display for ResidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { region, state } => write!(
                f,
                "Region {region} is {} and takes no new tenants; the placement waits until its \
                 `spec.state` is Active",
                state.as_str()
            ),
            Self::NotFound {
                home,
                served_by: Some(served_by),
            } => write!(
                f,
                "Region {home} is MetadataOnly, and the Region {served_by} that its \
                 `spec.servedBy` names does not exist; create it"
            ),
            Self::NotFound {
                home,
                served_by: None,
            } => write!(
                f,
                "Region {home} is MetadataOnly and its `spec.servedBy` names no Region; name the \
                 one that holds its tenants"
            ),
            Self::ServerClosed {
                home,
                served_by,
                state,
            } => write!(
                f,
                "Region {home} is MetadataOnly, and its `spec.servedBy` {served_by} is {} and \
                 takes no new tenants; name a Region that is Active",
                state.as_str()
            ),
            Self::NotAllowed {
                home,
                served_by,
                jurisdiction,
            } => write!(
                f,
                "Region {home} is MetadataOnly, and its `spec.servedBy` {served_by} is in \
                 {jurisdiction}, outside `spec.allowedJurisdictions`; the placement waits for a \
                 Region that is allowed, nothing overrides this"
            ),
        }
    }
}

/// The region on whose servers the tenant has its place: the recorded one for ever, else what the
/// state of its home says. `home` must exist; `allowed` is the tenant's law.
pub fn residence(
    home: &RegionName,
    recorded: Option<&RegionName>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Result<RegionName, ResidenceError> {
    if let Some(recorded) = recorded {
        return Ok(recorded.clone());
    }
    let not_found = |served_by: Option<&RegionName>| ResidenceError::NotFound {
        home: home.clone(),
        served_by: served_by.cloned(),
    };
    // A home that does not exist is told by who asks for it.
    let Some(view) = regions.get(home) else {
        return Ok(home.clone());
    };
    match view.state {
        RegionState::Active => return Ok(home.clone()),
        RegionState::Planned | RegionState::Draining | RegionState::Suspended => {
            return Err(ResidenceError::Closed {
                region: home.clone(),
                state: view.state,
            });
        }
        RegionState::MetadataOnly => {}
    }
    let name = view.served_by.as_ref().ok_or_else(|| not_found(None))?;
    let other = regions.get(name).ok_or_else(|| not_found(Some(name)))?;
    if !allowed.contains(&other.jurisdiction) {
        return Err(ResidenceError::NotAllowed {
            home: home.clone(),
            served_by: name.clone(),
            jurisdiction: other.jurisdiction.clone(),
        });
    }
    match other.state {
        RegionState::Active => Ok(name.clone()),
        state @ (RegionState::Planned
        | RegionState::Draining
        | RegionState::Suspended
        | RegionState::MetadataOnly) => Err(ResidenceError::ServerClosed {
            home: home.clone(),
            served_by: name.clone(),
            state,
        }),
    }
}
