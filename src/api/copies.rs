//! Where the databases of a server lie too, and where they may not.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// Most regions that are listed for a server.
pub const MAX_REGIONS: usize = 256;

/// A set of names of regions.
pub(crate) fn regions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_REGIONS,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "minLength": 1, "maxLength": 253, "pattern": schema::DNS_SUBDOMAIN,
        },
    })
}

/// A region that holds copies of a server's databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCopy {
    /// `region` of the standby.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `jurisdiction` of that region.
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::JURISDICTION))]
    pub jurisdiction: String,
}

/// A region in which backups of a server lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupCopy {
    /// `region` of the backups.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `jurisdiction` of that region; absent when there is no such Region, which no law allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::JURISDICTION))]
    pub jurisdiction: Option<String>,
}
