//! How a move begins: what is stored of it, and what was known before.

use super::expiry;
use super::observation::{Observation, ServerView};
use super::state::{Evidence, Journal, MoveKind, State, Stored};
use super::{standby, synchrony};
use crate::facts::Epoch;
use crate::names::RegionName;

/// By how much a busy machine may delay a probe, in milliseconds.
const BUSY_MS: u64 = 10_000;

/// The machine's own move to `target`.
pub(super) fn own_journal(seen: &Observation, target: &RegionName) -> Journal {
    journal(
        seen,
        &seen.own_operation(),
        MoveKind::Failover,
        true,
        target,
    )
}

/// Enters `state` with `journal` under the next epoch. The claim is lowered here, before anything
/// is touched, and what it was is remembered.
pub(super) fn start(seen: &Observation, state: State, journal: Journal) -> Stored {
    let stored = &seen.stored;
    Stored {
        epoch: stored.epoch.next(),
        evidence: stored.evidence.clone().or_else(|| evidence(seen)),
        restore_synchronous: stored.restore_synchronous || stored.claim.is_some(),
        claim: None,
        journal: Some(journal),
        ..stored.enter(state, seen.now.wall)
    }
}

/// What is stored of a move to `target` before it begins.
pub(super) fn journal(
    seen: &Observation,
    operation: &str,
    kind: MoveKind,
    automatic: bool,
    target: &RegionName,
) -> Journal {
    let known = seen.stored.evidence.clone().or_else(|| evidence(seen));
    Journal {
        operation: operation.to_owned(),
        kind,
        automatic,
        from: seen.stored.active.clone(),
        to: target.clone(),
        accept: std::collections::BTreeSet::new(),
        proof: None,
        system_identifier: known.as_ref().map_or_else(
            || identifier_of(seen, target),
            |e| e.system_identifier.clone(),
        ),
        timeline: standby::last_timeline(seen).unwrap_or_else(|| timeline_of(seen, target)),
        final_position: None,
        loss: None,
        loss_at: None,
        fork: None,
        loss_bytes: None,
        started: seen.now.wall,
        outage_since: seen.stored.evidence.as_ref().map(|e| e.outage_since),
    }
}

fn identifier_of(seen: &Observation, region: &RegionName) -> String {
    let facts = seen.server(region).and_then(ServerView::now);
    facts.map_or_else(String::new, |facts| facts.system_identifier.clone())
}

fn timeline_of(seen: &Observation, region: &RegionName) -> u32 {
    seen.server(region)
        .and_then(ServerView::now)
        .map_or(0, |facts| facts.timeline)
}

/// What the last good read of the active server says, as of now. The synchronous claim survives
/// only when that read is fresh and still shows its settings.
pub(super) fn evidence(seen: &Observation) -> Option<Evidence> {
    let facts = seen.active()?.facts.as_ref()?;
    let age_ms = seen.now.mono.since(facts.sampled);
    let claim = seen
        .stored
        .claim
        .as_ref()
        .filter(|c| age_ms <= freshness_ms(seen) && synchrony::still_claimed(c, facts));
    let age_seconds = i64::try_from(age_ms / 1000).unwrap_or(i64::MAX);
    let sampled = seen.now.wall.as_second().saturating_sub(age_seconds);
    Some(Evidence {
        sampled: jiff::Timestamp::from_second(sampled).unwrap_or(seen.now.wall),
        outage_since: seen.now.wall,
        system_identifier: facts.system_identifier.clone(),
        timeline: facts.timeline,
        major_version: facts.major_version,
        position: facts.position,
        agent_lived: expiry::lives(seen),
        synchronous: claim.map(|c| c.standby.clone()),
    })
}

/// How old the last good read before an outage may be, in milliseconds: some probes, and what a
/// busy machine adds. A server that refused the login for longer may have been told meanwhile to
/// wait for no standby.
fn freshness_ms(seen: &Observation) -> u64 {
    let policy = &seen.settings;
    let seconds = policy
        .interval_seconds
        .saturating_add(policy.timeout_seconds);
    u64::from(seconds).saturating_mul(3_000) + BUSY_MS
}

/// The epoch after which an abandoned move is over, so that nothing of it can act any more.
pub(super) fn epoch_after(seen: &Observation) -> Epoch {
    seen.stored.epoch.next()
}
