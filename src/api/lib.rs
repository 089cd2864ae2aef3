//! What a user writes: the custom resources.

pub mod conditions;
pub mod convert;
pub mod copies;
pub mod counts;
pub mod crd;
pub mod credentials;
pub mod database;
pub mod fit;
pub mod injection;
pub mod meta;
pub mod notification;
pub mod operation;
pub mod orphan;
pub mod placement;
pub mod placement_status;
pub mod policy;
pub mod policy_status;
pub mod reach;
pub mod reasons;
pub mod region;
pub mod replica;
pub mod residency;
pub mod returned;
pub mod schema;
pub mod service_binding;
pub mod service_binding_crd;
mod words;

pub use conditions::{ConditionType, Conditions, Reason, Status, Summary};
pub use convert::ConvertError;
pub use operation::{FailoverOperation, FailoverOperationSpec, FailoverOperationStatus};
pub use placement::{TenantPlacement, TenantPlacementSpec};
pub use placement_status::TenantPlacementStatus;
pub use policy::{FailoverPolicy, FailoverPolicySpec};
pub use policy_status::FailoverPolicyStatus;
pub use region::{Region, RegionSpec, RegionStatus};
pub use service_binding::{ClusterWorkloadResourceMapping, ServiceBinding, ServiceBindingStatus};
