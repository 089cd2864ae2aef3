//! The service of a binding: the Secret that it tells. Of a Secret only the metadata is read.

use domicile_api::TenantPlacement;
use domicile_api::meta;
use domicile_api::service_binding::BindingReason;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::error::BindingError;
use super::plan::Plan;
use super::report::Finding;
use super::{State, not_allowed};
use crate::context::Ctx;
use crate::projection::kinds::{self, Kind, NoKind};

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
    if kind.is_placement()
        && let Some(placement) = ctx.stores.placements.get_in(namespace, name)
    {
        // Its changes wake the bindings of its namespace, so a cache that is behind does no harm.
        return Ok(secret_of(kind, namespace, name, told(&placement)));
    }
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
    if !kind.is_placement() {
        state.watches.want(namespace, kind, &resource);
    }
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
    Ok(secret_of(kind, namespace, name, told))
}

/// The Secret that a placement tells.
fn told(placement: &TenantPlacement) -> Option<&str> {
    let binding = placement.status.as_ref()?.binding.as_ref()?;
    Some(binding.name.as_str())
}

fn secret_of(
    kind: &Kind,
    namespace: &str,
    name: &str,
    told: Option<&str>,
) -> Result<String, Finding> {
    let told = told.filter(|secret| !secret.is_empty());
    told.map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "{kind} {namespace}/{name} tells no Secret yet: its `status.binding.name` is empty"
        );
        Finding::unknown(BindingReason::ServiceMissingBinding, message)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_placement_tells_its_secret_once_it_has_one() {
        let kind = Kind::read("domicile.dev/v1alpha1", "TenantPlacement").unwrap();
        let secret = |status: Value| {
            let placement: TenantPlacement = serde_json::from_value(json!({
                "metadata": { "name": "acme" }, "spec": { "tenantID": "acme" }, "status": status,
            }))
            .unwrap();
            secret_of(&kind, "a", "acme", told(&placement)).map_err(|finding| finding.reason)
        };
        let named = json!({ "binding": { "name": "acme-db" } });
        assert_eq!(secret(named).as_deref(), Ok("acme-db"));
        for status in [Value::Null, json!({})] {
            assert_eq!(secret(status), Err(BindingReason::ServiceMissingBinding));
        }
    }
}
