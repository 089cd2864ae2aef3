//! Pods of a test.

use domicile_lab::Lab;
use domicile_lab::image::IMAGE_USER;
use serde_json::{Value, json};

/// A pod that the strictest Pod Security Standard admits.
pub(crate) fn pod(name: &str, namespace: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main", "image": "local.test/busybox:1", "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", script],
                "securityContext": {
                    "runAsUser": IMAGE_USER, "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

pub(crate) fn apply_pod(lab: &Lab, name: &str, namespace: &str, script: &str) {
    lab.cluster()
        .apply(&pod(name, namespace, script).to_string())
        .unwrap();
    await_phase(lab, name, namespace, "Running");
}

pub(crate) fn await_phase(lab: &Lab, name: &str, namespace: &str, phase: &str) {
    let wanted = format!("--for=jsonpath={{.status.phase}}={phase}");
    let target = format!("pod/{name}");
    let waited = lab.kubectl(&["wait", &wanted, &target, "-n", namespace, "--timeout=60s"]);
    if let Err(error) = waited {
        let state = lab
            .kubectl(&["describe", &target, "-n", namespace])
            .unwrap()
            .stdout;
        panic!("{error}\n{state}");
    }
}
