//! The list.
use super::closed::reasons;

reasons! {
    // kstatus
    /// Nothing is under way.
    Settled,
    /// Nothing keeps the controller from going on.
    NotStalled,
    /// A pass is under way.
    Progressing,
    /// Not looked at yet.
    NotObserved,
    /// An annotation or label of another version or a hand-edited status cannot be read.
    InvalidStatus,
    /// The object does not parse.
    InvalidObject,
    /// A value in `spec` cannot be used; the message names the field.
    InvalidSpec,
    /// The apiserver refused or did not answer a call.
    ApiServerError,
    /// A defect of Domicile; the message says what to report.
    InternalError,

    // Region
    /// All database servers answer, and the login has its rights.
    Serving,
    /// All database servers answer.
    Reachable,
    /// No TCP connection to a database server.
    Unreachable,
    /// A database server did not answer in time.
    ProbeTimedOut,
    /// A database server's certificate does not verify.
    CertificateInvalid,
    /// A database server refused the operator's login.
    CredentialsDenied,
    /// A database server has no free connection slot.
    TooManyConnections,
    /// A database server starts up, shuts down or recovers.
    NotAcceptingConnections,
    /// Another server answers at the address.
    WrongServer,
    /// The server is older than PostgreSQL 15.
    VersionUnsupported,
    /// A database server answered something that is not understood.
    UnexpectedAnswer,
    /// More than one Region is the default.
    DuplicateDefault,
    /// Two entries name one database server.
    DuplicateServer,
    /// The operator's login has the rights that it needs.
    PrivilegesSufficient,
    /// The operator's login lacks rights.
    PrivilegesMissing,
    /// A Secret that is referred to does not exist.
    SecretNotFound,
    /// A Secret that is referred to lacks a key or holds something unusable.
    SecretInvalid,
    /// The certificate authority in the Secret is no PEM certificate.
    CaInvalid,
    /// The server refused a statement for want of a right.
    AdminPrivilegesInsufficient,
    /// What a deleted placement left on a lost server is written down, to be cleaned up later.
    OrphanRecorded,
    /// What a deleted placement had left is cleaned up.
    OrphanCleaned,
    /// Something keeps a database from being dropped; the message names it.
    CleanupBlocked,

    // TenantPlacement
    /// A login with the published credentials works.
    Placed,
    /// The Region does not exist.
    RegionNotFound,
    /// The Region is not ready.
    RegionNotReady,
    /// The Region's server does not answer; deletion waits for it.
    RegionUnreachable,
    /// No Region is the default, and none is named.
    NoDefaultRegion,
    /// The server is not in the Region's list.
    ServerNotFound,
    /// The Region is planned: its placements wait.
    RegionPlanned,
    /// The Region keeps its tenants and takes no new ones.
    RegionDraining,
    /// The Region is paused on purpose: it takes no tenants, and its silence is no outage.
    RegionSuspended,
    /// The Region has no server of its own: another one holds its tenants.
    MetadataOnly,
    /// The Region's own servers hold the tenant.
    HeldAtHome,
    /// Servers for such tenants are there, and each has as many as it may hold.
    RegionFull,
    /// No server of the Region is for tenants of this plan, isolation, plane or version.
    NoServerForPlan,
    /// A server was chosen; the message says why this one.
    ServerChosen,
    /// The server is one for such tenants.
    ServerSuits,
    /// The tenant stays on its server, which is none for such tenants any more.
    ServerUnsuited,
    /// A copy would stand outside the allowed jurisdictions.
    WouldLeaveJurisdiction,
    /// Every copy stands within the allowed jurisdictions.
    WithinJurisdiction,
    /// A name cannot be used for a database.
    InvalidName,
    /// The database or a role of that name belongs to someone else.
    DatabaseNameTaken,
    /// Database, roles and grants are as they should be.
    Provisioned,
    /// Database, roles or grants are being made.
    Provisioning,
    /// The database could not be made; the message says why.
    ProvisioningFailed,
    /// The placement asks for an extension that its server does not list.
    ExtensionNotAllowed,
    /// An extension or a schema that the placement asks for cannot be made; the message says why.
    DatabaseIncomplete,
    /// A database that Domicile did not make is in the way; the message says how it differs.
    AdoptionObserved,
    /// The last look at the database found all as planned.
    AsPlanned,
    /// Something on the server was not as planned any more, and was put right.
    DriftRepaired,
    /// Something on the server is not as planned, and is left alone; the message names it.
    DriftLeft,
    /// What was taken out of the spec stays in the database.
    LeftInDatabase,
    /// The published credentials were accepted by the active server.
    LoginVerified,
    /// The active server refused the published credentials.
    LoginRefused,
    /// The active server did not let the login in for another reason.
    LoginFailed,
    /// Other logins are published, with new passwords; those before are still open.
    CredentialsRotated,
    /// The logins that were to be published next do not work; the message says why.
    RotationFailed,
    /// The logins that were published before are closed.
    LoginRetired,
    /// The server refuses the password of a published login, which it accepted before; it is left.
    PasswordChangedOutside,
    /// The Secret that the password is taken from, or its key, is not there.
    PasswordSecretNotFound,
    /// The password in that Secret cannot be used; the message says why.
    PasswordInvalid,
    /// The Secret exists and belongs to someone else.
    SecretOwnedByOther,
    /// A template in `connection.keys` cannot be rendered.
    InvalidTemplate,
    /// All selected workloads carry the variables and have rolled.
    InjectionComplete,
    /// Nothing is injected: `injection.mode` is `None`.
    InjectionOff,
    /// Pods still run with an older Secret, and `reload.strategy` restarts nothing.
    RestartPending,
    /// Workloads are rolling.
    RollingOut,
    /// No workload is selected or found.
    NoWorkloads,
    /// Another manager owns a field that must be set.
    FieldConflict,
    /// The operator has no rights in the namespace.
    NamespaceNotOnboarded,
    /// A policy covers the server and a standby is ready.
    Armed,
    /// A policy covers the server, but no failover is possible now.
    NotArmed,
    /// No policy covers the server.
    NoPolicy,
    /// The tenants' server is being moved; nothing is changed meanwhile.
    FailoverInProgress,
    /// `deletionProtection` keeps the placement.
    DeletionProtected,
    /// The placement is being released.
    Deleting,
    /// The write authority is held under a newer epoch.
    StaleEpoch,
    /// The server is fenced under this epoch.
    NotWritable,
    /// The server is a standby, so nothing can be changed on it.
    NotPrimary,
    /// The database, or a role that it needs, is not there.
    DatabaseMissing,
    /// A deletion of the database was cut short; dropping it again ends it.
    DatabaseHalfDropped,
    /// The server could not run the statement now; it passes by itself.
    DatabaseBusy,
    /// The server refused a statement; the message says why.
    DatabaseError,

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
