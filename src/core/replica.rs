//! Whether a read replica may be read from, as the looks at it say, one after the other (ADR 31).
//!
//! Whoever reads from a replica is restarted when that changes, so that one missed look changes
//! nothing, and one that comes and goes must stay for longer each time before it is used again.
//! What is no copy of its server at all is left at once.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;

use crate::facts::{Facts, Lsn, Role};
use crate::health::{Probe, ProbeFailure};
use crate::names::ServerId;
use crate::time::Mono;

/// How far a replica may be behind its server, in seconds.
pub const LAG_LIMIT_SECONDS: u32 = 60;
/// Time between two looks, in seconds.
pub const LOOK_SECONDS: u32 = 10;
/// Bad looks in a row until a replica is left.
const FALL: u32 = 3;
/// Good looks in a row until one is used that never was.
const RISE: u32 = 3;
/// The same for one that was left: doubled with each time, up to an hour.
const RETURN: u32 = 6;
const DOUBLINGS: u32 = 6;
/// Good looks in a row after which it is forgotten that a replica was ever left: an hour.
const FORGET: u32 = 3600 / LOOK_SECONDS;
/// Time between two positions of the server that are kept.
const MARK_MS: u64 = 5_000;

/// Where a replica listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// Whether both lead to the same place by what they say, however each is spelled. Nothing is
    /// resolved.
    pub fn is_same(&self, other: &Self) -> bool {
        self.port == other.port && plain(&self.host) == plain(&other.host)
    }
}

/// A name in lower case and without its last dot; an IP address in its shortest form, and as IPv4
/// where it is one that IPv6 carries.
fn plain(host: &str) -> String {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().to_string();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    name.to_ascii_lowercase()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is wrong with a replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It does not answer, or has no room for one more session.
    Silent,
    /// It refuses the operator's login.
    LoginRefused,
    /// Its certificate does not verify.
    CertificateInvalid,
    /// It has not replayed what its server held [`LAG_LIMIT_SECONDS`] ago.
    Behind,
    /// It follows another timeline than its server writes.
    Diverged,
    /// It answers what is not understood.
    Unexpected,
    /// It takes writes by its own account.
    Promoted,
    /// It has another system identifier than its server.
    Foreign,
    /// It listens where a Region lists a database server.
    IsServer(ServerId),
}

impl Fault {
    /// True for what is no copy of its server: it is not read from for one moment more.
    pub fn is_wrong(&self) -> bool {
        match self {
            Self::Promoted | Self::Foreign | Self::IsServer(_) => true,
            Self::Silent
            | Self::LoginRefused
            | Self::CertificateInvalid
            | Self::Behind
            | Self::Diverged
            | Self::Unexpected => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("does not answer"),
            Self::LoginRefused => f.write_str("refuses the operator's login"),
            Self::CertificateInvalid => f.write_str("has a certificate that does not verify"),
            Self::Behind => write!(f, "is more than {LAG_LIMIT_SECONDS} s behind"),
            Self::Diverged => f.write_str("follows another timeline"),
            Self::Unexpected => f.write_str("gives an answer that is not understood"),
            Self::Promoted => f.write_str("takes writes by its own account"),
            Self::Foreign => f.write_str("is a copy of another server"),
            Self::IsServer(id) => write!(f, "is the database server {id}"),
        }
    }
}

impl From<ProbeFailure> for Fault {
    fn from(failure: ProbeFailure) -> Self {
        match failure {
            ProbeFailure::Unreachable
            | ProbeFailure::TimedOut
            | ProbeFailure::NotAccepting
            | ProbeFailure::TooManyConnections => Self::Silent,
            ProbeFailure::CredentialsDenied => Self::LoginRefused,
            ProbeFailure::CertificateInvalid => Self::CertificateInvalid,
            ProbeFailure::WrongServer => Self::Foreign,
            ProbeFailure::VersionUnsupported | ProbeFailure::Unexpected => Self::Unexpected,
        }
    }
}

/// Where the WAL of a server ended at some moments of the last while.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    identity: Option<(String, u32)>,
    positions: VecDeque<(Mono, Lsn)>,
}

impl Marks {
    /// Takes note of what the server said last.
    pub fn note(&mut self, server: &Facts) {
        let identity = Some((server.system_identifier.clone(), server.timeline));
        let last = self.positions.back().copied();
        // A server that was rewound holds less than before.
        if self.identity != identity || last.is_some_and(|(_, last)| server.position < last) {
            self.positions.clear();
            self.identity = identity;
        }
        let due = |(at, _): (Mono, Lsn)| server.sampled.since(at) >= MARK_MS;
        if self.positions.back().copied().is_none_or(due) {
            self.positions.push_back((server.sampled, server.position));
        }
    }

    /// What a replica that is not too far behind must hold `now`. Unknown until the server has been
    /// watched for as long as a replica may be behind.
    fn due(&mut self, now: Mono) -> Option<Lsn> {
        let old = |at: Mono| now.since(at) >= u64::from(LAG_LIMIT_SECONDS) * 1000;
        while self.positions.get(1).is_some_and(|(at, _)| old(*at)) {
            self.positions.pop_front();
        }
        let (at, position) = self.positions.front()?;
        old(*at).then_some(*position)
    }
}

/// What one look at a replica of `server` says. `marks` are of the server, and `now` is when the
/// look began.
pub fn examine(probe: &Probe, server: &Facts, marks: &mut Marks, now: Mono) -> Result<(), Fault> {
    let found = match probe {
        Probe::Answered(found) => found,
        Probe::Failed(failure, _) => return Err((*failure).into()),
    };
    if found.system_identifier != server.system_identifier {
        return Err(Fault::Foreign);
    }
    if found.role == Role::Primary {
        return Err(Fault::Promoted);
    }
    // What is replayed tells of a new timeline at the next restart point only; the stream at once.
    let received = found.receiver.as_ref().map(|stream| stream.timeline);
    let follows = found.timeline == server.timeline || received == Some(server.timeline);
    // A server that is a standby itself may know its timeline as late.
    if server.role == Role::Primary && !follows {
        return Err(Fault::Diverged);
    }
    if marks.due(now).is_some_and(|due| found.position < due) {
        return Err(Fault::Behind);
    }
    Ok(())
}

/// A login that a replica refuses, and which it may have yet to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The replica.
    pub replica: Address,
    /// Where the server's WAL ended when the login was there.
    pub position: Lsn,
    /// Since when the replica was asked.
    pub since: Mono,
}

impl Awaited {
    /// Whether the refusal says nothing yet: the replica has not come so far, and was not asked for
    /// longer than it may be behind.
    pub fn is_open(&self, replayed: Lsn, now: Mono) -> bool {
        let asked = now.since(self.since);
        replayed < self.position && asked < u64::from(LAG_LIMIT_SECONDS) * 1000
    }
}

/// What is believed of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It was never seen well, and not often enough to say that it is not.
    Open {
        /// Bad looks in a row.
        misses: u32,
        /// What the last one found.
        fault: Fault,
    },
    /// It may be read from.
    Usable {
        /// Bad looks in a row.
        misses: u32,
        /// Good looks in a row.
        clean: u32,
        /// How often it was left.
        falls: u32,
    },
    /// It may not.
    Unusable {
        /// What the look found for which it was left: told as long as it is not used, so that its
        /// readers' statuses are not written at each look.
        fault: Fault,
        /// Good looks in a row.
        clean: u32,
        /// How often it was left.
        falls: u32,
    },
}

impl Standing {
    /// What is believed after one more look.
    #[must_use]
    pub fn next(before: Option<&Self>, look: Result<(), Fault>) -> Self {
        let used = |falls| Self::Usable {
            misses: 0,
            clean: 0,
            falls,
        };
        let left = |fault, falls| Self::Unusable {
            fault,
            clean: 0,
            falls,
        };
        match (before, look) {
            (None | Some(Self::Open { .. }), Ok(())) => used(0),
            (None | Some(Self::Open { .. }), Err(fault)) if fault.is_wrong() => left(fault, 0),
            (None, Err(fault)) => Self::Open { misses: 1, fault },
            (Some(Self::Open { misses, .. }), Err(fault)) if misses + 1 >= FALL => left(fault, 0),
            (Some(Self::Open { misses, .. }), Err(fault)) => Self::Open {
                misses: misses + 1,
                fault,
            },
            (Some(Self::Usable { clean, falls, .. }), Ok(())) => {
                let clean = clean.saturating_add(1);
                Self::Usable {
                    misses: 0,
                    clean,
                    falls: if clean >= FORGET { 0 } else { *falls },
                }
            }
            (Some(Self::Usable { misses, falls, .. }), Err(fault)) => {
                if fault.is_wrong() || misses + 1 >= FALL {
                    left(fault, falls.saturating_add(1))
                } else {
                    Self::Usable {
                        misses: misses + 1,
                        clean: 0,
                        falls: *falls,
                    }
                }
            }
            (Some(Self::Unusable { clean, falls, .. }), Ok(())) if clean + 1 >= rise(*falls) => {
                used(*falls)
            }
            (
                Some(Self::Unusable {
                    fault,
                    clean,
                    falls,
                }),
                Ok(()),
            ) => Self::Unusable {
                fault: fault.clone(),
                clean: clean + 1,
                falls: *falls,
            },
            (Some(Self::Unusable { fault, falls, .. }), Err(found)) => left(
                if found.is_wrong() {
                    found
                } else {
                    fault.clone()
                },
                *falls,
            ),
        }
    }

    /// Why it may not be read from; nothing while it may.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Usable { .. } => None,
            Self::Open { fault, .. } | Self::Unusable { fault, .. } => Some(fault),
        }
    }

    /// Whether whoever reads from it already may go on.
    pub fn holds(&self) -> bool {
        match self {
            Self::Usable { .. } | Self::Open { .. } => true,
            Self::Unusable { .. } => false,
        }
    }
}

/// Good looks in a row until a replica is used that was left so often.
fn rise(falls: u32) -> u32 {
    match falls {
        0 => RISE,
        _ => RETURN << (falls - 1).min(DOUBLINGS),
    }
}

#[cfg(test)]
mod tests;
