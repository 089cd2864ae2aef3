//! The hub's side of write leases: offering one to the active region's agent, taking it for a move,
//! and when its end proves that the old primary takes no writes.

use std::collections::BTreeSet;

use super::law;
use super::observation::{Answer, Look, Observation, ServerView, Step, Watched};
use super::outcome::{Outcome, SOON_MS};
use super::question::Question;
use super::standby::standby_eligible;
use super::state::{Journal, MoveKind, Promotion, Stored};
use crate::facts::Facts;
use crate::health::Verdict;
use crate::lease::{Pledge, WriteLease};
use crate::names::RegionName;

/// How often the lease of a healthy primary is looked at, in seconds: a renewal that is seen late
/// is waited for longer.
pub(super) const LOOK_SECONDS: u32 = 5;

/// The lease with its pledge, when an agent of the active region renewed it for the stored epoch
/// and `target` is among those that may be promoted on its end.
fn pledge_for<'a>(
    seen: &'a Observation,
    target: &RegionName,
) -> Option<(&'a Watched<WriteLease>, &'a Pledge)> {
    let lease = seen.lease.there()?;
    let pledge = lease.record.in_force()?;
    let covers = pledge.epoch == seen.stored.epoch
        && pledge.region == seen.stored.active
        && pledge.members.contains(target);
    covers.then_some((lease, pledge))
}

/// True when the loss of the active region could now be proven by the end of its write lease: its
/// agent is alive and pledged, `target` may then be promoted, and its region can be asked for the
/// permit, if one is needed.
pub fn is_armed(seen: &Observation, target: &RegionName) -> bool {
    unarmed(seen, target).is_none()
}

/// Why it could not.
pub(super) fn unarmed(seen: &Observation, target: &RegionName) -> Option<String> {
    let active = &seen.stored.active;
    let Some((lease, pledge)) = pledge_for(seen, target) else {
        return Some(match &seen.lease {
            Look::Unread => "the write lease cannot be read".to_owned(),
            Look::Absent | Look::There(_) => {
                format!("no agent of {active} has pledged the write lease for {target}")
            }
        });
    };
    if seen.now.mono.since(lease.renewed) > lease.record.terms.fresh_ms() {
        return Some(format!(
            "the agent of {active} does not renew the write lease"
        ));
    }
    if !lease.witnessed {
        return Some(format!(
            "the agent of {active} was not yet seen to renew its pledge"
        ));
    }
    match seen.promises.get(target) {
        _any if !pledge.promises => None,
        Some(Look::There(promise)) if promise.record.is_of(pledge) => None,
        Some(Look::Absent | Look::There(_)) => Some(format!(
            "the cluster of {target} does not hold the promise that the agent of {active} says to \
             have given there: `spec.cluster` of Region {target} and the agent's `standbyClusters` \
             must lead to one cluster and one namespace"
        )),
        Some(Look::Unread) => Some(format!(
            "the cluster of {target} cannot be asked for its permit: see the operator's log and \
             `spec.cluster` of Region {target}"
        )),
        None => Some(format!(
            "the agent of {active} relies on a promise of {target}, whose Region has no \
             `spec.cluster`"
        )),
    }
}

/// What must be written so that the active region's agent may renew the lease for the stored
/// epoch. `None` while all is as it should be, or the lease could not be read.
pub(super) fn keep(seen: &Observation, active: &Facts) -> Option<Outcome> {
    if waits_for_agent(seen, active) && !rests(seen) {
        return None;
    }
    let members = members(seen);
    let (epoch, holder) = (seen.stored.epoch, &seen.stored.active);
    let (version, reason) = match &seen.lease {
        Look::Unread => return None,
        Look::Absent if members.is_empty() => return None,
        Look::Absent => (None, "LeaseOffered"),
        Look::There(lease) => {
            let record = &lease.record;
            let same = !record.taken && record.epoch == epoch && record.holder == *holder;
            let silent = seen.now.mono.since(lease.renewed) > lease.record.terms.wait_ms();
            // A server that its agent fenced waits for that agent, see `self_fenced`: a sample
            // from before the pledge was over does not tell.
            let told = active.sampled.since(lease.renewed) > record.terms.wait_ms();
            let lapsed = record.pledge.is_some() && silent && told;
            let agreed = record.members == members && record.terms == seen.settings.lease;
            if same && agreed && !lapsed {
                return None;
            }
            let reason = if lapsed {
                "AgentSilent"
            } else {
                "LeaseOffered"
            };
            (Some(lease.version.clone()), reason)
        }
    };
    let record = WriteLease::offer(epoch, holder.clone(), members, seen.settings.lease);
    let message = if record.members.is_empty() {
        format!("the write lease of {holder} is disarmed: no standby could take over")
    } else {
        format!("offering the write lease to the agent of {holder}")
    };
    let step = Step::WriteLease(record, version);
    Some(Outcome::new(Answer::Work(step), reason, message))
}

/// Nobody is moved by itself, and so no server may fence itself.
fn rests(seen: &Observation) -> bool {
    seen.settings.paused || seen.active().is_some_and(|active| active.suspended)
}

/// The standbys that may be promoted on the end of the lease: none while the machine rests. One
/// that is in stays in until it is down, so that a single failed read changes nothing.
fn members(seen: &Observation) -> BTreeSet<RegionName> {
    if rests(seen) {
        return BTreeSet::new();
    }
    let before = seen.lease.there().map(|lease| &lease.record.members);
    let none = BTreeSet::new();
    let able = |region: &RegionName| {
        let ask = Question {
            target: region,
            kind: MoveKind::Failover,
            automatic: true,
            accept: &none,
        };
        let answers = seen.server(region).and_then(ServerView::now).is_some();
        let kept = before.is_some_and(|before| before.contains(region));
        let down = seen
            .server(region)
            .is_none_or(|view| view.suspended || view.verdict == Verdict::Down);
        standby_eligible(seen, ask).ok || (kept && !answers && !down)
    };
    let listed = seen.settings.servers().into_iter();
    listed
        .filter(|s| s.server.region != seen.stored.active && s.promotion != Promotion::MustNot)
        .map(|s| s.server.region)
        .filter(|region| law::unlawful(seen, region).is_none() && able(region))
        .collect()
}

/// The lease that nobody relies on: what is written before the policy is gone.
pub fn disarmed(record: &WriteLease) -> WriteLease {
    WriteLease::offer(
        record.epoch,
        record.holder.clone(),
        BTreeSet::new(),
        record.terms,
    )
}

/// The active server was fenced under its own epoch: by its agent, which had lost the hub.
fn is_shut(seen: &Observation, active: &Facts) -> bool {
    let row = active.authority;
    row.is_some_and(|row| row.epoch == seen.stored.epoch && !row.writable)
}

/// It waits for that agent to renew again.
fn waits_for_agent(seen: &Observation, active: &Facts) -> bool {
    let silent = match &seen.lease {
        Look::Unread => true,
        Look::Absent => false,
        Look::There(lease) => {
            let quiet_ms = seen.now.mono.since(lease.renewed);
            lease.record.in_force().is_some() && quiet_ms > lease.record.terms.fresh_ms()
        }
    };
    is_shut(seen, active) && silent
}

/// A server that its agent fenced gets its right back once that agent renews the lease again:
/// before that it would be fenced anew at once. Where nobody is pledged any more the agent may not
/// have heard of that, and its own pledge does not reach the next epoch.
pub(super) fn self_fenced(seen: &Observation, active: &Facts) -> Option<Outcome> {
    let waiting = waits_for_agent(seen, active).then(|| {
        let active = &seen.stored.active;
        let message = match &seen.lease {
            Look::Unread => format!(
                "{active} is fenced under its own epoch, and the write lease that would tell why \
                 cannot be read: see the operator's log"
            ),
            Look::Absent | Look::There(_) => format!(
                "the agent of {active} lost the hub and fenced its server, and does not renew the \
                 write lease: see its log; pausing the policy disarms the lease, and the server \
                 serves again"
            ),
        };
        Outcome::new(Answer::Wait(1_000), "AgentSilent", message)
    });
    waiting.or_else(|| outgrow_pledge(seen, active))
}

fn outgrow_pledge(seen: &Observation, active: &Facts) -> Option<Outcome> {
    let lease = seen.lease.there();
    let pledged = lease.is_some_and(|lease| lease.record.in_force().is_some());
    if pledged || !is_shut(seen, active) {
        return None;
    }
    let stored = Stored {
        epoch: seen.stored.epoch.next(),
        ..seen.stored.clone()
    };
    let message = format!(
        "{} is fenced under epoch {}, which its agent may not know to be released: it serves under \
         epoch {}",
        stored.active, seen.stored.epoch, stored.epoch
    );
    let next = Answer::Move(Box::new(stored));
    Some(Outcome::new(next, "AuthorityRepaired", message))
}

/// The lease is taken for the move before anything is fenced, so that no renewal can come after.
/// What cannot be read is not waited for: then it proves nothing either.
pub(super) fn take(seen: &Observation, journal: &Journal) -> Option<Outcome> {
    let lease = seen.lease.there()?;
    let record = &lease.record;
    let taken = record.taken && record.epoch == seen.stored.epoch && record.holder == journal.to;
    if taken || record.epoch > seen.stored.epoch {
        return None;
    }
    let next = record.taken_for(seen.stored.epoch, &journal.to);
    let step = Step::WriteLease(next, Some(lease.version.clone()));
    let message = format!("taking the write lease from {}", journal.from);
    Some(Outcome::new(Answer::Work(step), "Fencing", message))
}

/// A lease that was taken for a move that is given up is offered to the old primary's agent again,
/// before the server gets its right back.
pub(super) fn give_back(seen: &Observation, journal: &Journal) -> Option<Outcome> {
    let lease = match &seen.lease {
        Look::Absent => return None,
        Look::There(lease) => lease,
        // It may be taken, with a pledge that would outlive the right that is given back; but
        // tenants wait. What is not read by then is told from the row, see `expiry`.
        Look::Unread => {
            let lately = seen.ages.state.at_least_ms() < u64::from(LOOK_SECONDS) * 1_000;
            let wait = Answer::Wait(SOON_MS);
            let text = "the write lease cannot be read";
            return lately.then(|| Outcome::new(wait, "LeaseUnread", text));
        }
    };
    if !lease.record.taken || lease.record.epoch > seen.stored.epoch {
        return None;
    }
    let members = lease.record.members.clone();
    let terms = seen.settings.lease;
    let record = WriteLease::offer(seen.stored.epoch, journal.from.clone(), members, terms);
    let step = Step::WriteLease(record, Some(lease.version.clone()));
    let message = format!("offering the write lease to the agent of {}", journal.from);
    Some(Outcome::new(Answer::Work(step), "LeaseOffered", message))
}

#[cfg(test)]
mod tests;
