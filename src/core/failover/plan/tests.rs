use super::super::fixtures;
use super::super::state::{Claim, MoveKind, Past, Promotion};
use super::super::{GuardName, Standby};
use super::*;
use crate::facts::Epoch;

fn known(region: &str, role: Role) -> Known {
    Known {
        server: ServerId::new(region, "main"),
        jurisdiction: Some("EU".into()),
        backups: BTreeMap::new(),
        suspended: false,
        answers: true,
        follows: role == Role::Standby,
        role: Some(role),
        system_identifier: Some("7".into()),
        timeline: Some(3),
        major_version: Some(18),
        missing_rights: Vec::new(),
    }
}

fn policy() -> Policy {
    let calm = fixtures::calm();
    let servers = [("west", Role::Primary), ("central", Role::Standby)];
    Policy {
        settings: calm.settings,
        stored: calm.stored,
        conflict: None,
        servers: servers
            .map(|(name, role)| (RegionName::from(name), known(name, role)))
            .into(),
        tenants: calm.tenants,
        pledged: BTreeSet::new(),
    }
}

fn synchronous(policy: &mut Policy) {
    policy.settings.minimum_proof = Proof::SynchronousReplication;
    policy.stored.claim = Some(Claim {
        standby: "central".into(),
        name: "central".into(),
    });
}

fn lose(policy: &Policy, lost: &str) -> Fate {
    let others = [("east".into(), Verdict::Up)].into();
    fate(policy, &others, &lost.into(), fixtures::second(1000))
}

fn objections(fate: Fate) -> Vec<GuardName> {
    let Fate::Stays { objections, .. } = fate else {
        panic!("it does not stay: {fate:?}");
    };
    objections.into_iter().map(|guard| guard.name).collect()
}

#[test]
fn synchronous_replication_moves_without_loss() {
    let mut policy = policy();
    synchronous(&mut policy);
    let Fate::Moves(moving) = lose(&policy, "west") else {
        panic!("it does not move");
    };
    assert_eq!((moving.to.as_str(), moving.asks), ("central", false));
    assert_eq!(moving.proof, Proof::SynchronousReplication);
    let none = LossBound::Seconds(0);
    assert_eq!((moving.crash_loss, moving.partition_loss), (none, none));
    assert_eq!(moving.budget.total(), 3 + 2 + 30 + 30 + 60);
}

#[test]
fn a_pledged_lease_is_waited_for_and_bounds_the_loss() {
    let mut policy = policy();
    policy.settings.minimum_proof = Proof::LeaseExpired;
    assert_eq!(objections(lose(&policy, "west")), [GuardName::FencingProof]);
    policy.pledged = ["central".into()].into();
    let Fate::Moves(moving) = lose(&policy, "west") else {
        panic!("it does not move");
    };
    assert_eq!(moving.proof, Proof::LeaseExpired);
    // A lease of 6 s is waited for 9.6 s; a renewal is seen 1 s late, a heartbeat is 1 s old.
    assert_eq!(moving.partition_loss, LossBound::Seconds(10 + 1 + 1));
    assert_eq!(moving.budget.fence, 10);
}

#[test]
fn the_loss_foretold_is_the_one_that_the_machine_bounds() {
    let policy = policy();
    let Fate::Moves(moving) = lose(&policy, "west") else {
        panic!("it does not move");
    };
    assert_eq!(moving.proof, Proof::Assumed);
    // Three probes, a timeout and a heartbeat until it is decided; then confirm, catch up, promote.
    let promoted = LossBound::Seconds((3 + 1 + 1) + (2 + 30 + 30));
    assert_eq!(moving.partition_loss, promoted);
    // Two intervals and a timeout between two reads, and three heartbeats.
    assert_eq!(moving.crash_loss, LossBound::Seconds(2 + 1 + 3));
    assert!(moving.tight, "67 s are more than 60 s");
}

#[test]
fn a_weaker_proof_than_the_minimum_stays() {
    let mut policy = policy();
    policy.settings.minimum_proof = Proof::SynchronousReplication;
    assert_eq!(objections(lose(&policy, "west")), [GuardName::FencingProof]);
}

#[test]
fn law_keeps_tenants_down_whatever_else_holds() {
    let mut policy = policy();
    synchronous(&mut policy);
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.jurisdiction = Some("US".into());
    assert_eq!(objections(lose(&policy, "west")), [GuardName::Jurisdiction]);
}

/// Faults: 65.
#[test]
fn a_standby_that_does_not_follow_has_an_unknown_loss() {
    let mut policy = policy();
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.follows = false;
    assert_eq!(objections(lose(&policy, "west")), [GuardName::LossBound]);
}

#[test]
fn an_old_primary_that_was_not_rejoined_takes_nobody() {
    let mut policy = policy();
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.role = Some(Role::Primary);
    let found = objections(lose(&policy, "west"));
    assert!(found.contains(&GuardName::StandbyEligible), "{found:?}");
}

#[test]
fn a_login_without_rights_promotes_nobody() {
    let mut policy = policy();
    let central = RegionName::from("central");
    policy.servers.get_mut(&central).unwrap().missing_rights = vec!["pg_promote".into()];
    assert_eq!(
        objections(lose(&policy, "west")),
        [GuardName::StandbyEligible]
    );
}

#[test]
fn a_claim_on_a_server_that_answers_no_more_proves_nothing() {
    let mut policy = policy();
    synchronous(&mut policy);
    policy
        .servers
        .get_mut(&RegionName::from("west"))
        .unwrap()
        .answers = false;
    assert_eq!(objections(lose(&policy, "west")), [GuardName::FencingProof]);
}

/// Faults: 63.
#[test]
fn a_standby_on_another_timeline_takes_nobody() {
    let mut policy = policy();
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.timeline = Some(2);
    let found = objections(lose(&policy, "west"));
    assert_eq!(found, [GuardName::StandbyEligible]);
}

#[test]
fn cooldown_and_mode_are_asked_too() {
    let mut policy = policy();
    policy.settings.max_automatic_per_day = 1;
    policy.stored.history = vec![Past {
        operation: "eu-4".into(),
        kind: MoveKind::Failover,
        automatic: true,
        from: "central".into(),
        to: "west".into(),
        epoch: Epoch(4),
        proof: None,
        loss: LossBound::Seconds(0),
        rto_seconds: 1,
        fork: None,
        finished: fixtures::second(990),
    }];
    policy.settings.mode = Mode::Manual;
    let expected = [GuardName::Armed, GuardName::Cooldown];
    assert_eq!(objections(lose(&policy, "west")), expected);
}

#[test]
fn a_second_standby_is_found_when_the_first_is_gone() {
    let mut policy = policy();
    policy.settings.standbys.push(Standby {
        server: ServerId::new("north", "main"),
        priority: 20,
        promotion: Promotion::Neutral,
    });
    policy
        .servers
        .insert("north".into(), known("north", Role::Standby));
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.answers = false;
    let Fate::Moves(moving) = lose(&policy, "west") else {
        panic!("it does not move");
    };
    assert_eq!(moving.to.as_str(), "north");
}

#[test]
fn losing_what_is_not_active_moves_nobody() {
    let mut policy = policy();
    assert_eq!(lose(&policy, "east"), Fate::Untouched);
    let loses = |writes_wait| Fate::StandbyLost { writes_wait };
    assert_eq!(lose(&policy, "central"), loses(false));
    synchronous(&mut policy);
    assert_eq!(lose(&policy, "central"), loses(true));
    policy.stored.state = State::Promoting;
    for lost in ["west", "central"] {
        assert_eq!(lose(&policy, lost), Fate::Busy(State::Promoting));
    }
}

#[test]
fn a_standby_whose_backups_lie_abroad_is_told_before_anything_is_lost() {
    let mut policy = policy();
    synchronous(&mut policy);
    let central = policy
        .servers
        .get_mut(&RegionName::from("central"))
        .unwrap();
    central.backups = [("vault".into(), Some("US".into()))].into();
    assert_eq!(objections(lose(&policy, "west")), [GuardName::Jurisdiction]);
}
