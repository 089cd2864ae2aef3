//! The operator's side of leases: read in each pass after the servers, written as one effect.

use std::collections::BTreeMap;

use domicile_core::facts::Epoch;
use domicile_core::failover::{Look, State, Step};
use domicile_core::lease::{Promise, WriteLease};

use super::{Purpose, Tick};
use crate::fault::{Effect, Ms, Place};
use crate::world::World;
use crate::world::database::MEMBERS;
use crate::world::hub::{Object, Reply, Request};
use crate::world::messages::Outcome;
use crate::world::people::{index, region};
use crate::world::records::{Record, look, wrote};

const AFTER_FAILURE: Ms = 250;

impl World {
    /// The servers were read; the lease is next, and then the promise that a move waits for.
    pub(crate) fn reads_records(&mut self, at: usize) {
        if self.setup.agents {
            self.call(at, Request::GetRecord(None), Purpose::LeaseRead);
        } else {
            self.decides(at, Look::Unread, BTreeMap::new());
        }
    }

    pub(crate) fn lease_read(&mut self, at: usize, outcome: Outcome) {
        let now = self.mono(at);
        let lease = match outcome {
            Outcome::Api(Reply::Ok(Object::WriteLease(found))) => {
                let counts = self.process.counts_new_pledges;
                let pledge = |lease: &WriteLease| lease.pledge.clone().filter(|_| !counts);
                look(
                    &mut self.operators[at].sightings[MEMBERS],
                    found,
                    pledge,
                    now,
                )
            }
            Outcome::Api(_)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => Look::Unread,
        };
        let Some(reading) = &mut self.operators[at].reading else {
            return;
        };
        let stored = &reading.policy.stored;
        let asked = matches!(stored.state, State::Fencing | State::CatchingUp);
        let journal = stored.journal.as_ref().filter(|_| asked);
        // Two regions are lawful, so that a pledge names one member.
        let pledge = lease.there().and_then(|lease| lease.record.pledge.as_ref());
        let synchronous = stored
            .evidence
            .as_ref()
            .is_some_and(|e| e.synchronous.is_some());
        let relied = pledge.filter(|pledge| pledge.promises && !synchronous);
        let member = relied.and_then(|pledge| pledge.members.first());
        let to = journal.map(|journal| &journal.to).or(member);
        let to = to.filter(|_| self.setup.clusters).map(index);
        reading.lease = Some(lease);
        match to {
            Some(to) => self.call(at, Request::GetRecord(Some(to)), Purpose::PromiseRead(to)),
            None => self.ends_reading(at, BTreeMap::new()),
        }
    }

    pub(crate) fn promise_read(&mut self, at: usize, to: usize, outcome: Outcome) {
        let now = self.mono(at);
        let promise = match outcome {
            Outcome::Api(Reply::Ok(Object::Promise(found))) => {
                look(&mut self.operators[at].sightings[to], found, |_| None, now)
            }
            Outcome::Api(_)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => Look::Unread,
        };
        self.ends_reading(at, [(region(to), promise)].into());
    }

    fn ends_reading(
        &mut self,
        at: usize,
        promises: BTreeMap<domicile_core::names::RegionName, Look<Promise>>,
    ) {
        let reading = self.operators[at].reading.as_mut();
        let lease = reading.and_then(|reading| reading.lease.take());
        if let Some(lease) = lease {
            self.decides(at, lease, promises);
        }
    }

    /// Writes the lease, or asks a region for its permit.
    pub(crate) fn writes_record(&mut self, at: usize, step: Step) {
        let number = |version: Option<String>| version.and_then(|text| text.parse().ok());
        let (record, version, effect) = match step {
            Step::WriteLease(lease, version) => {
                (Record::Lease(lease), number(version), Effect::Lease)
            }
            Step::Permit(to, epoch, version) => {
                (permit(index(&to), epoch), number(version), Effect::Permit)
            }
            Step::Drain(..)
            | Step::Fence(..)
            | Step::Promote(..)
            | Step::TakeAuthority(..)
            | Step::Canary(..)
            | Step::SetSynchronous(..)
            | Step::Dump { .. }
            | Step::Outgrow(..)
            | Step::Rejoin { .. }
            | Step::Ask { .. } => return self.ends_pass(at, AFTER_FAILURE),
        };
        if self.meets(at, effect) {
            return;
        }
        let place = match &record {
            Record::Lease(_) => MEMBERS,
            Record::Promise(to, _) => *to,
        };
        let request = Request::PutRecord(record, version);
        self.tick(
            at,
            self.now,
            Tick::Call(request, Purpose::RecordWritten(place)),
        );
    }

    pub(crate) fn record_written(&mut self, at: usize, place: usize, outcome: Outcome) {
        let now = self.mono(at);
        let written = match outcome {
            Outcome::Api(Reply::Ok(Object::Version(version))) => Some(version),
            Outcome::Api(_)
            | Outcome::Facts(_)
            | Outcome::Done
            | Outcome::Refused
            | Outcome::Nothing => None,
        };
        if let Some(version) = written {
            wrote(&mut self.operators[at].sightings[place], version, now);
        }
        self.acted(
            at,
            if written.is_some() {
                Outcome::Done
            } else {
                Outcome::Nothing
            },
        );
    }
}

fn permit(to: usize, epoch: Epoch) -> Record {
    let record = Promise {
        epoch,
        permitted: true,
    };
    Record::Promise(to, record)
}

/// Where a call goes: the hub, or a region's own cluster.
pub(crate) fn place_of(request: &Request) -> Place {
    match request {
        Request::GetRecord(Some(to)) | Request::PutRecord(Record::Promise(to, _), _) => {
            Place::Cluster(*to)
        }
        Request::GetRecord(None)
        | Request::PutRecord(Record::Lease(_), _)
        | Request::GetLease
        | Request::PutLease(_)
        | Request::List(_)
        | Request::Store(..)
        | Request::Create(_)
        | Request::Record(..)
        | Request::GetSecret
        | Request::PutSecret(..)
        | Request::PutPlacement(..) => Place::Hub,
    }
}
