//! A server that its agent fenced, and that nobody is pledged for any more: the hub and the agent,
//! which hears nothing, in turn.

use super::*;
use crate::agent::{Database, Hub, Memory, Renewal, Sight, Versions, fence_due};
use crate::time::Now;

/// The agent of `west`, which pledged epoch 4 and lost the hub long ago, beside this server.
fn fences(seen: &Observation, row: Authority) -> Option<Epoch> {
    let now = |ms| Now {
        mono: Mono(ms),
        ..seen.now
    };
    let look = |ms| Sight {
        now: now(ms),
        region: "west".into(),
        hub: Hub::Silent,
        database: Database::Primary {
            row: Some(row),
            open: row.writable,
        },
        promises: [].into(),
        reachable: [].into(),
        versions: Versions::default(),
    };
    let mut memory = Memory::default();
    memory.sending(&Renewal::Lease(pledged(seen, false)), &look(0));
    fence_due(&look(NOW), &memory)
}

/// Runs the hub and the agent in turn until both rest; answers the row, or `None` when they do not.
fn settles(mut seen: Observation) -> Option<Authority> {
    let row = |seen: &Observation| seen.servers[&"west".into()].facts.clone()?.authority;
    for _ in 0..10 {
        match decide(&seen).answer {
            Answer::Work(Step::WriteLease(record, _)) => seen.lease = there(record, 0),
            Answer::Work(Step::TakeAuthority(_, epoch)) => {
                let west = server(&mut seen, "west").facts.as_mut()?;
                west.authority = Some(Authority {
                    epoch,
                    writable: true,
                });
            }
            Answer::Move(stored) => seen.stored = *stored,
            Answer::Wait(_) => {
                let before = row(&seen)?;
                let Some(epoch) = fences(&seen, before) else {
                    return Some(before);
                };
                let west = server(&mut seen, "west").facts.as_mut()?;
                west.authority = Some(Authority {
                    epoch,
                    writable: false,
                });
            }
            Answer::Work(other) => panic!("{other:?}"),
        }
    }
    None
}

#[test]
fn a_server_is_opened_past_the_pledge_of_an_agent_that_hears_nothing() {
    let mut fenced = calm();
    let west = server(&mut fenced, "west").facts.as_mut().unwrap();
    west.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    fenced.lease = there(pledged(&fenced, false), 60_000);
    let shut = fenced.servers[&"west".into()].facts.clone().unwrap();
    assert_eq!(settles(fenced.clone()), shut.authority, "it waits");

    let mut paused = fenced.clone();
    paused.settings.paused = true;
    // The last standby went down between the cut and the fence, and may be back by now.
    let mut alone = fenced.clone();
    let none = BTreeSet::new();
    let terms = alone.settings.lease;
    alone.lease = there(
        WriteLease::offer(Epoch(4), "west".into(), none, terms),
        60_000,
    );
    server(&mut alone, "central").verdict = crate::health::Verdict::Down;
    server(&mut alone, "central").live = false;
    let mut back = fenced.clone();
    back.lease = there(offer(&back), 60_000);
    // Somebody deleted the lease.
    let mut gone = fenced.clone();
    gone.lease = Look::Absent;
    for (name, seen) in [
        ("paused", paused),
        ("alone", alone),
        ("back", back),
        ("gone", gone),
    ] {
        let open = Authority {
            epoch: Epoch(5),
            writable: true,
        };
        assert_eq!(settles(seen), Some(open), "{name}");
    }
}
