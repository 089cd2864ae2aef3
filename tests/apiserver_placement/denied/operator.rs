//! The operator as the API server knows it, and what keeps it from a Deployment.

use domicile_tests::operator::{ACCOUNT, client};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::world::{SOON, SPACE, WEST, World};

/// What keeps the operator from one Deployment: kinds and names of the objects, and whose.
pub(super) struct Refusal {
    objects: Vec<(&'static str, String)>,
    namespace: String,
    workload: String,
}

/// The operator as the API server knows it.
pub(super) struct Operator<'a> {
    world: &'a World,
    client: Client,
}

impl<'a> Operator<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        let kubeconfig = world.running.lab.kubeconfig();
        let client = client(&kubeconfig, Some(ACCOUNT));
        Self {
            world,
            client: world.running.block_on(client),
        }
    }

    /// A policy denies it a Deployment, for this reason.
    pub(super) fn deny(&self, namespace: &str, workload: &str, reason: Option<&str>) -> Refusal {
        let mut validation = json!({
            "expression": format!("request.userInfo.username != '{ACCOUNT}'"),
            "message": "not today",
        });
        if let Some(reason) = reason {
            validation["reason"] = reason.into();
        }
        let name = format!("denies-{workload}");
        self.world.apply(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "resourceRules": [rule(&json!([workload]))] },
                "validations": [validation],
            },
        }));
        self.world.apply(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }));
        let objects = vec![
            ("validatingadmissionpolicybinding", name.clone()),
            ("validatingadmissionpolicy", name),
        ];
        self.refuses(namespace, workload, objects)
    }

    /// A webhook that nobody runs is asked about its writes to a Deployment.
    pub(super) fn break_webhook(&self, workload: &str) -> Refusal {
        let name = format!("breaks-{workload}");
        let ours =
            format!("request.userInfo.username == '{ACCOUNT}' && request.name == '{workload}'");
        let mut rule = rule(&Value::Null);
        rule.as_object_mut().unwrap().remove("resourceNames");
        self.world.apply(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [{
                "name": "dead.example.com", "failurePolicy": "Fail",
                "clientConfig": { "url": format!("https://{WEST}:1/") },
                "rules": [rule],
                "matchConditions": [{ "name": "ours", "expression": ours }],
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
            }],
        }));
        let objects = vec![("validatingwebhookconfiguration", name)];
        self.refuses(SPACE, workload, objects)
    }

    fn refuses(
        &self,
        namespace: &str,
        workload: &str,
        objects: Vec<(&'static str, String)>,
    ) -> Refusal {
        self.world.running.until("it is refused", SOON, || {
            (!self.may_write(namespace, workload)).then_some(())
        });
        Refusal {
            objects,
            namespace: namespace.to_owned(),
            workload: workload.to_owned(),
        }
    }

    /// Ends a refusal, and waits until that holds.
    pub(super) fn admit(&self, refusal: &Refusal) {
        self.delete(refusal);
        self.world.running.until("it is admitted", SOON, || {
            let Refusal {
                namespace,
                workload,
                ..
            } = refusal;
            self.may_write(namespace, workload).then_some(())
        });
    }

    pub(super) fn delete(&self, refusal: &Refusal) {
        for (kind, name) in &refusal.objects {
            let arguments = ["delete", *kind, name.as_str()];
            self.world.running.lab.kubectl(&arguments).unwrap();
        }
    }

    /// Whether a write would be taken, which is only tried.
    fn may_write(&self, namespace: &str, workload: &str) -> bool {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let tried = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = json!({ "metadata": { "annotations": { "test.example.com/tried": "1" } } });
        let patch = Patch::Merge(&patch);
        let answer = api.patch(workload, &tried, &patch);
        self.world.running.block_on(answer).is_ok()
    }
}

fn rule(names: &Value) -> Value {
    json!({
        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["deployments"], "resourceNames": names,
    })
}
