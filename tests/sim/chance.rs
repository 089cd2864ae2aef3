//! Randomness without a stream: each draw is a hash of the seed, of who draws, and of how often it
//! drew. Taking one fault out of a schedule leaves what all others draw as it was.

/// A source of draws for one seed.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    seed: u64,
    counters: Vec<u64>,
}

/// Who draws. Each entity counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Setup,
    Schedule,
    Link(usize),
    Server(usize),
    Client(usize),
    Operator(usize),
    Agent(usize),
    Person,
}

const PER_KIND: usize = 64;

impl Who {
    fn index(self) -> usize {
        let (kind, number) = match self {
            Self::Setup => (0, 0),
            Self::Schedule => (1, 0),
            Self::Link(number) => (2, number),
            Self::Server(number) => (3, number),
            Self::Client(number) => (4, number),
            Self::Operator(number) => (5, number),
            Self::Agent(number) => (6, number),
            Self::Person => (7, 0),
        };
        kind * PER_KIND + number % PER_KIND
    }
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            counters: vec![0; 8 * PER_KIND],
        }
    }

    /// A number below `limit`; 0 when that is 0.
    pub(crate) fn below(&mut self, who: Who, limit: u64) -> u64 {
        let index = who.index();
        self.counters[index] += 1;
        let draw = mix(self.seed ^ mix(index as u64) ^ mix(self.counters[index] << 20));
        if limit == 0 { 0 } else { draw % limit }
    }

    /// A number of this range, its end included.
    pub(crate) fn between(&mut self, who: Who, from: u64, to: u64) -> u64 {
        from + self.below(who, to.saturating_sub(from) + 1)
    }

    /// True in so many of a hundred draws.
    pub(crate) fn percent(&mut self, who: Who, percent: u64) -> bool {
        self.below(who, 100) < percent
    }
}

/// Spreads each bit of `value` over all of the answer (splitmix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
