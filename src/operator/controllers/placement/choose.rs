//! The home of a tenant, the server in it that holds or takes the tenant, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::convert::{self, law, policy_view, region_view, wish};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::{Jurisdiction, RegionName, ServerId};
use domicile_core::placement::{
    self, Asked, Choice, Held, Holder, HomeError, PolicyView, RegionState, RegionView,
    ResidenceError, ServerError, Unfit, Wish,
};
use kube::ResourceExt;

use super::observe::{held, recorded};
use super::progress::{Progress, Stop, Until};
use super::room::Room;
use crate::context::Ctx;
use crate::holders::holders;

/// Where a tenant belongs, and where it has its place.
pub(super) struct Residence<'a> {
    /// The home region.
    pub(super) home: RegionName,
    pub(super) view: &'a RegionView,
    /// The tenant's law.
    pub(super) allowed: BTreeSet<Jurisdiction>,
    /// The region whose servers hold it: the home, unless that has none.
    pub(super) region: RegionName,
}

/// Why a tenant has no residence.
pub(super) enum Absence {
    Stop(Stop),
    Closed(ResidenceError),
}

impl From<Stop> for Absence {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<ResidenceError> for Absence {
    fn from(error: ResidenceError) -> Self {
        Self::Closed(error)
    }
}

impl Absence {
    fn stop(self, progress: &mut Progress) -> Stop {
        let error = match self {
            Self::Stop(stop) => return stop,
            Self::Closed(error) => error,
        };
        let (until, reason) = match &error {
            ResidenceError::Closed {
                state: RegionState::Draining,
                ..
            } => (Until::Person, Reason::RegionDraining),
            ResidenceError::Closed {
                state: RegionState::Suspended,
                ..
            } => (Until::Mended, Reason::RegionSuspended),
            ResidenceError::Closed { .. } => (Until::Mended, Reason::RegionPlanned),
            ResidenceError::NotFound { .. } => (Until::Mended, Reason::RegionNotFound),
            ResidenceError::ServerClosed { .. } => (Until::Person, Reason::RegionNotReady),
            ResidenceError::NotAllowed { .. } => {
                let reason = Reason::WouldLeaveJurisdiction;
                let stop = Stop::new(Until::Person, reason, error.to_string());
                return progress.deny(ConditionType::ResidencyCompliant, stop);
            }
        };
        Stop::new(until, reason, error.to_string())
    }
}

/// All Regions and policies, as `core` sees them, and who holds a server.
pub(super) struct Map<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) regions: BTreeMap<RegionName, RegionView>,
    pub(super) policies: Vec<PolicyView>,
}

impl<'a> Map<'a> {
    pub(super) fn read(ctx: &'a Ctx) -> Self {
        let regions = ctx.stores.regions.all();
        let policies = ctx.stores.policies.all();
        Self {
            ctx,
            regions: regions.iter().map(|region| region_view(region)).collect(),
            policies: placement::effective(policies.iter().map(|p| policy_view(p)).collect()),
        }
    }

    /// The home of the tenant, and the region on whose servers it has its place.
    pub(super) fn residence(&self, tenant: &TenantPlacement) -> Result<Residence<'_>, Absence> {
        let home = home(tenant, &self.regions)?;
        let view = self.regions.get(&home).ok_or_else(|| no_region(&home))?;
        let allowed = law(tenant, &view.jurisdiction);
        let recorded = convert::residence(tenant);
        let region = placement::residence(&home, recorded.as_ref(), &allowed, &self.regions)?;
        Ok(Residence {
            home,
            view,
            allowed,
            region,
        })
    }

    /// The home of the tenant, and the server that holds or takes it.
    pub(super) fn place(
        &self,
        tenant: &TenantPlacement,
        room: Option<&Room<'_>>,
        progress: &mut Progress,
    ) -> Result<(Residence<'_>, ServerId), Stop> {
        let found = self.residence(tenant);
        let residence = found.map_err(|absence| absence.stop(progress))?;
        let name = &residence.region;
        let region = self.regions.get(name).ok_or_else(|| no_region(name))?;
        let known = recorded(tenant).map(|(server, _)| server);
        let holds = placement::home_server(name, known.as_ref(), &self.policies)
            .map_err(|hold| held(&hold, progress))?;
        let wish = wish(tenant);
        let choose = |held: &Held| {
            let asked = Asked {
                region: name,
                recorded: holds.as_deref(),
                allowed: &residence.allowed,
                wish: &wish,
                held,
            };
            placement::choose_server(&asked, &self.regions, &self.policies)
        };
        let chosen = match room.filter(|room| holds.is_none() && room.is_needed(region)) {
            Some(room) => room.choose(self.ctx, tenant, (name, region), &self.policies, choose),
            None => choose(&Held::default()),
        };
        let Choice { server, why } = chosen.map_err(|error| unseated(&error, name, progress))?;
        let server = ServerId {
            region: name.clone(),
            server,
        };
        progress.home = Some(residence.home.clone());
        self.suits(tenant, region, &server, &wish, &why, progress);
        effective(&residence, region, progress);
        Ok((residence, server))
    }

    /// Says whether the server is one for the tenant, and why it was chosen.
    fn suits(
        &self,
        tenant: &TenantPlacement,
        region: &RegionView,
        server: &ServerId,
        wish: &Wish,
        why: &str,
        progress: &mut Progress,
    ) {
        let type_ = ConditionType::ServerFits;
        if !why.is_empty() {
            let message = format!("{}/{why}", server.region);
            return progress.found(type_, Status::True, Reason::ServerChosen, message);
        }
        let Some(view) = region.server(&server.server) else {
            return;
        };
        let unsuited = match placement::fits(view, wish) {
            // Nothing is said of what is not known.
            Err(Unfit::VersionUnknown) => return,
            Err(unfit) => Some(unfit.to_string()),
            Ok(()) => self.company(tenant, server, wish),
        };
        if let Some(fact) = unsuited {
            let message = format!(
                "{server} {fact}, and the tenant asks for {wish}; it stays there, for its data is \
                 not moved by a change of words: change `spec` of the placement or of the Region \
                 back"
            );
            return progress.found(type_, Status::False, Reason::ServerUnsuited, message);
        }
        let takes = format!("{server} takes tenants with {wish}");
        let status = tenant.status.as_ref();
        let before = status.and_then(|status| conditions::find(&status.conditions, type_));
        // Why it was chosen stays told as long as it is true.
        let told = before.is_some_and(|before| {
            before.status == Status::True.as_str() && before.message.starts_with(&takes)
        });
        if !told {
            progress.found(type_, Status::True, Reason::ServerSuits, takes);
        }
    }

    /// Who else is on the server of a tenant that asked to be alone.
    fn company(&self, tenant: &TenantPlacement, server: &ServerId, wish: &Wish) -> Option<String> {
        match wish.isolation {
            placement::Isolation::Shared => return None,
            placement::Isolation::Dedicated => {}
        }
        let uid = tenant.uid().unwrap_or_default();
        let all: Vec<Holder> = holders(self.ctx);
        let held = placement::held(&server.region, &uid, &all, &self.policies);
        match held.count(&server.server) {
            0 => None,
            others => Some(format!("holds {others} other tenants")),
        }
    }
}

/// Says whether the home's own servers hold the tenant.
fn effective(residence: &Residence<'_>, region: &RegionView, progress: &mut Progress) {
    let Residence {
        home,
        view,
        allowed: _,
        region: name,
    } = residence;
    let type_ = ConditionType::ResidencyEffective;
    if name == home {
        let message = format!("the servers of Region {home} itself hold the tenant");
        return progress.found(type_, Status::True, Reason::HeldAtHome, message);
    }
    progress.served_by = Some(name.clone());
    let law = &region.jurisdiction;
    let message = match view.state {
        RegionState::MetadataOnly => format!(
            "Region {home} is MetadataOnly: the servers of {name}, in {law}, hold the tenant"
        ),
        RegionState::Active
        | RegionState::Planned
        | RegionState::Draining
        | RegionState::Suspended => format!(
            "Region {home} is {} now, and the servers of {name}, in {law}, still hold the tenant: \
             a change of `spec.state` moves no data",
            view.state.as_str()
        ),
    };
    progress.found(type_, Status::False, Reason::MetadataOnly, message);
}

/// Whether it must be counted who is on the servers.
pub(super) fn has_limits(region: &RegionView) -> bool {
    region.servers.iter().any(|server| server.limit().is_some())
}

pub(super) fn no_region(name: &RegionName) -> Stop {
    let message = format!("Region {name} does not exist; create it");
    Stop::new(Until::Mended, Reason::RegionNotFound, message)
}

/// The home region, by name.
fn home(
    tenant: &TenantPlacement,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Result<RegionName, Stop> {
    let recorded = tenant
        .status
        .as_ref()
        .and_then(|status| status.home_region.as_deref());
    let (recorded, spec) = (
        recorded.map(RegionName::from),
        tenant.spec.region.as_deref(),
    );
    let spec = spec.map(RegionName::from);
    placement::home(recorded.as_ref(), spec.as_ref(), regions).map_err(|error| {
        let reason = match &error {
            HomeError::NoDefault => Reason::NoDefaultRegion,
            HomeError::DuplicateDefault(_) => Reason::DuplicateDefault,
        };
        Stop::new(Until::Person, reason, error.to_string())
    })
}

/// What it means that no server is there for the tenant.
pub(super) fn unseated(error: &ServerError, home: &RegionName, progress: &mut Progress) -> Stop {
    let message = format!("Region {home}: {error}");
    let (type_, until, reason) = match error {
        ServerError::NotFound(_) => (None, Until::Mended, Reason::ServerNotFound),
        ServerError::IsStandby { .. } => (None, Until::Person, Reason::RegionNotReady),
        ServerError::InTwoPolicies { .. } => (None, Until::Person, Reason::ServerInTwoPolicies),
        ServerError::HomeNotAllowed(_)
        | ServerError::WouldLeaveJurisdiction { .. }
        | ServerError::BackupOutside { .. } => {
            let type_ = Some(ConditionType::ResidencyCompliant);
            (type_, Until::Person, Reason::WouldLeaveJurisdiction)
        }
        ServerError::Full { .. } => {
            let type_ = Some(ConditionType::ServerFits);
            (type_, Until::Person, Reason::RegionFull)
        }
        ServerError::NoneFits { .. } => {
            let type_ = Some(ConditionType::ServerFits);
            (type_, Until::Person, Reason::NoServerForPlan)
        }
        ServerError::NotKnown { .. } => {
            let type_ = Some(ConditionType::ServerFits);
            (type_, Until::Mended, Reason::RegionNotReady)
        }
        ServerError::NamedOnSeveral(_) => {
            let type_ = Some(ConditionType::DatabaseReady);
            (type_, Until::Person, Reason::AdoptionWaits)
        }
    };
    let stop = Stop::new(until, reason, message);
    match type_ {
        Some(type_) => progress.deny(type_, stop),
        None => stop,
    }
}
