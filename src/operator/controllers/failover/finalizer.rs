//! The finalizer that keeps a policy while its move is under way.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::meta::{POLICY_FINALIZER, manager};
use domicile_api::policy::FailoverPolicy;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Error, authority};
use crate::context::Ctx;

/// Keeps the policy until a move that is under way has ended.
pub(super) async fn hold(ctx: &Ctx, policy: &FailoverPolicy) -> Result<(), Error> {
    let mut finalizers = policy.finalizers().to_vec();
    finalizers.push(POLICY_FINALIZER.to_owned());
    finalizers_are(ctx, policy, &finalizers).await
}

/// Lets the policy go, and its lease with it.
pub(super) async fn release(ctx: &Ctx, policy: &FailoverPolicy) -> Result<Duration, Error> {
    let mut finalizers = policy.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != POLICY_FINALIZER);
    if finalizers.len() != policy.finalizers().len() {
        authority::disarm(ctx, &policy.name_any()).await?;
        finalizers_are(ctx, policy, &finalizers).await?;
    }
    Ok(super::super::LONGEST_WAIT)
}

async fn finalizers_are(
    ctx: &Ctx,
    policy: &FailoverPolicy,
    finalizers: &[String],
) -> Result<(), Error> {
    let api: Api<FailoverPolicy> = Api::all(ctx.client.clone());
    let patch = json!({ "metadata": {
        "finalizers": finalizers,
        "uid": policy.metadata.uid,
        "resourceVersion": policy.metadata.resource_version,
    }});
    let parameters = PatchParams {
        field_manager: Some(manager::FAILOVER.to_owned()),
        ..PatchParams::default()
    };
    let written = ctx
        .call(api.patch(&policy.name_any(), &parameters, &Patch::Merge(&patch)))
        .await?;
    ctx.stores.policies.wrote(Arc::new(written));
    Ok(())
}
