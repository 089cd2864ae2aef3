//! Secrets of a placement under names that it had before.

use std::collections::BTreeSet;

use domicile_core::names::RegionName;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::placement::TenantPlacement;
use crate::schema;

/// Most Secrets under former names that one placement remembers: a dozen names in every cluster.
pub const MAX_FORMER: usize = 132;

/// The Secret of a placement in one cluster, under a name that it had before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormerSecret {
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `cluster` is the Region in whose own cluster it is; absent for the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub cluster: Option<String>,
    /// `since` when the Secret has another name.
    #[schemars(schema_with = "schema::time")]
    pub since: Timestamp,
}

/// Names of Secrets.
pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_FORMER,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "minLength": 1, "maxLength": 253, "pattern": schema::DNS_SUBDOMAIN,
        },
    })
}

impl TenantPlacement {
    /// The same placement with its Secret under another name.
    #[must_use]
    pub fn with_secret(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.spec.connection.secret_name = Some(name.to_owned());
        other
    }

    /// The name that the Secret was last recorded to have, or to get.
    pub fn recorded_secret(&self) -> Option<&str> {
        let status = self.status.as_ref()?;
        let binding = status.binding.as_ref();
        let told = binding.map(|binding| binding.name.as_str());
        status.pending_secret.as_deref().or(told)
    }

    /// Whether the status tells of the Secret under the name that it is to have.
    pub fn is_stored(&self) -> bool {
        let status = self.status.as_ref();
        let binding = status.and_then(|status| status.binding.as_ref());
        binding.is_some_and(|binding| binding.name == self.secret_name())
    }

    /// The Secrets under former names in one cluster: that of a region, or the hub.
    pub fn former_secrets(&self, cluster: Option<&RegionName>) -> Vec<&FormerSecret> {
        let all = self.status.iter().flat_map(|status| &status.former_secrets);
        let cluster = cluster.map(RegionName::as_str);
        all.filter(|one| one.cluster.as_deref() == cluster)
            .collect()
    }

    /// All names but the present one under which the placement's Secret may be in one cluster.
    pub fn other_secrets(&self, cluster: Option<&RegionName>) -> BTreeSet<String> {
        let former = self.former_secrets(cluster).into_iter();
        let former = former.map(|one| one.name.clone());
        let told = self.status.iter().filter_map(|one| one.binding.as_ref());
        let told = told.map(|binding| binding.name.clone());
        let recorded = self.recorded_secret().map(str::to_owned);
        let mut names: BTreeSet<String> = former.chain(told).chain(recorded).collect();
        names.remove(&self.secret_name());
        names
    }
}
