//! What a tenant holds that an effect on its roles waits for: a transaction that changed a role and
//! does not end, in a session or prepared.

use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;

use super::Generic;
use super::sql::TENANTS;
use crate::error::ProviderError;
use crate::session::{Session, text};

const DOING: &str = "ending what holds a tenant's role";

/// Most prepared transactions that are ended at once.
const LIMIT: u32 = 64;

impl Generic {
    /// Ends the sessions and prepared transactions of tenants that changed a role and keep that
    /// open: everybody who changes the same role waits for them. Nothing else of theirs is touched.
    ///
    /// # Errors
    /// What keeps the server from ending one.
    pub(super) async fn release_roles(
        &self,
        guard: &Session,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        guard.run(DOING, &holders_sql()).await?;
        for row in guard.rows(DOING, &prepared_sql()).await? {
            let column = |name| text(&row, name).unwrap_or_default().to_owned();
            let (gid, owner, database) = (column("gid"), column("owner"), column("database"));
            guard.run(DOING, &joined(&owner, guard.major)).await?;
            let session = self.hosted(guard, &database, &owner, deadline).await?;
            session.run(DOING, &rolled_back(&gid)).await?;
            session.close().await;
        }
        Ok(())
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
        "WITH {TENANTS} SELECT p.gid, p.owner, p.database FROM pg_prepared_xacts p
         JOIN pg_locks own ON own.locktype = 'transactionid' AND own.transactionid = p.transaction
           AND own.granted AND own.mode = 'ExclusiveLock'
         WHERE p.owner IN (SELECT rolname FROM domicile_roles) AND EXISTS (
           SELECT FROM pg_locks l WHERE l.virtualtransaction = own.virtualtransaction
             AND l.pid IS NULL AND l.relation = 'pg_authid'::regclass
             AND l.mode = 'RowExclusiveLock')
         ORDER BY p.prepared LIMIT {LIMIT}"
    )
}
