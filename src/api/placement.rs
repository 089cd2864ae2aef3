//! `TenantPlacement`: where a tenant's data lives, and who gets its credentials.

use std::collections::BTreeMap;

use domicile_core::names::{DatabaseName, NameError};
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credentials::CredentialsSpec;
use crate::database::{AdoptionSpec, DatabaseSpec};
use crate::fit::{self, Isolation, Plane};
use crate::injection::InjectionSpec;
use crate::placement_status::TenantPlacementStatus;
use crate::schema::{self, rules};

/// `spec` says where the tenant lives and which workloads get its credentials.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "TenantPlacement",
    plural = "tenantplacements",
    shortname = "tp",
    category = "domicile",
    namespaced,
    status = "TenantPlacementStatus",
    derive = "PartialEq",
    label("servicebinding.io/provisioned-service", "true"),
    doc = "TenantPlacement says where a tenant's data lives and which workloads get its \
           credentials.",
    selectable = ".spec.tenantID",
    selectable = ".spec.region",
    selectable = ".spec.plan"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.tenantID) == has(oldSelf.tenantID)", "`tenantID` must not be added or removed"),
    ("self.tenantID == oldSelf.tenantID", "`tenantID` must not change"),
    ("has(self.region) == has(oldSelf.region)", "`region` must not be added or removed"),
    (
        "!has(self.region) || !has(oldSelf.region) || self.region == oldSelf.region",
        "`region` must not change",
    ),
    (
        "has(self.database) == has(oldSelf.database) && (!has(self.database) || \
         has(self.database.name) == has(oldSelf.database.name))",
        "`database` must not be added or removed with a `name`",
    ),
    (
        "!has(self.database) || !has(oldSelf.database) || !has(self.database.name) || \
         !has(oldSelf.database.name) || self.database.name == oldSelf.database.name",
        "`database.name` must not change",
    ),
])))]
pub struct TenantPlacementSpec {
    /// `tenantID` is the tenant's identifier in the application. Immutable.
    #[serde(rename = "tenantID")]
    #[schemars(
        length(min = 1, max = 50),
        regex(pattern = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$")
    )]
    pub tenant_id: String,
    /// `region` is the name of the home Region. When absent, the one default Region is taken and
    /// recorded in `status.homeRegion`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: Option<String>,
    /// `allowedJurisdictions` are the laws under which any copy of the data may stand; the home
    /// region's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::jurisdictions")]
    pub allowed_jurisdictions: Option<Vec<String>>,
    /// `plan` of the tenant. A server with `plans` takes those only. Once the tenant has a server
    /// it stays there: when it changes, the condition `ServerFits` says whether that server is
    /// still one for it. The tenant has no plan when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::PLAN))]
    pub plan: Option<String>,
    /// `isolation`: `Dedicated` asks for a server that holds no other tenant.
    #[serde(default = "fit::shared")]
    pub isolation: Isolation,
    /// `plane`: `Control` asks for a server of what the application knows of all tenants.
    #[serde(default = "fit::tenant_plane")]
    pub plane: Plane,
    /// `minimumVersion` is the oldest major version of PostgreSQL that the server may run; any
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 99))]
    pub minimum_version: Option<i32>,
    /// `database` says what the database is called and what is in it.
    #[serde(default)]
    pub database: DatabaseSpec,
    /// `roles` are the logins that the tenant gets: at most one that writes and one that reads.
    #[serde(default = "default_roles")]
    #[schemars(
        length(min = 1, max = 2),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules(&[(
                "self.all(a, self.filter(b, b.privileges == a.privileges).size() == 1)",
                "`roles` must differ in `privileges`",
            )])
        )
    )]
    pub roles: Vec<RoleSpec>,
    /// `adoption` says what is done about a database of the name that Domicile did not make.
    #[serde(default)]
    pub adoption: AdoptionSpec,
    /// `reclaimPolicy` says what becomes of the database when this resource is deleted. `Delete`
    /// also needs `deletionProtection: false`.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
    /// `deletionProtection` keeps a placement whose `reclaimPolicy` is `Delete` from being deleted.
    #[serde(default = "default_protection")]
    pub deletion_protection: bool,
    /// `credentials` says when the tenant's logins change.
    #[serde(default)]
    pub credentials: CredentialsSpec,
    /// `connection` shapes the Secret.
    #[serde(default)]
    pub connection: ConnectionSpec,
    /// `injection` hands the Secret to workloads; to none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection: Option<InjectionSpec>,
}

/// One login of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleSpec {
    /// `name` by which `connection.keys` refers to the login, such as `rw`.
    #[schemars(length(min = 1, max = 16), regex(pattern = "^[a-z][a-z0-9]*$"))]
    pub name: String,
    /// `privileges` of the login on the tenant's database.
    pub privileges: Privileges,
    /// `connectionLimit` is the most connections that the login may hold at once.
    #[serde(default = "default_connection_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub connection_limit: i32,
}

/// What a login may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Privileges {
    /// Everything that the owner of the database may do.
    ReadWrite,
    /// Reads only.
    ReadOnly,
}

/// What becomes of the database when the placement is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// Database, logins and Secret stay as they are.
    #[default]
    Retain,
    /// Database, logins and Secret are removed.
    Delete,
}

/// The shape of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.endpoint != 'Service' || oldSelf.endpoint != 'Service' || \
     (has(self.secretName) == has(oldSelf.secretName) && \
     (!has(self.secretName) || self.secretName == oldSelf.secretName))",
    "`connection.secretName` must not change while `connection.endpoint` is `Service`, whose name \
     comes from it; change to `Direct` first",
)])))]
pub struct ConnectionSpec {
    /// `secretName` is the name of the Secret; the placement's name and `-db` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub secret_name: Option<String>,
    /// `endpoint` says under which name workloads reach the database server. When it changes,
    /// workloads roll once.
    pub endpoint: EndpointKind,
    /// `keys` are added to the Service Binding keys: names and values are templates. For the role
    /// `rw`, and any other of `roles`: `{{ rw.host }}`, `{{ rw.port }}`, `{{ rw.database }}`,
    /// `{{ rw.username }}`, `{{ rw.password }}`; with login and `sslmode=require` `{{ rw.uri }}`
    /// and `{{ rw.jdbc-url }}`; with login and no parameters `{{ rw.uri-base }}`; the servers of
    /// `endpoint: MultiHost`, as libpq reads them, `{{ rw.libpq-uri }}`; what verifies the server:
    /// `{{ rw.uri-file }}` and `{{ rw.libpq-uri-file }}` with login, and
    /// `{{ rw.datasource-url-file }}` for JDBC, without login, both against the file
    /// `{{ ca-file }}`; `{{ rw.datasource-url }}` for JDBC, without login, which carries the first
    /// certificate of the authority. Further `{{ ca }}`, PEM, `{{ region.name }}`,
    /// `{{ region.key }}` and `{{ region.jurisdiction }}`. `{{ ca-file }}` is `certificates` in
    /// `injection.mountPath`. Only URIs and URLs are percent-encoded. When absent: `DATABASE_URL`,
    /// `DATABASE_URL_{{ region.key }}` and `DATABASE_REPLICA_URL`, for the `roles` that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::templates")]
    pub keys: Option<BTreeMap<String, String>>,
    /// `include` adds groups of keys.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub include: Vec<Include>,
}

/// The name under which workloads reach the database server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum EndpointKind {
    /// The server's own: a failover changes the Secret, and workloads roll.
    #[default]
    Direct,
    /// That of a Service, `<secret>-rw`, in the placement's namespace, in the hub and in each
    /// cluster of a region that gets the Secret: a failover turns the Services and leaves the
    /// Secret and the workloads alone. The certificates of all servers that may take over must
    /// carry `<secret>-rw.<namespace>.svc`, or `*.<namespace>.svc`. The Secret tells nothing that a
    /// failover changes, so `RegionEnv` has no region header.
    Service,
    /// Those of all servers that may take over, the one that serves first, in `libpq-uri` and the
    /// JDBC URLs, and in `DATABASE_URL` where `keys` is absent: clients that read a list (libpq,
    /// pgx, pgjdbc; not `pg` of Node, nor lib/pq) find the one that takes writes by themselves, at
    /// once. All other keys tell that one alone; the Secret follows a move, and workloads roll,
    /// behind it. Refused where the `FailoverPolicy`'s `fencing.minimumProof` is `Assumed`, as a
    /// client could find a server that still takes writes. Without a policy there is one server.
    MultiHost,
}

/// A group of Secret keys.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Include {
    /// The home region's name, and the header that tells others which region serves; with
    /// `endpoint: Service` the name alone.
    RegionEnv,
}

impl TenantPlacement {
    /// The database that the placement means: the given name, or the one that the tenant ID makes.
    pub fn database_name(&self) -> Result<DatabaseName, NameError> {
        match &self.spec.database.name {
            Some(name) => DatabaseName::parse(name),
            None => DatabaseName::for_tenant(&self.spec.tenant_id),
        }
    }

    /// The name under which workloads are to reach the server.
    pub fn endpoint(&self) -> EndpointKind {
        self.spec.connection.endpoint
    }

    /// The name of the Secret: the given one, or the placement's name and `-db`.
    pub fn secret_name(&self) -> String {
        let given = self.spec.connection.secret_name.clone();
        given.unwrap_or_else(|| format!("{}-db", self.name_any()))
    }
}

impl Default for ConnectionSpec {
    fn default() -> Self {
        Self {
            secret_name: None,
            endpoint: EndpointKind::Direct,
            keys: None,
            include: vec![Include::RegionEnv],
        }
    }
}

fn default_roles() -> Vec<RoleSpec> {
    let role = |name: &str, privileges| RoleSpec {
        name: name.to_owned(),
        privileges,
        connection_limit: default_connection_limit(),
    };
    vec![
        role("rw", Privileges::ReadWrite),
        role("ro", Privileges::ReadOnly),
    ]
}

fn default_connection_limit() -> i32 {
    20
}

fn default_protection() -> bool {
    true
}
