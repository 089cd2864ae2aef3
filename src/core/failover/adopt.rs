//! The first look at a policy's servers, when nothing is stored: a new policy, or a lost status.

use std::collections::BTreeMap;

use super::observation::ServerView;
use super::state::{Settings, State, Stored};
use crate::facts::{Authority, Epoch, Role};
use crate::names::RegionName;
use crate::time::Now;

/// Rebuilds what is stored from the authority rows of all servers. The newest epoch wins. A silent
/// server, no primary, or two with an equal claim is an answer for a person, never a guess
/// (RamenDR/ramen#912). A write lease of a newer epoch than all rows, `leased`, is the trace of a
/// move that was given up: that epoch is not issued again.
pub fn adopt(
    settings: &Settings,
    servers: &BTreeMap<RegionName, ServerView>,
    leased: Option<Epoch>,
    now: Now,
) -> Result<Stored, String> {
    let mut epoch = leased.unwrap_or(Epoch(0));
    let mut primaries = Vec::new();
    for listed in settings.servers() {
        let region = &listed.server.region;
        let facts = servers
            .get(region)
            .and_then(ServerView::now)
            .ok_or_else(|| {
                format!(
                    "{} does not answer, and all servers must before the first pass",
                    listed.server
                )
            })?;
        let row = facts.authority.unwrap_or(Authority {
            epoch: Epoch(0),
            writable: true,
        });
        epoch = epoch.max(row.epoch);
        if facts.role == Role::Primary {
            primaries.push((region.clone(), row));
        }
    }
    primaries.sort_by_key(|(_, row)| std::cmp::Reverse((row.epoch, row.writable)));
    let (active, row) = match primaries.as_slice() {
        [] => return Err("none of the servers is a primary".to_owned()),
        [only] => only.clone(),
        [first, others @ ..] => {
            // A fenced server of a newer epoch and an open one of an older: either may hold what
            // the other lacks.
            let rival = others.iter().find(|(_, row)| {
                (row.epoch, row.writable) == (first.1.epoch, first.1.writable)
                    || (row.writable && !first.1.writable)
            });
            if let Some(rival) = rival {
                return Err(format!(
                    "{} and {} are both primaries with a right to write that contradicts the \
                     other: demote one of them",
                    first.0, rival.0
                ));
            }
            first.clone()
        }
    };
    // An epoch that the active server holds already is kept: nothing was moved, and tenants that
    // were placed under it go on.
    let current = row.writable && row.epoch == epoch;
    let facts = servers.get(&active).and_then(ServerView::now);
    let timeline = facts.map_or(0, |facts| facts.timeline);
    Ok(Stored {
        state: State::Steady,
        since: now.wall,
        epoch: if current { epoch } else { epoch.next() },
        active,
        timeline,
        claim: None,
        restore_synchronous: false,
        journal: None,
        evidence: None,
        cooldown_until: None,
        history: Vec::new(),
        returned: Vec::new(),
    })
}
