//! PostgreSQL, exact in what matters for safety: who may acknowledge a write, what a standby holds,
//! and what a conditional statement finds.

use std::collections::BTreeSet;

use domicile_core::facts::{
    Authority, Epoch, Facts, Heartbeat, Lsn, Receiver, Role, Sender, Synchrony,
};
use domicile_core::time::Mono;

use crate::fault::Ms;

/// The policy's servers; one more stands in a region of its own.
pub(crate) const MEMBERS: usize = 3;
pub(crate) const SERVERS: usize = 4;
pub(crate) const HOME: usize = 0;
pub(crate) const NAMES: [&str; SERVERS] = ["west", "central", "north", "elsewhere"];

/// Longest silence of a live but idle stream.
pub(crate) const PATIENCE: Ms = 1000;

/// One record of the write-ahead log, and what all up to it amount to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// No two records of a run have one: equal last records mean equal logs.
    pub id: u64,
    pub commit: Option<u32>,
    pub row: Authority,
    pub beat: Option<usize>,
}

/// A commit that waits for the synchronous standby.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub position: usize,
    pub commit: u32,
    pub client: usize,
}

/// A standby's connection to its primary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub heard: Ms,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub at: usize,
    pub running: bool,
    pub frozen_until: Ms,
    pub paused_until: Ms,
    pub role: Role,
    pub timeline: u32,
    pub log: Vec<Entry>,
    pub replayed: usize,
    pub upstream: Option<usize>,
    pub stream: Option<Stream>,
    /// The standby that each commit waits for.
    pub names: Option<usize>,
    pub sessions: BTreeSet<usize>,
    pub waiting: Vec<Waiting>,
    /// What each standby confirmed, and when it last did.
    pub confirmed: [(usize, Option<Ms>); SERVERS],
    /// How many promotions the run had seen when this server was promoted.
    pub term: u32,
    /// Started as a process so often; what was begun before is gone.
    pub starts: u32,
    /// The agent that acts for it, and when it last did.
    pub seat: Option<((usize, u32), Ms)>,
    /// Since when it runs as it does.
    pub settled: Ms,
    /// A person promoted it, and the policy says that another is active.
    pub by_hand: bool,
}

impl Server {
    pub(crate) fn new(at: usize) -> Self {
        let standby = at != HOME && at < MEMBERS;
        let first = Entry {
            id: 0,
            commit: None,
            row: Authority {
                epoch: Epoch(1),
                writable: true,
            },
            beat: None,
        };
        Self {
            at,
            running: true,
            frozen_until: 0,
            paused_until: 0,
            role: if standby {
                Role::Standby
            } else {
                Role::Primary
            },
            timeline: 1,
            log: vec![first],
            replayed: 1,
            upstream: standby.then_some(HOME),
            stream: None,
            names: None,
            sessions: BTreeSet::new(),
            waiting: Vec::new(),
            confirmed: [(0, None); SERVERS],
            term: 0,
            starts: 0,
            seat: None,
            settled: 0,
            by_hand: false,
        }
    }

    pub(crate) fn answers(&self, now: Ms) -> bool {
        self.running && self.frozen_until <= now
    }

    /// It has replayed all that it received and becomes a primary on a timeline of its own.
    pub(crate) fn opens(&mut self, now: Ms) {
        self.role = Role::Primary;
        self.timeline += 1;
        self.names = None;
        self.upstream = None;
        self.stream = None;
        self.replayed = self.log.len();
        self.by_hand = false;
        self.settled = now;
        self.confirmed = Default::default();
    }

    /// Started anew as a standby, of nobody perhaps, with what it holds.
    pub(crate) fn follows(&mut self, upstream: Option<usize>) {
        self.role = Role::Standby;
        self.upstream = upstream;
        self.stream = None;
        self.names = None;
        self.starts += 1;
        self.sessions.clear();
        self.waiting.clear();
        self.by_hand = false;
        self.replayed = self.log.len();
    }

    /// How much of the log counts: all on a primary, the replayed part on a standby.
    pub(crate) fn position(&self) -> usize {
        match self.role {
            Role::Primary => self.log.len(),
            Role::Standby => self.replayed,
        }
    }

    fn shown(&self) -> Option<&Entry> {
        self.log.get(self.position().checked_sub(1)?)
    }

    pub(crate) fn row(&self) -> Authority {
        let none = Authority {
            epoch: Epoch(0),
            writable: true,
        };
        self.shown().map_or(none, |entry| entry.row)
    }

    pub(crate) fn append(&mut self, id: u64, change: impl FnOnce(&mut Entry)) -> usize {
        let mut entry = Entry {
            id,
            commit: None,
            row: self.row(),
            beat: self.shown().and_then(|entry| entry.beat),
        };
        change(&mut entry);
        self.log.push(entry);
        self.replayed = self.log.len();
        self.log.len()
    }

    /// True when all that this server holds is also in `other`'s log, at the same place.
    pub(crate) fn is_part_of(&self, other: &Self) -> bool {
        let last = self.log.len().checked_sub(1);
        last.is_none_or(|at| other.log.get(at).is_some_and(|e| e.id == self.log[at].id))
    }

    /// The walsender for `standby` lives, as this server believes.
    pub(crate) fn feeds(&self, standby: usize, now: Ms) -> bool {
        let last = self.confirmed[standby].1;
        self.role == Role::Primary && last.is_some_and(|at| now - at <= 2 * PATIENCE)
    }

    pub(crate) fn facts(&self, beats: &[Heartbeat], now: Ms, sampled: Mono) -> Facts {
        let standby = self.role == Role::Standby;
        let row = self.row();
        let senders = (0..MEMBERS)
            .filter(|at| self.feeds(*at, now))
            .map(|at| Sender {
                name: NAMES[at].into(),
                streaming: true,
                synchronous: self.names == Some(at),
                replayed: Some(Lsn(self.confirmed[at].0 as u64)),
            });
        let names = self.names.map(|at| format!("\"{}\"", NAMES[at]));
        Facts {
            system_identifier: if self.at < MEMBERS { "7" } else { "8" }.into(),
            major_version: 18,
            version: "18.4".into(),
            role: self.role,
            timeline: self.timeline,
            position: Lsn(self.position() as u64),
            recovered: None,
            received: standby.then_some(Lsn(self.log.len() as u64)),
            receiver: self.stream.filter(|_| standby).map(|stream| Receiver {
                name: NAMES[self.at].into(),
                silent_ms: now - stream.heard,
                patience_ms: PATIENCE,
                timeline: self.timeline,
            }),
            senders: senders.collect(),
            synchrony: Synchrony {
                names: names.unwrap_or_default(),
                relaxed: false,
            },
            authority: Some(row),
            heartbeat: self
                .shown()
                .and_then(|e| e.beat)
                .map(|at| beats[at].clone()),
            tenant_sessions: self.sessions.len() as u32,
            open_logins: u32::from(row.writable),
            missing_rights: Vec::new(),
            slow_logins: false,
            sampled,
            round_trip_ms: 1,
        }
    }
}
