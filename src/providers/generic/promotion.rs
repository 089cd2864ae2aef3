//! Making a standby the primary, and naming the standby that commits wait for.

use std::time::Duration;

use domicile_core::facts::Epoch;
use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::interval;

use super::Generic;
use super::authority::{Need, check, confirm, lock, read_authority};
use crate::applied::Applied;
use crate::error::ProviderError;
use crate::session::{Session, truth};

/// Between two looks at a promotion.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Generic {
    /// Makes the standby a primary and waits until it is one. First it clears its own list of
    /// synchronous standbys: with a dead one in it, the new primary would hang at its first commit.
    ///
    /// # Errors
    /// `Stale` when the row that it replayed is of a newer epoch. `TimedOut` leaves the outcome
    /// open: read the role, never promote another.
    pub async fn promote(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        if prepare(&session, epoch).await? == Applied::Already {
            session.close().await;
            return Ok(Applied::Already);
        }
        // Own polling: the waiting form keeps a session busy and reports a timeout as a warning.
        session.run("promoting", "SELECT pg_promote(false)").await?;
        until_primary(&session).await?;
        session.close().await;
        Ok(Applied::Done)
    }

    /// Makes the standby ready for something else than SQL to promote it: `Already` when it is a
    /// primary.
    ///
    /// # Errors
    /// `Stale` when the row that it replayed is of a newer epoch.
    pub async fn prepare_promotion(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let prepared = prepare(&session, epoch).await?;
        session.close().await;
        Ok(prepared)
    }

    /// Waits until the server is a primary.
    ///
    /// # Errors
    /// `TimedOut` when it is none at the deadline.
    pub async fn await_primary(&self) -> Result<(), ProviderError> {
        let session = self.effects(self.deadline()).await?;
        until_primary(&session).await?;
        session.close().await;
        Ok(())
    }

    /// Makes commits wait for the one named standby, or for none. An empty name names none.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`.
    pub async fn set_synchronous(
        &self,
        standby: Option<&str>,
        epoch: Epoch,
    ) -> Result<Applied, ProviderError> {
        let standby = standby.filter(|name| !name.is_empty());
        let names = standby.map(quote_identifier).unwrap_or_default();
        let deadline = self.deadline();
        let guard = self.effects(deadline).await?;
        confirm(&guard, epoch).await?;
        if names_are(&guard, &names).await? {
            guard.close().await;
            return Ok(Applied::Already);
        }
        // The statement refuses to run in a transaction, so another session holds the row.
        lock(&guard, epoch, Need::Writable).await?;
        let session = self.effects(deadline).await?;
        let applied = set_names(&session, &names).await?;
        guard.run("releasing the authority row", "COMMIT").await?;
        session.close().await;
        guard.close().await;
        Ok(applied)
    }
}

/// Checks the row of a standby and clears its own list of synchronous standbys.
async fn prepare(session: &Session, epoch: Epoch) -> Result<Applied, ProviderError> {
    if let Some(row) = read_authority(session).await? {
        check(session, Some(row), epoch, Need::NotNewer)?;
    }
    if !in_recovery(session).await? {
        return Ok(Applied::Already);
    }
    set_names(session, "").await?;
    Ok(Applied::Done)
}

async fn until_primary(session: &Session) -> Result<(), ProviderError> {
    let mut pace = interval(LOOK_AGAIN);
    while in_recovery(session).await? {
        pace.tick().await;
    }
    Ok(())
}

async fn set_names(session: &Session, names: &str) -> Result<Applied, ProviderError> {
    let doing = "setting the synchronous standby";
    if names_are(session, names).await? {
        return Ok(Applied::Already);
    }
    session.run(doing, &names_sql(names)).await?;
    session.run(doing, "SELECT pg_reload_conf()").await?;
    let mut pace = interval(LOOK_AGAIN);
    while !names_are(session, names).await? {
        pace.tick().await;
    }
    Ok(Applied::Done)
}

pub(super) fn names_sql(names: &str) -> String {
    let names = quote_literal(names);
    format!("ALTER SYSTEM SET synchronous_standby_names = {names}")
}

async fn names_are(session: &Session, names: &str) -> Result<bool, ProviderError> {
    let names = quote_literal(names);
    let sql = format!("SELECT current_setting('synchronous_standby_names') = {names} AS so");
    let rows = session
        .rows("reading the synchronous standby", &sql)
        .await?;
    Ok(rows.first().is_some_and(|row| truth(row, "so")))
}

pub(super) async fn in_recovery(session: &Session) -> Result<bool, ProviderError> {
    let doing = "reading the server's role";
    let rows = session
        .rows(doing, "SELECT pg_is_in_recovery() AS standby")
        .await?;
    let row = rows.first().ok_or_else(|| session.odd(doing, "no row"))?;
    Ok(truth(row, "standby"))
}
