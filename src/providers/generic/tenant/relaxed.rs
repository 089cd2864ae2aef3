//! A tenant's own settings that let its commits be acknowledged before the synchronous standby has
//! them (ADR 37).

use domicile_core::names::quote_identifier;
use tokio_postgres::SimpleQueryRow;

use super::change::Changes;
use crate::generic::sql::RELAXES;
use crate::session::text;

/// A setting of `synchronous_commit`: of one role, in one database or in all; or of one database,
/// for all roles.
#[derive(Debug, Clone)]
pub(super) enum Relaxed {
    Role {
        role: String,
        within: Option<String>,
    },
    Database(String),
}

impl Relaxed {
    pub(super) fn of(row: &SimpleQueryRow) -> Option<Self> {
        let named = |column| text(row, column).map(str::to_owned);
        match (named("role"), named("database")) {
            (Some(role), within) => Some(Self::Role { role, within }),
            (None, database) => database.map(Self::Database),
        }
    }

    /// Has commits wait again, or tells that they do not where the database `keeps` what it has.
    pub(super) fn taken_back(&self, keeps: bool, all: &mut Changes) {
        let quoted = quote_identifier;
        let (what, whose) = match self {
            Self::Role {
                role,
                within: Some(database),
            } => (
                format!("role {role} in database {database}"),
                format!("ROLE {} IN DATABASE {}", quoted(role), quoted(database)),
            ),
            Self::Role { role, within: None } => {
                (format!("role {role}"), format!("ROLE {}", quoted(role)))
            }
            Self::Database(name) => (
                format!("database {name}"),
                format!("DATABASE {}", quoted(name)),
            ),
        };
        all.takes(
            keeps,
            (
                format!("commits of {what} do not wait for the synchronous standby"),
                format!("commits of {what} did not wait for the synchronous standby"),
            ),
            format!("ALTER {whose} RESET synchronous_commit"),
        );
    }
}

/// Those of these roles, and of this database; none on a server without a synchronous standby. Both
/// are SQL: a list of literals, and one.
pub(super) fn sql(roles: &str, database: &str) -> String {
    format!(
        "SELECT r.rolname AS role, d.datname AS database
FROM pg_db_role_setting s
LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
WHERE current_setting('synchronous_standby_names') <> '' AND {RELAXES}
  AND (r.rolname IN ({roles}) OR s.setrole = 0 AND d.datname = {database})
ORDER BY role NULLS FIRST, database NULLS FIRST"
    )
}
