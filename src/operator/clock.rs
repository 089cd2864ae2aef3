//! The only place that reads a clock or sleeps.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domicile_core::time::{Mono, Now};
use nix::time::ClockId;

/// The process's clocks. Durations are measured on the boot clock, which also counts the time in
/// which the machine or the process stood still.
#[derive(Debug, Default)]
pub struct Clock {
    latest: AtomicU64,
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct DeadlinePassed(pub Duration);

impl Clock {
    /// The present moment on both clocks. The monotonic one never goes back.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of the clocks"
    )]
    pub fn now(&self) -> Now {
        Now {
            wall: jiff::Timestamp::now(),
            mono: self.mono(),
        }
    }

    /// The monotonic clock alone, in milliseconds.
    pub fn mono(&self) -> Mono {
        let millis = ClockId::CLOCK_BOOTTIME.now().map_or(0, |time| {
            let time = Duration::from(time);
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        });
        let before = self.latest.fetch_max(millis, Ordering::Relaxed);
        Mono(before.max(millis))
    }

    /// Waits.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that sleeps"
    )]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Runs `future`, for at most `limit`.
    pub async fn within<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, DeadlinePassed> {
        tokio::time::timeout(limit, future)
            .await
            .map_err(|_| DeadlinePassed(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_monotonic_clock_moves_on() {
        let clock = Clock::default();
        let before = clock.mono();
        clock.sleep(Duration::from_millis(5)).await;
        assert!(clock.mono().since(before) >= 4);
    }
}
