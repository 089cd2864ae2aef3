//! How a fault begins and ends.

use super::net::beyond;
use domicile_core::failover::State;

use super::{Event, Trap, Trigger, WAITS, World};
use crate::agent::REPLICAS;
use crate::chance::Who;
use crate::fault::{Fault, Kind, Ms, Place, Side};
use crate::operator::Tick;

impl World {
    pub(crate) fn fault_begins(&mut self, number: usize) {
        if self.healing {
            return;
        }
        let fault = self.faults[number].clone();
        let until = self.now + fault.duration;
        self.tell(|| format!("fault {:?} for {}", fault.kind, fault.duration));
        match fault.kind {
            Kind::KillServer { server } => self.kill_server(server),
            Kind::FreezeServer { server } => {
                let frozen = &mut self.servers[server].frozen_until;
                *frozen = until.max(*frozen);
                let settled = &mut self.servers[server].settled;
                *settled = until.max(*settled);
            }
            Kind::PauseReplay { server } => self.servers[server].paused_until = until,
            Kind::Cut { from, to } => self.net.cut(self.now, from, to, true),
            Kind::Isolate { server } => self.isolate(server, true),
            Kind::Loss { from, to, percent } => self.net.lossy(self.now, from, to, percent),
            Kind::Slow { from, to, by } => self.net.slow(self.now, from, to, by),
            Kind::Linger { operator, by } => self.at(operator).linger = by,
            Kind::KillOperator { operator, reboot } => {
                let operator = operator % self.operators.len();
                if reboot {
                    self.at(operator).booted = self.now;
                }
                self.kill_operator(operator, fault.duration.max(500));
            }
            Kind::Crash { side, effect } => self.trap(until, fault.duration, effect, Some(side)),
            Kind::FreezeBefore { effect } => self.trap(until, fault.duration, effect, None),
            Kind::FreezeOperator { operator } => {
                let frozen = &mut self.at(operator).frozen_until;
                *frozen = until.max(*frozen);
            }
            Kind::KillAgent { region } => self.agent_fault(region, None),
            Kind::FreezeAgent { region } => self.agent_fault(region, Some(until)),
            Kind::Part { region } => self.parting = Some((region, fault.duration)),
            Kind::HubAway => self.hub_away += 1,
            Kind::WatchLag {
                operator,
                watch,
                by,
            } => self.at(operator).lag[watch as usize] = by,
            Kind::LostReply { operator, percent } => self.at(operator).lost_replies = percent,
            Kind::WallJump { operator, seconds } => {
                self.at(operator).wall_offset += seconds * 1000;
            }
            Kind::Ask {
                wish,
                to,
                accept,
                stale,
            } => self.ask(number, wish, to, accept, stale),
            Kind::Approve => self.approve(),
            Kind::Relax => self.relax(),
            Kind::Rejoin { server } => self.rejoin(server),
            Kind::PromoteByHand { server } => self.promote_by_hand(server),
            Kind::Demote { server } => self.demote(server),
            Kind::When { state, then } => {
                if let Some(state) = State::parse(&state) {
                    self.triggers.push(Trigger {
                        until: self.now + WAITS,
                        state,
                        then: *then,
                        lasts: fault.duration,
                    });
                }
            }
        }
    }

    pub(crate) fn fault_ends(&mut self, number: usize) {
        if self.healing {
            return;
        }
        self.tell(|| format!("over {:?}", self.faults[number].kind));
        match self.faults[number].kind.clone() {
            Kind::KillServer { server } => self.start_server(server),
            Kind::Cut { from, to } => self.net.cut(self.now, from, to, false),
            Kind::Isolate { server } => self.isolate(server, false),
            Kind::Loss { from, to, .. } => self.net.lossy(self.now, from, to, 0),
            Kind::Slow { from, to, .. } => self.net.slow(self.now, from, to, 0),
            Kind::Linger { operator, .. } => self.at(operator).linger = 0,
            Kind::HubAway => self.hub_away = self.hub_away.saturating_sub(1),
            Kind::WatchLag {
                operator, watch, ..
            } => self.at(operator).lag[watch as usize] = 0,
            Kind::LostReply { operator, .. } => self.at(operator).lost_replies = 0,
            // These end by themselves, or are over when they begin.
            Kind::FreezeServer { .. }
            | Kind::PauseReplay { .. }
            | Kind::KillAgent { .. }
            | Kind::FreezeAgent { .. }
            | Kind::Part { .. }
            | Kind::KillOperator { .. }
            | Kind::Crash { .. }
            | Kind::FreezeBefore { .. }
            | Kind::FreezeOperator { .. }
            | Kind::WallJump { .. }
            | Kind::Ask { .. }
            | Kind::Approve
            | Kind::Relax
            | Kind::When { .. }
            | Kind::PromoteByHand { .. }
            | Kind::Demote { .. }
            | Kind::Rejoin { .. } => {}
        }
    }

    /// The policy came to a state that a fault waits for.
    pub(crate) fn comes_to(&mut self, state: State) {
        let now = self.now;
        self.triggers.retain(|trigger| trigger.until > now);
        while let Some(found) = self.triggers.iter().position(|t| t.state == state) {
            let Trigger { then, lasts, .. } = self.triggers.remove(found);
            let at = now + self.chance.below(Who::Person, 150);
            self.another(at, lasts, then);
        }
    }

    /// One more fault, which was not known before.
    fn another(&mut self, at: Ms, duration: Ms, kind: Kind) {
        let number = self.faults.len();
        self.faults.push(Fault { at, duration, kind });
        self.push(at, Event::Begins(number));
        self.push(at + duration, Event::Ends(number));
    }

    /// A new pledge of this region was written: the last that is heard of it, when that waits.
    pub(crate) fn parts(&mut self, region: usize) -> bool {
        let Some((_, lasts)) = self.parting.take_if(|(waits, _)| *waits == region) else {
            return false;
        };
        self.another(self.now, lasts, Kind::Isolate { server: region });
        true
    }

    /// The first agent of a region stands still, or ends.
    fn agent_fault(&mut self, region: usize, frozen_until: Option<Ms>) {
        let number = region * REPLICAS;
        let Some(agent) = self.agents.get_mut(number) else {
            return;
        };
        match frozen_until {
            Some(until) => agent.frozen_until = until.max(agent.frozen_until),
            None => self.kill_agent(number),
        }
    }

    /// A fault names an operator by a number that may be greater than there are.
    fn at(&mut self, operator: usize) -> &mut crate::operator::Operator {
        let number = operator % self.operators.len();
        &mut self.operators[number]
    }

    fn trap(
        &mut self,
        until: Ms,
        frozen_for: Ms,
        effect: crate::fault::Effect,
        crash: Option<Side>,
    ) {
        let until = if crash.is_some() {
            until
        } else {
            until + 30_000
        };
        self.traps.push(Trap {
            until,
            effect,
            crash,
            frozen_for,
        });
    }

    fn isolate(&mut self, server: usize, begins: bool) {
        let here = [
            Place::Server(server),
            Place::Inside(server),
            Place::Cluster(server),
        ];
        for inside in here {
            for outside in beyond(server) {
                self.net.cut(self.now, inside, outside, begins);
                self.net.cut(self.now, outside, inside, begins);
            }
        }
    }

    fn kill_server(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.running = false;
        server.settled = self.now;
        server.starts += 1;
        server.frozen_until = 0;
        server.stream = None;
        server.seat = None;
        server.sessions.clear();
        server.waiting.clear();
        server.confirmed = Default::default();
        for other in &mut self.servers {
            other.confirmed[at].1 = None;
        }
    }

    fn start_server(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.running = true;
        // It may stand still all the same.
        server.settled = self.now.max(server.frozen_until);
    }

    pub(crate) fn kill_operator(&mut self, at: usize, restart: Ms) {
        self.tell(|| format!("operator {at} ends"));
        self.operators[at].ends();
        self.tick(at, self.now + restart, Tick::Lease);
    }

    /// All faults are over, and the administrator rejoins what waits for it.
    pub(crate) fn heal(&mut self, now: Ms) {
        self.now = now;
        self.healing = true;
        self.tell(|| "all faults are over".to_owned());
        self.net = super::net::Net::new();
        self.hub_away = 0;
        self.parting = None;
        self.traps.clear();
        self.triggers.clear();
        for at in 0..self.servers.len() {
            self.start_server(at);
            self.servers[at].frozen_until = 0;
            self.servers[at].paused_until = 0;
        }
        for operator in &mut self.operators {
            operator.linger = 0;
            operator.lost_replies = 0;
            operator.lag = Default::default();
        }
        // Nothing rests before a person has looked.
        if self.setup.administrator.is_none_or(|every| every > 4_000) {
            self.push(now + 3_000, Event::Administrator);
        }
    }
}
