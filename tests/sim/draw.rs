//! From a seed to its schedule. A run has a few kinds of faults, not all: what never happens
//! together with anything else would hide what happens alone.

use domicile_core::failover::State;

use crate::chance::{Chance, Who};
use crate::fault::{Effect, Fault, Kind, Ms, Place, Side, Watch, Wish};
use crate::scripts;
use crate::setup::Setup;
use crate::world::database::{MEMBERS, SERVERS};

/// Groups of kinds; a run has some of them.
const GROUPS: u64 = 13;

/// The schedule of a seed.
pub(crate) fn schedule(setup: &Setup) -> Vec<Fault> {
    let mut chance = Chance::new(setup.seed);
    let who = Who::Schedule;
    let groups: Vec<u64> = match chance.below(who, 8) {
        // Only the operator's side: no tenant may be moved for that.
        0 => vec![6, 7, 8, 11],
        1 => (0..GROUPS).collect(),
        2 | 3 => vec![6],
        4 => vec![10, 12],
        5 => vec![12],
        _some => (0..2 + chance.below(who, 3))
            .map(|_| chance.below(who, GROUPS))
            .collect(),
    };
    let horizon = chance.between(who, 20_000, 80_000);
    let count = chance.between(who, 3, 12);
    let mut faults = scripts::about(setup.profile, &mut chance);
    for _ in 0..=chance.below(who, 3) {
        let (at, kind) = (chance.between(who, 4_000, horizon), mover(&mut chance));
        let duration = chance.between(who, 4_000, 20_000);
        faults.push(Fault { at, duration, kind });
    }
    for _ in 0..count {
        let at = chance.between(who, 4_000, horizon);
        let group = groups[chance.below(who, groups.len() as u64) as usize];
        let mut duration = duration(&mut chance);
        if group >= 11 {
            let several = if group == 11 { site } else { scripts::script };
            faults.extend(several(at, duration, &mut chance));
            continue;
        }
        let kind = kind(group, &mut chance);
        if matches!(kind, Kind::Crash { .. }) {
            duration = duration.max(20_000);
        }
        if matches!(kind, Kind::FreezeBefore { .. }) && chance.percent(who, 50) {
            // Long enough for another to lead, and so a zombie.
            duration = chance.between(who, 16_000, 40_000);
        }
        faults.push(Fault { at, duration, kind });
        if group == 6 || group == 10 {
            // A crash needs something that is being done: a move.
            let mover = mover(&mut chance);
            let at = at.saturating_sub(500) + chance.below(who, 1_500);
            faults.push(Fault {
                at,
                duration: 12_000,
                kind: mover,
            });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    let quiet = groups == [6, 7, 8, 11];
    faults.retain(|fault| !quiet || is_operators_own(&fault.kind));
    faults
}

/// The operators' own site is cut off from some servers, and they go on.
fn site(at: Ms, duration: Ms, chance: &mut Chance) -> Vec<Fault> {
    let lost: Vec<_> = (0..SERVERS)
        .filter(|_| chance.percent(Who::Schedule, 60))
        .collect();
    let ways = lost.into_iter().flat_map(|server| {
        (0..3).map(move |operator| (Place::Operator(operator), Place::Server(server)))
    });
    let cut = |(from, to)| Fault {
        at,
        duration,
        kind: Kind::Cut { from, to },
    };
    ways.map(cut).collect()
}

/// Whether this touches neither servers nor the ways between them.
pub(crate) fn is_operators_own(kind: &Kind) -> bool {
    match kind {
        Kind::Cut { from, to } | Kind::Loss { from, to, .. } | Kind::Slow { from, to, .. } => {
            [from, to]
                .iter()
                .any(|place| matches!(place, Place::Operator(_) | Place::Hub))
        }
        Kind::Linger { .. }
        | Kind::KillOperator { .. }
        | Kind::Crash { .. }
        | Kind::FreezeOperator { .. }
        | Kind::FreezeBefore { .. }
        | Kind::HubAway
        | Kind::WatchLag { .. }
        | Kind::LostReply { .. }
        | Kind::WallJump { .. }
        | Kind::Approve => true,
        Kind::When { then, .. } => is_operators_own(then),
        Kind::KillServer { .. }
        | Kind::FreezeServer { .. }
        | Kind::PauseReplay { .. }
        | Kind::KillAgent { .. }
        | Kind::FreezeAgent { .. }
        | Kind::Isolate { .. }
        | Kind::Part { .. }
        | Kind::Ask { .. }
        | Kind::Relax
        | Kind::PromoteByHand { .. }
        | Kind::Demote { .. }
        | Kind::Rejoin { .. } => false,
    }
}

fn duration(chance: &mut Chance) -> Ms {
    let longest = [1_500, 6_000, 20_000, 45_000][chance.below(Who::Schedule, 4) as usize];
    chance.between(Who::Schedule, 200, longest)
}

pub(crate) fn pick<T: Copy>(chance: &mut Chance, from: &[T]) -> T {
    from[chance.below(Who::Schedule, from.len() as u64) as usize]
}

fn server(chance: &mut Chance) -> usize {
    pick(chance, &[0, 0, 1, 1, 2])
}

/// Something that makes a move begin.
fn mover(chance: &mut Chance) -> Kind {
    let server = server(chance);
    match chance.below(Who::Schedule, 4) {
        0 => Kind::KillServer { server },
        1 => Kind::Isolate { server },
        _asked => ask(chance),
    }
}

fn ask(chance: &mut Chance) -> Kind {
    let wish = pick(
        chance,
        &[
            Wish::Switchover,
            Wish::Switchover,
            Wish::Failover,
            Wish::Failback,
        ],
    );
    let to = match wish {
        Wish::Failback => 0,
        Wish::Failover | Wish::Switchover => pick(chance, &[0, 1, 1, 2]),
    };
    Kind::Ask {
        wish,
        to,
        accept: chance.percent(Who::Schedule, 50),
        stale: chance.percent(Who::Schedule, 10),
    }
}

/// Effects before or after which an operator ends: the rare ones more often.
const CRASHES: [Effect; 22] = [
    Effect::Lease,
    Effect::Permit,
    Effect::Permit,
    Effect::Permit,
    Effect::Store,
    Effect::Drain,
    Effect::Drain,
    Effect::Fence,
    Effect::Promote,
    Effect::TakeAuthority,
    Effect::Canary,
    Effect::Canary,
    Effect::SetSynchronous,
    Effect::SetSynchronous,
    Effect::SetSynchronous,
    Effect::Ask,
    Effect::Ask,
    Effect::Ask,
    Effect::Ask,
    Effect::Record,
    Effect::Secret,
    Effect::Placement,
];

/// The states of a move, and those before one.
const STATES: [State; 12] = [
    State::Suspect,
    State::Outage,
    State::Blocked,
    State::AwaitingApproval,
    State::Draining,
    State::Fencing,
    State::CatchingUp,
    State::Aborting,
    State::Promoting,
    State::Rerouting,
    State::Verifying,
    State::Halted,
];

/// What may come between.
fn interruption(chance: &mut Chance) -> Kind {
    let server = server(chance);
    let operator = chance.below(Who::Schedule, 3) as usize;
    match chance.below(Who::Schedule, 14) {
        0 => Kind::KillServer { server },
        1 => Kind::FreezeServer { server },
        2 => Kind::Isolate { server },
        3 => Kind::PauseReplay { server },
        4 | 5 => ask(chance),
        6 => Kind::Approve,
        7 => Kind::Rejoin { server },
        8 | 9 => {
            let other = (server + 1 + chance.below(Who::Schedule, 2) as usize) % MEMBERS;
            Kind::Cut {
                from: Place::Server(server),
                to: Place::Server(other),
            }
        }
        10 => Kind::WallJump {
            operator,
            seconds: pick(chance, &[-3_600, -30, 30, 3_600]),
        },
        11 | 12 => Kind::KillOperator {
            operator,
            reboot: false,
        },
        _freeze => Kind::FreezeOperator { operator },
    }
}

fn kind(group: u64, chance: &mut Chance) -> Kind {
    let who = Who::Schedule;
    let operator = chance.below(who, 3) as usize;
    let at = server(chance);
    match group {
        0 => Kind::KillServer { server: at },
        1 => Kind::FreezeServer { server: at },
        2 => Kind::Isolate { server: at },
        3 => link(chance, Place::Operator(operator), Place::Server(at)),
        4 => {
            let other = (at + 1 + chance.below(who, 2) as usize) % MEMBERS;
            link(chance, Place::Server(at), Place::Server(other))
        }
        5 => ask(chance),
        6 => {
            let effect = pick(chance, &CRASHES);
            match chance.below(who, 7) {
                0 => Kind::FreezeBefore { effect },
                1..=3 => Kind::Crash {
                    side: Side::Before,
                    effect,
                },
                _after => Kind::Crash {
                    side: Side::After,
                    effect,
                },
            }
        }
        7 => around(operator, at, chance),
        8 => match chance.below(who, 4) {
            0 => Kind::Linger {
                operator,
                by: chance.between(who, 1_000, 20_000),
            },
            1 => link(chance, Place::Operator(operator), Place::Server(at)),
            2 => Kind::WallJump {
                operator,
                seconds: pick(chance, &[-3_600, -30, 30, 3_600]),
            },
            _approve => Kind::Approve,
        },
        10 => Kind::When {
            state: pick(chance, &STATES).as_str().to_owned(),
            then: Box::new(interruption(chance)),
        },
        _people => match chance.below(who, 6) {
            0 => Kind::Relax,
            1 => Kind::Approve,
            2 => Kind::PauseReplay { server: at },
            3 => link(chance, Place::Server(at), Place::Outside),
            4 => Kind::PromoteByHand { server: at },
            _rejoin => Kind::Rejoin { server: at },
        },
    }
}

/// What happens to processes, and between them and the API server.
fn around(operator: usize, at: usize, chance: &mut Chance) -> Kind {
    let who = Who::Schedule;
    match chance.below(who, 9) {
        0 => Kind::KillOperator {
            operator,
            reboot: chance.percent(who, 30),
        },
        1 | 2 => Kind::FreezeOperator { operator },
        3 => Kind::HubAway,
        7 => Kind::KillAgent { region: at },
        8 => Kind::FreezeAgent { region: at },
        4 => link(chance, Place::Operator(operator), Place::Hub),
        5 => Kind::LostReply {
            operator,
            percent: 50,
        },
        _lag => Kind::WatchLag {
            operator,
            watch: pick(chance, &Watch::ALL),
            by: chance.between(who, 200, 12_000),
        },
    }
}

fn link(chance: &mut Chance, one: Place, other: Place) -> Kind {
    let (from, to) = if chance.percent(Who::Schedule, 50) {
        (one, other)
    } else {
        (other, one)
    };
    match chance.below(Who::Schedule, 5) {
        0 => Kind::Loss {
            from,
            to,
            percent: pick(chance, &[5, 30, 70]),
        },
        1 => Kind::Slow {
            from,
            to,
            by: chance.between(Who::Schedule, 20, 900),
        },
        _cut => Kind::Cut { from, to },
    }
}
