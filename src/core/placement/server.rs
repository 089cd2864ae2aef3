//! Which server of the home region takes a tenant.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::adopted::{adopted, unasked};
use super::held::Held;
use super::refusal::{Listed, Refusal, ServerError, Unfit, joined};
use super::{PolicyView, RegionView};
use crate::names::{Jurisdiction, RegionName, ServerId};

/// How a tenant shares its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// With others.
    Shared,
    /// With nobody: the server holds one tenant.
    Dedicated,
}

impl Isolation {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "Shared",
            Self::Dedicated => "Dedicated",
        }
    }
}

/// What a database is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// What the application knows of all tenants.
    Control,
    /// The data of one tenant.
    Tenant,
}

impl Plane {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "Control",
            Self::Tenant => "Tenant",
        }
    }
}

/// What a placement needs to know of a database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// Its name.
    pub name: String,
    /// The plans that it takes; every one when empty.
    pub plans: BTreeSet<String>,
    /// Whether it holds one tenant or many.
    pub isolation: Isolation,
    /// `maxTenants`; no limit of its own when absent.
    pub max_tenants: Option<u32>,
    /// The planes that it takes.
    pub planes: BTreeSet<Plane>,
    /// The major version that it was last seen to run.
    pub major_version: Option<u32>,
    /// The extensions that its tenants may ask for.
    pub extensions: BTreeSet<String>,
    /// Whether it has read replicas, which stand in its own region.
    pub replicated: bool,
}

impl ServerView {
    /// A server that takes every tenant.
    pub fn open(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            plans: BTreeSet::new(),
            isolation: Isolation::Shared,
            max_tenants: None,
            planes: BTreeSet::from([Plane::Control, Plane::Tenant]),
            major_version: None,
            extensions: BTreeSet::new(),
            replicated: false,
        }
    }

    /// Most tenants that it holds; no limit when absent.
    pub fn limit(&self) -> Option<u32> {
        match self.isolation {
            Isolation::Shared => self.max_tenants,
            Isolation::Dedicated => Some(self.max_tenants.map_or(1, |most| most.min(1))),
        }
    }
}

/// What a placement asks of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its plan, if it has one.
    pub plan: Option<String>,
    /// Whether it shares.
    pub isolation: Isolation,
    /// What its database is for.
    pub plane: Plane,
    /// The oldest major version that it takes.
    pub minimum_version: Option<u32>,
    /// The extensions that its database must have.
    pub extensions: BTreeSet<String>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            plan: None,
            isolation: Isolation::Shared,
            plane: Plane::Tenant,
            minimum_version: None,
            extensions: BTreeSet::new(),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plan {
            Some(plan) => write!(f, "plan {plan}")?,
            None => f.write_str("no plan")?,
        }
        write!(f, ", {}", self.isolation.as_str())?;
        if self.plane == Plane::Control {
            f.write_str(", plane Control")?;
        }
        if let Some(version) = self.minimum_version {
            write!(f, ", PostgreSQL {version} or newer")?;
        }
        if !self.extensions.is_empty() {
            write!(f, ", extensions {}", joined(&self.extensions))?;
        }
        Ok(())
    }
}

/// Whether the server is one for tenants like this, apart from how full it is.
pub fn fits(server: &ServerView, wish: &Wish) -> Result<(), Unfit> {
    if !server.planes.contains(&wish.plane) {
        return Err(Unfit::Plane(wish.plane));
    }
    if server.isolation != wish.isolation {
        return Err(Unfit::Isolation(server.isolation));
    }
    let named = |plan: &String| server.plans.contains(plan);
    if !server.plans.is_empty() && !wish.plan.as_ref().is_some_and(named) {
        return Err(Unfit::Plan(server.plans.clone()));
    }
    let unlisted: BTreeSet<String> = &wish.extensions - &server.extensions;
    if !unlisted.is_empty() {
        return Err(Unfit::Extensions(unlisted));
    }
    match (wish.minimum_version, server.major_version) {
        (Some(_), None) => Err(Unfit::VersionUnknown),
        (Some(wanted), Some(found)) if found < wanted => Err(Unfit::TooOld(found)),
        (None, _) | (Some(_), Some(_)) => Ok(()),
    }
}

/// Who asks for a server, and what is known of those who hold one.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The region whose servers are asked.
    pub region: &'a RegionName,
    /// The server that holds the tenant already.
    pub recorded: Option<&'a str>,
    /// The tenant's law.
    pub allowed: &'a BTreeSet<Jurisdiction>,
    /// What it asks for.
    pub wish: &'a Wish,
    /// Who holds the region's servers, without the tenant itself.
    pub held: &'a Held,
}

/// The server that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub server: String,
    /// Why this one, in words. Empty for a server that was recorded.
    pub why: String,
}

/// The server of the region that takes the tenant, and the recorded one for ever.
///
/// Of those that the law admits and that have room, one that names the tenant's plan comes before
/// one that takes every plan; then the one of which the smaller share of `maxTenants` is taken,
/// where a server without a limit counts as empty; then the one that the region lists first.
///
/// A recorded server is kept even when it does not fit any more, or when a policy has since given
/// it a standby outside the law: the tenant's data cannot be moved by naming another server.
/// [`fits`] and [`super::copies`] then say so.
pub fn choose_server(
    asked: &Asked<'_>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<Choice, ServerError> {
    let region = regions
        .get(asked.region)
        .ok_or_else(|| ServerError::NotFound(String::new()))?;
    if let Some(server) = asked.recorded {
        return if region.server(server).is_some() {
            Ok(recorded(server))
        } else {
            Err(ServerError::NotFound(server.to_owned()))
        };
    }
    if !asked.allowed.contains(&region.jurisdiction) {
        return Err(ServerError::HomeNotAllowed(region.jurisdiction.clone()));
    }
    // A placement whose status was lost finds what was made for it.
    if let Some(server) = asked.held.own().and_then(|name| region.server(name)) {
        return Ok(recorded(&server.name));
    }
    if let Some(choice) = adopted(asked, region, regions, policies)? {
        return Ok(choice);
    }
    let mut best: Option<&ServerView> = None;
    let mut refused = Vec::new();
    for server in &region.servers {
        match admits(server, asked, regions, policies) {
            Ok(()) => {
                let first = best.is_none_or(|best| rank(server, best, asked) == Ordering::Less);
                best = if first { Some(server) } else { best };
            }
            Err(refusal) => refused.push((server.name.clone(), refusal)),
        }
    }
    match best {
        Some(server) => Ok(Choice {
            server: server.name.clone(),
            why: why(server, region, asked, &refused) + &unasked(asked, region, policies),
        }),
        None => Err(ServerError::of(asked.wish, refused)),
    }
}

fn recorded(server: &str) -> Choice {
    Choice {
        server: server.to_owned(),
        why: String::new(),
    }
}

/// Which of two servers comes first. Equal ones stay in the order of the region's list.
fn rank(one: &ServerView, other: &ServerView, asked: &Asked<'_>) -> Ordering {
    // As taken / limit, multiplied out. Without a limit, nothing is taken.
    let share = |server: &ServerView| match server.limit() {
        Some(limit) => (u64::from(asked.held.count(&server.name)), u64::from(limit)),
        None => (0, 1),
    };
    let ((taken, limit), (other_taken, other_limit)) = (share(one), share(other));
    let any_plan = |server: &ServerView| server.plans.is_empty();
    any_plan(one)
        .cmp(&any_plan(other))
        .then((taken * other_limit).cmp(&(other_taken * limit)))
}

fn why(
    server: &ServerView,
    region: &RegionView,
    asked: &Asked<'_>,
    refused: &[(String, Refusal)],
) -> String {
    let wish = asked.wish;
    let Some(limit) = server.limit() else {
        return format!("{} takes tenants with {wish}, without a limit", server.name);
    };
    let taken = asked.held.count(&server.name);
    let fit = region.servers.len() - refused.len();
    let rivals = if fit > 1 {
        format!(", the smallest share of {fit} servers that have room")
    } else {
        String::new()
    };
    let others = if refused.is_empty() {
        String::new()
    } else {
        format!("; not taken: {}", Listed(refused))
    };
    format!(
        "{} takes tenants with {wish}; {taken} of its {limit} places were taken{rivals}{others}",
        server.name
    )
}

/// Whether the server takes the tenant: first what it is for, then who copies it, then its room.
fn admits(
    server: &ServerView,
    asked: &Asked<'_>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<(), Refusal> {
    fits(server, asked.wish).map_err(Refusal::Unfit)?;
    let id = ServerId {
        region: asked.region.clone(),
        server: server.name.clone(),
    };
    covered(&id, asked.allowed, regions, policies).map_err(Refusal::Barred)?;
    let Some(limit) = server.limit() else {
        return Ok(());
    };
    if !asked.held.is_counted(&server.name) {
        return Err(Refusal::NotCounted);
    }
    let taken = asked.held.count(&server.name);
    if taken < limit {
        return Ok(());
    }
    let left = asked.held.left(&server.name);
    Err(Refusal::Full { taken, limit, left })
}

pub(super) fn covered(
    server: &ServerId,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<(), ServerError> {
    if let Some(policy) = policies
        .iter()
        .find(|policy| policy.standbys.contains(server))
    {
        let policy = policy.name.clone();
        return Err(ServerError::IsStandby {
            server: server.clone(),
            policy,
        });
    }
    let policy = policy_of(server, policies)?;
    let standbys = policy.into_iter().flat_map(|policy| &policy.standbys);
    for copy in std::iter::once(server).chain(standbys) {
        super::copies::backed_up(copy, allowed, regions)?;
    }
    let outside = |standby: &&ServerId| {
        regions
            .get(&standby.region)
            .is_none_or(|region| !allowed.contains(&region.jurisdiction))
    };
    if let Some((policy, standby)) =
        policy.and_then(|policy| Some((policy, policy.standbys.iter().find(outside)?)))
    {
        return Err(ServerError::WouldLeaveJurisdiction {
            server: server.clone(),
            policy: policy.name.clone(),
            standby: standby.clone(),
        });
    }
    Ok(())
}

/// Whether a policy makes the server a standby, which holds copies alone.
pub fn is_standby(server: &ServerId, policies: &[PolicyView]) -> bool {
    policies
        .iter()
        .any(|policy| policy.standbys.contains(server))
}

/// The one policy whose primary is `server`.
pub fn policy_of<'a>(
    server: &ServerId,
    policies: &'a [PolicyView],
) -> Result<Option<&'a PolicyView>, ServerError> {
    let found: Vec<&PolicyView> = policies
        .iter()
        .filter(|policy| policy.primary == *server)
        .collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        [_, ..] => Err(ServerError::InTwoPolicies {
            server: server.clone(),
            policies: found.iter().map(|policy| policy.name.clone()).collect(),
        }),
    }
}

/// The server that answers for the tenants of `server`: the one that its policy moved them to, or
/// itself.
pub fn serving_server(server: &ServerId, policies: &[PolicyView]) -> ServerId {
    let policy = policy_of(server, policies).ok().flatten();
    let moved = policy.and_then(|policy| {
        let active = &policy.machine.as_ref()?.active;
        let mut standbys = policy.standbys.iter();
        standbys.find(|standby| standby.region == *active).cloned()
    });
    moved.unwrap_or_else(|| server.clone())
}
