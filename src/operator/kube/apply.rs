//! Server-side apply: one field manager per concern, and force only on what is wholly ours.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Ctx;
use crate::kube::client::CallError;

/// Whether to take fields from their owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// A field of another manager is a conflict. The only choice for a user's object.
    Respect,
    /// Take it: the object is ours alone.
    Force,
}

/// A field that belongs to another manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// The other manager, in the API server's words.
    pub manager: String,
    /// The path of the field.
    pub field: String,
}

/// Applies `document` to the object `name` under `manager`.
pub async fn apply<K>(
    ctx: &Ctx,
    api: &Api<K>,
    name: &str,
    manager: &str,
    ownership: Ownership,
    document: &(impl Serialize + Debug),
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut parameters = PatchParams::apply(manager);
    parameters.force = ownership == Ownership::Force;
    ctx.call(api.patch(name, &parameters, &Patch::Apply(document)))
        .await
}

/// Merges `patch` into the object `name` under `manager`.
pub async fn merge<K>(
    ctx: &Ctx,
    api: &Api<K>,
    name: &str,
    manager: &str,
    patch: &(impl Serialize + Debug),
) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    ctx.call(api.patch(name, &parameters, &Patch::Merge(patch)))
        .await
}

/// The fields that an apply was refused for, when it was refused for that.
pub fn conflicts(error: &CallError) -> Vec<FieldConflict> {
    let Some(details) = error.status().and_then(|status| status.details.as_ref()) else {
        return Vec::new();
    };
    let of_field =
        |cause: &&kube::core::response::StatusCause| cause.reason == "FieldManagerConflict";
    details
        .causes
        .iter()
        .filter(of_field)
        .map(|cause| FieldConflict {
            manager: manager_in(&cause.message).to_owned(),
            field: cause.field.clone(),
        })
        .collect()
}

/// `conflict with "kubectl" using apps/v1` names `kubectl`.
fn manager_in(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_conflict_names_the_manager_and_the_field() {
        let status: kube::core::Status = serde_json::from_value(json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "1 conflict",
            "details": { "causes": [{
                "reason": "FieldManagerConflict",
                "message": "conflict with \"kubectl\" using apps/v1",
                "field": ".spec.replicas",
            }]},
        }))
        .unwrap();
        let error = CallError::Kube(kube::Error::Api(status.boxed()));
        let expected = FieldConflict {
            manager: "kubectl".to_owned(),
            field: ".spec.replicas".to_owned(),
        };
        assert_eq!(conflicts(&error), [expected]);
        assert!(error.is_conflict());
    }
}
