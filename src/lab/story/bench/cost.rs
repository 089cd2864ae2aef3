//! What the operator took of the API server, of the database server and of the machine.

use jiff::Timestamp;

use super::sites::Sites;
use super::usage::Usage;
use crate::error::Result;
use crate::story::audit::calls;
use crate::story::stage::Stage;

/// What something took, by each of what it was divided by. Leases are left out, heartbeats too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Writes to the API server but of events.
    pub(super) writes: f64,
    /// Events.
    pub(super) events: f64,
    /// Reads of the API server, with watches that ended.
    pub(super) reads: f64,
    /// Sessions that were opened on the database servers, by whomever.
    pub(super) sessions: f64,
    /// Transactions of the database servers that wrote.
    pub(super) transactions: f64,
    /// Processor time of the operator's processes, in seconds.
    pub(super) cpu: f64,
}

/// A moment from which, or until which, costs count.
pub(super) struct Mark {
    /// Of each call since the reading before.
    pub(super) moments: Vec<Timestamp>,
    /// Calls until then: writes, events, reads.
    calls: [u64; 3],
    sessions: i64,
    transactions: i64,
    cpu: f64,
}

/// Counts what the operator calls, and reads each line of the API server's log once: with
/// thousands of placements they are millions.
pub(super) struct Meter<'a> {
    sites: &'a Sites,
    /// As far as the log was read.
    place: u64,
    /// Calls until then: writes, events, reads.
    calls: [u64; 3],
}

impl<'a> Meter<'a> {
    pub(super) fn of(sites: &'a Sites) -> Self {
        Self {
            sites,
            place: 0,
            calls: [0; 3],
        }
    }

    /// Reads on, and answers the moments of the calls since it last did.
    pub(super) fn read(&mut self, stage: &Stage) -> Result<Vec<Timestamp>> {
        let (told, place) = calls(&stage.lab, self.place)?;
        self.place = place;
        let told = told.iter().filter(|call| call.resource != "leases");
        let counted = told.map(|call| {
            let kind = match (call.writes(), &*call.resource) {
                (true, "events") => 1,
                (true, _) => 0,
                (false, _) => 2,
            };
            self.calls[kind] += 1;
            call.at
        });
        Ok(counted.collect())
    }

    /// What was taken until now.
    pub(super) fn mark(&mut self, stage: &Stage) -> Result<Mark> {
        let moments = self.read(stage)?;
        let sessions = "SELECT sum(sessions)::bigint FROM pg_stat_database";
        let written = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        let but_beats = format!("{written} - sequence FROM domicile.heartbeat");
        Ok(Mark {
            moments,
            calls: self.calls,
            sessions: self.sites.sum(stage, (sessions, sessions))?,
            transactions: self.sites.sum(stage, (&but_beats, written))?,
            cpu: Usage::now(stage.space())?.cpu,
        })
    }
}

impl Mark {
    /// What was taken since `start`, divided by `by`.
    pub(super) fn since(&self, start: &Self, by: f64) -> Cost {
        let [writes, events, reads] = [0, 1, 2].map(|kind| {
            let (now, then) = (self.calls[kind], start.calls[kind]);
            now.saturating_sub(then) as f64 / by
        });
        Cost {
            writes,
            events,
            reads,
            sessions: (self.sessions - start.sessions) as f64 / by,
            transactions: (self.transactions - start.transactions) as f64 / by,
            cpu: (self.cpu - start.cpu) / by,
        }
    }
}
