//! A pass from its decision on: one store by compare-and-swap, or one effect, or nothing.

use std::rc::Rc;

use domicile_core::facts::{Epoch, Heartbeat};
use domicile_core::failover::{Answer, Decision, MoveKind, Observation, ServerView, Step, Stored};
use domicile_core::health::Verdict;
use domicile_core::names::{RegionName, ServerId};

use super::{Following, Purpose, Tick};
use crate::fault::{Effect, Ms, Side};
use crate::world::database::{MEMBERS, NAMES};
use crate::world::hub::{Object, Operation, Policy, Progress, Reply, Request};
use crate::world::messages::{Outcome, Statement};
use crate::world::people::index;
use crate::world::{Decided, World};

const AFTER_ASKING: Ms = 1_000;
const AFTER_FAILURE: Ms = 250;
/// A promotion, or a row with its logins, may take so long.
const LONG: Ms = 30_000;

impl World {
    pub(crate) fn carry_out(
        &mut self,
        at: usize,
        policy: &Rc<Policy>,
        seen: &Observation,
        decision: Decision,
    ) {
        self.coverage.passes += 1;
        let refused = decision.refusals.into_iter().map(|r| r.operation).collect();
        let following = |stored, rest| {
            Rc::new(Following {
                stored,
                refused,
                rest,
                ensured: false,
            })
        };
        match decision.answer {
            Answer::Move(next) => {
                if self.meets(at, Effect::Store) {
                    return;
                }
                let moments = &mut self.operators[at].moments;
                moments.storing(&seen.stored, &next, seen.now);
                let decided = Rc::new(self.decided(at, seen));
                let stored = Rc::new(next.as_ref().clone());
                let request = Request::Store(policy.version, stored, decided);
                let purpose = Purpose::Stored(following(*next, 0));
                self.tick(at, self.now, Tick::Call(request, purpose));
            }
            Answer::Work(step) => self.act(at, seen, step),
            Answer::Wait(rest) => {
                let following = following(seen.stored.clone(), rest);
                self.follow(at, &following);
            }
        }
    }

    /// What was known, and what was true, when this was decided.
    fn decided(&self, at: usize, seen: &Observation) -> Decided {
        let verdicts = || seen.servers.values().map(|view| view.verdict);
        let all: Vec<_> = verdicts().chain(seen.others.values().copied()).collect();
        let dead = all
            .iter()
            .filter(|verdict| **verdict == Verdict::Down)
            .count();
        Decided {
            at: self.now,
            by: (at, self.operators[at].process),
            active: seen.active().map(|view| view.verdict).unwrap_or_default(),
            most_dead: dead * 2 > all.len(),
            stream_of: std::array::from_fn(|standby| {
                self.checks.hears(self.now, standby)
                    && self.servers[standby].upstream == Some(index(&seen.stored.active))
            }),
            cooldown_ms: Ms::from(seen.settings.cooldown_seconds) * 1000,
        }
    }

    /// A crash or a stop may wait right before an effect. True when the process ended there.
    pub(crate) fn meets(&mut self, at: usize, effect: Effect) -> bool {
        let process = self.operators[at].process;
        let dead = self.crashes(at, process, Side::Before, effect);
        if !dead {
            self.stops(at, effect);
        }
        dead
    }

    pub(crate) fn stored(&mut self, at: usize, following: &Rc<Following>, outcome: Outcome) {
        match outcome {
            Outcome::Api(Reply::Ok(object)) => {
                self.remember(at, object);
                self.operators[at].changed = Some(self.mono(at));
                self.wake_tenant(at, self.now + 1);
                self.follow(at, following);
            }
            Outcome::Api(Reply::Conflict | Reply::Nothing)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => self.ends_pass(at, AFTER_FAILURE),
        }
    }

    fn act(&mut self, at: usize, seen: &Observation, step: Step) {
        if matches!(step, Step::WriteLease(..) | Step::Permit(..)) {
            self.writes_record(at, step);
            return;
        }
        let Some(effect) = effect_of(&step) else {
            // As the Generic provider answers: a person rejoins, or another tool.
            self.acted(at, Outcome::Refused);
            return;
        };
        if let Step::Promote(to, _) = &step {
            let to = index(&to.region);
            self.checks
                .decides_to_promote(self.now, to, &self.servers, &self.net, at);
        }
        if self.meets(at, effect) {
            return;
        }
        let short = Ms::from(self.setup.settings.timeout_seconds) * 2000;
        let place = |server: &ServerId| index(&server.region);
        let (server, statement, purpose, limit) = match step {
            Step::Drain(server, epoch) => {
                let shut = Statement::Shut(epoch, Effect::Drain);
                (place(&server), shut, Purpose::Act, short)
            }
            Step::Fence(server, epoch) => {
                let (server, shut) = (place(&server), Statement::Shut(epoch, Effect::Fence));
                (server, shut, Purpose::Shut(server), short)
            }
            Step::Promote(server, epoch) => {
                let promote = Statement::Promote(epoch);
                (place(&server), promote, Purpose::Act, LONG)
            }
            Step::TakeAuthority(server, epoch) => (
                place(&server),
                Statement::TakeAuthority(epoch),
                Purpose::Act,
                LONG,
            ),
            Step::Canary(server, epoch) => {
                let beat = self.canary(at, seen, &server, epoch);
                (
                    place(&server),
                    Statement::Beat(beat, true),
                    Purpose::Act,
                    short,
                )
            }
            Step::SetSynchronous(server, epoch, name) => {
                let standby = named(&name);
                let set = Statement::SetSynchronous(epoch, standby);
                (place(&server), set, Purpose::Act, short)
            }
            Step::WriteLease(..)
            | Step::Permit(..)
            | Step::Dump { .. }
            | Step::Outgrow(..)
            | Step::Rejoin { .. } => return,
            Step::Ask {
                name,
                kind,
                target,
                epoch,
            } => {
                self.asks(at, &seen.stored, own(name, kind, target, epoch));
                return;
            }
        };
        self.tick(at, self.now, Tick::Send(server, statement, purpose, limit));
    }

    fn asks(&mut self, at: usize, stored: &Stored, operation: Operation) {
        // One of an older epoch is refused.
        if stored.epoch == self.hub.policy.stored.epoch {
            self.checks.asks_for_failback(self.now, &self.setup, stored);
        }
        let request = Request::Create(Rc::new(operation));
        self.tick(at, self.now, Tick::Call(request, Purpose::Asked));
    }

    fn canary(&self, at: usize, seen: &Observation, server: &ServerId, epoch: Epoch) -> Heartbeat {
        let facts = seen.server(&server.region).and_then(ServerView::now);
        let before = facts.and_then(|facts| facts.heartbeat.as_ref());
        Heartbeat {
            sequence: before.map_or(0, |beat| beat.sequence) + 1,
            leader: self.operators[at].identity(),
            at: self.mono(at),
            epoch,
        }
    }

    /// The row is written; the sessions are ended by a statement of its own.
    pub(crate) fn shut(&mut self, at: usize, server: usize, outcome: Outcome) {
        if matches!(outcome, Outcome::Done) {
            let limit = Ms::from(self.setup.settings.timeout_seconds) * 2000;
            self.send_statement(at, server, Statement::EndSessions, Purpose::Act, limit);
        } else {
            self.acted(at, outcome);
        }
    }

    pub(crate) fn acted(&mut self, at: usize, outcome: Outcome) {
        self.operators[at].changed = Some(self.mono(at));
        let done = matches!(outcome, Outcome::Done);
        if !done {
            self.operators[at].missed = self.now;
        }
        self.ends_pass(at, if done { 0 } else { AFTER_FAILURE });
    }

    pub(crate) fn asked(&mut self, at: usize, outcome: Outcome) {
        self.operators[at].changed = Some(self.mono(at));
        let rest = match outcome {
            Outcome::Api(Reply::Ok(object @ Object::Operation(_))) => {
                self.remember(at, object);
                AFTER_ASKING
            }
            Outcome::Api(Reply::Conflict) => AFTER_ASKING,
            Outcome::Api(Reply::Ok(_) | Reply::Nothing)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => AFTER_FAILURE,
        };
        self.ends_pass(at, rest);
    }
}

/// The server of this name in the settings of another.
fn named(name: &str) -> usize {
    NAMES[..MEMBERS]
        .iter()
        .position(|known| *known == name)
        .unwrap_or(0)
}

/// What the step does to a server or an object; `None` when nothing in this world can do it.
fn effect_of(step: &Step) -> Option<Effect> {
    Some(match step {
        Step::Drain(..) => Effect::Drain,
        Step::Fence(..) => Effect::Fence,
        Step::Promote(..) => Effect::Promote,
        Step::TakeAuthority(..) => Effect::TakeAuthority,
        Step::Canary(..) => Effect::Canary,
        Step::SetSynchronous(..) => Effect::SetSynchronous,
        Step::WriteLease(..) => Effect::Lease,
        Step::Permit(..) => Effect::Permit,
        Step::Ask { .. } => Effect::Ask,
        Step::Dump { .. } | Step::Outgrow(..) | Step::Rejoin { .. } => return None,
    })
}

/// An operation on the machine's own account.
pub(crate) fn own(name: String, kind: MoveKind, target: RegionName, epoch: Epoch) -> Operation {
    Operation {
        version: 0,
        number: 0,
        name,
        kind,
        target,
        expected: epoch,
        accept: std::collections::BTreeSet::new(),
        automatic: true,
        progress: Progress::Pending,
        approvals: Vec::new(),
    }
}
