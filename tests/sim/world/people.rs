//! What people do: they ask, approve, relax, and rejoin what waits for them.

use std::collections::BTreeSet;
use std::rc::Rc;

use domicile_core::facts::{Epoch, Role};
use domicile_core::failover::{Accept, MoveKind, State, Stored};
use domicile_core::names::RegionName;

use super::database::{MEMBERS, NAMES, Server};
use super::hub::{Evidence, Operation, Policy, Progress};
use super::{Event, World};
use crate::fault::{Ms, Place, Watch, Wish};

/// How long after a person relaxed commits the machine may not have seen it: it reads the server
/// once a second. `failover.md` declares this hole.
const UNSEEN: Ms = 5_000;

pub(crate) fn region(at: usize) -> RegionName {
    RegionName::new(NAMES[at])
}

pub(crate) fn index(region: &RegionName) -> usize {
    let found = NAMES.iter().position(|name| *name == region.as_str());
    found.unwrap_or(0)
}

impl World {
    pub(crate) fn ask(&mut self, number: usize, wish: Wish, to: usize, accept: bool, stale: bool) {
        let epoch = self.hub.policy.stored.epoch;
        let operation = Operation {
            version: self.hub.next_version(),
            number: self.hub.version,
            name: format!("asked-{number}"),
            kind: match wish {
                Wish::Failover => MoveKind::Failover,
                Wish::Switchover => MoveKind::Switchover,
                Wish::Failback => MoveKind::Failback,
            },
            target: region(to),
            expected: Epoch(epoch.0 - i64::from(stale)),
            accept: if accept {
                Accept::ALL.iter().copied().collect()
            } else {
                BTreeSet::new()
            },
            automatic: false,
            progress: Progress::Pending,
            approvals: Vec::new(),
        };
        self.wrote_operation(Rc::new(operation));
    }

    pub(crate) fn approve(&mut self) {
        let evidence = evidence(&self.hub.policy);
        let waits = |o: &&Rc<Operation>| o.progress == Progress::AwaitingApproval;
        let waiting: Vec<_> = self
            .hub
            .operations
            .values()
            .filter(waits)
            .cloned()
            .collect();
        for operation in waiting {
            let mut next = Operation::clone(&operation);
            next.version = self.hub.next_version();
            next.approvals.extend(evidence.clone());
            self.wrote_operation(Rc::new(next));
        }
    }

    pub(crate) fn wrote_operation(&mut self, operation: Rc<Operation>) {
        let object = super::hub::Object::Operation(Rc::clone(&operation));
        self.hub
            .operations
            .insert(operation.name.clone(), operation);
        self.shows(Watch::Operations, &object);
    }

    /// A careful person looks that all is calm and that the operator sees the server. What happens
    /// before the operator has looked again lies in a hole that `failover.md` declares.
    pub(crate) fn relax(&mut self) {
        let at = index(&self.hub.policy.stored.active);
        let calm = self.hub.policy.stored.state == State::Steady;
        let leads = self
            .operators
            .iter()
            .find(|o| o.leads() && o.frozen_until <= self.now);
        let seen = leads.is_some_and(|o| {
            self.net.both(Place::Operator(o.at), Place::Server(at))
                && self.net.both(Place::Operator(o.at), Place::Hub)
        });
        if !calm || !seen || !self.servers[at].answers(self.now) {
            return;
        }
        self.servers[at].names = None;
        self.checks.relaxed = Some((self.now, at));
        for waiting in std::mem::take(&mut self.servers[at].waiting) {
            self.acknowledge(at, waiting.commit, waiting.client);
        }
    }

    /// The machine may still believe that commits wait, and has not had the time to look.
    pub(crate) fn relaxed_unseen(&self, at: usize) -> bool {
        let Some((since, server)) = self.checks.relaxed else {
            return false;
        };
        let stored = &self.hub.policy.stored;
        let believed = stored
            .evidence
            .as_ref()
            .and_then(|e| e.synchronous.as_ref());
        let believes = stored.claim.is_some() || believed.is_some() || stored.journal.is_some();
        let seen = self.checks.relaxed_seen.is_some_and(|seen| seen > since);
        let time = self.now < since + UNSEEN || !seen;
        server == at && believes && time && self.servers[at].names.is_none()
    }

    pub(crate) fn administrator(&mut self) {
        if let Some(every) = self
            .setup
            .administrator
            .or_else(|| self.healing.then_some(3_000))
        {
            self.push(self.now + every, Event::Administrator);
        }
        for at in 0..MEMBERS {
            self.rejoin(at);
        }
        self.rescues();
    }

    /// Nobody is a primary any more, as a person had demoted the old one: it becomes one again. Not
    /// where the machine may have promoted its target by now, and says that it waits for that.
    fn rescues(&mut self) {
        let stored = &self.hub.policy.stored;
        let journal = stored.journal.as_ref();
        if journal.is_some_and(|journal| journal.loss.is_some()) {
            return;
        }
        let (stopped, active) = (stored.state == State::Halted, index(&stored.active));
        let primary = |it: &Server| it.at < MEMBERS && it.role == Role::Primary && !it.by_hand;
        if stopped && !self.servers.iter().any(primary) {
            self.promote_by_hand(active);
        }
    }

    /// A person makes a primary of a standby. The row, as all else, is what it has replayed.
    pub(crate) fn promote_by_hand(&mut self, at: usize) {
        let stored = &self.hub.policy.stored;
        let (now, active) = (self.now, index(&stored.active));
        // What a person demoted stays so until the machine stands still over it.
        if at == active && stored.state != State::Halted {
            return;
        }
        let server = &mut self.servers[at];
        if server.role == Role::Primary || !server.answers(now) {
            return;
        }
        server.opens(now);
        server.by_hand = at != active;
        self.hub.last_write = now;
        self.tell(|| format!("server {at} is promoted by hand"));
    }

    /// A person makes a standby of nobody of the old primary that a move has closed.
    pub(crate) fn demote(&mut self, at: usize) {
        let journal = self.hub.policy.stored.journal.as_ref();
        let moved = journal.is_some_and(|journal| index(&journal.from) == at);
        let server = &mut self.servers[at];
        let closed = !server.row().writable && server.sessions.is_empty();
        let primary = server.role == Role::Primary && server.answers(self.now);
        if moved && closed && primary {
            server.follows(None);
            self.checks.demoted = true;
            self.tell(|| format!("server {at} is demoted"));
        }
    }

    /// The machine goes on with a server that a person promoted.
    pub(crate) fn takes_up(&mut self, before: &Stored, next: &Stored) {
        let at = index(&next.active);
        let server = &mut self.servers[at];
        if before.active != next.active && server.by_hand {
            self.checks.takes_up(self.now, server, next.epoch);
            server.by_hand = false;
            server.term = self.checks.terms();
        }
    }

    /// What a database administrator does with a fenced old primary, or with a standby that follows
    /// nobody: a copy of the newest primary, then streaming.
    pub(crate) fn rejoin(&mut self, at: usize) {
        let stored = &self.hub.policy.stored;
        let (stopped, active) = (stored.state == State::Halted, index(&stored.active));
        let newest = (0..MEMBERS)
            .filter(|other| *other != at)
            .filter(|other| {
                let server = &self.servers[*other];
                // Where the machine stands still, a person goes by its word.
                let serves = server.row().writable || (stopped && active == *other);
                let serves = serves && server.role == Role::Primary;
                serves && !server.by_hand && server.answers(self.now)
            })
            .max_by_key(|other| self.servers[*other].term);
        let it = &self.servers[at];
        let Some(new) = newest.filter(|_| it.answers(self.now)) else {
            return;
        };
        if !self.net.both(Place::Server(at), Place::Server(new)) {
            return;
        }
        let wanted = match it.role {
            Role::Standby => it.stream.is_none() || it.upstream != Some(new),
            Role::Primary if it.by_hand => self.hub.policy.stored.journal.is_none(),
            Role::Primary => !it.row().writable && it.sessions.is_empty(),
        };
        // A machine that is calm goes on without what a person promoted: so does the person.
        let dropped = it.by_hand && stored.state == State::Steady;
        if !wanted || (it.term > self.servers[new].term && !dropped) {
            return;
        }
        self.tell(|| format!("server {at} rejoins {new}"));
        // Nothing is at rest that a person has just changed.
        self.hub.last_write = self.now;
        let source = self.servers[new].clone();
        let server = &mut self.servers[at];
        server.follows(Some(new));
        server.replayed = source.log.len();
        server.log = source.log;
        server.timeline = source.timeline;
        server.term = source.term;
    }
}

/// What an approver agrees to.
pub(crate) fn evidence(policy: &Policy) -> Option<Evidence> {
    let journal = policy.stored.journal.as_ref()?;
    Some((
        policy.stored.epoch,
        journal.to.clone(),
        journal.outage_since,
    ))
}
