//! `Region`: a place with database servers, and the law that holds there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::copies::{self, BackupCopy, MAX_REGIONS, ServerCopy};
use crate::counts::TenantCounts;
use crate::database;
use crate::fit::{self, Isolation, Plane, RegionState};
use crate::orphan::{MAX_ORPHANS, Orphan, OrphanedSecret};
pub use crate::reach::{Reachable, ServerRole};
use crate::replica;
pub use crate::replica::{MAX_REPLICAS, ReadReplica};
use crate::residency::Residency;
use crate::schema::{self, rules};

/// `spec` describes the place: its key, its jurisdiction and its database servers.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "Region",
    plural = "regions",
    shortname = "rgn",
    category = "domicile",
    status = "RegionStatus",
    derive = "PartialEq",
    doc = "Region is a place with database servers, and the law that holds there.",
    selectable = ".spec.jurisdiction"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.key) == has(oldSelf.key)", "`key` must not be added or removed"),
    ("self.key == oldSelf.key", "`key` must not change"),
    (
        "has(self.jurisdiction) == has(oldSelf.jurisdiction)",
        "`jurisdiction` must not be added or removed",
    ),
    ("self.jurisdiction == oldSelf.jurisdiction", "`jurisdiction` must not change"),
    (
        "(self.state == 'MetadataOnly') == has(self.servedBy)",
        "`servedBy` must be given when `state` is `MetadataOnly`, and must be absent otherwise",
    ),
    (
        "self.databaseServers.size() > 0 || self.state in ['Planned', 'MetadataOnly']",
        "`databaseServers` must not be empty unless `state` is `Planned` or `MetadataOnly`",
    ),
])))]
pub struct RegionSpec {
    /// `key` stands for the region in the names of Secret keys, such as `DATABASE_URL_EU_WEST`.
    /// Immutable.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Z][A-Z0-9_]*$"))]
    pub key: String,
    /// `jurisdiction` is the law that holds for data stored here. It is never inferred from a
    /// name. Immutable.
    #[schemars(length(min = 1, max = 32), regex(pattern = schema::JURISDICTION))]
    pub jurisdiction: String,
    /// `default` makes this the home of placements that name no region. At most one region may
    /// set it.
    #[serde(default)]
    pub default: bool,
    /// `state` is what the region is meant to do now. Whatever it becomes, a tenant that has its
    /// server stays there.
    #[serde(default = "fit::active")]
    pub state: RegionState,
    /// `servedBy` names the Region that holds the tenants of this one while `state` is
    /// `MetadataOnly`; a tenant waits that does not allow its jurisdiction. It must be absent for
    /// any other `state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub served_by: Option<String>,
    /// `cluster` is the region's own Kubernetes cluster. With `tenants` it gets the Secrets of
    /// tenants whose home or standby is here, for the workloads there that are selected. While the
    /// hub is lost, it holds the promise by which a primary in another region lives on; the hub
    /// needs its permit to promote a server that stands here. The hub alone has both while this is
    /// absent; to take it away is to give up what lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RegionCluster>,
    /// `residency` says where else data of this Region lies; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
    /// `databaseServers` are the database servers that stand here, by name. May be empty only
    /// while `state` is `Planned` or `MetadataOnly`.
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub database_servers: Vec<DatabaseServer>,
}

/// A region's own Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionCluster {
    /// `kubeconfigSecretRef` names the Secret with a kubeconfig that may get, create and patch
    /// Leases in the operator's namespace of that cluster, and has the rights that `kubectl
    /// domicile onboard` prints in each namespace of a tenant.
    pub kubeconfig_secret_ref: KubeconfigSecretRef,
    /// `tenants` says that Secrets of tenants go to this cluster, and the Services that they name.
    /// While it is false, none does, and what was brought there before is taken back.
    #[serde(default)]
    pub tenants: bool,
}

/// A kubeconfig in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigSecretRef {
    /// `namespace` of the Secret; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: Option<String>,
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `key` within the Secret.
    #[serde(default = "default_kubeconfig_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub key: String,
}

/// One database server: PostgreSQL 15 or newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.isolation != 'Dedicated' || !has(self.maxTenants) || self.maxTenants <= 1",
        "`maxTenants` must not be more than 1 when `isolation` is `Dedicated`",
    ),
    (
        "!isIP(self.host) || !ip(self.host).isLinkLocalUnicast()",
        "`host` must not be a link-local address: it leads to another place from each machine",
    ),
])))]
pub struct DatabaseServer {
    /// `name` is what policies call the server.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub name: String,
    /// `host` is the name or address that the operator and the tenants connect to, and no
    /// link-local one. The server's certificate must carry it.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::HOST))]
    pub host: String,
    /// `port` is the server's TCP port.
    #[serde(default = "replica::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `tls` says which certificates are trusted. The connection is always encrypted and the host
    /// name always verified.
    pub tls: ServerTls,
    /// `adminSecretRef` names the Secret with the keys `username` and `password` of the operator's
    /// own login; `kubectl domicile admin-sql` prints the rights that it needs.
    pub admin_secret_ref: SecretRef,
    /// `provider` says what promotes the server and makes it a standby again.
    #[serde(default)]
    pub provider: Provider,
    /// `plans` are the plans that the server takes, and it takes no tenant without one of them.
    /// When absent, it takes every tenant, of whatever plan or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::plans")]
    pub plans: Option<Vec<String>>,
    /// `isolation` of the tenants: a `Dedicated` server holds one, which asks for that by its own
    /// `isolation`.
    #[serde(default = "fit::shared")]
    pub isolation: Isolation,
    /// `maxTenants` is the most tenants that the server takes. Databases that deleted placements
    /// left count; tenants that are here stay when it is lowered. No limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_tenants: Option<i32>,
    /// `planes` that the server takes: the databases of tenants, or of what the application knows
    /// of all tenants.
    #[serde(default = "fit::all_planes")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub planes: Vec<Plane>,
    /// `extensions` that tenants may ask for; none when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "database::extensions")]
    pub extensions: Vec<String>,
    /// `readReplicas` follow the server in this Region. Logins that only read lead to the first of
    /// them that does, as long as it does; to the server itself when absent or none is fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_REPLICAS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host", "port"])
    )]
    pub read_replicas: Vec<ReadReplica>,
}

/// What promotes a server and makes it a standby again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "(self.type == 'Patroni') == has(self.patroni)",
    "`patroni` is required when `type` is `Patroni`, and must be absent otherwise",
)])))]
pub struct Provider {
    /// `type` of the provider.
    #[serde(rename = "type", default)]
    pub type_: ProviderType,
    /// `patroni` says how Patroni is reached; absent for any other `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patroni: Option<Patroni>,
}

/// The kind of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// SQL alone. It promotes; an old primary is made a standby again by a person.
    #[default]
    Generic,
    /// Patroni, through its REST API: the servers of this Region are one cluster, the others of a
    /// policy are its standby clusters. It promotes and rejoins. Patroni may relax synchronous
    /// replication by itself, so that it is no fencing proof here.
    Patroni,
}

/// How Patroni is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patroni {
    /// `urls` are the REST APIs of the members of this Region's cluster, such as
    /// `https://10.0.2.10:8008`. The first one that takes a connection is asked.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 9, max = 300), regex(pattern = schema::HTTPS_ORIGIN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub urls: Vec<String>,
    /// `credentialsSecretRef` names the Secret with the keys `username` and `password` that
    /// Patroni's `restapi.authentication` holds.
    pub credentials_secret_ref: SecretRef,
    /// `caSecretRef` names the Secret with the authority that signed the certificates of the REST
    /// APIs, in PEM; that of the server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
    /// `slot` is the physical replication slot that the other clusters of the policy keep for this
    /// one, by `slots` in their dynamic configuration; none is used when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::SLOT))]
    pub slot: Option<String>,
}

/// Which certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// `caSecretRef` names the Secret with the certificate authority, in PEM.
    pub ca_secret_ref: CaSecretRef,
}

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// `namespace` of the Secret; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: Option<String>,
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

/// A certificate authority in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// `namespace` of the Secret; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: Option<String>,
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `key` within the Secret.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub key: String,
}

/// `status` is what the operator last found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionStatus {
    /// `observedGeneration` is the generation that this status describes; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = schema::MAX_EXACT))]
    pub observed_generation: Option<i64>,
    /// `placements` counts the placements that are active here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub placements: Option<i32>,
    /// `tenants` counts the placements that belong here and have a server, wherever they are
    /// active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<TenantCounts>,
    /// `databaseServers` tells what each server answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub database_servers: Vec<DatabaseServerStatus>,
    /// `orphans` are what deleted placements left on servers that could not be reached. Each is
    /// cleaned up, and goes from here, once its server, or the one that was promoted instead, can
    /// be worked on. Who removes an entry, or the Region, gives that up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_ORPHANS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"])
    )]
    pub orphans: Vec<Orphan>,
    /// `orphanedSecrets` are Secrets of deleted placements in the region's own cluster, which could
    /// not be reached. Each is deleted, and goes from here, once that answers. Who removes an
    /// entry, the Region or its `cluster`, gives that up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_ORPHANS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"])
    )]
    pub orphaned_secrets: Vec<OrphanedSecret>,
    /// `conditions`: `Ready`, `Reconciling`, `Stalled`, `DatabasesReachable`,
    /// `AdminPrivilegesSufficient`, `CleanupPending` where there are orphans, `ProvidersReady`
    /// where a server has another provider than SQL, and `ReadReplicasFollow` where one has
    /// `readReplicas`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What one server answered. Written when it changes, not at each probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseServerStatus {
    /// `name` of the server in `spec.databaseServers`.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub name: String,
    /// `reachable` is the verdict of the last probes.
    pub reachable: Reachable,
    /// `reason` says why it is not reachable, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub reason: Option<String>,
    /// `version` of PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::TEXT))]
    pub version: Option<String>,
    /// `systemIdentifier` of the server. Another one at this address is a wrong server, until the
    /// annotation `domicile.dev/accept-system-identifier` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = schema::SYSTEM_IDENTIFIER))]
    pub system_identifier: Option<String>,
    /// `role` that the server has by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ServerRole")]
    pub role: Option<ServerRole>,
    /// `timeline` that it writes or replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub timeline: Option<i64>,
    /// `tenants` counts the placements whose place is on this server, also while a failover has
    /// them elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub tenants: Option<i32>,
    /// `copies` are the other regions that hold the databases of this server, as the standbys of
    /// its `FailoverPolicy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_REGIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"])
    )]
    pub copies: Vec<ServerCopy>,
    /// `backups` are the regions in which backups of this server and of those standbys lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_REGIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"])
    )]
    pub backups: Vec<BackupCopy>,
    /// `closedTo` are the regions in which no `FailoverPolicy` may have a standby: a tenant of this
    /// server does not allow their law, or that of the backups that are made there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "copies::regions")]
    pub closed_to: Vec<String>,
    /// `closedToBackups` are the regions of which a tenant of this server does not allow the law.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "copies::regions")]
    pub closed_to_backups: Vec<String>,
}

fn default_kubeconfig_key() -> String {
    "kubeconfig".to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}
