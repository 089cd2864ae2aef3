//! The calls about the Service of a placement, and what it means when they fail.

use domicile_api::conditions::Reason;
use domicile_core::facts::Epoch;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::CURRENT;
use super::objects::{Live, Refusal, SERVICE_NAME, is_ours};
use crate::context::Ctx;
use crate::controllers::placement::SOON;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Progress, Stop, Until};
use crate::controllers::placement::serve::namespace;
use crate::controllers::placement::workloads;
use crate::kube::client::CallError;

/// What there is of that name in one cluster.
pub(super) async fn read(at: &Place<'_>, name: &str) -> Result<Live, CallError> {
    let of_service = ListParams::default().labels(&format!("{SERVICE_NAME}={name}"));
    Ok(Live {
        service: at.ctx.call(at.services().get_opt(name)).await?,
        slices: at.ctx.call(at.slices().list(&of_service)).await?.items,
    })
}

/// Deletes what belongs to the placement.
pub(super) async fn delete_all(at: &Place<'_>, live: &Live) -> Result<(), CallError> {
    let uid = at.tenant.uid().unwrap_or_default();
    let service = live.service.iter();
    for service in service.filter(|service| is_ours(*service, &uid)) {
        delete(at.ctx, &at.services(), service).await?;
    }
    let ours = live.slices.iter();
    for slice in ours.filter(|slice| is_ours(*slice, &uid)) {
        delete(at.ctx, &at.slices(), slice).await?;
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
pub(super) fn refused(at: &Place<'_>, name: &str, epoch: Epoch, refusal: &Refusal) -> Stop {
    let (namespace, there) = (namespace(at.tenant), at.there());
    let theirs = |what: String| {
        let message = format!(
            "{what} exists{there} and was not made for this placement; it was left alone: remove \
             it, or set another `spec.connection.secretName`, with `spec.connection.endpoint` at \
             Direct for that change"
        );
        Stop::new(Until::Person, Reason::ServiceOwnedByOther, message)
    };
    match refusal {
        Refusal::Service => theirs(format!("Service {namespace}/{name}")),
        Refusal::Slice(slice) => theirs(format!(
            "EndpointSlice {namespace}/{slice}, labelled as one of Service {name},"
        )),
        Refusal::Newer(newer) => {
            let message = format!(
                "Service {namespace}/{name}{there} was turned under epoch {newer}, newer than \
                 {epoch}; it was left alone"
            );
            Stop::new(Until::Moved, Reason::StaleEpoch, message)
        }
    }
}

/// What a failed call about the Service means.
pub(super) fn failed(
    at: &Place<'_>,
    doing: &str,
    name: &str,
    error: CallError,
    progress: &mut Progress,
) -> Halt {
    if error.lacks_right() {
        let mut stop = at.no_rights("Services and EndpointSlices");
        stop.message
            .push_str(", and upgrade the chart if it is older than this operator");
        return progress.deny(CURRENT, stop).into();
    }
    if error.is_conflict() {
        // It was changed, or made by somebody else, since it was read: the next pass sees that.
        return Halt::Later(SOON);
    }
    let object = format!(
        "{doing} Service {}/{name}{}",
        namespace(at.tenant),
        at.there()
    );
    let refusal = workloads::Refusal::of(&error);
    if let Some(workloads::Refusal::Denied | workloads::Refusal::Invalid) = refusal {
        let message = format!("the API server refuses {object}: {error}");
        let stop = Stop::new(Until::Person, Reason::ApiServerError, message);
        return progress.deny(CURRENT, stop).into();
    }
    PlacementError::call(object, error).into()
}
