//! What was found on old primaries, at random.

use domicile_core::facts::Lsn;
use domicile_core::failover::{Dump, DumpState, Fork, Returned};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{epoch, name, region, time};

fn dumps() -> impl Strategy<Value = Dump> {
    const STATES: [DumpState; 4] = [
        DumpState::Blocked,
        DumpState::Running,
        DumpState::Failed,
        DumpState::Complete,
    ];
    (name(), select(&STATES[..])).prop_map(|(job, state)| Dump { job, state })
}

pub(super) fn forks() -> impl Strategy<Value = Fork> {
    let latest = option::of(any::<u64>().prop_map(Lsn));
    (any::<u32>(), any::<u64>(), latest).prop_map(|(timeline, position, latest)| Fork {
        timeline,
        position: Lsn(position),
        latest,
    })
}

pub(super) fn founds() -> impl Strategy<Value = Returned> {
    let place = (region(), epoch(), any::<u32>(), any::<u64>());
    let held = (vec("[a-z]{1,9}", 0..3), option::of(any::<u64>()));
    let strategy = (
        place,
        option::of(forks()),
        held,
        time(),
        option::of(dumps()),
    );
    strategy.prop_map(|(place, fork, held, found, dump)| Returned {
        region: place.0,
        epoch: place.1,
        timeline: place.2,
        position: Lsn(place.3),
        fork,
        left: held.1.map(Lsn),
        databases: held.0,
        found,
        dump,
    })
}
