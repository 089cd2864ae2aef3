//! `explain region/…`.

use serde_json::Value;

use super::{fact, related};
use crate::json::{items, name, text};
use crate::kinds::Kind;
use crate::report::{Finding, Report};
use crate::world::World;

/// Adds what a region's status tells.
pub(super) fn fill(report: &mut Report, region: &Value, world: &World) {
    report
        .facts
        .extend(fact("jurisdiction", text(region, "/spec/jurisdiction")));
    report
        .facts
        .extend(fact("state", text(region, "/spec/state")));
    report
        .facts
        .extend(fact("served by", text(region, "/spec/servedBy")));
    report
        .facts
        .extend(fact("placements", text(region, "/status/placements")));
    let plans = items(region, "/status/tenants/byPlan").iter();
    let plans: Vec<String> = plans
        .map(|plan| format!("{} {}", text(plan, "/count"), text(plan, "/plan")))
        .collect();
    let total = text(region, "/status/tenants/total");
    let tenants = if plans.is_empty() {
        total
    } else {
        format!("{total} ({})", plans.join(", "))
    };
    report.facts.extend(fact("tenants", tenants));
    for server in items(region, "/spec/databaseServers") {
        let server_name = text(server, "/name");
        let observed = items(region, "/status/databaseServers");
        let observed = observed.iter().find(|o| text(o, "/name") == server_name);
        let value = |pointer: &str| observed.map(|o| text(o, pointer)).unwrap_or_default();
        let mut parts = vec![text(server, "/host"), value("/role")];
        parts.extend(labelled("version", &value("/version")));
        parts.extend(labelled("timeline", &value("/timeline")));
        parts.extend(takes(server));
        parts.extend(labelled("tenants", &value("/tenants")));
        parts.retain(|part| !part.is_empty());
        report
            .facts
            .extend(fact(&format!("server {server_name}"), parts.join(" ")));
        if observed.is_some_and(|o| text(o, "/reachable") != "True") {
            report.why.push(Finding {
                source: format!("server {server_name}"),
                reason: value("/reason"),
                message: String::new(),
                age: String::new(),
            });
        }
    }
    let policies = world.policies_of(&name(region), "");
    report.related.extend(
        policies
            .into_iter()
            .map(|p| related(Kind::FailoverPolicy, p)),
    );
}

/// Which tenants the server takes, as far as the spec says more than "all".
fn takes(server: &Value) -> Vec<String> {
    let mut parts = Vec::new();
    let words = |pointer: &str| -> Vec<String> {
        items(server, pointer)
            .iter()
            .map(|word| text(word, ""))
            .collect()
    };
    let plans = words("/plans");
    if !plans.is_empty() {
        parts.push(format!("plans {}", plans.join(",")));
    }
    if text(server, "/isolation") == "Dedicated" {
        parts.push("Dedicated".to_owned());
    }
    let planes = words("/planes");
    if planes.len() == 1 {
        parts.push(format!("plane {}", planes.join(",")));
    }
    parts.extend(labelled("maxTenants", &text(server, "/maxTenants")));
    parts
}

fn labelled(label: &str, value: &str) -> Option<String> {
    (!value.is_empty()).then(|| format!("{label} {value}"))
}
