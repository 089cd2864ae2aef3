//! Where those who only read are led: to a read replica of the server that answers for the tenant,
//! in that server's region, or to the server itself (ADR 31).

use std::collections::BTreeSet;
use std::fmt;

use crate::names::{Jurisdiction, ServerId};
use crate::replica::{Address, Fault, Standing};

/// A replica that a Region lists, and what is believed of it; nothing before the first look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// Where it listens.
    pub address: Address,
    /// What the looks at it say.
    pub standing: Option<Standing>,
}

/// Who asks where to read, and what is known of the replicas.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The server that answers for the tenant.
    pub server: &'a ServerId,
    /// The law of its region.
    pub jurisdiction: &'a Jurisdiction,
    /// The tenant's law.
    pub allowed: &'a BTreeSet<Jurisdiction>,
    /// The replicas of that server, in the order of its Region.
    pub replicas: &'a [ReplicaView],
    /// The replica that the tenant is led to now.
    pub recorded: Option<&'a Address>,
    /// The replicas that refused the tenant's login lately.
    pub refused: &'a BTreeSet<Address>,
    /// Whether the server neither moves nor is suspected, or the tenant is being pointed at it:
    /// whatever happens to a replica meanwhile, a move changes the Secret once.
    pub settled: bool,
}

/// Where the tenant reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// From this replica.
    Replica(Address),
    /// From the server that takes the writes.
    Primary(NoReplica),
}

/// Why no replica is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoReplica {
    /// The server has none.
    NoneListed,
    /// The law of its region is not allowed: no tenant is led to more of it than must be.
    NotAllowed,
    /// A Service leads the tenant, and its name is that of the server that takes the writes.
    Service,
    /// The server is suspected or moves: nothing is changed for its readers now.
    Unsettled,
    /// None of them may be read from.
    NoneFit(Vec<(Address, Unread)>),
}

/// Why one replica is not read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It was not looked at yet.
    Unknown,
    /// A look found this.
    Unfit(Fault),
    /// It refused the tenant's login.
    Refused,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("was not looked at yet"),
            Self::Unfit(fault) => fault.fmt(f),
            Self::Refused => f.write_str("refuses the tenant's login"),
        }
    }
}

impl Reads {
    /// The replica, if it is one.
    pub fn replica(&self) -> Option<&Address> {
        match self {
            Self::Replica(address) => Some(address),
            Self::Primary(_) => None,
        }
    }

    /// True while a replica may still turn out to be one: nothing has looked at it yet.
    pub fn is_open(&self) -> bool {
        let Self::Primary(NoReplica::NoneFit(all)) = self else {
            return false;
        };
        all.iter().any(|(_, why)| *why == Unread::Unknown)
    }

    /// Why, in words. The same until the answer is another one.
    pub fn why(&self, server: &ServerId) -> String {
        match self {
            Self::Replica(_) => format!("a read replica that follows {server}"),
            Self::Primary(NoReplica::NoneListed) => {
                format!("{server} lists no `readReplicas`; it is read from itself")
            }
            Self::Primary(NoReplica::NotAllowed) => format!(
                "the jurisdiction of {server} is not in `spec.allowedJurisdictions`; no replica \
                 there is read from"
            ),
            Self::Primary(NoReplica::Service) => {
                format!("`spec.connection.endpoint` is Service, whose name leads to {server} alone")
            }
            Self::Primary(NoReplica::Unsettled) => format!(
                "{server} is suspected or moves; a replica is looked for when it has come to rest"
            ),
            Self::Primary(NoReplica::NoneFit(all)) => {
                let all: Vec<String> = all
                    .iter()
                    .map(|(address, why)| format!("{address} {why}"))
                    .collect();
                format!(
                    "no read replica of {server} is fit, so it is read from itself: {}",
                    all.join("; ")
                )
            }
        }
    }
}

/// Where the tenant reads: where it reads now as long as that may be, else from the first replica
/// that may be read from.
pub fn reads(asked: &Reader<'_>) -> Reads {
    if !asked.allowed.contains(asked.jurisdiction) {
        return Reads::Primary(NoReplica::NotAllowed);
    }
    if asked.replicas.is_empty() {
        return Reads::Primary(NoReplica::NoneListed);
    }
    let refused = |replica: &&ReplicaView| asked.refused.contains(&replica.address);
    let open = || asked.replicas.iter().filter(|replica| !refused(replica));
    let stays = |replica: &&ReplicaView| {
        let holds = |standing: &Standing| {
            let wrong = standing.fault().is_some_and(Fault::is_wrong);
            standing.holds() || (!asked.settled && !wrong)
        };
        asked.recorded == Some(&replica.address) && replica.standing.as_ref().is_none_or(holds)
    };
    if let Some(replica) = open().find(stays) {
        return Reads::Replica(replica.address.clone());
    }
    let fit = |replica: &&ReplicaView| {
        let standing = replica.standing.as_ref();
        standing.is_some_and(|standing| standing.fault().is_none())
    };
    match open().find(fit) {
        Some(_) if !asked.settled => Reads::Primary(NoReplica::Unsettled),
        Some(replica) => Reads::Replica(replica.address.clone()),
        None => {
            let why = |replica: &ReplicaView| {
                let standing = replica.standing.as_ref();
                match standing.map(Standing::fault) {
                    _ if refused(&replica) => Unread::Refused,
                    Some(Some(fault)) => Unread::Unfit(fault.clone()),
                    Some(None) | None => Unread::Unknown,
                }
            };
            let all = asked.replicas.iter();
            Reads::Primary(NoReplica::NoneFit(
                all.map(|replica| (replica.address.clone(), why(replica)))
                    .collect(),
            ))
        }
    }
}
