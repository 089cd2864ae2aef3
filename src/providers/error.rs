//! What can go wrong with a database server, and the one table from error to class and reason.

use std::time::Duration;

use domicile_core::facts::{Authority, Epoch};
use domicile_core::health::ProbeFailure;
use thiserror::Error;

mod engine;

pub use engine::EngineFailure;

/// What is being done until there is a session.
pub(crate) const LOGGING_IN: &str = "logging in";

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again, later each time.
    Transient,
    /// The world moved on: read it anew and decide anew.
    Conflict,
    /// A person has to change something; trying again does not help until then.
    Config,
    /// The server answered in a way that it should not have.
    Provider,
    /// A fault of Domicile.
    Bug,
}

/// Why an effect on a server did not happen. Each text names the server, the fact and the next
/// step, and holds neither a secret nor SQL.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// The CA certificate cannot be used.
    #[error(
        "{server}: the CA certificate cannot be used: {fact}; put PEM certificates into the \
         Secret that caSecretRef names"
    )]
    CaInvalid {
        /// `host:port`.
        server: String,
        /// What is wrong with it.
        fact: String,
    },
    /// No session, or it ended.
    #[error("{server}: {fact}, while {doing}; {}", next_step(*.failure))]
    Connect {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// Which kind of failure.
        failure: ProbeFailure,
        /// The fact.
        fact: String,
    },
    /// The deadline passed. Whether the effect happened is unknown: read, then repeat.
    #[error(
        "{server}: no answer within {} ms, while {doing}; look at the server's load and locks",
        .after.as_millis()
    )]
    TimedOut {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// The deadline of the whole call.
        after: Duration,
    },
    /// A newer epoch holds on the server: the caller's view is old. Nothing was changed.
    #[error(
        "{server}: epoch {presented} is stale, the server is at epoch {found}; \
         nothing was changed, read the policy again"
    )]
    Stale {
        /// `host:port`.
        server: String,
        /// The server's epoch.
        found: Epoch,
        /// The caller's epoch.
        presented: Epoch,
    },
    /// The server does not grant writing under the caller's epoch. Nothing was changed.
    #[error(
        "{server}: epoch {presented} may not write here, {}; nothing was changed, \
         wait for the failover to end", authority(*.found)
    )]
    NotWritable {
        /// `host:port`.
        server: String,
        /// The server's row, if it has one.
        found: Option<Authority>,
        /// The caller's epoch.
        presented: Epoch,
    },
    /// The server does not hold the fence of the caller's epoch. Nothing was changed.
    #[error(
        "{server}: is not fenced under epoch {presented}, {}; nothing was changed, fence it first",
        authority(*.found)
    )]
    NotFenced {
        /// `host:port`.
        server: String,
        /// The server's row, if it has one.
        found: Option<Authority>,
        /// The caller's epoch.
        presented: Epoch,
    },
    /// The server is a standby, and the effect needs a primary.
    #[error("{server}: is a standby, so {doing} is not possible; read its role again")]
    NotPrimary {
        /// `host:port`.
        server: String,
        /// What was asked.
        doing: &'static str,
    },
    /// The database or a role of that name belongs to someone else. It was not touched.
    #[error(
        "{server}: {kind} \"{name}\" exists and {}; it was left alone, \
         choose another database name",
        owned(.marker.as_deref())
    )]
    NameTaken {
        /// `host:port`.
        server: String,
        /// `database` or `role`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The UID that its marker names; absent when Domicile did not make it.
        marker: Option<String>,
    },
    /// The tenant's database or role is not there.
    #[error("{server}: {what} does not exist; it is made again by the next reconcile")]
    Missing {
        /// `host:port`.
        server: String,
        /// Object and name.
        what: String,
    },
    /// The database is to be one that is there already, and there is none. Nothing was made.
    #[error(
        "{server}: there is no database \"{database}\", and none was made; restore it, name \
         another one, or ask for an empty one"
    )]
    NoDatabase {
        /// `host:port`.
        server: String,
        /// The database.
        database: String,
    },
    /// A drop of the database was interrupted: it cannot be used any more, only dropped.
    #[error(
        "{server}: a drop of database \"{database}\" was interrupted and nothing can use it; \
         drop it, and what is missing then is made or told"
    )]
    HalfDropped {
        /// `host:port`.
        server: String,
        /// The database.
        database: String,
    },
    /// Something that Domicile may not end keeps a database, or its roles alone, from being
    /// dropped.
    #[error(
        "{server}: the deletion of database \"{database}\" and its roles waits because of {by}; \
         end that as a superuser, and it goes on; or give it up: while its TenantPlacement is \
         there, the annotation `domicile.dev/skip-cleanup=true` lets that go and leaves what is \
         left as it is"
    )]
    DropBlocked {
        /// `host:port`.
        server: String,
        /// The database.
        database: String,
        /// What is in the way.
        by: String,
    },
    /// The login lacks a right.
    #[error(
        "{server}: the login may not do this: {fact}, while {doing}; \
         run the output of `kubectl domicile admin-sql` as a superuser"
    )]
    MissingRight {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// The server's message.
        fact: String,
    },
    /// The server refused a statement for another reason.
    #[error("{server}: {fact} (SQLSTATE {state}), while {doing}; see the server's log")]
    Sql {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// SQLSTATE.
        state: String,
        /// The server's message.
        fact: String,
    },
    /// What runs the server did not do as asked.
    #[error("{server}: Patroni {fact}, while {doing}; {}", .failure.next_step())]
    Engine {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// Which kind of failure.
        failure: EngineFailure,
        /// The fact.
        fact: String,
    },
    /// The server's answer has not the form that was asked for.
    #[error("{server}: unexpected answer: {fact}, while {doing}; report this")]
    Answer {
        /// `host:port`.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// What was odd.
        fact: String,
    },
}

impl ProviderError {
    /// Whether the server let the caller wait in vain for a session. A statement that takes too
    /// long is none: another one may hold it up.
    pub fn is_silence(&self) -> bool {
        let late = matches!(
            self,
            Self::TimedOut {
                doing: LOGGING_IN,
                ..
            }
        );
        let unreachable = ProbeFailure::Unreachable;
        late || matches!(self, Self::Connect { failure, .. } if *failure == unreachable)
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::TimedOut { .. } | Self::Missing { .. } | Self::DropBlocked { .. } => {
                Class::Transient
            }
            Self::Connect { failure, .. } => connect_class(*failure),
            Self::Stale { .. }
            | Self::NotWritable { .. }
            | Self::NotFenced { .. }
            | Self::NotPrimary { .. } => Class::Conflict,
            Self::CaInvalid { .. }
            | Self::NameTaken { .. }
            | Self::NoDatabase { .. }
            | Self::HalfDropped { .. }
            | Self::MissingRight { .. } => Class::Config,
            Self::Sql { state, .. } if passes_by_itself(state) => Class::Transient,
            Self::Sql { .. } => Class::Provider,
            Self::Engine { failure, .. } => failure.class(),
            Self::Answer { .. } => Class::Bug,
        }
    }

    /// The condition reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::CaInvalid { .. } => "CaInvalid",
            Self::Connect { failure, .. } => failure.reason(),
            Self::TimedOut { .. } => ProbeFailure::TimedOut.reason(),
            Self::Stale { .. } => "StaleEpoch",
            Self::NotWritable { .. } => "NotWritable",
            Self::NotFenced { .. } => "NotFenced",
            Self::NotPrimary { .. } => "NotPrimary",
            Self::NameTaken { .. } => "DatabaseNameTaken",
            Self::Missing { .. } | Self::NoDatabase { .. } => "DatabaseMissing",
            Self::HalfDropped { .. } => "DatabaseHalfDropped",
            Self::MissingRight { .. } => "AdminPrivilegesInsufficient",
            Self::DropBlocked { .. } => "DatabaseBusy",
            Self::Sql { state, .. } if passes_by_itself(state) => "DatabaseBusy",
            Self::Sql { .. } => "DatabaseError",
            Self::Engine { failure, .. } => failure.reason(),
            Self::Answer { .. } => ProbeFailure::Unexpected.reason(),
        }
    }

    /// How the failure counts as the outcome of a probe.
    pub fn probe_failure(&self) -> ProbeFailure {
        match self {
            Self::Connect { failure, .. } => *failure,
            Self::TimedOut { .. } => ProbeFailure::TimedOut,
            Self::CaInvalid { .. } => ProbeFailure::CertificateInvalid,
            Self::Stale { .. }
            | Self::NotWritable { .. }
            | Self::NotFenced { .. }
            | Self::NotPrimary { .. }
            | Self::NameTaken { .. }
            | Self::Missing { .. }
            | Self::NoDatabase { .. }
            | Self::HalfDropped { .. }
            | Self::DropBlocked { .. }
            | Self::MissingRight { .. }
            | Self::Sql { .. }
            | Self::Engine { .. }
            | Self::Answer { .. } => ProbeFailure::Unexpected,
        }
    }
}

fn connect_class(failure: ProbeFailure) -> Class {
    match failure {
        ProbeFailure::Unreachable
        | ProbeFailure::TimedOut
        | ProbeFailure::TooManyConnections
        | ProbeFailure::NotAccepting => Class::Transient,
        ProbeFailure::CertificateInvalid
        | ProbeFailure::CredentialsDenied
        | ProbeFailure::WrongServer
        | ProbeFailure::VersionUnsupported => Class::Config,
        ProbeFailure::Unexpected => Class::Provider,
    }
}

/// Serialisation, locks, resources, an object in use or made by someone else at the same moment.
fn passes_by_itself(state: &str) -> bool {
    state.starts_with("40")
        || state.starts_with("53")
        || matches!(
            state,
            "55P03" | "55006" | "57014" | "23505" | "42710" | "42P04" | "XX000"
        )
}

fn next_step(failure: ProbeFailure) -> &'static str {
    match failure {
        ProbeFailure::Unreachable => "check that the server runs and the network lets port through",
        ProbeFailure::TimedOut => "check whether the server hangs or the network drops packets",
        ProbeFailure::CertificateInvalid => {
            "check the CA in caSecretRef, and that the server's certificate names this host"
        }
        ProbeFailure::CredentialsDenied => "check the user and password, and pg_hba.conf",
        ProbeFailure::TooManyConnections => "raise max_connections or the login's limit",
        ProbeFailure::NotAccepting => "wait until the server has started",
        ProbeFailure::WrongServer => "check host and port, or accept the new server",
        ProbeFailure::VersionUnsupported => "upgrade PostgreSQL to 15 or newer",
        ProbeFailure::Unexpected => "see the server's log",
    }
}

fn authority(found: Option<Authority>) -> String {
    match found {
        None => "the server has no authority row".into(),
        Some(row) if row.writable => format!("the server is writable under epoch {}", row.epoch),
        Some(row) => format!("the server is fenced at epoch {}", row.epoch),
    }
}

fn owned(marker: Option<&str>) -> String {
    match marker {
        Some(uid) => format!("belongs to the placement with UID {uid}"),
        None => "was not made by Domicile".into(),
    }
}
