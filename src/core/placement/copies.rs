//! Every place where the tenant's data lies.

use std::collections::{BTreeMap, BTreeSet};

use super::{PolicyView, RegionView};
use crate::names::{Jurisdiction, RegionName, ServerId};

/// What a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// The server that takes writes.
    Primary,
    /// A physical standby, or a former primary that will become one again.
    Standby,
    /// The tenant's Secret, in the region's own cluster.
    Secret,
}

/// One place where the tenant's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What it is.
    pub kind: CopyKind,
    /// Where it is.
    pub region: RegionName,
    /// Under which law; absent when the Region does not exist.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether the tenant allows that law. An unknown law is not allowed.
    pub compliant: bool,
}

/// All copies, the primary first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copies(pub Vec<Copy>);

impl Copies {
    /// The copies that lie outside the law.
    pub fn outside(&self) -> Vec<&Copy> {
        self.0.iter().filter(|copy| !copy.compliant).collect()
    }
}

/// The copies of a tenant that `active` serves. A tenant without a policy has one copy.
pub fn copies(
    active: &ServerId,
    policy: Option<&PolicyView>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Copies {
    let copy = |kind, region: &RegionName| {
        let jurisdiction = regions
            .get(region)
            .map(|region| region.jurisdiction.clone());
        let compliant = jurisdiction
            .as_ref()
            .is_some_and(|law| allowed.contains(law));
        Copy {
            kind,
            region: region.clone(),
            jurisdiction,
            compliant,
        }
    };
    let others = policy
        .into_iter()
        .flat_map(|policy| std::iter::once(&policy.primary).chain(&policy.standbys))
        .filter(|server| *server != active)
        .map(|server| copy(CopyKind::Standby, &server.region));
    Copies(
        std::iter::once(copy(CopyKind::Primary, &active.region))
            .chain(others)
            .collect(),
    )
}

/// The regions in which one of some tenants allows no copy, from what each allows. An unknown law
/// allows none.
pub fn closed<'a>(
    laws: impl IntoIterator<Item = Option<&'a BTreeSet<Jurisdiction>>>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> BTreeSet<RegionName> {
    let laws: BTreeSet<_> = laws.into_iter().collect();
    let outside = |jurisdiction: &Jurisdiction| {
        let mut laws = laws.iter();
        laws.any(|law| law.is_none_or(|law| !law.contains(jurisdiction)))
    };
    let closed = regions
        .iter()
        .filter(|(_, view)| outside(&view.jurisdiction));
    closed.map(|(name, _)| name.clone()).collect()
}
