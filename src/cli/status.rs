//! `status`: everything at a glance, or one policy on one screen.

use serde_json::Value;

use crate::advice;
use crate::args::StatusArgs;
use crate::error::CliError;
use crate::explain;
use crate::findings::health;
use crate::json::{self, condition, name, text};
use crate::kinds::Kind;
use crate::output::Outcome;
use crate::report::{Health, OperationRow, Overview, PlacementRow, PolicyRow, RegionRow};
use crate::session::Session;
use crate::text as rendered;
use crate::world::{Placements, World};

/// Shows the state; the exit code is 2 unless all is healthy.
///
/// # Errors
/// When the policy does not exist or the cluster cannot be read.
pub async fn run(session: &mut Session<'_>, args: &StatusArgs) -> Result<Outcome, CliError> {
    if let Some(policy) = &args.policy {
        let name = if policy.contains('/') {
            of_policy(policy)?
        } else {
            policy.clone()
        };
        let object = session.get(Kind::FailoverPolicy, &name).await?;
        let world = World::read(session, Placements::OfAll).await?;
        let report = explain::report(Kind::FailoverPolicy, &object, &world, session.now);
        let exit = report.health.exit();
        return Outcome::of(&report, session.format, rendered::report, exit);
    }
    let scope = if session.all_namespaces {
        Placements::OfAll
    } else {
        Placements::OfNamespace
    };
    let world = World::read(session, scope).await?;
    let overview = overview(&world, session.now);
    let exit = overview.health.exit();
    Outcome::of(&overview, session.format, rendered::overview, exit)
}

/// All at a glance. Pure.
pub fn overview(world: &World, now: jiff::Timestamp) -> Overview {
    let policies: Vec<PolicyRow> = world
        .policies
        .iter()
        .map(|p| policy(p, world, now))
        .collect();
    let regions: Vec<RegionRow> = world.regions.iter().map(region).collect();
    let placements: Vec<PlacementRow> = world.placements.iter().map(placement).collect();
    let operations: Vec<OperationRow> = world.operations.iter().filter_map(operation).collect();
    let all = policies
        .iter()
        .map(|row| row.health)
        .chain(regions.iter().map(|row| row.health))
        .chain(placements.iter().map(|row| row.health));
    let health = all.max().unwrap_or(Health::Healthy);
    let count = |wanted: Health| placements.iter().filter(|row| row.health == wanted).count();
    let words = [Health::Healthy, Health::Progressing, Health::Degraded]
        .map(|health| format!("{} {health:?}", count(health)));
    let summary = format!("placements: {}", words.join(", "));
    let mut next = Vec::new();
    for kind in [Kind::FailoverPolicy, Kind::Region, Kind::TenantPlacement] {
        for object in world
            .of(kind)
            .iter()
            .filter(|object| self::health(object) != Health::Healthy)
        {
            let namespace = json::namespace(object)
                .map(|n| format!(" -n {n}"))
                .unwrap_or_default();
            let object = format!("{}/{}", kind.word(), name(object));
            next.push(format!("kubectl domicile explain {object}{namespace}"));
        }
    }
    for policy in &world.policies {
        next.extend(advice::of(Kind::FailoverPolicy, policy, world));
    }
    let mut said: Vec<String> = Vec::new();
    for line in next {
        if !said.contains(&line) && said.len() < 8 {
            said.push(line);
        }
    }
    let unread = world.unread.clone();
    Overview {
        health,
        summary,
        policies,
        regions,
        placements,
        operations,
        unread,
        next: said,
    }
}

fn of_policy(reference: &str) -> Result<String, CliError> {
    match Kind::parse_reference(reference)? {
        (Kind::FailoverPolicy, name) => Ok(name),
        (Kind::Region | Kind::TenantPlacement | Kind::FailoverOperation, _) => {
            Err(CliError::Usage(format!(
                "for {reference} use: kubectl domicile explain {reference}"
            )))
        }
    }
}

fn policy(policy: &Value, world: &World, now: jiff::Timestamp) -> PolicyRow {
    let report = explain::report(Kind::FailoverPolicy, policy, world, now);
    let status = |pointer: &str| text(policy, &format!("/status{pointer}"));
    let loss = status("/guarantees/dataLossSeconds");
    PolicyRow {
        policy: name(policy),
        health: report.health,
        state: status("/state"),
        active: status("/activeRegion"),
        home: status("/homeRegion"),
        epoch: status("/epoch"),
        split_brain: status("/guarantees/splitBrain"),
        loss: if loss.is_empty() {
            "unknown".to_owned()
        } else {
            format!("{loss} s")
        },
    }
}

fn region(region: &Value) -> RegionRow {
    RegionRow {
        region: name(region),
        jurisdiction: text(region, "/spec/jurisdiction"),
        health: health(region),
        reason: text(condition(region, "Ready"), "/reason"),
        placements: text(region, "/status/placements"),
    }
}

fn placement(placement: &Value) -> PlacementRow {
    PlacementRow {
        namespace: json::namespace(placement).unwrap_or_default(),
        placement: name(placement),
        health: health(placement),
        reason: text(condition(placement, "Ready"), "/reason"),
        home: text(placement, "/status/homeRegion"),
        active: text(placement, "/status/activeRegion"),
    }
}

fn operation(operation: &Value) -> Option<OperationRow> {
    let state = text(operation, "/status/state");
    let ended = ["Succeeded", "Failed", "Aborted", "Refused"].contains(&state.as_str());
    (!ended).then(|| OperationRow {
        operation: name(operation),
        kind: text(operation, "/spec/type"),
        policy: text(operation, "/spec/policyRef/name"),
        target: text(operation, "/spec/target"),
        message: text(operation, "/status/message"),
        state,
    })
}
