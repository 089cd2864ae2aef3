//! From the wire to `core` and back. What cannot be understood is an error that stops for a
//! person; nothing unknown ever becomes a default.

mod machine;
mod returned;
#[cfg(test)]
mod tests;
mod views;

use std::fmt;

use domicile_core::facts::{Epoch, Lsn};
use domicile_core::failover::{LossBound, Settings, Standby};
use domicile_core::lease::Terms;
use domicile_core::names::ServerId;
use kube::ResourceExt;

use crate::policy::FailoverPolicy;
use crate::schema::MAX_EXACT;

pub use views::{backups, engine, holder, law, major, policy_view, region_view, residence, wish};

/// A value that cannot be what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError {
    /// The field, from the root of the object.
    pub field: &'static str,
    /// What it must be, and what it is.
    pub problem: String,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.problem)
    }
}

impl std::error::Error for ConvertError {}

impl TryFrom<&FailoverPolicy> for Settings {
    type Error = ConvertError;

    fn try_from(policy: &FailoverPolicy) -> Result<Self, ConvertError> {
        let spec = &policy.spec;
        let standbys = spec.standbys.iter().map(|standby| Standby {
            server: ServerId::new(&standby.region, &standby.server),
            priority: standby.priority,
            promotion: standby.promotion.into(),
        });
        let (detection, switchover) = (&spec.detection, &spec.switchover);
        Ok(Self {
            name: policy.name_any(),
            home: ServerId::new(&spec.primary.region, &spec.primary.server),
            standbys: standbys.collect(),
            mode: spec.mode.into(),
            paused: spec.paused,
            interval_seconds: natural(
                "spec.detection.intervalSeconds",
                detection.interval_seconds,
            )?,
            timeout_seconds: natural("spec.detection.timeoutSeconds", detection.timeout_seconds)?,
            failure_threshold: natural(
                "spec.detection.failureThreshold",
                detection.failure_threshold,
            )?,
            success_threshold: natural(
                "spec.detection.successThreshold",
                detection.success_threshold,
            )?,
            max_data_loss_seconds: natural(
                "spec.objectives.maxDataLossSeconds",
                spec.objectives.max_data_loss_seconds,
            )?,
            heartbeat_seconds: natural(
                "spec.objectives.heartbeatSeconds",
                spec.objectives.heartbeat_seconds,
            )?,
            quorum: natural("spec.detection.quorum", detection.quorum)?,
            minimum_proof: spec.fencing.minimum_proof.into(),
            lease: Terms {
                lease_seconds: natural("spec.fencing.leaseSeconds", spec.fencing.lease_seconds)?,
                renew_seconds: natural("spec.fencing.renewSeconds", spec.fencing.renew_seconds)?,
            },
            drain_seconds: natural("spec.switchover.drainSeconds", switchover.drain_seconds)?,
            max_freeze_seconds: natural(
                "spec.switchover.maxFreezeSeconds",
                switchover.max_freeze_seconds,
            )?,
            failback: spec.failback.mode.into(),
            stable_seconds: natural("spec.failback.stableSeconds", spec.failback.stable_seconds)?,
            max_stable_seconds: natural(
                "spec.failback.maxStableSeconds",
                spec.failback.max_stable_seconds,
            )?,
            cooldown_seconds: natural(
                "spec.damping.cooldownSeconds",
                spec.damping.cooldown_seconds,
            )?,
            max_automatic_per_day: natural(
                "spec.damping.maxAutomaticPerDay",
                spec.damping.max_automatic_per_day,
            )?,
            approval_seconds: natural(
                "spec.approval.expiresSeconds",
                spec.approval.expires_seconds,
            )?,
            rejoin: spec.rejoin.into(),
            dump: spec.dump.as_ref().map(|dump| dump.cron_job.clone()),
        })
    }
}

/// The seconds of a loss bound as the wire has them: absent when unknown.
pub fn loss_seconds(loss: LossBound) -> Option<i64> {
    match loss {
        LossBound::Seconds(seconds) => Some(i64::from(seconds)),
        LossBound::Unknown => None,
    }
}

/// A count as the wire has it: numbers that not every reader keeps exact become the largest one
/// that is.
pub fn exact(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(MAX_EXACT).min(MAX_EXACT)
}

fn bound(field: &'static str, seconds: Option<i64>) -> Result<LossBound, ConvertError> {
    Ok(match seconds {
        Some(seconds) => LossBound::Seconds(small(field, seconds)?),
        None => LossBound::Unknown,
    })
}

fn natural(field: &'static str, value: i32) -> Result<u32, ConvertError> {
    u32::try_from(value).map_err(|_| out_of_range(field, value.into()))
}

fn small(field: &'static str, value: i64) -> Result<u32, ConvertError> {
    u32::try_from(value).map_err(|_| out_of_range(field, value))
}

fn count(field: &'static str, value: i64) -> Result<u64, ConvertError> {
    u64::try_from(value).map_err(|_| out_of_range(field, value))
}

fn epoch_of(field: &'static str, value: i64) -> Result<Epoch, ConvertError> {
    if value < 0 {
        Err(out_of_range(field, value))
    } else {
        Ok(Epoch(value))
    }
}

fn lsn(field: &'static str, text: &str) -> Result<Lsn, ConvertError> {
    text.parse().map_err(|e| ConvertError {
        field,
        problem: format!("must be a position: {e}"),
    })
}

fn out_of_range(field: &'static str, value: i64) -> ConvertError {
    ConvertError {
        field,
        problem: format!("is out of range: {value}"),
    }
}
