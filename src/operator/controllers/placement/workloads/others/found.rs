//! Where a kind is served, and where it keeps what a pod template keeps.

use domicile_api::conditions::Reason;
use domicile_api::service_binding::ClusterWorkloadResourceMapping;
use kube::Api;
use kube::api::ApiResource;

use super::Trouble;
use crate::context::Ctx;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::memory::Memory;
use crate::kube::client::CallError;
use crate::projection::kinds::{Kind, Kinds, NoKind};
use crate::projection::mapping::{self, Template};

const FIELD: &str = "`spec.injection.workloads`";

/// A kind as the API server calls it. Nothing where it serves no such kind and none is `meant`:
/// what was given in a version that is gone is taken back in another one.
pub(super) async fn resource(
    (ctx, memory): (&Ctx, &Memory),
    kind: &Kind,
    meant: bool,
) -> Result<Result<Option<ApiResource>, Trouble>, Halt> {
    let unknown = |message| Ok(Err((Reason::WorkloadKindUnknown, message)));
    let mut found = memory.kinds.find(ctx, kind).await;
    if !meant && matches!(found, Err(NoKind::NotServed)) {
        found = Kinds::find_served(ctx, kind).await;
    }
    match found {
        Ok(resource) => Ok(Ok(Some(resource))),
        // Without the kind there is no workload of it.
        Err(NoKind::NotServed | NoKind::ClusterScoped) if !meant => Ok(Ok(None)),
        Err(NoKind::NotServed) => unknown(format!(
            "the API server does not serve {kind}; install it, or take it out of {FIELD}"
        )),
        Err(NoKind::ClusterScoped) => {
            unknown(format!("{kind} is in no namespace; take it out of {FIELD}"))
        }
        Err(NoKind::Call(error)) => {
            Err(PlacementError::call(format!("looking {kind} up"), error).into())
        }
    }
}

/// Where a kind keeps what a pod template keeps. The mapping is read each time, since it is not
/// known whether the definition of mappings is installed. Without one that can be followed, what
/// is only taken back is where the record on the workload says.
pub(super) async fn template(
    ctx: &Ctx,
    resource: &ApiResource,
    meant: bool,
) -> Result<Result<Template, Trouble>, Halt> {
    let name = mapping::name_for(resource);
    let api: Api<ClusterWorkloadResourceMapping> = Api::all(ctx.client.clone());
    let found = match ctx.call(api.get_opt(&name)).await {
        Ok(found) => found,
        // Also where the definition of mappings is not installed.
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(unread(&name, error)),
    };
    let mut chosen = mapping::choose(found.as_ref().map(|found| &found.spec), resource);
    if !meant {
        chosen = chosen.or_else(|fact| mapping::choose(None, resource).map_err(|_| fact));
    }
    Ok(chosen.map_err(|fact| {
        let message = format!("ClusterWorkloadResourceMapping {name}: {fact}");
        (Reason::InvalidMapping, message)
    }))
}

fn unread(name: &str, error: CallError) -> Halt {
    PlacementError::call(
        format!("reading ClusterWorkloadResourceMapping {name}"),
        error,
    )
    .into()
}
