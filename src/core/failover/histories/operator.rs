//! The operator in that world: it probes, decides, stores by compare-and-swap, acts, and dies.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::world::{HOME, NAMES, World, index, region, server_id};
use crate::facts::{Authority, Epoch, Facts, Heartbeat, Role};
use crate::failover::{
    Answer, Decision, FailbackMode, Look, Mode, MoveKind, Observation, Promotion, Proof, Request,
    ServerView, Settings, Standby, State, Step, Stored, Tenant,
};
use crate::health::{Probe, Thresholds, Verdict, judge};
use crate::lease::Terms;
use crate::names::Jurisdiction;
use crate::time::{Mono, Now};

pub(super) type Decide = fn(&Observation) -> Decision;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    None,
    BeforeStoring,
    AfterStoring,
    BeforeEffect,
    AfterEffect,
    /// The effect leaves the operator and arrives at the server later.
    Delayed,
}

#[derive(Debug)]
pub(super) struct Operator {
    pub stored: Stored,
    pub settings: Settings,
    pub requests: Vec<Request>,
    pub ended: BTreeSet<String>,
    pub delayed: Vec<Step>,
    pub visited: BTreeSet<State>,
    /// What the operator itself saw broken.
    pub broken: Vec<String>,
    incarnation: u32,
    verdicts: BTreeMap<usize, Verdict>,
    last: BTreeMap<usize, Facts>,
    beats: i64,
    repointed: Epoch,
    /// The region that the tenants' Secret names.
    pub secret: usize,
}

impl Operator {
    pub(super) fn new(minimum_proof: Proof) -> Self {
        let standby = |at, promotion| Standby {
            server: server_id(at),
            priority: 10,
            promotion,
        };
        let settings = Settings {
            name: "p".into(),
            home: server_id(HOME),
            standbys: vec![
                standby(2, Promotion::Prefer),
                standby(1, Promotion::Neutral),
            ],
            mode: Mode::Automatic,
            paused: false,
            interval_seconds: 1,
            timeout_seconds: 1,
            failure_threshold: 2,
            success_threshold: 2,
            max_data_loss_seconds: 8,
            heartbeat_seconds: 1,
            quorum: 2,
            minimum_proof,
            lease: Terms {
                lease_seconds: 6,
                renew_seconds: 2,
            },
            drain_seconds: 1,
            max_freeze_seconds: 20,
            failback: FailbackMode::Automatic,
            stable_seconds: 5,
            max_stable_seconds: 5,
            cooldown_seconds: 60,
            max_automatic_per_day: 100,
            approval_seconds: 10,
        };
        let stored = Stored {
            state: State::Steady,
            since: wall(1_000_000),
            epoch: Epoch(1),
            active: region(HOME),
            claim: None,
            restore_synchronous: false,
            journal: None,
            evidence: None,
            cooldown_until: None,
            history: Vec::new(),
        };
        Self {
            stored,
            settings,
            requests: Vec::new(),
            ended: BTreeSet::new(),
            delayed: Vec::new(),
            visited: BTreeSet::new(),
            broken: Vec::new(),
            incarnation: 0,
            verdicts: BTreeMap::new(),
            last: BTreeMap::new(),
            beats: 0,
            repointed: Epoch(1),
            secret: HOME,
        }
    }

    fn restart(&mut self) {
        self.incarnation += 1;
        self.verdicts.clear();
        self.last.clear();
    }

    /// Each process counts from a moment of its own, the later ones from a later one.
    fn mono(&self, world: &World) -> Mono {
        let since = u64::from(self.incarnation) * 100_000;
        Mono((world.clock_ms + 100_000_000).saturating_sub(since))
    }

    fn observe(&mut self, world: &World) -> Observation {
        let limits = Thresholds {
            fall: self.settings.failure_threshold,
            rise: self.settings.success_threshold,
        };
        let mut servers = BTreeMap::new();
        for at in 0..NAMES.len() {
            let probe = world.probe(at);
            let before = self.verdicts.get(&at).copied().unwrap_or_default();
            self.verdicts.insert(at, judge(before, &probe, limits));
            let live = if let Probe::Answered(mut facts) = probe {
                facts.sampled = self.mono(world);
                self.last.insert(at, *facts);
                true
            } else {
                false
            };
            servers.insert(
                region(at),
                ServerView {
                    server: server_id(at),
                    jurisdiction: Some(law(at)),
                    verdict: self.verdicts[&at],
                    facts: self.last.get(&at).cloned(),
                    live,
                },
            );
        }
        Observation {
            now: Now {
                wall: wall(world.clock_ms),
                mono: self.mono(world),
            },
            leader: format!("op-{}", self.incarnation),
            settings: self.settings.clone(),
            stored: self.stored.clone(),
            conflict: None,
            servers,
            others: [
                ("elsewhere".into(), Verdict::Up),
                ("further".into(), Verdict::Up),
            ]
            .into(),
            tenants: vec![Tenant {
                name: "ns/acme".into(),
                allowed: [law(HOME)].into(),
                repointed: self.repointed,
                stalled: false,
            }],
            requests: self.requests.clone(),
            ended: self.ended.clone(),
            lease: Look::Unread,
            promises: BTreeMap::new(),
            home_in_sync_ms: world.streams(HOME).map(|_| 60_000),
        }
    }

    /// One pass. A crash at `crash` loses all but what is stored.
    pub(super) fn pass(&mut self, world: &mut World, decide: Decide, crash: Crash) {
        world.clock_ms += 1000;
        let seen = self.observe(world);
        let Decision {
            answer, refusals, ..
        } = decide(&seen);
        for refusal in refusals {
            self.end(&refusal.operation);
        }
        match answer {
            Answer::Move(next) => {
                if crash != Crash::BeforeStoring {
                    self.store(*next);
                }
            }
            Answer::Work(step) => match crash {
                Crash::BeforeEffect => {}
                Crash::Delayed => self.delayed.push(step),
                Crash::None | Crash::BeforeStoring | Crash::AfterStoring | Crash::AfterEffect => {
                    self.begins_to_promote(world, &step);
                    self.act(world, step);
                }
            },
            Answer::Wait(_) => self.serve(world),
        }
        if !matches!(crash, Crash::None | Crash::Delayed) {
            self.restart();
        }
    }

    /// What goes on beside the machine: heartbeats, and placements that follow its status.
    fn serve(&mut self, world: &mut World) {
        if matches!(
            self.stored.state,
            State::Steady | State::Suspect | State::Outage
        ) {
            self.act(
                world,
                Step::Canary(server_id(index(&self.stored.active)), self.stored.epoch),
            );
        }
        let settled = [State::Rerouting, State::Verifying, State::Steady];
        if settled.contains(&self.stored.state) {
            self.repointed = self.stored.epoch;
            self.secret = index(&self.stored.active);
        }
    }

    fn store(&mut self, next: Stored) {
        assert!(next.epoch >= self.stored.epoch, "the epoch went back");
        self.visited.insert(next.state);
        self.begun(&next);
        let ended = self
            .stored
            .journal
            .as_ref()
            .filter(|_| next.journal.is_none());
        if let Some(name) = ended.map(|journal| journal.operation.clone()) {
            self.end(&name);
        }
        self.stored = next;
    }

    /// How a move may begin: on the epoch that its asker saw, and by itself not before the probes
    /// of the active server failed often enough.
    fn begun(&mut self, next: &Stored) {
        if next.state == State::Verifying && self.repointed != next.epoch {
            self.broken
                .push("I15: the tenants are not repointed".into());
        }
        let known = self
            .stored
            .journal
            .as_ref()
            .map(|journal| &journal.operation);
        let Some(journal) = next
            .journal
            .as_ref()
            .filter(|j| Some(&j.operation) != known)
        else {
            return;
        };
        let mut asked = self.requests.iter().filter(|r| r.name == journal.operation);
        if asked.any(|request| request.expected_epoch != self.stored.epoch) {
            self.broken
                .push("replay: an operation of an older epoch is run".into());
        }
        let unfinished = [State::AwaitingApproval, State::Blocked];
        if known.is_some() && !unfinished.contains(&self.stored.state) {
            self.broken.push("G8: a move begins within another".into());
        }
        let verdict = self.verdicts.get(&index(&self.stored.active));
        let unasked = journal.automatic && journal.kind == MoveKind::Failover;
        if unasked && verdict != Some(&Verdict::Down) {
            self.broken
                .push(format!("early: a failover begins on {verdict:?}"));
        }
    }

    /// An effect at once, on a world that is as it was observed: a primary that answers, and that
    /// was not fenced, would go on beside the new one.
    fn begins_to_promote(&mut self, world: &World, step: &Step) {
        let Step::Promote(to, _) = step else { return };
        let open = |at: &usize| {
            let server = &world.servers[*at];
            let answers = server.running && server.linked && server.role == Role::Primary;
            answers && (world.row(*at).writable || !server.sessions.is_empty())
        };
        let mut others = (0..NAMES.len()).filter(|at| *at != index(&to.region));
        if others.any(|at| open(&at)) {
            let text = "fence first: a primary that answers is not fenced at the promotion";
            self.broken.push(text.into());
        }
    }

    fn end(&mut self, operation: &str) {
        self.requests.retain(|r| r.name != operation);
        self.ended.insert(operation.to_owned());
    }

    pub(super) fn act(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Drain(server, epoch) => {
                world.set_row(
                    index(&server.region),
                    Authority {
                        epoch,
                        writable: false,
                    },
                    false,
                );
            }
            Step::Fence(server, epoch) => {
                world.set_row(
                    index(&server.region),
                    Authority {
                        epoch,
                        writable: false,
                    },
                    true,
                );
            }
            Step::TakeAuthority(server, epoch) => {
                world.set_row(
                    index(&server.region),
                    Authority {
                        epoch,
                        writable: true,
                    },
                    false,
                );
            }
            Step::Promote(server, epoch) => world.promote(index(&server.region), epoch),
            Step::Canary(server, epoch) => {
                self.beats += 1;
                let beat = Heartbeat {
                    sequence: self.beats,
                    leader: format!("op-{}", self.incarnation),
                    at: self.mono(world),
                    epoch,
                };
                world.heartbeat(index(&server.region), beat);
            }
            Step::SetSynchronous(server, epoch, name) => {
                let at = index(&server.region);
                if world.row(at)
                    == (Authority {
                        epoch,
                        writable: true,
                    })
                {
                    world.servers[at].synchronous = NAMES.iter().position(|n| name == *n);
                }
            }
            // These worlds have no agents: nobody reads a lease.
            Step::WriteLease(..) | Step::Permit(..) => {}
            #[rustfmt::skip]
            Step::Ask { name, kind, target, epoch } => self.requests.push(Request {
                name,
                kind,
                target,
                expected_epoch: epoch,
                accept: BTreeSet::new(),
                automatic: true,
                approved: false,
            }),
        }
    }
}

/// `abroad` lies under another law than the tenants'.
fn law(at: usize) -> Jurisdiction {
    Jurisdiction::new(if at == 2 { "US" } else { "EU" })
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH)
}
