//! Old primaries that take writes: what is done about them, and what they must not hold up. And
//! clients that have a standby's name.

use super::fixtures::{calm, server, settings, state_after};
use super::*;
use crate::facts::{Authority, Epoch, Role, Sender};
use crate::health::Verdict;

/// `central` answers as a primary whose tenants are shut out, but for one session that stays.
fn beside() -> Observation {
    let mut seen = calm();
    let facts = server(&mut seen, "central").facts.as_mut().unwrap();
    (facts.role, facts.receiver, facts.tenant_sessions) = (Role::Primary, None, 1);
    facts.open_logins = 0;
    facts.authority = Some(Authority {
        epoch: Epoch(4),
        writable: false,
    });
    seen
}

#[test]
fn an_old_primary_that_cannot_be_fenced_hides_no_outage() {
    let mut seen = beside();
    assert!(matches!(
        decide(&seen).answer,
        Answer::Work(Step::Fence(server, _)) if server.region.as_str() == "central"
    ));
    server(&mut seen, "central").resists = true;
    let calm = decide(&seen).answer;
    assert!(matches!(calm, Answer::Wait(_)), "{calm:?}");
    let west = server(&mut seen, "west");
    (west.verdict, west.live) = (Verdict::Failing { failures: 1 }, false);
    assert_eq!(state_after(&seen), State::Suspect);
    // Another one is fenced meanwhile.
    let mut north = beside().servers.remove(&"central".into()).unwrap();
    north.server.region = "north".into();
    seen.servers.insert("north".into(), north);
    assert!(matches!(
        decide(&seen).answer,
        Answer::Work(Step::Fence(server, _)) if server.region.as_str() == "north"
    ));
}

#[test]
fn two_servers_that_take_writes_are_told_and_one_is_not() {
    let mut seen = beside();
    let told = split_brain(&seen).unwrap();
    assert!(
        told.contains("central/main takes writes beside west/main"),
        "{told}"
    );
    assert!(told.contains("1 sessions"), "{told}");
    server(&mut seen, "west").live = false;
    assert_eq!(
        split_brain(&seen),
        None,
        "one that is silent is not known to"
    );
    server(&mut seen, "west").live = true;
    let facts = server(&mut seen, "central").facts.as_mut().unwrap();
    facts.tenant_sessions = 0;
    assert_eq!(split_brain(&seen), None, "fenced");
    assert_eq!(split_brain(&calm()), None);
    facts_of(&mut seen, "central").authority = Some(Authority {
        epoch: Epoch(5),
        writable: true,
    });
    assert!(split_brain(&seen).unwrap().contains("never issued here"));
}

fn facts_of<'a>(seen: &'a mut Observation, region: &str) -> &'a mut crate::facts::Facts {
    server(seen, region).facts.as_mut().unwrap()
}

/// Commits wait for whichever of two clients of one name PostgreSQL chose.
#[test]
fn a_name_that_two_clients_have_proves_nothing() {
    let claimed = |more: &[(bool, bool)]| {
        let mut seen = calm();
        seen.settings = settings();
        let west = facts_of(&mut seen, "west");
        west.synchrony.names = "central".to_owned();
        west.senders
            .extend(more.iter().map(|(streaming, synchronous)| Sender {
                name: "central".into(),
                streaming: *streaming,
                synchronous: *synchronous,
                replayed: None,
            }));
        match decide(&seen).answer {
            Answer::Move(next) => next.claim.map(|claim| claim.standby),
            Answer::Work(_) | Answer::Wait(_) => None,
        }
    };
    assert_eq!(claimed(&[]), Some("central".into()));
    for more in [(true, false), (false, false), (true, true)] {
        assert_eq!(claimed(&[more]), None, "{more:?}");
    }
}
