//! The agent and the hub may not mean one cluster when they speak of a region's promise.

use super::*;

#[test]
fn a_promise_that_the_hub_does_not_find_where_it_would_ask_is_not_believed() {
    let permitted = |epoch| Promise {
        epoch: Epoch(epoch),
        permitted: true,
    };
    let elsewhere = [
        Look::Absent,
        there(Promise::given(Epoch(3)), 60_000),
        // Of the move that made the primary of today.
        there(permitted(4), 60_000),
    ];
    for look in elsewhere {
        let mut seen = fencing(20_000, true);
        seen.promises = [("central".into(), look.clone())].into();
        assert_eq!(reason(&seen), "FencingUnproven", "{look:?}");

        let mut seen = outage();
        seen.settings.minimum_proof = Proof::LeaseExpired;
        seen.lease = there(pledged(&seen, true), 5_000);
        seen.promises = [("central".into(), look.clone())].into();
        assert_eq!(objection(&seen), [GuardName::FencingProof], "{look:?}");
    }
    // It is where the hub looks.
    let mut seen = fencing(20_000, true);
    seen.promises = [("central".into(), there(Promise::given(Epoch(4)), 60_000))].into();
    assert!(matches!(work(&seen), Step::Permit(_, Epoch(5), Some(_))));
}
