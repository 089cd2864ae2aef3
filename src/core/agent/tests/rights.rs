//! When a pledge gives the right to live on promises.

use super::*;

/// The hub is silent, and the standby's cluster would take a promise.
fn free(seconds: u64) -> Sight {
    let mut seen = cut_off(seconds);
    seen.promises = [("central".into(), None)].into();
    seen.reachable = given();
    seen
}

/// Sends its renewals, and hears of none.
fn unanswered(memory: &mut Memory, seen: &Sight) -> WriteLease {
    memory.note(seen);
    let renewals = renewals(seen, memory);
    for renewal in &renewals {
        memory.sending(renewal, seen);
    }
    record(&renewals)
}

/// Faults: 37.
#[test]
fn nobody_lives_on_promises_that_the_hub_may_not_know_of() {
    // Without a pledge, and with one that gave no such right.
    let (old, without) = pledged_at_zero(false);
    for (mut memory, lease) in [(Memory::default(), offer(4)), (old, without)] {
        let mut seen = told(10, lease);
        seen.reachable = given();
        assert!(
            unanswered(&mut memory, &seen)
                .in_force()
                .is_some_and(|p| p.promises)
        );
        let confirmed = memory.hub.unwrap().mono.0 / 1_000;
        assert_eq!(look(&mut memory, &free(confirmed + 19)), (vec![], None));
        let due = look(&mut memory, &free(confirmed + 20));
        assert_eq!(due, (vec![], Some(Epoch(4))));
    }
}

#[test]
fn what_the_hub_is_read_to_know_gives_the_right_and_ends_no_confirmation() {
    let (mut memory, lease) = pledged_at_zero(false);
    let mut seen = told(10, lease);
    seen.reachable = given();
    let sent = unanswered(&mut memory, &seen);
    // It took effect, and the next look shows it; that look's own renewal fails.
    memory.note(&told(12, sent));
    assert_eq!(fence_due(&cut_off(19), &memory), None);
    assert!(matches!(
        look(&mut memory, &free(19)),
        (renewals, None) if matches!(renewals.as_slice(), [Renewal::Promise(..)])
    ));
    // A right that is given up ends before that is sent.
    let (mut memory, lease) = pledged_at_zero(true);
    unanswered(&mut memory, &told(10, lease));
    assert_eq!(look(&mut memory, &free(19)), (vec![], None));
    assert_eq!(look(&mut memory, &free(20)), (vec![], Some(Epoch(4))));
}

#[test]
fn who_can_no_longer_read_a_promise_does_not_say_that_it_lives_on_it() {
    let mut reach = Reach::default();
    let at = |seconds: u64| Mono(seconds * 1_000);
    assert!(reach.is_due(TERMS, at(0)));
    reach.note(&given(), at(0));
    assert!(!reach.is_due(TERMS, at(4)));
    assert!(reach.is_due(TERMS, at(5)));
    reach.note(&BTreeMap::new(), at(5));
    assert_eq!(reach.lately(TERMS, at(20)), given());

    let (mut memory, lease) = pledged_at_zero(true);
    let mut seen = told(21, lease);
    seen.reachable = reach.lately(TERMS, at(21));
    let lease = record(&look(&mut memory, &seen).0);
    assert!(lease.in_force().is_some_and(|pledge| !pledge.promises));
    // It comes back, and is relied on again once the hub knows: that is told at once.
    reach.note(&given(), at(22));
    let mut seen = told(23, lease);
    seen.reachable = reach.lately(TERMS, at(23));
    let lease = record(&look(&mut memory, &seen).0);
    assert!(lease.in_force().is_some_and(|pledge| pledge.promises));
}

#[test]
fn a_promise_is_given_before_a_pledge_relies_on_it() {
    let central = RegionName::from("central");
    let older = Promise::given(Epoch(3));
    for held in [None, Some(older)] {
        let (mut memory, mut reach) = (Memory::default(), Reach::default());
        let mut seen = told(0, offer(4));
        seen.promises = [(central.clone(), held)].into();
        reach.note(&seen.promises, seen.now.mono);
        seen.reachable = reach.lately(TERMS, seen.now.mono);
        let (renewals, _) = look(&mut memory, &seen);
        let [Renewal::Lease(lease), Renewal::Promise(region, promise)] = renewals.as_slice() else {
            panic!("{renewals:?}")
        };
        assert!(lease.in_force().is_some_and(|pledge| !pledge.promises));
        assert_eq!((region, promise.epoch), (&central, Epoch(4)));

        reach.gave(region, *promise, seen.now.mono);
        let mut seen = told(1, lease.clone());
        seen.promises = given();
        seen.reachable = reach.lately(TERMS, seen.now.mono);
        let lease = record(&look(&mut memory, &seen).0);
        assert!(lease.in_force().is_some_and(|pledge| pledge.promises));
    }
    // What the hub permitted is not to be had.
    let permit = Promise {
        epoch: Epoch(4),
        permitted: true,
    };
    let mut seen = told(0, offer(4));
    seen.promises = [(central, Some(permit))].into();
    assert!(matches!(
        look(&mut Memory::default(), &seen).0.as_slice(),
        [Renewal::Lease(_)]
    ));
}
