//! What the tests of service bindings make, read and wait for.

use std::time::Duration;

use domicile_api::meta::BOUND_KINDS;
use domicile_api::service_binding::ServiceBinding;
use domicile_lab::cluster::Cluster;
use domicile_tests::operator::Running;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

pub(super) const SPACE: &str = "bindings";
pub(super) const SOON: Duration = Duration::from_mins(2);

/// The lab with an operator, and short ways to its objects.
pub(super) struct World {
    pub(super) running: Running,
}

impl World {
    pub(super) fn cluster(&self) -> Cluster {
        self.running.lab.cluster()
    }

    pub(super) fn apply(&self, document: &Value) {
        self.cluster().apply(&document.to_string()).unwrap();
    }

    pub(super) fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.running.admin.clone(), SPACE, &resource)
    }

    pub(super) fn deployments(&self) -> Api<DynamicObject> {
        self.api("apps/v1", "Deployment")
    }

    pub(super) fn spec(&self, api: &Api<DynamicObject>, name: &str) -> Value {
        self.running.block_on(api.get(name)).unwrap().data["spec"].clone()
    }

    pub(super) fn merge(&self, api: &Api<DynamicObject>, name: &str, patch: &Value) {
        let parameters = PatchParams::default();
        self.running
            .block_on(api.patch(name, &parameters, &Patch::Merge(patch)))
            .unwrap();
    }

    pub(super) fn delete(&self, api: &Api<DynamicObject>, name: &str) {
        let deleted = self
            .running
            .block_on(api.delete(name, &DeleteParams::default()));
        let _ = deleted.unwrap();
    }

    pub(super) fn binding(&self, name: &str) -> Option<ServiceBinding> {
        let api: Api<ServiceBinding> = Api::namespaced(self.running.admin.clone(), SPACE);
        self.running.block_on(api.get_opt(name)).unwrap()
    }

    /// The kinds that a binding records to have been bound.
    pub(super) fn recorded(&self, name: &str) -> Option<String> {
        let annotations = self.binding(name)?.metadata.annotations?;
        annotations.get(BOUND_KINDS).cloned()
    }

    pub(super) fn bindings(&self) -> Api<DynamicObject> {
        self.api("servicebinding.io/v1", "ServiceBinding")
    }

    /// Deletes a binding and waits until it is gone.
    pub(super) fn unbind(&self, name: &str) {
        self.delete(&self.bindings(), name);
        self.running.until(&format!("{name} is gone"), SOON, || {
            self.binding(name).is_none().then_some(())
        });
    }

    /// Waits until a condition has this status and reason for the present generation. Answers its
    /// message.
    pub(super) fn await_condition(&self, name: &str, wanted: (&str, &str, &str)) -> String {
        let (type_, status, reason) = wanted;
        let what = format!("{name}: {type_} is {status} {reason}");
        self.running.until(&what, SOON, || {
            let binding = self.binding(name)?;
            let told = binding.status?;
            let current = told.observed_generation == binding.metadata.generation;
            let found = told.conditions.into_iter().find(|one| one.type_ == type_)?;
            let same = found.status == status && found.reason == reason;
            (current && same).then_some(found.message)
        })
    }

    pub(super) fn await_ready(&self, name: &str) {
        self.await_condition(name, ("Ready", "True", "Projected"));
    }

    pub(super) fn await_refused(&self, name: &str, reason: &str) -> String {
        self.await_condition(name, ("Ready", "False", reason))
    }

    pub(super) fn await_event(&self, name: &str, reason: &str) {
        let api: Api<Event> = Api::namespaced(self.running.admin.clone(), SPACE);
        self.running
            .until(&format!("{name}: an event {reason}"), SOON, || {
                let events = self
                    .running
                    .block_on(api.list(&ListParams::default()))
                    .unwrap();
                let matches = |event: &Event| {
                    let about = event.regarding.as_ref().and_then(|one| one.name.as_deref());
                    about == Some(name) && event.reason.as_deref() == Some(reason)
                };
                events.items.iter().any(matches).then_some(())
            });
    }

    /// Waits until a workload has or lacks the folder of a binding in its first container.
    pub(super) fn await_mount(&self, workload: &str, path: &str, there: bool) {
        let api = self.deployments();
        self.running
            .until(&format!("{workload}: {path} is {there}"), SOON, || {
                let spec = self.spec(&api, workload);
                let found = mounts(&spec["template"]["spec"]["containers"][0]);
                (found.contains(&path.to_owned()) == there).then_some(())
            });
    }
}

/// The paths that are mounted into a container.
pub(super) fn mounts(container: &Value) -> Vec<String> {
    let list = container["volumeMounts"].as_array().into_iter().flatten();
    list.map(|one| one["mountPath"].as_str().unwrap().to_owned())
        .collect()
}

pub(super) fn secret(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": SPACE }, "stringData": data,
    })
}

pub(super) fn deployment(name: &str, label: &str, containers: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": SPACE, "labels": { "app-custom": label } },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": containers },
            },
        },
    })
}

pub(super) fn app(env: &Value) -> Value {
    json!([{ "name": "app", "image": "local.test/none:dev", "env": env }])
}

/// A binding to Deployments: `workload` holds what tells which.
pub(super) fn binding(name: &str, service: &Value, workload: &Value, more: &Value) -> Value {
    let mut reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    for (key, value) in workload.as_object().unwrap() {
        reference[key] = value.clone();
    }
    let mut spec = json!({ "service": service, "workload": reference });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        // As the conformance suite writes them: the older version, read as the newer.
        "apiVersion": "servicebinding.io/v1beta1", "kind": "ServiceBinding",
        "metadata": { "name": name, "namespace": SPACE }, "spec": spec,
    })
}

pub(super) fn to_secret(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "name": name })
}

pub(super) fn labelled(value: &str) -> Value {
    json!({ "selector": { "matchLabels": { "app-custom": value } } })
}
