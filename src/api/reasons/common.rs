//! The reasons of every kind, and those of a Region.

macro_rules! common {
    ($next:ident $($rest:ident)* : $($before:tt)*) => {
        $next! { $($rest)* : $($before)*
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
        /// Each read replica follows its server.
        ReplicasFollow,
        /// A read replica is not read from; the message says why.
        ReplicaUnfit,
        /// What a deleted placement left on a lost server is written down, to be cleaned up later.
        OrphanRecorded,
        /// What a deleted placement had left is cleaned up.
        OrphanCleaned,
        /// Something keeps a database from being dropped; the message names it.
        CleanupBlocked,
        }
    };
}

pub(super) use common;
