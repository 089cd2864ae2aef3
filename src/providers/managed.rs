//! A server as its Region describes it: SQL for what every PostgreSQL does, and its engine for what
//! SQL cannot do.

use crate::applied::Applied;
use crate::error::{EngineFailure, ProviderError};
use crate::generic::Generic;
use crate::patroni::{Patroni, Upstream};
use domicile_core::facts::{Epoch, Lsn, Role};
use domicile_core::failover::Rejoin;

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
                self.same("promoting", patroni).await?;
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

    /// Makes a fenced old primary a standby of `upstream`. Returns when it is under way: what only
    /// this server holds is lost from here on.
    ///
    /// # Errors
    /// `Stale` or `NotFenced` unless the server holds the fence of exactly `epoch`. `Engine` when
    /// nothing can do it, or Patroni did not take it up.
    pub async fn rejoin(
        &self,
        epoch: Epoch,
        upstream: &Upstream,
        how: Rejoin,
    ) -> Result<Applied, ProviderError> {
        let patroni = self.engine("rejoining")?;
        if self.sql.fenced_role(epoch).await? == Role::Standby {
            return Ok(Applied::Already);
        }
        self.same("rejoining", patroni).await?;
        match how {
            Rejoin::Manual => Ok(Applied::Already),
            Rejoin::Rewind => patroni.rejoin(upstream, false).await,
            Rejoin::Reclone => patroni.rejoin(upstream, true).await,
        }
    }

    /// One step towards a timeline that no other server has, for a fenced old primary whose engine
    /// began one of its own when it came back.
    ///
    /// # Errors
    /// As [`Managed::rejoin`].
    pub async fn outgrow(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        let doing = "beginning a timeline of its own";
        let patroni = self.engine(doing)?;
        let role = self.sql.fenced_role(epoch).await?;
        self.same(doing, patroni).await?;
        patroni.outgrow(role == Role::Standby).await
    }

    /// Where the server's timelines before the present one ended, oldest first, as what runs it
    /// wrote down last: it may be of an earlier timeline of the same number.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn ends(&self) -> Result<Vec<(u32, Lsn)>, ProviderError> {
        let doing = "asking where its timelines ended";
        let patroni = self.engine(doing)?;
        self.same(doing, patroni).await?;
        patroni.ends(doing).await
    }

    /// Whether what promotes the server answers, lets us in, and runs this server, as far as that
    /// answers itself.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn check(&self) -> Result<(), ProviderError> {
        let Means::Patroni(patroni) = &self.means else {
            return Ok(());
        };
        patroni.check().await?;
        match self.sql.started().await {
            Ok(started) => patroni.runs("asking for its state", started).await,
            // Probes tell that.
            Err(_) => Ok(()),
        }
    }

    /// What Patroni is asked for must happen to the server that SQL has looked at.
    async fn same(&self, doing: &'static str, patroni: &Patroni) -> Result<(), ProviderError> {
        patroni.runs(doing, self.sql.started().await?).await
    }

    fn engine(&self, doing: &'static str) -> Result<&Patroni, ProviderError> {
        match &self.means {
            Means::Patroni(patroni) => Ok(patroni),
            Means::Sql => Err(ProviderError::Engine {
                server: self.sql.server().to_owned(),
                doing,
                failure: EngineFailure::Invalid,
                fact: "does not run this server".to_owned(),
            }),
        }
    }
}
