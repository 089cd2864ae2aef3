//! A server as its Region describes it: SQL for what every PostgreSQL does, and its engine for what
//! SQL cannot do.

use crate::applied::Applied;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::patroni::Patroni;
use domicile_core::facts::Epoch;

/// What promotes a server.
#[derive(Debug, Clone)]
enum Means {
    /// SQL.
    Sql,
    /// Patroni.
    Patroni(Patroni),
}

/// A server and what promotes it.
#[derive(Debug, Clone)]
pub struct Managed {
    sql: Generic,
    means: Means,
}

impl Managed {
    /// A server that is promoted by SQL.
    pub fn generic(sql: Generic) -> Self {
        let means = Means::Sql;
        Self { sql, means }
    }

    /// A server that Patroni runs.
    pub fn patroni(sql: Generic, patroni: Patroni) -> Self {
        let means = Means::Patroni(patroni);
        Self { sql, means }
    }

    /// Makes the standby a primary and waits until it is one by its own account.
    ///
    /// # Errors
    /// `Stale` when the row that it replayed is of a newer epoch. `TimedOut` leaves the outcome
    /// open: read the role, never promote another. `Engine` when Patroni did not take it up.
    pub async fn promote(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        match &self.means {
            Means::Sql => self.sql.promote(epoch).await,
            Means::Patroni(patroni) => {
                if self.sql.prepare_promotion(epoch).await? == Applied::Already {
                    return Ok(Applied::Already);
                }
                patroni.promote().await?;
                // Patroni answers as a primary before its server is one.
                self.sql.await_primary().await?;
                Ok(Applied::Done)
            }
        }
    }
}
