//! What a binding itself carries of us: the finalizer, and the kinds of workloads that carry it.

use std::sync::Arc;

use domicile_api::meta::{BINDING_FINALIZER, BOUND_KINDS, manager};
use domicile_api::service_binding::ServiceBinding;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::info;

use super::error::BindingError;
use crate::context::Ctx;
use crate::projection::kinds::Kind;

/// Whether workloads may carry the binding.
pub(super) fn is_held(binding: &ServiceBinding) -> bool {
    binding
        .finalizers()
        .iter()
        .any(|name| name == BINDING_FINALIZER)
}

/// The kinds of workloads that may carry it.
pub(super) fn kinds(binding: &ServiceBinding) -> Vec<Kind> {
    let text = binding.annotations().get(BOUND_KINDS);
    let parts = text.into_iter().flat_map(|text| text.split(','));
    parts.filter_map(Kind::parse).collect()
}

/// Whether another implementation of Service Binding shows its hand on a binding.
pub(super) fn is_foreign(meta: &ObjectMeta) -> bool {
    let finalizers = meta.finalizers.iter().flatten();
    let mut theirs = finalizers.filter(|name| *name != BINDING_FINALIZER);
    let entries = meta.managed_fields.iter().flatten();
    let mut others = entries.filter(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        entry.subresource.as_deref() == Some("status") && !manager.starts_with("domicile-")
    });
    theirs.any(|name| name.to_lowercase().contains("servicebinding")) || others.next().is_some()
}

/// The kinds that may still carry it when it is deleted: where none is recorded, because somebody
/// took the record out, the one that it names.
pub(super) fn last_kinds(binding: &ServiceBinding) -> Vec<Kind> {
    let recorded = kinds(binding);
    if !recorded.is_empty() {
        return recorded;
    }
    let workload = &binding.spec.workload;
    let named = Kind::read(&workload.api_version, &workload.kind);
    named.into_iter().collect()
}

/// The record with a kind in the version that it is written by now.
fn with(mut kinds: Vec<Kind>, kind: &Kind) -> Vec<Kind> {
    kinds.retain(|known| !known.is_same(kind));
    kinds.push(kind.clone());
    kinds
}

/// Makes sure that a deletion waits for us and knows where to look, when a workload of this kind
/// carries the binding or is about to. Costs nothing when it is held already; puts back what
/// somebody took out of the binding.
pub(super) async fn hold(
    ctx: &Ctx,
    binding: Arc<ServiceBinding>,
    kind: &Kind,
) -> Result<Arc<ServiceBinding>, BindingError> {
    let kinds = kinds(&binding);
    if is_held(&binding) && kinds.contains(kind) {
        return Ok(binding);
    }
    let kinds = with(kinds, kind);
    let mut finalizers = binding.finalizers().to_vec();
    if !is_held(&binding) {
        finalizers.push(BINDING_FINALIZER.to_owned());
    }
    write(ctx, &binding, &finalizers, &kinds).await
}

/// No workload of other kinds carries the binding any more.
pub(super) async fn only(
    ctx: &Ctx,
    binding: Arc<ServiceBinding>,
    kinds: &[Kind],
) -> Result<Arc<ServiceBinding>, BindingError> {
    let finalizers = binding.finalizers().to_vec();
    write(ctx, &binding, &finalizers, kinds).await
}

/// No workload carries the binding any more: lets it go.
pub(super) async fn release(ctx: &Ctx, binding: &ServiceBinding) -> Result<(), BindingError> {
    let mut finalizers = binding.finalizers().to_vec();
    finalizers.retain(|name| name != BINDING_FINALIZER);
    info!("Releasing the binding");
    match write(ctx, binding, &finalizers, &[]).await {
        Ok(_) => Ok(()),
        Err(BindingError::Call { source, .. }) if source.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn write(
    ctx: &Ctx,
    binding: &ServiceBinding,
    finalizers: &[String],
    kinds: &[Kind],
) -> Result<Arc<ServiceBinding>, BindingError> {
    let namespace = binding.namespace().unwrap_or_default();
    let api: Api<ServiceBinding> = Api::namespaced(ctx.client.clone(), &namespace);
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let kinds = (!kinds.is_empty()).then(|| kinds.join(","));
    let patch = json!({ "metadata": {
        "uid": binding.metadata.uid,
        "resourceVersion": binding.metadata.resource_version,
        "finalizers": finalizers,
        "annotations": { BOUND_KINDS: kinds },
    }});
    let parameters = PatchParams {
        field_manager: Some(manager::BINDING.to_owned()),
        ..PatchParams::default()
    };
    let name = binding.name_any();
    let written = ctx
        .call(api.patch(&name, &parameters, &Patch::Merge(patch)))
        .await;
    let mut written = written
        .map_err(|error| BindingError::call("setting the finalizer of the binding", error))?;
    written.metadata.managed_fields = None;
    let written = Arc::new(written);
    ctx.stores.bindings.wrote(Arc::clone(&written));
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn another_version_takes_the_place_of_the_one_before() {
        let kind = |text| Kind::parse(text).unwrap();
        let old = vec![
            kind("example.com/v1alpha1/Thing"),
            kind("apps/v1/Deployment"),
        ];
        let new = kind("example.com/v1/Thing");
        let expected = [kind("apps/v1/Deployment"), new.clone()];
        assert_eq!(with(old, &new), expected);
        assert_eq!(with(expected.to_vec(), &new), expected);
    }

    #[test]
    fn a_lost_record_leaves_the_kind_that_is_named() {
        let binding = |annotations: Value| -> ServiceBinding {
            serde_json::from_value(json!({
                "metadata": { "name": "db", "annotations": annotations },
                "spec": {
                    "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
                    "workload": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" },
                },
            }))
            .unwrap()
        };
        let texts = |binding| -> Vec<String> {
            let kinds = last_kinds(&binding).into_iter();
            kinds.map(|kind| kind.to_string()).collect()
        };
        let recorded = binding(json!({ BOUND_KINDS: "batch/v1/CronJob" }));
        assert_eq!(texts(recorded), ["batch/v1/CronJob"]);
        assert_eq!(texts(binding(json!({}))), ["apps/v1/Deployment"]);
    }

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn another_implementation_is_known_by_its_finalizer_or_its_status() {
        let status = |manager: &str, subresource: &str| {
            meta(json!({ "managedFields": [{
                "manager": manager, "operation": "Update", "subresource": subresource,
            }]}))
        };
        assert!(is_foreign(&meta(
            json!({ "finalizers": ["servicebinding.io/finalizer"] })
        )));
        assert!(is_foreign(&status("manager", "status")));
        assert!(!is_foreign(&status("domicile-binding", "status")));
        assert!(!is_foreign(&status("kubectl", "")));
        let ours = json!({ "finalizers": ["domicile.dev/binding", "example.com/mine"] });
        assert!(!is_foreign(&meta(ours)));
    }
}
