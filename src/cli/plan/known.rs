//! From objects to what `core` asks of them. What is not known is assumed, and said.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::conditions::{ConditionType, find};
use domicile_api::convert::{backups, major, policy_view, region_view};
use domicile_api::fit::RegionState;
use domicile_api::policy_status::{LeaseState, StreamState};
use domicile_api::region::{DatabaseServerStatus, Reachable, ServerRole};
use domicile_api::{FailoverPolicy, FailoverPolicyStatus, Region, TenantPlacement};
use domicile_core::facts::{Epoch, Role};
use domicile_core::failover::plan::{Known, Policy};
use domicile_core::failover::{Claim, Promotion, Settings, State, Stored, Tenant};
use domicile_core::health::Verdict;
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{self, RegionView};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::json::name;
use crate::kinds::Kind;
use crate::plan::seats::{Seat, seats};
use crate::world::World;

/// All that a plan is made from.
pub(super) struct Sites {
    /// Regions as placement sees them.
    pub(super) regions: BTreeMap<RegionName, RegionView>,
    /// Whether the regions answer.
    pub(super) verdicts: BTreeMap<RegionName, Verdict>,
    /// Policies with their servers and tenants.
    pub(super) policies: Vec<Policy>,
    /// Every placement.
    pub(super) seats: Vec<Seat>,
    /// What was not known and how it was taken, by policy.
    pub(super) assumed: BTreeMap<String, Vec<String>>,
    /// What could not be understood.
    pub(super) unread: Vec<String>,
}

impl Sites {
    /// Reads the objects. Where no status tells, the first standby of each policy is taken as
    /// `synchronous`.
    pub(super) fn of(world: &World, synchronous: bool, now: Timestamp) -> Self {
        let mut unread = world.unread.clone();
        let regions: Vec<Region> = typed(Kind::Region, &world.regions, &mut unread);
        let policies: Vec<FailoverPolicy> =
            typed(Kind::FailoverPolicy, &world.policies, &mut unread);
        let placements: Vec<TenantPlacement> =
            typed(Kind::TenantPlacement, &world.placements, &mut unread);
        let map: BTreeMap<_, _> = regions.iter().map(region_view).collect();
        let views = placement::effective(policies.iter().map(policy_view).collect());
        let seats = seats(&placements, &map, &views);
        let mut sites = Self {
            verdicts: regions.iter().map(verdict).collect(),
            regions: map,
            policies: Vec::new(),
            seats,
            assumed: BTreeMap::new(),
            unread,
        };
        for policy in &policies {
            let conflict = conflict(policy, &policies, &sites.regions);
            sites.add((policy, conflict), &regions, synchronous, now);
        }
        sites
    }

    fn add(
        &mut self,
        (policy, conflict): (&FailoverPolicy, Option<String>),
        regions: &[Region],
        synchronous: bool,
        now: Timestamp,
    ) {
        let status = policy.status.as_ref();
        let stored = status.map_or(Ok(None), FailoverPolicyStatus::stored);
        let (settings, stored) = match Settings::try_from(policy).and_then(|s| Ok((s, stored?))) {
            Ok(understood) => understood,
            Err(problem) => {
                let fact = format!("FailoverPolicy {}: {problem}", policy.name_any());
                self.unread.push(fact);
                return;
            }
        };
        if stored.is_none() && status.is_some() {
            let name = &settings.name;
            let fact = format!(
                "FailoverPolicy {name} has not begun, so nothing can be foretold of it; see: \
                 kubectl domicile explain policy/{name}"
            );
            self.unread.push(fact);
            return;
        }
        let mut assumed = Vec::new();
        let stored = stored.unwrap_or_else(|| {
            let how = if synchronous {
                "synchronously"
            } else {
                "asynchronously"
            };
            let name = &settings.name;
            assumed.push(format!(
                "FailoverPolicy {name} has no status: taken as steady at home, replicating {how}"
            ));
            at_home(&settings, synchronous, now)
        });
        let mut servers = BTreeMap::new();
        for listed in settings.servers() {
            let known = known(policy, &listed.server, &stored, regions, &mut assumed);
            servers.insert(listed.server.region, known);
        }
        let mine: Vec<&ServerId> = servers.values().map(|known| &known.server).collect();
        let here = |seat: &&Seat| seat.server.as_ref().is_ok_and(|id| mine.contains(&id));
        let tenants = self.seats.iter().filter(here).map(|seat| Tenant {
            name: seat.tenant(),
            allowed: seat.allowed.clone(),
            repointed: stored.epoch,
            stalled: false,
        });
        let tenants = tenants.collect();
        self.assumed.insert(settings.name.clone(), assumed);
        self.policies.push(Policy {
            settings,
            stored,
            conflict,
            servers,
            tenants,
            pledged: pledged(policy),
        });
    }
}

/// The standbys that a living agent's pledge names.
fn pledged(policy: &FailoverPolicy) -> BTreeSet<RegionName> {
    let lease = policy
        .status
        .as_ref()
        .and_then(|status| status.lease.as_ref());
    let standing = lease.filter(|lease| lease.state == LeaseState::Pledged);
    let members = standing.map(|lease| lease.members.iter().map(RegionName::new));
    members.into_iter().flatten().collect()
}

fn known(
    policy: &FailoverPolicy,
    server: &ServerId,
    stored: &Stored,
    regions: &[Region],
    assumed: &mut Vec<String>,
) -> Known {
    let region = regions
        .iter()
        .find(|one| one.name_any() == server.region.as_str());
    let seen = region.and_then(|region| server_status(region, &server.server));
    let is_active = server.region == stored.active;
    let reachable = seen.map_or(Reachable::Unknown, |seen| seen.reachable);
    let untold = seen.is_none_or(|seen| seen.reason.is_none());
    if reachable == Reachable::Unknown && untold {
        assumed.push(format!("{server} was never probed: taken as healthy"));
    }
    let replication = policy.status.as_ref().and_then(|status| {
        let mut all = status.replication.iter();
        all.find(|one| one.region == server.region.as_str())
    });
    let follows = replication
        .map(|one| one.state == StreamState::Streaming && one.loss_bound_seconds.is_some());
    if follows.is_none() && !is_active {
        assumed.push(format!(
            "{server} was never seen to replicate: taken as in step"
        ));
    }
    let number = |wide: i64| u32::try_from(wide).ok();
    Known {
        server: server.clone(),
        jurisdiction: region.map(|region| Jurisdiction::new(&region.spec.jurisdiction)),
        backups: region
            .map(|region| backups_of(region, regions))
            .unwrap_or_default(),
        suspended: region.is_some_and(|region| region.spec.state == RegionState::Suspended),
        // What is unknown for a reason was tried, and did not answer.
        answers: match reachable {
            Reachable::True => true,
            Reachable::False => false,
            Reachable::Unknown => untold,
        },
        follows: follows.unwrap_or(true) && !is_active,
        role: seen.and_then(|seen| seen.role).map(|role| match role {
            ServerRole::Primary => Role::Primary,
            ServerRole::Standby => Role::Standby,
        }),
        system_identifier: seen.and_then(|seen| seen.system_identifier.clone()),
        timeline: seen.and_then(|seen| seen.timeline).and_then(number),
        major_version: seen.and_then(|seen| major(seen.version.as_deref()?)),
        missing_rights: region
            .and_then(|region| lacking(region, server))
            .into_iter()
            .collect(),
    }
}

/// Where the backups of a region's servers lie, and under which law.
fn backups_of(region: &Region, regions: &[Region]) -> BTreeMap<RegionName, Option<Jurisdiction>> {
    let law = |name: &RegionName| {
        let found = regions.iter().find(|one| one.name_any() == name.as_str());
        found.map(|found| Jurisdiction::new(&found.spec.jurisdiction))
    };
    let names = backups(region).into_iter();
    names.map(|name| (name.clone(), law(&name))).collect()
}

fn typed<K: DeserializeOwned>(kind: Kind, objects: &[Value], unread: &mut Vec<String>) -> Vec<K> {
    let mut read = Vec::new();
    for object in objects {
        match serde_json::from_value(object.clone()) {
            Ok(object) => read.push(object),
            Err(error) => unread.push(format!("{} {}: {error}", kind.name(), name(object))),
        }
    }
    read
}

/// What the Region says of rights that the login on `server` lacks.
fn lacking(region: &Region, server: &ServerId) -> Option<String> {
    let conditions = &region.status.as_ref()?.conditions;
    let rights = find(conditions, ConditionType::AdminPrivilegesSufficient)?;
    let told = rights.status == "False" && rights.message.contains(&format!("{server}:"));
    told.then(|| "rights, by its Region's conditions".to_owned())
}

fn server_status<'a>(region: &'a Region, server: &str) -> Option<&'a DatabaseServerStatus> {
    let mut servers = region.status.as_ref()?.database_servers.iter();
    servers.find(|one| one.name == server)
}

/// A region is down when all its servers are known not to answer.
fn verdict(region: &Region) -> (RegionName, Verdict) {
    let servers = region
        .status
        .as_ref()
        .map_or(&[][..], |s| &s.database_servers);
    let silent = |one: &DatabaseServerStatus| one.reachable == Reachable::False;
    let down = !servers.is_empty() && servers.iter().all(silent);
    let verdict = if down { Verdict::Down } else { Verdict::Up };
    (RegionName::new(region.name_any()), verdict)
}

/// Why the policy cannot be followed: an older one keeps a server that this one names too, or there
/// is no such server.
fn conflict(
    policy: &FailoverPolicy,
    all: &[FailoverPolicy],
    regions: &BTreeMap<RegionName, RegionView>,
) -> Option<String> {
    let age = |one: &FailoverPolicy| {
        let created = one.metadata.creation_timestamp.clone().map(|time| time.0);
        (created, one.name_any())
    };
    let members = |one: &FailoverPolicy| {
        let view = policy_view(one);
        let mut members = view.standbys;
        members.push(view.primary);
        members
    };
    let mine = members(policy);
    let older = all.iter().filter(|other| age(other) < age(policy));
    let mut taken = older.filter_map(|other| {
        let shared = members(other).into_iter().find(|id| mine.contains(id))?;
        Some((shared, other.name_any()))
    });
    let taken = taken.next().map(|(server, other)| {
        format!(
            "{server} is a server of FailoverPolicy {other} already; a server is in one policy only"
        )
    });
    let listed = |id: &&ServerId| {
        let region = regions.get(&id.region);
        region.is_some_and(|region| region.server(&id.server).is_some())
    };
    let missing = mine.iter().find(|id| !listed(id));
    taken.or_else(|| missing.map(|id| format!("there is no server {id}; correct the spec")))
}

fn at_home(settings: &Settings, synchronous: bool, now: Timestamp) -> Stored {
    let servers = settings.servers().into_iter().skip(1);
    let mut standbys = servers.filter(|one| one.promotion != Promotion::MustNot);
    let claim = standbys.next().filter(|_| synchronous).map(|one| Claim {
        name: one.server.region.to_string(),
        standby: one.server.region,
    });
    Stored {
        state: State::Steady,
        since: now,
        epoch: Epoch(0),
        active: settings.home.region.clone(),
        timeline: 0,
        claim,
        restore_synchronous: false,
        journal: None,
        evidence: None,
        cooldown_until: None,
        history: Vec::new(),
        returned: Vec::new(),
    }
}
