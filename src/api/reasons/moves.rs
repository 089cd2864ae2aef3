//! The reasons of a policy and of its operations.

macro_rules! moves {
    ($next:ident $($rest:ident)* : $($before:tt)*) => {
        $next! { $($rest)* : $($before)*
        // FailoverPolicy
        /// The active region serves; nothing is under way.
        Steady,
        /// A probe of the active server failed.
        Suspect,
        /// The active server is lost.
        Outage,
        /// A guard forbids the move; the message names it.
        Blocked,
        /// A person must agree.
        AwaitingApproval,
        /// New sessions are refused before a planned move.
        Draining,
        /// The old primary is being kept from writing.
        Fencing,
        /// The standby replays what it received.
        CatchingUp,
        /// The move is given up.
        Aborting,
        /// A standby is being promoted.
        Promoting,
        /// Secrets and workloads turn to the new primary.
        Rerouting,
        /// The new primary is being tried.
        Verifying,
        /// A person must look.
        Halted,
        /// Tenants are served away from home.
        AwayFromHome,
        /// Tenants are served at home.
        AtHome,
        /// A standby could be promoted now.
        StandbyEligible,
        /// No standby could be promoted now; the message says why.
        NoEligibleStandby,
        /// Every standby streams.
        Streaming,
        /// A standby does not stream.
        ReplicationBroken,
        /// The state of replication is not known.
        ReplicationUnknown,
        /// The active server answers.
        PrimaryServing,
        /// The active server does not answer.
        PrimaryLost,
        /// The home region is in sync and was stable long enough.
        HomeInSync,
        /// The home region is not in sync.
        HomeNotInSync,
        /// The home region is in sync, but not for long enough yet.
        Stabilizing,
        /// The provider answers and lets the operator in.
        ProviderAnswers,
        /// The provider's address or authority cannot be used.
        ProviderInvalid,
        /// The provider does not answer.
        ProviderUnreachable,
        /// The provider refuses the operator's credentials.
        ProviderCredentialsDenied,
        /// The provider was told to leave its servers alone.
        ProviderPaused,
        /// The provider answered, and did not do as asked.
        ProviderRefused,
        /// Every standby is what it should be.
        StandbysHealthy,
        /// An old primary that returned is kept from writing.
        Quarantined,
        /// An old primary must be made a standby again by its provider or a person.
        AwaitingRejoin,
        /// An old primary becomes a standby again.
        Rejoining,
        /// What an old primary alone holds cannot be copied until a person acts.
        DumpBlocked,
        /// What an old primary alone holds is being copied.
        DumpRunning,
        /// The Job that copies what an old primary alone holds failed.
        DumpFailed,
        /// What an old primary alone held is copied.
        DumpComplete,
        /// A standby does not answer.
        StandbyUnreachable,
        /// Two servers would take writes.
        TwoPrimaries,
        /// One server takes writes.
        SinglePrimary,
        /// `paused` stops automatic moves.
        PausedByUser,
        /// Automatic moves are allowed.
        NotPaused,
        /// Another policy covers a server of this one.
        ServerInTwoPolicies,
        /// The servers' own records contradict the stored state.
        Contradiction,
        /// The primary is alive at a standby, so it is not lost.
        PrimaryAliveAtPeer,
        /// The agent beside the primary fenced it and does not renew the write lease.
        AgentSilent,
        /// The fence is less sure than `fencing.minimumProof`.
        ProofTooWeak,
        /// The loss bound is above `objectives.maxDataLossSeconds`.
        LossTooHigh,
        /// A failover was made lately.
        CoolingDown,
        /// The operator itself may be cut off.
        HubIsolated,
        /// The servers were not probed since the operator started.
        NotProbedYet,
        /// A probe of the active server failed; the outage is not confirmed yet.
        ProbeFailed,
        /// The threshold of failed probes is reached, and replication is broken too.
        OutageConfirmed,
        /// The standby still hears from the primary, so it is not lost.
        VantagesDisagree,
        /// The active server answers again.
        Recovered,
        /// Every guard holds again.
        GuardsPass,
        /// A failover begins.
        FailoverDecided,
        /// The home region was stable long enough, and the way home begins.
        FailbackDue,
        /// An operation that a person asked for begins.
        OperationStarted,
        /// The operation that a question belonged to has ended.
        OperationEnded,
        /// There is no operation that an approval could be given to.
        NothingToApprove,
        /// A person agreed.
        Approved,
        /// The old sessions have ended, or their time is over.
        Drained,
        /// The old primary is kept from writing, with the proof that the message names.
        Fenced,
        /// It is not proven that the old primary has stopped writing.
        FencingUnproven,
        /// An old primary that answered again was fenced.
        OldPrimaryFenced,
        /// What an old primary alone holds is written down.
        OldPrimaryReported,
        /// An old primary that was fenced and reported is made a standby again.
        OldPrimaryRejoining,
        /// The standby replays what it received.
        Replaying,
        /// The standby has replayed what it received.
        CaughtUp,
        /// The bound of loss grew above the objective during the move.
        LossTooLarge,
        /// The standby is primary.
        Promoted,
        /// Every Secret and workload turned to the new primary.
        Rerouted,
        /// The move is finished.
        Moved,
        /// A person's decision ended the halt, and the move goes on.
        Resumed,
        /// Writes were stopped for longer than `maxFreezeSeconds`.
        FrozenTooLong,
        /// The primary does not answer a step of the move.
        PrimarySilent,
        /// The standby does not answer a step of the move.
        StandbySilent,
        /// The standby cannot be promoted any more.
        StandbyUnfit,
        /// The standby was lost after it was chosen.
        StandbyLost,
        /// Two servers hold the right to write, or claim one epoch.
        SplitBrain,
        /// What contradicted the stored state is gone.
        ContradictionGone,
        /// The row of the write authority was put right on the active server.
        AuthorityRepaired,
        /// Another policy names a server of this one.
        PolicyConflict,
        /// Both ends show that each commit waits for the standby.
        SynchronyProven,
        /// Commits do not wait for the standby any more.
        SynchronyLost,
        /// Commits wait for the standby again.
        SynchronyRestored,

        // FailoverOperation
        /// Not taken up yet.
        Pending,
        /// Under way.
        Running,
        /// The tenants are served by the target.
        Succeeded,
        /// It went wrong after the point of no return.
        Failed,
        /// It was given up before the point of no return.
        Aborted,
        /// The world moved on since the operation was planned.
        EpochMismatch,
        /// The policy does not exist.
        PolicyNotFound,
        /// The target is not a server of the policy, or is active already.
        InvalidTarget,
        /// Another operation is under way.
        OperationInProgress,
        /// The time for an approval is over.
        ApprovalExpired,
        /// A guard forbids the move.
        GuardFailed,
        /// The active server does not answer, so a planned move is impossible.
        PrimaryNotHealthy,
        }
    };
}

pub(super) use moves;
