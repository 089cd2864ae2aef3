//! The world of the model: two regions, two operators that both believe they lead, and what each of
//! them has in hand. Small, whole, and equal worlds are one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use domicile_core::agent::Memory;
use domicile_core::facts::{Authority, Epoch, Role};
use domicile_core::failover::{Answer, Claim, Proof, State, Stored};
use domicile_core::lease::WriteLease;
use domicile_core::time::{Mono, Now};
use jiff::Timestamp;

pub(crate) const NAMES: [&str; 2] = ["west", "central"];

/// One record of the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Row(Authority),
    Commit(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub running: bool,
    pub role: Role,
    pub timeline: u32,
    pub log: Vec<Entry>,
    /// Each commit waits for the other server.
    pub waits: bool,
    /// A tenant has a session; it stays when the login is closed.
    pub session: bool,
    /// The commit that waits for the other server.
    pub waiting: Option<u8>,
    /// The epoch of the last canary.
    pub canary: Epoch,
    /// How many promotions there had been when it was promoted.
    pub term: usize,
}

impl Server {
    fn new(primary: bool, synchronous: bool) -> Self {
        Self {
            running: true,
            role: if primary {
                Role::Primary
            } else {
                Role::Standby
            },
            timeline: 1,
            log: vec![Entry::Row(Authority {
                epoch: Epoch(1),
                writable: true,
            })],
            waits: primary && synchronous,
            session: primary,
            waiting: None,
            canary: Epoch(1),
            term: 0,
        }
    }

    pub(crate) fn row(&self) -> Authority {
        let rows = self.log.iter().rev().filter_map(|entry| match entry {
            Entry::Row(row) => Some(*row),
            Entry::Commit(_) => None,
        });
        rows.into_iter().next().unwrap_or(Authority {
            epoch: Epoch(0),
            writable: true,
        })
    }

    /// It could tell a client that a write is safe, now or after what is on its way.
    pub(crate) fn may_acknowledge(&self) -> bool {
        self.role == Role::Primary && !self.waits && (self.session || self.row().writable)
    }

    pub(crate) fn is_part_of(&self, other: &Self) -> bool {
        other.log.starts_with(&self.log)
    }
}

/// What a process remembers of a server that answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub server: Server,
    /// It streams from the other server, or the other from it.
    pub hears: bool,
    pub fed: bool,
    /// In which step of time.
    pub at: u8,
}

/// What an operator has decided and not done yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub answer: Answer,
    /// The policy was stored anew since it was read.
    pub policy_changed: bool,
    /// So was the write lease.
    pub lease_changed: bool,
}

/// One process. All of it is gone when it ends. It knows at once what it can know, so that nothing
/// else must be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Operator {
    /// The step of time in which it began.
    pub began: u8,
    /// What servers said last that it does not reach.
    pub seen: [Option<Seen>; 2],
    pub pending: Option<Pending>,
}

/// In which step of time the write lease was last written, and by whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    pub agents: u8,
    pub operators: [u8; 2],
}

/// A way that can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cut {
    /// Nothing leaves or enters this region, its clients aside.
    Region(usize),
    /// One operator does not reach this server.
    Between(usize, usize),
    /// The servers do not reach each other.
    Stream,
}

/// A promotion that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Promoted {
    pub epoch: Epoch,
    pub at: usize,
    pub proof: Proof,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub crashes: u8,
    pub partitions: u8,
    pub writes: u8,
    pub ticks: u8,
    /// A person asks for a planned move.
    pub asks: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub tick: u8,
    pub stored: Stored,
    pub lease: Option<WriteLease>,
    pub written: Written,
    /// A person's planned move, while it has not ended.
    pub asked: Option<Epoch>,
    pub operators: [Operator; 2],
    pub servers: [Server; 2],
    pub agents: [Memory; 2],
    /// Promotions and rows on their way whose sender is gone.
    pub wire: BTreeSet<Late>,
    pub cuts: BTreeSet<Cut>,
    pub left: Budget,
    pub commits: u8,
    pub acknowledged: BTreeSet<u8>,
    pub promotions: Vec<Promoted>,
    /// Which server each epoch is to promote.
    pub targets: BTreeMap<Epoch, usize>,
    /// The invariants that were broken on the way.
    pub broken: BTreeSet<Invariant>,
}

/// A statement that a dead process sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Late {
    Row(usize, Epoch, bool),
    Promote(usize, Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Invariant {
    /// Two servers acknowledge writes.
    TwoWriters,
    EpochWentBack,
    /// A move is given up, and what it sent still counts.
    EpochGoesOn,
    /// One epoch, two servers to promote, or two promotions.
    TwoTargets,
    /// Acknowledged, and not on the new primary.
    Lost,
    /// Promoted on less than the policy asks for, or on a proof that is not true.
    Unproven,
    /// Promoted by somebody whose time is over.
    Zombie,
}

impl World {
    pub(crate) fn new(leased: bool, left: Budget) -> Self {
        let claim = (!leased).then(|| Claim {
            standby: NAMES[1].into(),
            name: NAMES[1].into(),
        });
        Self {
            tick: 0,
            stored: Stored {
                state: State::Steady,
                since: wall(0, 0),
                epoch: Epoch(1),
                active: NAMES[0].into(),
                timeline: 1,
                claim,
                restore_synchronous: false,
                journal: None,
                evidence: None,
                cooldown_until: None,
                history: Vec::new(),
                returned: Vec::new(),
            },
            lease: None,
            written: Written::default(),
            asked: None,
            operators: Default::default(),
            servers: [Server::new(true, !leased), Server::new(false, false)],
            agents: Default::default(),
            wire: BTreeSet::new(),
            cuts: BTreeSet::new(),
            left,
            commits: 0,
            acknowledged: BTreeSet::new(),
            promotions: Vec::new(),
            targets: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// The moment on the one clock that all processes have in this world.
    pub(crate) fn now(&self, step_ms: u64) -> Now {
        Now {
            wall: wall(self.tick, step_ms),
            mono: mono(self.tick, step_ms),
        }
    }

    /// What an operator reads of a server now.
    pub(crate) fn sample(&self, at: usize) -> Seen {
        Seen {
            server: self.servers[at].clone(),
            hears: self.hears(at),
            fed: self.hears(1 - at),
            at: self.tick,
        }
    }

    /// Something changes, and what operators no longer reach is what they remember.
    pub(crate) fn cutting(&mut self, change: impl FnOnce(&mut Self)) {
        let pairs = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let reached = pairs.map(|(operator, server)| self.reaches(operator, server));
        let samples = [self.sample(0), self.sample(1)];
        change(self);
        for ((operator, server), before) in pairs.into_iter().zip(reached) {
            let now = self.reaches(operator, server);
            let seen = &mut self.operators[operator].seen[server];
            if now {
                *seen = None;
            } else if before {
                *seen = Some(samples[server].clone());
            }
        }
    }

    /// Operators have no names: of two worlds that differ by their places alone one is kept.
    pub(crate) fn without_names(mut self) -> Self {
        let key = |it: &Self, at: usize| {
            let mut hasher = std::hash::DefaultHasher::new();
            let cut = it.cuts.contains(&Cut::Between(at, 0));
            (&it.operators[at], cut, it.written.operators[at]).hash(&mut hasher);
            hasher.finish()
        };
        if key(&self, 0) > key(&self, 1) {
            self.operators.swap(0, 1);
            self.written.operators.swap(0, 1);
            let swap = |cut: &Cut| match cut {
                Cut::Between(operator, server) => Cut::Between(1 - operator, *server),
                Cut::Region(_) | Cut::Stream => *cut,
            };
            self.cuts = self.cuts.iter().map(swap).collect();
        }
        self
    }

    /// Whether an operator reaches a server that answers.
    pub(crate) fn reaches(&self, operator: usize, server: usize) -> bool {
        let cuts = [Cut::Region(server), Cut::Between(operator, server)];
        self.servers[server].running && !cuts.iter().any(|cut| self.cuts.contains(cut))
    }

    /// The servers reach each other.
    pub(crate) fn joined(&self) -> bool {
        let cuts = [Cut::Stream, Cut::Region(0), Cut::Region(1)];
        !cuts.iter().any(|cut| self.cuts.contains(cut))
    }

    /// The standby streams from the other server.
    pub(crate) fn hears(&self, at: usize) -> bool {
        let (it, other) = (&self.servers[at], &self.servers[1 - at]);
        let fits = other.role == Role::Primary && it.timeline == other.timeline;
        it.running && other.running && self.joined() && fits && it.is_part_of(other)
    }

    pub(crate) fn breaks(&mut self, invariant: Invariant) {
        self.broken.insert(invariant);
    }
}

/// When the clocks of all processes began, long before.
const BOOTED: u64 = 10_000_000;

pub(crate) fn mono(tick: u8, step_ms: u64) -> Mono {
    Mono(BOOTED + u64::from(tick) * step_ms)
}

fn wall(tick: u8, step_ms: u64) -> Timestamp {
    let passed = i64::try_from(u64::from(tick) * step_ms).unwrap_or(0);
    Timestamp::from_millisecond(1_000_000_000 + passed).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn index(region: &domicile_core::names::RegionName) -> usize {
    usize::from(region.as_str() == NAMES[1])
}
