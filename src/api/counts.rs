//! How many tenants a region has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How many tenants belong to a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantCounts {
    /// `total` of all plans and none.
    #[schemars(range(min = 0, max = i32::MAX))]
    pub total: i32,
    /// `byPlan` counts those that have a plan; no more than the first 64 plans, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_PLANS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["plan"])
    )]
    pub by_plan: Vec<PlanCount>,
}

/// Most plans that are counted one by one.
pub const MAX_PLANS: usize = 64;

/// How many tenants have one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanCount {
    /// `plan` of the placements.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::PLAN))]
    pub plan: String,
    /// `count` of the placements.
    #[schemars(range(min = 0, max = i32::MAX))]
    pub count: i32,
}
