//! An operator's process: its clocks, its lease, its caches, and what it waits for. The I/O around
//! the decision is as in `src/operator`: what is cached there is cached here.

#![expect(
    clippy::needless_pass_by_value,
    reason = "an answer is handed on whole, whatever is read of it"
)]

pub(crate) mod authority;
pub(crate) mod carry;
pub(crate) mod follow;
pub(crate) mod lead;
pub(crate) mod observe;
pub(crate) mod sense;
pub(crate) mod tenant;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use domicile_core::facts::Facts;
use domicile_core::failover::{Ages, InSync, Look, Moments, Stored};
use domicile_core::health::Verdict;
use domicile_core::lease::WriteLease;
use domicile_core::time::{Mono, Now};
use jiff::Timestamp;

use crate::chance::Who;
use crate::fault::{Ms, Watch};
use crate::mutants::Process;
use crate::setup::Setup;
use crate::world::World;
use crate::world::database::{MEMBERS, SERVERS};
use crate::world::hub::{Object, Operation, Placement, Policy, Request};
use crate::world::messages::{Outcome, Statement};
use crate::world::records::Sighting;

/// What happens in one process.
#[derive(Debug)]
pub(crate) enum Tick {
    /// Looks at the lease, to take it.
    Lease,
    Renew,
    /// Ends the process when its lease is not newer than this.
    Expire(Mono),
    Probe(usize),
    Beat,
    Pass,
    Tenant,
    Answer(u64, Outcome),
    Watched(Watch, Object),
    /// What was decided goes out.
    Send(usize, Statement, Purpose, Ms),
    Call(Request, Purpose),
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    LookAtLease,
    TakeLease(Mono),
    RenewLease(Mono),
    LookAgain,
    List(Watch),
    Probe(usize, Mono),
    Read(usize),
    /// The first part of a fence.
    Shut(usize),
    Act,
    Asked,
    Stored(Rc<Following>),
    Recorded(Rc<Following>),
    Beat,
    LeaseRead,
    PromiseRead(usize),
    RecordWritten(usize),
    TryLogin(Seat),
    GetSecret(Seat),
    PutSecret(Seat),
    PutPlacement(Seat),
}

/// Where a tenant is to be served, as its placement's pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub region: usize,
    pub epoch: domicile_core::facts::Epoch,
    /// When its login was tried.
    pub tried: Ms,
}

/// What the records of operations are to follow.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    pub stored: Stored,
    pub refused: Vec<String>,
    pub rest: Ms,
    pub ensured: bool,
}

/// What a process knows of a server.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub answered: bool,
    pub verdict: Verdict,
    pub facts: Option<Rc<Facts>>,
    pub at: Mono,
}

/// A lease as this process saw it last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub version: u64,
    pub free: bool,
    pub since: Mono,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub version: u64,
    pub sent: Mono,
}

/// A pass that reads servers anew.
#[derive(Debug)]
pub(crate) struct Reading {
    pub policy: Rc<Policy>,
    pub fresh: BTreeMap<usize, Option<Rc<Facts>>>,
    pub pending: usize,
    pub others: VecDeque<usize>,
    pub lease: Option<Look<WriteLease>>,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of a process, not states"
)]
pub(crate) struct Operator {
    pub at: usize,
    pub process: u32,
    pub frozen_until: Ms,
    pub booted: Ms,
    pub uptime_before: Ms,
    pub drift: i64,
    pub wall_offset: i64,
    pub lag: [Ms; 3],
    pub shown_until: [Ms; 3],
    pub lost_replies: u64,
    pub linger: Ms,
    pub watches: [bool; 3],
    pub sight: Option<Sight>,
    pub held: Option<Held>,
    pub policy: Option<Rc<Policy>>,
    pub operations: Option<BTreeMap<String, Rc<Operation>>>,
    pub placement: Option<Rc<Placement>>,
    pub samples: [Option<Sample>; SERVERS],
    pub in_sync: Option<InSync>,
    pub moments: Moments,
    pub changed: Option<Mono>,
    /// When something that it sent last came to nothing.
    pub missed: Ms,
    pub reading: Option<Reading>,
    pub busy: bool,
    pub again: bool,
    pub next_pass: Option<Ms>,
    pub tenant_busy: bool,
    pub tenant_again: bool,
    pub beats: i64,
    /// Of the promise of each region, and last of the write lease.
    pub sightings: [Option<Sighting>; MEMBERS + 1],
    waiting: BTreeMap<u64, Purpose>,
    numbers: u64,
}

impl Operator {
    pub(crate) fn new(at: usize, setup: &Setup) -> Self {
        Self {
            at,
            process: 0,
            frozen_until: 0,
            booted: 0,
            uptime_before: setup.uptimes[at],
            drift: setup.drifts[at],
            wall_offset: 0,
            lag: [0; 3],
            shown_until: [0; 3],
            lost_replies: 0,
            linger: 0,
            watches: [false; 3],
            sight: None,
            held: None,
            policy: None,
            operations: None,
            placement: None,
            samples: Default::default(),
            in_sync: None,
            moments: Moments::default(),
            changed: None,
            missed: 0,
            reading: None,
            busy: false,
            again: false,
            next_pass: None,
            tenant_busy: false,
            tenant_again: false,
            beats: 0,
            sightings: [const { None }; MEMBERS + 1],
            waiting: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// The process ends, and all that it remembered with it.
    pub(crate) fn ends(&mut self) {
        self.process += 1;
        self.watches = [false; 3];
        (self.sight, self.held) = (None, None);
        (self.policy, self.operations, self.placement) = (None, None, None);
        self.samples = Default::default();
        (self.in_sync, self.changed, self.reading) = (None, None, None);
        self.moments = Moments::default();
        (self.busy, self.again, self.next_pass) = (false, false, None);
        (self.tenant_busy, self.tenant_again) = (false, false);
        self.waiting.clear();
        self.beats = 0;
        self.sightings = [const { None }; MEMBERS + 1];
    }

    pub(crate) fn leads(&self) -> bool {
        self.held.is_some()
    }

    /// Every cache holds its first list: only then does work begin.
    pub(crate) fn filled(&self) -> bool {
        self.policy.is_some() && self.operations.is_some() && self.placement.is_some()
    }

    /// Each process has a name of its own.
    pub(crate) fn identity(&self) -> String {
        format!("op-{}-{}", self.at, self.process)
    }

    pub(crate) fn expect(&mut self, purpose: Purpose) -> u64 {
        self.numbers += 1;
        self.waiting.insert(self.numbers, purpose);
        self.numbers
    }

    /// How long ago what is stored was. Each look is the first, where a process counts on the wall.
    fn ages(&mut self, stored: &Stored, now: Now, process: Process) -> Ages {
        if !process.ages_on_the_wall {
            return self.moments.ages(stored, now);
        }
        let mut ages = Moments::default().ages(stored, now);
        let four = [
            &mut ages.state,
            &mut ages.started,
            &mut ages.bounded,
            &mut ages.outage,
        ];
        for age in four.into_iter().chain(&mut ages.finished) {
            (age.known_ms, age.before_ms) = (age.before_ms.unwrap_or(0), None);
        }
        ages
    }

    fn mono(&self, now: Ms) -> Mono {
        let since = now.saturating_sub(self.booted) + self.uptime_before;
        let drifted = i128::from(since) * i128::from(1_000_000 + self.drift) / 1_000_000;
        Mono(u64::try_from(drifted).unwrap_or(0))
    }

    fn wall(&self, now: Ms) -> Timestamp {
        let ms = 1_000_000_000 + self.wall_offset + i64::try_from(now).unwrap_or(0);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl World {
    pub(crate) fn mono(&self, operator: usize) -> Mono {
        let it = &self.operators[operator];
        if self.process.counts_on_the_wall {
            let wall = it.wall(self.now).as_millisecond();
            return Mono(u64::try_from(wall).unwrap_or(0));
        }
        it.mono(self.now)
    }

    pub(crate) fn clocks(&self, operator: usize) -> Now {
        Now {
            wall: self.operators[operator].wall(self.now),
            mono: self.mono(operator),
        }
    }

    pub(crate) fn operator_ticks(&mut self, at: usize, process: u32, tick: Tick) {
        let it = &self.operators[at];
        if it.process != process {
            return;
        }
        if it.frozen_until > self.now {
            // All timers and answers are there at once when it goes on, in any order.
            let thaw = it.frozen_until + self.chance.below(Who::Operator(at), 20);
            self.tick(at, thaw, tick);
            return;
        }
        match tick {
            Tick::Lease => self.look_at_lease(at),
            Tick::Renew => self.renew(at),
            Tick::Expire(sent) => self.expire(at, sent),
            Tick::Probe(server) => self.probe(at, server),
            Tick::Beat => self.beat(at),
            Tick::Pass => self.pass(at),
            Tick::Tenant => self.tenant(at),
            Tick::Watched(watch, object) => self.watched(at, watch, object),
            Tick::Send(server, statement, purpose, limit) => {
                self.send_statement(at, server, statement, purpose, limit);
            }
            Tick::Call(request, purpose) => self.call(at, request, purpose),
            Tick::Answer(number, outcome) => {
                if let Some(purpose) = self.operators[at].waiting.remove(&number) {
                    self.answered(at, purpose, outcome);
                }
            }
        }
    }

    fn answered(&mut self, at: usize, purpose: Purpose, outcome: Outcome) {
        match purpose {
            Purpose::LookAtLease => self.lease_seen(at, outcome),
            Purpose::TakeLease(sent) => self.lease_taken(at, sent, outcome),
            Purpose::RenewLease(sent) => self.lease_renewed(at, sent, outcome),
            Purpose::LookAgain => self.lease_reread(at, outcome),
            Purpose::List(watch) => self.listed(at, watch, outcome),
            Purpose::Probe(server, started) => self.probed(at, server, started, outcome),
            Purpose::Read(server) => self.read(at, server, outcome),
            Purpose::Shut(server) => self.shut(at, server, outcome),
            Purpose::Act => self.acted(at, outcome),
            Purpose::Asked => self.asked(at, outcome),
            Purpose::Stored(following) => self.stored(at, &following, outcome),
            Purpose::Recorded(following) => self.recorded(at, &following, outcome),
            Purpose::Beat => {}
            Purpose::LeaseRead => self.lease_read(at, outcome),
            Purpose::PromiseRead(to) => self.promise_read(at, to, outcome),
            Purpose::RecordWritten(place) => self.record_written(at, place, outcome),
            Purpose::TryLogin(seat) => self.login_tried(at, seat, outcome),
            Purpose::GetSecret(seat) => self.secret_read(at, seat, outcome),
            Purpose::PutSecret(seat) => self.secret_written(at, seat, outcome),
            Purpose::PutPlacement(seat) => self.placement_written(at, seat, outcome),
        }
    }

    /// A pass is due at this time, unless one is due earlier.
    pub(crate) fn wake(&mut self, at: usize, when: Ms) {
        let it = &mut self.operators[at];
        if it.busy {
            it.again = true;
        } else if it.next_pass.is_none_or(|due| due > when) {
            it.next_pass = Some(when);
            self.tick(at, when, Tick::Pass);
        }
    }

    /// The pass ended; the next one is due after `rest`, or at once if something happened.
    pub(crate) fn ends_pass(&mut self, at: usize, rest: Ms) {
        let it = &mut self.operators[at];
        it.busy = false;
        it.reading = None;
        let rest = if std::mem::take(&mut it.again) {
            1
        } else {
            rest.max(1)
        };
        self.wake(at, self.now + rest);
    }
}
