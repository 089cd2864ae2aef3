//! What the replicas of an agent leave to each other.

use super::{Database, Hub, Memory, Sight, heard, is_mine};
use crate::names::RegionName;

/// The hub confirmed nothing for longer than between two renewals, and it may be this replica alone
/// that lost it: another one that hears the hub takes the seat and renews. To be asked of who has
/// had the seat for `held_ms` and has nothing to fence. Where no replica hears the hub, the seat
/// goes from one to the next, and who has it lives on promises or fences.
pub fn leaves_seat(seen: &Sight, memory: &Memory, held_ms: u64) -> bool {
    let Some((_, terms)) = &memory.pledge else {
        return false;
    };
    // No other replica could renew for a server that does not work.
    let works = matches!(seen.database, Database::Primary { .. });
    // Nor a lease that was given to somebody else.
    let mine = heard(seen, memory).is_none_or(|lease| is_mine(seen, lease));
    let renew_ms = terms.renew_ms();
    let age = memory.hub.map(|sent| sent.age_ms(seen.now));
    let late = age.is_none_or(|age| age >= renew_ms + renew_ms / 4);
    works && mine && late && held_ms >= renew_ms
}

/// A process of `region` has learned what is asked of it, and another one may end: it heard the
/// hub, and, where that has a duty for it, it knows its server.
pub fn knows_its_duty(hub: &Hub, region: &RegionName, server: bool) -> bool {
    match hub {
        Hub::Silent => false,
        Hub::Says(None) => true,
        Hub::Says(Some(lease)) => server || lease.holder != *region || lease.members.is_empty(),
    }
}
