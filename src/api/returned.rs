//! An old primary that came back: what was found on it, and what becomes of it.

use domicile_core::failover as core;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::words::words;

words!(
    /// What becomes of an old primary that comes back.
    #[derive(Default)]
    RejoinRule = core::Rejoin {
        /// It waits for a person.
        #[default]
        Manual,
        /// It follows the new primary; what it alone holds is undone, by `pg_rewind`.
        Rewind,
        /// The same; where that is not possible, its data is thrown away and copied anew.
        Reclone,
    }
);

/// Where two histories part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForkStatus {
    /// `timeline` that both share up to here.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub timeline: i64,
    /// `position` up to which both are the same, as far as is known.
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub position: String,
    /// `latest` is the position at which the new primary left `timeline` at the latest; absent when
    /// it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub latest: Option<String>,
}

/// What was found on an old primary that came back and was fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReturnedStatus {
    /// `region` of the server.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `epoch` that it was fenced under.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub epoch: i64,
    /// `timeline` that it wrote last.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub timeline: i64,
    /// `position` is the end of its WAL.
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub position: String,
    /// `fork` is where its history leaves that of the active server; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkStatus>,
    /// `left` is the position at which it left the timeline of the fork for one of its own; absent
    /// when unknown, or when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub left: Option<String>,
    /// `bytes` of WAL that only it holds, at most; its own housekeeping counts. Absent when
    /// unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub bytes: Option<i64>,
    /// `databases` of tenants that may have been written to there alone: those whose statistics,
    /// which begin anew after a crash, count writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 63), regex(pattern = schema::TEXT)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub databases: Vec<String>,
    /// `found` is when it was found so.
    #[schemars(schema_with = "schema::time")]
    pub found: Timestamp,
}
