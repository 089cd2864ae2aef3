//! Probes and heartbeats: loops of their own, beside the passes.

use std::rc::Rc;

use domicile_core::facts::Heartbeat;
use domicile_core::failover::State;
use domicile_core::health::{Probe, ProbeFailure, Thresholds, judge};
use domicile_core::time::Mono;

use super::{Purpose, Sample, Tick};
use crate::fault::Ms;
use crate::world::World;
use crate::world::database::MEMBERS;
use crate::world::messages::{Outcome, Statement};
use crate::world::people::index;

/// How servers outside the policy are probed.
const OTHERS: (Ms, Thresholds) = (2_000, Thresholds { fall: 3, rise: 3 });

impl World {
    pub(crate) fn probe(&mut self, at: usize, server: usize) {
        let started = self.mono(at);
        let limit = Ms::from(self.setup.settings.timeout_seconds) * 1000;
        let purpose = Purpose::Probe(server, started);
        self.send_statement(at, server, Statement::Probe(started), purpose, limit);
    }

    pub(crate) fn probed(&mut self, at: usize, server: usize, started: Mono, outcome: Outcome) {
        let settings = &self.setup.settings;
        let (interval, limits) = if server < MEMBERS {
            let limits = Thresholds {
                fall: settings.failure_threshold,
                rise: settings.success_threshold,
            };
            (Ms::from(settings.interval_seconds) * 1000, limits)
        } else {
            OTHERS
        };
        let probe = match outcome {
            Outcome::Facts(facts) => Probe::Answered(facts),
            Outcome::Done | Outcome::Refused | Outcome::Api(_) | Outcome::Nothing => {
                Probe::Failed(ProbeFailure::Unreachable, String::new())
            }
        };
        let before = self.operators[at].samples[server].take();
        let verdict = before
            .as_ref()
            .map(|sample| sample.verdict)
            .unwrap_or_default();
        let verdict = judge(verdict, &probe, limits);
        let mut sample = Sample {
            answered: false,
            verdict,
            facts: before.and_then(|sample| sample.facts),
            at: started,
        };
        if let Probe::Answered(facts) = probe {
            self.checks.reads(self.now, server, &facts);
            sample.answered = true;
            sample.facts = Some(Rc::new(*facts));
        }
        self.operators[at].samples[server] = Some(sample);
        let passed = self.mono(at).since(started);
        self.tick(
            at,
            self.now + interval.saturating_sub(passed),
            Tick::Probe(server),
        );
        if server < MEMBERS {
            self.wake(at, self.now);
        }
    }

    /// What goes on beside the machine, under the epoch that the cache shows.
    pub(crate) fn beat(&mut self, at: usize) {
        let every = Ms::from(self.setup.settings.heartbeat_seconds) * 1000;
        self.tick(at, self.now + every, Tick::Beat);
        let Some(policy) = self.operators[at].policy.clone() else {
            return;
        };
        let stored = &policy.stored;
        match stored.state {
            State::Steady | State::Suspect | State::Outage => {}
            State::Blocked
            | State::AwaitingApproval
            | State::Draining
            | State::Fencing
            | State::CatchingUp
            | State::Aborting
            | State::Promoting
            | State::Rerouting
            | State::Verifying
            | State::Halted => return,
        }
        let sequence = self.operators[at].beats + 1;
        self.operators[at].beats = sequence;
        let beat = Heartbeat {
            sequence,
            leader: self.operators[at].identity(),
            at: self.mono(at),
            epoch: stored.epoch,
        };
        let (server, limit) = (index(&stored.active), every.max(1_000));
        let statement = Statement::Beat(beat, false);
        self.send_statement(at, server, statement, Purpose::Beat, limit);
    }
}
