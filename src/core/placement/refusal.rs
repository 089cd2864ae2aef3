//! Why a server does not take a tenant, and what is said when none does.

use std::collections::BTreeSet;
use std::fmt;

use super::server::{Isolation, Plane, Wish};
use crate::names::{Jurisdiction, RegionName, ServerId};

/// Why a server is none for tenants like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It does not take this plane.
    Plane(Plane),
    /// It is this, and the tenant asks for the other.
    Isolation(Isolation),
    /// It takes these plans only.
    Plan(BTreeSet<String>),
    /// It runs this major version, which is too old.
    TooOld(u32),
    /// It does not list these extensions.
    Extensions(BTreeSet<String>),
    /// The tenant asks for a version, and that of the server is not known.
    VersionUnknown,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plane(plane) => write!(f, "does not take the plane {}", plane.as_str()),
            Self::Isolation(isolation) => write!(f, "is {}", isolation.as_str()),
            Self::Plan(plans) => {
                let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
                write!(f, "takes the plans {} only", plans.join(", "))
            }
            Self::Extensions(names) => {
                write!(f, "does not list {} in `extensions`", joined(names))
            }
            Self::TooOld(version) => write!(f, "runs PostgreSQL {version}"),
            Self::VersionUnknown => f.write_str("has a version that is not known yet"),
        }
    }
}

pub(super) fn joined(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Why one server does not take the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is none for tenants like this.
    Unfit(Unfit),
    /// A policy keeps the tenant off it.
    Barred(ServerError),
    /// It has a limit, and could not be asked whom it holds.
    NotCounted,
    /// Each of its places is taken.
    Full {
        /// How many tenants it holds.
        taken: u32,
        /// How many it may hold.
        limit: u32,
        /// How many of them no placement stands for any more.
        left: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Barred(ServerError::IsStandby { policy, .. }) => {
                write!(f, "is a standby in FailoverPolicy {policy}")
            }
            Self::Barred(ServerError::WouldLeaveJurisdiction { standby, .. }) => {
                write!(
                    f,
                    "is copied to {standby}, outside the allowed jurisdictions"
                )
            }
            Self::Barred(ServerError::BackupOutside {
                server,
                backup,
                jurisdiction: _,
            }) => write!(
                f,
                "has backups of {server} in {backup}, outside the allowed jurisdictions"
            ),
            Self::Barred(ServerError::InTwoPolicies { policies, .. }) => {
                write!(f, "is in several FailoverPolicies: {}", policies.join(", "))
            }
            Self::Barred(
                other @ (ServerError::NotFound(_)
                | ServerError::HomeNotAllowed(_)
                | ServerError::Full { .. }
                | ServerError::NoneFits { .. }
                | ServerError::NotKnown { .. }
                | ServerError::NamedOnSeveral(_)),
            ) => other.fmt(f),
            Self::NotCounted => f.write_str("could not be asked how many tenants it holds"),
            Self::Full { taken, limit, left } => {
                write!(f, "holds {taken} of {limit} tenants")?;
                if *left > 0 {
                    write!(f, ", {left} of them left by placements that are gone")?;
                }
                Ok(())
            }
        }
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
    /// Each server, or a standby of it, has backups in a jurisdiction that the tenant does not
    /// allow.
    BackupOutside {
        /// The server or its standby.
        server: ServerId,
        /// The region in which its backups lie.
        backup: RegionName,
        /// The jurisdiction of that region; absent when there is no such region.
        jurisdiction: Option<Jurisdiction>,
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
    /// Servers for such tenants are there, and have no room.
    Full {
        /// What was asked for.
        wish: Wish,
        /// Each server, and why it was not taken.
        refused: Vec<(String, Refusal)>,
    },
    /// No server is one for such tenants.
    NoneFits {
        /// What was asked for.
        wish: Wish,
        /// Each server, and why it was not taken.
        refused: Vec<(String, Refusal)>,
    },
    /// A server may be one, and is not known well enough yet.
    NotKnown {
        /// What was asked for.
        wish: Wish,
        /// Each server, and why it was not taken.
        refused: Vec<(String, Refusal)>,
    },
    /// Each of these servers has a database of the tenant's name, which no other tenant holds.
    NamedOnSeveral(Vec<String>),
}

impl ServerError {
    /// What it means that each server refuses.
    pub(super) fn of(wish: &Wish, refused: Vec<(String, Refusal)>) -> Self {
        let wish = wish.clone();
        let any = |wanted: fn(&Refusal) -> bool| refused.iter().any(|(_, why)| wanted(why));
        let open = |why: &Refusal| match why {
            Refusal::NotCounted | Refusal::Unfit(Unfit::VersionUnknown) => true,
            Refusal::Unfit(_) | Refusal::Barred(_) | Refusal::Full { .. } => false,
        };
        if any(open) {
            return Self::NotKnown { wish, refused };
        }
        if any(|why| matches!(why, Refusal::Full { .. })) {
            return Self::Full { wish, refused };
        }
        let barred = refused.iter().find_map(|(_, why)| match why {
            Refusal::Barred(error) => Some(error.clone()),
            Refusal::Unfit(_) | Refusal::NotCounted | Refusal::Full { .. } => None,
        });
        match barred {
            Some(error) => error,
            None if refused.is_empty() => Self::NotFound(String::new()),
            None => Self::NoneFits { wish, refused },
        }
    }
}

fn backups_outside(
    server: &ServerId,
    backup: &RegionName,
    jurisdiction: Option<&Jurisdiction>,
) -> String {
    let field = format!("`spec.residency.backup` of Region {}", server.region);
    match jurisdiction {
        Some(jurisdiction) => format!(
            "backups of {server} lie in {backup}, under the jurisdiction {jurisdiction}, outside \
             `spec.allowedJurisdictions`; allow that jurisdiction, use another server, or move \
             them and correct {field}"
        ),
        None => format!(
            "backups of {server} lie in {backup}, and there is no Region of that name, so its \
             jurisdiction is unknown; create it, or correct {field}"
        ),
    }
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
            Self::BackupOutside {
                server,
                backup,
                jurisdiction,
            } => f.write_str(&backups_outside(server, backup, jurisdiction.as_ref())),
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
            Self::Full { wish, refused } => write!(
                f,
                "no server has room for a tenant with {wish} ({}); raise `maxTenants` or list \
                 another server",
                Listed(refused)
            ),
            Self::NoneFits { wish, refused } => write!(
                f,
                "no server is for a tenant with {wish} ({}); change the placement, or list such a \
                 server in the Region",
                Listed(refused)
            ),
            Self::NotKnown { wish, refused } => write!(
                f,
                "no server is known to take a tenant with {wish} ({}); the placement waits until \
                 they answer",
                Listed(refused)
            ),
            Self::NamedOnSeveral(servers) => write!(
                f,
                "each of the servers {} has a database of the tenant's name, which no placement \
                 holds; rename all but the tenant's own",
                servers.join(", ")
            ),
        }
    }
}

/// Each server with its reason; those with the same reason together, and not without end: a
/// condition's message has its limit, and the next step comes after them.
pub(super) struct Listed<'a>(pub(super) &'a [(String, Refusal)]);

/// Longest list of servers with their reasons, in bytes.
const LISTED: usize = 640;

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, refusal) in self.0 {
            let told = refusal.to_string();
            match groups.iter_mut().find(|(known, _)| *known == told) {
                Some((_, names)) => names.push(name),
                None => groups.push((told, vec![name])),
            }
        }
        let groups = groups
            .iter()
            .map(|(told, names)| format!("{}: {told}", names.join(", ")));
        let text = groups.collect::<Vec<_>>().join("; ");
        if text.len() <= LISTED {
            return f.write_str(&text);
        }
        write!(f, "{}…", &text[..text.floor_char_boundary(LISTED)])
    }
}
