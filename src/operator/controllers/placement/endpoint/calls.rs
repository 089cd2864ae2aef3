//! The calls about the Service of a placement, and what it means when they fail.

use domicile_api::conditions::Reason;
use domicile_api::placement::TenantPlacement;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::CURRENT;
use super::objects::{Live, Refusal, SERVICE_NAME, is_ours};
use crate::context::Ctx;
use crate::controllers::placement::SOON;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::observe::Seat;
use crate::controllers::placement::progress::{Progress, Stop, Until};
use crate::controllers::placement::serve::namespace;
use crate::kube::client::CallError;

/// What there is of that name.
pub(super) async fn read(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    name: &str,
) -> Result<Live, CallError> {
    let namespace = namespace(tenant);
    let services: Api<Service> = Api::namespaced(ctx.client.clone(), &namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(ctx.client.clone(), &namespace);
    let of_service = ListParams::default().labels(&format!("{SERVICE_NAME}={name}"));
    Ok(Live {
        service: ctx.call(services.get_opt(name)).await?,
        slices: ctx.call(slices.list(&of_service)).await?.items,
    })
}

/// Deletes what belongs to the placement.
pub(super) async fn delete_all(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    live: &Live,
) -> Result<(), CallError> {
    let namespace = namespace(tenant);
    let uid = tenant.uid().unwrap_or_default();
    let services: Api<Service> = Api::namespaced(ctx.client.clone(), &namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(ctx.client.clone(), &namespace);
    let service = live.service.iter();
    for service in service.filter(|service| is_ours(*service, &uid)) {
        delete(ctx, &services, service).await?;
    }
    let ours = live.slices.iter();
    for slice in ours.filter(|slice| is_ours(*slice, &uid)) {
        delete(ctx, &slices, slice).await?;
    }
    Ok(())
}

/// Deletes exactly the object that was read.
pub(super) async fn delete<K>(ctx: &Ctx, api: &Api<K>, object: &K) -> Result<(), CallError>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.meta().uid.clone(),
            resource_version: object.meta().resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    match ctx.call(api.delete(&object.name_any(), &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why nothing may be written, for people.
pub(super) fn refused(
    tenant: &TenantPlacement,
    name: &str,
    seat: &Seat,
    refusal: &Refusal,
) -> Stop {
    let namespace = namespace(tenant);
    let theirs = |what: String| {
        let message = format!(
            "{what} exists and was not made for this placement; it was left alone: remove it, or \
             set another `spec.connection.secretName`, with `spec.connection.endpoint` at Direct \
             for that change"
        );
        Stop::new(Until::Person, Reason::ServiceOwnedByOther, message)
    };
    match refusal {
        Refusal::Service => theirs(format!("Service {namespace}/{name}")),
        Refusal::Slice(slice) => theirs(format!(
            "EndpointSlice {namespace}/{slice}, labelled as one of Service {name},"
        )),
        Refusal::Newer(epoch) => {
            let message = format!(
                "Service {namespace}/{name} was turned under epoch {epoch}, newer than {}; it was \
                 left alone",
                seat.epoch
            );
            Stop::new(Until::Moved, Reason::StaleEpoch, message)
        }
    }
}

/// What a failed call about the Service means.
pub(super) fn failed(
    tenant: &TenantPlacement,
    doing: &str,
    name: &str,
    error: CallError,
    progress: &mut Progress,
) -> Halt {
    let namespace = namespace(tenant);
    if error.is_forbidden() {
        let message = format!(
            "the operator has no rights on Services and EndpointSlices in namespace {namespace}; \
             apply what `kubectl domicile onboard {namespace}` prints, and upgrade the chart if it \
             is older than this operator"
        );
        let stop = Stop::new(Until::Person, Reason::NamespaceNotOnboarded, message);
        return progress.deny(CURRENT, stop).into();
    }
    if error.is_conflict() {
        // It was changed, or made by somebody else, since it was read: the next pass sees that.
        return Halt::Later(SOON);
    }
    let object = format!("{doing} Service {namespace}/{name}");
    if error.status().is_some_and(|status| status.code == 422) {
        let message = format!("the API server refuses {object}: {error}");
        let stop = Stop::new(Until::Person, Reason::ApiServerError, message);
        return progress.deny(CURRENT, stop).into();
    }
    PlacementError::call(object, error).into()
}
