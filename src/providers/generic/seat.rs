//! The seat of the agent beside a server: of its replicas the one renews that holds a lock of the
//! server itself. No other store decides, and a server that does not answer has no seat to give.

use std::time::Duration;

use domicile_core::facts::{Epoch, Facts};
use domicile_core::time::Mono;
use tokio::time::Instant;

use super::Generic;
use super::authority::Fenced;
use super::probe::read_in;
use crate::error::ProviderError;
use crate::session::{Session, truth};

/// Key of the advisory lock: the letters `domi`, and 1.
const LOCK: &str = "1685024105, 1";
const DOING: &str = "taking the agent's seat";

/// A held seat. Dropped, or silent for its idle time, it is free for the next replica.
pub struct Seat {
    server: Generic,
    session: Session,
    limit: Duration,
    idle: Duration,
    answered: Instant,
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
    /// used for `idle`, so that a replica that stands still gives way. Whoever else holds the lock,
    /// as a tenant may who knows its key, is sent away.
    pub async fn take_seat(&self, idle: Duration) -> Result<Option<Seat>, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let sql = format!(
            "SET idle_session_timeout = {}; SELECT pg_try_advisory_lock({LOCK}) AS taken",
            idle.as_millis()
        );
        let rows = session.rows(DOING, &sql).await?;
        if rows.first().is_some_and(|row| truth(row, "taken")) {
            return Ok(Some(Seat {
                server: self.clone(),
                session,
                limit: self.limit,
                idle,
                answered: Instant::now(),
            }));
        }
        // A superuser cannot be sent away, and is not meant.
        drop(session.run(DOING, SEND_AWAY).await);
        session.close().await;
        Ok(None)
    }
}

const SEND_AWAY: &str = "
SELECT pg_terminate_backend(l.pid)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted
  AND (l.classid, l.objid, l.objsubid) = (1685024105, 1, 2)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.usename IS DISTINCT FROM session_user";

impl Seat {
    /// Reads the server in the seat's own session; `None` when the answer is late, and the seat is
    /// held on.
    ///
    /// # Errors
    /// The session is gone, and the seat with it: drop it and take it anew.
    pub async fn look(&mut self, now: Mono) -> Result<Option<Facts>, ProviderError> {
        let began = Instant::now();
        self.session.deadline = began + self.limit;
        match read_in(&self.session, now, began).await {
            Ok(facts) => {
                self.answered = began;
                Ok(Some(facts))
            }
            Err(ProviderError::TimedOut { .. }) if self.answered.elapsed() < self.idle => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fences the server in the seat's own session, for which no login is needed: a server whose
    /// connections are exhausted is fenced, too.
    ///
    /// # Errors
    /// `Stale` when the server is at a newer epoch; as [`Generic::fence`] otherwise.
    pub async fn fence(&mut self, epoch: Epoch, limit: Duration) -> Result<Fenced, ProviderError> {
        self.session.deadline = Instant::now() + limit;
        let fenced = self.server.fence_in(&self.session, epoch).await?;
        self.answered = Instant::now();
        Ok(fenced)
    }
}
