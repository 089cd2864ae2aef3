//! `FailoverOperation`: one move, asked for or automatic. Immutable and run once, like a Job.

use domicile_core::failover as core;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};
use crate::words::words;

/// `spec` is the move that is asked for. Immutable as a whole.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "FailoverOperation",
    plural = "failoveroperations",
    shortname = "fo",
    category = "domicile",
    status = "FailoverOperationStatus",
    derive = "PartialEq",
    doc = "FailoverOperation is one move of a policy's tenants, asked for by a person or made by \
           the operator. It runs once and never changes.",
    selectable = ".spec.policyRef.name",
    selectable = ".spec.type"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self == oldSelf", "`spec` must not change: an operation runs once; create another one"),
])))]
pub struct FailoverOperationSpec {
    /// `policyRef` names the policy whose tenants move.
    pub policy_ref: PolicyRef,
    /// `type` of move.
    #[serde(rename = "type")]
    pub type_: MoveType,
    /// `target` is the Region to move to.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub target: String,
    /// `expectedEpoch` is the policy's `status.epoch` when the move was planned. The operation is
    /// refused when the world has moved on since.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub expected_epoch: i64,
    /// `accept` waives guards of a failover, one by one; none when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub accept: Vec<Acceptance>,
    /// `reason` is kept for people, such as the number of a change; it may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = schema::TEXT))]
    pub reason: Option<String>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// `name` of the `FailoverPolicy`.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

words!(
    /// A type of move.
    MoveType = core::MoveKind {
        /// The active region is lost, or a person says so.
        Failover,
        /// Planned, without loss.
        Switchover,
        /// Planned, without loss, to the home region.
        Failback,
    }
);

words!(
    /// A guard that an operation waives by name.
    Acceptance = core::Accept {
        /// More loss than the objective allows.
        DataLoss,
        /// A weaker proof than the policy's minimum.
        UnprovenFencing,
        /// A failover during the cooldown.
        Cooldown,
    }
);

words!(
    /// What keeps the old primary from acknowledging writes.
    ProofWord = core::Proof {
        /// Nothing: a person or the policy takes the risk.
        Assumed,
        /// The old primary's agent, alive at its last renewal, had fenced it by then.
        LeaseExpired,
        /// The promoted server's confirmation was needed for each commit.
        SynchronousReplication,
        /// The old primary acknowledged the fence.
        Confirmed,
    }
);

/// Who started a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// The operator.
    Automatic,
    /// A person.
    Manual,
}

/// `status` is how the move went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverOperationStatus {
    /// `observedGeneration` is the generation that this status describes; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = schema::MAX_EXACT))]
    pub observed_generation: Option<i64>,
    /// `state` of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OperationState")]
    pub state: Option<OperationState>,
    /// `epoch` before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<EpochRange>,
    /// `evidenceHash` stands for what an approver is asked to agree to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::HEX))]
    pub evidence_hash: Option<String>,
    /// `approvals` that people gave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["user"])
    )]
    pub approvals: Vec<ApprovalStatus>,
    /// `steps` that were taken, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<StepStatus>,
    /// `lossBound` is what may have been lost; absent until decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_bound: Option<LossBoundStatus>,
    /// `rtoSeconds` is the time from the first failed probe, or the start, to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub rto_seconds: Option<i64>,
    /// `proof` of the fence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProofWord")]
    pub proof: Option<ProofWord>,
    /// `message` for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = schema::TEXT))]
    pub message: Option<String>,
    /// `conditions`: `Ready`, `Reconciling`, `Stalled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The state of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperationState {
    /// Not taken up yet.
    Pending,
    /// A person must agree first.
    AwaitingApproval,
    /// Under way.
    Running,
    /// The tenants are served by the target.
    Succeeded,
    /// It went wrong after the point of no return.
    Failed,
    /// It was given up before the point of no return.
    Aborted,
    /// It was never started.
    Refused,
}

impl OperationState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::AwaitingApproval | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Refused => true,
        }
    }

    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
            Self::Refused => "Refused",
        }
    }
}

/// Epochs before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochRange {
    /// `from` is the epoch before the move.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub from: i64,
    /// `to` is the epoch after the move, once one was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub to: Option<i64>,
}

/// One person's agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// `user` who agreed.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::TEXT))]
    pub user: String,
    /// `time` of the agreement.
    #[schemars(schema_with = "schema::time")]
    pub time: Timestamp,
    /// `evidenceHash` that was agreed to.
    #[schemars(length(max = 64), regex(pattern = schema::HEX))]
    pub evidence_hash: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// `name` of the step: a state of the policy.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub name: String,
    /// `started` is when it began.
    #[schemars(schema_with = "schema::time")]
    pub started: Timestamp,
    /// `finished` is when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub finished: Option<Timestamp>,
    /// `outcome` in a word or a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256), regex(pattern = schema::TEXT))]
    pub outcome: String,
}

/// What may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossBoundStatus {
    /// `seconds` of acknowledged writes at most; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub seconds: Option<i64>,
    /// `bytes` of WAL at least; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub bytes: Option<i64>,
}
