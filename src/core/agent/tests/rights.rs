//! When a pledge gives the right to live on promises.

use super::*;

/// The hub is silent, and the standby's cluster would take a promise.
fn free(seconds: u64) -> Sight {
    let mut seen = cut_off(seconds);
    seen.promises = [("central".into(), None)].into();
    seen.reachable = members();
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
        seen.reachable = members();
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
    seen.reachable = members();
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
