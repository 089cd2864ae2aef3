//! Service Binding for Kubernetes: kinds of another group, `servicebinding.io`, that Domicile
//! reconciles where nobody else does. Plain types; the definitions are in `service_binding_crd`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// The API group of both kinds.
pub const GROUP: &str = "servicebinding.io";

/// The version that is watched; whoever writes an older one is served, too.
pub const VERSION: &str = "v1";

/// Label on the definitions that Domicile's chart brought.
pub const BROUGHT_BY: &str = "domicile.dev/service-bindings";

/// `spec` says which service is bound into which workloads.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "servicebinding.io",
    version = "v1",
    kind = "ServiceBinding",
    plural = "servicebindings",
    namespaced,
    status = "ServiceBindingStatus",
    derive = "PartialEq",
    schema = "disabled",
    doc = "ServiceBinding binds a service's Secret into workloads."
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBindingSpec {
    /// `name` of the folder that the Secret is seen in; the binding's own name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `type` takes the place of the Secret's own entry `type`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// `provider` takes the place of the Secret's own entry `provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `service` names a Provisioned Service or a Secret.
    pub service: ServiceReference,
    /// `workload` names one workload or selects several.
    pub workload: WorkloadReference,
    /// `env` are entries of the Secret that become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvMapping>,
}

/// What is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// `apiVersion` of the service.
    pub api_version: String,
    /// `kind` of the service.
    pub kind: String,
    /// `name` of the service.
    pub name: String,
}

/// What it is bound into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReference {
    /// `apiVersion` of the workloads.
    pub api_version: String,
    /// `kind` of the workloads.
    pub kind: String,
    /// `name` of the one workload; without `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `selector` selects workloads by their labels; without `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// `containers` are the names of those that are bound; all when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<String>>,
}

/// An entry of the Secret as an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvMapping {
    /// `name` of the variable.
    pub name: String,
    /// `key` of the Secret.
    pub key: String,
}

/// What is bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBindingStatus {
    /// `binding` names the Secret that the workloads see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BoundSecret>,
    /// `conditions`: `Ready`, `ServiceAvailable`, `WorkloadAvailable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// `observedGeneration` is the generation that the status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The Secret that the workloads see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundSecret {
    /// `name` of the Secret.
    pub name: String,
}

/// `spec` says where a kind of workload keeps what a pod template keeps.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "servicebinding.io",
    version = "v1",
    kind = "ClusterWorkloadResourceMapping",
    plural = "clusterworkloadresourcemappings",
    derive = "PartialEq",
    schema = "disabled",
    doc = "ClusterWorkloadResourceMapping says how a kind of workload is bound."
)]
pub struct ClusterWorkloadResourceMappingSpec {
    /// `versions` of the kind, each with its places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<MappingTemplate>,
}

/// The places of one version of a kind; those of a pod template when absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingTemplate {
    /// `version` of the kind, or `*` for all that are not named.
    pub version: String,
    /// `annotations` leads to the annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<String>,
    /// `containers` lead to what is like a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<MappingContainer>>,
    /// `volumes` leads to the list of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<String>,
}

/// The places of what is like a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MappingContainer {
    /// `path` leads to one or several.
    pub path: String,
    /// `name` leads from there to its name; without it no filter applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `env` leads from there to its variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// `volumeMounts` leads from there to its mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_mounts: Option<String>,
}

macro_rules! words {
    ($(#[$top:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

words! {
    /// What a condition of a `ServiceBinding` is about.
    BindingCondition {
        /// Every workload that it names carries the Secret.
        Ready,
        /// The service exists and tells its Secret.
        ServiceAvailable,
        /// The workloads exist and could be bound.
        WorkloadAvailable,
    }
}

words! {
    /// Why a condition of a `ServiceBinding` is as it is. `Ready` tells the first that applies.
    BindingReason {
        /// The Secret is in every workload.
        Projected,
        /// The service tells its Secret.
        SecretResolved,
        /// Nothing was looked at, because something else is wrong first.
        NotEvaluated,
        /// A field of the binding cannot be obeyed.
        InvalidSpec,
        /// There is no such service, or no such kind.
        ServiceNotFound,
        /// The operator may not read the service or its Secret.
        ServiceForbidden,
        /// The service tells no Secret.
        ServiceMissingBinding,
        /// The Secret that the service tells does not exist.
        SecretNotFound,
        /// There is no such workload, or no such kind.
        WorkloadNotFound,
        /// The operator may not read or change workloads.
        WorkloadForbidden,
        /// The mapping of the kind cannot be obeyed.
        InvalidMapping,
        /// A field of a workload belongs to somebody else.
        FieldConflict,
        /// A workload cannot carry the binding, or the API server refuses what it would become.
        WorkloadRefused,
        /// Another implementation of Service Binding works on it.
        OtherImplementation,
        /// The workloads could not be given back.
        NamespaceNotOnboarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_binding_is_read_as_it_is_written() {
        let written = json!({
            "apiVersion": "servicebinding.io/v1", "kind": "ServiceBinding",
            "metadata": { "name": "b" },
            "spec": {
                "type": "db",
                "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
                "workload": {
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "selector": { "matchLabels": { "a": "b" } }, "containers": ["c"],
                },
                "env": [{ "name": "HOST", "key": "host" }],
            },
        });
        let read: ServiceBinding = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }

    #[test]
    fn a_mapping_is_read_as_it_is_written() {
        let written = json!({ "versions": [
            { "version": "*", "containers": [{ "path": ".x", "volumeMounts": ".m" }] },
        ]});
        let read: ClusterWorkloadResourceMappingSpec =
            serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }
}
