//! The steps of the story: a region is lost, comes back, joins again, and tenants go home.

use std::time::Duration;

use serde_json::{Value, json};

use super::objects::{condition, is, kinds, summary};
use super::stage::Stage;
use super::watch::{PolicyWatch, Transition, path};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::postgres::Rejoined;
use crate::regions::How;

const MOVE_LIMIT: Duration = Duration::from_secs(90);
const STEP_LIMIT: Duration = Duration::from_mins(1);

/// A move as it was seen from outside, in monotonic nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// When the fault was injected, or the operation created.
    pub begun: u64,
    /// When the machine began to fence.
    pub fencing: u64,
    /// When it began to promote.
    pub promoting: u64,
    /// When it began to turn Secrets and workloads.
    pub rerouting: u64,
    /// When that was done.
    pub verifying: u64,
    /// When the machine was steady again.
    pub steady: u64,
    /// The region that was active before.
    pub from: String,
    /// The region that is active now.
    pub to: String,
    /// The epoch before and after.
    pub epochs: (i64, i64),
}

impl Moved {
    /// Puts a move together from the transitions since `begun`; none if a step is missing.
    pub fn read(seen: &[Transition], begun: u64) -> Option<Self> {
        let before = seen.iter().rev().find(|one| one.at < begun)?;
        let mut rest = seen.iter().filter(|one| one.at >= begun);
        let mut entered = |state: &str| rest.find(|one| one.state == state);
        let fencing = entered("Fencing")?.at;
        let promoting = entered("Promoting")?.at;
        let rerouting = entered("Rerouting")?.at;
        let verifying = entered("Verifying")?.at;
        let steady = entered("Steady")?;
        Some(Self {
            begun,
            fencing,
            promoting,
            rerouting,
            verifying,
            steady: steady.at,
            from: before.active.clone(),
            to: steady.active.clone(),
            epochs: (before.epoch, steady.epoch),
        })
    }
}

impl Stage {
    /// Loses a region; returns the moment.
    pub fn lose(&self, region: &str, how: How) -> Result<u64> {
        let fault = monotonic()?;
        self.lab.regions().lose(region, how)?;
        Ok(fault)
    }

    /// Waits until tenants are served from another region than `from`, and the machine is steady.
    pub fn await_moved(&self, watch: &PolicyWatch, from: &str, begun: u64) -> Result<Moved> {
        let moved = |one: &Transition| one.state == "Steady" && one.active != from;
        watch
            .wait("a completed move", begun, MOVE_LIMIT, moved)
            .map_err(|error| self.explain(&error))?;
        let seen = watch.seen();
        Moved::read(&seen, begun).ok_or_else(|| {
            LabError::State(format!("a move skipped a step: {}", path(&seen, begun)))
        })
    }

    /// Restores a region and waits until the policy says that it is kept apart.
    pub fn restore(&self, region: &str) -> Result<()> {
        self.lab.regions().restore(region)?;
        self.await_policy("the returned server is quarantined", |policy| {
            let reason = condition(policy, "StandbyHealthy").map(|one| one["reason"].clone());
            reason.is_some_and(|reason| reason == "AwaitingRejoin" || reason == "Quarantined")
        })
    }

    /// Rejoins a region as standby and waits until the policy counts it as healthy, and as
    /// synchronous where `synchronous` says so.
    pub fn rejoin(&self, region: &str, synchronous: bool) -> Result<Rejoined> {
        let how = self.lab.regions().rejoin(region)?;
        self.await_policy("the rejoined server is a healthy standby", |policy| {
            let in_sync = replication(policy, region).is_some_and(|one| {
                one["state"] == "Streaming" && one["synchronous"] == synchronous
            });
            is(policy, "StandbyHealthy", "True") && in_sync
        })?;
        Ok(how)
    }

    /// Asks for an operation and returns its name and the moment.
    pub fn operate(&self, kind: &str, target: &str, accept: &[&str]) -> Result<(String, u64)> {
        let policy = self.policy()?;
        let epoch = policy
            .pointer("/status/epoch")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let begun = monotonic()?;
        let name = format!("{}-{}-{begun}", self.policy, kind.to_lowercase());
        let operation = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverOperation",
            "metadata": {"name": name},
            "spec": {
                "policyRef": {"name": self.policy}, "type": kind, "target": target,
                "expectedEpoch": epoch, "accept": accept, "reason": "the story asks for it",
            },
        });
        self.objects.create(kinds::OPERATION, None, operation)?;
        Ok((name, begun))
    }

    /// Waits until an operation has ended; returns it. Errors: it did not succeed.
    pub fn await_success(&self, operation: &str) -> Result<Value> {
        let ended = self.await_end(operation)?;
        if ended.pointer("/status/state") == Some(&json!("Succeeded")) {
            return Ok(ended);
        }
        Err(LabError::State(format!(
            "operation {operation} ended otherwise: {}; {}",
            summary(&ended),
            ended.pointer("/status/message").unwrap_or(&Value::Null)
        )))
    }

    /// Waits until an operation has ended, however; returns it.
    pub fn await_end(&self, operation: &str) -> Result<Value> {
        let target = (kinds::OPERATION, None, operation);
        let states = ["Succeeded", "Failed", "Aborted", "Refused"];
        let ended = |object: &Value| {
            let state = object.pointer("/status/state").and_then(Value::as_str);
            state.is_some_and(|state| states.contains(&state))
        };
        let waited = self.objects.wait(target, "ended", MOVE_LIMIT, ended);
        waited.map_err(|error| self.explain(&error))
    }

    /// Brings tenants home by a planned move without loss.
    pub fn fail_back(&self, watch: &PolicyWatch, home: &str) -> Result<Moved> {
        let from = self.active()?;
        let (operation, begun) = self.operate("Failback", home, &[])?;
        self.await_success(&operation)?;
        self.await_moved(watch, &from, begun)
    }

    /// Waits until something is true of the policy.
    pub fn await_policy(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        let target = (kinds::POLICY, None, &*self.policy);
        self.objects.wait(target, what, STEP_LIMIT, is).map(drop)
    }

    fn explain(&self, error: &LabError) -> LabError {
        LabError::State(format!("{}; {}", error.report(), self.policy_summary()))
    }
}

/// What the policy says of the replication to a region.
pub fn replication<'a>(policy: &'a Value, region: &str) -> Option<&'a Value> {
    let all = policy.pointer("/status/replication")?.as_array()?;
    all.iter().find(|one| one["region"] == region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(at: u64, state: &str, epoch: i64, active: &str) -> Transition {
        Transition {
            at,
            state: state.to_owned(),
            epoch,
            active: active.to_owned(),
        }
    }

    #[test]
    fn a_move_has_all_its_steps_in_order() {
        let mut seen = vec![
            transition(1, "Steady", 1, "eu-west"),
            transition(11, "Suspect", 1, "eu-west"),
            transition(13, "Outage", 1, "eu-west"),
            transition(14, "Fencing", 2, "eu-west"),
            transition(15, "CatchingUp", 2, "eu-west"),
            transition(16, "Promoting", 2, "eu-west"),
            transition(17, "Rerouting", 2, "eu-central"),
            transition(18, "Verifying", 2, "eu-central"),
        ];
        assert_eq!(Moved::read(&seen, 10), None);
        seen.push(transition(19, "Steady", 2, "eu-central"));
        let moved = Moved::read(&seen, 10).unwrap();
        assert_eq!((&*moved.from, &*moved.to), ("eu-west", "eu-central"));
        assert_eq!((moved.promoting, moved.steady), (16, 19));
        assert_eq!(moved.epochs, (1, 2));
    }
}
