//! Faults that fit each other: what leads to the places that chance alone seldom finds.

use domicile_core::failover::State;

use crate::chance::{Chance, Who};
use crate::draw::pick;
use crate::fault::{Effect, Fault, Kind, Ms, Place, Side, Wish};
use crate::hands;
use crate::setup::Profile;

const HOME: Kind = Kind::Isolate { server: 0 };

/// How many scripts there are; the rarer the place, the more numbers lead to it.
const SCRIPTS: u64 = 23;
/// What a planned move does seldom, and so seldom ends in.
const RARE: [Effect; 8] = [
    Effect::Drain,
    Effect::Canary,
    Effect::Fence,
    Effect::Promote,
    Effect::TakeAuthority,
    Effect::Secret,
    Effect::Placement,
    Effect::SetSynchronous,
];

/// What a profile is about, early in the run.
pub(crate) fn about(profile: Profile, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let side = if chance.percent(who, 50) {
        Side::Before
    } else {
        Side::After
    };
    let crash = |effect| Fault {
        at: 1_000,
        duration: 90_000,
        kind: Kind::Crash { side, effect },
    };
    match profile {
        Profile::Any => Vec::new(),
        Profile::Leased => {
            if chance.percent(who, 20) {
                return unled(chance);
            }
            let mut faults = promised(8_000, 90, chance);
            let seldom = [
                Effect::Permit,
                Effect::Permit,
                Effect::Permit,
                Effect::Lease,
            ];
            faults.push(crash(pick(chance, &seldom)));
            faults
        }
        Profile::Caught => {
            let number = pick(chance, &[1, 4, 4, 4, 8]);
            numbered(number, 8_000, 12_000, chance)
        }
        Profile::Asked => {
            let number = pick(chance, &[7, 19, 22]);
            numbered(number, 8_000, 12_000, chance)
        }
        Profile::Crashed => crashed(side, chance),
        Profile::Lacking => numbered(20, 8_000, 12_000, chance),
        Profile::Orphaned => numbered(9, 8_000, 12_000, chance),
        Profile::Late => {
            let number = pick(chance, &[11, 17, 17]);
            numbered(number, 8_000, 12_000, chance)
        }
        Profile::Parted => parted(chance),
        Profile::Relaxed => relaxed(chance),
        Profile::Split => hands::split(chance),
        Profile::Barred => hands::while_it_waits(State::Blocked, chance),
        Profile::Unasked => hands::while_it_waits(State::AwaitingApproval, chance),
        Profile::Homeward => {
            let effects = [
                Effect::Ask,
                Effect::Ask,
                Effect::SetSynchronous,
                Effect::Drain,
            ];
            let lost = Fault {
                at: 6_000,
                duration: chance.between(who, 4_000, 8_000),
                kind: Kind::KillServer { server: 0 },
            };
            // Away once more, as soon as it is home.
            let again = Fault {
                at: chance.between(who, 35_000, 60_000),
                duration: 50,
                kind: ask(Wish::Switchover, 1),
            };
            vec![lost, crash(pick(chance, &effects)), again]
        }
    }
}

/// The leader ends with the promotion, and the old primary is back before another leads: all that
/// it finds is what was written before.
fn unled(chance: &mut Chance) -> Vec<Fault> {
    let server = 0;
    let back = chance.between(Who::Schedule, 15_000, 20_000);
    let (side, effect) = (Side::After, Effect::Promote);
    let lost = [Kind::KillServer { server }, Kind::FreezeServer { server }];
    let lost = lost[chance.below(Who::Schedule, 2) as usize].clone();
    [
        (8_000, back, lost),
        (8_000, 20_000, Kind::Crash { side, effect }),
    ]
    .map(|(at, duration, kind)| Fault { at, duration, kind })
    .into()
}

/// Operators end in a move there and back.
fn crashed(side: Side, chance: &mut Chance) -> Vec<Fault> {
    let crash = |effect| Fault {
        at: 1_000,
        duration: 90_000,
        kind: Kind::Crash { side, effect },
    };

    let crashes = [(); 4].map(|()| crash(pick(chance, &RARE)));
    let asks = [(8_000, 1), (30_000, 0)].map(|(at, to)| Fault {
        at,
        duration: 50,
        kind: ask(Wish::Switchover, to),
    });
    crashes.into_iter().chain(asks).collect()
}

/// The first pledge is the last word.
fn parted(chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;

    // The first pledge comes late, when the operator knows the servers already.
    let (from, to) = (Place::Inside(0), Place::Hub);
    let late = Fault {
        at: 0,
        duration: chance.between(who, 6_000, 10_000),
        kind: Kind::Cut { from, to },
    };
    let parts = Fault {
        at: 0,
        duration: chance.between(who, 25_000, 40_000),
        kind: Kind::Part { region: 0 },
    };
    vec![late, parts]
}

/// A person relaxes commits, and the primary is lost after that.
fn relaxed(chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;

    let fault = |at, duration, kind| Fault { at, duration, kind };
    let lost = chance.between(who, 6_000, 12_000);
    vec![
        fault(8_000, 50, Kind::Relax),
        fault(8_000 + lost, 20_000, HOME),
    ]
}

/// One of the scripts, begun at this time.
pub(crate) fn script(at: Ms, duration: Ms, chance: &mut Chance) -> Vec<Fault> {
    let number = chance.below(Who::Schedule, SCRIPTS);
    numbered(number, at, duration, chance)
}

fn numbered(number: u64, at: Ms, duration: Ms, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let fault = |after: Ms, duration: Ms, kind: Kind| Fault {
        at: at + after,
        duration,
        kind,
    };
    let long = chance.between(who, 12_000, 40_000);
    match number {
        // A person's failover, and the primary dies before it is fenced.
        0 => vec![
            fault(
                0,
                duration,
                when(State::Fencing, Kind::KillServer { server: 0 }),
            ),
            fault(100, 50, ask(Wish::Failover, 1)),
        ],
        // The old primary is back for the operator, while its standbys still replay.
        1..=3 => {
            let back = chance.between(who, 3_300, 7_000);
            let paused = [1, 2].map(|server| fault(0, 15_000, Kind::PauseReplay { server }));
            let apart = [1, 2].map(|to| {
                let (from, to) = (Place::Server(0), Place::Server(to));
                fault(1_500, 13_500, Kind::Cut { from, to })
            });
            let begin = [fault(1_500, back, HOME)];
            paused.into_iter().chain(apart).chain(begin).collect()
        }
        // The candidate is cut off when it should be promoted.
        4..=6 => vec![
            fault(0, long, when(State::Promoting, Kind::Isolate { server: 1 })),
            fault(100, long, HOME),
        ],
        // Somebody approves.
        7 => vec![
            fault(0, 50, when(State::AwaitingApproval, Kind::Approve)),
            fault(100, 15_000, Kind::KillServer { server: 0 }),
        ],
        // Nobody leads when the outage is over.
        8 => {
            let (side, effect) = (Side::After, Effect::Store);
            let dies = when(State::Suspect, Kind::Crash { side, effect });
            let back = chance.between(who, 3_000, 8_000);
            vec![
                fault(0, 20_000, dies),
                fault(100, back, Kind::KillServer { server: 0 }),
            ]
        }
        number => rarer(number, at, chance),
    }
}

fn rarer(number: u64, at: Ms, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let fault = |after: Ms, duration: Ms, kind: Kind| Fault {
        at: at + after,
        duration,
        kind,
    };
    match number {
        // Two regions are lost one after the other, and the third was never rejoined.
        9 | 10 => vec![
            fault(0, 35_000, HOME),
            fault(
                chance.between(who, 8_000, 16_000),
                25_000,
                Kind::KillServer { server: 1 },
            ),
        ],
        // A leader stands still before it publishes, while others move the tenants again.
        11 => {
            let stop = Kind::FreezeBefore {
                effect: Effect::Secret,
            };
            let asks =
                [22_000, 26_000, 30_000].map(|after| fault(after, 50, ask(Wish::Switchover, 0)));
            let begin = [
                fault(0, 45_000, stop),
                fault(100, 50, ask(Wish::Switchover, 1)),
            ];
            begin.into_iter().chain(asks).collect()
        }
        // The wall clocks go back while the primary is lost.
        12 => {
            let seconds = pick(chance, &[-3_600, -5]);
            let back = |operator| {
                let jump = Kind::WallJump { operator, seconds };
                fault(0, 50, when(State::Suspect, jump))
            };
            (0..3).map(back).chain([fault(100, 15_000, HOME)]).collect()
        }
        // The hub and the standbys lose the primary, and its agent does not lose their clusters;
        // half of the time it loses them later.
        13 | 14 => promised(at, 50, chance),
        // The primary's region is lost for longer than its lease.
        15 | 16 => vec![fault(0, chance.between(who, 14_000, 30_000), HOME)],
        number => rarest(number, at, chance),
    }
}

fn rarest(number: u64, at: Ms, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let fault = |after: Ms, duration: Ms, kind: Kind| Fault {
        at: at + after,
        duration,
        kind,
    };
    match number {
        // A person does not wait until the outage is told.
        19 => {
            let asks = when(State::Suspect, ask(Wish::Failover, 1));
            vec![
                fault(0, 50, asks),
                fault(100, 15_000, Kind::KillServer { server: 0 }),
            ]
        }
        // The standby's stream breaks when a planned move begins, and nobody can know it yet.
        20 | 21 => {
            let (from, to) = (Place::Server(0), Place::Server(1));
            let after = chance.below(who, 900);
            vec![
                fault(0, 50, ask(Wish::Switchover, 1)),
                fault(after, 25_000, Kind::Cut { from, to }),
            ]
        }
        // The primary is back before anybody approved.
        22 => {
            let back = chance.between(who, 5_000, 10_000);
            vec![fault(0, back, Kind::KillServer { server: 0 })]
        }
        // The next leader hears from the old primary later than from all others.
        _late => {
            let slow = |operator| {
                let (from, to) = (Place::Operator(operator), Place::Server(0));
                fault(6_000, 40_000, Kind::Slow { from, to, by: 250 })
            };
            let (side, effect) = (Side::Before, Effect::Promote);
            let begin = [
                fault(0, 20_000, Kind::Crash { side, effect }),
                fault(100, chance.between(who, 3_500, 5_500), HOME),
            ];
            (0..3).map(slow).chain(begin).collect()
        }
    }
}

/// The primary lives on its promises, and then perhaps loses those, too.
fn promised(at: Ms, percent: u64, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let duration = chance.between(who, 20_000, 40_000);
    let lost = [
        (Place::Inside(0), Place::Hub),
        (Place::Operator(0), Place::Server(0)),
        (Place::Operator(1), Place::Server(0)),
        (Place::Operator(2), Place::Server(0)),
        (Place::Server(1), Place::Server(0)),
        (Place::Server(2), Place::Server(0)),
    ];
    let later = [1, 2].map(|other| (Place::Inside(0), Place::Cluster(other)));
    let both = |at: Ms, (one, other): (Place, Place)| {
        [(one, other), (other, one)].map(|(from, to)| Fault {
            at,
            duration,
            kind: Kind::Cut { from, to },
        })
    };
    let after = at + chance.between(who, 2_000, 12_000);
    let more = later.into_iter().filter(|_| chance.percent(who, percent));
    let more: Vec<_> = more.flat_map(|way| both(after, way)).collect();
    lost.into_iter()
        .flat_map(|way| both(at, way))
        .chain(more)
        .collect()
}

pub(crate) fn when(state: State, then: Kind) -> Kind {
    Kind::When {
        state: state.as_str().to_owned(),
        then: Box::new(then),
    }
}

pub(crate) fn ask(wish: Wish, to: usize) -> Kind {
    Kind::Ask {
        wish,
        to,
        accept: false,
        stale: false,
    }
}
