//! A pass up to its decision: samples at rest, live reads otherwise, the active server first.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use domicile_core::facts::{Engine, Facts};
use domicile_core::failover::{
    InSync, Look, MoveKind, Observation, Request, ServerView, State, Stored, Tenant,
};
use domicile_core::health::Verdict;
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::names::RegionName;
use domicile_core::time::Now;

use super::{Purpose, Reading};
use crate::fault::Ms;
use crate::setup::server as server_id;
use crate::world::World;
use crate::world::database::{HOME, MEMBERS};
use crate::world::hub::{Operation, Policy, Progress};
use crate::world::messages::{Outcome, Statement};
use crate::world::people::{evidence, index, region};

const UNTIL_PROBED: Ms = 100;

impl World {
    pub(crate) fn pass(&mut self, at: usize) {
        let now = self.now;
        let it = &mut self.operators[at];
        if it.busy || it.next_pass.is_none_or(|due| due > now) {
            return;
        }
        it.next_pass = None;
        if !it.leads() || !it.filled() {
            return;
        }
        let Some(policy) = it.policy.clone() else {
            return;
        };
        let unprobed = it.samples[..MEMBERS].iter().any(Option::is_none);
        if unprobed && !self.process.judges_unprobed {
            self.wake(at, now + UNTIL_PROBED);
            return;
        }
        let it = &mut self.operators[at];
        it.busy = true;
        let answered = |server: usize| it.samples[server].as_ref().is_some_and(|s| s.answered);
        let active = index(&policy.stored.active);
        let mut wanted: VecDeque<usize> = (0..MEMBERS).filter(|s| answered(*s)).collect();
        if at_rest(it, &policy.stored) || self.process.reads_the_cache {
            wanted.clear();
        }
        let first = wanted.iter().position(|server| *server == active);
        let first = first.and_then(|place| wanted.remove(place));
        it.reading = Some(Reading {
            policy,
            fresh: BTreeMap::new(),
            pending: 0,
            others: wanted,
            lease: None,
        });
        match first {
            Some(server) => self.reads(at, &[server]),
            None => self.reads_others(at),
        }
    }

    fn reads(&mut self, at: usize, servers: &[usize]) {
        let limit = Ms::from(self.setup.settings.timeout_seconds) * 1000;
        if let Some(reading) = &mut self.operators[at].reading {
            reading.pending += servers.len();
        }
        for server in servers {
            let statement = Statement::Probe(self.mono(at));
            self.send_statement(at, *server, statement, Purpose::Read(*server), limit);
        }
    }

    fn reads_others(&mut self, at: usize) {
        let Some(reading) = &mut self.operators[at].reading else {
            return;
        };
        let others: Vec<_> = std::mem::take(&mut reading.others).into();
        if others.is_empty() {
            self.reads_records(at);
        } else {
            self.reads(at, &others);
        }
    }

    pub(crate) fn read(&mut self, at: usize, server: usize, outcome: Outcome) {
        let facts = match outcome {
            Outcome::Facts(facts) => {
                self.checks.reads(self.now, server, &facts);
                Some(Rc::new(*facts))
            }
            Outcome::Done | Outcome::Refused | Outcome::Api(_) | Outcome::Nothing => None,
        };
        let Some(reading) = &mut self.operators[at].reading else {
            return;
        };
        reading.fresh.insert(server, facts);
        reading.pending -= 1;
        if reading.pending == 0 {
            self.reads_others(at);
        }
    }

    pub(crate) fn decides(
        &mut self,
        at: usize,
        lease: Look<WriteLease>,
        promises: BTreeMap<RegionName, Look<Promise>>,
    ) {
        let Some(reading) = self.operators[at].reading.take() else {
            return;
        };
        let now = self.clocks(at);
        let mut seen = self.observation(at, &reading, now);
        (seen.lease, seen.promises) = (lease, promises);
        let decision = (self.decide)(&seen);
        self.carry_out(at, &reading.policy, &seen, decision);
    }

    fn observation(&mut self, at: usize, reading: &Reading, now: Now) -> Observation {
        let stored = &reading.policy.stored;
        let servers: BTreeMap<RegionName, ServerView> = (0..MEMBERS)
            .map(|server| (region(server), self.view(at, server, reading)))
            .collect();
        let it = &mut self.operators[at];
        let mut settings = self.setup.settings.clone();
        if self.process.blind_for_gaps {
            settings.timeout_seconds = 3_600;
        }
        it.in_sync = InSync::next(it.in_sync, &settings, stored, &servers, now.mono);
        let ages = it.ages(stored, now, self.process);
        let mut operations: Vec<_> = it.operations.iter().flat_map(|all| all.values()).collect();
        operations.sort_by_key(|operation| operation.number);
        let ended = operations.iter().filter(|o| o.progress == Progress::Ended);
        let elsewhere = it.samples[MEMBERS].as_ref();
        let placement = it.placement.as_ref();
        Observation {
            now,
            leader: it.identity(),
            settings: self.setup.settings.clone(),
            stored: stored.clone(),
            ages,
            conflict: None,
            servers,
            others: elsewhere
                .map(|s| (region(MEMBERS), s.verdict))
                .into_iter()
                .collect(),
            tenants: vec![Tenant {
                name: "ns/acme".into(),
                allowed: [self.setup.law(HOME)].into(),
                repointed: placement.map(|p| p.epoch).unwrap_or_default(),
                stalled: false,
            }],
            requests: operations
                .iter()
                .filter_map(|o| request(o, &reading.policy))
                .collect(),
            ended: ended.map(|operation| operation.name.clone()).collect(),
            home_in_sync_ms: it.in_sync.map(InSync::ms),
            lease: Look::Unread,
            promises: BTreeMap::new(),
        }
    }

    fn view(&self, at: usize, server: usize, reading: &Reading) -> ServerView {
        let sample = self.operators[at].samples[server].as_ref();
        let sampled = sample.and_then(|sample| sample.facts.clone());
        let (facts, live) = match reading.fresh.get(&server) {
            None => {
                let stale = self.process.reads_the_cache && sampled.is_some();
                (
                    sampled,
                    stale || sample.is_some_and(|sample| sample.answered),
                )
            }
            Some(Some(facts)) => (Some(Rc::clone(facts)), true),
            Some(None) => (sampled, false),
        };
        ServerView {
            server: server_id(server),
            jurisdiction: Some(self.setup.law(server)),
            backups: BTreeMap::new(),
            suspended: false,
            verdict: sample.map_or(Verdict::Unknown, |sample| sample.verdict),
            facts: facts.map(|facts| {
                let mut facts = Facts::clone(&facts);
                if self.process.reads_the_cache {
                    facts.sampled = self.mono(at);
                }
                facts
            }),
            live,
            engine: Engine::Sql,
            // What tenants wrote is asked of a server that answers; no row tells it in this world.
            touched: live.then(Vec::new),
            ends: Vec::new(),
            asked_ms: None,
            resists: false,
            dump: None,
            engine_fails: None,
        }
    }
}

/// True while samples are enough: steady, no claim to be proven, and each server probed since this
/// process last changed something.
fn at_rest(it: &super::Operator, stored: &Stored) -> bool {
    let active = it.samples[index(&stored.active)].as_ref();
    let facts = active.and_then(|sample| sample.facts.as_ref());
    let claimable = facts.is_some_and(|facts| !facts.synchrony.names.is_empty());
    let mut samples = it.samples[..MEMBERS].iter();
    let since = |changed| samples.all(|s| s.as_ref().is_some_and(|sample| sample.at > changed));
    stored.state == State::Steady
        && (stored.claim.is_some() || !claimable)
        && it.changed.is_none_or(since)
}

/// An operation that may be started or is being run. What the machine made for its own failover is
/// a record, and no request to make another.
fn request(operation: &Operation, policy: &Policy) -> Option<Request> {
    let journal = policy.stored.journal.as_ref();
    let current = journal.is_some_and(|journal| journal.operation == operation.name);
    let own = operation.automatic && operation.kind == MoveKind::Failover;
    let waiting = operation.progress == Progress::Pending && !own;
    if operation.progress == Progress::Ended || !(current || waiting) {
        return None;
    }
    let hash = evidence(policy);
    Some(Request {
        name: operation.name.clone(),
        kind: operation.kind,
        target: operation.target.clone(),
        expected_epoch: operation.expected,
        accept: operation.accept.clone(),
        automatic: operation.automatic,
        approved: hash.is_some_and(|hash| operation.approvals.contains(&hash)),
    })
}
