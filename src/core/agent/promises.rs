//! The promises that an agent gives and renews.

use super::{Memory, Renewal, Sight};
use crate::lease::{Promise, WriteLease};

/// The promises that no agent gave for this epoch yet. A pledge names them once they lie there: the
/// hub looks for them where it would ask for its permit, and both may not mean one cluster.
pub(super) fn first_promises(seen: &Sight, lease: &WriteLease) -> Vec<Renewal> {
    let given = Promise::given(lease.epoch);
    let missing = lease.members.iter().filter_map(|region| {
        let held = *seen.promises.get(region)?;
        let record = Promise::renewed(held, lease.epoch).filter(|_| held != Some(given))?;
        Some(Renewal::Promise(region.clone(), record))
    });
    missing.collect()
}

/// While the hub is silent: the promises that are due.
pub(super) fn promises(seen: &Sight, memory: &Memory) -> Vec<Renewal> {
    let Some((pledge, terms)) = memory.pledge.as_ref().filter(|(p, _)| p.promises) else {
        return Vec::new();
    };
    let due = pledge.members.iter().filter(|region| {
        let sent = memory.promises.get(*region);
        sent.is_none_or(|sent| sent.age_ms(seen.now) >= terms.renew_ms())
    });
    due.filter_map(|region| {
        let record = Promise::renewed(*seen.promises.get(region)?, pledge.epoch)?;
        Some(Renewal::Promise(region.clone(), record))
    })
    .collect()
}
