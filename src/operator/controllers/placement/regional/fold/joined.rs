//! One answer from those of several clusters.

use domicile_api::conditions::{Reason, Status};

use super::failing;
use crate::controllers::placement::progress::Finding;

/// One answer from those of several clusters: the worst of them gives the reason, and all that fail
/// are told. That nothing is selected in one cluster is no failure where something is in another.
pub(super) fn joined(mut findings: Vec<Finding>) -> Finding {
    let idle = |finding: &Finding| finding.reason == Reason::NoWorkloads;
    if !findings.iter().all(idle) {
        findings.retain(|finding| !idle(finding));
    }
    let fails = |finding: &&Finding| finding.status == Status::False;
    let worst = findings
        .iter()
        .filter(fails)
        .min_by_key(|finding| rank(finding.reason));
    let Some(worst) = worst.or_else(|| findings.first()) else {
        return failing(Reason::NoWorkloads, String::new());
    };
    let (status, reason) = (worst.status, worst.reason);
    let told = |finding: &&Finding| finding.status == status;
    let mut messages: Vec<&str> = Vec::new();
    for finding in findings.iter().filter(told) {
        if status == Status::False || messages.is_empty() {
            messages.push(&finding.message);
        }
    }
    Finding {
        status,
        reason,
        message: messages.join("; "),
    }
}

/// How soon somebody must see to it: smaller is sooner.
fn rank(reason: Reason) -> usize {
    let late = [
        Reason::NoWorkloads,
        Reason::RestartPending,
        Reason::RollingOut,
        Reason::ClusterUnreachable,
    ];
    late.iter()
        .rev()
        .position(|one| *one == reason)
        .map_or(0, |at| at + 1)
}
