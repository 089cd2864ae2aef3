//! Operations' records follow the machine; and what the API server does with a call.

use std::rc::Rc;

use domicile_core::facts::Epoch;
use domicile_core::failover::{MoveKind, State, Stored};

use super::carry::own;
use super::{Following, Purpose, Seat, Tick};
use crate::fault::{Effect, Ms, Watch};
use crate::world::hub::Secret;
use crate::world::hub::{Lease, Object, Operation, Placement, Policy, Progress, Reply, Request};
use crate::world::messages::{Outcome, Ticket};
use crate::world::{Decided, World};

const AFTER_FAILURE: Ms = 250;

impl World {
    /// Writes the next record that is behind; when none is, the pass ends.
    pub(crate) fn follow(&mut self, at: usize, following: &Rc<Following>) {
        let purpose = Purpose::Recorded(Rc::clone(following));
        if let Some(request) = self.missing_record(at, following) {
            let again = Rc::new(Following {
                ensured: true,
                ..Following::clone(following)
            });
            self.call(at, request, Purpose::Recorded(again));
            return;
        }
        let operations = self.operators[at]
            .operations
            .iter()
            .flat_map(|all| all.values());
        let mut behind = operations.filter_map(|operation| {
            let next = progress(operation, following)?;
            Some(Request::Record(
                operation.version,
                operation.name.clone(),
                next,
            ))
        });
        let Some(request) = behind.next() else {
            self.ends_pass(at, following.rest);
            return;
        };
        if !self.meets(at, Effect::Record) {
            self.tick(at, self.now, Tick::Call(request, purpose));
        }
    }

    /// The machine's own failover has a record too.
    fn missing_record(&self, at: usize, following: &Following) -> Option<Request> {
        let journal = following.stored.journal.as_ref()?;
        let known = self.operators[at].operations.as_ref()?;
        let wanted = journal.automatic && journal.kind == MoveKind::Failover;
        if !wanted || following.ensured || known.contains_key(&journal.operation) {
            return None;
        }
        let asking = following.stored.state == State::AwaitingApproval;
        let before = Epoch(following.stored.epoch.0 - i64::from(!asking));
        let name = journal.operation.clone();
        let operation = own(name, journal.kind, journal.to.clone(), before);
        Some(Request::Create(Rc::new(operation)))
    }

    pub(crate) fn recorded(&mut self, at: usize, following: &Rc<Following>, outcome: Outcome) {
        match outcome {
            Outcome::Api(Reply::Ok(object)) => {
                self.remember(at, object);
                self.follow(at, following);
            }
            // A record that exists is as good, and the watch will show it.
            Outcome::Api(Reply::Conflict | Reply::Nothing)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => self.ends_pass(at, AFTER_FAILURE),
        }
    }

    /// What the API server does with a call.
    pub(crate) fn hub_does(&mut self, ticket: Ticket, request: Request) -> Reply {
        let from = ticket.operator;
        match request {
            Request::GetLease => Reply::Ok(Object::Lease(self.hub.lease)),
            Request::PutLease(version) => self.put_lease(ticket, version),
            Request::List(watch) => {
                self.operators[from].watches[watch as usize] = true;
                Reply::Ok(self.hub.list(watch))
            }
            Request::Store(version, stored, decided) => {
                self.put_policy(from, version, &stored, &decided)
            }
            Request::Create(operation) => {
                if self.hub.operations.contains_key(&operation.name) {
                    return Reply::Conflict;
                }
                let version = self.writes();
                let number = version;
                let operation = Operation::clone(&operation);
                self.operation(Operation {
                    version,
                    number,
                    ..operation
                })
            }
            Request::Record(version, name, progress) => {
                let Some(known) = self.hub.operations.get(&name) else {
                    return Reply::Conflict;
                };
                if known.version != version {
                    return Reply::Conflict;
                }
                let known = Operation::clone(known);
                let version = self.writes();
                self.operation(Operation {
                    version,
                    progress,
                    ..known
                })
            }
            Request::GetRecord(None) => Reply::Ok(Object::WriteLease(self.lease.clone())),
            Request::GetRecord(Some(at)) => Reply::Ok(Object::Promise(self.promises[at])),
            Request::PutRecord(record, version) => match self.put_record(record, version) {
                Ok(version) => Reply::Ok(Object::Version(version)),
                Err(()) => Reply::Conflict,
            },
            Request::GetSecret => Reply::Ok(Object::Secret(self.hub.secret)),
            Request::PutSecret(version, seat) => self.put_secret(version, seat),
            Request::PutPlacement(version, active, epoch) => {
                self.put_placement(version, active, epoch)
            }
        }
    }

    fn put_policy(
        &mut self,
        from: usize,
        version: u64,
        stored: &Stored,
        decided: &Decided,
    ) -> Reply {
        if version != self.hub.policy.version && !self.process.no_compare_and_swap {
            return Reply::Conflict;
        }
        let before = Rc::clone(&self.hub.policy);
        self.takes_up(&before.stored, stored);
        self.checks
            .stores(self.now, &before.stored, stored, decided, &self.hub);
        self.tell(|| {
            let (old, new) = (before.stored.state, stored.state);
            format!("operator {from} stores {old} -> {new} at {}", stored.epoch)
        });
        self.checks
            .finished(self.now, &before.stored, stored, decided.by);
        self.coverage.edge(before.stored.state, stored.state);
        let policy = Rc::new(Policy {
            version: self.writes(),
            stored: stored.clone(),
        });
        if before.stored.state != stored.state {
            self.comes_to(stored.state);
        }
        self.hub.policy = Rc::clone(&policy);
        let object = Object::Policy(policy);
        self.shows(Watch::Policy, &object);
        Reply::Ok(object)
    }

    fn put_placement(&mut self, version: u64, active: usize, epoch: Epoch) -> Reply {
        if self.hub.placement.version != version {
            return Reply::Conflict;
        }
        let version = self.writes();
        self.hub.placement = Rc::new(Placement {
            version,
            active,
            epoch,
        });
        let object = Object::Placement(Rc::clone(&self.hub.placement));
        self.shows(Watch::Placements, &object);
        Reply::Ok(object)
    }

    fn put_lease(&mut self, ticket: Ticket, version: u64) -> Reply {
        if self.hub.lease.version != version {
            return Reply::Conflict;
        }
        let holder = Some((ticket.operator, ticket.process));
        if self.hub.lease.holder != holder {
            // A new leader has not looked yet.
            self.hub.last_write = self.now;
        }
        self.hub.lease = Lease {
            version: self.hub.next_version(),
            holder,
        };
        Reply::Ok(Object::Lease(self.hub.lease))
    }

    fn put_secret(&mut self, version: u64, seat: Seat) -> Reply {
        let Seat {
            region,
            epoch,
            tried,
        } = seat;
        if self.hub.secret.version != version && !self.process.overwrites_secrets {
            return Reply::Conflict;
        }
        let next = Secret {
            version: self.writes(),
            region,
            epoch,
        };
        self.checks
            .publishes(tried, self.hub.secret, next, &self.servers, &self.setup);
        self.hub.secret = next;
        self.publish(region, epoch);
        Reply::Ok(Object::Secret(next))
    }

    fn operation(&mut self, operation: Operation) -> Reply {
        let operation = Rc::new(operation);
        self.wrote_operation(Rc::clone(&operation));
        Reply::Ok(Object::Operation(operation))
    }

    fn writes(&mut self) -> u64 {
        self.hub.writes += 1;
        self.hub.last_write = self.now;
        self.hub.next_version()
    }

    /// Every watch shows a change in its own time, and changes of one kind in their order.
    pub(crate) fn shows(&mut self, watch: Watch, object: &Object) {
        for at in 0..self.operators.len() {
            let it = &mut self.operators[at];
            if !it.watches[watch as usize] {
                continue;
            }
            let due = self.now + 3 + it.lag[watch as usize];
            let due = due.max(it.shown_until[watch as usize]);
            it.shown_until[watch as usize] = due;
            self.tick(at, due, Tick::Watched(watch, object.clone()));
        }
    }
}

/// What the record of one operation must say now, when it says something else.
fn progress(operation: &Operation, following: &Following) -> Option<Progress> {
    let Following {
        stored, refused, ..
    } = following;
    let journal = stored.journal.as_ref();
    let current = journal.is_some_and(|journal| journal.operation == operation.name);
    let past = stored
        .history
        .iter()
        .any(|past| past.operation == operation.name);
    let next = match operation.progress {
        Progress::Pending | Progress::AwaitingApproval | Progress::Running if current => {
            if stored.state == State::AwaitingApproval {
                Progress::AwaitingApproval
            } else {
                Progress::Running
            }
        }
        Progress::Pending if !past && !refused.contains(&operation.name) => Progress::Pending,
        Progress::Pending | Progress::AwaitingApproval | Progress::Running | Progress::Ended => {
            Progress::Ended
        }
    };
    (next != operation.progress).then_some(next)
}
