//! What a pass found, in the status of the binding and in events.

use std::sync::Arc;

use domicile_api::conditions::{Status, cut};
use domicile_api::meta::manager;
use domicile_api::service_binding::{
    BindingCondition, BindingReason, BoundSecret, ServiceBinding, ServiceBindingStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::error::BindingError;
use crate::context::Ctx;
use crate::kube::cas;
use crate::kube::events::Severity;

/// One answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Whether it holds.
    pub(super) status: Status,
    /// One word.
    pub(super) reason: BindingReason,
    /// For people.
    pub(super) message: String,
}

impl Finding {
    pub(super) fn good(reason: BindingReason, message: impl Into<String>) -> Self {
        Self::new(Status::True, reason, message)
    }

    pub(super) fn bad(reason: BindingReason, message: impl Into<String>) -> Self {
        Self::new(Status::False, reason, message)
    }

    pub(super) fn unknown(reason: BindingReason, message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, reason, message)
    }

    fn new(status: Status, reason: BindingReason, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }
}

/// All that a pass found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// About the service.
    pub(super) service: Finding,
    /// About the workloads.
    pub(super) workload: Finding,
    /// The Secret, when the service tells one.
    pub(super) secret: Option<String>,
}

impl Verdict {
    /// Nothing can be looked at, for this reason.
    pub(super) fn invalid(message: &str) -> Self {
        let invalid = |message: &str| Finding::bad(BindingReason::InvalidSpec, message);
        Self {
            service: invalid(message),
            workload: invalid(message),
            secret: None,
        }
    }

    /// The first finding that is not good; when all are, the last.
    pub(super) fn ready(&self) -> Finding {
        let first = [&self.service, &self.workload]
            .into_iter()
            .find(|finding| finding.status != Status::True);
        match first {
            Some(bad) => Finding::bad(bad.reason, bad.message.clone()),
            None => Finding::good(BindingReason::Projected, self.workload.message.clone()),
        }
    }
}

/// Writes what a pass found, and tells of it when the answer is another one than before.
pub(super) async fn write(
    ctx: &Ctx,
    binding: &Arc<ServiceBinding>,
    verdict: &Verdict,
) -> Result<(), BindingError> {
    let next = status(binding, verdict, ctx.clock.now().wall);
    let ready = verdict.ready();
    let known = binding.status.as_ref().and_then(|status| {
        let mut all = status.conditions.iter();
        all.find(|one| one.type_ == BindingCondition::Ready.as_str())
    });
    let told = known.is_some_and(|known| known.reason == ready.reason.as_str());
    let bindings = &ctx.stores.bindings;
    cas::write_status(ctx, bindings, manager::BINDING, binding, next).await?;
    if !told {
        let severity = if ready.status == Status::True {
            Severity::Normal
        } else {
            Severity::Warning
        };
        let reason = ready.reason.as_str();
        ctx.events
            .publish(binding.as_ref(), severity, reason, "Bind", ready.message);
    }
    Ok(())
}

fn status(binding: &ServiceBinding, verdict: &Verdict, now: Timestamp) -> ServiceBindingStatus {
    let old = binding.status.clone().unwrap_or_default();
    let generation = binding.metadata.generation;
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let ready = verdict.ready();
    let conditions = [
        (BindingCondition::Ready, &ready),
        (BindingCondition::ServiceAvailable, &verdict.service),
        (BindingCondition::WorkloadAvailable, &verdict.workload),
    ];
    let one = |(type_, finding): (BindingCondition, &Finding)| {
        let mut before = old.conditions.iter();
        let before = before.find(|one| one.type_ == type_.as_str());
        let same = before.filter(|one| one.status == finding.status.as_str());
        Condition {
            type_: type_.as_str().to_owned(),
            status: finding.status.as_str().to_owned(),
            reason: finding.reason.as_str().to_owned(),
            message: cut(&finding.message).to_owned(),
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |one| one.last_transition_time.clone()),
        }
    };
    ServiceBindingStatus {
        binding: verdict
            .secret
            .clone()
            .map(|name| BoundSecret { name })
            .or_else(|| old.binding.clone()),
        conditions: conditions.into_iter().map(one).collect(),
        observed_generation: generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn binding() -> ServiceBinding {
        serde_json::from_value(json!({
            "metadata": { "name": "db", "generation": 3 },
            "spec": {
                "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
                "workload": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" },
            },
        }))
        .unwrap()
    }

    fn verdict(service: Finding, workload: Finding) -> Verdict {
        Verdict {
            service,
            workload,
            secret: None,
        }
    }

    #[test]
    fn ready_tells_the_first_reason_against_it() {
        let good = || Finding::good(BindingReason::SecretResolved, "s");
        let unknown = Finding::unknown(BindingReason::ServiceMissingBinding, "no Secret");
        let bad = || Finding::bad(BindingReason::FieldConflict, "a clash");
        let ready = verdict(unknown, bad()).ready();
        assert_eq!(
            (ready.status, ready.message.as_str()),
            (Status::False, "no Secret")
        );
        assert_eq!(verdict(good(), bad()).ready(), bad());
        let all = verdict(good(), good()).ready();
        assert_eq!(
            (all.status, all.reason),
            (Status::True, BindingReason::Projected)
        );
    }

    #[test]
    fn what_stays_keeps_its_time_and_the_secret_its_name() {
        let mut binding = binding();
        let mut first = verdict(
            Finding::good(BindingReason::SecretResolved, ""),
            Finding::good(BindingReason::Projected, ""),
        );
        first.secret = Some("s".to_owned());
        let early = Timestamp::from_second(1).unwrap();
        let before = status(&binding, &first, early);
        binding.status = Some(before.clone());
        let late = Timestamp::from_second(2).unwrap();
        assert_eq!(status(&binding, &first, late), before);
        first.secret = None;
        first.service = Finding::bad(BindingReason::ServiceNotFound, "gone");
        let after = status(&binding, &first, late);
        assert_eq!(after.binding, before.binding);
        assert_eq!(after.observed_generation, Some(3));
        let times: Vec<_> = after
            .conditions
            .iter()
            .map(|c| c.last_transition_time.0)
            .collect();
        assert_eq!(times, [late, late, early]);
    }
}
