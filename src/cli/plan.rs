//! `plan --lose REGION`: who would move where, who would stay down and why, by the operator's own
//! decision, from the cluster or from YAML files.

mod files;
mod known;
mod report;
mod seats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domicile_core::failover::plan::{Fate, Moving, Policy, fate};
use domicile_core::failover::{Guard, GuardName, LossBound};
use domicile_core::health::Verdict;
use domicile_core::names::{Jurisdiction, RegionName};
use jiff::Timestamp;

use crate::args::PlanArgs;
use crate::error::CliError;
use crate::output::{Format, Outcome};
use crate::report::Health;
use crate::session::Session;
use crate::text as rendered;
use crate::world::{Placements, World};
use known::Sites;
pub use report::{Plan, PolicyPlan, Rto, TenantPlan};
use seats::{Seat, crowded};

/// Foretells. With files, no cluster is asked.
///
/// # Errors
/// An unknown region, files that cannot be read, a cluster that cannot be reached.
pub async fn run(session: &mut Session<'_>, args: &PlanArgs) -> Result<Outcome, CliError> {
    let world = World::read(session, Placements::OfAll).await?;
    answer(&world, args, session.now, session.format)
}

/// The same from files alone.
///
/// # Errors
/// An unknown region, files that cannot be read.
pub fn offline(args: &PlanArgs, now: Timestamp, format: Format) -> Result<Outcome, CliError> {
    answer(&files::read(&args.file)?, args, now, format)
}

fn answer(
    world: &World,
    args: &PlanArgs,
    now: Timestamp,
    format: Format,
) -> Result<Outcome, CliError> {
    let plan = plan(world, &args.lose, args.synchronous, now)?;
    let exit = plan.health.exit();
    Outcome::of(&plan, format, rendered::plan, exit)
}

/// What would happen to all. Pure. Where no status tells, each policy's first standby is taken as
/// `synchronous`.
///
/// # Errors
/// There is no such region.
pub fn plan(
    world: &World,
    lose: &str,
    synchronous: bool,
    now: Timestamp,
) -> Result<Plan, CliError> {
    let sites = Sites::of(world, synchronous, now);
    let lost = RegionName::from(lose);
    if !sites.regions.contains_key(&lost) {
        let known: Vec<_> = sites.regions.keys().map(RegionName::as_str).collect();
        let fact = format!(
            "there is no Region {lose:?}; known are: {}",
            known.join(", ")
        );
        return Err(CliError::Usage(fact));
    }
    let fates: Vec<(&Policy, Fate)> = sites
        .policies
        .iter()
        .map(|policy| (policy, fate(policy, &others(&sites, policy), &lost, now)))
        .filter(|(_, fate)| *fate != Fate::Untouched)
        .collect();
    let tenants: Vec<TenantPlan> = sites
        .seats
        .iter()
        .filter_map(|seat| tenant(seat, &lost, &fates))
        .collect();
    let policies: Vec<PolicyPlan> = fates
        .iter()
        .map(|(policy, fate)| policy_plan(policy, fate, &sites))
        .collect();
    let next = fates
        .iter()
        .filter_map(|(policy, fate)| by_hand(policy, fate))
        .collect();
    let assumed = fates
        .iter()
        .filter_map(|(p, _)| sites.assumed.get(&p.settings.name));
    let assumed = assumed.flatten().cloned().collect();
    let count = |fate: &str| tenants.iter().filter(|tenant| tenant.fate == fate).count();
    let (stay, wait) = (count("StaysDown"), count("WritesWait"));
    let (moves, asks) = (count("Moves"), count("AsksThenMoves"));
    let (bare, unknown) = (count("Unprotected"), count("Unknown"));
    let untouched = sites.seats.len() - tenants.len();
    let well = stay + wait + unknown + asks == 0 && sites.unread.is_empty();
    Ok(Plan {
        lost: lose.to_owned(),
        health: if well {
            Health::Healthy
        } else {
            Health::Degraded
        },
        summary: format!(
            "{moves} move, {asks} once approved, {stay} stay down, {wait} cannot write, {bare} \
             lose their standby, {unknown} unknown, {untouched} untouched"
        ),
        policies,
        tenants,
        assumed,
        unread: sites.unread,
        next,
    })
}

/// The regions that are none of the policy's.
fn others(sites: &Sites, policy: &Policy) -> BTreeMap<RegionName, Verdict> {
    let foreign = |(region, _): &(&RegionName, &Verdict)| !policy.servers.contains_key(*region);
    let all = sites.verdicts.iter().filter(foreign);
    all.map(|(region, verdict)| (region.clone(), *verdict))
        .collect()
}

fn policy_plan(policy: &Policy, fate: &Fate, sites: &Sites) -> PolicyPlan {
    let seats = &sites.seats;
    let served_in = |region: &RegionName| {
        let here = |seat: &&Seat| seat.server.as_ref().is_ok_and(|id| id.region == *region);
        seats.iter().filter(here).count()
    };
    let mut row = PolicyPlan {
        policy: policy.settings.name.clone(),
        fate: "Busy",
        to: String::new(),
        tenants: policy.tenants.len(),
        already_there: 0,
        proof: String::new(),
        crash_loss: String::new(),
        partition_loss: String::new(),
        rto: None,
        why: Vec::new(),
    };
    match fate {
        Fate::Untouched => {}
        Fate::Busy(state) => row.why.push(format!(
            "its state is {state}: see kubectl domicile explain policy/{}",
            policy.settings.name
        )),
        Fate::StandbyLost { writes_wait } => {
            row.fate = "StandbyLost";
            row.to = policy.stored.active.to_string();
            row.already_there = served_in(&policy.stored.active);
            row.why.push(if *writes_wait {
                WRITES_WAIT.to_owned()
            } else {
                UNPROTECTED.to_owned()
            });
        }
        Fate::Stays {
            candidate,
            objections,
        } => {
            row.fate = "StaysDown";
            row.to = candidate
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            row.already_there = candidate.as_ref().map_or(0, served_in);
            row.why = objections.iter().map(objection).collect();
        }
        Fate::Moves(moving) => {
            moves(&mut row, moving, served_in(&moving.to));
            let to = policy.servers.get(&moving.to).map(|known| &known.server);
            let crowd = to.and_then(|to| crowded(to, row.tenants, &sites.regions));
            row.why.extend(crowd);
        }
    }
    row
}

fn moves(row: &mut PolicyPlan, moving: &Moving, already_there: usize) {
    let budget = moving.budget;
    row.fate = if moving.asks {
        "AsksThenMoves"
    } else {
        "Moves"
    };
    row.to = moving.to.to_string();
    row.already_there = already_there;
    row.proof = moving.proof.to_string();
    row.crash_loss = seconds(moving.crash_loss);
    row.partition_loss = seconds(moving.partition_loss);
    if moving.tight {
        row.why.push(TIGHT.to_owned());
    }
    row.rto = Some(Rto {
        total: budget.total(),
        detect: budget.detect,
        confirm: budget.confirm,
        fence: budget.fence,
        catch_up: budget.catch_up,
        promote: budget.promote,
        reroute: budget.reroute,
    });
}

const WRITES_WAIT: &str = "each commit waits for this synchronous standby until it is back or a \
                           person relaxes synchronous_standby_names";
const UNPROTECTED: &str = "it serves on without this standby";

const TIGHT: &str = "it gives up if catching up takes so long that the loss bound passes \
                     `spec.objectives.maxDataLossSeconds`";

fn seconds(loss: LossBound) -> String {
    match loss {
        LossBound::Seconds(seconds) => seconds.to_string(),
        LossBound::Unknown => "unknown".to_owned(),
    }
}

fn objection(guard: &Guard) -> String {
    format!("{}: {}", guard.name.as_str(), guard.message)
}

/// The fate of one tenant; none when it is not concerned.
fn tenant(seat: &Seat, lost: &RegionName, fates: &[(&Policy, Fate)]) -> Option<TenantPlan> {
    let row = |from: String, fate, to: String, why: String| TenantPlan {
        namespace: seat.namespace.clone(),
        placement: seat.name.clone(),
        from,
        fate,
        to,
        why,
    };
    let server = match &seat.server {
        Ok(server) => server,
        Err(why) => return Some(row(String::new(), "Unknown", String::new(), why.clone())),
    };
    let from = server.to_string();
    // One in conflict does nothing, and the server is another one's.
    let covers = |policy: &Policy| {
        policy.conflict.is_none() && policy.servers.values().any(|known| known.server == *server)
    };
    let Some((policy, fate)) = fates.iter().find(|(policy, _)| covers(policy)) else {
        return (server.region == *lost).then(|| {
            let why = format!("no FailoverPolicy covers {server}");
            row(from, "StaysDown", String::new(), why)
        });
    };
    let name = &policy.settings.name;
    Some(match fate {
        Fate::Untouched => return None,
        Fate::Moves(moving) => {
            let to = moving.to.to_string();
            if moving.asks {
                let why = format!("FailoverPolicy {name} asks a person first");
                row(from, "AsksThenMoves", to, why)
            } else {
                row(
                    from,
                    "Moves",
                    to,
                    format!("FailoverPolicy {name}: {}", moving.proof),
                )
            }
        }
        Fate::Stays {
            candidate,
            objections,
        } => {
            let why = stays(seat, policy, candidate.as_ref(), objections);
            row(from, "StaysDown", String::new(), why)
        }
        Fate::StandbyLost { .. } if server.region == *lost => {
            let why = format!("it was not pointed at {} yet", policy.stored.active);
            row(from, "StaysDown", String::new(), why)
        }
        Fate::StandbyLost { writes_wait: true } => {
            row(from, "WritesWait", String::new(), WRITES_WAIT.to_owned())
        }
        Fate::StandbyLost { writes_wait: false } => {
            row(from, "Unprotected", String::new(), UNPROTECTED.to_owned())
        }
        Fate::Busy(state) => {
            let why = format!("FailoverPolicy {name} is in state {state}");
            row(from, "Unknown", String::new(), why)
        }
    })
}

/// Its own law comes first; then what holds back the server that it shares.
fn stays(
    seat: &Seat,
    policy: &Policy,
    candidate: Option<&RegionName>,
    objections: &[Guard],
) -> String {
    let law = candidate.and_then(|region| policy.servers.get(region)?.jurisdiction.as_ref());
    if let (Some(region), Some(law)) = (candidate, law)
        && !seat.allowed.contains(law)
    {
        let allowed: Vec<_> = seat.allowed.iter().map(ToString::to_string).collect();
        return format!(
            "by law: {region} is in {law} and its data may be in {} only; nothing overrides this",
            allowed.join(", ")
        );
    }
    let backups = candidate.and_then(|region| Some((region, &policy.servers.get(region)?.backups)));
    let backup = backups.and_then(|(region, backups)| {
        let outside =
            |law: &Option<Jurisdiction>| law.as_ref().is_none_or(|law| !seat.allowed.contains(law));
        let found = backups.iter().find(|(_, law)| outside(law));
        found.map(|(backup, _)| (region, backup))
    });
    if let Some((region, backup)) = backup {
        return format!(
            "by law: backups of {region} lie in {backup}, where its data may not be; nothing \
             overrides this"
        );
    }
    let told: Vec<_> = objections.iter().map(objection).collect();
    if told.is_empty() {
        format!("FailoverPolicy {} has no standby", policy.settings.name)
    } else {
        told.join("; ")
    }
}

/// The approval that it waits for, or the command by which a person could move a policy's tenants
/// all the same, when nothing but what a person may decide forbids it.
fn by_hand(policy: &Policy, fate: &Fate) -> Option<String> {
    let (candidate, objections) = match fate {
        Fate::Stays {
            candidate,
            objections,
        } => (candidate, objections),
        Fate::Moves(Moving { asks: true, .. }) => {
            let (name, epoch) = (&policy.settings.name, policy.stored.epoch.next());
            return Some(format!("kubectl domicile approve {name}-{epoch}"));
        }
        Fate::Moves(_) | Fate::Untouched | Fate::StandbyLost { .. } | Fate::Busy(_) => return None,
    };
    let mut accept = Vec::new();
    for guard in objections {
        match guard.name {
            // A person asks, so these are not asked.
            GuardName::Armed | GuardName::SecondVantage | GuardName::NotIsolated => {}
            GuardName::LossBound => accept.push("DataLoss"),
            GuardName::FencingProof => accept.push("UnprovenFencing"),
            GuardName::Cooldown => accept.push("Cooldown"),
            GuardName::StandbyEligible | GuardName::Jurisdiction | GuardName::Exclusive => {
                return None;
            }
        }
    }
    let (name, to) = (&policy.settings.name, candidate.as_ref()?);
    let accept = if accept.is_empty() {
        String::new()
    } else {
        format!(" --accept {}", accept.join(","))
    };
    Some(format!(
        "kubectl domicile failover {name} --to {to}{accept}"
    ))
}
