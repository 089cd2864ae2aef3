//! The positive controls: faults that must lose writes, or give two writers. A checker that does
//! not see these sees nothing, and the soak fails.

use serde_json::json;

use super::cycle::{MIN_WRITES, World};
use super::fault::Means;
use super::inject::rest;
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::regions::How;
use crate::story::Agents;

/// How long a standby may not hear its primary before that is killed.
const DEAF_MS: u64 = 1000;
/// A heartbeat must have been replayed after a change, or the loss bound is unknown.
const HEARTBEAT_MS: u64 = 2500;
/// The regions of the policy.
const GROUP: [&str; 2] = ["eu-west", "eu-central"];
/// Long enough that a fault that must move nobody, [`super::inject`], does not end it.
const LEASE_SECONDS: u32 = 20;
const RENEW_SECONDS: u32 = 3;

impl World {
    /// Runs both controls, without any means; returns what they saw. Errors: a control did not
    /// fire, or a step did not come.
    pub(super) fn controls(&mut self) -> Result<Vec<String>> {
        self.protect(Means::Nothing)?;
        let told = vec![self.loses()?, self.two_writers()?];
        self.since = monotonic()?;
        Ok(told)
    }

    /// Brings about what the soak runs with: synchronous replication, or agents on both sides.
    pub(super) fn arm(&mut self) -> Result<()> {
        if self.means == Means::Agents {
            for region in GROUP {
                self.posts
                    .insert(region, Agents::begin(&self.stage, region, &[])?);
            }
        }
        self.protect(self.means)
    }

    fn protect(&self, means: Means) -> Result<()> {
        let (primary, standby) = self.roles()?;
        let fencing = match means {
            Means::Synchronous => json!({"minimumProof": "SynchronousReplication"}),
            Means::Nothing => json!({"minimumProof": "Assumed"}),
            Means::Agents => json!({
                "minimumProof": "LeaseExpired",
                "leaseSeconds": LEASE_SECONDS, "renewSeconds": RENEW_SECONDS,
            }),
        };
        self.stage.change_policy(&json!({"fencing": fencing}))?;
        let synchronous = means == Means::Synchronous;
        self.stage
            .set_synchronous(primary.name, standby.name, synchronous)?;
        rest(HEARTBEAT_MS)
    }

    /// Asynchronous replication and a kill must lose what the standby did not hear, within the
    /// bound that the policy tells.
    fn loses(&self) -> Result<String> {
        let (primary, standby) = self.roles()?;
        let start = monotonic()?;
        self.await_writes(primary.name, MIN_WRITES)?;
        let followed = self.stage.stop_following(standby.name)?;
        rest(DEAF_MS)?;
        let fault = self.stage.lose(primary.name, How::Kill)?;
        self.stage.await_moved(&self.watch, primary.name, fault)?;
        let bound = self.stage.told_loss()?;
        self.stage.follow(standby.name, &followed)?;
        self.await_writes(standby.name, MIN_WRITES)?;
        // Judged before the old primary returns: what it alone has is lost to the tenants.
        let reports = self.stage.judge(start, &[])?;
        let lost: usize = reports.values().map(|one| one.verdict.lost.len()).sum();
        let ages = reports.values().map(|one| one.verdict.loss_seconds(fault));
        let oldest = ages.fold(0.0, f64::max);
        let told = format!("asynchronous + kill: {lost} writes lost, {oldest:.2} s of {bound} s");
        if lost == 0 || oldest > bound as f64 {
            return Err(LabError::State(format!("the control did not fire: {told}")));
        }
        self.stage.restore(primary.name)?;
        self.stage.rejoin(primary.name, false)?;
        Ok(told)
    }

    /// No fence and an isolated primary with a client inside must give two writers.
    fn two_writers(&self) -> Result<String> {
        let (primary, standby) = self.roles()?;
        let start = monotonic()?;
        let (inside, _) = self.stage.write_inside(primary.name)?;
        self.await_writes(primary.name, MIN_WRITES)?;
        let fault = self.stage.lose(primary.name, How::Cut)?;
        self.stage.await_moved(&self.watch, primary.name, fault)?;
        self.await_writes(standby.name, MIN_WRITES)?;
        let reports = self.stage.judge(start, &[])?;
        let dual: usize = reports.values().map(|one| one.verdict.dual.len()).sum();
        let writers = reports.values().map(|one| one.verdict.writers_at_once);
        let writers = writers.max().unwrap_or(0);
        let told =
            format!("no fence + isolation: {writers} writers, {dual} double acknowledgements");
        if dual == 0 || writers < 2 {
            return Err(LabError::State(format!("the control did not fire: {told}")));
        }
        self.stage.restore(primary.name)?;
        inside.end()?;
        self.stage.rejoin(primary.name, false)?;
        Ok(told)
    }
}
