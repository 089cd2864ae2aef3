//! What would happen if a region were lost: the answer of [`decide`] on a world that is imagined.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ages::Moments;
use super::guards::{coming_proof, lag_limit_seconds, worst_loss};
use super::observation::{Answer, Guard, Look, Observation, ServerView, Tenant, Watched};
use super::state::{Evidence, LossBound, Mode, Proof, Settings, State, Stored};
use super::{decide, predicted_loss};
use crate::facts::{Authority, Engine, Facts, Heartbeat, Lsn, Role, Synchrony};
use crate::health::Verdict;
use crate::lease::{Pledge, WriteLease};
use crate::names::{Jurisdiction, RegionName, ServerId};
use crate::time::{Mono, Now};

mod budget;

pub use budget::Budget;

/// Who decides in the imagined world.
const PLANNER: &str = "plan";
/// The imagined moment on the monotonic clock: later than any heartbeat that is imagined.
const MOMENT: Mono = Mono(1 << 50);

/// What is known of one of a policy's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The server.
    pub server: ServerId,
    /// Its region's jurisdiction; absent when there is no such region.
    pub jurisdiction: Option<Jurisdiction>,
    /// The regions in which its backups lie, and their jurisdictions.
    pub backups: BTreeMap<RegionName, Option<Jurisdiction>>,
    /// Its region is suspended.
    pub suspended: bool,
    /// Whether it answers; what is not known is taken for yes, and the caller says so.
    pub answers: bool,
    /// It follows the active server, and its heartbeats keep up.
    pub follows: bool,
    /// Primary or standby, as last seen; absent when it was never seen.
    pub role: Option<Role>,
    /// Its system identifier, as last seen.
    pub system_identifier: Option<String>,
    /// Its timeline, as last seen.
    pub timeline: Option<u32>,
    /// Its major version, as last seen.
    pub major_version: Option<u32>,
    /// Rights that the login lacks, as last seen.
    pub missing_rights: Vec<String>,
}

/// A policy with all that its fate depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The policy.
    pub settings: Settings,
    /// The machine as stored.
    pub stored: Stored,
    /// Why it cannot be followed at all.
    pub conflict: Option<String>,
    /// Its servers by region.
    pub servers: BTreeMap<RegionName, Known>,
    /// The tenants on its servers.
    pub tenants: Vec<Tenant>,
    /// The standbys that may be promoted on the end of the write lease: none unless a living agent
    /// has pledged.
    pub pledged: BTreeSet<RegionName>,
}

/// A move that would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Where to.
    pub to: RegionName,
    /// A person must approve first, which the budget does not count.
    pub asks: bool,
    /// The proof that it would rest on.
    pub proof: Proof,
    /// Loss when the active server dies at once: the most that a standby which keeps up may lack.
    pub crash_loss: LossBound,
    /// Loss when the active server is cut off and goes on writing until the promotion, when that
    /// takes its budget.
    pub partition_loss: LossBound,
    /// The machine bounds the loss again before it promotes, and gives up when catching up took so
    /// long that the bound has passed the objective.
    pub tight: bool,
    /// How long it may take.
    pub budget: Budget,
}

/// What happens to a policy's tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// None of its servers is lost.
    Untouched,
    /// A standby is lost; the active server serves on.
    StandbyLost {
        /// Each commit waits for that standby, as PostgreSQL has it, until it is back or a person
        /// relaxes it.
        writes_wait: bool,
    },
    /// The tenants move.
    Moves(Moving),
    /// The tenants stay down.
    Stays {
        /// The standby that was thought of.
        candidate: Option<RegionName>,
        /// What forbids the move.
        objections: Vec<Guard>,
    },
    /// Nothing can be foretold: a move is under way, or a person must look first.
    Busy(State),
}

/// What becomes of `policy` when `lost` is lost at `now`. `others` are the regions that are none
/// of the policy's, and whether they answer.
pub fn fate(
    policy: &Policy,
    others: &BTreeMap<RegionName, Verdict>,
    lost: &RegionName,
    now: Timestamp,
) -> Fate {
    if !policy.servers.contains_key(lost) {
        return Fate::Untouched;
    }
    if policy.stored.state != State::Steady {
        return Fate::Busy(policy.stored.state);
    }
    if policy.stored.active != *lost {
        let claim = policy.stored.claim.as_ref();
        let writes_wait = claim.is_some_and(|claim| claim.standby == *lost);
        return Fate::StandbyLost { writes_wait };
    }
    let seen = imagine(policy, others, lost, now);
    let decision = decide(&seen);
    let begun = match &decision.answer {
        Answer::Move(next) => next
            .journal
            .as_ref()
            .map(|journal| (journal.to.clone(), next.state)),
        Answer::Work(_) | Answer::Wait(_) => None,
    };
    let Some((to, state)) = begun else {
        let objections = decision.guards.into_iter().filter(|g| !g.ok).collect();
        return Fate::Stays {
            candidate: decision.candidate,
            objections,
        };
    };
    let proof = coming_proof(&seen, &to);
    let budget = Budget::of(&policy.settings, proof);
    let (crash_loss, partition_loss) = match worst_loss(&seen, &to, proof) {
        whole @ (LossBound::Seconds(0) | LossBound::Unknown) => (whole, whole),
        // The agent has fenced the old primary by then, however long the promotion takes.
        LossBound::Seconds(fenced) if proof == Proof::LeaseExpired => {
            let lag = lag_limit_seconds(&policy.settings).min(fenced);
            (LossBound::Seconds(lag), LossBound::Seconds(fenced))
        }
        LossBound::Seconds(decided) => {
            let promoted = [budget.confirm, budget.catch_up, budget.promote]
                .into_iter()
                .fold(decided, u32::saturating_add);
            let lag = lag_limit_seconds(&policy.settings).min(promoted);
            (LossBound::Seconds(lag), LossBound::Seconds(promoted))
        }
    };
    Fate::Moves(Moving {
        to,
        asks: state == State::AwaitingApproval || policy.settings.mode == Mode::SemiAutomatic,
        proof,
        crash_loss,
        partition_loss,
        tight: partition_loss > LossBound::Seconds(policy.settings.max_data_loss_seconds),
        budget,
    })
}

/// The world as the machine would see it once the outage of `lost` is established.
fn imagine(
    policy: &Policy,
    others: &BTreeMap<RegionName, Verdict>,
    lost: &RegionName,
    wall: Timestamp,
) -> Observation {
    let now = Now { wall, mono: MOMENT };
    let active = policy.servers.get(lost);
    let mut seen = Observation {
        now,
        leader: PLANNER.to_owned(),
        settings: policy.settings.clone(),
        stored: policy.stored.clone(),
        ages: Moments::default().ages(&policy.stored, now),
        conflict: policy.conflict.clone(),
        servers: BTreeMap::new(),
        others: others
            .iter()
            .filter(|(region, _)| *region != lost)
            .map(|(region, verdict)| (region.clone(), *verdict))
            .collect(),
        tenants: policy.tenants.clone(),
        requests: Vec::new(),
        ended: std::collections::BTreeSet::new(),
        lease: pledged(policy, MOMENT),
        promises: BTreeMap::new(),
        home_in_sync_ms: None,
    };
    seen.servers = imagined(policy, lost, &seen);
    // One that refuses its probes may have been told meanwhile to wait for no standby.
    let claim = policy.stored.claim.as_ref();
    let claim = claim.filter(|_| active.is_some_and(|known| known.answers));
    let synchronous = claim.map(|claim| claim.standby.clone());
    // The lease was renewed until the outage and is over when the machine decides.
    let wait_ms = policy.settings.lease.wait_ms();
    seen.lease = pledged(policy, Mono(MOMENT.0 - wait_ms));
    seen.stored.state = State::Outage;
    seen.ages.outage.known_ms = wait_ms;
    seen.stored.evidence = Some(Evidence {
        agent_lived: true,
        sampled: wall,
        outage_since: before(wall, wait_ms),
        system_identifier: identifier(active),
        timeline: active.and_then(|known| known.timeline).unwrap_or(1),
        major_version: active.and_then(|known| known.major_version).unwrap_or(0),
        position: Lsn(0),
        synchronous,
    });
    seen
}

/// The policy's servers as the machine would see them in that world.
fn imagined(
    policy: &Policy,
    lost: &RegionName,
    seen: &Observation,
) -> BTreeMap<RegionName, ServerView> {
    let active = policy.servers.get(lost);
    let bound = |known: &Known| {
        if known.follows {
            predicted_loss(seen, &known.server.region)
        } else {
            LossBound::Unknown
        }
    };
    let mut servers = BTreeMap::new();
    for (region, known) in &policy.servers {
        let gone = region == lost || !known.answers;
        let view = ServerView {
            server: known.server.clone(),
            jurisdiction: known.jurisdiction.clone(),
            backups: known.backups.clone(),
            suspended: known.suspended,
            verdict: if gone { Verdict::Down } else { Verdict::Up },
            facts: (!gone).then(|| facts(known, active, bound(known), seen)),
            live: !gone,
            engine: Engine::Sql,
            touched: None,
            ends: Vec::new(),
            asked_ms: None,
            resists: false,
            dump: None,
            engine_fails: None,
        };
        servers.insert(region.clone(), view);
    }
    servers
}

fn before(now: Timestamp, milliseconds: u64) -> Timestamp {
    let span = jiff::SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(0));
    now.checked_sub(span).unwrap_or(now)
}

/// The write lease with the pledge that stands, last renewed at `renewed`.
fn pledged(policy: &Policy, renewed: Mono) -> Look<WriteLease> {
    let (stored, settings) = (&policy.stored, &policy.settings);
    if policy.pledged.is_empty() {
        return Look::Absent;
    }
    let members = policy.pledged.clone();
    let pledge = Pledge {
        region: stored.active.clone(),
        epoch: stored.epoch,
        members: members.clone(),
        promises: false,
    };
    let offer = WriteLease::offer(stored.epoch, stored.active.clone(), members, settings.lease);
    Look::There(Watched {
        record: WriteLease {
            pledge: Some(pledge),
            ..offer
        },
        version: String::new(),
        since: renewed,
        renewed,
        witnessed: true,
    })
}

fn identifier(known: Option<&Known>) -> String {
    let known = known.and_then(|known| known.system_identifier.clone());
    known.unwrap_or_default()
}

/// What a server that is not lost would say. What was never seen of it is as the active server has
/// it: the caller says that this is assumed.
fn facts(known: &Known, active: Option<&Known>, loss: LossBound, seen: &Observation) -> Facts {
    let like_active = |of: fn(&Known) -> Option<u32>, otherwise: u32| {
        let known = of(known).or_else(|| active.and_then(of));
        known.unwrap_or(otherwise)
    };
    let beat = match loss {
        LossBound::Seconds(seconds) => Some(Heartbeat {
            sequence: 1,
            leader: PLANNER.to_owned(),
            at: Mono(MOMENT.0 - u64::from(seconds) * 1000),
            epoch: seen.stored.epoch,
        }),
        LossBound::Unknown => None,
    };
    Facts {
        system_identifier: known
            .system_identifier
            .clone()
            .unwrap_or_else(|| identifier(active)),
        major_version: like_active(|known| known.major_version, 0),
        version: String::new(),
        role: known.role.unwrap_or(Role::Standby),
        timeline: like_active(|known| known.timeline, 1),
        position: Lsn(0),
        recovered: None,
        received: None,
        receiver: None,
        senders: Vec::new(),
        synchrony: Synchrony::default(),
        // A standby has replayed the active server's row; an old primary that waits is fenced.
        authority: Some(Authority {
            epoch: seen.stored.epoch,
            writable: known.role != Some(Role::Primary),
        }),
        heartbeat: beat,
        tenant_sessions: 0,
        open_logins: 0,
        missing_rights: known.missing_rights.clone(),
        slow_logins: false,
        sampled: MOMENT,
        round_trip_ms: 0,
    }
}

#[cfg(test)]
mod tests;
