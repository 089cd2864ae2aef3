mod fenced;
mod lived;
mod places;
mod quorum;

use quorum::long_since;

use std::collections::BTreeSet;

use crate::facts::{Authority, Epoch};
use crate::failover::fixtures::{calm, moving, objection, outage, server, state_after};
use crate::failover::{
    Accept, Age, Answer, GuardName, Look, Observation, Proof, State, Step, Watched, decide,
    is_armed,
};
use crate::lease::{Pledge, Promise, WriteLease};
use crate::names::RegionName;
use crate::time::Mono;

/// The machine's clock in the fixtures, in milliseconds.
const NOW: u64 = 100_000;

fn members() -> BTreeSet<RegionName> {
    ["central".into()].into()
}

fn offer(seen: &Observation) -> WriteLease {
    WriteLease::offer(Epoch(4), "west".into(), members(), seen.settings.lease)
}

fn pledged(seen: &Observation, promises: bool) -> WriteLease {
    let pledge = Pledge {
        region: "west".into(),
        epoch: Epoch(4),
        members: members(),
        promises,
    };
    WriteLease {
        pledge: Some(pledge),
        ..offer(seen)
    }
}

/// A record whose last renewal was seen `quiet_ms` ago.
fn there<T>(record: T, quiet_ms: u64) -> Look<T> {
    Look::There(Watched {
        record,
        version: "7".into(),
        since: Mono(NOW - quiet_ms),
        renewed: Mono(NOW - quiet_ms),
        witnessed: true,
    })
}

/// A failover in Fencing, asynchronous, whose lease is taken; the agent's last renewal was seen
/// `quiet_ms` ago.
fn fencing(quiet_ms: u64, promises: bool) -> Observation {
    let mut seen = moving(State::Fencing);
    seen.settings.minimum_proof = Proof::LeaseExpired;
    seen.stored.journal.as_mut().unwrap().proof = None;
    let taken = pledged(&seen, promises).taken_for(Epoch(5), &"central".into());
    seen.lease = there(taken, quiet_ms);
    seen.ages.outage.known_ms = quiet_ms;
    seen
}

fn work(seen: &Observation) -> Step {
    match decide(seen).answer {
        Answer::Work(step) => step,
        other @ (Answer::Move(_) | Answer::Wait(_)) => panic!("one step was expected: {other:?}"),
    }
}

fn reason(seen: &Observation) -> &'static str {
    decide(seen).reason
}

#[test]
fn a_lease_is_offered_to_the_active_region_and_left_alone_once_it_says_all() {
    let mut seen = calm();
    seen.lease = Look::Absent;
    assert_eq!(work(&seen), Step::WriteLease(offer(&seen), None));
    for record in [offer(&seen), pledged(&seen, false)] {
        seen.lease = there(record, 1_000);
        assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
    }
    seen.stored.epoch = Epoch(5);
    let next = WriteLease {
        epoch: Epoch(5),
        ..offer(&seen)
    };
    assert_eq!(work(&seen), Step::WriteLease(next, Some("7".into())));
}

#[test]
fn a_lease_is_disarmed_while_no_standby_could_take_over_or_the_policy_is_paused() {
    let mut alone = calm();
    server(&mut alone, "central").verdict = crate::health::Verdict::Down;
    server(&mut alone, "central").live = false;
    let mut paused = calm();
    paused.settings.paused = true;
    let mut unlawful = calm();
    unlawful.tenants[0].allowed = ["CH".into()].into();
    for mut seen in [alone, paused, unlawful] {
        seen.lease = there(pledged(&seen, false), 1_000);
        let Step::WriteLease(record, _) = work(&seen) else {
            panic!("the lease was to be written")
        };
        assert_eq!((record.members.len(), record.pledge), (0, None));
    }
}

#[test]
fn one_failed_read_of_a_standby_changes_no_lease() {
    let mut seen = calm();
    server(&mut seen, "central").live = false;
    seen.lease = there(pledged(&seen, false), 1_000);
    assert!(matches!(decide(&seen).answer, Answer::Wait(_)));
}

#[test]
fn only_a_living_agent_arms_the_lease() {
    let mut seen = calm();
    let central = RegionName::from("central");
    seen.lease = there(offer(&seen), 1_000);
    assert!(!is_armed(&seen, &central));
    seen.lease = there(pledged(&seen, false), 6_000);
    assert!(is_armed(&seen, &central));
    assert!(!is_armed(&seen, &"abroad".into()));
    seen.lease = there(pledged(&seen, false), 6_001);
    assert!(!is_armed(&seen, &central));
    // The replica that pledged may be the only one that knows of it.
    let Look::There(fresh) = there(pledged(&seen, false), 1_000) else {
        panic!("there is a lease")
    };
    seen.lease = Look::There(Watched {
        witnessed: false,
        ..fresh
    });
    assert!(!is_armed(&seen, &central));
    // A cluster that cannot be asked for its permit is known before it is needed.
    seen.lease = there(pledged(&seen, true), 1_000);
    let given = Promise::given;
    for (look, armed) in [
        (Look::Unread, false),
        (there(given(Epoch(4)), 1_000), true),
        // It lies elsewhere: this is another cluster than the agent's.
        (Look::Absent, false),
        (there(given(Epoch(3)), 1_000), false),
    ] {
        seen.promises = [(central.clone(), look)].into();
        assert_eq!(is_armed(&seen, &central), armed);
    }
    seen.promises.clear();
    assert!(!is_armed(&seen, &central));
    // What no living agent stands for is not left there to be believed in an outage.
    seen.lease = there(pledged(&seen, false), 9_601);
    assert!(
        matches!(decide(&seen).answer, Answer::Wait(_)),
        "the sample is older"
    );
    server(&mut seen, "west").facts.as_mut().unwrap().sampled = Mono(NOW);
    assert_eq!(
        work(&seen),
        Step::WriteLease(offer(&seen), Some("7".into()))
    );
}

#[test]
fn an_asynchronous_failover_takes_the_lease_waits_for_its_end_and_says_so() {
    let mut seen = outage();
    seen.settings.minimum_proof = Proof::LeaseExpired;
    assert_eq!(objection(&seen), [GuardName::FencingProof]);
    seen.lease = there(pledged(&seen, false), 5_000);
    assert_eq!(state_after(&seen), State::Fencing);

    let mut seen = moving(State::Fencing);
    seen.settings.minimum_proof = Proof::LeaseExpired;
    seen.lease = there(pledged(&seen, false), 9_600);
    let taken = pledged(&seen, false).taken_for(Epoch(5), &"central".into());
    assert_eq!(work(&seen), Step::WriteLease(taken, Some("7".into())));

    assert_eq!(reason(&fencing(9_599, false)), "LeasePending");
    let seen = fencing(9_600, false);
    let Answer::Move(next) = decide(&seen).answer else {
        panic!("the lease is over")
    };
    assert_eq!(next.state, State::Promoting);
    let journal = next.journal.unwrap();
    assert_eq!(journal.proof, Some(Proof::LeaseExpired));
    // The last heartbeat that `central` replayed is 2 s old; the last write may be as late as the
    // end of the lease, which is now.
    assert_eq!(journal.loss, Some(crate::failover::LossBound::Seconds(2)));
}

#[test]
fn waiting_before_the_promotion_adds_nothing_to_the_loss_of_a_fenced_primary() {
    let mut seen = fencing(9_600, false);
    seen.stored.state = State::Promoting;
    seen.stored.journal.as_mut().unwrap().proof = Some(Proof::LeaseExpired);
    seen.now.mono = Mono(NOW + 50_000);
    assert!(matches!(work(&seen), Step::Promote(..)));
}

#[test]
fn an_agent_that_was_silent_before_the_outage_proves_nothing() {
    let mut seen = fencing(60_000, false);
    seen.ages.outage.known_ms = 40_000;
    assert_eq!(reason(&seen), "FencingUnproven");
    // What had passed by the wall before this leader came is no proof.
    seen.ages.outage.before_ms = Some(3_600_000);
    assert_eq!(reason(&seen), "FencingUnproven");
    (seen.ages.outage.known_ms, seen.ages.outage.before_ms) = (55_000, None);
    assert_eq!(reason(&seen), "CaughtUp");
}

#[test]
fn a_lease_that_another_move_took_or_that_was_offered_anew_proves_nothing() {
    let mut seen = fencing(20_000, false);
    seen.lease = there(offer(&seen).taken_for(Epoch(5), &"central".into()), 20_000);
    assert_eq!(reason(&seen), "FencingUnproven");
    seen.lease = Look::Unread;
    assert_eq!(reason(&seen), "FencingUnproven");
}

#[test]
fn who_accepts_unproven_fencing_does_not_wait_for_the_lease() {
    let mut seen = fencing(1_000, false);
    let journal = seen.stored.journal.as_mut().unwrap();
    journal.accept.insert(Accept::UnprovenFencing);
    assert_eq!(reason(&seen), "CaughtUp");
}

#[test]
fn the_synchronous_proof_needs_no_wait() {
    let mut seen = fencing(1_000, false);
    let evidence = seen.stored.evidence.as_mut().unwrap();
    evidence.synchronous = Some("central".into());
    assert_eq!(reason(&seen), "CaughtUp");
}

#[test]
fn a_primary_that_may_live_on_promises_is_overtaken_with_a_permit_alone() {
    let unreadable = fencing(20_000, true);
    assert_eq!(reason(&unreadable), "LeasePending");

    // It was quiet for long before, and is waited for from when the lease was taken.
    let held = Promise {
        epoch: Epoch(4),
        permitted: false,
    };
    let mut seen = fencing(20_000, true);
    if let Look::There(lease) = &mut seen.lease {
        lease.since = Mono(NOW - 9_599);
    }
    seen.promises = [("central".into(), there(held, 90_000))].into();
    assert_eq!(reason(&seen), "LeasePending");
    if let Look::There(lease) = &mut seen.lease {
        lease.since = Mono(NOW - 9_600);
    }
    let permit = Step::Permit("central".into(), Epoch(5), Some("7".into()));
    assert_eq!(work(&seen), permit);

    let permitted = Promise {
        epoch: Epoch(5),
        permitted: true,
    };
    seen.promises = [("central".into(), there(permitted, 0))].into();
    assert_eq!(reason(&seen), "CaughtUp");
}

#[test]
fn a_lease_that_was_offered_under_the_epoch_of_the_move_is_taken() {
    let mut seen = fencing(1_000, false);
    let offered = WriteLease {
        epoch: Epoch(5),
        ..offer(&seen)
    };
    seen.lease = there(offered, 1_000);
    assert!(matches!(work(&seen), Step::WriteLease(record, _) if record.taken));
}

/// A leader that comes later sees both for the first time in one moment.
#[test]
fn a_promise_that_is_seen_with_the_lease_is_waited_for() {
    let held = Promise {
        epoch: Epoch(4),
        permitted: false,
    };
    let mut seen = fencing(9_600, true);
    seen.promises = [("central".into(), there(held, 9_600))].into();
    let permit = Step::Permit("central".into(), Epoch(5), Some("7".into()));
    assert_eq!(work(&seen), permit);
}

#[test]
fn a_promise_that_is_renewed_after_the_lease_was_taken_ends_the_move() {
    let held = Promise {
        epoch: Epoch(4),
        permitted: false,
    };
    let mut seen = fencing(20_000, true);
    seen.promises = [("central".into(), there(held, 15_000))].into();
    let decision = decide(&seen);
    assert!(decision.message.contains("PrimaryAliveAtPeer"));
    assert_eq!(state_after(&seen), State::Outage);
}

#[test]
fn a_move_that_is_given_up_offers_the_lease_before_it_gives_the_right_back() {
    let mut seen = fencing(1_000, false);
    let west = server(&mut seen, "west");
    (west.live, west.verdict) = (true, crate::health::Verdict::Up);
    seen.stored.state = State::Aborting;
    seen.stored.epoch = Epoch(6);
    let Step::WriteLease(record, _) = work(&seen) else {
        panic!("the lease comes first")
    };
    assert_eq!((record.epoch, record.taken), (Epoch(6), false));
    assert_eq!(record.pledge, None);
    seen.lease = there(record, 0);
    assert!(matches!(work(&seen), Step::TakeAuthority(_, Epoch(6))));
}

#[test]
fn a_server_that_its_agent_fenced_waits_for_that_agent() {
    let mut seen = calm();
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    seen.lease = there(pledged(&seen, false), 60_000);
    assert_eq!(reason(&seen), "AgentSilent");
    seen.lease = there(pledged(&seen, false), 1_000);
    assert!(matches!(work(&seen), Step::TakeAuthority(_, Epoch(4))));
}

#[test]
fn a_move_that_was_given_up_is_tried_again_once_nothing_is_promised() {
    let mut seen = outage();
    seen.settings.minimum_proof = Proof::LeaseExpired;
    long_since(&mut seen);
    seen.ages.outage.known_ms = 20_000;
    seen.stored.epoch = Epoch(6);
    let taken = pledged(&seen, true).taken_for(Epoch(5), &"central".into());
    seen.lease = there(taken, 20_000);
    assert_eq!(objection(&seen), [GuardName::FencingProof]);
    let held = Promise {
        epoch: Epoch(4),
        permitted: false,
    };
    seen.promises = [("central".into(), there(held, 5_000))].into();
    let guards = objection(&seen);
    assert!(guards.contains(&GuardName::SecondVantage), "{guards:?}");
    seen.promises = [("central".into(), there(held, 30_000))].into();
    assert_eq!(objection(&seen), []);
    assert_eq!(state_after(&seen), State::Fencing);
}

#[test]
fn a_pledge_that_is_older_than_the_row_proves_nothing() {
    let mut seen = fencing(20_000, false);
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.authority = Some(Authority {
        epoch: Epoch(5),
        writable: true,
    });
    assert_eq!(reason(&seen), "FencingUnproven");
}

#[test]
fn what_was_promised_until_when_is_waited_for_before_the_loss_is_bounded() {
    let mut seen = fencing(20_000, true);
    seen.stored.state = State::CatchingUp;
    seen.stored.journal.as_mut().unwrap().proof = Some(Proof::LeaseExpired);
    seen.promises = [("central".into(), Look::Unread)].into();
    assert_eq!(reason(&seen), "Replaying");
}

#[test]
fn a_server_that_was_fenced_is_not_opened_while_the_lease_cannot_be_read() {
    let mut seen = calm();
    let west = server(&mut seen, "west").facts.as_mut().unwrap();
    west.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    seen.lease = Look::Unread;
    assert_eq!(reason(&seen), "AgentSilent");
    let mut seen = fencing(1_000, false);
    let west = server(&mut seen, "west");
    (west.live, west.verdict) = (true, crate::health::Verdict::Up);
    seen.stored.state = State::Aborting;
    seen.lease = Look::Unread;
    assert_eq!(reason(&seen), "LeaseUnread");
}
