//! Links between places, each direction for itself.

use crate::fault::{Ms, Place};

const PLACES: usize = 15;

/// What is wrong with each link.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    cuts: [[u16; PLACES]; PLACES],
    loss: [[u64; PLACES]; PLACES],
    slow: [[Ms; PLACES]; PLACES],
    /// Since when nothing was changed.
    pub quiet_since: Ms,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            cuts: [[0; PLACES]; PLACES],
            loss: [[0; PLACES]; PLACES],
            slow: [[0; PLACES]; PLACES],
            quiet_since: 0,
        }
    }

    pub(crate) fn cut(&mut self, now: Ms, from: Place, to: Place, begins: bool) {
        self.quiet_since = now;
        let cuts = &mut self.cuts[number(from)][number(to)];
        *cuts = if begins {
            *cuts + 1
        } else {
            cuts.saturating_sub(1)
        };
    }

    pub(crate) fn lossy(&mut self, now: Ms, from: Place, to: Place, percent: u64) {
        self.quiet_since = now;
        self.loss[number(from)][number(to)] = percent;
    }

    pub(crate) fn slow(&mut self, now: Ms, from: Place, to: Place, by: Ms) {
        self.quiet_since = now;
        self.slow[number(from)][number(to)] = by;
    }

    /// Something can come through from here to there.
    pub(crate) fn open(&self, from: Place, to: Place) -> bool {
        self.cuts[number(from)][number(to)] == 0
    }

    pub(crate) fn both(&self, one: Place, other: Place) -> bool {
        self.open(one, other) && self.open(other, one)
    }

    pub(crate) fn percent_lost(&self, from: Place, to: Place) -> u64 {
        self.loss[number(from)][number(to)]
    }

    pub(crate) fn slower_by(&self, from: Place, to: Place) -> Ms {
        self.slow[number(from)][number(to)]
    }

    /// What is sent here or there arrives in good time.
    pub(crate) fn clean(&self, one: Place, other: Place) -> bool {
        self.both(one, other)
            && self.percent_lost(one, other) + self.percent_lost(other, one) == 0
            && self.slower_by(one, other) + self.slower_by(other, one) <= 300
    }
}

/// All places that stand outside the region of `server`.
pub(crate) fn beyond(server: usize) -> Vec<Place> {
    let operators = (0..3).map(Place::Operator);
    let servers = (0..4).filter(|at| *at != server).map(Place::Server);
    let inside = (0..3).filter(|at| *at != server).map(Place::Inside);
    let clusters = (0..3).filter(|at| *at != server).map(Place::Cluster);
    let rest = [Place::Hub, Place::Outside];
    let servers = servers.chain(inside).chain(clusters);
    operators.chain(servers).chain(rest).collect()
}

fn number(place: Place) -> usize {
    match place {
        Place::Operator(at) => at.min(2),
        Place::Server(at) => 3 + at.min(3),
        Place::Hub => 7,
        Place::Inside(at) => 8 + at.min(2),
        Place::Outside => 11,
        Place::Cluster(at) => 12 + at.min(2),
    }
}
