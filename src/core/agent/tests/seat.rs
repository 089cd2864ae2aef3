//! Two replicas, one of which has lost the hub.

use super::*;

const HELD_MS: u64 = 10_000;

#[test]
fn who_alone_lost_the_hub_leaves_the_seat_long_before_it_would_fence() {
    let (memory, lease) = pledged_at_zero(false);
    // One renewal that is late is none that failed.
    assert!(!leaves_seat(&cut_off(12), &memory, HELD_MS));
    assert!(leaves_seat(&cut_off(13), &memory, HELD_MS));
    assert!(!memory.is_over(now(19)));
    assert!(memory.is_over(now(20)));
    // A hub that can be read and not written is as good as silent.
    assert!(leaves_seat(&told(13, lease.clone()), &memory, HELD_MS));
    // The next one gets its time to renew.
    assert!(!leaves_seat(&cut_off(13), &memory, HELD_MS - 1));

    // That hears the hub, and knows the pledge.
    let mut next = Memory::default();
    next.note(&told(1, lease.clone()));
    let (renewals, fence) = look(&mut next, &told(14, lease));
    assert_eq!((record(&renewals).epoch, fence), (Epoch(4), None));
    assert!(!leaves_seat(&cut_off(26), &next, HELD_MS));
}

#[test]
fn living_on_promises_or_fenced_it_goes_on_leaving_the_seat() {
    let (mut memory, _) = pledged_at_zero(true);
    let mut seen = cut_off(31);
    seen.promises = [("central".into(), None)].into();
    assert_eq!(look(&mut memory, &seen).1, None);
    assert!(leaves_seat(&seen, &memory, HELD_MS));
    let row = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    let open = false;
    seen.database = Database::Primary { row, open };
    assert!(leaves_seat(&seen, &memory, HELD_MS));
}

#[test]
fn the_seat_is_kept_where_no_other_replica_could_do_more() {
    let (memory, lease) = pledged_at_zero(false);
    let silent = Sight {
        database: Database::Silent,
        ..cut_off(15)
    };
    let away = told(15, lease.taken_for(Epoch(5), &"central".into()));
    for seen in [silent, away] {
        assert!(!leaves_seat(&seen, &memory, HELD_MS));
    }
    assert!(!leaves_seat(&cut_off(15), &Memory::default(), HELD_MS));
}

#[test]
fn a_process_that_began_while_the_hub_is_away_does_not_know_its_duty() {
    let west = RegionName::from("west");
    let knows = |hub, server| knows_its_duty(&hub, &west, server);
    assert!(!knows(Hub::Silent, true));
    let says = |lease| Hub::Says(Some(lease));
    assert!(knows(says(offer(4)), true));
    assert!(!knows(says(offer(4)), false));
    // Nothing is asked of it: it need not know a server that may not be there yet.
    assert!(knows(Hub::Says(None), false));
    let mut theirs = offer(4);
    theirs.holder = "central".into();
    let mut none = offer(4);
    none.members.clear();
    assert!(knows(says(theirs), false) && knows(says(none), false));
}
