//! The hub's side of write leases: offering one to the active region's agent, taking it for a move,
//! and when its end proves that the old primary takes no writes.

use std::collections::BTreeSet;

use super::guards;
use super::observation::{Answer, Look, Observation, ServerView, Step, Watched};
use super::outcome::{Outcome, SOON_MS};
use super::question::Question;
use super::standby::standby_eligible;
use super::state::{Accept, Journal, MoveKind, Promotion};
use crate::facts::Facts;
use crate::health::Verdict;
use crate::lease::{Pledge, Promise, WriteLease};
use crate::names::RegionName;
use crate::time::Mono;

/// How often the lease of a healthy primary is looked at, in seconds: a renewal that is seen late
/// is waited for longer.
pub(super) const LOOK_SECONDS: u32 = 5;

/// How much later than its writing a renewal may be seen while an outage is watched, in
/// milliseconds.
const SIGHT_MS: u64 = 1_500;

/// How long past the wait for a lease the machine goes on asking for its proof, in milliseconds.
const PATIENCE_MS: u64 = 30_000;

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
    match seen.promises.get(target) {
        _any if !pledge.promises => None,
        Some(Look::Absent | Look::There(_)) => None,
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

/// The same during an outage, before the lease is taken: the agent was alive when it began.
pub(super) fn was_armed(seen: &Observation, target: &RegionName) -> bool {
    pledge_for(seen, target).is_some_and(|(lease, _)| lived(seen, lease))
}

/// The agent renewed the lease not long before the first probe failed. A leader that came later
/// has not seen that renewal and takes its own first look for it.
fn lived(seen: &Observation, lease: &Watched<WriteLease>) -> bool {
    let outage_ms = seen.stored.evidence.as_ref().map_or(0, |evidence| {
        seen.now.seconds_since(evidence.outage_since) * 1_000
    });
    let quiet_ms = seen.now.mono.since(lease.renewed);
    quiet_ms.saturating_sub(outage_ms)
        <= lease.record.terms.fresh_ms() + u64::from(LOOK_SECONDS) * 1_000
}

/// What must be written so that the active region's agent may renew the lease for the stored
/// epoch. `None` while all is as it should be, or the lease could not be read.
pub(super) fn keep(seen: &Observation, active: &Facts) -> Option<Outcome> {
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
            // A server that its agent fenced waits for that agent, see `self_fenced`.
            let lapsed = record.pledge.is_some() && silent && !fenced_by_agent(seen, active);
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

/// The standbys that may be promoted on the end of the lease: none while the policy is paused. One
/// that is in stays in until it is down, so that a single failed read changes nothing.
fn members(seen: &Observation) -> BTreeSet<RegionName> {
    if seen.settings.paused || seen.conflict.is_some() {
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
            .is_none_or(|v| v.verdict == Verdict::Down);
        standby_eligible(seen, ask).ok || (kept && !answers && !down)
    };
    let listed = seen.settings.servers().into_iter();
    listed
        .filter(|s| s.server.region != seen.stored.active && s.promotion != Promotion::MustNot)
        .map(|s| s.server.region)
        .filter(|region| guards::unlawful(seen, region).is_none() && able(region))
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

/// The active server was fenced under its own epoch while a pledge stands: by its agent, which had
/// lost the hub.
fn fenced_by_agent(seen: &Observation, active: &Facts) -> bool {
    let row = active.authority;
    let shut = row.is_some_and(|row| row.epoch == seen.stored.epoch && !row.writable);
    let armed = |lease: &Watched<WriteLease>| lease.record.in_force().is_some();
    shut && seen.lease.there().is_some_and(armed)
}

/// A server that its agent fenced gets its right back once that agent renews the lease again, or
/// the lease is disarmed: before that it would be fenced anew at once.
pub(super) fn self_fenced(seen: &Observation, active: &Facts) -> Option<Outcome> {
    let lease = seen.lease.there()?;
    let silent = seen.now.mono.since(lease.renewed) > lease.record.terms.fresh_ms();
    (silent && fenced_by_agent(seen, active)).then(|| {
        let message = format!(
            "the agent of {} lost the hub and fenced its server, and does not renew the write \
             lease: see its log; pausing the policy disarms the lease",
            seen.stored.active
        );
        Outcome::new(Answer::Wait(1_000), "AgentSilent", message)
    })
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
    let lease = seen.lease.there()?;
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

/// What the end of the lease says about the old primary.
pub(super) enum Expiry {
    /// Nothing: no agent had pledged, or it was silent before the outage.
    NoPledge,
    /// Its time is not over yet, or a permit is not to be had yet.
    Pending(String),
    /// The standby's region must permit the promotion.
    NeedsPermit(Step),
    /// The old primary lives on promises.
    Alive(String),
    /// It has fenced itself by now.
    Over,
}

/// Whether the old primary of the move has fenced itself by now. Holds once the lease is taken:
/// the last pledge is kept in it, and nothing was offered since.
pub(super) fn expiry(seen: &Observation, journal: &Journal) -> Expiry {
    let Some(lease) = seen.lease.there() else {
        return Expiry::NoPledge;
    };
    let record = &lease.record;
    let ours = record.taken && record.epoch == seen.stored.epoch && record.holder == journal.to;
    let pledge = record.pledge.as_ref().filter(|pledge| {
        ours && pledge.region == journal.from && pledge.members.contains(&journal.to)
    });
    let Some(pledge) = pledge.filter(|_| lived(seen, lease)) else {
        return Expiry::NoPledge;
    };
    if seen.now.mono.since(lease.renewed) < lease.record.terms.wait_ms() {
        return Expiry::Pending(format!(
            "waiting for the write lease of {} to end",
            journal.from
        ));
    }
    if pledge.promises {
        promised(seen, journal, lease)
    } else {
        Expiry::Over
    }
}

/// The old primary may live on the promise of the standby's region: that must have been quiet for
/// the whole wait since the lease was taken, and permit the promotion.
fn promised(seen: &Observation, journal: &Journal, lease: &Watched<WriteLease>) -> Expiry {
    let to = &journal.to;
    let wait_ms = lease.record.terms.wait_ms();
    let (held, version, renewed) = match seen.promises.get(to) {
        None | Some(Look::Unread) => {
            return Expiry::Pending(format!("the cluster of {to} does not say what it promised"));
        }
        Some(Look::Absent) => (None, None, lease.since),
        Some(Look::There(promise)) => (
            Some(promise.record),
            Some(promise.version.clone()),
            promise.renewed,
        ),
    };
    if held.is_some_and(|held| held.permits(seen.stored.epoch)) {
        return Expiry::Over;
    }
    if held.is_some_and(|held| !held.permitted) && renewed > lease.since {
        return Expiry::Alive(format!(
            "PrimaryAliveAtPeer: the agent of {} renews its promise in {to}",
            journal.from
        ));
    }
    if seen.now.mono.since(renewed.max(lease.since)) < wait_ms {
        return Expiry::Pending(format!("waiting for the promise of {to} to end"));
    }
    if Promise::permit(held, seen.stored.epoch).is_none() {
        return Expiry::Pending(format!("the cluster of {to} holds a newer epoch"));
    }
    Expiry::NeedsPermit(Step::Permit(to.clone(), seen.stored.epoch, version))
}

/// True when the lease of the move's old primary is over, and every promise too.
pub(super) fn is_over(seen: &Observation, journal: &Journal) -> bool {
    match expiry(seen, journal) {
        Expiry::Over => true,
        Expiry::NoPledge | Expiry::Pending(_) | Expiry::NeedsPermit(_) | Expiry::Alive(_) => false,
    }
}

/// The answer while the proof is not there yet; `None` when it is, or will never be.
pub(super) fn await_expiry(seen: &Observation, journal: &Journal) -> Option<Outcome> {
    if journal.accept.contains(&Accept::UnprovenFencing) {
        return None;
    }
    let terms = seen
        .lease
        .there()
        .map_or(seen.settings.lease, |lease| lease.record.terms);
    let limit = terms.wait_ms().saturating_mul(2) + PATIENCE_MS;
    let late = seen.now.seconds_since(seen.stored.since) * 1_000 > limit;
    match expiry(seen, journal) {
        Expiry::NoPledge | Expiry::Over => None,
        Expiry::Pending(_) if late => None,
        Expiry::Pending(message) => {
            Some(Outcome::new(Answer::Wait(SOON_MS), "LeasePending", message))
        }
        Expiry::NeedsPermit(step) => {
            let message = format!("asking {} for its permit", journal.to);
            Some(Outcome::new(Answer::Work(step), "Fencing", message))
        }
        Expiry::Alive(message) => Some(super::moving::give_up(seen, "VantagesDisagree", &message)),
    }
}

/// An agent of the active region renewed the lease after the first probe had failed: its server
/// works, seen from inside.
pub(super) fn renewed_since_outage(seen: &Observation) -> bool {
    let Some(evidence) = &seen.stored.evidence else {
        return false;
    };
    let Some(lease) = seen.lease.there() else {
        return false;
    };
    let theirs = |pledge: &Pledge| pledge.region == seen.stored.active;
    let outage_ms = seen.now.seconds_since(evidence.outage_since) * 1_000;
    let quiet_ms = seen.now.mono.since(lease.renewed);
    lease.record.pledge.as_ref().is_some_and(theirs)
        && quiet_ms.saturating_add(SIGHT_MS) < outage_ms
        && quiet_ms <= lease.record.terms.fresh_ms()
}

/// The agent of the active region has been silent for longer than a living one can be.
pub(super) fn agent_silent(seen: &Observation) -> bool {
    let pledged = |lease: &&Watched<WriteLease>| lease.record.pledge.is_some();
    seen.lease
        .there()
        .filter(pledged)
        .is_some_and(|lease| seen.now.mono.since(lease.renewed) > lease.record.terms.fresh_ms())
}

/// When the old primary acknowledged its last write at the latest, as a moment of this leader's
/// clock: the last renewal or promise that it saw, and the wait.
pub(super) fn last_write(seen: &Observation, target: &RegionName) -> Option<Mono> {
    let lease = seen.lease.there()?;
    let pledge = lease.record.pledge.as_ref()?;
    let promised = seen.promises.get(target).and_then(Look::there);
    let last = match promised.filter(|_| pledge.promises) {
        Some(promise) => lease.renewed.max(promise.renewed),
        None => lease.renewed,
    };
    let wait_ms = lease.record.terms.wait_ms();
    Some(Mono(last.0.saturating_add(wait_ms)))
}

#[cfg(test)]
mod tests;
