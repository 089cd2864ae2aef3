//! The servers that a Secret names for clients that find the one that takes writes by themselves
//! (ADR 35): never one that may take writes beside it.

use crate::facts::Epoch;
use crate::failover::Proof;
use crate::names::RegionName;
use crate::replica::Address;

/// A server beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its address.
    pub address: Address,
    /// The tenant's law admits its region.
    pub lawful: bool,
    /// It is known to follow the server that serves.
    pub follows: bool,
    /// How the tenants left it last; absent when they never did.
    pub left: Option<Left>,
}

/// How the tenants left a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// What kept it from writing, as far as that is known.
    pub proof: Option<Proof>,
}

impl Left {
    /// Whether it acknowledges no writes however it comes back: it confirmed that it is fenced, or
    /// its commits wait for the server that was promoted. An agent whose lease is over fences a
    /// server that was without power only once it runs again.
    fn for_good(self) -> bool {
        self.proof >= Some(Proof::SynchronousReplication)
    }
}

/// A move, as far as it tells how a server was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// From where.
    pub from: RegionName,
    /// On which proof.
    pub proof: Option<Proof>,
}

/// How the tenants left a region last, by moves with the newest first.
pub fn left(region: &RegionName, moves: &[Departure]) -> Option<Left> {
    let last = moves.iter().find(|one| one.from == *region)?;
    Some(Left { proof: last.proof })
}

/// What the Secret has named so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The servers, in their order.
    pub hosts: Vec<Address>,
    /// The epoch under which that was so.
    pub epoch: Epoch,
}

/// Whether a policy of this minimum promotes by itself only where the old primary is known to take
/// no writes.
pub fn fences(minimum: Proof) -> bool {
    minimum >= Proof::LeaseExpired
}

/// The servers to name, the one that serves first: a server that is fenced and answers ends libpq's
/// search, and one that does not answer costs each connection its timeout.
///
/// While the policy's fence is not `proven` no server is added to those that are named. One that
/// may take writes is left out from the move that led away from it until it follows; from then on
/// it stays, whether it is seen to follow or not.
pub fn hosts(
    active: &Address,
    others: &[Candidate],
    (proven, epoch): (bool, Epoch),
    named: Option<&Named>,
) -> Vec<Address> {
    let known = |one: &Candidate| named.is_some_and(|named| named.hosts.contains(&one.address));
    let now = named.is_some_and(|named| named.epoch == epoch);
    let safe =
        |one: &Candidate| one.left.is_none_or(Left::for_good) || one.follows || (now && known(one));
    let mut hosts = vec![active.clone()];
    for one in others {
        let fit = one.lawful && safe(one) && (proven || known(one));
        if fit && !hosts.contains(&one.address) {
            hosts.push(one.address.clone());
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn at(host: &str) -> Address {
        Address {
            host: host.to_owned(),
            port: 5432,
        }
    }

    fn standby(host: &str) -> Candidate {
        Candidate {
            address: at(host),
            lawful: true,
            follows: true,
            left: None,
        }
    }

    fn left_on(proof: Option<Proof>) -> Candidate {
        Candidate {
            follows: false,
            left: Some(Left { proof }),
            ..standby("west")
        }
    }

    fn named(hosts: &[&str], epoch: i64) -> Named {
        Named {
            hosts: hosts.iter().map(|host| at(host)).collect(),
            epoch: Epoch(epoch),
        }
    }

    const PROVEN: (bool, Epoch) = (true, Epoch(2));

    #[test]
    fn the_one_that_serves_comes_first_and_the_others_keep_their_order() {
        let others = [standby("central"), standby("north")];
        let hosts = hosts(&at("west"), &others, PROVEN, None);
        assert_eq!(hosts, [at("west"), at("central"), at("north")]);
    }

    #[test]
    fn a_region_that_the_law_leaves_out_is_not_named() {
        let abroad = Candidate {
            lawful: false,
            ..standby("abroad")
        };
        let before = named(&["west", "abroad"], 2);
        let hosts = hosts(&at("west"), &[abroad], PROVEN, Some(&before));
        assert_eq!(hosts, [at("west")]);
    }

    #[test]
    fn a_server_that_may_take_writes_is_left_out_from_the_move_until_it_follows() {
        let before = named(&["west", "central"], 1);
        for proof in [None, Some(Proof::Assumed), Some(Proof::LeaseExpired)] {
            let west = left_on(proof);
            let moved = hosts(
                &at("central"),
                slice::from_ref(&west),
                PROVEN,
                Some(&before),
            );
            assert_eq!(moved, [at("central")], "{proof:?}");
            let follows = Candidate {
                follows: true,
                ..west.clone()
            };
            let alone = named(&["central"], 2);
            let both = [at("central"), at("west")];
            assert_eq!(
                hosts(&at("central"), &[follows], PROVEN, Some(&alone)),
                both
            );
            // Its stream that breaks then says nothing new of it.
            let stays = named(&["central", "west"], 2);
            assert_eq!(hosts(&at("central"), &[west], PROVEN, Some(&stays)), both);
        }
        for proof in [Proof::SynchronousReplication, Proof::Confirmed] {
            let west = left_on(Some(proof));
            let moved = hosts(&at("central"), &[west], PROVEN, Some(&before));
            assert_eq!(moved, [at("central"), at("west")], "{proof:?}");
        }
    }

    #[test]
    fn without_a_proven_fence_nothing_is_added_and_what_is_named_stays() {
        let others = [standby("central"), standby("north")];
        let weak = (false, Epoch(2));
        assert_eq!(hosts(&at("west"), &others, weak, None), [at("west")]);
        let before = named(&["west", "central"], 1);
        let stays = hosts(&at("west"), &others, weak, Some(&before));
        assert_eq!(stays, [at("west"), at("central")]);
        // A move on less takes out the server that it left.
        let west = left_on(Some(Proof::Assumed));
        let moved = hosts(&at("central"), &[west], weak, Some(&before));
        assert_eq!(moved, [at("central")]);
    }

    #[test]
    fn the_last_move_away_from_a_region_counts() {
        let departure = |from: &str, proof| Departure {
            from: RegionName::new(from),
            proof: Some(proof),
        };
        let moves = [
            departure("central", Proof::Confirmed),
            departure("west", Proof::Assumed),
            departure("west", Proof::Confirmed),
        ];
        let of = |region: &str| left(&RegionName::new(region), &moves).and_then(|left| left.proof);
        assert_eq!(of("central"), Some(Proof::Confirmed));
        assert_eq!(of("west"), Some(Proof::Assumed));
        assert_eq!(left(&RegionName::new("north"), &moves), None);
    }

    #[test]
    fn a_promotion_on_nobodys_word_is_no_fence() {
        assert!(!fences(Proof::Assumed));
        for proof in [
            Proof::LeaseExpired,
            Proof::SynchronousReplication,
            Proof::Confirmed,
        ] {
            assert!(fences(proof), "{proof}");
        }
    }
}
