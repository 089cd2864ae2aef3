//! `TenantPlacement.status`: what the operator did and found.

use domicile_core::replica::Address;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credentials::CredentialsStatus;
use crate::database;
pub use crate::former::{FormerSecret, MAX_FORMER};
use crate::injection::WorkloadKind;
pub use crate::replica::{ReadOnlyStatus, ReadTarget};
use crate::schema;

/// Most selected workloads of a placement in one cluster.
pub const MAX_WORKLOADS: usize = 64;

/// Most clusters of regions that one placement's Secret is in: those of its home, of the region
/// that holds it, and of the standbys of a policy.
pub const MAX_CLUSTERS: usize = 10;

/// `status` is what the operator did and found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantPlacementStatus {
    /// `observedGeneration` is the generation that this status describes; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = schema::MAX_EXACT))]
    pub observed_generation: Option<i64>,
    /// `binding` names the Secret, as Service Binding tools expect it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// `pendingSecret` is the name under which the Secret is about to be written, or is, while
    /// `binding` does not name it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub pending_secret: Option<String>,
    /// `formerSecrets` are the Secrets under names that `spec.connection.secretName` had before:
    /// each is there, or may be, until it is deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_FORMER), extend("x-kubernetes-list-type" = "atomic"))]
    pub former_secrets: Vec<FormerSecret>,
    /// `homeRegion` is the Region where the tenant belongs, recorded once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub home_region: Option<String>,
    /// `servedBy` is the Region on whose servers the tenant has its place, when that is not the
    /// home: the home was `MetadataOnly` when the server was chosen. Recorded once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub served_by: Option<String>,
    /// `activeRegion` is the Region whose server the Secret points at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub active_region: Option<String>,
    /// `server` is the database server's name within `activeRegion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub server: Option<String>,
    /// `epoch` of the write authority under which the Secret, or its Service, points there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub epoch: Option<i64>,
    /// `connection` is where the Secret points, without what is secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionStatus>,
    /// `service` is the Service that leads to the server, in the hub and in each cluster of a
    /// region that gets the Secret: made, or about to be, and not yet removed everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub service: Option<String>,
    /// `credentials` tells which login is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,
    /// `database` is what was made in the database by the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// `secretHash` is the hash of the Secret's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::HEX))]
    pub secret_hash: Option<String>,
    /// `workloads` are the selected workloads, in all clusters that get the Secret, and how far
    /// each has rolled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_WORKLOADS * (MAX_CLUSTERS + 1)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub workloads: Vec<WorkloadStatus>,
    /// `otherWorkloads` are the selected workloads of kinds whose status does not tell how far
    /// their pods are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["apiVersion", "kind", "name"]
        )
    )]
    pub other_workloads: Vec<OtherWorkload>,
    /// `copies` are all servers that hold the tenant's data, the backups of them, and the clusters
    /// of regions that hold its Secret, or may: an entry is there before the Secret, and as long as
    /// that may be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub copies: Vec<DataCopy>,
    /// `conditions`: `Ready`, `Reconciling`, `Stalled`, `ServerFits`, `DatabaseReady`,
    /// `CredentialsCurrent`, `Injected`, `FailoverProtected`, `ResidencyCompliant`,
    /// `ResidencyEffective`, `Drifted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A reference to the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// `name` of the Secret, in the placement's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

/// Where the Secret points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// `host` that the Secret tells: of the server, or of its Service.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::HOST))]
    pub host: String,
    /// `port` that the Secret tells.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `database` of the tenant.
    #[schemars(length(min = 1, max = 58), regex(pattern = "^[a-z][a-z0-9_]*$"))]
    pub database: String,
    /// `role` is the login that may write.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-z0-9_]*$"))]
    pub role: String,
    /// `readOnly` is where the login that only reads leads; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<ReadOnlyStatus>,
    /// `hosts` are the servers that the Secret names under `endpoint: MultiHost`, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub hosts: Vec<HostStatus>,
}

/// A server that the Secret names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// `host` of the server.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::HOST))]
    pub host: String,
    /// `port` of the server.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl From<&Address> for HostStatus {
    fn from(address: &Address) -> Self {
        Self {
            host: address.host.clone(),
            port: i32::from(address.port),
        }
    }
}

impl HostStatus {
    /// The address; nothing when its port is none.
    pub fn address(&self) -> Option<Address> {
        let port = u16::try_from(self.port).ok()?;
        let host = self.host.clone();
        Some(Address { host, port })
    }
}

/// What was made in the database by the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseStatus {
    /// `schemas` that the spec listed when they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "database::schemas")]
    pub schemas: Vec<String>,
    /// `extensions` that the spec listed when they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "database::extensions")]
    pub extensions: Vec<String>,
}

/// How far one workload has rolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// `cluster` is the Region in whose own cluster the workload is; absent for the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub cluster: Option<String>,
    /// `kind` of the workload.
    pub kind: WorkloadKind,
    /// `name` of the workload.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `observedHash` is the hash of the Secret that the pod template carries. Where the Secret
    /// restarts nothing, it is the present one once all pods have started after it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::HEX))]
    pub observed_hash: Option<String>,
    /// `updated` pods run that template; where the Secret restarts nothing, those that started
    /// after it changed.
    #[schemars(range(min = 0, max = i32::MAX))]
    pub updated: i32,
    /// `total` pods are wanted.
    #[schemars(range(min = 0, max = i32::MAX))]
    pub total: i32,
    /// `since` is when all of them were first seen available with the present Secret; absent while
    /// the workload waits or rolls, and where the Secret restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Timestamp>,
}

/// One workload of a kind whose status does not tell how far its pods are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherWorkload {
    /// `apiVersion` of the workload.
    #[schemars(length(min = 1, max = 317), regex(pattern = schema::API_VERSION))]
    pub api_version: String,
    /// `kind` of the workload.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::KIND))]
    pub kind: String,
    /// `name` of the workload.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `observedHash` is the hash of the Secret that its pod template carries; absent before it
    /// has the Secret, and where a changed Secret restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::HEX))]
    pub observed_hash: Option<String>,
}

/// One place that holds the tenant's data, or the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataCopy {
    /// `kind` of copy.
    pub kind: CopyKind,
    /// `region` where it stands.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `jurisdiction` of that region.
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::JURISDICTION))]
    pub jurisdiction: String,
    /// `compliant` says whether `allowedJurisdictions` contains it.
    pub compliant: bool,
}

/// A kind of copy.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CopyKind {
    /// The server that takes writes.
    Primary,
    /// A physical standby.
    Standby,
    /// A read replica of one of them.
    ReadReplica,
    /// The backups of one of them.
    Backup,
    /// The tenant's Secret, in the region's own cluster.
    Secret,
}
