//! The read replicas of a database server, and where a tenant's reading login leads.

use domicile_core::replica::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::region::DatabaseServer;
use crate::schema::{self, rules};

/// Most read replicas of a server.
pub const MAX_REPLICAS: usize = 8;

/// A server that follows this one and is never promoted by Domicile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!isIP(self.host) || !ip(self.host).isLinkLocalUnicast()",
    "`host` must not be a link-local address: it leads to another place from each machine",
)])))]
pub struct ReadReplica {
    /// `host` is the name or address that the operator and those who only read connect to, and no
    /// link-local one. The replica's certificate must carry it.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::HOST))]
    pub host: String,
    /// `port` is the replica's TCP port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl DatabaseServer {
    /// Where it listens; nothing when its port is none.
    pub fn address(&self) -> Option<Address> {
        let port = u16::try_from(self.port).ok()?;
        let host = self.host.clone();
        Some(Address { host, port })
    }
}

impl ReadReplica {
    /// Where it listens; nothing when its port is none.
    pub fn address(&self) -> Option<Address> {
        let port = u16::try_from(self.port).ok()?;
        let host = self.host.clone();
        Some(Address { host, port })
    }
}

/// Where the login that reads only leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadOnlyStatus {
    /// `host` of the replica or the server.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::HOST))]
    pub host: String,
    /// `port` of the replica or the server.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `leadsTo` says which of them it is.
    pub leads_to: ReadTarget,
    /// `message` says why.
    #[schemars(length(max = 1024), regex(pattern = schema::TEXT))]
    pub message: String,
}

impl ReadOnlyStatus {
    /// The replica that it leads to; nothing when that is the server itself.
    pub fn replica(&self) -> Option<Address> {
        match self.leads_to {
            ReadTarget::Primary => None,
            ReadTarget::ReadReplica => Some(Address {
                host: self.host.clone(),
                port: u16::try_from(self.port).ok()?,
            }),
        }
    }
}

/// What is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReadTarget {
    /// The server that takes the writes.
    Primary,
    /// One of its `readReplicas`.
    ReadReplica,
}

pub(crate) fn default_port() -> i32 {
    5432
}
