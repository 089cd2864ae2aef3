//! Which regions there are, and the ways to lose one.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// What is fixed about a region.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name, and that of its network namespace and of its server.
    pub name: &'static str,
    /// The law it lies under.
    pub jurisdiction: &'static str,
    /// The address of its server.
    pub address: Ipv4Addr,
    /// The region whose primary it is a standby of at first, if it is one.
    pub standby_of: Option<&'static str>,
}

/// All regions of the lab.
pub const REGIONS: [Region; 3] = [
    Region {
        name: "eu-west",
        jurisdiction: "EU",
        address: Ipv4Addr::new(10, 77, 0, 1),
        standby_of: None,
    },
    Region {
        name: "eu-central",
        jurisdiction: "EU",
        address: Ipv4Addr::new(10, 77, 0, 2),
        standby_of: Some("eu-west"),
    },
    Region {
        name: "us-east",
        jurisdiction: "US",
        address: Ipv4Addr::new(10, 77, 0, 3),
        standby_of: None,
    },
];

impl Region {
    /// The region with this name; the error lists those that exist.
    pub fn named(name: &str) -> Result<&'static Self> {
        REGIONS
            .iter()
            .find(|region| region.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = REGIONS.iter().map(|region| region.name).collect();
                LabError::State(format!("no region {name}; there are {}", known.join(", ")))
            })
    }

    /// The other region of its group, for which it can be the standby or the primary.
    pub fn peer(&self) -> Option<&'static Self> {
        REGIONS.iter().find(|other| {
            self.standby_of == Some(other.name) || other.standby_of == Some(self.name)
        })
    }
}

/// How a region is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// All processes of its server are killed.
    Kill,
    /// All processes of its server are stopped; its kernel still accepts connections.
    Freeze,
    /// Its network drops every packet in both directions; what is inside goes on.
    Cut,
    /// As cut, but only what would come in is dropped.
    CutIn,
    /// As cut, but only what would go out is dropped.
    CutOut,
    /// The kernel refuses its server every further byte of a file, as a full disk does.
    Full,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::CutIn => "cut-in",
            Self::CutOut => "cut-out",
            Self::Full => "full",
        })
    }
}

impl How {
    /// All ways to lose a region.
    pub const ALL: [Self; 6] = [
        Self::Kill,
        Self::Freeze,
        Self::Cut,
        Self::CutIn,
        Self::CutOut,
        Self::Full,
    ];
}

impl FromStr for How {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self> {
        let known = || Self::ALL.map(|how| how.to_string()).join(", ");
        Self::ALL
            .into_iter()
            .find(|how| how.to_string() == text)
            .ok_or_else(|| LabError::State(format!("{text} is not one of {}", known())))
    }
}
