//! What operators send to servers and to the API server, and how it may get lost on the way.

use domicile_core::facts::{Epoch, Facts, Heartbeat};
use domicile_core::time::Mono;

use super::hub::{Reply, Request};
use super::records::Record;
use super::{Event, Trap, World};
use crate::chance::Who;
use crate::fault::{Effect, Ms, Place, Side};
use crate::operator::authority::place_of;
use crate::operator::{Purpose, Tick};

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub operator: usize,
    pub process: u32,
    pub number: u64,
}

/// What is asked of a database server. Each is one transaction, conditional on the authority row
/// as in `providers/generic`.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Probe(Mono),
    /// Row and logins; what it is a part of.
    Shut(Epoch, Effect),
    EndSessions,
    TakeAuthority(Epoch),
    Promote(Epoch),
    /// A heartbeat, and whether it is the canary of a move.
    Beat(Heartbeat, bool),
    SetSynchronous(Epoch, usize),
    /// The credential of a tenant is tried, and its database looked at.
    TryLogin(Epoch),
}

impl Statement {
    /// What it changes; nothing for one that reads.
    pub(crate) fn effect(&self) -> Option<Effect> {
        match self {
            Self::Probe(_) | Self::TryLogin(_) | Self::Beat(_, false) => None,
            Self::Shut(_, effect) => Some(*effect),
            Self::EndSessions => Some(Effect::Fence),
            Self::TakeAuthority(_) => Some(Effect::TakeAuthority),
            Self::Promote(_) => Some(Effect::Promote),
            Self::Beat(_, true) => Some(Effect::Canary),
            Self::SetSynchronous(..) => Some(Effect::SetSynchronous),
        }
    }
}

/// What a statement or a call came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Facts(Box<Facts>),
    Done,
    /// The row, or the server, said no.
    Refused,
    Api(Reply),
    /// No answer in time.
    Nothing,
}

/// How often a statement that lies on the way is tried again, once a second.
const RETRANSMISSIONS: u32 = 20;
/// Longest time for a call.
const CALL: Ms = 5_000;

impl World {
    fn latency(&mut self, from: Place, to: Place, who: usize) -> Ms {
        let base = self.chance.between(Who::Link(who), 1, 8);
        base + self.net.slower_by(from, to)
    }

    fn lost(&mut self, from: Place, to: Place, who: usize) -> bool {
        let percent = self.net.percent_lost(from, to);
        percent > 0 && self.chance.percent(Who::Link(who), percent)
    }

    fn ticket(&mut self, operator: usize, purpose: Purpose, limit: Ms) -> Ticket {
        let number = self.operators[operator].expect(purpose);
        let process = self.operators[operator].process;
        self.tick(
            operator,
            self.now + limit,
            Tick::Answer(number, Outcome::Nothing),
        );
        Ticket {
            operator,
            process,
            number,
        }
    }

    /// Sends one statement over a connection of its own. Without a way there and back there is no
    /// connection, and so nothing is sent; what was sent may still be lost or late.
    pub(crate) fn send_statement(
        &mut self,
        operator: usize,
        server: usize,
        statement: Statement,
        purpose: Purpose,
        limit: Ms,
    ) {
        let (here, there) = (Place::Operator(operator), Place::Server(server));
        let ticket = self.ticket(operator, purpose, limit);
        let way = self.latency(here, there, operator);
        let lost = self.lost(here, there, operator) || self.lost(there, here, operator);
        if !self.net.both(here, there) || lost || 2 * way >= limit {
            return;
        }
        if !self.servers[server].running {
            self.answer(ticket, Outcome::Nothing, 2 * way);
            return;
        }
        if self.servers[server].frozen_until > self.now + way {
            return;
        }
        let linger = self.operators[operator].linger;
        let late = if linger > 0 && statement.effect().is_some() {
            self.chance.below(Who::Link(operator), linger)
        } else {
            0
        };
        let starts = self.servers[server].starts;
        let event = Event::Sql(server, starts, ticket, statement, 0);
        self.push(self.now + 3 * way + late, event);
    }

    pub(crate) fn statement_arrives(
        &mut self,
        at: usize,
        starts: u32,
        ticket: Ticket,
        statement: Statement,
        tries: u32,
    ) {
        let server = &self.servers[at];
        if !server.running || server.starts != starts {
            return;
        }
        if server.frozen_until > self.now {
            let thaw = server.frozen_until + self.chance.below(Who::Server(at), 20);
            self.push(thaw, Event::Sql(at, starts, ticket, statement, tries));
            return;
        }
        let (here, there) = (Place::Operator(ticket.operator), Place::Server(at));
        if !self.net.open(here, there) {
            if statement.effect().is_some() && tries < RETRANSMISSIONS {
                let again = Event::Sql(at, starts, ticket, statement, tries + 1);
                self.push(self.now + 1_000, again);
            }
            return;
        }
        let effect = statement.effect();
        let ends_fence = matches!(statement, Statement::EndSessions);
        if effect.is_some() {
            self.tell(|| format!("server {at} is told {statement:?} by {}", ticket.operator));
        }
        self.did = false;
        if let Some(outcome) = self.execute(at, ticket, statement) {
            self.answer_from(at, ticket, outcome);
        }
        // What was refused, or was so already, is no effect. A fence has two parts, and a crash may
        // come after either.
        if let Some(effect) = effect.filter(|_| self.did)
            && (effect != Effect::Fence || ends_fence || self.chance.percent(Who::Server(at), 50))
        {
            self.crashes(ticket.operator, ticket.process, Side::After, effect);
        }
    }

    /// An answer goes back, if there is a way.
    pub(crate) fn answer(&mut self, ticket: Ticket, outcome: Outcome, after: Ms) {
        let way = self.chance.between(Who::Link(ticket.operator), 1, 8);
        let at = self.now + after + way;
        let tick = Tick::Answer(ticket.number, outcome);
        self.push(at, Event::Operator(ticket.operator, ticket.process, tick));
    }

    /// An answer from a server, which has a link to come back on.
    pub(crate) fn answer_from(&mut self, server: usize, ticket: Ticket, outcome: Outcome) {
        let (here, there) = (Place::Server(server), Place::Operator(ticket.operator));
        if self.net.open(here, there) {
            let slower = self.net.slower_by(here, there);
            self.answer(ticket, outcome, slower);
        }
    }

    pub(crate) fn call(&mut self, operator: usize, request: Request, purpose: Purpose) {
        let ticket = self.ticket(operator, purpose, CALL);
        let (here, hub) = (Place::Operator(operator), place_of(&request));
        if self.hub_away > 0 && hub == Place::Hub {
            self.answer(ticket, Outcome::Api(Reply::Nothing), 5);
            return;
        }
        let way = self.latency(here, hub, operator);
        let lost = self.lost(here, hub, operator) || self.lost(hub, here, operator);
        if self.net.both(here, hub) && !lost {
            self.push(self.now + way, Event::Call(ticket, request));
        }
    }

    pub(crate) fn call_arrives(&mut self, ticket: Ticket, request: Request) {
        let (here, there) = (Place::Operator(ticket.operator), place_of(&request));
        let away = self.hub_away > 0 && there == Place::Hub;
        if away || !self.net.open(here, there) {
            return;
        }
        let effect = match &request {
            Request::Store(..) => Some(Effect::Store),
            Request::Create(operation) if operation.automatic => Some(Effect::Ask),
            Request::Record(..) => Some(Effect::Record),
            Request::PutSecret(..) => Some(Effect::Secret),
            Request::PutPlacement(..) => Some(Effect::Placement),
            Request::PutRecord(Record::Lease(_), _) => Some(Effect::Lease),
            Request::PutRecord(Record::Promise(..), _) => Some(Effect::Permit),
            Request::GetLease
            | Request::PutLease(_)
            | Request::List(_)
            | Request::Create(_)
            | Request::GetRecord(_)
            | Request::GetSecret => None,
        };
        let reply = self.hub_does(ticket, request);
        let done = matches!(reply, Reply::Ok(_));
        let lost = self.operators[ticket.operator].lost_replies;
        let lost = effect.is_some() && self.chance.percent(Who::Link(ticket.operator), lost);
        if !lost && self.net.open(there, here) {
            self.answer(ticket, Outcome::Api(reply), 0);
        }
        if let Some(effect) = effect.filter(|_| done) {
            self.crashes(ticket.operator, ticket.process, Side::After, effect);
        }
    }

    /// Ends this operator's process when a crash waits for it here. True when it did.
    pub(crate) fn crashes(
        &mut self,
        operator: usize,
        process: u32,
        side: Side,
        effect: Effect,
    ) -> bool {
        let now = self.now;
        if self.operators[operator].process != process {
            return false;
        }
        self.traps.retain(|trap| trap.until > now);
        let waits = |trap: &Trap| trap.effect == effect && trap.crash == Some(side);
        let Some(found) = self.traps.iter().position(waits) else {
            return false;
        };
        self.traps.remove(found);
        self.coverage.boundary(side, effect);
        self.kill_operator(operator, 500);
        true
    }

    /// Stands still right before an effect, when such a stop waits here.
    pub(crate) fn stops(&mut self, operator: usize, effect: Effect) {
        let now = self.now;
        self.traps.retain(|trap| trap.until > now);
        let waits = |trap: &Trap| trap.effect == effect && trap.crash.is_none();
        if let Some(found) = self.traps.iter().position(waits) {
            let trap = self.traps.remove(found);
            self.operators[operator].frozen_until = now + trap.frozen_for;
        }
    }
}
