//! An old primary that came back: what SQL tells of it.

use domicile_core::facts::{Authority, Epoch, Role};
use domicile_core::failover::MAX_DATABASES;

use super::Generic;
use super::authority::read_authority;
use super::promotion::in_recovery;
use super::sql::TENANTS;
use crate::error::ProviderError;
use crate::session::text;

impl Generic {
    /// The databases of tenants whose statistics count writes, at most [`MAX_DATABASES`], by name.
    /// Statistics begin anew when a server recovers from a crash.
    pub async fn written_databases(&self) -> Result<Vec<String>, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let sql = format!(
            "WITH {TENANTS}
             SELECT h.datname FROM held h JOIN pg_stat_database s ON s.datid = h.oid
             WHERE s.tup_inserted + s.tup_updated + s.tup_deleted > 0
             ORDER BY h.datname LIMIT {MAX_DATABASES}"
        );
        let doing = "asking which databases were written to";
        let rows = session.rows(doing, &sql).await?;
        session.close().await;
        let name = |row| text(row, "datname").map(str::to_owned);
        Ok(rows.iter().filter_map(name).collect())
    }

    /// When the server started, in microseconds since 1970.
    ///
    /// # Errors
    /// `Answer` when it does not say.
    pub async fn started(&self) -> Result<i64, ProviderError> {
        let doing = "asking when it started";
        let session = self.effects(self.deadline()).await?;
        let sql = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS at";
        let rows = session.rows(doing, sql).await?;
        session.close().await;
        let told = rows.first().and_then(|row| text(row, "at"));
        told.and_then(|told| told.parse().ok())
            .ok_or_else(|| ProviderError::Answer {
                server: self.server().to_owned(),
                doing,
                fact: "no moment".to_owned(),
            })
    }

    /// The role of a server that holds the fence of exactly `epoch`.
    ///
    /// # Errors
    /// `Stale` when it is at a newer epoch, `NotFenced` when it does not hold that fence.
    pub async fn fenced_role(&self, epoch: Epoch) -> Result<Role, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let recovering = in_recovery(&session).await?;
        let found = read_authority(&session).await?;
        session.close().await;
        let server = self.server().to_owned();
        let wanted = Authority {
            epoch,
            writable: false,
        };
        match found {
            Some(row) if row.epoch > epoch => Err(ProviderError::Stale {
                server,
                found: row.epoch,
                presented: epoch,
            }),
            Some(row) if row == wanted => Ok(if recovering {
                Role::Standby
            } else {
                Role::Primary
            }),
            found => Err(ProviderError::NotFenced {
                server,
                found,
                presented: epoch,
            }),
        }
    }
}
