//! The cluster's objects, as the JSON that the apiserver answers: the story must not depend on
//! the types of the program that it judges.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::api::{PostParams, PropagationPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::process::Patience;
use crate::run_in::{SpaceRuntime, runtime_in};

const CALL_LIMIT: Duration = Duration::from_secs(15);
/// A thousand placements are megabytes, and the machine may be busy with them.
const LIST_LIMIT: Duration = Duration::from_mins(1);

/// A kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
}

/// The kinds that the story touches.
pub mod kinds {
    use super::Kind;

    const fn ours(name: &'static str, plural: &'static str) -> Kind {
        Kind {
            group: "domicile.dev",
            version: "v1alpha1",
            name,
            plural,
        }
    }

    const fn standard(group: &'static str, name: &'static str, plural: &'static str) -> Kind {
        Kind {
            group,
            version: "v1",
            name,
            plural,
        }
    }

    /// A region.
    pub const REGION: Kind = ours("Region", "regions");
    /// A tenant's placement.
    pub const PLACEMENT: Kind = ours("TenantPlacement", "tenantplacements");
    /// A failover policy.
    pub const POLICY: Kind = ours("FailoverPolicy", "failoverpolicies");
    /// A move.
    pub const OPERATION: Kind = ours("FailoverOperation", "failoveroperations");
    /// A Secret.
    pub const SECRET: Kind = standard("", "Secret", "secrets");
    /// A pod.
    pub const POD: Kind = standard("", "Pod", "pods");
    /// A Deployment.
    pub const DEPLOYMENT: Kind = standard("apps", "Deployment", "deployments");
    /// An event.
    pub const EVENT: Kind = standard("events.k8s.io", "Event", "events");
    /// A lease.
    pub const LEASE: Kind = standard("coordination.k8s.io", "Lease", "leases");
    /// A rule at admission.
    pub const ADMISSION_POLICY: Kind = standard(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    );
    /// What makes a rule at admission hold.
    pub const ADMISSION_BINDING: Kind = standard(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    );
}

/// A client of the lab's apiserver, with a deadline on each call.
#[derive(Clone)]
pub struct Objects {
    runtime: Arc<SpaceRuntime>,
    client: Client,
}

impl Objects {
    /// A client with the administrator's rights. Errors: no kubeconfig, or no threads.
    pub fn open(lab: &Lab) -> Result<Self> {
        // Another client of this process may have installed it before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = Arc::new(runtime_in(lab.space(), None)?);
        let path = lab.kubeconfig();
        let unreadable = |error: kube::config::KubeconfigError| {
            LabError::State(format!("kubeconfig {}: {error}", path.display()))
        };
        let config = Kubeconfig::read_from(&path).map_err(unreadable)?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(config, &options)
                .await
                .map_err(unreadable)?;
            config.default_retry = false;
            Client::try_from(config).map_err(failed("make a client"))
        })??;
        Ok(Self { runtime, client })
    }

    /// The runtime in the node's network.
    pub fn runtime(&self) -> &Arc<SpaceRuntime> {
        &self.runtime
    }

    /// The interface to one kind, in one namespace or (none) in all.
    pub fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: kind.group.to_owned(),
            version: kind.version.to_owned(),
            api_version: match kind.group {
                "" => kind.version.to_owned(),
                group => format!("{group}/{}", kind.version),
            },
            kind: kind.name.to_owned(),
            plural: kind.plural.to_owned(),
        };
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// The object, or none.
    pub fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Value>> {
        let api = self.api(kind, namespace);
        let action = format!("get {} {name}", kind.name);
        let found = self.call(&action, async move { api.get_opt(name).await })?;
        Ok(found.map(|object| json!(object)))
    }

    /// The object. Errors: it is not there.
    pub fn must(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Value> {
        let found = self.get(kind, namespace, name)?;
        found.ok_or_else(|| LabError::State(format!("{} {name} is not there", kind.name)))
    }

    /// All objects of a kind with these labels (empty is any).
    pub fn list(&self, kind: Kind, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>> {
        let api = self.api(kind, namespace);
        let action = format!("list {}", kind.plural);
        let parameters = ListParams::default().labels(labels);
        let call = async move { api.list(&parameters).await };
        let list = self.call_within(LIST_LIMIT, &action, call)?;
        Ok(list.items.iter().map(|object| json!(object)).collect())
    }

    /// Creates an object.
    pub fn create(&self, kind: Kind, namespace: Option<&str>, object: Value) -> Result<Value> {
        let what = format!("a {}", kind.name);
        let object: DynamicObject =
            serde_json::from_value(object).map_err(|source| LabError::Json { what, source })?;
        let api = self.api(kind, namespace);
        let action = format!(
            "create {} {}",
            kind.name,
            object.metadata.name.as_deref().unwrap_or("")
        );
        let call = async move { api.create(&PostParams::default(), &object).await };
        Ok(json!(self.call(&action, call)?))
    }

    /// Changes an object by a merge patch.
    pub fn merge(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<Value> {
        let api = self.api(kind, namespace);
        let action = format!("patch {} {name}", kind.name);
        let parameters = PatchParams::default();
        let call = async move { api.patch(name, &parameters, &Patch::Merge(patch)).await };
        Ok(json!(self.call(&action, call)?))
    }

    /// Deletes an object; none there is fine. `now` leaves a pod no time to end.
    pub fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str, now: bool) -> Result<()> {
        let api = self.api(kind, namespace);
        let action = format!("delete {} {name}", kind.name);
        let parameters = DeleteParams {
            grace_period_seconds: now.then_some(0),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        self.call(&action, async move {
            match api.delete(name, &parameters).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            }
        })
    }

    /// Waits until an object is there and `true` of it. Errors: the limit, with its conditions.
    pub fn wait(
        &self,
        (kind, namespace, name): (Kind, Option<&str>, &str),
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let patience = Patience::new(format!("{} {name}: {what}", kind.name), limit);
        loop {
            let found = self.get(kind, namespace, name);
            match &found {
                Ok(Some(object)) if is(object) => return Ok(object.clone()),
                Ok(_) | Err(_) => {}
            }
            for _ in 0..3 {
                patience.pause(|| match &found {
                    Ok(Some(object)) => summary(object),
                    Ok(None) => "it is not there".to_owned(),
                    Err(error) => error.report(),
                })?;
            }
        }
    }

    fn call<T>(
        &self,
        action: &str,
        future: impl Future<Output = std::result::Result<T, kube::Error>>,
    ) -> Result<T> {
        self.call_within(CALL_LIMIT, action, future)
    }

    fn call_within<T>(
        &self,
        limit: Duration,
        action: &str,
        future: impl Future<Output = std::result::Result<T, kube::Error>>,
    ) -> Result<T> {
        let bounded = async { tokio::time::timeout(limit, future).await };
        match self.runtime.block_on(bounded)? {
            Ok(answer) => answer.map_err(failed(action)),
            Err(_) => Err(LabError::Deadline {
                what: action.to_owned(),
                seconds: limit.as_secs(),
                detail: "the apiserver does not answer".to_owned(),
            }),
        }
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// The condition of a type, if it was ever reported.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

/// Whether a condition of that type has that status.
pub fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|found| found["status"] == status)
}

/// Ready as kstatus means it: the controller saw this generation, says Ready, and neither works
/// nor is stuck.
pub fn ready(object: &Value) -> bool {
    let observed = object.pointer("/status/observedGeneration");
    observed.is_some()
        && observed == object.pointer("/metadata/generation")
        && is(object, "Ready", "True")
        && !is(object, "Reconciling", "True")
        && !is(object, "Stalled", "True")
}

/// Whether a Deployment runs what it should, all of it new.
pub fn rolled_out(object: &Value) -> bool {
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let wanted = number("/spec/replicas");
    number("/status/observedGeneration") >= number("/metadata/generation")
        && number("/status/updatedReplicas") == wanted
        && number("/status/replicas") == wanted
        && number("/status/availableReplicas") == wanted
}

/// The state and the conditions of an object in one line, for messages.
pub fn summary(object: &Value) -> String {
    let none = Vec::new();
    let conditions = object.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).unwrap_or(&none);
    let state = object.pointer("/status/state").and_then(Value::as_str);
    let mut words: Vec<String> = state
        .map(|state| format!("state {state}"))
        .into_iter()
        .collect();
    words.extend(conditions.iter().map(|one| {
        let word = |key: &str| one[key].as_str().unwrap_or("?").to_owned();
        format!(
            "{}={} {}: {}",
            word("type"),
            word("status"),
            word("reason"),
            word("message")
        )
    }));
    words.join("; ")
}

fn failed(action: &str) -> impl FnOnce(kube::Error) -> LabError {
    let action = action.to_owned();
    |source| LabError::Kubernetes {
        action,
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_the_current_generation() {
        let object = |observed: i64, reconciling: &str| {
            json!({
                "metadata": {"generation": 2},
                "status": {"observedGeneration": observed, "conditions": [
                    {"type": "Ready", "status": "True"},
                    {"type": "Reconciling", "status": reconciling},
                ]},
            })
        };
        assert!(ready(&object(2, "False")));
        assert!(!ready(&object(1, "False")));
        assert!(!ready(&object(2, "True")));
        assert!(!ready(&json!({"metadata": {}, "status": {}})));
    }

    #[test]
    fn a_rollout_counts_only_new_pods() {
        let object = |updated: i64| {
            json!({
                "metadata": {"generation": 3}, "spec": {"replicas": 1},
                "status": {"observedGeneration": 3, "updatedReplicas": updated,
                    "replicas": 1, "availableReplicas": 1},
            })
        };
        assert!(rolled_out(&object(1)));
        assert!(!rolled_out(&object(0)));
    }
}
