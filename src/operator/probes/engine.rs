//! Sensors of what promotes the servers: one loop per server that is not promoted by SQL alone.
//! Apart from the probes of the servers, which must not wait for it.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::reasons::Reason;
use domicile_core::names::ServerId;
use domicile_providers::Managed;
use kube::ResourceExt;

use super::sense::plan_of;
use crate::context::Ctx;
use crate::servers::{entry, patroni};

/// How often it is asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// How often while it cannot be used, which keeps its server from being promoted.
const AGAIN: Duration = Duration::from_secs(5);
/// How often a change of the Region is looked for.
const TICK: Duration = Duration::from_secs(1);
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What was found of that which promotes a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineReport {
    /// It answers and lets the operator in.
    Answers,
    /// It cannot be used.
    Fails {
        /// For conditions.
        reason: Reason,
        /// For people: object, fact, next step. No secret.
        message: String,
    },
}

/// True when something else than SQL promotes the server.
pub(super) fn is_managed(ctx: &Ctx, id: &ServerId) -> bool {
    let region = ctx.stores.regions.get(id.region.as_str());
    region.is_some_and(|region| entry(&region, id).is_ok_and(|server| patroni(server).is_some()))
}

/// Asks it, again and again, until no Region says that it is there.
pub(super) async fn watch(ctx: Arc<Ctx>, id: ServerId) {
    while is_managed(&ctx, &id) {
        let began = ctx.clock.mono();
        let wish = plan_of(&ctx, &id).map(|plan| plan.wish);
        let report = ask(&ctx, &id).await;
        let interval = if report == EngineReport::Answers {
            INTERVAL
        } else {
            AGAIN
        };
        if ctx.samples.engine(&id).as_ref() != Some(&report) {
            ctx.samples.put_engine(&id, report);
            for policy in ctx.stores.policies.all() {
                ctx.wake.policy(&policy.name_any());
            }
            ctx.wake.region(id.region.as_str());
        }
        let due = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        while ctx.clock.mono().since(began) < due
            && plan_of(&ctx, &id).map(|plan| plan.wish) == wish
        {
            ctx.clock.sleep(TICK).await;
        }
    }
    ctx.samples.remove_engine(&id);
    ctx.wake.region(id.region.as_str());
}

async fn ask(ctx: &Ctx, id: &ServerId) -> EngineReport {
    let fails = |reason, message| EngineReport::Fails { reason, message };
    match ctx.open_patroni(id, TIMEOUT).await {
        Ok(None) => EngineReport::Answers,
        Ok(Some(patroni)) => {
            let checked = match ctx.open(id, TIMEOUT).await {
                Ok(sql) => Managed::patroni(sql, patroni).check().await,
                // The probes tell why.
                Err(_) => patroni.check().await,
            };
            match checked {
                Ok(()) => EngineReport::Answers,
                Err(error) => {
                    let reason = Reason::parse(error.reason()).unwrap_or(Reason::ProviderRefused);
                    fails(reason, format!("Server {id}: {error}"))
                }
            }
        }
        Err(error) => fails(error.reason, error.message),
    }
}
