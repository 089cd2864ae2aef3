//! What people do with servers by hand, beside the machine: faults that fit each other.

use domicile_core::failover::State;

use crate::chance::{Chance, Who};
use crate::draw::pick;
use crate::fault::{Effect, Fault, Kind, Ms, Side, Wish};
use crate::scripts::{ask, when};

fn fault(at: Ms, duration: Ms, kind: Kind) -> Fault {
    Fault { at, duration, kind }
}

/// Somebody promotes a standby while the active server serves, or when it is lost; or demotes the
/// old primary within a move.
pub(crate) fn split(chance: &mut Chance) -> Vec<Fault> {
    let who = Who::Schedule;
    let server = pick(chance, &[1, 1, 2]);
    let at = chance.between(who, 6_000, 10_000);
    let undone = fault(
        at + chance.between(who, 6_000, 20_000),
        50,
        Kind::Rejoin { server },
    );
    let mut faults = match chance.below(who, 12) {
        0 | 1 => vec![fault(at, 50, Kind::PromoteByHand { server })],
        2..=4 => in_state(State::Suspect, at, server, chance),
        // Nobody leads for a while once the outage is told.
        5 | 6 => {
            let (side, effect) = (Side::After, Effect::Store);
            let dies = when(State::Suspect, Kind::Crash { side, effect });
            let mut faults = in_state(State::Outage, at, server, chance);
            faults.push(fault(at - 1_000, 20_000, dies));
            faults
        }
        _demoted => return demoted(at, chance),
    };
    faults.push(undone);
    faults
}

/// Somebody promotes a standby while the machine waits in this state: for what its guards want, or
/// for an approval.
pub(crate) fn while_it_waits(state: State, chance: &mut Chance) -> Vec<Fault> {
    let at = chance.between(Who::Schedule, 6_000, 10_000);
    let server = pick(chance, &[1, 2]);
    in_state(state, at, server, chance)
}

/// The home server is lost, and in this state somebody promotes another.
fn in_state(state: State, at: Ms, server: usize, chance: &mut Chance) -> Vec<Fault> {
    let lost = chance.between(Who::Schedule, 12_000, 30_000);
    let by_hand = when(state, Kind::PromoteByHand { server });
    vec![
        fault(at - 1_000, 50, by_hand),
        fault(at, lost, Kind::KillServer { server: 0 }),
    ]
}

/// A planned move cannot end, and somebody has demoted the old primary: there is nobody who could
/// get the right to write back.
fn demoted(at: Ms, chance: &mut Chance) -> Vec<Fault> {
    let lost = chance.between(Who::Schedule, 4_000, 8_000);
    vec![
        fault(at, 25_000, Kind::PauseReplay { server: 1 }),
        fault(at, 50, when(State::CatchingUp, Kind::Demote { server: 0 })),
        fault(at + 200, 50, ask(Wish::Switchover, 1)),
        fault(at + lost, 6_000, Kind::KillServer { server: 1 }),
        // The old one is started again as what it was, or not in time.
        fault(at + 3 * lost, 50, Kind::PromoteByHand { server: 0 }),
    ]
}
