//! Time as an argument: a wall clock for people and files, a monotonic clock for durations.

use std::time::Duration;

use jiff::Timestamp;

/// A reading of this process's monotonic clock, in milliseconds since the machine booted.
/// Readings of different machines, or of one machine across a reboot, are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that lies `ago` before, or the boot of the machine.
    #[must_use]
    pub fn before(self, ago: Duration) -> Self {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(ago))
    }
}

/// The present moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// What a person reads and what is stored; may jump, so that no duration is measured with it.
    pub wall: Timestamp,
    /// What durations within one process are measured with.
    pub mono: Mono,
}

impl Now {
    /// The stored moment that lies `seconds` ahead, or the end of time.
    pub fn plus_seconds(&self, seconds: u32) -> Timestamp {
        Timestamp::from_second(self.wall.as_second().saturating_add(i64::from(seconds)))
            .unwrap_or(Timestamp::MAX)
    }
}
