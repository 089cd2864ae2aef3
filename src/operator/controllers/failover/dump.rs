//! The copy of what an old primary alone holds: its Job is looked at in each pass that waits for
//! it, and made when the machine says so.
//!
//! A Job with the data of tenants runs where the workloads of the region run: in the Region's own
//! cluster when it has one, and never in another then; else in this one.

mod job;
#[cfg(test)]
mod tests;

use std::time::Duration;

use domicile_api::meta::DUMP_JURISDICTIONS;
use domicile_api::region::Region;
use domicile_core::facts::Epoch;
use domicile_core::failover::{DumpLook, DumpView, Observation, awaits_dump};
use domicile_core::names::ServerId;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tracing::debug;

use self::job::{Of, build, secret_elsewhere};
use super::Memory;
use crate::context::Ctx;
use crate::error::{Class, Classify};
use crate::kube::client::{self, CallError};
use crate::servers::entry;

/// The cluster that a copy is made in.
struct Place<'a> {
    client: Client,
    namespace: &'a str,
    /// It is the hub, in which pods of other regions run, too.
    shared: bool,
    /// As messages call it: empty, or ` of the cluster of Region …`.
    cluster: String,
}

impl Place<'_> {
    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn cron_jobs(&self) -> Api<CronJob> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// Looks at the Job of each server whose copy is waited for.
pub(super) async fn observe(ctx: &Ctx, memory: &Memory, seen: &mut Observation) {
    let waiting = seen.servers.values().filter(|view| awaits_dump(seen, view));
    let waiting: Vec<ServerId> = waiting.map(|view| view.server.clone()).collect();
    for server in waiting {
        let of = Of {
            policy: seen.settings.name.clone(),
            region: server.region.clone(),
            epoch: seen.stored.epoch,
        };
        let look = match look(ctx, memory, seen, &of, &server).await {
            Ok(look) => Some(look),
            Err(Trouble::Passing(error)) => {
                debug!(%server, error, "The Job of a copy was not looked at");
                None
            }
            Err(Trouble::Lasting(fact)) => Some(DumpLook::Blocked(fact)),
        };
        let job = of.name();
        if let Some(view) = seen.servers.get_mut(&server.region) {
            view.dump = look.map(|look| DumpView { job, look });
        }
    }
}

/// Why something could not be done.
enum Trouble {
    /// It passes by itself.
    Passing(String),
    /// A person must act.
    Lasting(String),
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Self::Passing(text) | Self::Lasting(text) => text,
        }
    }
}

async fn look(
    ctx: &Ctx,
    memory: &Memory,
    seen: &Observation,
    of: &Of,
    server: &ServerId,
) -> Result<DumpLook, Trouble> {
    let limit = Duration::from_secs(u64::from(seen.settings.timeout_seconds));
    let (place, region) = place(ctx, server).await?;
    let (name, namespace, cluster) = (of.name(), place.namespace, &place.cluster);
    let asked = client::call(&ctx.clock, limit, place.jobs().get_opt(&name)).await;
    if let Some(job) = asked.map_err(|error| trouble(&place, "read Jobs", &error))? {
        let foreign = || {
            Trouble::Lasting(format!(
                "Job {name} in {namespace}{cluster} is not Domicile's; delete it"
            ))
        };
        return of.look(&job).ok_or_else(foreign);
    }
    let entry = entry(&region, server).map_err(|error| Trouble::Lasting(error.message))?;
    if let Some(secret) = secret_elsewhere(entry, namespace) {
        return Err(Trouble::Lasting(format!(
            "Secret {secret} is not in {namespace}, where the Job would run; have Region {} name \
             one that is",
            server.region
        )));
    }
    template(ctx, seen, &place, &region, limit).await?;
    match memory.refused(&of.policy, server, ctx.clock.mono()) {
        Some(why) => Err(Trouble::Lasting(why)),
        None => Ok(DumpLook::Absent),
    }
}

/// Where the copy of a server is made.
async fn place<'a>(
    ctx: &'a Ctx,
    server: &ServerId,
) -> Result<(Place<'a>, std::sync::Arc<Region>), Trouble> {
    let gone = || Trouble::Lasting(format!("there is no Region {}; create it", server.region));
    let region = ctx.stores.regions.get(server.region.as_str());
    let region = region.ok_or_else(gone)?;
    let own = ctx.region_client(&server.region).await;
    let own = own.map_err(|error| Trouble::Lasting(super::super::chain(&error)))?;
    let cluster = match own {
        Some(_) => format!(" of the cluster of Region {}", server.region),
        None => String::new(),
    };
    let place = Place {
        shared: own.is_none(),
        client: own.unwrap_or_else(|| ctx.client.clone()),
        namespace: ctx.settings.namespace(),
        cluster,
    };
    Ok((place, region))
}

async fn template(
    ctx: &Ctx,
    seen: &Observation,
    place: &Place<'_>,
    region: &Region,
    limit: Duration,
) -> Result<CronJob, Trouble> {
    let name = seen.settings.dump.as_deref().unwrap_or_default();
    let asked = client::call(&ctx.clock, limit, place.cron_jobs().get_opt(name)).await;
    let found = asked.map_err(|error| trouble(place, "read CronJobs", &error))?;
    let (namespace, cluster) = (place.namespace, &place.cluster);
    let found = found.ok_or_else(|| {
        Trouble::Lasting(format!(
            "there is no CronJob {name} in {namespace}{cluster}; create it"
        ))
    })?;
    let lawful = !place.shared || allows(&found, &region.spec.jurisdiction);
    if !lawful {
        return Err(Trouble::Lasting(format!(
            "CronJob {name} in {namespace} does not say that its copies stay in {}, the \
             jurisdiction of Region {}, which has no cluster of its own; if they do, annotate it \
             with {DUMP_JURISDICTIONS}",
            region.spec.jurisdiction,
            region.name_any()
        )));
    }
    Ok(found)
}

/// True when the template says that what it writes stays in this jurisdiction.
fn allows(template: &CronJob, jurisdiction: &str) -> bool {
    let said = template.annotations().get(DUMP_JURISDICTIONS);
    said.is_some_and(|said| said.split(',').any(|one| one.trim() == jurisdiction))
}

/// Why a call failed. What the API server says of a Job may quote it, and is left out.
fn trouble(place: &Place<'_>, doing: &str, error: &CallError) -> Trouble {
    let (namespace, cluster) = (place.namespace, &place.cluster);
    let answer = error.status();
    let answer = answer.map_or_else(String::new, |status| format!(": {}", status.reason));
    if error.is_forbidden() {
        return Trouble::Lasting(format!(
            "Domicile was not let {doing} in {namespace}{cluster}{answer}; name the CronJob in the \
             chart's value `dumps` there"
        ));
    }
    let text = format!("Domicile could not {doing} in {namespace}{cluster}{answer}");
    match error.class() {
        Class::Config => Trouble::Lasting(format!("{text}; correct the CronJob")),
        Class::Transient | Class::Conflict | Class::Provider | Class::Bug => Trouble::Passing(text),
    }
}

/// Creates the Job. One that is there already is as good: the next look tells whose it is.
///
/// # Errors
/// Why it was not created; also remembered, so that the next looks tell it.
pub(super) async fn create(
    ctx: &Ctx,
    memory: &Memory,
    seen: &Observation,
    server: &ServerId,
    epoch: Epoch,
    limit: Duration,
) -> Result<(), String> {
    let of = Of {
        policy: seen.settings.name.clone(),
        region: server.region.clone(),
        epoch,
    };
    let done = submit(ctx, seen, &of, server, limit).await;
    done.map_err(Trouble::text).inspect_err(|why| {
        let now = ctx.clock.mono();
        memory.note_refused(&of.policy, server, now, why.clone());
    })
}

async fn submit(
    ctx: &Ctx,
    seen: &Observation,
    of: &Of,
    server: &ServerId,
    limit: Duration,
) -> Result<(), Trouble> {
    let (place, region) = place(ctx, server).await?;
    let entry = entry(&region, server).map_err(|error| Trouble::Lasting(error.message))?;
    let template = template(ctx, seen, &place, &region, limit).await?;
    let opened = ctx.open(server, limit).await;
    let provider = opened.map_err(|error| Trouble::Passing(error.to_string()))?;
    let held = provider.tenants().await;
    let held = held.map_err(|error| Trouble::Passing(super::super::chain(&error)))?;
    let databases: Vec<String> = held.into_iter().map(|held| held.database).collect();
    let mut reports = seen.stored.returned.iter();
    let report = reports.find(|report| report.region == of.region && report.epoch == of.epoch);
    let touched = report.map_or(&[][..], |report| &report.databases);
    let job = build(&template, of, entry, &databases, touched).map_err(Trouble::Lasting)?;
    let (api, parameters) = (place.jobs(), PostParams::default());
    let created = api.create(&parameters, &job);
    match client::call(&ctx.clock, limit, created).await {
        Ok(_created) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(trouble(&place, "create the Job", &error)),
    }
}
