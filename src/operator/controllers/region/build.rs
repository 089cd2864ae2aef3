//! The status of a Region from what is known of it. Pure.

use domicile_api::conditions::{ConditionType, Conditions, Status, Summary};
use domicile_api::counts::{MAX_PLANS, PlanCount, TenantCounts};
use domicile_api::fit::RegionState;
use domicile_api::reasons::Reason;
use domicile_api::region::{
    DatabaseServer, DatabaseServerStatus, Reachable, RegionSpec, RegionStatus, ServerRole,
};
use domicile_core::facts::Role;
use domicile_core::health::Verdict;
use kube::ResourceExt;

use super::rights::rights;
use super::{orphans, replicas};
use crate::controllers::region::observe::Observation;
use crate::probes::engine::EngineReport;
use crate::probes::reason;
use crate::servers::patroni;

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
    let spec = &seen.region.spec;
    let unseen = seen.samples.is_empty() && !spec.database_servers.is_empty();
    if unseen && !before.conditions.is_empty() {
        return None;
    }
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
    match engines(seen) {
        Some(joint) => {
            let (is, why, text) = joint.condition();
            conditions.set(ConditionType::ProvidersReady, is, why, text);
        }
        None => conditions.remove(ConditionType::ProvidersReady),
    }
    replicas::condition(seen, &mut conditions);
    orphans::condition(&before.orphans, &before.orphaned_secrets, &mut conditions);
    Some(RegionStatus {
        orphans: before.orphans,
        orphaned_secrets: before.orphaned_secrets,
        observed_generation: generation,
        placements: Some(whole_number(seen.placements)),
        tenants: Some(tenants(seen)),
        database_servers: servers,
        conditions: conditions.into_list(),
    })
}

fn tenants(seen: &Observation) -> TenantCounts {
    let of_plan = |(plan, count): (&Option<String>, &usize)| {
        Some(PlanCount {
            plan: plan.clone()?,
            count: whole_number(*count),
        })
    };
    let by_plan = seen.plans.iter().filter_map(of_plan);
    TenantCounts {
        total: whole_number(seen.plans.values().sum()),
        by_plan: by_plan.take(MAX_PLANS).collect(),
    }
}

fn whole_number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
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
        tenants: None,
        copies: Vec::new(),
        backups: Vec::new(),
        closed_to: Vec::new(),
        closed_to_backups: Vec::new(),
    });
    let tenants = seen.held.count(&server.name);
    entry.tenants = Some(i32::try_from(tenants).unwrap_or(i32::MAX));
    let bounds = seen.bounds.get(&server.name).cloned().unwrap_or_default();
    (entry.copies, entry.backups) = (bounds.copies, bounds.backups);
    (entry.closed_to, entry.closed_to_backups) = (bounds.closed_to, bounds.closed_to_backups);
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
pub(super) enum Joint {
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
        let message = match servers.len() {
            0 => "no database server is listed".to_owned(),
            all => format!("{all} of {all} database servers answer"),
        };
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

/// What promotes the servers; nothing where SQL alone does.
fn engines(seen: &Observation) -> Option<Joint> {
    let mut servers = seen.region.spec.database_servers.iter();
    if !servers.any(|server| patroni(server).is_some()) {
        return None;
    }
    let fails = seen.engines.values().find_map(|report| match report {
        EngineReport::Answers => None,
        EngineReport::Fails { reason, message } => Some(Joint::Fails {
            reason: *reason,
            message: message.clone(),
        }),
    });
    Some(fails.unwrap_or_else(|| {
        if seen.engines.is_empty() {
            Joint::Open {
                reason: Reason::NotObserved,
                message: "Patroni was not asked yet".to_owned(),
            }
        } else {
            Joint::Holds {
                reason: Reason::ProviderAnswers,
                message: "Patroni answers and lets the operator in".to_owned(),
            }
        }
    }))
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
    let suspended = seen.region.spec.state == RegionState::Suspended;
    match (reachable, rights) {
        (Joint::Fails { reason, message } | Joint::Open { reason, message }, _)
            if needs_a_person(*reason) =>
        {
            stalled(*reason, message.clone())
        }
        (Joint::Fails { message, .. } | Joint::Open { message, .. }, _) if suspended => {
            purposeful(&seen.region.spec, message)
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
        (Joint::Holds { message, .. }, Joint::Holds { .. } | Joint::Open { .. }) => {
            purposeful(&seen.region.spec, message)
        }
    }
}

/// All is as the region's state wants it.
fn purposeful(spec: &RegionSpec, message: &str) -> Finding {
    let (reason, state) = purpose(spec);
    Finding {
        summary: Summary::Ready,
        reason,
        message: format!("{message}{state}"),
    }
}

/// What the region is for, as its state says: the reason of `Ready`, and what is added to it.
fn purpose(spec: &RegionSpec) -> (Reason, String) {
    match spec.state {
        RegionState::Active => (Reason::Serving, String::new()),
        RegionState::Suspended => {
            let text = "; it takes no tenants, and silence is no outage, until `spec.state` says \
                        otherwise"
                .to_owned();
            (Reason::RegionSuspended, text)
        }
        RegionState::Planned => {
            let text = "; placements wait until `spec.state` is Active".to_owned();
            (Reason::RegionPlanned, text)
        }
        RegionState::MetadataOnly => {
            let other = spec.served_by.as_deref().unwrap_or_default();
            (Reason::MetadataOnly, format!("; {other} holds its tenants"))
        }
        RegionState::Draining => {
            let text = "; it keeps its tenants and takes no new ones".to_owned();
            (Reason::RegionDraining, text)
        }
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
pub(super) mod tests;
