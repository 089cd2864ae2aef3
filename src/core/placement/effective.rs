//! Which policies count for tenants.

use super::PolicyView;
use crate::names::ServerId;

/// Without the policies that have not begun and name a server of one that works.
///
/// Such a policy is refused by its own controller. If it counted here, a mistake of one person
/// would stop the tenants of the policy that works: they would not follow it in a failover.
pub fn effective(policies: Vec<PolicyView>) -> Vec<PolicyView> {
    let begun = |policy: &&PolicyView| policy.machine.is_some();
    let taken: Vec<ServerId> = policies
        .iter()
        .filter(begun)
        .flat_map(|policy| std::iter::once(&policy.primary).chain(&policy.standbys))
        .cloned()
        .collect();
    let free = |policy: &PolicyView| {
        !taken.contains(&policy.primary) && !policy.standbys.iter().any(|s| taken.contains(s))
    };
    policies
        .into_iter()
        .filter(|policy| policy.machine.is_some() || free(policy))
        .collect()
}
