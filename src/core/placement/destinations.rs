//! The clusters of regions that a tenant's Secret goes to, and what is to be done in each.

use std::collections::{BTreeMap, BTreeSet};

use super::copies::{Copy, CopyKind};
use super::{PolicyView, RegionView};
use crate::names::{Jurisdiction, RegionName, ServerId};

/// What a region's own cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterUse {
    /// It has none.
    Absent,
    /// It holds promises, and nothing of tenants.
    Promises,
    /// It gets the Secrets of tenants, too.
    Tenants,
}

/// What there is to be done in one region's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Bring the Secret, and inject it.
    Deliver,
    /// Take back what was brought.
    Withdraw,
    /// Nothing: it is not known whether the tenant is still wanted there.
    Keep,
    /// Nothing: there is no way to it any more, so that what was brought is given up.
    Forget,
}

/// What there is to be done for one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errands {
    /// By region.
    pub of: BTreeMap<RegionName, Errand>,
    /// Regions whose clusters would get the Secret if the law of the tenant allowed it.
    pub refused: Vec<RegionName>,
}

/// What decides on the clusters of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// Where the tenant belongs.
    pub home: &'a RegionName,
    /// The server that it has its place on.
    pub place: &'a ServerId,
    /// The policy that covers that server.
    pub policy: Option<&'a PolicyView>,
    /// The tenant's law.
    pub allowed: &'a BTreeSet<Jurisdiction>,
    /// Where the Secret was brought before, as far as that is recorded.
    pub recorded: &'a BTreeSet<RegionName>,
    /// Regions that exist and cannot be read.
    pub obscure: &'a BTreeSet<RegionName>,
    /// All that decides is known, and the tenant is not being moved. While that is not so the
    /// Secret is taken from nowhere but where the law forbids it.
    pub settled: bool,
}

/// Decides on the clusters of one tenant: those of its home, of the region that holds it, and of
/// each standby of its policy get its Secret, always only where its law holds.
pub fn errands(reach: &Reach<'_>, regions: &BTreeMap<RegionName, RegionView>) -> Errands {
    let servers = reach.policy.into_iter();
    let servers =
        servers.flat_map(|policy| std::iter::once(&policy.primary).chain(&policy.standbys));
    let own = [reach.home, &reach.place.region];
    let wanted: BTreeSet<&RegionName> = own
        .into_iter()
        .chain(servers.map(|server| &server.region))
        .collect();
    let mut errands = Errands::default();
    for name in wanted.iter().copied().chain(reach.recorded) {
        let recorded = reach.recorded.contains(name);
        let errand = match regions.get(name) {
            None if reach.obscure.contains(name) => Errand::Keep,
            None => Errand::Forget,
            Some(view) if view.cluster == ClusterUse::Absent => Errand::Forget,
            Some(view) if !reach.allowed.contains(&view.jurisdiction) => {
                if wanted.contains(name) && view.cluster == ClusterUse::Tenants {
                    errands.refused.push(name.clone());
                }
                Errand::Withdraw
            }
            Some(view) if wanted.contains(name) && view.cluster == ClusterUse::Tenants => {
                Errand::Deliver
            }
            Some(_) if reach.settled => Errand::Withdraw,
            Some(_) => Errand::Keep,
        };
        if recorded || errand == Errand::Deliver {
            errands.of.insert(name.clone(), errand);
        }
    }
    errands.refused.sort();
    errands.refused.dedup();
    errands
}

/// The Secrets in the clusters of these regions, as copies of what is the tenant's. What a region
/// without a jurisdiction holds is not allowed.
pub fn secret_copies<'a>(
    held: impl IntoIterator<Item = &'a RegionName>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Vec<Copy> {
    let copy = |region: &RegionName| {
        let jurisdiction = regions.get(region).map(|view| view.jurisdiction.clone());
        let compliant = jurisdiction
            .as_ref()
            .is_some_and(|law| allowed.contains(law));
        Copy {
            kind: CopyKind::Secret,
            region: region.clone(),
            jurisdiction,
            compliant,
        }
    };
    held.into_iter().map(copy).collect()
}
