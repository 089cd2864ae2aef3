//! A pass up to its decision: what an operator sees of the world, for the function that decides.

use std::collections::{BTreeMap, BTreeSet};

use domicile_core::facts::{Engine, Facts, Heartbeat, Lsn, Receiver, Role, Sender, Synchrony};
use domicile_core::failover::{
    Age, Ages, Answer, FailbackMode, Look, Mode, MoveKind, Observation, Promotion, Proof, Rejoin,
    Request, ServerView, Settings, Standby, Watched,
};
use domicile_core::health::Verdict;
use domicile_core::lease::{Terms, WriteLease};
use domicile_core::names::{Jurisdiction, ServerId};
use domicile_core::time::Mono;

use super::steps::Bounds;
use super::world::{NAMES, Pending, Seen, World, Written, mono};

/// Short leases: an agent fences after 4 s, a taker waits 9.6 s.
pub(crate) const TERMS: Terms = Terms {
    lease_seconds: 6,
    renew_seconds: 2,
};

/// Each operator takes heartbeats for its own, and they always arrive: how large the loss of an
/// asynchronous move may be is left to the simulator.
const LEADER: &str = "leader";

/// The operation that a person asks for.
pub(crate) const ASKED: &str = "asked";

impl World {
    /// An operator reads all that it reaches, and decides. `lost`: a server that it does not reach
    /// has failed as many probes as it takes.
    pub(crate) fn look(&mut self, bounds: &Bounds, operator: usize, lost: bool) {
        let seen = self.observe(bounds, operator, lost);
        let decision = (bounds.fault.decide())(&seen);
        let refused = decision.refusals.iter().any(|r| r.operation == ASKED);
        if refused {
            self.asked = None;
        }
        if matches!(decision.answer, Answer::Wait(_)) {
            return;
        }
        self.operators[operator].pending = Some(Pending {
            answer: decision.answer,
            policy_changed: false,
            lease_changed: false,
        });
    }

    fn observe(&self, bounds: &Bounds, operator: usize, lost: bool) -> Observation {
        let now = self.now(bounds.step_ms());
        let mut servers = BTreeMap::new();
        for (at, name) in NAMES.into_iter().enumerate() {
            let live = self.reaches(operator, at);
            let sample = live.then(|| self.sample(at));
            let remembered = || self.operators[operator].seen[at].clone();
            let seen = sample.or_else(remembered);
            let verdict = match (live, lost) {
                (true, _) => Verdict::Up,
                (false, false) => Verdict::Failing { failures: 1 },
                (false, true) => Verdict::Down,
            };
            let view = ServerView {
                server: server(at),
                jurisdiction: Some(Jurisdiction::new("EU")),
                backups: BTreeMap::new(),
                suspended: false,
                verdict,
                facts: seen.map(|seen| {
                    let at_ms = mono(seen.at, bounds.step_ms());
                    facts(at, &seen, at_ms)
                }),
                live,
                engine: Engine::Sql,
                touched: live.then(Vec::new),
                ends: Vec::new(),
                asked_ms: None,
                resists: false,
                dump: None,
                engine_fails: None,
            };
            servers.insert(name.into(), view);
        }
        let lease = self.sight(bounds, operator);
        let stored = self.stored.clone();
        let ages = self.ages(operator, bounds.step_ms());
        Observation {
            now,
            leader: LEADER.into(),
            settings: settings(bounds.leased),
            stored,
            ages,
            conflict: None,
            servers,
            others: [("east".into(), Verdict::Up)].into(),
            tenants: Vec::new(),
            requests: self.asked.map(request).into_iter().collect(),
            ended: BTreeSet::new(),
            lease,
            promises: BTreeMap::new(),
            home_in_sync_ms: None,
        }
    }

    /// How long this process has known of what is stored: since it was, or since it began. It is
    /// nobody's own, so that what passed before is not known.
    fn ages(&self, operator: usize, step_ms: u64) -> Ages {
        let now = self.now(step_ms);
        let here = mono(self.operators[operator].began, step_ms);
        let age = |moment: jiff::Timestamp| {
            let passed = now.wall.as_millisecond() - moment.as_millisecond();
            let passed = u64::try_from(passed).unwrap_or(0);
            Age {
                known_ms: passed.min(now.mono.since(here)),
                before_ms: Some(passed.saturating_sub(now.mono.since(here))),
            }
        };
        let stored = &self.stored;
        let journal = stored.journal.as_ref();
        let evidence = stored.evidence.as_ref();
        Ages {
            state: age(stored.since),
            started: journal.map(|j| age(j.started)).unwrap_or_default(),
            bounded: journal.and_then(|j| j.loss_at).map(age).unwrap_or_default(),
            outage: evidence.map(|e| age(e.outage_since)).unwrap_or_default(),
            cooldown_left_ms: 0,
            finished: stored.history.iter().map(|p| age(p.finished)).collect(),
        }
    }

    /// The write lease, each change of which is seen at once: nobody can wait for less.
    fn sight(&self, bounds: &Bounds, operator: usize) -> Look<WriteLease> {
        if !bounds.leased {
            return Look::Unread;
        }
        let Some(record) = &self.lease else {
            return Look::Absent;
        };
        let Written { agents, operators } = self.written;
        let began = self.operators[operator].began;
        let renewed = agents.max(operators[1 - operator]).max(began);
        let since = renewed.max(operators[operator]);
        Look::There(Watched {
            record: record.clone(),
            version: "seen".into(),
            since: mono(since, bounds.step_ms()),
            renewed: mono(renewed, bounds.step_ms()),
            witnessed: renewed > began,
        })
    }
}

/// What a good read of a server says.
fn facts(at: usize, seen: &Seen, read: Mono) -> Facts {
    let server = &seen.server;
    let standby = server.role == Role::Standby;
    let other = NAMES[1 - at];
    let held = Lsn(server.log.len() as u64);
    let row = server.row();
    Facts {
        system_identifier: "7".into(),
        major_version: 18,
        version: "18.4".into(),
        role: server.role,
        timeline: server.timeline,
        position: held,
        recovered: None,
        received: standby.then_some(held),
        receiver: (standby && seen.hears).then(|| Receiver {
            name: NAMES[at].into(),
            silent_ms: 0,
            patience_ms: 1_000,
            timeline: server.timeline,
        }),
        senders: Vec::from_iter((!standby && seen.fed).then(|| Sender {
            name: other.into(),
            streaming: true,
            synchronous: server.waits,
            replayed: None,
        })),
        synchrony: Synchrony {
            names: if server.waits {
                other.into()
            } else {
                String::new()
            },
            relaxed: false,
        },
        authority: Some(row),
        heartbeat: Some(Heartbeat {
            sequence: 1,
            leader: LEADER.into(),
            // Written before whatever was written last: never a proof that nothing is lost.
            at: Mono(read.0 - 1),
            epoch: server.canary,
        }),
        tenant_sessions: u32::from(server.session),
        open_logins: u32::from(row.writable),
        missing_rights: Vec::new(),
        slow_logins: false,
        sampled: read,
        round_trip_ms: 1,
    }
}

pub(crate) fn server(at: usize) -> ServerId {
    ServerId::new(NAMES[at], "main")
}

fn request(expected_epoch: domicile_core::facts::Epoch) -> Request {
    Request {
        name: ASKED.into(),
        kind: MoveKind::Switchover,
        target: NAMES[1].into(),
        expected_epoch,
        accept: BTreeSet::new(),
        automatic: false,
        approved: false,
    }
}

pub(crate) fn minimum(leased: bool) -> Proof {
    if leased {
        Proof::LeaseExpired
    } else {
        Proof::SynchronousReplication
    }
}

fn settings(leased: bool) -> Settings {
    Settings {
        name: "p".into(),
        home: server(0),
        standbys: vec![Standby {
            server: server(1),
            priority: 10,
            promotion: Promotion::Neutral,
        }],
        mode: Mode::Automatic,
        paused: false,
        interval_seconds: 1,
        timeout_seconds: 1,
        failure_threshold: 2,
        success_threshold: 2,
        max_data_loss_seconds: 60,
        heartbeat_seconds: 1,
        quorum: 2,
        minimum_proof: minimum(leased),
        lease: TERMS,
        drain_seconds: 0,
        max_freeze_seconds: 20,
        failback: FailbackMode::Manual,
        stable_seconds: 300,
        max_stable_seconds: 300,
        cooldown_seconds: 0,
        max_automatic_per_day: 100,
        approval_seconds: 10,
        rejoin: Rejoin::Manual,
        dump: None,
    }
}
