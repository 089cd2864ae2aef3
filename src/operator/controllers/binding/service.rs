//! The service of a binding: the Secret that it tells. Of a Secret only the metadata is read.

use domicile_api::meta;
use domicile_api::service_binding::BindingReason;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::error::BindingError;
use super::plan::Plan;
use super::report::Finding;
use super::{State, not_allowed};
use crate::context::Ctx;
use crate::projection::kinds::{self, NoKind};

/// The Secret that a service tells.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name.
    pub(super) secret: String,
    /// The hash of its content, which only Secrets of Domicile tell.
    pub(super) hash: Option<String>,
}

/// Looks the service up. The finding says why there is no Secret.
pub(super) async fn look(
    ctx: &Ctx,
    state: &State,
    namespace: &str,
    plan: &Plan,
) -> Result<Result<Found, Finding>, BindingError> {
    let secret = if plan.service_kind.is_secret() {
        Ok(plan.service.name.clone())
    } else {
        told_by(ctx, state, namespace, plan).await?
    };
    match secret {
        Ok(secret) => read(ctx, namespace, plan, secret).await,
        Err(finding) => Ok(Err(finding)),
    }
}

async fn told_by(
    ctx: &Ctx,
    state: &State,
    namespace: &str,
    plan: &Plan,
) -> Result<Result<String, Finding>, BindingError> {
    let (kind, name) = (&plan.service_kind, &plan.service.name);
    let missing = |message| Ok(Err(Finding::bad(BindingReason::ServiceNotFound, message)));
    let resource = match state.kinds.find(ctx, kind).await {
        Ok(resource) => resource,
        Err(NoKind::NotServed) => {
            return missing(format!("the API server does not serve {kind}; install it"));
        }
        Err(NoKind::ClusterScoped) => {
            return missing(format!(
                "{kind} is in no namespace; name a service of {namespace}"
            ));
        }
        Err(NoKind::Call(error)) => {
            return Err(BindingError::call(format!("looking {kind} up"), error));
        }
    };
    state.watches.want(namespace, kind, &resource);
    let api = kinds::api(ctx, namespace, &resource);
    let service = match ctx.call(api.get_opt(name)).await {
        Ok(Some(service)) => service,
        Ok(None) => {
            return missing(format!(
                "{kind} {namespace}/{name} does not exist; create it"
            ));
        }
        Err(error) if error.is_forbidden() => {
            let message = not_allowed("read", &kind.to_string(), namespace);
            return Ok(Err(Finding::bad(BindingReason::ServiceForbidden, message)));
        }
        Err(error) => return Err(BindingError::call(format!("reading {kind} {name}"), error)),
    };
    let told = service.data["status"]["binding"]["name"].as_str();
    let told = told.filter(|secret| !secret.is_empty());
    Ok(told.map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "{kind} {namespace}/{name} tells no Secret yet: its `status.binding.name` is empty"
        );
        Finding::unknown(BindingReason::ServiceMissingBinding, message)
    }))
}

async fn read(
    ctx: &Ctx,
    namespace: &str,
    plan: &Plan,
    secret: String,
) -> Result<Result<Found, Finding>, BindingError> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let metadata = match ctx.call(api.get_metadata_opt(&secret)).await {
        Ok(metadata) => metadata,
        Err(error) if error.is_forbidden() => {
            let message = not_allowed("read", "Secrets", namespace);
            return Ok(Err(Finding::bad(BindingReason::ServiceForbidden, message)));
        }
        Err(error) => {
            return Err(BindingError::call(
                format!("reading Secret {secret}"),
                error,
            ));
        }
    };
    let Some(metadata) = metadata else {
        let itself = plan.service_kind.is_secret();
        let reason = if itself {
            BindingReason::ServiceNotFound
        } else {
            BindingReason::SecretNotFound
        };
        let message = format!("Secret {namespace}/{secret} does not exist; create it");
        return Ok(Err(Finding::bad(reason, message)));
    };
    let hash = metadata.annotations().get(meta::SECRET_HASH).cloned();
    Ok(Ok(Found { secret, hash }))
}
