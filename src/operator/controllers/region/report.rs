//! One status write when something changed, and an event for each edge in it.

use std::collections::BTreeMap;

use domicile_api::conditions::{self, ConditionType};
use domicile_api::meta::manager;
use domicile_api::reasons::Reason;
use domicile_api::region::{Reachable, RegionStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::context::Ctx;
use crate::controllers::region::observe::Observation;
use crate::kube::cas::{CasError, write_status};
use crate::kube::events::Severity;

/// An event to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// How bad it is.
    pub severity: Severity,
    /// The same as in the condition.
    pub reason: String,
    /// For people.
    pub note: String,
}

/// Writes `status`, and then the events of its edges.
pub async fn report(ctx: &Ctx, seen: &Observation, status: RegionStatus) -> Result<(), CasError> {
    let before = seen.region.status.clone().unwrap_or_default();
    let edges = edges(&before, &status);
    let regions = &ctx.stores.regions;
    let written = write_status(ctx, regions, manager::REGION, &seen.region, status).await?;
    for Edge {
        severity,
        reason,
        note,
    } in edges
    {
        ctx.events
            .publish(written.as_ref(), severity, &reason, "Probe", note);
    }
    Ok(())
}

/// The edges from one status to the next: each server that began or ceased to answer, or fails for
/// another reason, and a new reason of `Ready` that no server's event tells.
pub fn edges(before: &RegionStatus, after: &RegionStatus) -> Vec<Edge> {
    let message = |type_| {
        let found = conditions::find(&after.conditions, type_);
        found
            .map(|condition| condition.message.clone())
            .unwrap_or_default()
    };
    let old: BTreeMap<_, _> = before
        .database_servers
        .iter()
        .map(|s| (&s.name, s))
        .collect();
    let mut edges = Vec::new();
    let mut told = Vec::new();
    for server in &after.database_servers {
        let was = old.get(&server.name);
        let same =
            was.is_some_and(|w| w.reachable == server.reachable && w.reason == server.reason);
        match (server.reachable, &server.reason) {
            _ if same => {}
            (Reachable::True, _) => edges.push(Edge {
                severity: Severity::Normal,
                reason: Reason::Reachable.as_str().to_owned(),
                note: format!("Database server {} answers", server.name),
            }),
            (Reachable::False | Reachable::Unknown, Some(reason)) => edges.push(Edge {
                severity: Severity::Warning,
                reason: reason.clone(),
                note: message(ConditionType::DatabasesReachable),
            }),
            (Reachable::False | Reachable::Unknown, None) => {}
        }
        told.extend(server.reason.clone());
    }
    for type_ in [
        ConditionType::ProvidersReady,
        ConditionType::ReadReplicasFollow,
    ] {
        edges.extend(edge_of(type_, before, after));
    }
    let (ready, stalled) = (ConditionType::Ready, ConditionType::Stalled);
    let now = conditions::find(&after.conditions, ready).map(|c| c.reason.clone());
    let then = conditions::find(&before.conditions, ready).map(|c| c.reason.clone());
    if let Some(reason) = now.filter(|reason| Some(reason) != then.as_ref())
        && conditions::is_true(&after.conditions, stalled)
        && !told.contains(&reason)
    {
        edges.push(Edge {
            severity: Severity::Warning,
            reason,
            note: message(ready),
        });
    }
    edges
}

/// A condition that holds again, or fails for another reason.
fn edge_of(type_: ConditionType, before: &RegionStatus, after: &RegionStatus) -> Option<Edge> {
    let told = |status: &RegionStatus| conditions::find(&status.conditions, type_).cloned();
    let now = told(after).filter(|now| now.status != "Unknown")?;
    let same = |old: &Condition| old.reason == now.reason;
    (!told(before).as_ref().is_some_and(same)).then(|| Edge {
        severity: if now.status == "True" {
            Severity::Normal
        } else {
            Severity::Warning
        },
        reason: now.reason.clone(),
        note: now.message,
    })
}
