//! The world: one queue of events in virtual time, and all that they happen to.

pub(crate) mod clients;
pub(crate) mod database;
pub(crate) mod faults;
pub(crate) mod hub;
pub(crate) mod messages;
pub(crate) mod net;
pub(crate) mod people;
pub(crate) mod records;
pub(crate) mod replication;
pub(crate) mod statements;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domicile_core::facts::{Epoch, Heartbeat};
use domicile_core::failover::{Decision, Observation, Stored};
use domicile_core::health::Verdict;

use domicile_core::agent::Renewal;
use domicile_core::lease::{Promise, WriteLease};

use crate::agent::{self, Agent, Turn};
use crate::chance::{Chance, Who, mix};
use crate::checks::Checks;
use crate::coverage::Coverage;
use crate::fault::{Effect, Fault, Kind, Ms, Side};
use crate::mutants::Process;
use crate::operator::{Operator, Tick};
use crate::setup::Setup;
use clients::Client;
use database::{MEMBERS, SERVERS, Server};
use hub::{Hub, Request};
use messages::{Statement, Ticket};
use net::Net;

/// After the last fault everything must be at rest within this time.
pub(crate) const REST: Ms = 400_000;
/// A machine that was quiet for so long is at rest.
const QUIET: Ms = 8_000;

/// What happens next.
#[derive(Debug)]
pub(crate) enum Event {
    Begins(usize),
    Ends(usize),
    Stream(usize),
    Promoted(usize, u32, Epoch, Ticket),
    Write(usize),
    View(usize, usize, Epoch),
    /// Server, its starts, who asks, what, and how often it was tried to deliver.
    Sql(usize, u32, Ticket, Statement, u32),
    Call(Ticket, Request),
    Operator(usize, u32, Tick),
    Administrator,
    Agent(usize, u32, Turn),
    Renewal(usize, u32, Renewal, Option<u64>),
}

/// What the operator knew when it decided, for the checks.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub at: Ms,
    /// The process that decided.
    pub by: hub::Holder,
    pub active: Verdict,
    /// More than half of all regions looked dead.
    pub most_dead: bool,
    /// Which standbys heard from their primary all the time of late, in truth.
    pub stream_of: [bool; MEMBERS],
    pub cooldown_ms: Ms,
}

/// A crash or a stop that waits for an operator to come by.
#[derive(Debug)]
pub(crate) struct Trap {
    pub until: Ms,
    pub effect: Effect,
    /// A crash on this side; none is a stop before it.
    pub crash: Option<Side>,
    pub frozen_for: Ms,
}

/// A fault that waits for a state.
#[derive(Debug)]
pub(crate) struct Trigger {
    pub until: Ms,
    pub state: domicile_core::failover::State,
    pub then: Kind,
    pub lasts: Ms,
}

/// How long such a fault waits.
pub(crate) const WAITS: Ms = 30_000;

pub(crate) type Decide = fn(&Observation) -> Decision;

pub(crate) struct World {
    pub now: Ms,
    pub setup: Setup,
    pub faults: Vec<Fault>,
    pub decide: Decide,
    pub process: Process,
    pub chance: Chance,
    pub net: Net,
    pub servers: Vec<Server>,
    pub beats: Vec<Heartbeat>,
    pub hub: Hub,
    pub hub_away: u32,
    pub operators: Vec<Operator>,
    pub clients: Vec<Client>,
    pub agents: Vec<Agent>,
    /// The write lease, and what each region's cluster promised, with their versions.
    pub lease: Option<(WriteLease, u64)>,
    pub promises: [Option<(Promise, u64)>; MEMBERS],
    pub traps: Vec<Trap>,
    pub triggers: Vec<Trigger>,
    /// The region whose next new pledge is its last word, and for how long.
    pub parting: Option<(usize, Ms)>,
    pub checks: Checks,
    pub coverage: Coverage,
    pub events: u64,
    pub trace: u64,
    /// The statement under way changed something.
    pub did: bool,
    pub healing: bool,
    /// Tells what happens, for a replay.
    pub aloud: bool,
    next_id: u64,
    next_commit: u32,
    sequence: u64,
    queue: BinaryHeap<Reverse<Queued>>,
}

struct Queued {
    at: Ms,
    sequence: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl World {
    pub(crate) fn new(setup: Setup, faults: Vec<Fault>, decide: Decide, process: Process) -> Self {
        let chance = Chance::new(setup.seed);
        let mut servers: Vec<_> = (0..SERVERS).map(Server::new).collect();
        servers[0].names = setup.synchronous.then_some(1);
        let stored = Setup::stored();
        let operators = (0..setup.operators)
            .map(|at| Operator::new(at, &setup))
            .collect();
        let clients = clients::all(&setup);
        let agents = agent::all(&setup);
        let mut world = Self {
            now: 0,
            checks: Checks::new(&stored, setup.settings.mode),
            setup,
            faults,
            decide,
            process,
            chance,
            net: Net::new(),
            servers,
            beats: Vec::new(),
            hub: Hub::new(stored),
            hub_away: 0,
            operators,
            clients,
            agents,
            lease: None,
            promises: [None; MEMBERS],
            traps: Vec::new(),
            triggers: Vec::new(),
            parting: None,
            coverage: Coverage::default(),
            events: 0,
            trace: 0,
            did: false,
            healing: false,
            aloud: false,
            next_id: 0,
            next_commit: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
        };
        world.checks.knows(&world.faults);
        world.begin();
        world
    }

    fn begin(&mut self) {
        for number in 0..self.faults.len() {
            let Fault { at, duration, .. } = self.faults[number];
            self.push(at, Event::Begins(number));
            self.push(at + duration, Event::Ends(number));
        }
        for standby in 1..MEMBERS {
            self.push(standby as Ms, Event::Stream(standby));
        }
        self.push(50, Event::Stream(0));
        for client in 0..self.clients.len() {
            self.push(100 + client as Ms, Event::Write(client));
        }
        for operator in 0..self.operators.len() {
            let at = self.chance.below(Who::Operator(operator), 500);
            self.tick(operator, at, Tick::Lease);
        }
        for number in 0..self.agents.len() {
            let at = self.chance.below(Who::Agent(number), 300);
            self.turn(number, at, Turn::Round);
        }
        if let Some(every) = self.setup.administrator {
            self.push(every, Event::Administrator);
        }
    }

    /// Runs to the end; an error names the broken invariant.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let ends = |fault: &Fault| {
            let waits = matches!(fault.kind, Kind::When { .. });
            fault.at + fault.duration + if waits { WAITS / 2 } else { 0 }
        };
        let horizon = self.faults.iter().map(ends).max().unwrap_or(0).max(5_000);
        while let Some(Reverse(Queued { at, event, .. })) = self.queue.pop() {
            if at > horizon && !self.healing {
                self.heal(horizon);
            }
            self.now = at;
            self.events += 1;
            self.trace = mix(self.trace ^ at ^ (event_number(&event) << 48));
            self.happen(event);
            if let Some(broken) = self.checks.broken.take() {
                return Err(broken);
            }
            if self.healing && self.at_rest(horizon) {
                return self.serves();
            }
            if at > horizon + REST {
                let stored = &self.hub.policy.stored;
                if self.waits_for_ever() {
                    return Ok(());
                }
                return Err(format!("I12: all healed, and it rests in {}", stored.state));
            }
        }
        Err("the world stood still".to_owned())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Begins(number) => self.fault_begins(number),
            Event::Ends(number) => self.fault_ends(number),
            Event::Stream(standby) => self.stream(standby),
            Event::Promoted(server, starts, epoch, ticket) => {
                self.promoted(server, starts, epoch, ticket);
            }
            Event::Write(client) => self.client_writes(client),
            Event::View(client, region, epoch) => self.client_sees(client, region, epoch),
            Event::Sql(server, starts, ticket, statement, tries) => {
                self.statement_arrives(server, starts, ticket, statement, tries);
            }
            Event::Call(ticket, request) => self.call_arrives(ticket, request),
            Event::Operator(operator, process, tick) => {
                self.operator_ticks(operator, process, tick);
            }
            Event::Administrator => self.administrator(),
            Event::Agent(number, process, turn) => self.agent_turns(number, process, turn),
            Event::Renewal(number, process, renewal, version) => {
                self.renewal_arrives(number, process, renewal, version);
            }
        }
    }

    pub(crate) fn push(&mut self, at: Ms, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.queue.push(Reverse(Queued {
            at,
            sequence,
            event,
        }));
    }

    /// Tells one thing that happens, when somebody listens.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:>7} {}", self.now, what());
        }
    }

    /// Something happens to this operator's process, if it still is the same then.
    pub(crate) fn tick(&mut self, operator: usize, at: Ms, tick: Tick) {
        let process = self.operators[operator].process;
        self.push(at, Event::Operator(operator, process, tick));
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn new_commit(&mut self) -> u32 {
        self.next_commit += 1;
        self.next_commit
    }

    /// An open bug (`docs/track-record.md`): a person demoted the old primary, and what the move
    /// may lose became more than is allowed after it was decided.
    fn waits_for_ever(&self) -> bool {
        let stored = &self.hub.policy.stored;
        let journal = stored.journal.as_ref();
        let decided = journal.is_some_and(|journal| journal.loss.is_some());
        self.checks.demoted && decided && stored.state == domicile_core::failover::State::Halted
    }

    /// The API server shows nothing new for a while, and nothing is under way.
    fn at_rest(&self, horizon: Ms) -> bool {
        let since = self.hub.last_write.max(horizon + 4_000);
        let led = self.operators.iter().any(|it| {
            let holds = self.hub.lease.holder == Some((it.at, it.process));
            // What was sent in vain is waited for, and done anew.
            let calm = !it.busy && it.missed + QUIET <= self.now;
            holds && it.filled() && calm && it.frozen_until + QUIET <= self.now
        });
        led && self.now > since + QUIET
            && self.hub.policy.stored.state == domicile_core::failover::State::Steady
    }

    /// At rest there is one who serves, and the credential that is published lets a client in.
    fn serves(&self) -> Result<(), String> {
        let stored: &Stored = &self.hub.policy.stored;
        let secret = self.hub.secret;
        let outside = self.clients.last().and_then(|client| client.acknowledged);
        if outside.is_none_or(|(at, server)| at + 6_000 < self.now || server != secret.region) {
            return Err(format!(
                "I12: Steady, and nobody can write to {} as {secret:?} says",
                stored.active
            ));
        }
        self.checks.at_rest(self)
    }
}

fn event_number(event: &Event) -> u64 {
    match event {
        Event::Begins(at) => 1 + (*at as u64) * 16,
        Event::Ends(at) => 2 + (*at as u64) * 16,
        Event::Stream(at) => 3 + (*at as u64) * 16,
        Event::Promoted(at, ..) => 4 + (*at as u64) * 16,
        Event::Write(at) => 5 + (*at as u64) * 16,
        Event::View(at, ..) => 6 + (*at as u64) * 16,
        Event::Sql(at, ..) => 7 + (*at as u64) * 16,
        Event::Call(ticket, _) => 8 + (ticket.operator as u64) * 16,
        Event::Operator(at, ..) => 9 + (*at as u64) * 16,
        Event::Administrator => 10,
        Event::Agent(at, ..) => 11 + (*at as u64) * 16,
        Event::Renewal(at, ..) => 12 + (*at as u64) * 16,
    }
}
