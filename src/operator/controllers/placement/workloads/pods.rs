//! Which pods started before the Secret changed: those have its old content as variables.

use domicile_api::injection::{InjectionMode, ReloadStrategy};
use domicile_api::placement::TenantPlacement;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use kube::core::Selector;

use super::refused;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::Progress;

/// Most pods of one workload that are looked at.
const LIMIT: u32 = 500;

/// Whether only the pods themselves tell which Secret they have.
pub(super) fn must_be_asked(tenant: &TenantPlacement) -> bool {
    let restarted = tenant.reload_strategy() == ReloadStrategy::RollingRestart;
    // The kubelet brings files up to date.
    !restarted && tenant.injection_mode() == InjectionMode::Env
}

/// The pods of a workload with a container, among these or any when empty, that started before.
pub(super) async fn older(
    at: &Place<'_>,
    live: &DynamicObject,
    containers: &[String],
    published: Timestamp,
    progress: &mut Progress,
) -> Result<Vec<String>, Halt> {
    let selector = live.data["spec"]["selector"].clone();
    let selector: Option<LabelSelector> = serde_json::from_value(selector).ok();
    let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) else {
        return Ok(Vec::new());
    };
    let parameters = ListParams::default().labels_from(&selector).limit(LIMIT);
    let pods = at.ctx.call(at.pods().list(&parameters)).await;
    let pods = pods.map_err(|error| refused(at, "listing pods", error, progress))?;
    let old = |pod: &&Pod| is_older(pod, containers, published);
    let mut names: Vec<String> = pods.iter().filter(old).map(ResourceExt::name_any).collect();
    names.sort();
    Ok(names)
}

/// A container that is not running yet will start with the present Secret. The API server keeps
/// whole seconds: one that started in the same second is believed to have it.
fn is_older(pod: &Pod, containers: &[String], published: Timestamp) -> bool {
    let started = |one: &ContainerStatus| {
        let running = one.state.as_ref()?.running.as_ref()?;
        Some(running.started_at.as_ref()?.0)
    };
    let status = pod.status.iter();
    let mut statuses = status.flat_map(|status| {
        let main = status.container_statuses.iter().flatten();
        main.chain(status.init_container_statuses.iter().flatten())
    });
    let leaves = pod.metadata.deletion_timestamp.is_some();
    !leaves
        && statuses.any(|one| {
            let asked = containers.is_empty() || containers.contains(&one.name);
            let before = |at: Timestamp| at.as_second() < published.as_second();
            asked && started(one).is_some_and(before)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn pod(state: &Value) -> Pod {
        let status = json!({ "name": "app", "image": "x", "imageID": "", "ready": true,
            "restartCount": 0, "state": state });
        serde_json::from_value(json!({ "status": { "containerStatuses": [status] } })).unwrap()
    }

    /// Faults: 87.
    #[test]
    fn a_container_that_started_before_has_the_old_secret() {
        let running = pod(&json!({ "running": { "startedAt": at(10).to_string() } }));
        assert!(is_older(&running, &[], at(11)));
        assert!(!is_older(&running, &[], at(10)));
        assert!(is_older(&running, &["app".to_owned()], at(11)));
        assert!(!is_older(&running, &["other".to_owned()], at(11)));
        let mut leaving = running;
        leaving.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(12)));
        assert!(!is_older(&leaving, &[], at(11)));
    }

    #[test]
    fn a_container_that_has_not_started_will_have_the_present_one() {
        let waiting = pod(&json!({ "waiting": { "reason": "ImagePullBackOff" } }));
        assert!(!is_older(&waiting, &[], at(11)));
        assert!(!is_older(&Pod::default(), &[], at(11)));
    }
}
