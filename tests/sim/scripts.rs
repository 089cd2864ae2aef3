//! Faults that fit each other: what leads to the places that chance alone seldom finds.

use domicile_core::failover::State;

use crate::chance::{Chance, Who};
use crate::draw::pick;
use crate::fault::{Effect, Fault, Kind, Ms, Place, Side, Wish};

const HOME: Kind = Kind::Isolate { server: 0 };

/// How many scripts there are; the rarer the place, the more numbers lead to it.
const SCRIPTS: u64 = 15;

/// One of the scripts, begun at this time.
pub(crate) fn script(at: Ms, duration: Ms, chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let fault = |after: Ms, duration: Ms, kind: Kind| Fault {
        at: at + after,
        duration,
        kind,
    };
    let long = chance.between(who, 12_000, 40_000);
    match chance.below(who, SCRIPTS) {
        // A person's failover, and the primary dies before it is fenced.
        0 => vec![
            fault(
                0,
                duration,
                when(State::Fencing, Kind::KillServer { server: 0 }),
            ),
            fault(100, 50, ask(Wish::Failover, 1)),
        ],
        // The old primary is back while its standby still replays.
        1..=3 => vec![
            fault(0, 12_000, Kind::PauseReplay { server: 1 }),
            fault(1_500, chance.between(who, 3_300, 5_500), HOME),
        ],
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
            let seconds = pick(chance, &[-30, -5]);
            let back = |operator| {
                let jump = Kind::WallJump { operator, seconds };
                fault(0, 50, when(State::Suspect, jump))
            };
            (0..3).map(back).chain([fault(100, 15_000, HOME)]).collect()
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

fn when(state: State, then: Kind) -> Kind {
    Kind::When {
        state: state.as_str().to_owned(),
        then: Box::new(then),
    }
}

fn ask(wish: Wish, to: usize) -> Kind {
    Kind::Ask {
        wish,
        to,
        accept: false,
        stale: false,
    }
}
