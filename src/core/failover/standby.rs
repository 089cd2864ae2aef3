//! Whether a standby can take over.

use super::observation::{Guard, GuardName, Observation, ServerView};
use super::question::{Question, guard};
use super::state::{MoveKind, Promotion};
use crate::facts::{Authority, Facts, Role};
use crate::names::{RegionName, ServerId};

pub(super) fn standby_eligible(seen: &Observation, ask: Question<'_>) -> Guard {
    guard(GuardName::StandbyEligible, standby_fit(seen, ask))
}

fn standby_fit(seen: &Observation, ask: Question<'_>) -> Result<String, String> {
    let target = ask.target;
    let listed = seen
        .settings
        .servers()
        .into_iter()
        .find(|s| s.server.region == *target);
    let Some(listed) = listed.filter(|_| *target != seen.stored.active) else {
        return Err(format!("{target} is not a standby of this policy now"));
    };
    if listed.promotion == Promotion::MustNot {
        return Err(format!("{target} is listed with `promotion: MustNot`"));
    }
    if seen.server(target).is_some_and(|view| view.suspended) {
        return Err(format!(
            "Region {target} is suspended: its `spec.state` says so"
        ));
    }
    let Some(facts) = seen.server(target).and_then(ServerView::now) else {
        return Err(format!("{target} does not answer"));
    };
    if facts.role != Role::Standby {
        return Err(format!(
            "{target} is not a standby: rejoin it to {}",
            seen.stored.active
        ));
    }
    able(seen, &listed.server, facts)?;
    let (identifier, timeline, major) = lineage(seen);
    // A fence of the old primary carries the same epoch, and a copy of it the same row: only the
    // right to write tells of the new one.
    let (last, held) = (seen.stored.history.first(), facts.authority);
    let older = |row: Authority, epoch| (row.epoch, row.writable) < (epoch, true);
    if let Some(last) = last.filter(|last| held.is_none_or(|row| older(row, last.epoch))) {
        return Err(format!(
            "{target} holds nothing of epoch {}, under which {} began to serve",
            last.epoch, last.to
        ));
    }
    if identifier.is_some_and(|id| id != facts.system_identifier) {
        return Err(format!(
            "{target} carries another system identifier: it is no copy"
        ));
    }
    if major.is_some_and(|major| major != facts.major_version) {
        return Err(format!("{target} runs another major version"));
    }
    if timeline.is_some_and(|timeline| facts.timeline != timeline) {
        return Err(format!(
            "{target} follows another timeline than {}",
            seen.stored.active
        ));
    }
    if ask.kind != MoveKind::Failover && stream_broken(facts) {
        return Err(format!(
            "{target} does not stream from {}",
            seen.stored.active
        ));
    }
    let lineage = if identifier.is_some() {
        "follows"
    } else {
        "is not known to have followed"
    };
    Ok(format!(
        "{target} is a standby that {lineage} {}",
        seen.stored.active
    ))
}

/// Whether what promotes it would, and lets tenants in.
fn able(seen: &Observation, server: &ServerId, facts: &Facts) -> Result<(), String> {
    if !facts.missing_rights.is_empty() {
        return Err(format!(
            "the login on {} lacks {}; see: kubectl domicile admin-sql {server}",
            server.region,
            facts.missing_rights.join(", "),
        ));
    }
    let view = seen.server(&server.region);
    match view.and_then(|view| view.engine_fails.as_ref()) {
        Some(fact) => Err(format!("what promotes {} would not: {fact}", server.region)),
        None => Ok(()),
    }
}

/// Identity, timeline and version that a copy of the active server must have, as far as known.
fn lineage(seen: &Observation) -> (Option<&str>, Option<u32>, Option<u32>) {
    if let Some(facts) = seen.active().and_then(ServerView::now) {
        return (
            Some(&facts.system_identifier),
            Some(facts.timeline),
            Some(facts.major_version),
        );
    }
    let timeline = last_timeline(seen);
    let Some(evidence) = &seen.stored.evidence else {
        return (None, timeline, None);
    };
    (
        Some(&evidence.system_identifier),
        timeline,
        Some(evidence.major_version),
    )
}

/// The timeline on which the active server writes, or did when it was last seen to: by this leader,
/// by whoever stored it, or before an outage.
pub(super) fn last_timeline(seen: &Observation) -> Option<u32> {
    let last = written_timeline(seen, &seen.stored.active, seen.stored.timeline);
    let before = || seen.stored.evidence.as_ref().map(|one| one.timeline);
    Some(last).filter(|last| *last > 0).or_else(before)
}

/// The timeline on which a server writes, or did when this leader last saw it, or `before` that.
pub(super) fn written_timeline(seen: &Observation, region: &RegionName, before: u32) -> u32 {
    let view = seen.server(region);
    let facts = view.and_then(|view| view.facts.as_ref());
    match facts.filter(|facts| facts.role == Role::Primary) {
        Some(facts) if view.is_some_and(|view| view.live) => facts.timeline,
        Some(facts) => facts.timeline.max(before),
        None => before,
    }
}

/// True when the standby's own stream shows no life of the primary: it has none, or the primary
/// has been silent for longer than a live but idle one can be.
pub fn stream_broken(facts: &Facts) -> bool {
    const MARGIN_MS: u64 = 500;
    facts
        .receiver
        .as_ref()
        .is_none_or(|r| r.silent_ms > r.patience_ms.saturating_add(MARGIN_MS))
}
