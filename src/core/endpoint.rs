//! The name under which workloads reach their server: the server's own, that of a Service that
//! follows the tenant from server to server (ADR 33), or the names of all servers (ADR 35).

use std::fmt;
use std::net::IpAddr;

use crate::failover::Proof;
use crate::names::ServerId;

mod hosts;

pub use hosts::{Candidate, Departure, Left, Named, fences, hosts, left};

/// The port of a Service that leads to an address; it is translated there.
pub const PORT: u16 = 5432;

/// Most characters of a Service's name.
const MAX_NAME: usize = 63;

/// What follows the Secret's name in that of its Service.
const SUFFIX: &str = "-rw";

/// A Secret whose name makes no name of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName(String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "{name:?} is no name of a Service: it must have at most {MAX_NAME} characters, begin \
             with a lower-case letter and hold letters, digits and hyphens alone"
        )
    }
}

/// The name of the Service of a placement whose Secret has this name.
///
/// # Errors
/// The name that it makes is none of a Service.
pub fn service_name(secret: &str) -> Result<String, BadName> {
    let name = format!("{secret}{SUFFIX}");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if name.len() > MAX_NAME || !begins || !name.chars().all(plain) {
        return Err(BadName(name));
    }
    Ok(name)
}

/// The name that pods of the cluster resolve. It has no domain of the cluster, which is nobody's to
/// know: every pod searches it.
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}

/// What a Service leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// An address, which the cluster's proxies translate to.
    Address {
        /// The address.
        address: IpAddr,
        /// Its port.
        port: u16,
    },
    /// A name, which the cluster's DNS answers with: whoever owns the name may move it while nobody
    /// of ours is there, so it is never resolved by us.
    Alias {
        /// The name.
        name: String,
        /// Its port. Nothing translates it.
        port: u16,
    },
}

impl Lead {
    /// What leads to a server that listens there.
    pub fn to(host: &str, port: u16) -> Self {
        match host.parse() {
            Ok(address) => Self::Address { address, port },
            Err(_) => Self::Alias {
                name: host.to_ascii_lowercase(),
                port,
            },
        }
    }

    /// The port that clients use.
    pub fn published_port(&self) -> u16 {
        match self {
            Self::Address { .. } => PORT,
            Self::Alias { port, .. } => *port,
        }
    }
}

/// The certificates of all authorities, in their order, each once: what clients verify against,
/// whichever of the servers answers. Answers how many differ, too.
pub fn authorities<'a>(pems: impl IntoIterator<Item = &'a str>) -> (String, usize) {
    let mut known: Vec<&str> = Vec::new();
    for pem in pems {
        let pem = pem.trim();
        if !known.contains(&pem) {
            known.push(pem);
        }
    }
    let mut all = known.join("\n");
    all.push('\n');
    (all, known.len())
}

/// Whether a template carries a single authority, so that it verifies no server of another one.
pub fn carries_one_authority(template: &str) -> bool {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once(".datasource-url") {
        if !after.starts_with("-file") {
            return true;
        }
        rest = after;
    }
    false
}

/// What is known of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// It carries the name of the Service.
    Carries,
    /// It does not: what it carries.
    Lacks(String),
    /// The server could not be asked.
    Unknown,
}

/// What a placement has published so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The server's own name, or anything else than what is asked for.
    Direct,
    /// What is asked for: the name of the Service, or those of all servers.
    Asked,
}

/// What a placement publishes that asks for more than the server's own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// What it asks for.
    Asked,
    /// It publishes the server's own name, as before.
    StayDirect(Fault),
    /// Nothing is published: nobody needs what would not work.
    Refuse(Fault),
}

/// Why what is asked for does not work for every client, or is not safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A server's certificate lacks the name.
    Name {
        /// The server.
        server: ServerId,
        /// What the certificate carries.
        fact: String,
    },
    /// A key carries a single authority, and the servers have several.
    Authority {
        /// The entry of `spec.connection.keys`.
        entry: String,
    },
    /// The policy promotes by itself where the old primary may still take writes.
    Fence {
        /// The policy.
        policy: String,
        /// Its weakest proof.
        minimum: Proof,
    },
}

/// What to publish. Once what is asked for is published it stays: to take it back would restart
/// every pod, for the sake of those that cannot verify, or of a failover that may never come.
pub fn decide(before: Before, fault: Option<Fault>) -> Decision {
    match (before, fault) {
        (Before::Asked, _) | (_, None) => Decision::Asked,
        (Before::Direct, Some(fault)) => Decision::StayDirect(fault),
        (Before::Nothing, Some(fault)) => Decision::Refuse(fault),
    }
}

/// The first server whose certificate is known to lack the name. One that could not be asked keeps
/// nobody: it is asked again.
pub fn nameless(found: &[(ServerId, Certificate)]) -> Option<Fault> {
    found
        .iter()
        .find_map(|(server, certificate)| match certificate {
            Certificate::Lacks(fact) => Some(Fault::Name {
                server: server.clone(),
                fact: fact.clone(),
            }),
            Certificate::Carries | Certificate::Unknown => None,
        })
}

#[cfg(test)]
mod tests;
