//! What the machine stores between two passes, and the policy it follows.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::returned::{Fork, Rejoin, Returned};
use crate::facts::{Epoch, Lsn};
use crate::lease::Terms;
use crate::names::{RegionName, ServerId};

/// Declares a closed list of words with their text, both ways.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// The word with this text. Anything else is `None`: an unknown word stops for a
            /// person and is never taken for a default.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// The machine's state, `FailoverPolicy.status.state`.
    State {
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
        /// The move is given up before promotion; the old primary gets its right back.
        Aborting,
        /// The point of no return.
        Promoting,
        /// Secrets and workloads turn to the new primary.
        Rerouting,
        /// A write and a read on the new primary; no session is left on the old one.
        Verifying,
        /// A contradiction or a failure after promotion: a person must look.
        Halted,
    }
);

words!(
    /// Why a move is made.
    MoveKind {
        /// The active region is lost, or a person says so.
        Failover,
        /// Planned, without loss.
        Switchover,
        /// Planned, without loss, to the home region.
        Failback,
    }
);

words!(
    /// What keeps the old primary from acknowledging writes, weakest first.
    Proof {
        /// Nothing: a person or the policy takes the risk of two writers.
        Assumed,
        /// The old primary's agent, alive at its last renewal, has fenced it: the write lease is
        /// taken and its time is over, and so is that of every promise.
        LeaseExpired,
        /// The new primary was the only server whose confirmation let a commit be acknowledged.
        SynchronousReplication,
        /// The old primary itself acknowledged the fence and has no tenant session left.
        Confirmed,
    }
);

words!(
    /// Who starts a failover.
    Mode {
        /// The machine.
        Automatic,
        /// The machine, after a person approved.
        SemiAutomatic,
        /// A person.
        Manual,
    }
);

words!(
    /// Who starts the way home.
    FailbackMode {
        /// A person.
        Manual,
        /// The machine, once the home region was stable long enough.
        Automatic,
        /// Nobody; a person may still ask for a switchover.
        Never,
    }
);

words!(
    /// How willing a standby is to be promoted.
    Promotion {
        /// Before all others.
        Prefer,
        /// In the order of priority.
        Neutral,
        /// Never.
        MustNot,
    }
);

words!(
    /// A guard that an operation waives by name.
    Accept {
        /// More loss than the objective allows.
        DataLoss,
        /// A weaker proof than the policy's minimum.
        UnprovenFencing,
        /// A failover during the cooldown.
        Cooldown,
    }
);

/// How many seconds of acknowledged writes a move may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossBound {
    /// At most this many seconds.
    Seconds(u32),
    /// Not known, and so treated as infinite.
    Unknown,
}

impl std::fmt::Display for LossBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds} s"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// One move: what is meant to be done, stored before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Journal {
    /// The name of the `FailoverOperation` that this move is.
    pub operation: String,
    /// Why.
    pub kind: MoveKind,
    /// Started by the machine.
    pub automatic: bool,
    /// The region that was active when the move began.
    pub from: RegionName,
    /// The region that is to be promoted.
    pub to: RegionName,
    /// The guards that the operation waives.
    pub accept: BTreeSet<Accept>,
    /// What keeps the old primary from writing, once that is known.
    pub proof: Option<Proof>,
    /// The system identifier that both servers carry.
    pub system_identifier: String,
    /// The old primary's timeline; promotion must exceed it.
    pub timeline: u32,
    /// Last position of the fenced primary; it must be replayed before promotion.
    pub final_position: Option<Lsn>,
    /// The loss bound that promotion was decided on.
    pub loss: Option<LossBound>,
    /// The moment that the bound speaks of; it grows from there while nothing is promoted.
    pub loss_at: Option<Timestamp>,
    /// How far the new primary had replayed when it was decided to promote it: there the histories
    /// of both part.
    pub fork: Option<Lsn>,
    /// WAL known to have been written but not received, in bytes: a lower bound of the loss.
    pub loss_bytes: Option<u64>,
    /// When the move began.
    pub started: Timestamp,
    /// When the first probe failed, for an outage.
    pub outage_since: Option<Timestamp>,
}

/// What the last good sample before an outage said, stored when suspicion begins so that another
/// leader can go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// When the sample was taken.
    pub sampled: Timestamp,
    /// When the first probe failed.
    pub outage_since: Timestamp,
    /// The active server's system identifier.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// Its major version.
    pub major_version: u32,
    /// How far its WAL had been flushed.
    pub position: Lsn,
    /// The one region whose confirmation each commit needed, when there was exactly one.
    pub synchronous: Option<RegionName>,
    /// This leader had seen its agent renew the write lease lately.
    pub agent_lived: bool,
}

/// Synchronous replication, as both ends confirmed it: each commit of the active server waits for
/// this one standby. Raised when both ends show it, lowered when the active server's settings no
/// longer do; never raised from one side alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The standby's region.
    pub standby: RegionName,
    /// The name that `synchronous_standby_names` holds for it.
    pub name: String,
}

/// A finished move.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Past {
    /// The operation's name.
    pub operation: String,
    /// Why it was made.
    pub kind: MoveKind,
    /// Started by the machine.
    pub automatic: bool,
    /// From where.
    pub from: RegionName,
    /// To where.
    pub to: RegionName,
    /// The epoch that it ended with.
    pub epoch: Epoch,
    /// The fencing proof.
    pub proof: Option<Proof>,
    /// The loss bound that it was decided on.
    pub loss: LossBound,
    /// From the first failed probe, or from the start of a planned move, to the end.
    pub rto_seconds: u64,
    /// Where the histories of both servers part; absent when that was not stored.
    pub fork: Option<Fork>,
    /// When it ended.
    pub finished: Timestamp,
}

/// Most finished moves that are kept.
pub const HISTORY_LIMIT: usize = 10;

/// The machine, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// The highest epoch ever issued for this policy.
    pub epoch: Epoch,
    /// The region whose server tenants are pointed at.
    pub active: RegionName,
    /// The timeline on which that server was last seen to write; 0 when nobody saw it. A standby of
    /// another one lacks what was written since, whoever leads when that server is lost.
    pub timeline: u32,
    /// Synchronous replication as it stands now.
    pub claim: Option<Claim>,
    /// Replication was synchronous before the last move and is to be made so again.
    pub restore_synchronous: bool,
    /// The move under way.
    pub journal: Option<Journal>,
    /// What was known before the outage.
    pub evidence: Option<Evidence>,
    /// No automatic failover before this moment.
    pub cooldown_until: Option<Timestamp>,
    /// Finished moves, newest first, at most [`HISTORY_LIMIT`].
    pub history: Vec<Past>,
    /// What was found on old primaries that came back, the latest report of each region.
    pub returned: Vec<Returned>,
}

impl Stored {
    /// The same machine in `state`, since `now`.
    #[must_use]
    pub fn enter(&self, state: State, now: Timestamp) -> Self {
        Self {
            state,
            since: now,
            ..self.clone()
        }
    }
}

/// A standby, as the policy lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Standby {
    /// The server.
    pub server: ServerId,
    /// Smaller first.
    pub priority: i32,
    /// Willingness.
    pub promotion: Promotion,
}

/// The policy, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The policy's name.
    pub name: String,
    /// The home server.
    pub home: ServerId,
    /// The others.
    pub standbys: Vec<Standby>,
    /// Who starts a failover.
    pub mode: Mode,
    /// No automatic move at all.
    pub paused: bool,
    /// Seconds between two probes.
    pub interval_seconds: u32,
    /// Seconds after which a probe has failed.
    pub timeout_seconds: u32,
    /// Failed probes in a row that make an outage.
    pub failure_threshold: u32,
    /// Good probes in a row that end it.
    pub success_threshold: u32,
    /// Most loss that the policy accepts, in seconds.
    pub max_data_loss_seconds: u32,
    /// Seconds between two heartbeats.
    pub heartbeat_seconds: u32,
    /// How many vantages in distinct regions must agree that the active server is gone.
    pub quorum: u32,
    /// The weakest fencing proof that the policy accepts.
    pub minimum_proof: Proof,
    /// The write lease.
    pub lease: Terms,
    /// How long old sessions may go on in a planned move, in seconds.
    pub drain_seconds: u32,
    /// How long a planned move may keep tenants from writing before it is given up, in seconds.
    pub max_freeze_seconds: u32,
    /// Who starts the way home.
    pub failback: FailbackMode,
    /// How long the home region must be in sync first, in seconds.
    pub stable_seconds: u32,
    /// Upper limit of that time as it doubles per failback, in seconds.
    pub max_stable_seconds: u32,
    /// Seconds between two automatic failovers.
    pub cooldown_seconds: u32,
    /// Most automatic failovers in 24 hours.
    pub max_automatic_per_day: u32,
    /// How long an approval may be given, in seconds.
    pub approval_seconds: u32,
    /// What becomes of an old primary that came back.
    pub rejoin: Rejoin,
    /// The `CronJob` whose Job copies what it alone holds, before that is undone.
    pub dump: Option<String>,
}

impl Settings {
    /// All servers of the policy, home first, then by willingness, priority and name.
    pub fn servers(&self) -> Vec<Standby> {
        let home = Standby {
            server: self.home.clone(),
            priority: 0,
            promotion: Promotion::Prefer,
        };
        let mut others = self.standbys.clone();
        others.sort_by(|a, b| {
            (a.promotion, a.priority, &a.server).cmp(&(b.promotion, b.priority, &b.server))
        });
        std::iter::once(home).chain(others).collect()
    }
}

#[cfg(test)]
mod tests;
