//! What a deleted placement leaves on a server that cannot be reached, and who answers for it then.

use jiff::{SignedDuration, Timestamp};

use super::PolicyView;
use super::route::{Route, route};
use crate::facts::Authority;
use crate::names::ServerId;

/// How long a deletion waits for a server before what it leaves there is written down: a server
/// that only restarts is waited for.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// What a deletion does whose server cannot be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It waits until then.
    Wait(Timestamp),
    /// It writes down what is left, and the placement goes.
    Record,
}

/// Decides how long a placement stays that was deleted at `asked`.
pub fn parting(asked: Timestamp, now: Timestamp) -> Parting {
    let until = asked.checked_add(PATIENCE).unwrap_or(asked);
    if now < until {
        Parting::Wait(until)
    } else {
        Parting::Record
    }
}

/// Who answers for what was left on `server`: the active server of the policy that `server` is part
/// of, whatever its part is now, or itself. `row` is its own authority row, when it was read.
pub fn orphan_route(server: &ServerId, policies: &[PolicyView], row: Option<Authority>) -> Route {
    let part_of =
        |policy: &&PolicyView| policy.primary == *server || policy.standbys.contains(server);
    let policy = policies.iter().find(part_of);
    let home = policy.map_or(server, |policy| &policy.primary);
    route(home, policy, None, row.filter(|_| policy.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Epoch;
    use crate::failover::State;
    use crate::names::RegionName;
    use crate::placement::{Hold, MachineView};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    fn policy(state: State, active: &str) -> PolicyView {
        PolicyView {
            name: "eu".into(),
            primary: ServerId::new("eu-west", "main"),
            standbys: vec![ServerId::new("eu-central", "main")],
            machine: Some(MachineView {
                state: Some(state),
                epoch: Epoch(4),
                active: RegionName::new(active),
            }),
        }
    }

    #[test]
    fn a_restart_is_waited_for_and_an_outage_is_not() {
        assert_eq!(parting(at(100), at(100)), Parting::Wait(at(160)));
        assert_eq!(parting(at(100), at(159)), Parting::Wait(at(160)));
        assert_eq!(parting(at(100), at(160)), Parting::Record);
        // A clock that went back waits longer, and not for ever.
        assert_eq!(parting(at(100), at(50)), Parting::Wait(at(160)));
        assert_eq!(parting(Timestamp::MAX, Timestamp::MAX), Parting::Record);
    }

    #[test]
    fn what_was_left_is_looked_for_where_its_server_was_moved() {
        for left_on in ["eu-west", "eu-central"] {
            for active in ["eu-west", "eu-central"] {
                let policies = [policy(State::Steady, active)];
                let found = orphan_route(&ServerId::new(left_on, "main"), &policies, None);
                let server = ServerId::new(active, "main");
                let epoch = Epoch(4);
                assert_eq!(found, Route::Serve { server, epoch });
            }
        }
    }

    #[test]
    fn nothing_is_touched_while_a_move_is_under_way_or_a_fence_stands() {
        let left_on = ServerId::new("eu-west", "main");
        let policies = [policy(State::Promoting, "eu-west")];
        let moving = orphan_route(&left_on, &policies, None);
        assert!(matches!(moving, Route::Hold(Hold::Moving { .. })));
        let fenced = Authority {
            epoch: Epoch(3),
            writable: false,
        };
        let alone = orphan_route(&left_on, &[], Some(fenced));
        assert!(matches!(alone, Route::Hold(Hold::Fenced { .. })));
    }
}
