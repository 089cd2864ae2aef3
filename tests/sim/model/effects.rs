//! What is done to the world: by operators, agents, clients, and what goes wrong.

use std::collections::BTreeMap;

use domicile_core::agent::{Database, Hub, Renewal, Sight, Versions, fence_due, renewals};
use domicile_core::facts::{Authority, Epoch, Role};
use domicile_core::failover::{Answer, Proof, State, Step, Stored};
use domicile_core::lease::WriteLease;
use domicile_core::names::ServerId;

use super::faults::Fault;
use super::pass::{ASKED, minimum};
use super::steps::Bounds;
use super::world::{Cut, Entry, Invariant, Late, NAMES, Operator, Promoted, World, index};

impl World {
    /// An operator does what it decided, if it still may.
    pub(crate) fn act(&mut self, bounds: &Bounds, operator: usize) {
        let Some(pending) = self.operators[operator].pending.take() else {
            return;
        };
        let blind = bounds.fault == Fault::NoCompareAndSwap;
        match pending.answer {
            Answer::Move(next) if blind || !pending.policy_changed => self.store(operator, *next),
            Answer::Work(Step::WriteLease(record, _)) if blind || !pending.lease_changed => {
                self.operator_writes_lease(operator, record);
            }
            Answer::Work(step) => self.tell(bounds, operator, &step),
            Answer::Move(_) | Answer::Wait(_) => {}
        }
    }

    fn store(&mut self, operator: usize, next: Stored) {
        if next.epoch < self.stored.epoch {
            self.breaks(Invariant::EpochWentBack);
        }
        let given_up = matches!(next.state, State::Aborting | State::Outage);
        let under_way = matches!(
            self.stored.state,
            State::Draining | State::Fencing | State::CatchingUp
        );
        if given_up && under_way && next.epoch == self.stored.epoch {
            self.breaks(Invariant::EpochGoesOn);
        }
        if let Some(journal) = &next.journal {
            let to = index(&journal.to);
            let under_way = !matches!(next.state, State::Aborting | State::Halted);
            if under_way && *self.targets.entry(next.epoch).or_insert(to) != to {
                self.breaks(Invariant::TwoTargets);
            }
        }
        let asked = |stored: &Stored| {
            stored
                .journal
                .as_ref()
                .is_some_and(|j| j.operation == ASKED)
        };
        if asked(&self.stored) && !asked(&next) {
            self.asked = None;
        }
        self.stored = next;
        if let Some(other) = &mut self.operators[1 - operator].pending {
            other.policy_changed = true;
        }
    }

    fn operator_writes_lease(&mut self, operator: usize, record: WriteLease) {
        self.lease = Some(record);
        self.written.operators[operator] = self.tick;
        self.lease_changed();
    }

    fn lease_changed(&mut self) {
        for operator in &mut self.operators {
            if let Some(pending) = &mut operator.pending {
                pending.lease_changed = true;
            }
        }
    }

    /// A statement of an operator to a server.
    fn tell(&mut self, bounds: &Bounds, operator: usize, step: &Step) {
        let Some(server) = told(step).map(|id| index(&id.region)) else {
            return;
        };
        if !self.reaches(operator, server) {
            return;
        }
        match step {
            Step::Fence(_, epoch) => {
                if self.set_row(bounds, server, *epoch, false) {
                    self.end_sessions(server);
                }
            }
            Step::Canary(_, epoch) => {
                let owns = Authority {
                    epoch: *epoch,
                    writable: true,
                };
                let it = &mut self.servers[server];
                if it.role == Role::Primary && it.row() == owns {
                    it.canary = *epoch;
                }
            }
            Step::SetSynchronous(_, epoch, _) => {
                let it = &mut self.servers[server];
                let row = it.row();
                it.waits |= it.role == Role::Primary && row.epoch == *epoch && row.writable;
            }
            Step::Drain(..) | Step::TakeAuthority(..) | Step::Promote(..) => {
                if let Some(late) = late(step) {
                    self.arrives(bounds, late);
                }
            }
            Step::Dump { .. }
            | Step::Outgrow(..)
            | Step::Rejoin { .. }
            | Step::WriteLease(..)
            | Step::Permit(..)
            | Step::Ask { .. } => {}
        }
    }

    /// A statement takes effect.
    pub(crate) fn arrives(&mut self, bounds: &Bounds, late: Late) {
        match late {
            Late::Row(server, epoch, writable) => {
                self.set_row(bounds, server, epoch, writable);
            }
            Late::Promote(server, epoch) => {
                let it = &self.servers[server];
                let newer = it.row().epoch > epoch && bounds.fault != Fault::RowsUnchecked;
                if it.role == Role::Standby && !newer {
                    self.promotes(bounds, server, epoch);
                }
            }
        }
    }

    /// The row of a primary, unless it is of a newer epoch.
    fn set_row(&mut self, bounds: &Bounds, at: usize, epoch: Epoch, writable: bool) -> bool {
        let server = &mut self.servers[at];
        let row = server.row();
        let newer = row.epoch > epoch && bounds.fault != Fault::RowsUnchecked;
        if server.role == Role::Standby || newer {
            return false;
        }
        let wanted = Authority { epoch, writable };
        if row != wanted {
            server.log.push(Entry::Row(wanted));
        }
        if row.epoch > epoch {
            self.breaks(Invariant::Zombie);
        }
        true
    }

    fn end_sessions(&mut self, at: usize) {
        let server = &mut self.servers[at];
        (server.session, server.waiting) = (false, None);
    }

    fn promotes(&mut self, bounds: &Bounds, at: usize, epoch: Epoch) {
        let stored = &self.stored;
        let journal = stored.journal.as_ref();
        let meant = stored.epoch == epoch
            && matches!(stored.state, State::Promoting | State::Halted)
            && journal.is_some_and(|journal| index(&journal.to) == at);
        let proof = journal.and_then(|j| j.proof).unwrap_or(Proof::Assumed);
        if !meant {
            self.breaks(Invariant::Zombie);
        }
        if proof < minimum(bounds.leased) || self.servers[1 - at].may_acknowledge() {
            self.breaks(Invariant::Unproven);
        }
        let held = &self.servers[at].log;
        let lost = |commit: &u8| !held.contains(&Entry::Commit(*commit));
        if proof != Proof::LeaseExpired && self.acknowledged.iter().any(lost) {
            self.breaks(Invariant::Lost);
        }
        if self.promotions.iter().any(|before| before.epoch == epoch) {
            self.breaks(Invariant::TwoTargets);
        }
        self.promotions.push(Promoted { epoch, at, proof });
        let server = &mut self.servers[at];
        server.role = Role::Primary;
        server.timeline += 1;
        server.term = self.promotions.len();
    }

    /// A client, which reaches its server whatever is cut, writes.
    pub(crate) fn writes(&mut self, at: usize) {
        self.commits += 1;
        let commit = self.commits;
        let server = &mut self.servers[at];
        server.session = true;
        server.log.push(Entry::Commit(commit));
        if server.waits {
            server.waiting = Some(commit);
        } else {
            self.acknowledges(at, commit);
        }
    }

    fn acknowledges(&mut self, at: usize, commit: u8) {
        self.acknowledged.insert(commit);
        if self.servers[at].term < self.promotions.len() {
            self.breaks(Invariant::TwoWriters);
        }
    }

    /// The standby receives and replays all that there is, and says so.
    pub(crate) fn streams(&mut self, standby: usize) {
        let log = self.servers[1 - standby].log.clone();
        self.servers[standby].log = log;
        if let Some(commit) = self.servers[1 - standby].waiting.take() {
            self.acknowledges(1 - standby, commit);
        }
    }

    pub(crate) fn kills(&mut self, at: usize) {
        self.end_sessions(at);
        self.servers[at].running = false;
    }

    /// A process ends; what it was about to tell a server may still arrive.
    pub(crate) fn crashes(&mut self, operator: usize, sent: bool) {
        let fresh = Operator {
            began: self.tick,
            ..Operator::default()
        };
        let it = std::mem::replace(&mut self.operators[operator], fresh);
        if let Some(Answer::Work(step)) = it.pending.map(|pending| pending.answer) {
            self.wire.extend(late(&step).filter(|_| sent));
        }
    }

    /// The round of a region's agent: it looks, renews, and fences when it must.
    pub(crate) fn round(&mut self, bounds: &Bounds, at: usize) {
        let server = &self.servers[at];
        let database = match (server.running, server.role) {
            (false, _) => Database::Silent,
            (true, Role::Standby) => Database::Standby,
            (true, Role::Primary) => Database::Primary {
                row: Some(server.row()),
                open: server.row().writable || server.session,
            },
        };
        let hub = if self.cuts.contains(&Cut::Region(at)) {
            Hub::Silent
        } else {
            Hub::Says(self.lease.clone())
        };
        let mut seen = Sight {
            now: self.now(bounds.step_ms()),
            region: NAMES[at].into(),
            hub,
            database,
            promises: BTreeMap::new(),
            versions: Versions::default(),
            reachable: BTreeMap::new(),
        };
        self.agents[at].note(&seen);
        for renewal in renewals(&seen, &self.agents[at]) {
            self.agents[at].sending(&renewal, &seen);
            if let Renewal::Lease(record) = &renewal {
                self.lease = Some(record.clone());
                self.agents[at].renewed(&renewal, &seen);
                seen.hub = Hub::Says(self.lease.clone());
                self.written.agents = self.tick;
                self.lease_changed();
            }
        }
        let due = fence_due(&seen, &self.agents[at]);
        let due = due.filter(|_| bounds.fault != Fault::AgentsNeverFence);
        if let Some(epoch) = due.filter(|_| self.servers[at].running)
            && self.set_row(bounds, at, epoch, false)
        {
            self.end_sessions(at);
        }
    }
}

/// The server that a step is for.
fn told(step: &Step) -> Option<&ServerId> {
    match step {
        Step::Drain(server, _)
        | Step::Fence(server, _)
        | Step::Promote(server, _)
        | Step::TakeAuthority(server, _)
        | Step::Canary(server, _)
        | Step::SetSynchronous(server, ..) => Some(server),
        Step::Dump { .. }
        | Step::Outgrow(..)
        | Step::Rejoin { .. }
        | Step::WriteLease(..)
        | Step::Permit(..)
        | Step::Ask { .. } => None,
    }
}

/// A statement as it is on its way; of a fence the first part, the row.
pub(crate) fn late(step: &Step) -> Option<Late> {
    let server = index(&told(step)?.region);
    match step {
        Step::Drain(_, epoch) | Step::Fence(_, epoch) => Some(Late::Row(server, *epoch, false)),
        Step::TakeAuthority(_, epoch) => Some(Late::Row(server, *epoch, true)),
        Step::Promote(_, epoch) => Some(Late::Promote(server, *epoch)),
        Step::Canary(..)
        | Step::SetSynchronous(..)
        | Step::Dump { .. }
        | Step::Outgrow(..)
        | Step::Rejoin { .. }
        | Step::WriteLease(..)
        | Step::Permit(..)
        | Step::Ask { .. } => None,
    }
}
