//! The status of a Region from what is known of it. Pure.

use domicile_api::conditions::{ConditionType, Conditions, Status, Summary};
use domicile_api::reasons::Reason;
use domicile_api::region::{
    DatabaseServer, DatabaseServerStatus, Reachable, RegionStatus, ServerRole,
};
use domicile_core::facts::Role;
use domicile_core::health::Verdict;
use kube::ResourceExt;

use crate::controllers::region::observe::Observation;
use crate::probes::{Sample, reason};

/// Why a Region is as it is.
struct Finding {
    summary: Summary,
    reason: Reason,
    message: String,
}

/// The status that `seen` gives. Nothing while an earlier status stands and no probe of this
/// process has ended yet: a new leader does not know less than the one before said.
pub fn status(seen: &Observation) -> Option<RegionStatus> {
    let before = seen.region.status.clone().unwrap_or_default();
    if seen.samples.is_empty() && !before.conditions.is_empty() {
        return None;
    }
    let spec = &seen.region.spec;
    let servers: Vec<_> = spec
        .database_servers
        .iter()
        .map(|s| server(seen, &before, s))
        .collect();
    let generation = seen.region.metadata.generation;
    let mut conditions = Conditions::of(&before.conditions, generation, seen.now.wall);
    let reachable = reachable(seen, &servers);
    let rights = rights(seen);
    let whole = whole(seen, &reachable, &rights);
    conditions.summarize(whole.summary, whole.reason, &whole.message);
    let (is, why, text) = reachable.condition();
    conditions.set(ConditionType::DatabasesReachable, is, why, text);
    let (is, why, text) = rights.condition();
    conditions.set(ConditionType::AdminPrivilegesSufficient, is, why, text);
    Some(RegionStatus {
        observed_generation: generation,
        placements: Some(i32::try_from(seen.placements).unwrap_or(i32::MAX)),
        database_servers: servers,
        conditions: conditions.into_list(),
    })
}

/// One server's entry. What a failed probe cannot tell stays as it was.
fn server(
    seen: &Observation,
    before: &RegionStatus,
    server: &DatabaseServer,
) -> DatabaseServerStatus {
    let old = before
        .database_servers
        .iter()
        .find(|old| old.name == server.name)
        .cloned();
    let mut entry = old.unwrap_or_else(|| DatabaseServerStatus {
        name: server.name.clone(),
        reachable: Reachable::Unknown,
        reason: None,
        version: None,
        system_identifier: None,
        role: None,
        timeline: None,
    });
    let Some(sample) = seen.samples.get(&server.name) else {
        return entry;
    };
    let why = reason(sample).map(|reason| reason.as_str().to_owned());
    match sample.verdict {
        Verdict::Up => (entry.reachable, entry.reason) = (Reachable::True, None),
        Verdict::Down | Verdict::Refusing(_) => {
            (entry.reachable, entry.reason) = (Reachable::False, why);
        }
        Verdict::Unknown => (entry.reachable, entry.reason) = (Reachable::Unknown, why),
        // Between two verdicts the last one stands.
        Verdict::Failing { .. } | Verdict::Recovering { .. } => {
            if entry.reachable == Reachable::Unknown {
                entry.reason = why;
            }
        }
    }
    if let Some(facts) = &sample.facts {
        entry.version = Some(facts.version.clone());
        entry.system_identifier = Some(facts.system_identifier.clone());
        entry.role = Some(match facts.role {
            Role::Primary => ServerRole::Primary,
            Role::Standby => ServerRole::Standby,
        });
        entry.timeline = Some(i64::from(facts.timeline));
    }
    entry
}

/// What holds of all servers together.
enum Joint {
    Holds { reason: Reason, message: String },
    Fails { reason: Reason, message: String },
    Open { reason: Reason, message: String },
}

impl Joint {
    fn condition(&self) -> (Status, Reason, &str) {
        match self {
            Self::Holds { reason, message } => (Status::True, *reason, message),
            Self::Fails { reason, message } => (Status::False, *reason, message),
            Self::Open { reason, message } => (Status::Unknown, *reason, message),
        }
    }
}

fn reachable(seen: &Observation, servers: &[DatabaseServerStatus]) -> Joint {
    let not = |wanted| {
        servers
            .iter()
            .filter(move |server| server.reachable == wanted)
    };
    let (down, open): (Vec<_>, Vec<_>) = (
        not(Reachable::False).collect(),
        not(Reachable::Unknown).collect(),
    );
    let message = |list: &[&DatabaseServerStatus]| {
        list.iter()
            .map(|server| told(seen, server))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let first = |list: &[&DatabaseServerStatus]| {
        let mut reasons = list
            .iter()
            .filter_map(|server| Reason::parse(server.reason.as_deref()?));
        let worst = reasons.clone().find(|reason| needs_a_person(*reason));
        worst.or_else(|| reasons.next())
    };
    if !down.is_empty() {
        let reason = first(&down).unwrap_or(Reason::Unreachable);
        Joint::Fails {
            reason,
            message: message(&down),
        }
    } else if !open.is_empty() {
        let reason = first(&open).unwrap_or(Reason::NotObserved);
        Joint::Open {
            reason,
            message: message(&open),
        }
    } else {
        let message = format!("{} of {0} database servers answer", servers.len());
        Joint::Holds {
            reason: Reason::Reachable,
            message,
        }
    }
}

/// What is said of a server that does not answer, the same until its reason changes.
fn told(seen: &Observation, server: &DatabaseServerStatus) -> String {
    let detail = seen
        .samples
        .get(&server.name)
        .and_then(|sample| sample.detail.clone());
    let name = seen.region.name_any();
    match (detail, &server.reason) {
        (Some(detail), _) => format!("{name}/{}: {detail}", server.name),
        (None, Some(reason)) => format!("{name}/{}: {reason}", server.name),
        (None, None) => format!("{name}/{}: not probed yet", server.name),
    }
}

fn rights(seen: &Observation) -> Joint {
    let name = seen.region.name_any();
    let facts = |sample: &Sample| sample.facts.clone();
    let known: Vec<_> = seen
        .samples
        .iter()
        .filter_map(|(server, s)| Some((server, facts(s)?)))
        .collect();
    if known.is_empty() {
        let message = "No database server was read yet".to_owned();
        return Joint::Open {
            reason: Reason::NotObserved,
            message,
        };
    }
    let lacking: Vec<_> = known
        .iter()
        .filter(|(_, facts)| !facts.missing_rights.is_empty())
        .map(|(server, facts)| {
            let rights = facts.missing_rights.join(", ");
            format!(
                "{name}/{server}: the login lacks {rights}; run the output of `kubectl domicile \
                 admin-sql {name}/{server}` as a superuser"
            )
        })
        .collect();
    if lacking.is_empty() {
        let message = "The login has the rights that it needs".to_owned();
        Joint::Holds {
            reason: Reason::PrivilegesSufficient,
            message,
        }
    } else {
        Joint::Fails {
            reason: Reason::PrivilegesMissing,
            message: lacking.join("; "),
        }
    }
}

fn whole(seen: &Observation, reachable: &Joint, rights: &Joint) -> Finding {
    let stalled = |reason, message| Finding {
        summary: Summary::Stalled { ready: false },
        reason,
        message,
    };
    if !seen.other_defaults.is_empty() {
        let others = seen.other_defaults.join(", ");
        let message = format!("{others} is the default too: set spec.default in one Region only");
        return stalled(Reason::DuplicateDefault, message);
    }
    if let Some((server, twin)) = seen.twins.first() {
        let name = seen.region.name_any();
        let message = format!("{name}/{server} and {twin} have one address: remove one of them");
        return stalled(Reason::DuplicateServer, message);
    }
    match (reachable, rights) {
        (Joint::Fails { reason, message } | Joint::Open { reason, message }, _)
            if needs_a_person(*reason) =>
        {
            stalled(*reason, message.clone())
        }
        (Joint::Fails { reason, message }, _) => Finding {
            summary: Summary::NotReady,
            reason: *reason,
            message: message.clone(),
        },
        (Joint::Open { reason, message }, _) => Finding {
            summary: Summary::Reconciling { ready: false },
            reason: *reason,
            message: message.clone(),
        },
        (Joint::Holds { .. }, Joint::Fails { reason, message }) => {
            stalled(*reason, message.clone())
        }
        (Joint::Holds { message, .. }, Joint::Holds { .. } | Joint::Open { .. }) => Finding {
            summary: Summary::Ready,
            reason: Reason::Serving,
            message: message.clone(),
        },
    }
}

/// Whether a failure lasts until a person changes something.
pub fn needs_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CertificateInvalid
            | Reason::CredentialsDenied
            | Reason::WrongServer
            | Reason::VersionUnsupported
            | Reason::SecretNotFound
            | Reason::SecretInvalid
            | Reason::PrivilegesMissing
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use domicile_api::conditions::find;
    use domicile_api::region::Region;
    use domicile_core::health::{Probe, ProbeFailure};
    use domicile_core::time::{Mono, Now};
    use serde_json::json;

    use super::*;
    use crate::controllers::region::report::edges;

    fn sample(verdict: Verdict, failure: Option<ProbeFailure>) -> Arc<Sample> {
        let text = "words".to_owned();
        Arc::new(Sample {
            probe: failure.map(|failure| Probe::Failed(failure, text.clone())),
            unopened: None,
            verdict,
            facts: None,
            detail: failure.map(|_| text),
            at: Mono(0),
        })
    }

    fn seen(status: Option<RegionStatus>, sample: Option<Arc<Sample>>) -> Observation {
        let region = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
            "metadata": { "name": "west", "generation": 2 },
            "spec": { "key": "W", "jurisdiction": "EU", "databaseServers": [{
                "name": "main", "host": "h", "tls": { "caSecretRef": { "name": "ca" } },
                "adminSecretRef": { "name": "admin" },
            }]},
        });
        let mut region: Region = serde_json::from_value(region).unwrap();
        region.status = status;
        let samples = sample.map(|sample| ("main".to_owned(), sample));
        Observation {
            now: Now {
                wall: jiff::Timestamp::UNIX_EPOCH,
                mono: Mono(0),
            },
            region: Arc::new(region),
            samples: samples.into_iter().collect::<BTreeMap<_, _>>(),
            placements: 0,
            other_defaults: Vec::new(),
            twins: Vec::new(),
        }
    }

    fn ready(status: &RegionStatus) -> (&str, &str) {
        let ready = find(&status.conditions, ConditionType::Ready).unwrap();
        (ready.status.as_str(), ready.reason.as_str())
    }

    fn up() -> RegionStatus {
        status(&seen(None, Some(sample(Verdict::Up, None)))).unwrap()
    }

    #[test]
    fn each_failure_is_its_own_reason_and_its_own_event() {
        for failure in [
            ProbeFailure::Unreachable,
            ProbeFailure::CredentialsDenied,
            ProbeFailure::CertificateInvalid,
            ProbeFailure::WrongServer,
        ] {
            let verdict = if failure.suggests_outage() {
                Verdict::Down
            } else {
                Verdict::Refusing(failure)
            };
            let after = status(&seen(Some(up()), Some(sample(verdict, Some(failure))))).unwrap();
            assert_eq!(ready(&after), ("False", failure.reason()));
            let edges = edges(&up(), &after);
            assert_eq!(edges.len(), 1, "{edges:?}");
            assert_eq!(edges[0].reason, failure.reason());
            assert!(edges[0].note.contains("words"), "{edges:?}");
        }
    }

    #[test]
    fn one_failed_probe_changes_nothing() {
        let failing = sample(
            Verdict::Failing { failures: 1 },
            Some(ProbeFailure::TimedOut),
        );
        assert_eq!(status(&seen(Some(up()), Some(failing))), Some(up()));
    }

    #[test]
    fn a_new_leader_says_nothing_before_its_first_probe() {
        assert_eq!(status(&seen(Some(up()), None)), None);
        let first = status(&seen(None, None)).unwrap();
        assert_eq!(ready(&first), ("False", "NotObserved"));
    }

    #[test]
    fn two_default_regions_are_both_not_ready() {
        let mut seen = seen(Some(up()), Some(sample(Verdict::Up, None)));
        seen.other_defaults = vec!["north".to_owned()];
        let after = status(&seen).unwrap();
        assert_eq!(ready(&after), ("False", "DuplicateDefault"));
        let edges = edges(&up(), &after);
        assert_eq!(edges.len(), 1);
        assert!(edges[0].note.contains("north"));
    }
}
