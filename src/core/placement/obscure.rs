//! Policies that cannot be read. What was not looked at is not absent (ADR 12).

use std::collections::BTreeSet;

use super::PolicyView;
use super::route::home_server;
use crate::names::{RegionName, ServerId};

/// What can be made out of a policy that this version cannot read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glimpse {
    /// The home server; absent when it cannot be made out.
    pub primary: Option<ServerId>,
    /// The standbys; absent when they cannot be made out.
    pub standbys: Option<BTreeSet<ServerId>>,
}

impl Glimpse {
    /// Whether it may be the policy of a tenant that has its place in `region` and was last served
    /// by `recorded`. What cannot be made out may be anything.
    pub fn may_cover(&self, region: &RegionName, recorded: &ServerId) -> bool {
        let primary = self.primary.as_ref();
        if recorded.region == *region {
            return primary.is_none_or(|primary| primary == recorded);
        }
        let standbys = self.standbys.as_ref();
        primary.is_none_or(|primary| primary.region == *region)
            && standbys.is_none_or(|standbys| standbys.contains(recorded))
    }

    /// All servers that it names; absent when one cannot be made out.
    pub fn servers(&self) -> Option<BTreeSet<ServerId>> {
        let standbys = self.standbys.iter().flatten().cloned();
        let all = std::iter::once(self.primary.clone()?).chain(standbys);
        self.standbys.is_some().then(|| all.collect())
    }
}

/// Whether a policy that can be read, and has begun to work, says who serves a tenant that has its
/// place in `region` and was last served by `recorded`.
pub fn is_covered(region: &RegionName, recorded: &ServerId, policies: &[PolicyView]) -> bool {
    let Ok(Some(server)) = home_server(region, Some(recorded), policies) else {
        return false;
    };
    let place = ServerId {
        region: region.clone(),
        server,
    };
    let mut begun = policies.iter().filter(|policy| policy.machine.is_some());
    begun.any(|policy| policy.primary == place)
}
