//! Synchronous replication: when it may be claimed, and when it is made so again.

use super::guards;
use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::Outcome;
use super::standby;
use super::state::{Claim, Evidence, Stored};
use crate::facts::{Engine, Facts, Role, Sender};
use crate::names::RegionName;

/// Raises, lowers or restores synchronous replication.
pub(super) fn keep_claim(
    seen: &Observation,
    active: &ServerView,
    facts: &Facts,
) -> Option<Outcome> {
    let stored = &seen.stored;
    let store = |claim: Option<Claim>, restore: bool, reason, message: String| {
        let next = Stored {
            claim,
            restore_synchronous: restore,
            ..stored.clone()
        };
        Some(Outcome::new(Answer::Move(Box::new(next)), reason, message))
    };
    match &stored.claim {
        Some(claim) if still_claimed(claim, facts) => None,
        Some(claim) => store(
            None,
            false,
            "SynchronyLost",
            format!("commits no longer wait for {} alone", claim.standby),
        ),
        None => {
            if let Some(claim) = provable_claim(seen, facts) {
                let message = format!("each commit waits for {}", claim.standby);
                return store(
                    Some(claim),
                    stored.restore_synchronous,
                    "SynchronyProven",
                    message,
                );
            }
            let wanted = stored.restore_synchronous && facts.synchrony.names.is_empty();
            let name = wanted.then(|| streaming_name(seen, facts)).flatten()?;
            let step = Step::SetSynchronous(active.server.clone(), stored.epoch, name.clone());
            let message = format!("commits will wait for {name} again");
            Some(Outcome::new(
                Answer::Work(step),
                "SynchronyRestored",
                message,
            ))
        }
    }
}

/// Lowers what may not be claimed: an engine that can hand the primary's place to another server of
/// its region relaxes synchronous replication with that, and asks nobody.
pub(super) fn no_claim(seen: &Observation) -> Option<Outcome> {
    let claim = seen.stored.claim.as_ref()?;
    let message = format!(
        "what runs {} may relax synchronous replication to {} by itself",
        seen.stored.active, claim.standby
    );
    let next = Stored {
        claim: None,
        restore_synchronous: false,
        ..seen.stored.clone()
    };
    let answer = Answer::Move(Box::new(next));
    Some(Outcome::new(answer, "SynchronyLost", message))
}

/// True while the primary's settings make every commit wait for the claimed standby alone.
pub(super) fn still_claimed(claim: &Claim, facts: &Facts) -> bool {
    facts.role == Role::Primary
        && !facts.synchrony.relaxed
        && sole_name(&facts.synchrony.names) == Some(claim.name.as_str())
}

/// Lowers what was believed before an outage as soon as the server itself says otherwise: it came
/// back for a moment, and its commits wait for nobody.
pub(super) fn disproven(seen: &Observation) -> Option<Outcome> {
    let evidence = seen.stored.evidence.as_ref()?;
    let region = evidence.synchronous.as_ref()?;
    let facts = seen.active()?.now()?;
    let waits = facts.role == Role::Primary
        && !facts.synchrony.relaxed
        && sole_name(&facts.synchrony.names).is_some();
    if waits || *region == seen.stored.active {
        return None;
    }
    let lowered = Stored {
        claim: None,
        evidence: Some(Evidence {
            synchronous: None,
            ..evidence.clone()
        }),
        ..seen.stored.clone()
    };
    let message = format!("commits no longer wait for {region} alone");
    let answer = Answer::Move(Box::new(lowered));
    Some(Outcome::new(answer, "SynchronyLost", message))
}

/// A claim that both ends confirm in this pass. The standby must also hold all that the primary had
/// flushed when the setting was seen: what was acknowledged before the setting took effect did not
/// wait for it.
fn provable_claim(seen: &Observation, facts: &Facts) -> Option<Claim> {
    let name = sole_name(&facts.synchrony.names).filter(|_| !facts.synchrony.relaxed)?;
    let confirmed = sole_sender(facts, name).is_some_and(|s| s.streaming && s.synchronous);
    let standby = seen
        .servers
        .values()
        .find(|view| view.server.region != seen.stored.active && streams_as(view, facts, name))?;
    let holds = standby.now().is_some_and(|copy| {
        copy.received.unwrap_or(copy.position).max(copy.position) >= facts.position
    });
    (confirmed && holds).then(|| Claim {
        standby: standby.server.region.clone(),
        name: name.into(),
    })
}

/// Why no failover to `target` could rest on synchronous replication, and what makes it so.
pub(super) fn unclaimed(seen: &Observation, target: &RegionName) -> String {
    let active = &seen.stored.active;
    let Some((view, facts)) = seen.active().and_then(|view| Some((view, view.now()?))) else {
        return format!(
            "commits on {active} were not seen to wait for {target} alone, which \
             `synchronous_standby_names` there has to ask for before an outage"
        );
    };
    if view.engine == Engine::Patroni {
        return format!("what runs {active} may relax synchronous replication by itself");
    }
    let copy = seen.server(target).and_then(ServerView::now);
    let name = copy.and_then(|copy| copy.receiver.as_ref());
    let name = name.map(|receiver| receiver.name.as_str());
    let asked = sole_name(&facts.synchrony.names);
    if asked.is_none() || name.is_some_and(|name| asked != Some(name)) {
        let name = name.map_or_else(String::new, |name| format!(", {name}"));
        return format!(
            "commits on {active} do not wait for {target} alone: set `synchronous_standby_names` \
             there to its `application_name`{name}"
        );
    }
    if facts.synchrony.relaxed {
        return format!(
            "commits on {active} may not wait for {target}: set `synchronous_commit` to on, and \
             let one standby alone have its `application_name`"
        );
    }
    format!("{target} is not seen to stream and to hold all that {active} has written")
}

/// The one client that streams under a name, if it is one: of two, PostgreSQL lets commits wait for
/// either.
fn sole_sender<'a>(facts: &'a Facts, name: &str) -> Option<&'a Sender> {
    let mut senders = facts.senders.iter().filter(|sender| sender.name == name);
    senders.next().filter(|_| senders.next().is_none())
}

/// The name of the standby that streams and may be promoted, in the order of the policy.
fn streaming_name(seen: &Observation, facts: &Facts) -> Option<String> {
    let region = guards::candidate(seen)?;
    let view = seen.server(&region)?;
    let name = &view.now()?.receiver.as_ref()?.name;
    let caught_up = sole_sender(facts, name).is_some_and(|s| s.streaming);
    (caught_up && streams_as(view, facts, name)).then(|| name.clone())
}

/// The standby says itself that it streams this primary's timeline under this name.
fn streams_as(view: &ServerView, primary: &Facts, name: &str) -> bool {
    view.now().is_some_and(|facts| {
        facts.role == Role::Standby
            && facts.system_identifier == primary.system_identifier
            && !standby::stream_broken(facts)
            && facts
                .receiver
                .as_ref()
                .is_some_and(|r| r.name == name && r.timeline == primary.timeline)
    })
}

/// The one standby that a setting names; `None` for lists, `*` and quorum forms with more.
///
/// Accepts `name`, `"name"`, `FIRST 1 (name)`, `ANY 1 (name)` and `1 (name)`, as PostgreSQL does.
pub(super) fn sole_name(setting: &str) -> Option<&str> {
    let text = setting.trim();
    let inner = match text.split_once('(') {
        Some((head, rest)) => {
            let count = head.trim().to_ascii_uppercase();
            let one = matches!(count.as_str(), "1" | "FIRST 1" | "ANY 1");
            rest.strip_suffix(')').filter(|_| one)?.trim()
        }
        None => text,
    };
    let quoted = inner
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let name = quoted.unwrap_or(inner);
    let plain = !name.is_empty() && !name.contains([',', '"', '(', ')']);
    (plain && (quoted.is_some() || (name != "*" && !name.contains(' ')))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{calm, outage, server};
    use super::super::{GuardName, Proof, decide};
    use super::*;

    /// What the guard says that wants synchronous replication.
    fn told(mut seen: Observation) -> (bool, String) {
        seen.settings.minimum_proof = Proof::SynchronousReplication;
        let mut guards = decide(&seen).guards.into_iter();
        let proof = guards.find(|guard| guard.name == GuardName::FencingProof);
        let proof = proof.unwrap();
        (proof.ok, proof.message)
    }

    #[test]
    fn a_proof_that_is_missing_says_what_to_set_and_where() {
        let with = |names: &str, relaxed| {
            let mut seen = calm();
            let synchrony = &mut server(&mut seen, "west").facts.as_mut().unwrap().synchrony;
            (synchrony.names, synchrony.relaxed) = (names.to_owned(), relaxed);
            seen
        };
        let name = "set `synchronous_standby_names` there to its `application_name`, central";
        let mut patroni = with("", false);
        server(&mut patroni, "west").engine = Engine::Patroni;
        let cases = [
            (with("", false), name),
            (with("*", false), name),
            (with("another", false), name),
            (with("central", true), "set `synchronous_commit` to on"),
            (with("central", false), "is not seen to stream and to hold"),
            (patroni, "what runs west may relax"),
            (outage(), "has to ask for before an outage"),
        ];
        for (seen, part) in cases {
            let (ok, message) = told(seen);
            assert!(!ok && message.contains(part), "{part}: {message}");
            assert!(message.ends_with("an operation can accept UnprovenFencing"));
        }
        let mut claimed = with("central", false);
        claimed.stored.claim = Some(Claim {
            standby: "central".into(),
            name: "central".into(),
        });
        assert!(told(claimed).0);
    }

    #[test]
    fn only_a_setting_that_names_one_standby_counts() {
        for one in ["a", "\"a\"", "FIRST 1 (a)", "ANY 1 (\"a\")", "1 (a)"] {
            assert_eq!(sole_name(one), Some("a"), "{one}");
        }
        for other in [
            "",
            "*",
            "a,b",
            "FIRST 2 (a,b)",
            "ANY 1 (a,b)",
            "\"a\",\"b\"",
            "2 (a)",
        ] {
            assert_eq!(sole_name(other), None, "{other}");
        }
    }
}
