//! What one pass found out, collected as it goes.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::placement_status::{
    ConnectionStatus, DatabaseStatus, FormerSecret, OtherWorkload, WorkloadStatus,
};
use domicile_core::facts::Epoch;
use domicile_core::names::{RegionName, ServerId, Slot};
use domicile_core::placement::{Copies, Copy};
use domicile_core::replica::{Address, Awaited};
use jiff::SignedDuration;

use super::regional::Plan;
use crate::kube::events::Severity;

/// One condition's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: Status,
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// What must happen before the pass can go further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Something outside may mend by itself.
    Mended,
    /// A move of the tenant's server must end.
    Moved,
    /// A person must do something.
    Person,
}

/// Why a pass ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) until: Until,
}

impl Stop {
    pub(super) fn new(until: Until, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            until,
        }
    }
}

/// The server that answers for the tenant, once it was shown to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) server: ServerId,
    pub(super) epoch: Epoch,
    pub(super) connection: ConnectionStatus,
    pub(super) secret_hash: String,
    /// What the Secret leads to, for who asks whether pods that have it can work: the same server
    /// wherever the tenant is, where a Service leads there.
    pub(super) leads_to: ServerId,
    /// The logins that the Secret carries.
    pub(super) slot: Slot,
    /// A password was made in this pass.
    pub(super) new_password: bool,
    /// The request for a rotation that was answered in this pass.
    pub(super) answered: Option<String>,
}

/// What one pass found out. What it did not come to is absent and stays in the status as it was.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, not states"
)]
pub(super) struct Progress {
    pub(super) home: Option<RegionName>,
    /// The region whose servers hold the tenant, when that is not the home.
    pub(super) served_by: Option<RegionName>,
    pub(super) copies: Option<Copies>,
    /// Nothing of the tenant may be changed now, in no cluster.
    pub(super) held: bool,
    /// What there is to be done in the clusters of regions.
    pub(super) clusters: Option<Plan>,
    /// The Secrets that are there, or may be.
    pub(super) secrets: Option<Vec<Copy>>,
    /// The clusters that do not answer: their part waits.
    pub(super) apart: Vec<String>,
    /// The server that the tenant is about to be made on.
    pub(super) claimed: Option<ServerId>,
    pub(super) served: Option<Served>,
    /// What the spec made in the database.
    pub(super) made: Option<DatabaseStatus>,
    pub(super) workloads: Option<Vec<WorkloadStatus>>,
    pub(super) other_workloads: Option<Vec<OtherWorkload>>,
    pub(super) findings: BTreeMap<ConditionType, Finding>,
    /// Why the pass ended early, or goes on soon.
    pub(super) stop: Option<Stop>,
    /// All is in place, but for a password that somebody changed on the server.
    pub(super) locked_out: Option<Stop>,
    /// The tenant is served, and yet a person must do something.
    pub(super) notice: Option<(Reason, String)>,
    /// Workloads are still rolling.
    pub(super) rolling: bool,
    /// How long they pause, when nothing else is to be waited for.
    pub(super) pause: Option<SignedDuration>,
    /// There are workloads that get the Secret, and no pod of theirs has the one before.
    pub(super) taken_up: bool,
    /// Secrets under former names that are gone, or given up: name, and region of the cluster.
    pub(super) gone: BTreeSet<(String, Option<RegionName>)>,
    /// Those that stay for now, and why.
    pub(super) staying: Vec<String>,
    /// The Service that was removed: in the hub, then everywhere.
    pub(super) removed_service: Option<String>,
    /// The logins that were published before were closed.
    pub(super) retired: bool,
    /// The read replica that refused the tenant's login.
    pub(super) unread: Option<Address>,
    /// The login that a read replica has yet to replay.
    pub(super) awaited: Option<Awaited>,
    /// Whether the server answered, if it was asked.
    pub(super) heard: Option<bool>,
    /// A write to the namespace was answered: reads say nothing of webhooks.
    pub(super) wrote: bool,
    /// A write to the namespace was not answered, and yet the pass went on.
    pub(super) silent: bool,
    /// What happened, to be told once the status is stored.
    pub(super) told: Vec<(Severity, Reason, String)>,
}

impl Progress {
    /// Answers one condition.
    pub(super) fn found(
        &mut self,
        type_: ConditionType,
        status: Status,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let message = message.into();
        self.findings.insert(
            type_,
            Finding {
                status,
                reason,
                message,
            },
        );
    }

    /// Whether a Secret under a former name is known to be gone.
    pub(super) fn is_gone(&self, former: &FormerSecret) -> bool {
        let cluster = former.cluster.as_deref().map(RegionName::new);
        self.gone.contains(&(former.name.clone(), cluster))
    }

    /// Answers one condition with False and ends the pass for the same reason.
    pub(super) fn deny(&mut self, type_: ConditionType, stop: Stop) -> Stop {
        self.found(type_, Status::False, stop.reason, stop.message.clone());
        stop
    }

    /// Something happened that the status shows only in part.
    pub(super) fn tell(&mut self, severity: Severity, reason: Reason, note: impl Into<String>) {
        self.told.push((severity, reason, note.into()));
    }

    /// A person must do something, although the tenant is served. The first notice stands.
    pub(super) fn notice(&mut self, reason: Reason, message: impl Into<String>) {
        self.notice.get_or_insert_with(|| (reason, message.into()));
    }
}
