//! How far a workload has rolled, as far as its own status tells: pure.

use domicile_api::injection::WorkloadKind;
use kube::Resource;
use kube::api::DynamicObject;
use serde_json::Value;

/// How many pods run the present template, and how many are wanted. What the workload's controller
/// counted for an older template does not count.
pub(super) fn rollout(live: &DynamicObject, kind: WorkloadKind) -> (i32, i32) {
    let count = |value: &Value, absent: i64| {
        i32::try_from(value.as_i64().unwrap_or(absent))
            .unwrap_or(i32::MAX)
            .max(0)
    };
    let (spec, status) = (&live.data["spec"], &live.data["status"]);
    let (updated, total) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => (
            count(&status["updatedReplicas"], 0),
            count(&spec["replicas"], 1),
        ),
        WorkloadKind::DaemonSet => (
            count(&status["updatedNumberScheduled"], 0),
            count(&status["desiredNumberScheduled"], 0),
        ),
    };
    let current = status["observedGeneration"].as_i64() >= live.meta().generation;
    (if current { updated.min(total) } else { 0 }, total)
}

/// Whether pods of an older template still run, as far as the workload's own status tells.
pub(super) fn has_old_pods(live: &DynamicObject, kind: WorkloadKind) -> bool {
    let status = &live.data["status"];
    let (all, updated) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
            (&status["replicas"], &status["updatedReplicas"])
        }
        WorkloadKind::DaemonSet => (
            &status["currentNumberScheduled"],
            &status["updatedNumberScheduled"],
        ),
    };
    let current = status["observedGeneration"].as_i64() >= live.meta().generation;
    !current || all.as_i64().unwrap_or(0) > updated.as_i64().unwrap_or(0)
}

/// Whether its controller leaves pods of an older template until somebody says otherwise.
pub(super) fn is_held(live: &DynamicObject, kind: WorkloadKind) -> bool {
    let spec = &live.data["spec"];
    let strategy = &spec["updateStrategy"];
    let on_delete = strategy["type"] == "OnDelete";
    match kind {
        WorkloadKind::Deployment => spec["paused"] == true,
        WorkloadKind::StatefulSet => {
            let partition = strategy["rollingUpdate"]["partition"].as_i64();
            let (updated, total) = rollout(live, kind);
            // Those above it roll.
            let done = |from: i64| from > 0 && i64::from(updated) + from >= i64::from(total);
            on_delete || partition.is_some_and(done)
        }
        WorkloadKind::DaemonSet => on_delete,
    }
}

/// Whether all pods that are wanted run the present template and are available.
pub(super) fn is_done(live: &DynamicObject, kind: WorkloadKind) -> bool {
    let available = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => "availableReplicas",
        WorkloadKind::DaemonSet => "numberAvailable",
    };
    let available = live.data["status"][available].as_i64().unwrap_or(0);
    is_replaced(live, kind) && available >= i64::from(rollout(live, kind).1)
}

/// Whether all pods that are wanted run the present template, and no others do.
pub(super) fn is_replaced(live: &DynamicObject, kind: WorkloadKind) -> bool {
    let (updated, total) = rollout(live, kind);
    updated >= total && !has_old_pods(live, kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KIND: WorkloadKind = WorkloadKind::Deployment;

    fn plain() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "api", "generation": 3 },
            "spec": { "replicas": 2 },
            "status": { "observedGeneration": 3, "updatedReplicas": 1 },
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_counts_only_what_was_counted_for_the_present_template() {
        let mut live = plain();
        assert_eq!(rollout(&live, KIND), (1, 2));
        live.metadata.generation = Some(4);
        assert_eq!(rollout(&live, KIND), (0, 2));
        live.data["status"] = json!({
            "observedGeneration": 4, "updatedNumberScheduled": 3, "desiredNumberScheduled": 3,
        });
        assert_eq!(rollout(&live, WorkloadKind::DaemonSet), (3, 3));
    }

    #[test]
    fn a_pod_of_an_older_template_is_seen_though_the_new_ones_are_all_there() {
        let mut live = plain();
        live.metadata.generation = Some(4);
        let mut has_old_pods = |status| {
            live.data["status"] = status;
            has_old_pods(&live, KIND)
        };
        let all = json!({ "observedGeneration": 4, "replicas": 2, "updatedReplicas": 2 });
        assert!(!has_old_pods(all));
        let surge = json!({ "observedGeneration": 4, "replicas": 3, "updatedReplicas": 2 });
        assert!(has_old_pods(surge));
        let stale = json!({ "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2 });
        assert!(has_old_pods(stale));
    }

    #[test]
    fn who_waits_for_somebody_is_told_from_who_rolls() {
        let held = |kind, spec: serde_json::Value| {
            let mut live = plain();
            live.data["spec"] = spec;
            is_held(&live, kind)
        };
        let (set, daemon) = (WorkloadKind::StatefulSet, WorkloadKind::DaemonSet);
        let on_delete = json!({ "updateStrategy": { "type": "OnDelete" } });
        let from = |partition: i64| {
            let rolling = json!({ "partition": partition });
            let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": rolling });
            json!({ "replicas": 2, "updateStrategy": strategy })
        };
        assert!(held(KIND, json!({ "paused": true })) && !held(KIND, json!({ "replicas": 2 })));
        assert!(held(set, on_delete.clone()) && held(daemon, on_delete));
        // One of two is updated.
        assert!(held(set, from(1)) && !held(set, from(0)) && !held(set, json!({})));
        let mut more = from(1);
        more["replicas"] = json!(3);
        assert!(!held(set, more), "the pods above the partition roll");
    }

    #[test]
    fn a_rollout_is_done_when_its_pods_are_available() {
        let mut live = plain();
        let status = |available: i64| {
            json!({
                "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2,
                "availableReplicas": available,
            })
        };
        live.data["status"] = status(1);
        assert!(is_replaced(&live, KIND) && !is_done(&live, KIND));
        live.data["status"] = status(2);
        assert!(is_done(&live, KIND));
        live.metadata.generation = Some(4);
        assert!(!is_replaced(&live, KIND) && !is_done(&live, KIND));
        live.data["spec"]["replicas"] = json!(0);
        live.data["status"] = json!({ "observedGeneration": 4 });
        assert!(is_done(&live, KIND), "nothing is wanted");
    }
}
