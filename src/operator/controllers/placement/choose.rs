//! The home of a tenant, the server in it that holds or takes the tenant, and what is said of it.

use std::collections::BTreeMap;

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::convert::{law, policy_view, region_view, wish};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::placement::{
    self, Asked, Choice, Held, Holder, HomeError, PolicyView, RegionView, ServerError, Unfit, Wish,
};
use kube::ResourceExt;

use super::observe::{held, recorded};
use super::progress::{Progress, Stop, Until};
use super::room::Room;
use crate::context::Ctx;
use crate::holders::holders;

/// All Regions and policies, as `core` sees them, and who holds a server.
pub(super) struct Map<'a> {
    ctx: &'a Ctx,
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

    /// The home region, and the server in it that holds or takes the tenant.
    pub(super) fn home_server(
        &self,
        tenant: &TenantPlacement,
        room: Option<&Room<'_>>,
        progress: &mut Progress,
    ) -> Result<(&RegionView, ServerId), Stop> {
        let name = home(tenant, &self.regions)?;
        let region = self.regions.get(&name).ok_or_else(|| no_region(&name))?;
        let known = recorded(tenant).map(|(server, _)| server);
        let holds = placement::home_server(&name, known.as_ref(), &self.policies)
            .map_err(|hold| held(&hold))?;
        let wish = wish(tenant);
        let choose = |held: &Held| {
            let allowed = law(tenant, &region.jurisdiction);
            let asked = Asked {
                region: &name,
                recorded: holds.as_deref(),
                allowed: &allowed,
                wish: &wish,
                held,
            };
            placement::choose_server(&asked, &self.regions, &self.policies)
        };
        let chosen = match room.filter(|_| holds.is_none() && has_limits(region)) {
            Some(room) => room.choose(self.ctx, tenant, &name, &self.policies, choose),
            None => choose(&Held::default()),
        };
        let Choice { server, why } = chosen.map_err(|error| unseated(&error, &name, progress))?;
        progress.home = Some(name.clone());
        let server = ServerId {
            region: name,
            server,
        };
        self.suits(tenant, region, &server, &wish, &why, progress);
        Ok((region, server))
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

/// Whether it must be counted who is on the servers.
pub(super) fn has_limits(region: &RegionView) -> bool {
    region.servers.iter().any(|server| server.limit().is_some())
}

pub(super) fn no_region(name: &RegionName) -> Stop {
    let message = format!("Region {name} does not exist; create it");
    Stop::new(Until::Mended, Reason::RegionNotFound, message)
}

/// The home region, by name.
pub(super) fn home(
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
        ServerError::HomeNotAllowed(_) | ServerError::WouldLeaveJurisdiction { .. } => {
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
    };
    let stop = Stop::new(until, reason, message);
    match type_ {
        Some(type_) => progress.deny(type_, stop),
        None => stop,
    }
}
