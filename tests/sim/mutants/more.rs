//! More of the machine with one rule broken: what the histories could not find.

use domicile_core::facts::Role;
use domicile_core::failover::{
    Answer, Decision, Look, LossBound, MoveKind, Observation, State, Step, decide,
};
use domicile_core::health::Verdict;

use super::machines::{each, on, storing};

pub(crate) fn forgets_the_cooldown(seen: &Observation) -> Decision {
    on(seen, |blind| blind.stored.cooldown_until = None)
}

/// A standby's timeline is taken for that of the server that it is to replace.
pub(crate) fn takes_any_timeline(seen: &Observation) -> Decision {
    let evidence = seen
        .stored
        .evidence
        .as_ref()
        .map(|evidence| evidence.timeline);
    let journal = seen.journal().map(|journal| journal.timeline);
    let active = seen
        .active()
        .and_then(|view| view.now())
        .map(|facts| facts.timeline);
    let wanted = journal.or(active).or(evidence);
    on(seen, |blind| {
        each(blind, |facts| {
            if facts.role == Role::Standby {
                facts.timeline = wanted.unwrap_or(facts.timeline);
                facts.authority = facts.authority.map(|mut row| {
                    row.epoch = row.epoch.max(seen.stored.epoch);
                    row
                });
            }
        });
    })
}

pub(crate) fn keeps_the_epoch_when_giving_up(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if matches!(next.state, State::Outage | State::Aborting) {
            next.epoch = seen.stored.epoch;
        }
    })
}

pub(crate) fn goes_home_at_once(seen: &Observation) -> Decision {
    on(seen, |blind| {
        blind.home_in_sync_ms = blind.home_in_sync_ms.map(|_| u64::MAX);
    })
}

/// Half of the time in sync is enough for the way home.
pub(crate) fn goes_home_early(seen: &Observation) -> Decision {
    on(seen, |blind| {
        blind.settings.stable_seconds /= 2;
        blind.settings.max_stable_seconds /= 2;
    })
}

/// The way home is no longer after each time that it was gone.
pub(crate) fn never_doubles(seen: &Observation) -> Decision {
    on(seen, |blind| {
        blind.settings.max_stable_seconds = blind.settings.stable_seconds;
    })
}

/// At rest the right to write is taken and given back, at each look.
pub(crate) fn fidgets(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let rests = seen.stored.state == State::Steady && matches!(decision.answer, Answer::Wait(_));
    if let Some(active) = seen.active().filter(|_| rests) {
        let step = Step::Fence(active.server.clone(), seen.stored.epoch);
        decision.answer = Answer::Work(step);
    }
    decision
}

/// It is never the operator that is cut off.
pub(crate) fn trusts_itself(seen: &Observation) -> Decision {
    on(seen, |blind| {
        let others = ["a", "b", "c", "d"].map(|name| (name.into(), Verdict::Up));
        blind.others.extend(others);
    })
}

/// One vantage is enough: nobody asks the standby what it hears.
pub(crate) fn asks_no_second_vantage(seen: &Observation) -> Decision {
    let calm = seen.journal().is_none();
    on(seen, |blind| {
        let down = blind
            .active()
            .is_some_and(|active| active.verdict == Verdict::Down);
        if calm && down {
            each(blind, |facts| facts.receiver = None);
        }
    })
}

/// The wait for the lease of the old primary is over at once. Its agent still counts as one that
/// lived when the outage began.
pub(crate) fn skips_the_lease_wait(seen: &Observation) -> Decision {
    let fencing = seen.stored.state == State::Fencing;
    on(seen, |blind| {
        if let Look::There(lease) = &mut blind.lease
            && fencing
        {
            let wait = lease.record.terms.wait_ms();
            lease.renewed.0 = lease.renewed.0.saturating_sub(wait);
            lease.since.0 = lease.since.0.saturating_sub(wait);
            for promise in blind.promises.values_mut() {
                if let Look::There(promise) = promise {
                    promise.renewed.0 = promise.renewed.0.saturating_sub(wait);
                }
            }
            blind.ages.outage.known_ms += wait;
        }
    })
}

/// Nobody asks the standby's region for its permit.
pub(crate) fn asks_no_permit(seen: &Observation) -> Decision {
    on(seen, |blind| {
        if let Look::There(lease) = &mut blind.lease
            && let Some(pledge) = lease.record.pledge.as_mut()
            && lease.record.taken
        {
            pledge.promises = false;
        }
    })
}

/// The lease is not taken: its holder may go on renewing it.
pub(crate) fn leaves_the_lease(seen: &Observation) -> Decision {
    let epoch = seen.stored.epoch;
    let fencing = seen.stored.state == State::Fencing;
    let to = seen.journal().map(|journal| journal.to.clone());
    on(seen, |blind| {
        if let (Look::There(lease), Some(to), true) = (&mut blind.lease, to, fencing) {
            lease.record = lease.record.taken_for(epoch, &to);
        }
    })
}

/// A planned move goes on although the standby lacks the last writes.
pub(crate) fn plans_with_loss(seen: &Observation) -> Decision {
    let planned = seen
        .journal()
        .is_some_and(|journal| journal.kind != MoveKind::Failover);
    let mut decision = decide(seen);
    if let Some(journal) = seen.journal().filter(|_| planned)
        && seen.stored.state == State::CatchingUp
        && matches!(decision.answer, Answer::Wait(_))
    {
        let mut stored = seen.stored.enter(State::Promoting, seen.now.wall);
        let mut journal = journal.clone();
        journal.loss = Some(LossBound::Seconds(0));
        journal.loss_at = Some(seen.now.wall);
        stored.journal = Some(journal);
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}
