//! Which workloads get a placement's Secret, and how.

use domicile_core::injection::Pace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::placement::TenantPlacement;
use crate::schema::{self, rules};

/// Which workloads get the Secret, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.mountPath) || self.mode == 'Volume'",
        "`injection.mountPath` must not be set unless `injection.mode` is `Volume`",
    ),
    (
        "!has(self.reload) || self.mode != 'None'",
        "`injection.reload` must not be set where `injection.mode` is `None`",
    ),
])))]
pub struct InjectionSpec {
    /// `mode` says how the workloads get the Secret. When it changes, what the mode before added
    /// is taken out in the same write.
    #[serde(default)]
    pub mode: InjectionMode,
    /// `mountPath` is the folder of the containers that holds a file for each key of the Secret;
    /// `/var/run/secrets/domicile/` and the name of the Secret when absent. For `mode: Volume`
    /// alone. `{{ ca-file }}` in `connection.keys` lies in it, whatever the mode is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512), regex(pattern = schema::FOLDER))]
    pub mount_path: Option<String>,
    /// `reload` says how a changed Secret reaches pods that run. All workloads roll at once when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadSpec>,
    /// `workloads` of the placement's own namespace.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub workloads: Vec<WorkloadSelector>,
}

/// How workloads get the Secret.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum InjectionMode {
    /// As environment variables: the keys of `connection.keys` and `connection.include`.
    #[default]
    Env,
    /// As files: all keys, read-only, kept current by the kubelet.
    Volume,
    /// Not at all: workloads are listed in the status and left alone.
    None,
}

/// How a changed Secret reaches pods that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.wave) || self.strategy == 'RollingRestart'",
        "`reload.wave` must not be set unless `reload.strategy` is `RollingRestart`",
    ),
    (
        "!has(self.pauseSeconds) || has(self.wave)",
        "`reload.pauseSeconds` must not be set without `reload.wave`",
    ),
])))]
pub struct ReloadSpec {
    /// `strategy` says what a changed Secret does to workloads that have it. Files change by
    /// themselves, whatever it is.
    #[serde(default)]
    pub strategy: ReloadStrategy,
    /// `wave` is the number of workloads that roll at once, in the order of their kinds and names;
    /// the next ones wait until all pods of these are available. All roll at once when absent. A
    /// workload whose pods cannot work with what they have waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub wave: Option<i32>,
    /// `pauseSeconds` are left between the end of a wave and the next one; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub pause_seconds: Option<i32>,
}

/// What a changed Secret does to workloads.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ReloadStrategy {
    /// The hash of the Secret is put on the pod template, and the pods are replaced.
    #[default]
    RollingRestart,
    /// The hash is put on the workload itself, for another program that restarts it.
    Annotation,
    /// Nothing. The condition `Injected` tells which pods started before the Secret changed.
    None,
}

/// A selection of workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// `apiVersion` of the workloads, such as `apps/v1`.
    #[schemars(length(min = 1, max = 317), regex(pattern = schema::API_VERSION))]
    pub api_version: String,
    /// `kind` of the workloads. Beside those of `apps/v1` any kind that has a pod template at
    /// `.spec.template`, `CronJob` of `batch/v1`, and any for which a
    /// `ClusterWorkloadResourceMapping` (servicebinding.io) says where its containers and volumes
    /// are. The rights on all but `Deployment`, `StatefulSet`, `DaemonSet` and `CronJob` are yours
    /// to give.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::KIND))]
    pub kind: String,
    /// `selector` matches the labels of the workload itself, not those of its pods.
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: LabelSelector,
    /// `containers` that get the Secret, init containers among them; all that are not init
    /// containers when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub containers: Vec<String>,
}

/// A kind of workload whose status tells how far its pods are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
}

impl TenantPlacement {
    /// The selections of workloads; none when there is no `injection`.
    pub fn workloads(&self) -> &[WorkloadSelector] {
        let injection = self.spec.injection.as_ref();
        injection.map_or(&[], |injection| &injection.workloads)
    }

    /// How workloads get the Secret.
    pub fn injection_mode(&self) -> InjectionMode {
        let injection = self.spec.injection.as_ref();
        injection.map_or(InjectionMode::None, |injection| injection.mode)
    }

    /// What a changed Secret does to the workloads.
    pub fn reload_strategy(&self) -> ReloadStrategy {
        let injection = self.spec.injection.as_ref();
        let reload = injection.and_then(|injection| injection.reload.as_ref());
        reload.map_or_else(ReloadStrategy::default, |reload| reload.strategy)
    }

    /// How fast the workloads roll.
    pub fn pace(&self) -> Pace {
        let injection = self.spec.injection.as_ref();
        let reload = injection.and_then(|injection| injection.reload.as_ref());
        let number = |field: fn(&ReloadSpec) -> Option<i32>| {
            let number = reload.and_then(field)?;
            u32::try_from(number).ok()
        };
        Pace {
            wave: number(|reload| reload.wave),
            pause_seconds: number(|reload| reload.pause_seconds).unwrap_or(0),
        }
    }

    /// The folder that the Secret is mounted at: the given one, or one that its name makes.
    pub fn mount_path(&self) -> String {
        let injection = self.spec.injection.as_ref();
        let given = injection.and_then(|injection| injection.mount_path.clone());
        given.unwrap_or_else(|| format!("/var/run/secrets/domicile/{}", self.secret_name()))
    }
}

impl WorkloadSelector {
    /// The kind, if it is one whose status tells how far its pods are.
    pub fn known(&self) -> Option<WorkloadKind> {
        let all = [
            WorkloadKind::Deployment,
            WorkloadKind::StatefulSet,
            WorkloadKind::DaemonSet,
        ];
        let known = all.into_iter().find(|kind| kind.as_str() == self.kind);
        known.filter(|_| self.api_version == "apps/v1")
    }
}

impl WorkloadKind {
    /// The kind as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}
