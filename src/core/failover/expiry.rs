//! What the end of a write lease proves: that the old primary has fenced itself, or lives on
//! promises, or nothing.

use super::leases::LOOK_SECONDS;
use super::observation::{Answer, Look, Observation, Step, Watched};
use super::outcome::{Outcome, SOON_MS};
use super::state::{Accept, Journal};
use crate::lease::{Pledge, Promise, WriteLease};
use crate::names::RegionName;
use crate::time::Mono;

/// How much later than its writing a renewal may be seen while an outage is watched, in
/// milliseconds.
const SIGHT_MS: u64 = 1_500;

/// How long past the wait for a lease the machine goes on asking for its proof, in milliseconds.
const PATIENCE_MS: u64 = 30_000;
/// The same during an outage: an agent of the active region had pledged and was alive when the
/// outage began. A lease that was taken for a move that was given up still holds that pledge, and
/// says by it that no right to write was given since. A primary that may live on promises must be
/// known not to: the standby's region can be asked, and has promised nothing lately.
pub(super) fn was_armed(seen: &Observation, target: &RegionName) -> bool {
    let Some(lease) = seen.lease.there() else {
        return false;
    };
    let taken = lease.record.pledge.as_ref().filter(|_| lease.record.taken);
    let pledge = lease.record.in_force().or(taken);
    pledge.is_some_and(|pledge| {
        pledge.region == seen.stored.active
            && pledge.members.contains(target)
            && lived(seen, lease)
            && (!pledge.promises
                || (promise_of(seen, target, pledge).is_some() && !promised_lately(seen, target)))
    })
}

/// The promise that an agent gave under this pledge, as the target's region shows it to the hub.
pub(super) fn promise_of<'a>(
    seen: &'a Observation,
    target: &RegionName,
    pledge: &Pledge,
) -> Option<&'a Watched<Promise>> {
    let promise = seen.promises.get(target).and_then(Look::there);
    promise.filter(|promise| promise.record.is_of(pledge))
}

/// The standby's region renewed its promise to the agent of the active region lately: that lives,
/// and so does its server.
pub(super) fn promised_lately(seen: &Observation, target: &RegionName) -> bool {
    let pledge = seen.lease.there().and_then(|lease| {
        let pledge = lease.record.pledge.as_ref()?;
        Some((lease.record.terms, pledge))
    });
    let promise = seen.promises.get(target).and_then(Look::there);
    pledge
        .zip(promise)
        .is_some_and(|((terms, pledge), promise)| {
            pledge.promises
                && !promise.record.permitted
                && promise.record.epoch == pledge.epoch
                && seen.now.mono.since(promise.renewed) <= terms.fresh_ms()
        })
}

/// The agent renewed the lease not long before the first probe failed: whoever led then stored that
/// it saw so, or leads still and remembers. A leader that came later has not seen that renewal, and
/// its own first look at the lease is none. Nor is a change of a lease that is taken by now, since
/// the outage began: the answer to the take itself may have been lost.
fn lived(seen: &Observation, lease: &Watched<WriteLease>) -> bool {
    let known = seen.stored.evidence.as_ref();
    let told = known.is_some_and(|known| known.agent_lived);
    let leads_still = known.is_none() || seen.ages.outage.at_most_ms().is_some();
    let outage_ms = seen.ages.outage.at_least_ms();
    let before = !lease.record.taken || seen.now.mono.since(lease.renewed) >= outage_ms;
    told || (leads_still && before && renewed_lately(seen, lease, outage_ms))
}

/// This leader has seen an agent renew the write lease lately, as of now.
pub(super) fn lives(seen: &Observation) -> bool {
    let lease = seen.lease.there();
    lease.is_some_and(|lease| renewed_lately(seen, lease, 0))
}

/// This leader has seen the lease renewed not long before so long ago.
fn renewed_lately(seen: &Observation, lease: &Watched<WriteLease>, before_ms: u64) -> bool {
    let quiet_ms = seen.now.mono.since(lease.renewed);
    let limit_ms = lease.record.terms.fresh_ms() + u64::from(LOOK_SECONDS) * 1_000;
    lease.witnessed && quiet_ms.saturating_sub(before_ms) <= limit_ms
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
        let row = seen
            .server(&journal.from)
            .and_then(|from| from.facts.as_ref()?.authority);
        let older = row.is_none_or(|row| row.epoch <= pledge.epoch);
        ours && older && pledge.region == journal.from && pledge.members.contains(&journal.to)
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
        promised(seen, journal, lease, pledge)
    } else {
        Expiry::Over
    }
}

/// The old primary may live on the promise of the standby's region: that must have been quiet for
/// the whole wait since the lease was taken, and permit the promotion. Where the hub does not find
/// what the agent says to have given, the agent lives on a promise in another cluster.
fn promised(
    seen: &Observation,
    journal: &Journal,
    lease: &Watched<WriteLease>,
    pledge: &Pledge,
) -> Expiry {
    let to = &journal.to;
    let wait_ms = lease.record.terms.wait_ms();
    if let None | Some(Look::Unread) = seen.promises.get(to) {
        return Expiry::Pending(format!("the cluster of {to} does not say what it promised"));
    }
    let Some(promise) = promise_of(seen, to, pledge) else {
        return Expiry::NoPledge;
    };
    let (held, renewed) = (promise.record, promise.renewed);
    if held.permits(seen.stored.epoch) {
        return Expiry::Over;
    }
    if !held.permitted && renewed > lease.since {
        return Expiry::Alive(format!(
            "PrimaryAliveAtPeer: the agent of {} renews its promise in {to}",
            journal.from
        ));
    }
    if seen.now.mono.since(renewed.max(lease.since)) < wait_ms {
        return Expiry::Pending(format!("waiting for the promise of {to} to end"));
    }
    if Promise::permit(Some(held), seen.stored.epoch).is_none() {
        return Expiry::Pending(format!("the cluster of {to} holds a newer epoch"));
    }
    let version = Some(promise.version.clone());
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
    let late = seen.ages.state.at_least_ms() > limit;
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
    if seen.stored.evidence.is_none() {
        return false;
    }
    let Some(lease) = seen.lease.there() else {
        return false;
    };
    let theirs = |pledge: &Pledge| pledge.region == seen.stored.active;
    // What a later leader sees first may be a renewal: it waits until it knows.
    let outage_ms = seen.ages.outage.at_most_ms().unwrap_or(u64::MAX);
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
    let last = match seen.promises.get(target) {
        _any if !pledge.promises => lease.renewed,
        Some(Look::Absent) => lease.renewed,
        Some(Look::There(promise)) => lease.renewed.max(promise.renewed),
        // What was promised until when is not known.
        Some(Look::Unread) | None => return None,
    };
    let wait_ms = lease.record.terms.wait_ms();
    Some(Mono(last.0.saturating_add(wait_ms)))
}
