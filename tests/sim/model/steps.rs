//! What may happen next, in any order, within bounds.

use domicile_core::facts::Role;
use domicile_core::failover::{Answer, Proof, State};
use stateright::{Model, Property};

use super::effects::late;
use super::faults::Fault;
use super::world::{Budget, Cut, Invariant, Late, Operator, Server, World};

/// What is gone through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub name: &'static str,
    /// Asynchronous, with agents that renew a write lease; else synchronous, without.
    pub leased: bool,
    pub budget: Budget,
    pub fault: Fault,
}

/// No epoch beyond this one is gone through.
const LAST_EPOCH: i64 = 4;

impl Bounds {
    /// A step of time: a renewal's, or one that is longer than every deadline of a move.
    pub(crate) fn step_ms(&self) -> u64 {
        if self.leased { 2_000 } else { 25_000 }
    }

    /// Whether these bounds are wide enough for what must be seen to happen in them.
    pub(crate) fn reaches(&self, name: &str) -> bool {
        let Budget {
            crashes,
            partitions,
            ticks,
            asks,
            ..
        } = self.budget;
        match name {
            FAILOVER => crashes + partitions > 0 && (!self.leased || ticks > 5),
            CONFIRMED => asks > 0 || partitions > 1,
            _given_up => partitions > 0 && !self.leased,
        }
    }
}

const FAILOVER: &str = "a failover ends";
const CONFIRMED: &str = "a move rests on a confirmed fence";
const GIVEN_UP: &str = "a move is given up";

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// An operator reads and decides; with true, what it does not reach counts as lost.
    Look(usize, bool),
    /// It does what it decided.
    Do(usize),
    /// It ends and begins anew; with true, what it was about to tell a server is on its way.
    Crash(usize, bool),
    Arrive(Late),
    Kill(usize),
    Start(usize),
    Cut(Cut),
    Heal(Cut),
    Write(usize),
    Stream(usize),
    Tick,
    Ask,
}

const CUTS: [Cut; 5] = [
    Cut::Region(0),
    Cut::Region(1),
    Cut::Between(0, 0),
    Cut::Between(1, 0),
    Cut::Stream,
];

impl Model for Bounds {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.leased, self.budget)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        for operator in 0..2 {
            operators(world, operator, acts);
        }
        for server in 0..2 {
            servers(self, world, server, acts);
        }
        let left = world.left;
        for cut in CUTS {
            if world.cuts.contains(&cut) {
                acts.push(Act::Heal(cut));
            } else if left.partitions > 0 && !covered(world, cut) {
                acts.push(Act::Cut(cut));
            }
        }
        acts.extend(world.wire.iter().map(|late| Act::Arrive(*late)));
        if left.ticks > 0 {
            acts.push(Act::Tick);
        }
        if left.asks > 0 && world.stored.state == State::Steady && world.promotions.is_empty() {
            acts.push(Act::Ask);
        }
    }

    fn next_state(&self, before: &World, act: Act) -> Option<World> {
        let mut world = before.clone();
        match act {
            Act::Look(operator, lost) => world.look(self, operator, lost),
            Act::Do(operator) => world.act(self, operator),
            Act::Crash(operator, sent) => {
                world.left.crashes -= 1;
                world.crashes(operator, sent);
            }
            Act::Arrive(late) => {
                world.wire.remove(&late);
                world.arrives(self, late);
            }
            Act::Kill(server) => {
                world.left.crashes -= 1;
                world.cutting(|world| world.kills(server));
            }
            Act::Start(server) => {
                world.cutting(|world| world.servers[server].running = true);
            }
            Act::Cut(cut) => {
                world.left.partitions -= 1;
                world.cutting(|world| {
                    world.cuts.insert(cut);
                });
            }
            Act::Heal(cut) => {
                world.cutting(|world| {
                    world.cuts.remove(&cut);
                });
            }
            Act::Write(server) => {
                world.left.writes -= 1;
                world.writes(server);
            }
            Act::Stream(server) => world.streams(server),
            Act::Tick => {
                world.left.ticks -= 1;
                world.tick += 1;
                // No agent lets more than a step of time pass.
                for region in (0..2).filter(|_| self.leased) {
                    world.round(self, region);
                }
            }
            Act::Ask => {
                world.left.asks -= 1;
                world.asked = Some(world.stored.epoch);
            }
        }
        let world = world.without_names();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let whole = [
            Property::always("I1: at most one server acknowledges writes", |_, world| {
                holds(world, Invariant::TwoWriters)
            }),
            Property::always("I1: at most one server may do so", |_, world: &World| {
                !world.servers.iter().all(Server::may_acknowledge)
            }),
            Property::always("I2: the epoch never goes back", |_, world| {
                holds(world, Invariant::EpochWentBack)
            }),
            Property::always(
                "I2: a move that is given up spends its epoch",
                |_, world| holds(world, Invariant::EpochGoesOn),
            ),
            Property::always("I2: one target and one promotion per epoch", |_, world| {
                holds(world, Invariant::TwoTargets)
            }),
            Property::always("I5: nothing acknowledged is lost", |_, world| {
                holds(world, Invariant::Lost)
            }),
            Property::always("no promotion without a proof that is true", |_, world| {
                holds(world, Invariant::Unproven)
            }),
            Property::always("I10: nobody acts whose time is over", |_, world| {
                holds(world, Invariant::Zombie)
            }),
        ];
        let reached = [
            Property::sometimes(FAILOVER, |model: &Self, world: &World| {
                let proof = super::pass::minimum(model.leased);
                moved(world, proof)
            }),
            Property::sometimes(CONFIRMED, |_, world: &World| moved(world, Proof::Confirmed)),
            Property::sometimes(GIVEN_UP, |_, world: &World| {
                world.stored.state == State::Aborting
            }),
        ];
        whole.into_iter().chain(reached).collect()
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.stored.epoch.0 <= LAST_EPOCH
    }
}

fn holds(world: &World, invariant: Invariant) -> bool {
    !world.broken.contains(&invariant)
}

/// A move ended on this proof.
fn moved(world: &World, proof: Proof) -> bool {
    let last = world.promotions.last();
    last.is_some_and(|last| last.proof == proof) && world.stored.state == State::Steady
}

/// A way that is cut already is not cut twice.
fn covered(world: &World, cut: Cut) -> bool {
    let region = |at| world.cuts.contains(&Cut::Region(at));
    match cut {
        Cut::Region(_) => false,
        Cut::Between(_, server) => region(server),
        Cut::Stream => region(0) || region(1),
    }
}

fn operators(world: &World, operator: usize, acts: &mut Vec<Act>) {
    let it = &world.operators[operator];
    if it.pending.is_some() {
        acts.push(Act::Do(operator));
    } else {
        acts.push(Act::Look(operator, true));
        if (0..2).any(|server| !world.reaches(operator, server)) {
            acts.push(Act::Look(operator, false));
        }
    }
    // One that remembers nothing loses nothing.
    let fresh = Operator {
        began: world.tick,
        ..Operator::default()
    };
    if world.left.crashes > 0 && *it != fresh {
        acts.push(Act::Crash(operator, false));
        let step = it
            .pending
            .as_ref()
            .and_then(|pending| match &pending.answer {
                Answer::Work(step) => late(step),
                Answer::Move(_) | Answer::Wait(_) => None,
            });
        acts.extend(step.map(|_| Act::Crash(operator, true)));
    }
}

fn servers(bounds: &Bounds, world: &World, at: usize, acts: &mut Vec<Act>) {
    let (it, other) = (&world.servers[at], &world.servers[1 - at]);
    if !it.running {
        acts.push(Act::Start(at));
    } else if world.left.crashes > 0 && !bounds.leased {
        acts.push(Act::Kill(at));
    }
    let open = it.session || it.row().writable;
    let free = it.running && it.role == Role::Primary && it.waiting.is_none();
    if world.left.writes > 0 && open && free {
        acts.push(Act::Write(at));
    }
    let behind = it.log.len() < other.log.len() || other.waiting.is_some();
    if it.role == Role::Standby && behind && world.hears(at) {
        acts.push(Act::Stream(at));
    }
}
