//! What fenced old primaries are asked, beyond what every server is.

use std::time::Duration;

use domicile_core::facts::{Engine, Lsn};
use domicile_core::failover::{Observation, ServerView, is_to_be_examined};
use domicile_core::names::ServerId;
use tracing::warn;

use super::Memory;
use crate::context::Ctx;

/// Asks each fenced old primary that is not reported yet which of its databases were written to,
/// and where its timelines ended, and adds what this process asked of it before. One that is
/// reported, and whose report lacks something, is asked again now and then.
pub(super) async fn examine(ctx: &Ctx, memory: &Memory, seen: &mut Observation) {
    let deadline = Duration::from_secs(u64::from(seen.settings.timeout_seconds));
    let (policy, now) = (seen.settings.name.clone(), seen.now.mono);
    let is_due = |view: &ServerView| {
        let mut reports = seen.stored.returned.iter();
        let reported = reports
            .any(|report| report.region == view.server.region && report.epoch == seen.stored.epoch);
        !reported || memory.examines(&policy, &view.server, now)
    };
    let views = seen.servers.values();
    let unknown = views.filter(|view| is_to_be_examined(seen, view) && is_due(view));
    let unknown: Vec<_> = unknown.map(|view| view.server.clone()).collect();
    for id in unknown {
        let touched = match ctx.open(&id, deadline).await {
            Ok(provider) => provider
                .written_databases()
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &touched {
            warn!(server = %id, error, "An old primary cannot be examined");
        }
        let ends = ends(ctx, seen, &id, deadline).await;
        if let Some(view) = seen.servers.get_mut(&id.region) {
            (view.touched, view.ends) = (touched.ok(), ends);
        }
    }
    for view in seen.servers.values_mut() {
        let asked = memory.last_asked(&policy, &view.server);
        view.asked_ms = asked.map(|asked| now.since(asked));
    }
}

/// Where the timelines of a server ended, as what runs it tells.
async fn ends(ctx: &Ctx, seen: &Observation, id: &ServerId, deadline: Duration) -> Vec<(u32, Lsn)> {
    let view = seen.servers.get(&id.region);
    if view.is_none_or(|view| view.engine == Engine::Sql) {
        return Vec::new();
    }
    let asked = match ctx.open_managed(id, deadline).await {
        Ok(managed) => managed.ends().await.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    asked.unwrap_or_else(|error| {
        warn!(server = %id, error, "Where the timelines of an old primary ended is not known");
        Vec::new()
    })
}
