//! The placement's pass: route, try the login, publish the Secret, tell the placement.

use domicile_core::failover::State;
use domicile_core::health::Verdict;
use domicile_core::placement::{MachineView, PolicyView, Recorded, Route, route};

use super::{Purpose, Seat, Tick};
use crate::fault::{Effect, Ms};
use crate::setup::server as server_id;
use crate::world::World;
use crate::world::database::{HOME, MEMBERS};
use crate::world::hub::{Object, Reply, Request};
use crate::world::messages::{Outcome, Statement};
use crate::world::people::{index, region};

const RETRY: Ms = 500;
const LOGIN: Ms = 5_000;

impl World {
    pub(crate) fn wake_tenant(&mut self, at: usize, when: Ms) {
        if self.operators[at].tenant_busy {
            self.operators[at].tenant_again = true;
        } else {
            self.tick(at, when, Tick::Tenant);
        }
    }

    pub(crate) fn tenant(&mut self, at: usize) {
        let it = &self.operators[at];
        if it.tenant_busy || !it.leads() || !it.filled() {
            return;
        }
        let Some(seat) = self.seat(at) else {
            return;
        };
        let it = &self.operators[at];
        let placed = it.placement.as_ref().is_some_and(|placement| {
            (placement.active, placement.epoch) == (seat.region, seat.epoch)
        });
        if placed {
            return;
        }
        let verdict = it.samples[seat.region]
            .as_ref()
            .map(|sample| sample.verdict);
        let workable = verdict.is_some_and(|verdict| match verdict {
            Verdict::Up | Verdict::Failing { .. } | Verdict::Recovering { .. } => true,
            Verdict::Unknown | Verdict::Down | Verdict::Refusing(_) => false,
        });
        if !workable {
            self.tick(at, self.now + RETRY, Tick::Tenant);
            return;
        }
        self.operators[at].tenant_busy = true;
        let login = Statement::TryLogin(seat.epoch);
        if self.process.publishes_untried {
            self.call(at, Request::GetSecret, Purpose::GetSecret(seat));
        } else {
            self.send_statement(at, seat.region, login, Purpose::TryLogin(seat), LOGIN);
        }
    }

    /// The server that answers for the tenant now, by the real rule.
    fn seat(&self, at: usize) -> Option<Seat> {
        let it = &self.operators[at];
        let (policy, placement) = (it.policy.as_ref()?, it.placement.as_ref()?);
        let stored = &policy.stored;
        if self.process.repoints_early && stored.state == State::Promoting {
            let journal = stored.journal.as_ref()?;
            return Some(Seat {
                region: index(&journal.to),
                epoch: stored.epoch,
                tried: self.now,
            });
        }
        let view = PolicyView {
            name: "p".into(),
            primary: server_id(HOME),
            standbys: (1..MEMBERS).map(server_id).collect(),
            machine: Some(MachineView {
                state: Some(stored.state),
                epoch: stored.epoch,
                active: stored.active.clone(),
            }),
        };
        let last = Recorded {
            active: region(placement.active),
            epoch: placement.epoch,
        };
        let facts = it.samples[HOME]
            .as_ref()
            .and_then(|sample| sample.facts.as_ref());
        let row = facts.and_then(|facts| facts.authority);
        match route(&server_id(HOME), Some(&view), Some(&last), row) {
            Route::Serve { server, epoch } => Some(Seat {
                region: index(&server.region),
                epoch,
                tried: self.now,
            }),
            Route::Hold(_) => None,
        }
    }

    pub(crate) fn login_tried(&mut self, at: usize, seat: Seat, outcome: Outcome) {
        let tried = self.now;
        if matches!(outcome, Outcome::Done) {
            let seat = Seat { tried, ..seat };
            self.call(at, Request::GetSecret, Purpose::GetSecret(seat));
        } else {
            self.ends_tenant(at, RETRY);
        }
    }

    pub(crate) fn secret_read(&mut self, at: usize, seat: Seat, outcome: Outcome) {
        let Outcome::Api(Reply::Ok(Object::Secret(secret))) = outcome else {
            self.ends_tenant(at, RETRY);
            return;
        };
        if secret.epoch > seat.epoch && !self.process.overwrites_secrets {
            self.ends_tenant(at, RETRY);
            return;
        }
        if (secret.region, secret.epoch) == (seat.region, seat.epoch) {
            self.tells_placement(at, seat);
            return;
        }
        if self.meets(at, Effect::Secret) {
            return;
        }
        let request = Request::PutSecret(secret.version, seat);
        let call = Tick::Call(request, Purpose::PutSecret(seat));
        self.tick(at, self.now, call);
    }

    pub(crate) fn secret_written(&mut self, at: usize, seat: Seat, outcome: Outcome) {
        if matches!(outcome, Outcome::Api(Reply::Ok(_))) {
            self.tells_placement(at, seat);
        } else {
            self.ends_tenant(at, RETRY);
        }
    }

    fn tells_placement(&mut self, at: usize, seat: Seat) {
        let Some(version) = self.operators[at].placement.as_ref().map(|p| p.version) else {
            return;
        };
        if self.meets(at, Effect::Placement) {
            return;
        }
        let request = Request::PutPlacement(version, seat.region, seat.epoch);
        let call = Tick::Call(request, Purpose::PutPlacement(seat));
        self.tick(at, self.now, call);
    }

    pub(crate) fn placement_written(&mut self, at: usize, _seat: Seat, outcome: Outcome) {
        match outcome {
            Outcome::Api(Reply::Ok(object)) => {
                self.remember(at, object);
                self.wake(at, self.now + 1);
                self.ends_tenant(at, 0);
            }
            Outcome::Api(Reply::Conflict | Reply::Nothing)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => self.ends_tenant(at, RETRY),
        }
    }

    fn ends_tenant(&mut self, at: usize, retry: Ms) {
        let it = &mut self.operators[at];
        it.tenant_busy = false;
        let again = std::mem::take(&mut it.tenant_again);
        if again || retry > 0 {
            self.tick(at, self.now + retry.max(1), Tick::Tenant);
        }
    }
}
