//! `FailoverPolicy`: a server, its standbys, and the rules by which its tenants move.

use domicile_core::failover as core;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::notification::{Notification, NotificationType, WebhookSecretRef};
use crate::policy_status::FailoverPolicyStatus;
use crate::returned::{DumpSpec, RejoinRule};
use crate::schema::{self, rules};
use crate::words::words;

/// `spec` names a server and its standbys, and says when and how tenants move between them.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "FailoverPolicy",
    plural = "failoverpolicies",
    shortname = "fop",
    category = "domicile",
    status = "FailoverPolicyStatus",
    derive = "PartialEq",
    doc = "FailoverPolicy names a database server and its standbys, and says when and how the \
           tenants on them move.",
    selectable = ".spec.primary.region",
    selectable = ".spec.mode"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.primary) == has(oldSelf.primary)", "`primary` must not be added or removed"),
    ("self.primary == oldSelf.primary", "`primary` must not change"),
    (
        "self.standbys.all(s, s.region != self.primary.region)",
        "`standbys` must not contain the region of `primary`",
    ),
])))]
pub struct FailoverPolicySpec {
    /// `primary` is the server where the tenants belong. Immutable.
    pub primary: ServerRef,
    /// `standbys` are the physical standbys of that server, at most one per region.
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"])
    )]
    pub standbys: Vec<StandbySpec>,
    /// `mode` says who starts a failover.
    #[serde(default)]
    pub mode: FailoverMode,
    /// `paused` stops every automatic move.
    #[serde(default)]
    pub paused: bool,
    /// `detection` says when a server counts as lost.
    #[serde(default)]
    pub detection: Detection,
    /// `objectives` limit what a failover may cost.
    #[serde(default)]
    pub objectives: Objectives,
    /// `fencing` says how surely the old primary must have stopped writing.
    #[serde(default)]
    pub fencing: Fencing,
    /// `switchover` limits the pause of a planned move.
    #[serde(default)]
    pub switchover: SwitchoverSpec,
    /// `failback` says how tenants come home.
    #[serde(default)]
    pub failback: FailbackSpec,
    /// `damping` keeps an unsteady region from moving tenants again and again.
    #[serde(default)]
    pub damping: Damping,
    /// `rejoin` says what becomes of an old primary that comes back, once it is fenced and what it
    /// alone holds is reported. It is done by the server's provider; under `Generic` a person does
    /// it, whatever is said here.
    #[serde(default)]
    pub rejoin: RejoinRule,
    /// `dump` asks for a copy of an old primary that may alone hold something of tenants: made
    /// after it is fenced and reported, and before it is rejoined, which waits for it. None when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpSpec>,
    /// `approval` limits how long a person may take to agree.
    #[serde(default)]
    pub approval: Approval,
    /// `notifications` are sent once at each edge of a failover; none when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub notifications: Vec<Notification>,
}

/// A database server of a Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerRef {
    /// `region` is the name of the Region.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `server` is the name of an entry in that Region's `databaseServers`.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub server: String,
}

/// A physical standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.server == oldSelf.server",
    "`server` must not change while its region is a standby: remove the standby first",
)])))]
pub struct StandbySpec {
    /// `region` is the name of the Region.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `server` is the name of an entry in that Region's `databaseServers`.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub server: String,
    /// `priority` orders standbys that are equally willing: smaller first.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// `promotion` says how willing the standby is.
    #[serde(default)]
    pub promotion: PromotionRule,
}

words!(
    /// Who starts a failover.
    #[derive(Default)]
    FailoverMode = core::Mode {
        /// The operator.
        Automatic,
        /// The operator, after a person approved.
        SemiAutomatic,
        /// A person.
        #[default]
        Manual,
    }
);

words!(
    /// How willing a standby is to be promoted.
    #[derive(Default)]
    PromotionRule = core::Promotion {
        /// Before all others.
        Prefer,
        /// In the order of `priority`.
        #[default]
        Neutral,
        /// Never.
        MustNot,
    }
);

words!(
    /// How surely the old primary is known not to acknowledge writes.
    #[derive(Default)]
    MinimumProof = core::Proof {
        /// A person or the policy takes the risk of two writers.
        Assumed,
        /// The old primary's agent, alive at its last renewal, has fenced it by now.
        LeaseExpired,
        /// The promoted server's confirmation was needed for each commit.
        #[default]
        SynchronousReplication,
        /// The old primary acknowledged the fence: planned moves only.
        Confirmed,
    }
);

words!(
    /// Who starts the way home.
    #[derive(Default)]
    FailbackMode = core::FailbackMode {
        /// A person.
        #[default]
        Manual,
        /// The operator, once the home region was stable.
        Automatic,
        /// Nobody.
        Never,
    }
);

/// When a server counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.timeoutSeconds <= self.intervalSeconds",
    "`timeoutSeconds` must be less than or equal to `intervalSeconds`",
)])))]
pub struct Detection {
    /// `intervalSeconds` is the time between two probes.
    #[schemars(range(min = 1, max = 300))]
    pub interval_seconds: i32,
    /// `timeoutSeconds` is the time after which a probe has failed.
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: i32,
    /// `failureThreshold` is the number of failed probes in a row that make an outage.
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: i32,
    /// `successThreshold` is the number of good probes in a row that end it.
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: i32,
    /// `quorum` is the number of vantages in distinct regions that must agree that the server is
    /// gone. The operator's probes and the replication stream of the standby that is to be
    /// promoted always must; the streams of other standbys, and the silence of the agent in the
    /// server's own region, are further ones.
    #[schemars(range(min = 2, max = 9))]
    pub quorum: i32,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            interval_seconds: 30,
            timeout_seconds: 5,
            failure_threshold: 3,
            success_threshold: 3,
            quorum: 2,
        }
    }
}

/// What a failover may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Objectives {
    /// `maxDataLossSeconds` is the most time whose acknowledged writes an automatic failover may
    /// lose.
    #[schemars(range(min = 0, max = 86400))]
    pub max_data_loss_seconds: i32,
    /// `heartbeatSeconds` is the time between two heartbeats, by which loss is bounded.
    #[schemars(range(min = 1, max = 300))]
    pub heartbeat_seconds: i32,
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            max_data_loss_seconds: 60,
            heartbeat_seconds: 5,
        }
    }
}

/// How surely the old primary must have stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.renewSeconds * 3 <= self.leaseSeconds",
    "`leaseSeconds` must be at least three times `renewSeconds`",
)])))]
pub struct Fencing {
    /// `minimumProof` is the weakest proof on which a standby is promoted. `Assumed` accepts that
    /// two servers may take writes.
    pub minimum_proof: MinimumProof,
    /// `leaseSeconds` is how long the agent beside the primary may go without renewing the write
    /// lease before it has fenced its server. A failover that rests on this waits a tenth of it
    /// and 3 seconds longer.
    #[schemars(range(min = 10, max = 300))]
    pub lease_seconds: i32,
    /// `renewSeconds` is the time between two renewals.
    #[schemars(range(min = 1, max = 100))]
    pub renew_seconds: i32,
}

impl Default for Fencing {
    fn default() -> Self {
        Self {
            minimum_proof: MinimumProof::default(),
            lease_seconds: 30,
            renew_seconds: 10,
        }
    }
}

/// The pause of a planned move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SwitchoverSpec {
    /// `drainSeconds` is how long old sessions may go on while new ones are refused.
    #[schemars(range(min = 0, max = 3600))]
    pub drain_seconds: i32,
    /// `maxFreezeSeconds` is how long writes may be stopped before the move is given up.
    #[schemars(range(min = 1, max = 3600))]
    pub max_freeze_seconds: i32,
}

impl Default for SwitchoverSpec {
    fn default() -> Self {
        Self {
            drain_seconds: 30,
            max_freeze_seconds: 60,
        }
    }
}

/// How tenants come home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.stableSeconds <= self.maxStableSeconds",
    "`stableSeconds` must be less than or equal to `maxStableSeconds`",
)])))]
pub struct FailbackSpec {
    /// `mode` says who starts the way home.
    pub mode: FailbackMode,
    /// `stableSeconds` is how long the home region must have been in sync first.
    #[schemars(range(min = 0, max = 86400))]
    pub stable_seconds: i32,
    /// `maxStableSeconds` limits that time, which doubles with each failback of a day.
    #[schemars(range(min = 0, max = 604_800))]
    pub max_stable_seconds: i32,
}

impl Default for FailbackSpec {
    fn default() -> Self {
        Self {
            mode: FailbackMode::Manual,
            stable_seconds: 300,
            max_stable_seconds: 14_400,
        }
    }
}

/// What keeps tenants from moving again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Damping {
    /// `cooldownSeconds` is the time after a failover in which none starts automatically.
    #[schemars(range(min = 0, max = 604_800))]
    pub cooldown_seconds: i32,
    /// `maxAutomaticPerDay` is the most automatic failovers in 24 hours.
    #[schemars(range(min = 0, max = 100))]
    pub max_automatic_per_day: i32,
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            cooldown_seconds: 3600,
            max_automatic_per_day: 2,
        }
    }
}

/// How long a person may take to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// `expiresSeconds` is the time after which a question lapses.
    #[schemars(range(min = 1, max = 86400))]
    pub expires_seconds: i32,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            expires_seconds: 1800,
        }
    }
}

fn default_priority() -> i32 {
    10
}
