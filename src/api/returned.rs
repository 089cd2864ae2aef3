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

words!(
    /// How far a copy of what an old primary alone holds has come.
    DumpState = core::DumpState {
        /// It cannot be made, or not be looked at, until a person acts.
        Blocked,
        /// Its Job runs.
        Running,
        /// Its Job failed.
        Failed,
        /// Its Job is complete.
        Complete,
    }
);

/// Who copies what an old primary alone holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DumpSpec {
    /// `cronJob` names a suspended `CronJob`, from whose template one Job is made, as by
    /// `kubectl create job --from`. It stands in the operator's namespace of the cluster that
    /// `spec.cluster` of the old primary's Region names, and in that of this cluster when the
    /// Region has none. Image, destination and nodes are the template's. Its containers get
    /// `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGSSLMODE`, `PGSSLROOTCERT`,
    /// `DOMICILE_POLICY`, `DOMICILE_REGION`, `DOMICILE_EPOCH`, `DOMICILE_DATABASES` (all of
    /// tenants on the server) and `DOMICILE_TOUCHED` (those that the report names).
    #[schemars(length(min = 1, max = 52), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub cron_job: String,
}

/// The copy of what an old primary alone holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DumpStatus {
    /// `job` is the name of its Job.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub job: String,
    /// `state` that it was in.
    pub state: DumpState,
}

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
    /// `dump` is the copy of what it alone holds; absent when none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpStatus>,
}
