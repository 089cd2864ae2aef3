//! The seat of the agent beside a server: of its replicas the one acts that holds a lock of the
//! server itself. No other store decides, and a server that does not answer has no seat to give.

use std::time::Duration;

use domicile_core::facts::Facts;
use domicile_core::time::Mono;
use tokio::time::Instant;

use super::Generic;
use super::probe::read_in;
use crate::error::ProviderError;
use crate::session::{Session, truth};

/// Key of the advisory lock: the letters of the product.
const LOCK: &str = "pg_catalog.hashtext('domicile.dev/agent')";

/// A held seat. Dropped, or silent for its idle time, it is free for the next replica.
pub struct Seat {
    session: Session,
    limit: Duration,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("server", &self.session.server)
            .finish_non_exhaustive()
    }
}

impl Generic {
    /// Takes the seat; `None` while another replica holds it. The server ends it once it was not
    /// used for `idle`, so that a replica that stands still gives way.
    pub async fn take_seat(&self, idle: Duration) -> Result<Option<Seat>, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let sql = format!(
            "SET idle_session_timeout = {}; SELECT pg_try_advisory_lock({LOCK}) AS taken",
            idle.as_millis()
        );
        let rows = session.rows("taking the agent's seat", &sql).await?;
        if rows.first().is_some_and(|row| truth(row, "taken")) {
            let limit = self.limit;
            return Ok(Some(Seat { session, limit }));
        }
        session.close().await;
        Ok(None)
    }
}

impl Seat {
    /// Reads the server in the seat's own session.
    ///
    /// # Errors
    /// The session is gone, and the seat with it: drop it and take it anew.
    pub async fn look(&mut self, now: Mono) -> Result<Facts, ProviderError> {
        let began = Instant::now();
        self.session.deadline = began + self.limit;
        read_in(&self.session, now, began).await
    }
}
