//! A small world of servers, links and clients, exact in what matters for safety: who may
//! acknowledge a write, and what a promoted standby holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Authority, Epoch, Facts, Heartbeat, Lsn, Receiver, Role, Sender, Synchrony};
use crate::health::{Probe, ProbeFailure};
use crate::names::{RegionName, ServerId};
use crate::time::Mono;

pub(super) const HOME: usize = 0;
pub(super) const NAMES: [&str; 3] = ["west", "central", "abroad"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Commit(u32),
    Row(Authority),
    Beat(Heartbeat),
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub running: bool,
    pub linked: bool,
    pub role: Role,
    pub timeline: u32,
    pub log: Vec<Entry>,
    pub upstream: Option<usize>,
    pub synchronous: Option<usize>,
    /// Clients with an open session.
    pub sessions: BTreeSet<usize>,
    /// Commits written here that wait for the synchronous standby, with their client.
    pub waiting: Vec<(u32, usize)>,
    /// How many promotions the world had seen when this server was promoted.
    pub term: u32,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub clock_ms: u64,
    pub servers: Vec<Server>,
    pub acknowledged: BTreeMap<u32, u64>,
    pub next_commit: u32,
    pub terms: u32,
    /// Acknowledgements by a server after another had been promoted.
    pub superseded_acks: u32,
    /// Commits acknowledged and missing on the server that was just promoted, with their time.
    pub lost: Vec<(u32, u64)>,
    pub promotions: Vec<(Epoch, usize)>,
}

impl World {
    pub(super) fn new(synchronous: bool) -> Self {
        let server = |role, upstream| Server {
            running: true,
            linked: true,
            role,
            timeline: 1,
            log: vec![Entry::Row(Authority {
                epoch: Epoch(1),
                writable: true,
            })],
            upstream,
            synchronous: None,
            sessions: BTreeSet::new(),
            waiting: Vec::new(),
            term: 0,
        };
        let mut servers = vec![
            server(Role::Primary, None),
            server(Role::Standby, Some(HOME)),
            server(Role::Standby, Some(HOME)),
        ];
        servers[HOME].synchronous = synchronous.then_some(1);
        Self {
            clock_ms: 1_000_000,
            servers,
            acknowledged: BTreeMap::new(),
            next_commit: 0,
            terms: 0,
            superseded_acks: 0,
            lost: Vec::new(),
            promotions: Vec::new(),
        }
    }

    pub(super) fn row(&self, at: usize) -> Authority {
        let none = Authority {
            epoch: Epoch(0),
            writable: true,
        };
        let mut rows = self.servers[at].log.iter().rev();
        rows.find_map(|e| {
            if let Entry::Row(row) = e {
                Some(*row)
            } else {
                None
            }
        })
        .unwrap_or(none)
    }

    fn beat(&self, at: usize) -> Option<Heartbeat> {
        let mut entries = self.servers[at].log.iter().rev();
        entries.find_map(|e| {
            if let Entry::Beat(b) = e {
                Some(b.clone())
            } else {
                None
            }
        })
    }

    /// The standby's stream is up.
    pub(super) fn streams(&self, standby: usize) -> Option<usize> {
        let it = &self.servers[standby];
        let upstream = it.upstream.filter(|_| it.running && it.linked)?;
        let from = &self.servers[upstream];
        let same_history = from.timeline == it.timeline && from.log.starts_with(&it.log);
        (from.running && from.linked && from.role == Role::Primary && same_history)
            .then_some(upstream)
    }

    /// The standby receives and replays all that its primary has; commits waiting for it are
    /// acknowledged.
    pub(super) fn replicate(&mut self, standby: usize) {
        let Some(upstream) = self.streams(standby) else {
            return;
        };
        self.servers[standby].log = self.servers[upstream].log.clone();
        if self.servers[upstream].synchronous == Some(standby) {
            for (commit, _) in std::mem::take(&mut self.servers[upstream].waiting) {
                self.acknowledge(upstream, commit);
            }
        }
    }

    /// Commits wait for nobody any more, and those that waited are acknowledged.
    pub(super) fn relax(&mut self, at: usize) {
        self.servers[at].synchronous = None;
        for (commit, _) in std::mem::take(&mut self.servers[at].waiting) {
            self.acknowledge(at, commit);
        }
    }

    fn acknowledge(&mut self, at: usize, commit: u32) {
        let term = self.servers[at].term;
        if term < self.terms {
            self.superseded_acks += 1;
            return;
        }
        self.acknowledged.insert(commit, self.clock_ms);
    }

    /// A client writes to a server; `inside` the server's own region no link is needed.
    pub(super) fn write(&mut self, client: usize, at: usize, inside: bool) {
        let open = self.row(at).writable;
        let server = &mut self.servers[at];
        let reaches = server.running && (server.linked || inside) && server.role == Role::Primary;
        if !reaches || !(open || server.sessions.contains(&client)) {
            return;
        }
        server.sessions.insert(client);
        let commit = self.next_commit;
        self.next_commit += 1;
        self.servers[at].log.push(Entry::Commit(commit));
        match self.servers[at].synchronous {
            None => self.acknowledge(at, commit),
            Some(standby) => {
                self.servers[at].waiting.push((commit, client));
                if self.streams(standby) == Some(at) {
                    self.replicate(standby);
                }
            }
        }
    }

    pub(super) fn kill(&mut self, at: usize) {
        self.servers[at].running = false;
        self.servers[at].sessions.clear();
        self.servers[at].waiting.clear();
    }

    /// What a database administrator does with a fenced old primary: rewind, then stream.
    pub(super) fn rejoin(&mut self, at: usize) {
        let fenced = !self.row(at).writable && self.servers[at].sessions.is_empty();
        let newest = (0..self.servers.len())
            .filter(|i| *i != at && self.servers[*i].role == Role::Primary)
            .filter(|i| self.servers[*i].running && self.row(*i).writable)
            .max_by_key(|i| self.servers[*i].term);
        let behind = newest.is_some_and(|new| {
            self.servers[at].role == Role::Standby && self.streams(at) != Some(new)
        });
        let Some(new) = newest.filter(|_| self.servers[at].running) else {
            return;
        };
        if behind || (self.servers[at].role == Role::Primary && fenced) {
            let (log, timeline) = (self.servers[new].log.clone(), self.servers[new].timeline);
            let server = &mut self.servers[at];
            server.role = Role::Standby;
            server.upstream = Some(new);
            server.synchronous = None;
            server.log = log;
            server.timeline = timeline;
        }
    }

    /// A conditional change of the authority row, as the provider makes it.
    pub(super) fn set_row(&mut self, at: usize, row: Authority, end_sessions: bool) {
        let reaches = self.servers[at].running && self.servers[at].linked;
        if !reaches || self.servers[at].role != Role::Primary || self.row(at).epoch > row.epoch {
            return;
        }
        if self.row(at) != row {
            self.servers[at].log.push(Entry::Row(row));
        }
        if end_sessions {
            self.servers[at].sessions.clear();
            self.servers[at].waiting.clear();
        }
    }

    pub(super) fn heartbeat(&mut self, at: usize, beat: Heartbeat) {
        let row = self.row(at);
        let server = &self.servers[at];
        let reaches = server.running && server.linked && server.role == Role::Primary;
        if reaches && row.writable && row.epoch == beat.epoch {
            self.servers[at].log.push(Entry::Beat(beat));
        }
    }

    pub(super) fn promote(&mut self, at: usize, epoch: Epoch) {
        let reaches = self.servers[at].running && self.servers[at].linked;
        if !reaches || self.servers[at].role == Role::Primary || self.row(at).epoch > epoch {
            return;
        }
        self.terms += 1;
        let server = &mut self.servers[at];
        server.role = Role::Primary;
        server.timeline += 1;
        server.synchronous = None;
        server.upstream = None;
        server.term = self.terms;
        let held: BTreeSet<u32> = server
            .log
            .iter()
            .filter_map(|e| {
                if let Entry::Commit(id) = e {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect();
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|(id, _)| !held.contains(id))
            .map(|(i, t)| (*i, *t))
            .collect();
        for (id, _) in &lost {
            self.acknowledged.remove(id);
        }
        self.lost = lost;
        self.promotions.push((epoch, at));
    }

    pub(super) fn probe(&self, at: usize) -> Probe {
        let server = &self.servers[at];
        if !server.running || !server.linked {
            return Probe::Failed(ProbeFailure::Unreachable, String::new());
        }
        let position = Lsn(server.log.len() as u64);
        let senders = (0..self.servers.len())
            .filter(|s| self.streams(*s) == Some(at))
            .map(|s| Sender {
                name: NAMES[s].into(),
                streaming: true,
                synchronous: server.synchronous == Some(s),
                replayed: Some(Lsn(self.servers[s].log.len() as u64)),
            })
            .collect();
        let names = server
            .synchronous
            .map_or_else(String::new, |s| format!("\"{}\"", NAMES[s]));
        let standby = server.role == Role::Standby;
        let row = self.row(at);
        Probe::Answered(Box::new(Facts {
            system_identifier: "7".into(),
            major_version: 18,
            version: "18.4".into(),
            role: server.role,
            timeline: server.timeline,
            position,
            received: standby.then_some(position),
            receiver: self.streams(at).map(|_| Receiver {
                name: NAMES[at].into(),
                silent_ms: 0,
                patience_ms: 1000,
                timeline: server.timeline,
            }),
            senders,
            synchrony: Synchrony {
                names,
                relaxed: false,
            },
            authority: Some(row),
            heartbeat: self.beat(at),
            tenant_sessions: server.sessions.len() as u32,
            open_logins: u32::from(row.writable),
            missing_rights: Vec::new(),
            sampled: Mono(self.clock_ms),
            round_trip_ms: 1,
        }))
    }
}

pub(super) fn region(at: usize) -> RegionName {
    RegionName::new(NAMES[at])
}

pub(super) fn server_id(at: usize) -> ServerId {
    ServerId::new(NAMES[at], "main")
}

pub(super) fn index(region: &RegionName) -> usize {
    NAMES
        .iter()
        .position(|name| *name == region.as_str())
        .unwrap_or(HOME)
}
