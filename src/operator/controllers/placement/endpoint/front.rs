//! The Service in one cluster: in the hub by the pass, in that of a region by its errand.

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::injection::ReloadStrategy;
use domicile_api::meta::manager;
use domicile_api::placement::TenantPlacement;
use domicile_core::endpoint::Lead;
use domicile_core::facts::Epoch;
use domicile_core::names::RegionName;
use domicile_providers::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use tracing::info;

use super::calls::{delete, delete_all, failed, read, refused};
use super::objects::{self, Change, Live, Wanted};
use super::{CURRENT, Published, asks, recorded};
use crate::controllers::placement::SOON;
use crate::controllers::placement::error::Halt;
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::Progress;
use crate::controllers::placement::regional;
use crate::controllers::placement::serve::namespace;
use crate::kube::apply::{self, Ownership};
use crate::kube::client::CallError;

/// The Service as every cluster is to have it that gets the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::placement) struct Facade {
    pub(in crate::controllers::placement) name: String,
    pub(in crate::controllers::placement) lead: Lead,
    /// The Secret tells its name. Else pods may have that from before.
    pub(in crate::controllers::placement) told: bool,
}

impl Facade {
    /// The Service that is published, or that is recorded from before.
    pub(in crate::controllers::placement) fn of(
        tenant: &TenantPlacement,
        published: &Published,
        server: &Endpoint,
    ) -> Option<Self> {
        let told = published.service.as_deref();
        Some(Self {
            name: told.or_else(|| recorded(tenant))?.to_owned(),
            lead: Lead::to(&server.host, server.port),
            told: told.is_some(),
        })
    }
}

/// The Service as it is in one cluster, and what is to be written to it.
pub(in crate::controllers::placement) struct Front {
    facade: Facade,
    live: Live,
    changes: Vec<Change>,
}

/// Looks at the Service, if there is to be one: because it is published, or because pods may still
/// use it that started when it was.
pub(in crate::controllers::placement) async fn look(
    at: &Place<'_>,
    facade: Option<&Facade>,
    epoch: Epoch,
    progress: &mut Progress,
) -> Result<Option<Front>, Halt> {
    let Some(facade) = facade else {
        return Ok(None);
    };
    let name = &facade.name;
    let seen_to = |progress: &mut Progress| progress.removed_service = Some(name.clone());
    if facade.told {
        let front = found(at, facade, epoch, progress).await?;
        if front.is_none() {
            seen_to(progress);
        }
        return Ok(front);
    }
    // Also while it is asked for again, and cannot be had yet: pods may use it from before.
    let asked = asks(at.tenant, name);
    let mut aside = Progress::default();
    match found(at, facade, epoch, &mut aside).await {
        // What is not there is not made to be kept.
        Ok(Some(front)) if front.live == Live::default() => {
            if !asked {
                seen_to(progress);
            }
            Ok(None)
        }
        Ok(Some(front)) => Ok(Some(front)),
        Ok(None) => {
            seen_to(progress);
            Ok(None)
        }
        // Nothing is published that needs it, so it keeps the tenant from nothing.
        Err(Halt::Stop(stop)) => {
            if stop.reason == Reason::ServiceOwnedByOther && !asked {
                release(at).await?;
                seen_to(progress);
            } else {
                progress.notice(stop.reason, stop.message);
            }
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// The Service in one cluster; none where it is the hub's own, whose pass turns and removes it.
async fn found(
    at: &Place<'_>,
    facade: &Facade,
    epoch: Epoch,
    progress: &mut Progress,
) -> Result<Option<Front>, Halt> {
    let name = &facade.name;
    let live = read(at, name).await;
    let live = live.map_err(|error| failed(at, "reading", name, error, progress))?;
    let uid = at.tenant.uid().unwrap_or_default();
    let unmarked = live.ours(&uid).any(|meta| objects::region(meta).is_none());
    if at.region.is_some() && unmarked && is_hubs(at, name, &live).await? {
        return Ok(None);
    }
    objects::admit(&live, &uid, epoch)
        .map_err(|refusal| progress.deny(CURRENT, refused(at, name, epoch, &refusal)))?;
    let wanted = Wanted {
        name: name.clone(),
        namespace: namespace(at.tenant),
        placement: at.tenant.name_any(),
        uid,
        region: at.region.map(ToString::to_string),
        lead: facade.lead.clone(),
        epoch,
    };
    let changes = objects::changes(&live, &wanted);
    Ok(Some(Front {
        facade: facade.clone(),
        live,
        changes,
    }))
}

impl Front {
    /// Whether it leads elsewhere than it must.
    pub(in crate::controllers::placement) fn differs(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Makes it lead to the server, which was just seen to take the published logins.
    pub(in crate::controllers::placement) async fn turn(
        &self,
        at: &Place<'_>,
        progress: &mut Progress,
    ) -> Result<(), Halt> {
        let (ctx, name, by) = (at.ctx, &self.facade.name, manager::ENDPOINT);
        let (services, slices) = (at.services(), at.slices());
        let ownership = |new: &bool| {
            if *new {
                Ownership::Respect
            } else {
                Ownership::Force
            }
        };
        for change in &self.changes {
            info!(service = name, "Turning the Service");
            let written = match change {
                Change::Slice { document, new } => {
                    let slice = document["metadata"]["name"].as_str().unwrap_or_default();
                    let applied = apply::apply(ctx, &slices, slice, by, ownership(new), document);
                    applied.await.map(drop)
                }
                Change::Service { document, new } => {
                    let applied = apply::apply(ctx, &services, name, by, ownership(new), document);
                    applied.await.map(drop)
                }
                Change::Remove(slice) => delete(ctx, &slices, slice.as_ref()).await,
            };
            written.map_err(|error| failed(at, "writing", name, error, progress))?;
        }
        Ok(())
    }

    /// Removes it when the Secret tells the server's own name again, and no selected workload of
    /// this cluster has the one before.
    pub(in crate::controllers::placement) async fn retire(
        &self,
        at: &Place<'_>,
        progress: &mut Progress,
    ) -> Result<(), Halt> {
        let Facade { name, told, .. } = &self.facade;
        if *told || asks(at.tenant, name) || is_used(at.tenant, progress) {
            return Ok(());
        }
        info!(service = name, "Removing the Service");
        let removed = if self.differs() {
            // What was turned in this pass is another version than the one that was read.
            remove(at, name).await
        } else {
            delete_all(at, &self.live).await
        };
        removed.map_err(|error| failed(at, "removing", name, error, progress))?;
        progress.removed_service = Some(name.clone());
        Ok(())
    }
}

/// Removes the Service of a placement that goes, or goes from this cluster, if there is one.
pub(in crate::controllers::placement) async fn release(at: &Place<'_>) -> Result<(), Halt> {
    let Some(name) = recorded(at.tenant) else {
        return Ok(());
    };
    let mut progress = Progress::default();
    let live = read(at, name).await;
    let live = live.map_err(|error| failed(at, "reading", name, error, &mut progress))?;
    if is_elsewhere(at, name, &live).await? {
        return Ok(());
    }
    let removed = delete_all(at, &live).await;
    removed.map_err(|error| failed(at, "removing", name, error, &mut progress))
}

async fn remove(at: &Place<'_>, name: &str) -> Result<(), CallError> {
    let live = read(at, name).await?;
    delete_all(at, &live).await
}

/// Whether what is here is of another cluster, and seen to there: it has the name of another
/// region, or is the hub's.
async fn is_elsewhere(at: &Place<'_>, name: &str, live: &Live) -> Result<bool, Halt> {
    let Some(region) = at.region else {
        return Ok(false);
    };
    let uid = at.tenant.uid().unwrap_or_default();
    let of_another = |meta| {
        let of = objects::region(meta).map(RegionName::new);
        of.is_some_and(|of| of != *region && regional::has_cluster(at.ctx, &of))
    };
    if live.ours(&uid).any(of_another) {
        return Ok(true);
    }
    is_hubs(at, name, live).await
}

/// Whether what is in a region's cluster is the hub's own: the cluster is the hub, too.
async fn is_hubs(at: &Place<'_>, name: &str, live: &Live) -> Result<bool, Halt> {
    let uid = at.tenant.uid().unwrap_or_default();
    let hubs = match read(&Place::hub(at.ctx, at.tenant), name).await {
        Ok(hubs) => hubs,
        // No rights in the hub, as where its namespace is gone: nothing of the hub's is here.
        Err(error) if error.is_forbidden() => return Ok(false),
        Err(_) => return Err(Halt::Later(SOON)),
    };
    let here = |meta: &ObjectMeta| live.ours(&uid).any(|here| here.uid == meta.uid);
    Ok(hubs.ours(&uid).any(here))
}

/// Whether a pod may still use what the Secret told before.
fn is_used(tenant: &TenantPlacement, progress: &Progress) -> bool {
    let Some(injected) = progress.findings.get(&ConditionType::Injected) else {
        return true;
    };
    let restarts = tenant.reload_strategy() == ReloadStrategy::RollingRestart;
    if [Reason::NoWorkloads, Reason::InjectionOff].contains(&injected.reason) {
        return false;
    }
    injected.status != Status::True
        || (restarts && !progress.taken_up)
        || injected.reason == Reason::RolloutUnknown
}
