//! How long a move may take.

use super::super::state::{Proof, Settings};

/// Upper limits, not measurements, for replay, promotion, and Secrets and workloads, in seconds.
const CATCH_UP_SECONDS: u32 = 30;
const PROMOTE_SECONDS: u32 = 30;
const REROUTE_SECONDS: u32 = 60;

/// How long a move may take, in seconds, by its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Until the threshold of failed probes is reached.
    pub detect: u32,
    /// For asking the other vantages.
    pub confirm: u32,
    /// Until the proof of the fence holds.
    pub fence: u32,
    /// For replaying what was received.
    pub catch_up: u32,
    /// For the promotion.
    pub promote: u32,
    /// For turning Secrets and workloads.
    pub reroute: u32,
}

impl Budget {
    /// Their sum.
    pub fn total(&self) -> u32 {
        let Self {
            detect,
            confirm,
            fence,
            catch_up,
            promote,
            reroute,
        } = *self;
        [detect, confirm, fence, catch_up, promote, reroute]
            .into_iter()
            .fold(0, u32::saturating_add)
    }

    /// Only the end of a lease is waited for.
    pub(super) fn of(settings: &Settings, proof: Proof) -> Self {
        let fence = match proof {
            Proof::LeaseExpired => settings.lease.wait_seconds(),
            Proof::Assumed | Proof::SynchronousReplication | Proof::Confirmed => 0,
        };
        Self {
            detect: settings
                .interval_seconds
                .saturating_mul(settings.failure_threshold),
            confirm: settings.timeout_seconds.saturating_mul(2),
            fence,
            catch_up: CATCH_UP_SECONDS,
            promote: PROMOTE_SECONDS,
            reroute: REROUTE_SECONDS,
        }
    }
}
