//! One errand in one cluster: the Secret is brought and injected there, behind its Service, or both
//! are taken back.

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use domicile_core::names::RegionName;
use domicile_core::placement::Readers;
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt};

use super::memory::{Order, Outcome, Share};
use super::part::has_cluster;
use crate::context::Ctx;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::former;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Progress, Stop};
use crate::controllers::placement::secret::{self, Identity, Write};
use crate::controllers::placement::serve::namespace;
use crate::controllers::placement::store::{Store, admit, is_of, secret_call};
use crate::controllers::placement::workloads;
use crate::controllers::placement::{cleanup, endpoint};
use crate::error::{Class, Classify};

/// What became of an errand, if anything was found out.
pub(super) type Done = Option<Outcome>;

/// The way to the cluster of a region; else why there is none.
pub(super) async fn reach(ctx: &Ctx, region: &RegionName) -> Result<Client, Done> {
    match ctx.region_client(region).await {
        Ok(Some(client)) => Ok(client),
        // Its Region has changed a moment ago, and the placement's next pass sees that.
        Ok(None) => Err(None),
        Err(error) if error.class() == Class::Transient => Err(None),
        Err(error) => Err(Some(Outcome::Barred(error.reason(), error.to_string()))),
    }
}

/// Makes the Service lead to the server, brings the Secret and injects it.
pub(super) async fn deliver(at: &Place<'_>, memory: &Memory, order: &Order) -> Done {
    let mut brought = bring(at, memory, order).await;
    if matches!(brought, Err(Halt::Later(_))) {
        // Somebody changed the Service between a look and a write.
        brought = bring(at, memory, order).await;
    }
    match brought {
        Ok(share) => Some(Outcome::Delivered(Box::new(share))),
        Err(halt) => trouble(at, halt),
    }
}

/// Takes back what was brought. Nothing is touched where the hub's own Secret lies, or that of
/// another region: its cluster is the same one.
pub(super) async fn withdraw(at: &Place<'_>) -> Done {
    match take_back(at).await {
        Ok(()) => Some(Outcome::Withdrawn),
        Err(halt) => trouble(at, halt),
    }
}

async fn bring(at: &Place<'_>, memory: &Memory, order: &Order) -> Result<Share, Halt> {
    let Place { ctx, tenant, .. } = *at;
    let mut progress = Progress::default();
    let live = read(at, &mut progress).await?;
    if is_elsewhere(at, live.as_ref(), &mut progress).await? {
        let left = former::retire(at, Readers::Unknown).await?;
        return Ok(Share {
            left,
            ..Share::default()
        });
    }
    admit(at, order.epoch, live.as_ref())?;
    let facade = order.facade.as_ref();
    let front = endpoint::look(at, facade, order.epoch, &mut progress).await?;
    let now = ctx.clock.now().wall;
    let identity = Identity {
        name: tenant.secret_name(),
        namespace: namespace(tenant),
        placement: tenant.name_any(),
        uid: tenant.uid().unwrap_or_default(),
        epoch: order.epoch,
        now,
        lasting: facade.is_some_and(|facade| facade.told),
        region: at.region.map(ToString::to_string),
        answered: None,
    };
    let write = secret::write(live.as_ref(), &identity, &order.rendered);
    let published = match write {
        Write::Nothing => secret::published(live.as_ref()),
        Write::Create(_) | Write::Patch(_) => Some(now),
    };
    let store = Store {
        at,
        live_hash: secret::told_hash(live.as_ref()),
        front: front.as_ref(),
    };
    // The name that the Secret tells leads somewhere before it is told.
    store.turn(&mut progress).await?;
    store.write(write, &mut progress).await?;
    let content = (&*order.rendered, &order.origin, published);
    workloads::inject(at, memory, content, &mut progress).await?;
    let left = former::retire(at, former::readers(&progress)).await?;
    if let Some(front) = &front {
        front.retire(at, &mut progress).await?;
    }
    Ok(Share {
        left,
        fronted: facade.is_some() && progress.removed_service.is_none(),
        injected: progress.findings.remove(&ConditionType::Injected),
        workloads: progress.workloads.unwrap_or_default(),
        rolling: progress.rolling,
        pause: progress.pause,
        taken_up: progress.taken_up,
        notice: progress.notice,
    })
}

async fn take_back(at: &Place<'_>) -> Result<(), Halt> {
    take_present_back(at).await?;
    for name in at.tenant.other_secrets(at.region) {
        former::delete(at, &name).await?;
    }
    endpoint::release(at).await
}

async fn take_present_back(at: &Place<'_>) -> Result<(), Halt> {
    let mut progress = Progress::default();
    let live = read(at, &mut progress).await?;
    if is_elsewhere(at, live.as_ref(), &mut progress).await? {
        return Ok(());
    }
    // What came back here while the hub's own was gone is the hub's, whatever it says.
    match is_hubs(at, live.as_ref(), &mut progress).await {
        Ok(true) => return Ok(()),
        // No rights in the hub, as where its namespace is gone: nothing of the hub's is here.
        Ok(false) | Err(Halt::Stop(_)) => {}
        Err(other) => return Err(other),
    }
    // A placement that was made anew under this name has the workloads now.
    if successor(at.ctx, at.tenant) {
        return cleanup::delete_secret(at).await.map(drop);
    }
    cleanup::withdraw(at, &mut progress).await
}

async fn read(at: &Place<'_>, progress: &mut Progress) -> Result<Option<Secret>, Halt> {
    let (secrets, name) = (at.secrets(), at.tenant.secret_name());
    let live = at.ctx.call(secrets.get_opt(&name)).await;
    live.map_err(|error| secret_call(at, "reading", error, progress))
}

/// Whether another placement of this name lives.
fn successor(ctx: &Ctx, tenant: &TenantPlacement) -> bool {
    let namespace = namespace(tenant);
    let live = ctx.stores.placements.get_in(&namespace, &tenant.name_any());
    live.is_some_and(|live| live.metadata.uid != tenant.metadata.uid)
}

/// Whether the placement's Secret here was brought for another cluster: this one is the hub's own,
/// or that of another region. There it is seen to.
async fn is_elsewhere(
    at: &Place<'_>,
    live: Option<&Secret>,
    progress: &mut Progress,
) -> Result<bool, Halt> {
    let Some(live) = live.filter(|live| is_of(at.tenant, live)) else {
        return Ok(false);
    };
    let Some(of) = live.annotations().get(meta::REGION) else {
        return is_hubs(at, Some(live), progress).await;
    };
    // What a Region brought that is gone, or gave its cluster up, is seen to by nobody else.
    let of = RegionName::new(of.as_str());
    Ok(at.region.is_some_and(|region| of != *region) && has_cluster(at.ctx, &of))
}

/// Whether the placement's Secret here is that of the hub, or of another region.
pub(in crate::controllers::placement) async fn is_of_another_cluster(
    at: &Place<'_>,
) -> Result<bool, Halt> {
    let mut progress = Progress::default();
    let live = read(at, &mut progress).await?;
    is_elsewhere(at, live.as_ref(), &mut progress).await
}

/// Whether it is the very object that the hub has.
async fn is_hubs(
    at: &Place<'_>,
    live: Option<&Secret>,
    progress: &mut Progress,
) -> Result<bool, Halt> {
    let Some(live) = live else {
        return Ok(false);
    };
    let hub = read(&Place::hub(at.ctx, at.tenant), progress).await?;
    Ok(hub.is_some_and(|hub| hub.metadata.uid == live.metadata.uid))
}

/// What it means that an errand was not carried through.
fn trouble(at: &Place<'_>, halt: Halt) -> Done {
    let barred = |stop: Stop| Some(Outcome::Barred(stop.reason, stop.message));
    let error = match halt {
        // What a newer leader wrote is newer news.
        Halt::Stop(stop) if stop.reason == Reason::StaleEpoch => return None,
        Halt::Stop(stop) => return barred(stop),
        Halt::Later(_) => return None,
        Halt::Failed(error) => error,
    };
    let PlacementError::Call { doing, source } = error else {
        return None;
    };
    let region = at.region.map(RegionName::as_str).unwrap_or_default();
    if source.is_not_found() {
        return barred(at.no_namespace());
    }
    if source.status().is_some_and(|status| status.code == 401) {
        let message = format!(
            "the cluster of Region {region} refuses the kubeconfig of its `spec.cluster`: \
             {source}; put another one into the Secret"
        );
        return Some(Outcome::Barred(Reason::ClusterRefused, message));
    }
    match source.class() {
        Class::Conflict => None,
        Class::Config => {
            let message = format!("the cluster of Region {region}: {doing}: {source}");
            Some(Outcome::Barred(Reason::ApiServerError, message))
        }
        Class::Transient | Class::Provider | Class::Bug => {
            let message = format!("the cluster of Region {region} does not answer: {source}");
            Some(Outcome::Silent(message))
        }
    }
}
