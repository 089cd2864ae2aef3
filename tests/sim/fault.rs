//! What may go wrong, as data: a run is its seed and its list of faults, and both fit in a file.

use serde::{Deserialize, Serialize};

/// Milliseconds of virtual time.
pub(crate) type Ms = u64;

/// One fault. The list is sorted by `at` only for reading; each stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// When it begins.
    pub at: Ms,
    /// How long it lasts; what happens at once ignores this.
    pub duration: Ms,
    #[serde(flatten)]
    pub kind: Kind,
}

/// A place that messages come from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Place {
    Operator(usize),
    Server(usize),
    Hub,
    /// The clients of a region; they stand beside its server.
    Inside(usize),
    Outside,
    /// The region's own API server.
    Cluster(usize),
}

/// What an effect is, for a crash right before or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Effect {
    Store,
    Drain,
    Fence,
    Promote,
    TakeAuthority,
    Canary,
    SetSynchronous,
    Ask,
    Record,
    Secret,
    Placement,
    Lease,
    Permit,
}

impl Effect {
    pub(crate) const ALL: [Self; 13] = [
        Self::Store,
        Self::Drain,
        Self::Fence,
        Self::Promote,
        Self::TakeAuthority,
        Self::Canary,
        Self::SetSynchronous,
        Self::Ask,
        Self::Record,
        Self::Secret,
        Self::Placement,
        Self::Lease,
        Self::Permit,
    ];
}

/// Which side of an effect a crash is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Side {
    /// It was decided and not sent.
    Before,
    /// It took effect, and the answer found nobody.
    After,
}

/// What a watch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Watch {
    Policy,
    Operations,
    Placements,
}

impl Watch {
    pub(crate) const ALL: [Self; 3] = [Self::Policy, Self::Operations, Self::Placements];
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wish {
    Failover,
    Switchover,
    Failback,
}

/// The kinds of faults, and what people do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Kind {
    /// The server's process ends, and is started after the duration.
    KillServer { server: usize },
    /// The server stands still and goes on where it was.
    FreezeServer { server: usize },
    /// The server applies nothing of what it receives.
    ///
    /// Faults: 66.
    PauseReplay { server: usize },
    /// Nothing comes through in this direction.
    ///
    /// Faults: 79.
    Cut { from: Place, to: Place },
    /// Nothing leaves or enters the region, its clients aside.
    ///
    /// Faults: 78.
    Isolate { server: usize },
    /// So many of a hundred messages are lost.
    Loss {
        from: Place,
        to: Place,
        percent: u64,
    },
    /// Messages take so much longer.
    Slow { from: Place, to: Place, by: Ms },
    /// A statement that was sent lies on the way for up to so long.
    Linger { operator: usize, by: Ms },
    /// The operator's process ends, and is started anew; its node too, when `reboot`.
    KillOperator { operator: usize, reboot: bool },
    /// The first operator that comes to this point within the duration ends there.
    ///
    /// Faults: 44.
    Crash { side: Side, effect: Effect },
    /// The operator stands still and goes on where it was.
    ///
    /// Faults: 48.
    FreezeOperator { operator: usize },
    /// The first operator that is about to do this stands still there, for the duration.
    ///
    /// Faults: 46.
    FreezeBefore { effect: Effect },
    /// The first agent of the region ends and is started anew.
    KillAgent { region: usize },
    /// The first agent of the region stands still.
    FreezeAgent { region: usize },
    /// The next pledge of the region's agents that is new takes effect, and nobody outside hears
    /// from the region after it, nor it from them: the answer is lost.
    Part { region: usize },
    /// The API server answers nobody.
    ///
    /// Faults: 39.
    HubAway,
    /// One watch of one operator shows everything so much later.
    ///
    /// Faults: 33.
    WatchLag {
        operator: usize,
        watch: Watch,
        by: Ms,
    },
    /// Writes take effect and their answers are lost, so many of a hundred.
    ///
    /// Faults: 37.
    LostReply { operator: usize, percent: u64 },
    /// The operator's wall clock jumps.
    ///
    /// Faults: 51.
    WallJump { operator: usize, seconds: i64 },
    /// A person creates an operation.
    Ask {
        wish: Wish,
        to: usize,
        accept: bool,
        stale: bool,
    },
    /// A person approves whatever waits for approval.
    Approve,
    /// A person ends synchronous replication of the active server, in quiet times.
    Relax,
    /// When the policy next comes to this state, within half a minute, the other fault begins.
    When { state: String, then: Box<Self> },
    /// A person turns a server into a standby of the newest primary.
    Rejoin { server: usize },
    /// A person promotes a standby, whatever the policy says.
    ///
    /// Faults: 63, 96.
    PromoteByHand { server: usize },
    /// A person makes a standby of the old primary of a move, once that has closed it.
    Demote { server: usize },
}
