//! `explain placement/…`.

use serde_json::Value;

use super::{fact, related};
use crate::json::{condition, is, items, text};
use crate::kinds::Kind;
use crate::report::{Fact, Finding, Report};
use crate::world::World;

/// Adds what a placement's status tells.
pub(super) fn fill(report: &mut Report, placement: &Value, world: &World) {
    let status = |pointer: &str| text(placement, &format!("/status{pointer}"));
    let (home, active) = (status("/homeRegion"), status("/activeRegion"));
    report
        .facts
        .extend(fact("tenant", text(placement, "/spec/tenantID")));
    report
        .facts
        .extend(fact("plan", text(placement, "/spec/plan")));
    report.facts.extend(fact("home", home.clone()));
    report.facts.extend(fact("held by", status("/servedBy")));
    report.facts.extend(fact("active", active.clone()));
    report.facts.extend(fact("server", status("/server")));
    report.facts.extend(why_this_server(placement));
    report.facts.extend(fact("epoch", status("/epoch")));
    report.facts.extend(fact("secret", status("/binding/name")));
    let connection =
        ["/host", "/database", "/role"].map(|key| status(&format!("/connection{key}")));
    report
        .facts
        .extend(fact("connection", connection.join(" ").trim().to_owned()));
    report.facts.extend(fact("hosts", hosts(placement)));
    report.facts.extend(credentials(placement));
    for copy in items(placement, "/status/copies") {
        let place = format!(
            "{} ({})",
            text(copy, "/region"),
            text(copy, "/jurisdiction")
        );
        report.facts.push(Fact {
            name: text(copy, "/kind").to_lowercase(),
            value: place,
        });
    }
    workloads(report, placement);
    let protection = condition(placement, "FailoverProtected");
    report
        .facts
        .extend(fact("protection", text(protection, "/reason")));
    // Before it has a home, the region that it asks for tells why it has none.
    let asked = text(placement, "/spec/region");
    for region in [&active, &home, &asked] {
        let found = world
            .find(Kind::Region, "", region)
            .map(|r| related(Kind::Region, r));
        let new = found.filter(|f| !report.related.iter().any(|r| r.object == f.object));
        report.related.extend(new);
    }
    let policies = world.policies_of(&active, &status("/server"));
    report.related.extend(
        policies
            .into_iter()
            .map(|p| related(Kind::FailoverPolicy, p)),
    );
}

/// The servers that the Secret names for clients that choose among them.
fn hosts(placement: &Value) -> String {
    let each = items(placement, "/status/connection/hosts")
        .iter()
        .map(|one| {
            let (host, port) = (text(one, "/host"), text(one, "/port"));
            format!("{host}:{port}")
        });
    each.collect::<Vec<_>>().join(" ")
}

/// How far each selected workload has rolled.
fn workloads(report: &mut Report, placement: &Value) {
    for workload in items(placement, "/status/workloads") {
        let cluster = text(workload, "/cluster");
        let name = format!("{}/{}", text(workload, "/kind"), text(workload, "/name"));
        let name = if cluster.is_empty() {
            name
        } else {
            format!("{name} in {cluster}")
        };
        let (updated, total) = (text(workload, "/updated"), text(workload, "/total"));
        report
            .facts
            .extend(fact(&name, format!("{updated} of {total} pods updated")));
        if updated != total {
            report.why.push(Finding {
                source: name,
                reason: "RolloutIncomplete".to_owned(),
                message: format!("{updated} of {total} pods updated"),
                age: String::new(),
            });
        }
    }
}

/// Which credentials are published since when, and until when.
fn credentials(placement: &Value) -> impl Iterator<Item = Fact> {
    let facts = [
        ("rotated", "lastRotated"),
        ("next rotation", "nextRotation"),
        ("retiring role", "retiringRole"),
    ];
    let told = |key: &str| text(placement, &format!("/status/credentials/{key}"));
    facts
        .into_iter()
        .filter_map(move |(name, key)| fact(name, told(key)))
}

/// Why the server was chosen, as long as that is so.
fn why_this_server(placement: &Value) -> Option<Fact> {
    let fits = is(placement, "ServerFits", "True");
    let why = fits.then(|| text(condition(placement, "ServerFits"), "/message"))?;
    fact("why this server", why)
}
