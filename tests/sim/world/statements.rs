//! What a statement does on a server, as `providers/generic` has it.

use domicile_core::facts::{Authority, Epoch, Role};

use super::database::Server;
use super::messages::{Outcome, Statement, Ticket};
use super::{Event, World};
use crate::chance::Who;
use crate::fault::{Effect, Side};

impl World {
    /// Executes one statement; no outcome yet for a promotion, which takes its time.
    pub(crate) fn execute(
        &mut self,
        at: usize,
        ticket: Ticket,
        statement: Statement,
    ) -> Option<Outcome> {
        let told = |done: bool| {
            if done {
                Outcome::Done
            } else {
                Outcome::Refused
            }
        };
        Some(match statement {
            Statement::Probe(sampled) => {
                let facts = self.servers[at].facts(&self.beats, self.now, sampled);
                Outcome::Facts(Box::new(facts))
            }
            Statement::Shut(epoch, _) => told(self.set_row(at, epoch, false)),
            Statement::TakeAuthority(epoch) => told(self.set_row(at, epoch, true)),
            Statement::EndSessions => {
                self.end_sessions(at);
                Outcome::Done
            }
            Statement::Promote(epoch) => return self.begins_promotion(at, epoch, ticket),
            Statement::Beat(beat, _) => {
                let may = self.owns(at, beat.epoch);
                if may {
                    let id = self.new_id();
                    self.beats.push(beat);
                    let number = self.beats.len() - 1;
                    self.servers[at].append(id, |entry| entry.beat = Some(number));
                    self.did = true;
                }
                told(may)
            }
            Statement::SetSynchronous(epoch, standby) => {
                let may = self.owns(at, epoch);
                if may && self.servers[at].names != Some(standby) {
                    self.servers[at].names = Some(standby);
                    self.checks.last_setting = self.now;
                    self.did = true;
                }
                told(may)
            }
            Statement::TryLogin(epoch) => {
                let held = Authority {
                    epoch,
                    writable: true,
                };
                let server = &self.servers[at];
                told(server.role == Role::Primary && server.row() == held)
            }
        })
    }

    /// The server is a primary that holds the right to write under exactly this epoch.
    fn owns(&self, at: usize, epoch: Epoch) -> bool {
        let server = &self.servers[at];
        let held = Authority {
            epoch,
            writable: true,
        };
        server.role == Role::Primary && (server.row() == held || self.process.rows_unchecked)
    }

    /// The row of a primary, unless it is of a newer epoch.
    pub(crate) fn set_row(&mut self, at: usize, epoch: Epoch, writable: bool) -> bool {
        let server = &self.servers[at];
        let newer = server.row().epoch > epoch && !self.process.rows_unchecked;
        if server.role == Role::Standby || newer {
            return false;
        }
        let wanted = Authority { epoch, writable };
        if server.row() != wanted {
            self.checks.row_changes(self.now, at, server.row(), wanted);
            self.did = true;
            let id = self.new_id();
            self.servers[at].append(id, |entry| entry.row = wanted);
        }
        true
    }

    /// Terminated, never cancelled: who waits for a standby is told nothing.
    pub(crate) fn end_sessions(&mut self, at: usize) {
        let Server {
            sessions, waiting, ..
        } = &mut self.servers[at];
        self.did |= !sessions.is_empty();
        sessions.clear();
        waiting.clear();
        if !self.servers[at].row().writable {
            self.checks.closes(self.now, at);
        }
    }

    fn begins_promotion(&mut self, at: usize, epoch: Epoch, ticket: Ticket) -> Option<Outcome> {
        let server = &mut self.servers[at];
        if server.row().epoch > epoch && !self.process.rows_unchecked {
            return Some(Outcome::Refused);
        }
        if server.role == Role::Primary {
            return Some(Outcome::Done);
        }
        server.names = None;
        let (starts, takes) = (server.starts, self.chance.between(Who::Server(at), 20, 300));
        self.push(self.now + takes, Event::Promoted(at, starts, epoch, ticket));
        None
    }

    /// The standby has replayed all it received and opens as a primary.
    pub(crate) fn promoted(&mut self, at: usize, starts: u32, epoch: Epoch, ticket: Ticket) {
        let server = &self.servers[at];
        if !server.running || server.starts != starts {
            return;
        }
        if server.frozen_until > self.now {
            let thaw = server.frozen_until;
            self.push(thaw, Event::Promoted(at, starts, epoch, ticket));
            return;
        }
        let promotes = server.role == Role::Standby;
        if promotes {
            self.becomes_primary(at, epoch);
        }
        self.answer_from(at, ticket, Outcome::Done);
        if promotes {
            let Ticket {
                operator, process, ..
            } = ticket;
            self.crashes(operator, process, Side::After, Effect::Promote);
        }
    }

    fn becomes_primary(&mut self, at: usize, epoch: Epoch) {
        self.checks
            .promotes(self.now, at, epoch, &self.setup, &self.servers, &self.hub);
        self.tell(|| format!("server {at} is promoted under {epoch}"));
        let (term, now) = (self.checks.terms(), self.now);
        let server = &mut self.servers[at];
        server.opens(now);
        server.term = term;
    }
}
