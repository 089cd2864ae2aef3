//! What a replica counts of the renewals that it did not send itself.

use super::*;

/// The lease as it was read, of this version.
fn read(seconds: u64, lease: &WriteLease, version: &str) -> Sight {
    let mut seen = told(seconds, lease.clone());
    seen.versions.lease = Some(version.to_owned());
    seen
}

#[test]
fn a_replica_counts_what_another_renewed_from_the_read_before_it_saw_that() {
    let (_, lease) = pledged_at_zero(false);
    let mut passive = Memory::default();
    for (seconds, version) in [(1, "7"), (3, "7"), (5, "8"), (6, "8")] {
        passive.note(&read(seconds, &lease, version));
    }
    // It takes the seat, and its first tries fail.
    assert_eq!(renewals(&read(7, &lease, "8"), &passive), vec![]);
    let late = read(13, &lease, "8");
    passive.note(&late);
    assert_eq!(record(&renewals(&late, &passive)), lease);
    assert_eq!(fence_due(&late, &passive), None);
    assert_eq!(fence_due(&cut_off(22), &passive), None);
    assert_eq!(fence_due(&cut_off(23), &passive), Some(Epoch(4)));
    // Its own confirmation counts from itself, whatever is read after it.
    look(&mut passive, &late);
    passive.note(&read(15, &lease, "9"));
    assert_eq!(fence_due(&cut_off(32), &passive), None);
    assert_eq!(fence_due(&cut_off(33), &passive), Some(Epoch(4)));
}

#[test]
fn a_pledge_that_another_replica_gave_counts_from_the_read_before_too() {
    let (_, lease) = pledged_at_zero(false);
    let mut passive = Memory::default();
    passive.note(&read(2, &offer(4), "7"));
    passive.note(&read(4, &lease, "8"));
    assert_eq!(fence_due(&cut_off(21), &passive), None);
    assert_eq!(fence_due(&cut_off(22), &passive), Some(Epoch(4)));
    // Reads that fail move nothing nearer.
    passive.note(&cut_off(23));
    passive.note(&read(25, &lease, "9"));
    assert_eq!(fence_due(&cut_off(25), &passive), Some(Epoch(4)));
}

#[test]
fn a_replica_counts_no_renewal_that_it_did_not_see_happen() {
    let (_, lease) = pledged_at_zero(false);
    let bare = offer(4);
    let taken = lease.taken_for(Epoch(5), &"central".into());
    let none: [&[(u64, &WriteLease, &str)]; 4] = [
        // Its first look, however often it is repeated.
        &[(1, &lease, "7"), (3, &lease, "7")],
        // The hub's own writes.
        &[(1, &lease, "7"), (3, &bare, "8")],
        &[(1, &lease, "7"), (3, &taken, "8")],
        // What it knew before the lease was given up.
        &[
            (1, &lease, "7"),
            (
                3,
                &WriteLease {
                    members: BTreeSet::new(),
                    ..bare.clone()
                },
                "8",
            ),
        ],
    ];
    for reads in none {
        let mut memory = Memory::default();
        for (seconds, lease, version) in reads {
            memory.note(&read(*seconds, lease, version));
        }
        assert_eq!(memory.hub, None);
    }
    // Restored from an old copy, the hub shows another version of what is over.
    let mut memory = Memory::default();
    memory.note(&read(1, &lease, "7"));
    let mut older = lease.clone();
    (older.epoch, older.pledge.as_mut().unwrap().epoch) = (Epoch(3), Epoch(3));
    memory.note(&read(3, &older, "2"));
    assert_eq!(memory.hub, None);
}

#[test]
fn a_replica_counts_the_promises_of_another_from_the_read_before_too() {
    let (_, lease) = pledged_at_zero(true);
    let mut passive = Memory::default();
    passive.note(&read(1, &lease, "7"));
    let given = |epoch, permitted| {
        let epoch = Epoch(epoch);
        Some(Promise { epoch, permitted })
    };
    let promised = |seconds, promise: Option<Promise>, version: Option<&str>| {
        let mut seen = cut_off(seconds);
        seen.promises = [("central".into(), promise)].into();
        let version = version.map(str::to_owned);
        seen.versions.promises = [("central".into(), version)].into();
        seen
    };
    passive.note(&promised(12, None, None));
    assert_eq!(fence_due(&cut_off(12), &passive), Some(Epoch(4)));
    passive.note(&promised(13, given(4, false), Some("1")));
    assert_eq!(fence_due(&cut_off(31), &passive), None);
    assert_eq!(fence_due(&cut_off(32), &passive), Some(Epoch(4)));
    passive.note(&promised(14, given(4, false), Some("2")));
    assert_eq!(fence_due(&cut_off(32), &passive), None);
    // What the hub wrote is none.
    for (promise, version) in [(given(5, true), "3"), (given(3, false), "4")] {
        passive.note(&promised(20, promise, Some(version)));
        assert_eq!(fence_due(&cut_off(33), &passive), Some(Epoch(4)));
    }
}
