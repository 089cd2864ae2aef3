//! The leader's lease, and the caches that a leader fills first.

use domicile_core::time::Mono;

use super::{Held, Purpose, Sight, Tick};
use crate::fault::{Ms, Watch};
use crate::world::World;
use crate::world::database::SERVERS;
use crate::world::hub::{Lease, Object, Reply, Request};
use crate::world::messages::Outcome;

/// As in `operator/kube/lease.rs`.
const DURATION: Ms = 15_000;
const RENEW: Ms = 5_000;
const TRUST: Ms = 11_000;
const LOOK: Ms = 2_000;

impl World {
    pub(crate) fn look_at_lease(&mut self, at: usize) {
        self.call(at, Request::GetLease, Purpose::LookAtLease);
    }

    pub(crate) fn lease_seen(&mut self, at: usize, outcome: Outcome) {
        let now = self.mono(at);
        let Outcome::Api(Reply::Ok(Object::Lease(lease))) = outcome else {
            self.tick(at, self.now + LOOK, Tick::Lease);
            return;
        };
        let before = self.operators[at]
            .sight
            .filter(|s| s.version == lease.version);
        let sight = before.unwrap_or_else(|| Sight {
            version: lease.version,
            free: lease.holder.is_none(),
            since: now,
        });
        self.operators[at].sight = Some(sight);
        if sight.free || now.since(sight.since) >= DURATION {
            self.call(
                at,
                Request::PutLease(lease.version),
                Purpose::TakeLease(now),
            );
        } else {
            self.tick(at, self.now + LOOK, Tick::Lease);
        }
    }

    pub(crate) fn lease_taken(&mut self, at: usize, sent: Mono, outcome: Outcome) {
        let Outcome::Api(Reply::Ok(Object::Lease(lease))) = outcome else {
            self.tick(at, self.now + LOOK, Tick::Lease);
            return;
        };
        self.tell(|| format!("operator {at} leads"));
        self.holds(at, lease, sent);
        self.tick(at, self.now + RENEW, Tick::Renew);
        for watch in Watch::ALL {
            self.call(at, Request::List(watch), Purpose::List(watch));
        }
    }

    fn holds(&mut self, at: usize, lease: Lease, sent: Mono) {
        self.operators[at].held = Some(Held {
            version: lease.version,
            sent,
        });
        let passed = self.mono(at).since(sent);
        self.tick(
            at,
            self.now + TRUST.saturating_sub(passed),
            Tick::Expire(sent),
        );
    }

    pub(crate) fn renew(&mut self, at: usize) {
        if let Some(held) = self.operators[at].held {
            let sent = self.mono(at);
            self.call(
                at,
                Request::PutLease(held.version),
                Purpose::RenewLease(sent),
            );
        }
    }

    pub(crate) fn lease_renewed(&mut self, at: usize, sent: Mono, outcome: Outcome) {
        match outcome {
            Outcome::Api(Reply::Ok(Object::Lease(lease))) => {
                self.holds(at, lease, sent);
                self.tick(at, self.now + RENEW, Tick::Renew);
            }
            // Another took it, or an earlier renewal took effect without an answer.
            Outcome::Api(Reply::Conflict) => self.call(at, Request::GetLease, Purpose::LookAgain),
            Outcome::Api(Reply::Ok(_) | Reply::Nothing)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => self.tick(at, self.now + 1_000, Tick::Renew),
        }
    }

    pub(crate) fn lease_reread(&mut self, at: usize, outcome: Outcome) {
        if let Outcome::Api(Reply::Ok(Object::Lease(lease))) = outcome {
            let me = (at, self.operators[at].process);
            if lease.holder != Some(me) {
                self.kill_operator(at, LOOK);
                return;
            }
            if let Some(held) = &mut self.operators[at].held {
                held.version = lease.version;
            }
        }
        self.tick(at, self.now + 1_000, Tick::Renew);
    }

    /// The process ends when its last renewal is too old.
    pub(crate) fn expire(&mut self, at: usize, sent: Mono) {
        let Some(held) = self.operators[at].held else {
            return;
        };
        if held.sent > sent {
            return;
        }
        let passed = self.mono(at).since(held.sent);
        if passed >= TRUST {
            self.kill_operator(at, LOOK);
        } else {
            self.tick(at, self.now + TRUST - passed, Tick::Expire(sent));
        }
    }

    pub(crate) fn listed(&mut self, at: usize, watch: Watch, outcome: Outcome) {
        let Outcome::Api(Reply::Ok(object)) = outcome else {
            self.call(at, Request::List(watch), Purpose::List(watch));
            return;
        };
        self.watched(at, watch, object);
        if self.operators[at].filled() && self.operators[at].samples.iter().all(Option::is_none) {
            for server in 0..SERVERS {
                self.tick(at, self.now, Tick::Probe(server));
            }
            self.tick(at, self.now, Tick::Beat);
            self.wake_tenant(at, self.now);
            self.wake(at, self.now);
        }
    }

    /// A watch, or the first list, shows an object. What this process wrote itself is not undone by
    /// an older sight of it.
    pub(crate) fn watched(&mut self, at: usize, watch: Watch, object: Object) {
        let hub = (crate::fault::Place::Hub, crate::fault::Place::Operator(at));
        if !self.net.open(hub.0, hub.1) || self.hub_away > 0 {
            self.tick(at, self.now + 1_000, Tick::Watched(watch, object));
            return;
        }
        let was_filled = self.operators[at].filled();
        self.remember(at, object);
        if was_filled {
            self.wake(at, self.now + 1);
            self.wake_tenant(at, self.now + 1);
        }
    }

    pub(crate) fn remember(&mut self, at: usize, object: Object) {
        let it = &mut self.operators[at];
        match object {
            Object::Policy(new) => {
                if it
                    .policy
                    .as_ref()
                    .is_none_or(|old| old.version < new.version)
                {
                    it.policy = Some(new);
                }
            }
            Object::Operations(all) => {
                let known = it.operations.get_or_insert_default();
                known.extend(all.into_iter().map(|o| (o.name.clone(), o)));
            }
            Object::Operation(new) => {
                let Some(known) = &mut it.operations else {
                    return;
                };
                if known
                    .get(&new.name)
                    .is_none_or(|old| old.version < new.version)
                {
                    known.insert(new.name.clone(), new);
                }
            }
            Object::Placement(new) => {
                if it
                    .placement
                    .as_ref()
                    .is_none_or(|old| old.version < new.version)
                {
                    it.placement = Some(new);
                }
            }
            Object::Lease(_)
            | Object::Secret(_)
            | Object::WriteLease(_)
            | Object::Promise(_)
            | Object::Version(_) => {}
        }
    }
}
