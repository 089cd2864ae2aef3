//! Who says that the active server is gone: vantages in distinct regions, as many as the policy
//! wants. Two of them must always: the operator's own probes, and the stream of the standby that is
//! to be promoted.

use super::expiry;
use super::observation::{Observation, ServerView};
use super::standby::stream_broken;
use crate::health::Verdict;
use crate::names::RegionName;

/// Whether enough vantages agree that the active server is gone.
pub(super) fn agree(seen: &Observation, target: &RegionName) -> Result<String, String> {
    let active = &seen.stored.active;
    let stream = seen
        .server(target)
        .and_then(ServerView::now)
        .map(stream_broken);
    match stream {
        None => {
            return Err(format!("{target} does not answer, so it cannot be asked"));
        }
        Some(false) => {
            return Err(format!(
                "PrimaryAliveAtPeer: {target} still hears from the primary over its replication \
                 stream"
            ));
        }
        Some(true) => {}
    }
    if !seen
        .active()
        .is_some_and(|a| a.verdict == Verdict::Down && !a.live)
    {
        return Err(format!(
            "{active} has not failed `spec.detection.failureThreshold` probes"
        ));
    }
    if expiry::renewed_since_outage(seen) {
        return Err(format!(
            "PrimaryAliveAtPeer: the agent of {active} renewed the write lease after the first \
             probe failed"
        ));
    }
    if expiry::promised_lately(seen, target) {
        return Err(format!(
            "PrimaryAliveAtPeer: the agent of {active} renews its promise in {target}"
        ));
    }
    let others = others(seen, target);
    let (count, wanted) = (2 + others.len(), seen.settings.quorum as usize);
    if count < wanted {
        return Err(format!(
            "{count} vantages agree that {active} is gone and `spec.detection.quorum` is {wanted}"
        ));
    }
    let also = others.iter().map(|(_, fact)| format!(", {fact}"));
    Ok(format!(
        "the replication stream of {target} is broken too{}",
        also.collect::<String>()
    ))
}

/// Further vantages that agree, each with its region: other standbys, and the silence of the
/// agent that sits beside the active server.
fn others<'a>(seen: &'a Observation, target: &RegionName) -> Vec<(&'a RegionName, String)> {
    let active = &seen.stored.active;
    let standbys = seen.servers.iter().filter_map(|(region, view)| {
        let broken = stream_broken(view.now()?);
        let other = region != target && region != active;
        (other && broken).then(|| (region, format!("so is that of {region}")))
    });
    let agent = expiry::agent_silent(seen).then(|| {
        (
            active,
            format!("the agent of {active} does not renew its lease"),
        )
    });
    standbys.chain(agent).collect()
}
