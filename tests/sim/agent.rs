//! Agents: two replicas beside the server of each region. What they decide is `core::agent`; the
//! rounds around it are those of `src/operator/agent`.

use std::collections::BTreeMap;

use domicile_core::agent::{
    Database, Hub, Memory, Reach, Renewal, Sight, Versions, fence_due, leaves_seat, renewals,
};
use domicile_core::facts::{Epoch, Role};
use domicile_core::lease::{Promise, Sent};
use domicile_core::names::RegionName;
use domicile_core::time::{Mono, Now};
use jiff::Timestamp;

use crate::chance::Who;
use crate::fault::{Ms, Place};
use crate::setup::{Setup, TERMS};
use crate::world::database::MEMBERS;
use crate::world::people::{index, region};
use crate::world::records::{self, Record};
use crate::world::{Event, World};

/// Replicas in each region.
pub(crate) const REPLICAS: usize = 2;

#[derive(Debug)]
pub(crate) struct Agent {
    pub region: usize,
    pub process: u32,
    pub frozen_until: Ms,
    pub drift: i64,
    pub wall_offset: i64,
    memory: Memory,
    reach: Reach,
    /// Since when it has the seat, and when it last left that to the other.
    seated: Option<Mono>,
    left: Option<Mono>,
    /// The hub did not answer in the last round.
    silent: bool,
    /// Renewals under way, and what was seen when they were sent.
    pending: usize,
    seen: Option<Sight>,
}

/// What happens in one agent.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    Round,
    /// A renewal was answered: it succeeded, or did not.
    Answered(Renewal, bool),
    /// All answers are there, or their time is over.
    Closes,
    EndSessions,
}

/// The agents of all regions; none, where the setting has none.
pub(crate) fn all(setup: &Setup) -> Vec<Agent> {
    let count = if setup.agents { MEMBERS * REPLICAS } else { 0 };
    let agent = |number: usize| Agent {
        region: number / REPLICAS,
        process: 0,
        frozen_until: 0,
        drift: setup.drifts[number % 3],
        wall_offset: 0,
        memory: Memory::default(),
        reach: Reach::default(),
        seated: None,
        left: None,
        silent: true,
        pending: 0,
        seen: None,
    };
    (0..count).map(agent).collect()
}

/// The longest wait for one answer, and the rest between two rounds.
fn limit() -> Ms {
    (TERMS.lease_ms() / 20).clamp(250, 2_000)
}

impl Agent {
    fn now(&self, now: Ms) -> Now {
        let drifted = i128::from(now + 50_000) * i128::from(1_000_000 + self.drift) / 1_000_000;
        let wall = 1_000_000_000 + self.wall_offset + i64::try_from(now).unwrap_or(0);
        Now {
            mono: Mono(u64::try_from(drifted).unwrap_or(0)),
            wall: Timestamp::from_millisecond(wall).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// It left the seat a moment ago, and its pledge is not over.
    fn stays_away(&self, now: Now) -> bool {
        self.left
            .is_some_and(|left| now.mono.since(left) < 2 * limit() && !self.memory.is_over(now))
    }

    fn ends(&mut self) {
        self.process += 1;
        self.memory = Memory::default();
        self.reach = Reach::default();
        (self.seated, self.left) = (None, None);
        self.silent = true;
        self.seen = None;
    }
}

/// The versions of what was read.
fn named(
    versions: &records::Versions,
    hub: &Hub,
    promises: &BTreeMap<RegionName, Option<Promise>>,
) -> Versions {
    let name = |version: Option<u64>| version.map(|version| version.to_string());
    let promise = |region: &RegionName| {
        let version = name(versions.promises[index(region)]);
        (region.clone(), version)
    };
    Versions {
        lease: name(versions.lease).filter(|_| *hub != Hub::Silent),
        promises: promises.keys().map(promise).collect(),
    }
}

impl World {
    pub(crate) fn turn(&mut self, number: usize, at: Ms, turn: Turn) {
        let process = self.agents[number].process;
        self.push(at, Event::Agent(number, process, turn));
    }

    pub(crate) fn kill_agent(&mut self, number: usize) {
        self.agents[number].ends();
        self.turn(number, self.now + 1_000, Turn::Round);
    }

    pub(crate) fn agent_turns(&mut self, number: usize, process: u32, turn: Turn) {
        let agent = &self.agents[number];
        if agent.process != process {
            return;
        }
        if agent.frozen_until > self.now {
            let thaw = agent.frozen_until + self.chance.below(Who::Agent(number), 20);
            self.turn(number, thaw, turn);
            return;
        }
        match turn {
            Turn::Round => self.agent_looks(number),
            Turn::Answered(renewal, done) => self.agent_hears(number, &renewal, done),
            Turn::Closes => self.agent_closes(number),
            Turn::EndSessions => {
                let at = self.agents[number].region;
                if self.servers[at].answers(self.now) {
                    self.end_sessions(at);
                }
            }
        }
    }

    /// One look at everything, and the renewals that follow from it.
    fn agent_looks(&mut self, number: usize) {
        let at = self.agents[number].region;
        let here = Place::Inside(at);
        let database = self.agent_database(number, at);
        let clusters = self.setup.clusters;
        let others = (0..MEMBERS).filter(|other| clusters && *other != at);
        let held = self.promises;
        let promises: BTreeMap<RegionName, Option<Promise>> = others
            .filter(|other| self.agent_reaches(here, Place::Cluster(*other)))
            .map(|other| (region(other), held[other].map(|(record, _)| record)))
            .collect();
        let hub = if self.hub_away == 0 && self.agent_reaches(here, Place::Hub) {
            Hub::Says(self.lease.as_ref().map(|(record, _)| record.clone()))
        } else {
            Hub::Silent
        };
        let versions = self.versions();
        let agent = &mut self.agents[number];
        let now = agent.now(self.now);
        agent.reach.note(&promises, now.mono);
        let reachable = agent.reach.lately(TERMS, now.mono);
        let seen = Sight {
            now,
            region: region(at),
            versions: named(&versions, &hub, &promises),
            hub,
            database: database.unwrap_or(Database::Silent),
            promises,
            reachable,
        };
        agent.silent = seen.hub == Hub::Silent;
        agent.memory.note(&seen);
        let heard = seen.hub != Hub::Silent && agent.memory.pledge.is_some();
        if self.process.counts_each_look && heard {
            agent.memory.hub = Some(Sent::at(seen.now));
        }
        if database.is_none() {
            self.turn(number, self.now + limit(), Turn::Round);
            return;
        }
        let wanted = renewals(&seen, &agent.memory);
        for renewal in wanted
            .iter()
            .filter(|_| !self.process.pledges_when_answered)
        {
            agent.memory.sending(renewal, &seen);
        }
        (agent.pending, agent.seen) = (wanted.len(), Some(seen));
        for renewal in wanted {
            let to = match &renewal {
                Renewal::Lease(_) => Place::Hub,
                Renewal::Promise(region, _) => Place::Cluster(index(region)),
            };
            let way = self.chance.between(Who::Agent(number), 2, 40);
            let way = way + self.net.slower_by(here, to);
            let version = versions.of(&renewal);
            self.push(
                self.now + way,
                Event::Renewal(number, self.agents[number].process, renewal, version),
            );
        }
        let closes = if self.agents[number].pending == 0 {
            1
        } else {
            limit()
        };
        self.turn(number, self.now + closes, Turn::Closes);
    }

    fn agent_reaches(&mut self, here: Place, there: Place) -> bool {
        let lost = self
            .net
            .percent_lost(here, there)
            .max(self.net.percent_lost(there, here));
        let lost = lost > 0 && self.chance.percent(Who::Link(40), lost);
        self.net.both(here, there) && !lost
    }

    /// The own server, looked at from the seat; nothing without the seat.
    fn agent_database(&mut self, number: usize, at: usize) -> Option<Database> {
        let now = self.now;
        let server = &mut self.servers[at];
        if !server.answers(now) {
            return None;
        }
        let process = self.agents[number].process;
        // Who knows of no pledge and hears no hub has nothing to do on the seat, and another
        // replica may have.
        let agent = &self.agents[number];
        if agent.silent && agent.memory.pledge.is_none() {
            server.seat = server
                .seat
                .filter(|(holder, _)| *holder != (number, process));
            return None;
        }
        let free = server
            .seat
            .is_none_or(|(holder, used)| holder == (number, process) || now > used + limit() * 6);
        let (agent, moment) = (&mut self.agents[number], self.now);
        let moment = agent.now(moment);
        if !free || agent.stays_away(moment) {
            agent.seated = None;
            return None;
        }
        agent.seated.get_or_insert(moment.mono);
        server.seat = Some(((number, process), now));
        let row = server.row();
        Some(match server.role {
            Role::Standby => Database::Standby,
            Role::Primary => Database::Primary {
                row: Some(row),
                open: row.writable || !server.sessions.is_empty(),
            },
        })
    }

    /// A renewal arrives: it is taken when nothing was written since it was decided on.
    pub(crate) fn renewal_arrives(
        &mut self,
        number: usize,
        process: u32,
        renewal: Renewal,
        version: Option<u64>,
    ) {
        let here = Place::Inside(self.agents[number].region);
        let (record, there) = match &renewal {
            Renewal::Lease(lease) => (Record::Lease(lease.clone()), Place::Hub),
            Renewal::Promise(to, promise) => {
                let to = index(to);
                (Record::Promise(to, *promise), Place::Cluster(to))
            }
        };
        let away = there == Place::Hub && self.hub_away > 0;
        if away || !self.net.open(here, there) {
            return;
        }
        let known = self.lease.as_ref().and_then(|(lease, _)| lease.in_force());
        let pledges = match &record {
            Record::Lease(lease) => lease.in_force().is_some_and(|new| Some(new) != known),
            Record::Promise(..) => false,
        };
        let done = self.put_record(record, version).is_ok();
        if done && pledges && self.parts(self.agents[number].region) {
            return;
        }
        if self.net.open(there, here) && self.agents[number].process == process {
            let back = 2 + self.net.slower_by(there, here);
            self.turn(number, self.now + back, Turn::Answered(renewal, done));
        }
    }

    fn agent_hears(&mut self, number: usize, renewal: &Renewal, done: bool) {
        let agent = &mut self.agents[number];
        let Some(seen) = agent.seen.clone() else {
            // The answer came after its time.
            return;
        };
        if done {
            agent.memory.renewed(renewal, &seen);
            if let Renewal::Promise(region, promise) = renewal {
                agent.reach.gave(region, *promise, seen.now.mono);
            }
        }
        agent.pending = agent.pending.saturating_sub(1);
        if agent.pending == 0 {
            self.agent_closes(number);
        }
    }

    /// After the renewals: what they confirmed counts.
    fn agent_closes(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        let Some(mut seen) = agent.seen.take() else {
            return;
        };
        seen.now = agent.now(self.now);
        let due = fence_due(&seen, &agent.memory);
        if let Some(epoch) = due.filter(|_| !self.process.agent_never_fences) {
            self.agent_fences(number, epoch);
        } else {
            self.agent_leaves(number, &seen);
        }
        self.turn(number, self.now + limit(), Turn::Round);
    }

    /// Leaves the seat to the other replica, which may hear the hub.
    fn agent_leaves(&mut self, number: usize, seen: &Sight) {
        let agent = &mut self.agents[number];
        let Some(since) = agent.seated else {
            return;
        };
        if leaves_seat(seen, &agent.memory, seen.now.mono.since(since)) {
            (agent.left, agent.seated) = (Some(seen.now.mono), None);
            let seat = &mut self.servers[agent.region].seat;
            *seat = seat.filter(|((holder, _), _)| *holder != number);
        }
    }

    fn agent_fences(&mut self, number: usize, epoch: Epoch) {
        let at = self.agents[number].region;
        if !self.servers[at].answers(self.now) {
            return;
        }
        self.tell(|| format!("agent {number} fences server {at} at {epoch}"));
        self.coverage.self_fences += 1;
        if self.set_row(at, epoch, false) {
            self.turn(number, self.now + 60, Turn::EndSessions);
        }
    }
}
