//! What the law says of a tenant while it is not known who serves it: its copies are those that
//! were recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::RegionView;
use super::copies::{Copies, Copy};
use super::destinations::{ClusterUse, Errand, Errands};
use crate::names::{Jurisdiction, RegionName};

/// The recorded copies by the present law. A region that cannot be looked at is under the law that
/// was recorded of it, for that of a Region never changes.
pub fn judged(
    recorded: impl IntoIterator<Item = Copy>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Copies {
    let judge = |copy: Copy| {
        let Copy {
            kind,
            region,
            jurisdiction,
            compliant: _,
        } = copy;
        let found = regions.get(&region).map(|view| view.jurisdiction.clone());
        let jurisdiction = found.or(jurisdiction);
        let compliant = jurisdiction
            .as_ref()
            .is_some_and(|law| allowed.contains(law));
        Copy {
            kind,
            region,
            jurisdiction,
            compliant,
        }
    };
    Copies(recorded.into_iter().map(judge).collect())
}

/// What is to be done in the clusters that have the Secret, or may: it is taken back where the law
/// forbids it and a way leads there, and nothing else is touched.
pub fn withdrawals(
    recorded: &BTreeSet<RegionName>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Errands {
    let errand = |region: &RegionName| {
        let view = regions.get(region);
        let forbidden = view.is_some_and(|view| {
            view.cluster != ClusterUse::Absent && !allowed.contains(&view.jurisdiction)
        });
        if forbidden {
            Errand::Withdraw
        } else {
            Errand::Keep
        }
    };
    let of = recorded
        .iter()
        .map(|region| (region.clone(), errand(region)));
    Errands {
        of: of.collect(),
        refused: Vec::new(),
    }
}
