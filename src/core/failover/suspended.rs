//! A region that is paused on purpose: its silence is no outage, and nobody moves there.

use std::collections::BTreeSet;

use super::fixtures::{ask, calm, objection, outage, server, state_after};
use super::*;
use crate::facts::Role;
use crate::health::Verdict;
use crate::lease::WriteLease;
use crate::names::RegionName;
use crate::time::Mono;

#[test]
fn silence_is_no_outage_and_ends_one() {
    let mut seen = calm();
    let west = server(&mut seen, "west");
    (west.verdict, west.live, west.suspended) = (Verdict::Down, false, true);
    let decision = decide(&seen);
    assert!(matches!(decision.answer, Answer::Wait(_)), "{decision:?}");
    assert_eq!(decision.reason, "RegionSuspended");
    for state in [
        State::Suspect,
        State::Outage,
        State::Blocked,
        State::AwaitingApproval,
    ] {
        let mut seen = outage();
        seen.stored.state = state;
        if state == State::AwaitingApproval {
            seen.stored.journal = fixtures::moving(State::Fencing).stored.journal;
        }
        server(&mut seen, "west").suspended = true;
        assert_eq!(state_after(&seen), State::Steady, "{}", state.as_str());
        assert_eq!(decide(&seen).reason, "RegionSuspended");
    }
}

#[test]
fn a_person_may_move_tenants_away_and_nothing_does_so_by_itself() {
    let mut seen = outage();
    server(&mut seen, "west").suspended = true;
    assert!(objection(&seen).contains(&GuardName::Armed));
    seen.requests = vec![ask(MoveKind::Failover, 4)];
    assert_eq!(state_after(&seen), State::Fencing);
}

#[test]
fn nobody_moves_to_it_whoever_asks() {
    let mut seen = outage();
    server(&mut seen, "central").suspended = true;
    assert!(objection(&seen).contains(&GuardName::StandbyEligible));
    seen.requests = vec![ask(MoveKind::Failover, 4)];
    let decision = decide(&seen);
    let told = &decision.refusals[0].message;
    assert!(told.contains("Region central is suspended"), "{told}");
}

#[test]
fn it_does_not_count_among_the_regions_that_look_dead() {
    let mut seen = outage();
    let mut south = fixtures::view("south", Role::Standby);
    (south.verdict, south.live) = (Verdict::Down, false);
    seen.servers.insert("south".into(), south);
    seen.others = [("east".into(), Verdict::Down)].into();
    assert_eq!(objection(&seen), [GuardName::NotIsolated]);
    server(&mut seen, "south").suspended = true;
    seen.others.clear();
    assert_eq!(objection(&seen), []);
}

#[test]
fn its_write_lease_is_disarmed_and_that_of_a_suspended_standby_names_it_no_more() {
    for region in ["west", "central"] {
        let mut seen = calm();
        let members: BTreeSet<RegionName> = ["central".into()].into();
        let epoch = seen.stored.epoch;
        let record = WriteLease::offer(epoch, "west".into(), members, seen.settings.lease);
        seen.lease = Look::There(Watched {
            record,
            version: "7".into(),
            since: Mono(100_000),
            renewed: Mono(100_000),
            witnessed: true,
        });
        assert_eq!(decide(&seen).reason, "Serving");
        let view = server(&mut seen, region);
        (view.suspended, view.live) = (true, region == "west");
        let Answer::Work(Step::WriteLease(record, _)) = decide(&seen).answer else {
            panic!("{region}: {:?}", decide(&seen));
        };
        assert_eq!(record.members, BTreeSet::new(), "{region}");
    }
}
