//! The reasons of a placement.

macro_rules! placement {
    ($next:ident $($rest:ident)* : $($before:tt)*) => {
        $next! { $($rest)* : $($before)*
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
        /// The login that only reads leads to another server than before.
        ReadsRerouted,
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
        /// An extension or a schema that is asked for cannot be made; the message says why.
        DatabaseIncomplete,
        /// A database that Domicile did not make is in the way; the message says how it differs.
        AdoptionObserved,
        /// A database that Domicile did not make waits for an administrator; the message lists why.
        AdoptionWaits,
        /// The placement takes over a database that is there, and there is none of the name.
        NothingToAdopt,
        /// A database that Domicile did not make carries the mark of the placement now.
        Adopted,
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
        /// Other logins are due, and wait until those before the present ones are closed.
        RotationWaits,
        /// The logins that were to be published next do not work; the message says why.
        RotationFailed,
        /// The logins that were published before are closed.
        LoginRetired,
        /// The server refuses a published login that it accepted before; it is left.
        PasswordChangedOutside,
        /// The Secret that the password is taken from, or its key, is not there.
        PasswordSecretNotFound,
        /// The password in that Secret cannot be used; the message says why.
        PasswordInvalid,
        /// The Secret exists and belongs to someone else.
        SecretOwnedByOther,
        /// The Secret has another name now; the one under the name before is still there.
        SecretRenamed,
        /// A Secret under a name before is deleted: nobody needs it any more.
        FormerSecretDeleted,
        /// The Service, or a slice of it, exists and belongs to someone else.
        ServiceOwnedByOther,
        /// The certificate of a server lacks the name under which workloads would reach it.
        CertificateLacksName,
        /// `connection.endpoint` cannot be had for this placement; the message says why.
        EndpointUnsuited,
        /// A template in `connection.keys` cannot be rendered.
        InvalidTemplate,
        /// All selected workloads carry the variables and have rolled.
        InjectionComplete,
        /// Nothing is injected: `injection.mode` is `None`.
        InjectionOff,
        /// All selected workloads carry the Secret; when the pods of some have it is not known.
        RolloutUnknown,
        /// The API server serves no such kind in a namespace.
        WorkloadKindUnknown,
        /// The mapping of a kind cannot be read, or does not fit a workload.
        InvalidMapping,
        /// The operator may not list or change workloads of a kind.
        WorkloadForbidden,
        /// Pods still run with an older Secret, and nothing replaces them by itself: by
        /// `reload.strategy`, or as the workload is paused, `OnDelete` or has a partition.
        RestartPending,
        /// Workloads are rolling.
        RollingOut,
        /// No workload is selected or found.
        NoWorkloads,
        /// Another manager owns a field that must be set.
        FieldConflict,
        /// The operator has no rights in the namespace.
        NamespaceNotOnboarded,
        /// The Region's own cluster does not answer; its part waits, and nothing else does.
        ClusterUnreachable,
        /// The namespace is missing in the Region's own cluster, or refuses the operator.
        ClusterNotOnboarded,
        /// The Region's own cluster does not take its kubeconfig; the message says why.
        ClusterRefused,
        /// The Secret in the Region's own cluster was given up: no way leads there any more.
        ClusterGivenUp,
        /// A policy covers the server and a standby is ready.
        Armed,
        /// The policy that covers the server would begin no failover by itself now.
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
        }
    };
}

pub(super) use placement;
