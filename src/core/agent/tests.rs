use std::collections::BTreeSet;

use super::*;
use crate::time::Mono;
use jiff::Timestamp;

mod counting;
mod rights;
mod seat;

const TERMS: Terms = Terms {
    lease_seconds: 30,
    renew_seconds: 10,
};

fn now(seconds: u64) -> Now {
    Now {
        mono: Mono(seconds * 1_000),
        wall: Timestamp::from_second(1_000 + seconds as i64).unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

fn members() -> BTreeSet<RegionName> {
    ["central".into()].into()
}

/// What this agent reads in the standby's cluster once it gave its promise there.
fn given() -> BTreeMap<RegionName, Option<Promise>> {
    [("central".into(), Some(Promise::given(Epoch(4))))].into()
}

fn offer(epoch: i64) -> WriteLease {
    WriteLease::offer(Epoch(epoch), "west".into(), members(), TERMS)
}

/// The agent of `west`, whose server serves under epoch 4, with the hub silent.
fn cut_off(seconds: u64) -> Sight {
    let row = Some(Authority {
        epoch: Epoch(4),
        writable: true,
    });
    Sight {
        now: now(seconds),
        region: "west".into(),
        hub: Hub::Silent,
        database: Database::Primary { row, open: true },
        promises: BTreeMap::new(),
        reachable: BTreeMap::new(),
        versions: Versions::default(),
    }
}

fn told(seconds: u64, lease: WriteLease) -> Sight {
    Sight {
        hub: Hub::Says(Some(lease)),
        ..cut_off(seconds)
    }
}

/// Lets the agent look, and lets every renewal succeed.
fn look(memory: &mut Memory, seen: &Sight) -> (Vec<Renewal>, Option<Epoch>) {
    memory.note(seen);
    let renewals = renewals(seen, memory);
    for renewal in &renewals {
        memory.sending(renewal, seen);
        memory.renewed(renewal, seen);
    }
    (renewals, fence_due(seen, memory))
}

fn record(renewals: &[Renewal]) -> WriteLease {
    match renewals {
        [Renewal::Lease(record)] => record.clone(),
        other => panic!("one renewal of the lease was expected: {other:?}"),
    }
}

/// An agent that pledged at second 0.
fn pledged_at_zero(reachable: bool) -> (Memory, WriteLease) {
    let mut memory = Memory::default();
    let mut seen = told(0, offer(4));
    if reachable {
        seen.reachable = given();
    }
    let (renewals, fence) = look(&mut memory, &seen);
    assert_eq!(fence, None);
    (memory, record(&renewals))
}

#[test]
fn an_offer_is_answered_at_once_and_renewed_when_due() {
    let (mut memory, lease) = pledged_at_zero(false);
    assert!(lease.in_force().is_some_and(|p| !p.promises));
    assert_eq!(look(&mut memory, &told(9, lease.clone())), (vec![], None));
    let (renewals, _) = look(&mut memory, &told(10, lease.clone()));
    assert_eq!(record(&renewals), lease);
}

/// Faults: 78.
#[test]
fn an_agent_that_nobody_answers_fences_its_server_at_two_thirds_of_the_lease() {
    let (mut memory, _) = pledged_at_zero(false);
    assert_eq!(look(&mut memory, &cut_off(19)), (vec![], None));
    assert_eq!(look(&mut memory, &cut_off(20)), (vec![], Some(Epoch(4))));
    // It goes on until nothing is open, and no further.
    let mut fenced = cut_off(25);
    fenced.database = Database::Primary {
        row: Some(Authority {
            epoch: Epoch(4),
            writable: false,
        }),
        open: false,
    };
    assert_eq!(look(&mut memory, &fenced), (vec![], None));
}

/// Faults: 51.
#[test]
fn a_wall_clock_that_jumps_ahead_ends_the_lease_sooner() {
    let (mut memory, _) = pledged_at_zero(false);
    let mut seen = cut_off(1);
    seen.now.wall = now(3_600).wall;
    assert_eq!(look(&mut memory, &seen).1, Some(Epoch(4)));
}

#[test]
fn a_server_that_does_not_work_is_not_renewed_for() {
    let (mut memory, lease) = pledged_at_zero(false);
    let mut seen = told(12, lease);
    seen.database = Database::Silent;
    assert_eq!(look(&mut memory, &seen), (vec![], None));
    seen.now = now(20);
    assert_eq!(look(&mut memory, &seen), (vec![], Some(Epoch(4))));
}

#[test]
fn a_renewal_that_does_not_succeed_leads_to_the_fence_although_the_hub_answers() {
    let (mut memory, lease) = pledged_at_zero(false);
    let seen = told(20, lease);
    memory.note(&seen);
    assert!(!renewals(&seen, &memory).is_empty());
    assert_eq!(fence_due(&seen, &memory), Some(Epoch(4)));
}

#[test]
fn a_lease_that_was_taken_is_not_renewed_and_the_server_is_fenced_at_once() {
    let (mut memory, lease) = pledged_at_zero(false);
    let taken = lease.taken_for(Epoch(5), &"central".into());
    assert_eq!(
        look(&mut memory, &told(1, taken.clone())),
        (vec![], Some(Epoch(5)))
    );
    // A process that has just begun does the same.
    assert_eq!(
        look(&mut Memory::default(), &told(1, taken)),
        (vec![], Some(Epoch(5)))
    );
}

#[test]
fn a_newer_epoch_of_the_row_is_never_fenced_by_an_older_order() {
    let taken = offer(4).taken_for(Epoch(5), &"central".into());
    let mut seen = told(1, taken);
    seen.database = Database::Primary {
        row: Some(Authority {
            epoch: Epoch(6),
            writable: true,
        }),
        open: true,
    };
    assert_eq!(look(&mut Memory::default(), &seen), (vec![], None));
}

/// Faults: 39.
#[test]
fn promises_of_all_standbys_stand_in_for_a_silent_hub() {
    let (mut memory, lease) = pledged_at_zero(true);
    assert!(lease.in_force().is_some_and(|p| p.promises));
    let mut seen = cut_off(12);
    seen.promises = [("central".into(), None)].into();
    let (renewals, fence) = look(&mut memory, &seen);
    let given = Promise {
        epoch: Epoch(4),
        permitted: false,
    };
    assert_eq!(renewals, [Renewal::Promise("central".into(), given)]);
    assert_eq!(fence, None);
    seen.now = now(31);
    seen.promises = BTreeMap::new();
    assert_eq!(
        look(&mut memory, &seen),
        (vec![], None),
        "12 + 20 s are not over"
    );
    seen.now = now(32);
    assert_eq!(look(&mut memory, &seen).1, Some(Epoch(4)));
}

#[test]
fn a_permit_for_the_next_epoch_ends_the_promises() {
    let (mut memory, _) = pledged_at_zero(true);
    let mut seen = cut_off(20);
    let permit = Promise {
        epoch: Epoch(5),
        permitted: true,
    };
    seen.promises = [("central".into(), Some(permit))].into();
    assert_eq!(look(&mut memory, &seen), (vec![], Some(Epoch(4))));
}

#[test]
fn a_replica_that_takes_over_confirms_at_once_or_fences() {
    let (_, lease) = pledged_at_zero(false);
    let mut passive = Memory::default();
    passive.note(&told(3, lease.clone()));
    assert_eq!(renewals(&cut_off(5), &passive), vec![]);
    assert_eq!(fence_due(&cut_off(5), &passive), Some(Epoch(4)));
    let (renewals, fence) = look(&mut passive, &told(5, lease.clone()));
    assert_eq!(record(&renewals), lease);
    assert_eq!(fence, None);
}

#[test]
fn nobody_fences_what_the_hub_disarmed_or_forgot() {
    for record in [
        None,
        Some(WriteLease {
            members: BTreeSet::new(),
            ..offer(4)
        }),
    ] {
        let (mut memory, _) = pledged_at_zero(false);
        let mut seen = cut_off(1);
        seen.hub = Hub::Says(record);
        assert_eq!(look(&mut memory, &seen), (vec![], None));
        assert_eq!(look(&mut memory, &cut_off(1_000)), (vec![], None));
    }
}

#[test]
fn a_hub_that_knows_less_than_the_agent_counts_as_silent() {
    let (mut memory, _) = pledged_at_zero(false);
    let old = told(5, offer(3));
    assert_eq!(look(&mut memory, &old), (vec![], None));
    assert_eq!(look(&mut memory, &told(20, offer(3))).1, Some(Epoch(4)));
}

#[test]
fn a_hub_that_can_be_read_and_not_written_is_replaced_by_promises() {
    let (memory, lease) = pledged_at_zero(true);
    let mut seen = told(15, lease);
    seen.reachable = given();
    seen.promises = given();
    let wanted = renewals(&seen, &memory);
    assert!(matches!(
        wanted.as_slice(),
        [Renewal::Lease(_), Renewal::Promise(_, _)]
    ));
    seen.now = now(14);
    let wanted = renewals(&seen, &memory);
    assert!(matches!(wanted.as_slice(), [Renewal::Lease(_)]));
}

#[test]
fn a_promise_is_renewed_when_it_is_due() {
    let (mut memory, _) = pledged_at_zero(true);
    let mut seen = cut_off(12);
    seen.promises = [("central".into(), None)].into();
    assert_eq!(look(&mut memory, &seen).0.len(), 1);
    seen.now = now(21);
    assert_eq!(look(&mut memory, &seen).0, []);
    seen.now = now(22);
    assert_eq!(look(&mut memory, &seen).0.len(), 1);
}

#[test]
fn a_server_that_is_being_promoted_is_not_fenced_by_its_own_agent() {
    // The lease is taken for `west` itself: it is offered to its agent once the server serves.
    let before = WriteLease::offer(Epoch(3), "central".into(), ["west".into()].into(), TERMS);
    let taken = before.taken_for(Epoch(4), &"west".into());
    let mut memory = Memory::default();
    assert_eq!(look(&mut memory, &told(1, taken.clone())), (vec![], None));
    // Taken for another region, it ends this server's right.
    let away = taken.taken_for(Epoch(5), &"central".into());
    assert_eq!(look(&mut memory, &told(2, away)).1, Some(Epoch(5)));
}

#[test]
fn a_lease_that_another_region_holds_disarmed_releases_nothing() {
    let mut memory = Memory::default();
    look(&mut memory, &told(1, offer(4)));
    assert!(memory.pledge.is_some());
    let none = BTreeSet::new();
    let theirs = WriteLease::offer(Epoch(5), "central".into(), none.clone(), TERMS);
    let standby = Sight {
        database: Database::Silent,
        ..told(20, theirs)
    };
    look(&mut memory, &standby);
    // The server comes back open, and the hub is out of reach.
    assert_eq!(look(&mut memory, &cut_off(40)).1, Some(Epoch(4)));
    look(
        &mut memory,
        &told(50, WriteLease::offer(Epoch(4), "west".into(), none, TERMS)),
    );
    assert_eq!(memory.pledge, None);
}

/// Faults: 37.
#[test]
fn a_pledge_whose_answer_was_lost_obliges_all_the_same() {
    let mut memory = Memory::default();
    let seen = told(0, offer(4));
    for renewal in &renewals(&seen, &memory) {
        memory.sending(renewal, &seen);
    }
    assert_eq!(look(&mut memory, &cut_off(19)).1, None);
    assert_eq!(look(&mut memory, &cut_off(20)).1, Some(Epoch(4)));

    // With other members or shorter terms, too; what was confirmed before does not last longer.
    let (mut memory, lease) = pledged_at_zero(true);
    let mut wider = WriteLease {
        pledge: None,
        ..lease
    };
    wider.members.insert("north".into());
    wider.terms.lease_seconds = 12;
    let seen = told(5, wider);
    for renewal in &renewals(&seen, &memory) {
        memory.sending(renewal, &seen);
    }
    assert_eq!(look(&mut memory, &cut_off(7)).1, None);
    assert_eq!(look(&mut memory, &cut_off(8)).1, Some(Epoch(4)));
}

#[test]
fn a_lease_of_another_region_orders_the_fence_even_when_it_is_disarmed() {
    let mut other = WriteLease::offer(Epoch(5), "central".into(), BTreeSet::new(), TERMS);
    let mut memory = pledged_at_zero(false).0;
    assert_eq!(
        look(&mut memory, &told(1, other.clone())),
        (vec![], Some(Epoch(5)))
    );
    other.holder = "west".into();
    assert_eq!(look(&mut memory, &told(2, other)), (vec![], None));
    assert_eq!(memory, Memory::default());
}

#[test]
fn an_older_pledge_or_an_older_disarmed_lease_is_not_believed() {
    let (memory, lease) = pledged_at_zero(false);
    let mut older = lease;
    older.epoch = Epoch(3);
    let pledge = older.pledge.as_mut();
    pledge.unwrap().epoch = Epoch(3);
    let bare = WriteLease {
        members: BTreeSet::new(),
        pledge: None,
        ..older.clone()
    };
    for record in [older, bare] {
        let mut memory = memory.clone();
        assert_eq!(look(&mut memory, &told(20, record)).1, Some(Epoch(4)));
    }
}

#[test]
fn the_sessions_of_a_server_that_was_being_drained_are_ended_too() {
    let (mut memory, _) = pledged_at_zero(false);
    let mut seen = cut_off(20);
    let row = |writable| {
        Some(Authority {
            epoch: Epoch(5),
            writable,
        })
    };
    let database = |row, open| Database::Primary { row, open };
    seen.database = database(row(false), true);
    assert_eq!(look(&mut memory, &seen).1, Some(Epoch(5)));
    for closed in [database(row(false), false), database(row(true), true)] {
        seen.database = closed;
        assert_eq!(look(&mut memory, &seen).1, None);
    }
}
