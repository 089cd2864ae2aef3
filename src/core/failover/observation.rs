//! What one pass has seen, and what the machine answers.

use std::collections::{BTreeMap, BTreeSet};

use super::ages::Ages;
use super::dump::DumpView;
use super::returned::Rejoin;
use super::state::{Accept, Journal, MoveKind, Settings, Stored};
use crate::facts::{Engine, Epoch, Facts, Lsn};
use crate::health::Verdict;
use crate::lease::{Promise, WriteLease};
use crate::names::{Jurisdiction, RegionName, ServerId};
use crate::time::{Mono, Now};

/// One of the policy's servers, as seen in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// The server.
    pub server: ServerId,
    /// Its region's jurisdiction; absent when there is no such region.
    pub jurisdiction: Option<Jurisdiction>,
    /// The regions in which its backups lie, and their jurisdictions; none for a name that stands
    /// for no region.
    pub backups: BTreeMap<RegionName, Option<Jurisdiction>>,
    /// Its region is paused on purpose: its silence is no outage, and nobody moves there.
    pub suspended: bool,
    /// What is believed of it.
    pub verdict: Verdict,
    /// Its last good read, however old.
    pub facts: Option<Facts>,
    /// The latest read of it succeeded, and is `facts`.
    pub live: bool,
    /// What promotes it.
    pub engine: Engine,
    /// Why that could not promote it, when it was last asked; absent when it could, or is SQL.
    pub engine_fails: Option<String>,
    /// Databases of tenants whose statistics count writes; absent when it was not asked.
    pub touched: Option<Vec<String>>,
    /// Where its timelines before the present one ended, oldest first, as what runs it tells; empty
    /// when it was not asked or does not know.
    pub ends: Vec<(u32, Lsn)>,
    /// How long ago this leader asked for it to be rejoined, in milliseconds, if it did.
    pub asked_ms: Option<u64>,
    /// While no move was under way, a fence of it failed a moment ago, or was needed twice: other
    /// work has its turn first.
    pub resists: bool,
    /// The Job that copies what it alone holds; absent when that was not looked at.
    pub dump: Option<DumpView>,
}

impl ServerView {
    /// What it says now; `None` when the latest read failed.
    pub fn now(&self) -> Option<&Facts> {
        self.facts.as_ref().filter(|_| self.live)
    }
}

/// A record that is changed by compare-and-swap, as this leader sees it in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched<T> {
    /// What it says.
    pub record: T,
    /// The version that the next write must name.
    pub version: String,
    /// When this leader first saw this version.
    pub since: Mono,
    /// When this leader first saw the last version that an agent wrote; its own first look, when
    /// it saw none.
    pub renewed: Mono,
    /// It saw that version take another's place: not its own first look.
    pub witnessed: bool,
}

/// What one look at a record has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// It could not be read.
    Unread,
    /// There is none.
    Absent,
    /// It is there.
    There(Watched<T>),
}

impl<T> Look<T> {
    /// The record, when it was read and is there.
    pub fn there(&self) -> Option<&Watched<T>> {
        match self {
            Self::There(watched) => Some(watched),
            Self::Unread | Self::Absent => None,
        }
    }
}

/// A tenant on the policy's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// `namespace/name` of its placement.
    pub name: String,
    /// The jurisdictions that may hold its data.
    pub allowed: BTreeSet<Jurisdiction>,
    /// The epoch that its Secret and workloads were last pointed at.
    pub repointed: Epoch,
    /// Its placement cannot go on without a person, for a reason of its own.
    pub stalled: bool,
}

/// A `FailoverOperation` that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub kind: MoveKind,
    /// Where to.
    pub target: RegionName,
    /// The epoch that the asker had seen.
    pub expected_epoch: Epoch,
    /// The guards it waives.
    pub accept: BTreeSet<Accept>,
    /// The machine itself asks.
    pub automatic: bool,
    /// Enough people agreed, on the evidence as it stands.
    pub approved: bool,
}

/// All that one pass knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The moment.
    pub now: Now,
    /// Who is deciding; heartbeats of anyone else tell no time.
    pub leader: String,
    /// The policy.
    pub settings: Settings,
    /// The machine as stored.
    pub stored: Stored,
    /// How long ago the stored moments were, by this leader's clock.
    pub ages: Ages,
    /// Why the policy cannot be followed at all (a server in two policies, an unknown region).
    pub conflict: Option<String>,
    /// The policy's servers by region.
    pub servers: BTreeMap<RegionName, ServerView>,
    /// Verdicts of all other regions' servers, for the question whether it is us who are cut off.
    pub others: BTreeMap<RegionName, Verdict>,
    /// The tenants on the active server.
    pub tenants: Vec<Tenant>,
    /// Operations for this policy that have not ended, oldest first.
    pub requests: Vec<Request>,
    /// Names of operations for this policy that have ended.
    pub ended: BTreeSet<String>,
    /// The write lease.
    pub lease: Look<WriteLease>,
    /// The promises of the standbys whose region has a cluster of its own.
    pub promises: BTreeMap<RegionName, Look<Promise>>,
    /// How long the home server has been a streaming standby of the active one without a break, in
    /// milliseconds, by this leader's clock.
    pub home_in_sync_ms: Option<u64>,
}

/// One effect. Idempotent per (server, epoch); a server with a newer epoch refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Refuse new read-write sessions; old ones go on.
    Drain(ServerId, Epoch),
    /// Refuse and end all tenant sessions.
    Fence(ServerId, Epoch),
    /// Promote a standby.
    Promote(ServerId, Epoch),
    /// Give the right to write, and let read-write logins in.
    TakeAuthority(ServerId, Epoch),
    /// Write one row as the holder of this epoch.
    Canary(ServerId, Epoch),
    /// Let each commit wait for the standby of this name.
    SetSynchronous(ServerId, Epoch, String),
    /// Create the Job that copies what a fenced server alone holds.
    Dump {
        /// The fenced server.
        server: ServerId,
        /// The epoch that it is fenced under.
        epoch: Epoch,
        /// The name of the Job.
        job: String,
    },
    /// Give a fenced server that left the common history a timeline that no other server has.
    Outgrow(ServerId, Epoch),
    /// Make a fenced server a standby of another.
    Rejoin {
        /// The fenced server.
        server: ServerId,
        /// The server that it is to follow.
        upstream: ServerId,
        /// The epoch that it is fenced under.
        epoch: Epoch,
        /// What may become of its data.
        how: Rejoin,
    },
    /// Write this record of the write lease, if it is still of this version (none: if there is
    /// none).
    WriteLease(WriteLease, Option<String>),
    /// Let this standby's region promise nothing older than this epoch any more, if its record is
    /// still of this version.
    Permit(RegionName, Epoch, Option<String>),
    /// Create a `FailoverOperation` on the machine's own account.
    Ask {
        /// Its name.
        name: String,
        /// What for.
        kind: MoveKind,
        /// Where to.
        target: RegionName,
        /// The current epoch.
        epoch: Epoch,
    },
}

/// What the machine wants next. One of them, never two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Store this, by compare-and-swap, and do nothing else in this pass.
    Move(Box<Stored>),
    /// Do this.
    Work(Step),
    /// Look again after so many milliseconds, at the latest.
    Wait(u64),
}

/// The guards, in the order of `failover.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuardName {
    /// The policy is not paused and its mode allows this.
    Armed,
    /// A second vantage agrees that the primary is gone.
    SecondVantage,
    /// It is not the operator that is cut off.
    NotIsolated,
    /// The standby can take over.
    StandbyEligible,
    /// Each tenant's law admits the standby.
    Jurisdiction,
    /// The loss bound is within the objective.
    LossBound,
    /// No cooldown runs and the daily limit is not reached.
    Cooldown,
    /// No other policy or operation has a hand on the servers.
    Exclusive,
    /// The fencing proof is strong enough.
    FencingProof,
}

impl GuardName {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "Armed",
            Self::SecondVantage => "SecondVantage",
            Self::NotIsolated => "NotIsolated",
            Self::StandbyEligible => "StandbyEligible",
            Self::Jurisdiction => "Jurisdiction",
            Self::LossBound => "LossBound",
            Self::Cooldown => "Cooldown",
            Self::Exclusive => "Exclusive",
            Self::FencingProof => "FencingProof",
        }
    }
}

/// One guard's answer. Messages hold no number that changes by itself: a blocked machine is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Which.
    pub name: GuardName,
    /// It allows the move.
    pub ok: bool,
    /// The fact, and what to do when it forbids.
    pub message: String,
}

/// An operation that will not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub operation: String,
    /// Condition reason.
    pub reason: &'static str,
    /// The fact and the next step.
    pub message: String,
}

/// The answer of one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub answer: Answer,
    /// Why, for machines.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// All guards of the best candidate, whether or not a move is near.
    pub guards: Vec<Guard>,
    /// The candidate that the guards speak of.
    pub candidate: Option<RegionName>,
    /// Operations to be refused.
    pub refusals: Vec<Refusal>,
}

impl Observation {
    /// The active server.
    pub fn active(&self) -> Option<&ServerView> {
        self.servers.get(&self.stored.active)
    }

    /// The server of `region`, when it is one of the policy's.
    pub fn server(&self, region: &RegionName) -> Option<&ServerView> {
        self.servers.get(region)
    }

    /// The name of the machine's own operation that follows the stored epoch.
    pub fn own_operation(&self) -> String {
        format!("{}-{}", self.settings.name, self.stored.epoch.next())
    }

    /// The name of the machine's own way home that follows the stored epoch. Another than that of
    /// [`Observation::own_operation`]: one that was refused must not stand for a failover.
    pub fn own_failback(&self) -> String {
        format!(
            "{}-failback-{}",
            self.settings.name,
            self.stored.epoch.next()
        )
    }

    /// The move under way.
    pub fn journal(&self) -> Option<&Journal> {
        self.stored.journal.as_ref()
    }
}
