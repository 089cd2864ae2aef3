//! Where else the data of a region's servers lies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};

/// Most regions that copies of backups are sent to.
const MAX_COPY_REGIONS: usize = 8;

/// What of the region's data lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    /// `backup` says where the backups of the region's servers lie.
    pub backup: BackupResidency,
}

/// Where backups lie. Domicile makes none: it keeps tenants off servers whose backups lie outside
/// their law.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!(self.region in self.copyRegions)",
    "`copyRegions` must not contain `region`: each is named once",
)])))]
pub struct BackupResidency {
    /// `region` names the Region in which the backups lie; often this one. A name that stands for
    /// no Region is under a law that nobody allows.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub region: String,
    /// `copyRegions` name the Regions to which backups are copied from there; none when absent.
    #[serde(default)]
    #[schemars(
        length(max = MAX_COPY_REGIONS),
        inner(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub copy_regions: Vec<String>,
}

impl BackupResidency {
    /// Every region in which backups lie.
    pub fn regions(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.region).chain(&self.copy_regions)
    }
}
