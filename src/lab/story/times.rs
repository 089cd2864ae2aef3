//! How times are spread.

use serde::Serialize;

/// Distribution of some times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    /// Their distribution; none of no times.
    pub fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let count = times.len();
        // The nearest rank: a time that was measured, not one between two.
        let rank = |share: f64| {
            let rank = (share * count as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            count,
            p50: rank(0.5)?,
            p90: rank(0.9)?,
            p99: rank(0.99)?,
            max: rank(1.0)?,
        })
    }
}
