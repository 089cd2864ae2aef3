//! What a deleted placement left on a server that could not be reached.

use domicile_core::names::{DatabaseName, NameError};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credentials::RoleSlot;
use crate::{former, schema};

/// Most orphans that one Region lists; a deletion beyond it waits.
pub const MAX_ORPHANS: usize = 1000;

/// Longest `problem`, in characters.
pub const MAX_PROBLEM: usize = 512;

/// What a deleted placement left on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `uid` of the placement, by which its database and roles are marked. What carries another
    /// mark is left alone.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub uid: String,
    /// `namespace` of the placement.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: String,
    /// `name` of the placement.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `server` in `spec.databaseServers` that served it.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub server: String,
    /// `database` of the tenant; the names of its roles begin with it.
    #[schemars(length(min = 1, max = 58), regex(pattern = "^[a-z][a-z0-9_]*$"))]
    pub database: String,
    /// `cleanup` that is still to be done.
    pub cleanup: Cleanup,
    /// `closes` says which logins are to be closed; absent where all of them are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RoleSlot")]
    pub closes: Option<RoleSlot>,
    /// `since` when it is listed here.
    #[schemars(schema_with = "schema::time")]
    pub since: Timestamp,
    /// `problem` that the last try met, on a server that answers; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_PROBLEM), regex(pattern = schema::TEXT))]
    pub problem: Option<String>,
}

/// The Secret of a deleted placement in a cluster that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedSecret {
    /// `uid` of the placement, which the Secret carries. A Secret with another one is left alone.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub uid: String,
    /// `namespace` of the placement, and of the Secret.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: String,
    /// `name` of the placement, which the workloads carry that got the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `secret` is the Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub secret: String,
    /// `formerSecrets` are names that the Secret had before, under which it may be there, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "former::names")]
    pub former_secrets: Vec<String>,
    /// `service` is the Service that leads to the server, which may be there, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub service: Option<String>,
    /// `since` when it is listed here.
    #[schemars(schema_with = "schema::time")]
    pub since: Timestamp,
    /// `problem` that the last try met, in a cluster that answers; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_PROBLEM), regex(pattern = schema::TEXT))]
    pub problem: Option<String>,
}

/// What is still to be done for a deleted placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Cleanup {
    /// Drop the database and its roles.
    Drop,
    /// Close the logins before a rotation; the rest was to be kept.
    CloseLogins,
}

impl Orphan {
    /// The database, as a name that was checked: a status can be edited.
    pub fn database_name(&self) -> Result<DatabaseName, NameError> {
        DatabaseName::parse(&self.database)
    }
}
