//! The machine with one rule broken, in each of its ways.

use std::collections::BTreeMap;

use domicile_core::facts::{Authority, Facts, Lsn, Role};
use domicile_core::failover::{
    Answer, Decision, Journal, LossBound, Observation, Proof, ServerView, State, Step, Stored,
    decide,
};
use domicile_core::health::Verdict;
use domicile_core::names::{Jurisdiction, RegionName};

/// The machine's answer on a world that it sees otherwise than it is.
pub(crate) fn on(seen: &Observation, change: impl FnOnce(&mut Observation)) -> Decision {
    let mut blind = seen.clone();
    change(&mut blind);
    decide(&blind)
}

/// The machine's answer, with what it stores changed.
pub(crate) fn storing(seen: &Observation, change: impl FnOnce(&mut Stored)) -> Decision {
    let mut decision = decide(seen);
    if let Answer::Move(next) = &mut decision.answer {
        change(next);
    }
    decision
}

fn journal(
    seen: &mut Observation,
    change: impl FnOnce(&Journal, &mut BTreeMap<RegionName, ServerView>),
) {
    if let Some(journal) = seen.stored.journal.clone() {
        change(&journal, &mut seen.servers);
    }
}

pub(crate) fn each(seen: &mut Observation, change: impl Fn(&mut Facts)) {
    for view in seen.servers.values_mut() {
        view.facts.iter_mut().for_each(&change);
    }
}

pub(crate) fn believes_every_fence(seen: &Observation) -> Decision {
    let epoch = seen.stored.epoch;
    on(seen, |blind| {
        if blind.stored.state == State::Fencing {
            journal(blind, |journal, servers| {
                let old = servers.get_mut(&journal.from);
                let facts = old.and_then(|view| view.facts.as_mut());
                if let Some(facts) = facts {
                    facts.authority = Some(Authority {
                        epoch,
                        writable: false,
                    });
                    (facts.tenant_sessions, facts.open_logins) = (0, 0);
                }
            });
        }
    })
}

/// Once a move. One that starts over, as the old primary answers, fences it.
pub(crate) fn skips_the_fence(seen: &Observation) -> Decision {
    let again = matches!(seen.stored.state, State::CatchingUp | State::Halted);
    storing(seen, |next| {
        if next.state == State::Fencing
            && !again
            && let Some(journal) = next.journal.as_mut()
        {
            journal.proof = Some(Proof::Confirmed);
            next.state = State::CatchingUp;
        }
    })
}

pub(crate) fn trusts_any_proof(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut().filter(|j| j.proof.is_some()) {
            journal.proof = Some(Proof::Confirmed);
            journal.loss = journal.loss.map(|_| LossBound::Seconds(0));
        }
    })
}

pub(crate) fn ignores_the_minimum(seen: &Observation) -> Decision {
    on(seen, |blind| blind.settings.minimum_proof = Proof::Assumed)
}

pub(crate) fn ignores_the_objective(seen: &Observation) -> Decision {
    on(seen, |blind| {
        blind.settings.max_data_loss_seconds = u32::MAX;
    })
}

pub(crate) fn promises_no_loss(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut().filter(|j| j.loss.is_some()) {
            journal.loss = Some(LossBound::Seconds(0));
        }
    })
}

pub(crate) fn ignores_the_law(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for view in blind.servers.values_mut() {
            view.jurisdiction = Some(Jurisdiction::new("EU"));
        }
    })
}

pub(crate) fn keeps_the_epoch(seen: &Observation) -> Decision {
    storing(seen, |next| next.epoch = seen.stored.epoch)
}

pub(crate) fn does_not_wait_for_replay(seen: &Observation) -> Decision {
    on(seen, |blind| {
        journal(blind, |journal, servers| {
            let new = servers.get_mut(&journal.to);
            if let Some(facts) = new.and_then(|view| view.facts.as_mut()) {
                facts.position = Lsn(u64::MAX);
            }
        });
    })
}

pub(crate) fn forgets_the_last_position(seen: &Observation) -> Decision {
    storing(seen, |next| {
        if let Some(journal) = next.journal.as_mut() {
            journal.final_position = journal.final_position.map(|_| Lsn(0));
        }
    })
}

/// The name of the standby is in the settings, or would be, and that is enough.
pub(crate) fn claims_unseen(seen: &Observation) -> Decision {
    on(seen, |blind| {
        each(blind, |facts| {
            if facts.role == Role::Primary {
                facts.synchrony.names = "\"central\"".into();
                for sender in &mut facts.senders {
                    sender.synchronous = sender.name == "central";
                    sender.replayed = Some(Lsn(u64::MAX));
                }
            }
        });
    })
}

pub(crate) fn keeps_the_claim(seen: &Observation) -> Decision {
    on(seen, |blind| {
        let name = blind.stored.claim.as_ref().map(|claim| claim.name.clone());
        each(blind, |facts| {
            if let Some(name) = name.as_ref().filter(|_| facts.role == Role::Primary) {
                facts.synchrony.names = format!("\"{name}\"");
            }
        });
    })
}

pub(crate) fn no_quarantine(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let calm = seen.stored.journal.is_none();
    if calm && matches!(decision.answer, Answer::Work(Step::Fence(..))) {
        decision.answer = Answer::Wait(1000);
    }
    decision
}

pub(crate) fn turns_back(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if seen.stored.state == State::Promoting && matches!(decision.answer, Answer::Wait(_)) {
        let mut stored = seen.stored.enter(State::Aborting, seen.now.wall);
        stored.epoch = seen.stored.epoch.next();
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

pub(crate) fn repoints_unpromoted(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if let (Answer::Work(Step::Promote(to, _)), State::Promoting) =
        (&decision.answer, seen.stored.state)
    {
        let mut stored = seen.stored.enter(State::Rerouting, seen.now.wall);
        stored.active = to.region.clone();
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

pub(crate) fn hands_it_home(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    if let Answer::Work(Step::TakeAuthority(to, _)) = &mut decision.answer {
        *to = seen.settings.home.clone();
    }
    decision
}

pub(crate) fn forgets_to_unfence(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let gives = matches!(decision.answer, Answer::Work(Step::TakeAuthority(..)));
    if gives && matches!(seen.stored.state, State::Aborting | State::Steady) {
        let mut stored = seen.stored.enter(State::Steady, seen.now.wall);
        stored.journal = None;
        stored.evidence = None;
        decision.answer = Answer::Move(Box::new(stored));
    }
    decision
}

pub(crate) fn ignores_the_expected_epoch(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for request in &mut blind.requests {
            request.expected_epoch = blind.stored.epoch;
        }
    })
}

/// Between the decision and the promotion the world may have changed, and nobody looks.
pub(crate) fn no_second_look(seen: &Observation) -> Decision {
    let mut decision = decide(seen);
    let State::Promoting = seen.stored.state else {
        return decision;
    };
    if let Some(journal) = seen.journal() {
        let to = seen.server(&journal.to);
        let standby = to
            .and_then(ServerView::now)
            .is_some_and(|f| f.role == Role::Standby);
        if let Some(to) = to.filter(|_| standby) {
            let step = Step::Promote(to.server.clone(), seen.stored.epoch);
            decision.answer = Answer::Work(step);
        }
    }
    decision
}

pub(crate) fn takes_silence_for_death(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for view in blind.servers.values_mut().filter(|view| !view.live) {
            view.verdict = Verdict::Down;
        }
    })
}

pub(crate) fn leaves_sessions(seen: &Observation) -> Decision {
    on(seen, |blind| each(blind, |facts| facts.tenant_sessions = 0))
}

pub(crate) fn mixes_clocks(seen: &Observation) -> Decision {
    let me = seen.leader.clone();
    on(seen, |blind| {
        each(blind, |facts| {
            if let Some(beat) = facts.heartbeat.as_mut() {
                beat.leader.clone_from(&me);
            }
        });
    })
}

pub(crate) fn forgets_the_tenants(seen: &Observation) -> Decision {
    on(seen, |blind| {
        for tenant in &mut blind.tenants {
            tenant.repointed = blind.stored.epoch;
        }
    })
}

pub(crate) fn runs_two(seen: &Observation) -> Decision {
    on(seen, |blind| {
        let known = blind.stored.journal.as_ref().map(|j| j.operation.clone());
        let another = |name: &str| known.as_ref().is_some_and(|known| known != name);
        if blind.requests.iter().any(|request| another(&request.name)) {
            blind.stored.state = State::Steady;
            blind.stored.journal = None;
        }
    })
}
