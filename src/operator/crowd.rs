//! Regions and policies that are woken by their placements: at once where there are few of these,
//! and otherwise once in a while. A pass over one of them looks at all placements, so that one for
//! each change of each placement would take a square of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_core::time::Mono;

/// So many placements are no crowd.
const FEW: usize = 100;
/// Longest time between two wakes of one, in milliseconds: a move waits for its last tenant.
const LONGEST_MS: u64 = 1_000;

/// Who is woken, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A `Region`.
    Region(String),
    /// A `FailoverPolicy`.
    Policy(String),
}

/// When each was woken last, and who waits.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    woken: BTreeMap<Member, Mono>,
    waiting: BTreeSet<Member>,
}

impl Crowd {
    /// Whether it is to be woken now, of so many placements; if not, [`Crowd::due`] answers it
    /// later.
    pub fn may_wake(&self, member: Member, placements: usize, now: Mono) -> bool {
        let mut state = self.lock();
        let woken = state.woken.get(&member);
        let may = woken.is_none_or(|woken| now.since(*woken) >= between(placements));
        if may {
            state.waiting.remove(&member);
            state.woken.insert(member, now);
        } else {
            state.waiting.insert(member);
        }
        may
    }

    /// Who waited long enough.
    pub fn due(&self, placements: usize, now: Mono) -> Vec<Member> {
        let waiting = self.lock().waiting.clone();
        let due = waiting.into_iter();
        due.filter(|member| self.may_wake(member.clone(), placements, now))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two wakes of one, in milliseconds.
fn between(placements: usize) -> u64 {
    let each = u64::try_from(placements).unwrap_or(u64::MAX);
    if placements <= FEW {
        0
    } else {
        each.min(LONGEST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Member {
        Member::Policy("eu".to_owned())
    }

    #[test]
    fn a_few_placements_wake_at_once() {
        let crowd = Crowd::default();
        for _ in 0..3 {
            assert!(crowd.may_wake(policy(), FEW, Mono(5)));
        }
        assert!(crowd.due(FEW, Mono(9_999)).is_empty());
    }

    #[test]
    fn many_wake_once_in_a_while_and_the_last_change_is_never_missed() {
        let crowd = Crowd::default();
        assert!(crowd.may_wake(policy(), 400, Mono(1_000)));
        assert!(!crowd.may_wake(policy(), 400, Mono(1_399)));
        let region = Member::Region("eu".to_owned());
        assert!(crowd.may_wake(region, 400, Mono(1_399)), "another one");
        assert!(crowd.due(400, Mono(1_399)).is_empty());
        assert_eq!(crowd.due(400, Mono(1_400)), [policy()]);
        assert!(crowd.due(400, Mono(9_999)).is_empty(), "nothing changed");
        assert!(!crowd.may_wake(policy(), 400, Mono(1_799)));
        assert!(crowd.may_wake(policy(), 400, Mono(1_800)));
        assert!(crowd.due(400, Mono(9_999)).is_empty(), "it was woken");
    }

    #[test]
    fn nobody_waits_longer_than_a_second() {
        assert_eq!(between(10_000), LONGEST_MS);
        assert_eq!(between(FEW + 1), 101);
    }
}
