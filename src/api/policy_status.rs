//! `FailoverPolicy.status`: the failover machine as it is stored, and what it sees.

use domicile_core::failover as core;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Acceptance, MoveType, ProofWord, Trigger};
use crate::returned::{ForkStatus, ReturnedStatus};
use crate::schema;
use crate::words::words;

/// `status` is the failover machine as it is stored, and what it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverPolicyStatus {
    /// `observedGeneration` is the generation that this status describes; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = schema::MAX_EXACT))]
    pub observed_generation: Option<i64>,
    /// `state` of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PolicyState")]
    pub state: Option<PolicyState>,
    /// `since` is when the machine entered `state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Timestamp>,
    /// `epoch` is the highest number of a write authority that was ever issued for this policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub epoch: Option<i64>,
    /// `homeRegion` is where the tenants belong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub home_region: Option<String>,
    /// `activeRegion` is where the tenants are pointed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub active_region: Option<String>,
    /// `timeline` is the one on which the server of `activeRegion` was last seen to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub timeline: Option<i64>,
    /// `claim` is synchronous replication as both ends confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimStatus>,
    /// `restoreSynchronous` says that replication was synchronous before the last move and is to
    /// be made so again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restore_synchronous: bool,
    /// `guarantees` is what can be claimed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarantees: Option<Guarantees>,
    /// `lease` is the write lease, as last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseStatus>,
    /// `journal` is the move under way: what is meant to be done, stored before it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalStatus>,
    /// `evidence` is what the last good sample before an outage said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceStatus>,
    /// `replication` tells each standby's stream; written at edges only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 9),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"])
    )]
    pub replication: Vec<ReplicationStatus>,
    /// `guards` are what must hold before a failover, each with its present answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub guards: Vec<GuardStatus>,
    /// `currentOperation` is the name of the `FailoverOperation` under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub current_operation: Option<String>,
    /// `history` lists finished moves, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<HistoryEntry>,
    /// `returned` tells what was found on old primaries that came back and were fenced: the latest
    /// report of each region. Rejoining destroys what only they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 9),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"])
    )]
    pub returned: Vec<ReturnedStatus>,
    /// `cooldownUntil` is when the next automatic failover may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub cooldown_until: Option<Timestamp>,
    /// `conditions`: `Ready`, `Reconciling`, `Stalled`, `FailoverReady`, `ReplicationHealthy`,
    /// `PrimaryHealthy`, `FailedOver`, `FailbackReady`, `StandbyHealthy`, `SplitBrain`, `Paused`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

words!(
    /// The state of the failover machine.
    PolicyState = core::State {
        /// The active region serves; nothing is under way.
        Steady,
        /// At least one probe of the active server failed.
        Suspect,
        /// The threshold is reached and the replication stream is broken too.
        Outage,
        /// An outage, and a guard forbids the move.
        Blocked,
        /// A person must agree first.
        AwaitingApproval,
        /// A planned move: new sessions are refused, the old ones may end by themselves.
        Draining,
        /// The old primary is being kept from acknowledging writes.
        Fencing,
        /// The standby replays all it received.
        CatchingUp,
        /// The move is given up before promotion.
        Aborting,
        /// The point of no return.
        Promoting,
        /// Secrets and workloads turn to the new primary.
        Rerouting,
        /// A write and a read on the new primary.
        Verifying,
        /// A contradiction or a failure after promotion: a person must look.
        Halted,
    }
);

/// What can be claimed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guarantees {
    /// `splitBrain` is the proof by which a failover now would keep the old primary from writing.
    pub split_brain: SplitBrainGuarantee,
    /// `dataLossSeconds` bounds what a failover now would lose; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub data_loss_seconds: Option<i64>,
}

/// What protects from two writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SplitBrainGuarantee {
    /// Nothing.
    None,
    /// The policy takes the risk.
    Assumed,
    /// The agent beside the primary fences it when it can renew the write lease no more.
    LeaseExpired,
    /// The standby's confirmation is needed for each commit.
    SynchronousReplication,
    /// The primary itself acknowledges a fence.
    Confirmed,
}

/// The write lease: by it the agent beside the primary knows that its server may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseStatus {
    /// `state` of the lease.
    pub state: LeaseState,
    /// `holder` is the region whose agent may renew it.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub holder: String,
    /// `epoch` that it carries.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub epoch: i64,
    /// `members` are the standbys that may be promoted on its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))
    )]
    pub members: Vec<String>,
    /// `survivesHub`: while the hub is lost, the agent may live on by promises that the regions of
    /// all members hold. Otherwise losing the hub fences the primary.
    #[serde(default)]
    pub survives_hub: bool,
}

/// What a write lease obliges to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LeaseState {
    /// No standby could take over, or the policy is paused: nobody fences himself.
    Disarmed,
    /// No agent has answered it.
    Offered,
    /// An agent renews it.
    Pledged,
    /// An agent renewed it and is silent.
    Silent,
    /// It was ended for a move.
    Taken,
}

/// Synchronous replication: each commit of the active server waits for one standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimStatus {
    /// `region` of the standby.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `name` that `synchronous_standby_names` holds for it.
    #[schemars(length(max = 253), regex(pattern = schema::TEXT))]
    pub name: String,
}

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    /// `operation` is the name of the `FailoverOperation`.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub operation: String,
    /// `kind` of move.
    pub kind: MoveType,
    /// `trigger` says who started it.
    pub trigger: Trigger,
    /// `from` is the region that was active when the move began.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub from: String,
    /// `to` is the region that is to be promoted.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub to: String,
    /// `accept` are the guards that the operation waives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub accept: Vec<Acceptance>,
    /// `proof` is what keeps the old primary from writing, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProofWord")]
    pub proof: Option<ProofWord>,
    /// `systemIdentifier` is what both servers carry.
    #[schemars(length(max = 32), regex(pattern = "^[0-9]*$"))]
    pub system_identifier: String,
    /// `timeline` of the old primary.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub timeline: i64,
    /// `finalPosition` is the last WAL position of the fenced primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub final_position: Option<String>,
    /// `loss` is the bound that promotion was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossStatus>,
    /// `lossAt` is the moment that the bound speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub loss_at: Option<Timestamp>,
    /// `fork` is how far the new primary had replayed when its promotion was decided; absent
    /// before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub fork: Option<String>,
    /// `lossBytes` is a lower bound of what is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub loss_bytes: Option<i64>,
    /// `started` is when the move began.
    #[schemars(schema_with = "schema::time")]
    pub started: Timestamp,
    /// `outageSince` is when the first probe failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub outage_since: Option<Timestamp>,
}

/// A bound of loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossStatus {
    /// `seconds` of acknowledged writes at most; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub seconds: Option<i64>,
}

/// What the last good sample before an outage said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceStatus {
    /// `sampled` is when the sample was taken.
    #[schemars(schema_with = "schema::time")]
    pub sampled: Timestamp,
    /// `outageSince` is when the first probe failed.
    #[schemars(schema_with = "schema::time")]
    pub outage_since: Timestamp,
    /// `systemIdentifier` of the active server.
    #[schemars(length(max = 32), regex(pattern = "^[0-9]*$"))]
    pub system_identifier: String,
    /// `timeline` of the active server.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub timeline: i64,
    /// `majorVersion` of the active server.
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub major_version: i64,
    /// `position` up to which its WAL had been flushed.
    #[schemars(length(max = 17), regex(pattern = schema::WAL_POSITION))]
    pub position: String,
    /// `synchronous` is the one region whose confirmation each commit needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub synchronous: Option<String>,
    /// `agentLived` says that the operator had seen its agent renew the write lease lately.
    #[serde(default)]
    pub agent_lived: bool,
}

/// One standby's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationStatus {
    /// `region` of the standby.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `state` of the stream.
    pub state: StreamState,
    /// `synchronous` says whether each commit waits for this standby.
    pub synchronous: bool,
    /// `lossBoundSeconds` bounds what a failover to it would lose; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub loss_bound_seconds: Option<i64>,
}

/// The state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StreamState {
    /// The standby hears from its primary.
    Streaming,
    /// It does not.
    Broken,
    /// The standby does not answer.
    Unknown,
}

/// One guard's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuardStatus {
    /// `name` of the guard.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub name: String,
    /// `ok` says whether it holds.
    pub ok: bool,
    /// `message` says why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = schema::TEXT))]
    pub message: String,
}

/// A finished move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// `operation` is the name of the `FailoverOperation`.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub operation: String,
    /// `kind` of move.
    pub kind: MoveType,
    /// `trigger` says who started it.
    pub trigger: Trigger,
    /// `from` where.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub from: String,
    /// `to` where.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub to: String,
    /// `epoch` that the move ended with.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub epoch: i64,
    /// `proof` of the fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProofWord")]
    pub proof: Option<ProofWord>,
    /// `lossSeconds` is the bound that the move was decided on; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub loss_seconds: Option<i64>,
    /// `fork` is where the histories of both servers part; absent when that was not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkStatus>,
    /// `rtoSeconds` is the time from the first failed probe, or the start, to the end.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub rto_seconds: i64,
    /// `finished` is when it ended.
    #[schemars(schema_with = "schema::time")]
    pub finished: Timestamp,
}
