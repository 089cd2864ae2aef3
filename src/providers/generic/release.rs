//! What a tenant holds that an effect on its roles waits for: a transaction that changed a role and
//! does not end, in a session or prepared.

use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;

use super::Generic;
use super::sql::TENANTS;
use crate::error::ProviderError;
use crate::session::{HELD_UP, Session, parsed, text, truth};

const DOING: &str = "ending what holds a tenant's role";

/// Most prepared transactions that are ended at once.
const LIMIT: u32 = 64;

impl Generic {
    /// Ends the sessions and prepared transactions of tenants that changed a role and keep that
    /// open: everybody who changes the same role waits for them. Nothing else of theirs is touched,
    /// but that a tenant's database which lets nobody in is opened: a prepared transaction ends in
    /// its own database alone.
    ///
    /// # Errors
    /// What keeps the server from ending one; all others are ended before it is said.
    pub(super) async fn release_roles(
        &self,
        guard: &Session,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        guard.run(DOING, &holders_sql()).await?;
        let mut kept = Ok(());
        for row in guard.rows(DOING, &prepared_sql()).await? {
            let held = Prepared::of(&row);
            kept = kept.and(self.end_prepared(guard, &held, deadline).await);
        }
        kept
    }

    /// Ends one. What is done for it elsewhere is committed at once: the guard's session may be in
    /// a transaction.
    async fn end_prepared(
        &self,
        guard: &Session,
        held: &Prepared,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let (database, role) = (&*held.database, &*held.role);
        let join = joined(role, guard.major);
        self.alone(DOING, &join, deadline).await?;
        let mut found = self.hosted(guard, database, role, deadline).await;
        let opened = held.opening(guard.major).filter(|_| found.is_err());
        if let Some(sql) = &opened {
            self.alone(DOING, sql, deadline).await?;
            found = self.hosted(guard, database, role, deadline).await;
        }
        let ended = match found {
            Ok(session) => {
                let ended = session.run(DOING, &rolled_back(&held.gid)).await;
                session.close().await;
                ended
            }
            Err(error) => Err(error),
        };
        // Also where it could not be ended: nothing else puts the limit back.
        if let Some(sql) = held.limited().filter(|_| opened.is_some()) {
            return ended.and(self.alone(DOING, &sql, deadline).await);
        }
        ended
    }
}

/// A prepared transaction of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prepared {
    gid: String,
    /// Who prepared it.
    role: String,
    database: String,
    /// Who owns the database, when that is a tenant.
    owner: Option<String>,
    /// The database lets somebody in.
    allowed: bool,
    /// Most connections of the database; negative is any number.
    most: i32,
    /// Who prepared it has the right to connect.
    granted: bool,
}

impl Prepared {
    fn of(row: &SimpleQueryRow) -> Self {
        let column = |name| text(row, name).map(ToOwned::to_owned);
        Self {
            gid: column("gid").unwrap_or_default(),
            role: column("role").unwrap_or_default(),
            database: column("database").unwrap_or_default(),
            owner: column("owner"),
            allowed: truth(row, "allowed"),
            most: parsed(row, "most").unwrap_or(-1),
            granted: truth(row, "granted"),
        }
    }

    /// Undoes what keeps Domicile's login, a member of its owner, from a tenant's database.
    fn opening(&self, major: u32) -> Option<String> {
        let owner = self.owner.as_deref()?;
        let database = quote_identifier(&self.database);
        let steps = [
            (!self.allowed).then(|| format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")),
            (self.most >= 0).then(|| format!("ALTER DATABASE {database} CONNECTION LIMIT -1")),
            (!self.granted).then(|| {
                let owner = quote_identifier(owner);
                format!("GRANT CONNECT ON DATABASE {database} TO {owner}")
            }),
        ];
        let steps: Vec<String> = steps.into_iter().flatten().collect();
        // Its row may be held, too.
        let patience = format!("SET lock_timeout = {}", HELD_UP.as_millis());
        (!steps.is_empty()).then(|| {
            [vec![patience, joined(owner, major)], steps]
                .concat()
                .join("; ")
        })
    }

    /// Puts a limit back that was in the way; that of nobody at all is none.
    fn limited(&self) -> Option<String> {
        let database = quote_identifier(&self.database);
        (self.most > 0).then(|| format!("ALTER DATABASE {database} CONNECTION LIMIT {}", self.most))
    }
}

/// Makes Domicile's login a member of a role, with all its rights.
pub(super) fn joined(role: &str, major: u32) -> String {
    // Before 16, a member may always act as the role.
    let with = if major >= 16 {
        " WITH INHERIT TRUE, SET TRUE"
    } else {
        ""
    };
    format!("GRANT {} TO CURRENT_USER{with}", quote_identifier(role))
}

/// Ends a transaction that was prepared.
pub(super) fn rolled_back(gid: &str) -> String {
    format!("ROLLBACK PREPARED {}", quote_literal(gid))
}

fn holders_sql() -> String {
    format!(
        "WITH {TENANTS} SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
         WHERE a.usesysid IN (SELECT oid FROM domicile_roles) AND a.pid IN (
           SELECT pid FROM pg_locks WHERE granted AND relation = 'pg_authid'::regclass
             AND mode = 'RowExclusiveLock')"
    )
}

/// A prepared transaction is known among the locks by the one that it holds on itself.
fn prepared_sql() -> String {
    format!(
        "WITH {TENANTS} SELECT p.gid, p.owner AS role, p.database, o.rolname AS owner,
           d.datallowconn AS allowed, d.datconnlimit AS most,
           has_database_privilege(p.owner, d.oid, 'CONNECT') AS granted
         FROM pg_prepared_xacts p
         JOIN pg_database d ON d.datname = p.database
         LEFT JOIN domicile_roles o ON o.oid = d.datdba
         JOIN pg_locks own ON own.locktype = 'transactionid' AND own.transactionid = p.transaction
           AND own.granted AND own.mode = 'ExclusiveLock'
         WHERE p.owner IN (SELECT rolname FROM domicile_roles) AND EXISTS (
           SELECT FROM pg_locks l WHERE l.virtualtransaction = own.virtualtransaction
             AND l.pid IS NULL AND l.relation = 'pg_authid'::regclass
             AND l.mode = 'RowExclusiveLock')
         ORDER BY p.prepared LIMIT {LIMIT}"
    )
}
