//! The machine's clocks, one for all its processes and containers.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::error::{LabError, Result};

/// Nanoseconds since a fixed moment (the boot). Errors: the system has no such clock.
pub fn monotonic() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(LabError::system("read the monotonic clock"))?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// The time of day, which logs tell.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the times of the API server's log"
)]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_advances() {
        let before = super::monotonic().unwrap();
        assert!(super::monotonic().unwrap() >= before && before > 0);
    }
}
