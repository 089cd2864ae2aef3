//! Who holds a place on the servers of a region.

use std::collections::{BTreeMap, BTreeSet};

use super::PolicyView;
use super::route::home_server;
use crate::names::{RegionName, ServerId};

/// A placement that has a server, or is about to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The UID of the placement, which is the marker of all that is made for it, too.
    pub uid: String,
    /// The region that it belongs to, when that is recorded.
    pub home: Option<RegionName>,
    /// The server that last served it, or that is reserved for it.
    pub server: ServerId,
}

/// How full the servers of one region are, without the tenant that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// UIDs by server.
    tenants: BTreeMap<String, BTreeSet<String>>,
    /// Those of them whose placement is gone while the database stays.
    left: BTreeMap<String, BTreeSet<String>>,
    /// Tenants of the region of which nobody knows the server: they count on each.
    astray: BTreeSet<String>,
    /// Servers with a limit that could not be looked at.
    uncounted: BTreeSet<String>,
    /// The server on which the database of the tenant that asks stands already.
    own: Option<String>,
    /// The servers that have a database of the name of the one that asks, which no other tenant
    /// holds.
    named: BTreeSet<String>,
    /// Whether the one that asks wants no other database than such a one.
    adopts: bool,
}

/// What the placements tell of the servers of `region`. `own` is the UID of the one that asks.
pub fn held(region: &RegionName, own: &str, holders: &[Holder], policies: &[PolicyView]) -> Held {
    let mut held = Held::default();
    for Holder { uid, home, server } in holders.iter().filter(|holder| holder.uid != own) {
        if server.region == *region {
            held.put(&server.server, uid);
        } else if home.as_ref() == Some(region) {
            match home_server(region, Some(server), policies) {
                Ok(Some(server)) => held.put(&server, uid),
                // Only the policy that moved it knew its server.
                Ok(None) | Err(_) => {
                    held.astray.insert(uid.clone());
                }
            }
        }
    }
    held
}

impl Held {
    fn put(&mut self, server: &str, uid: &str) {
        let tenants = self.tenants.entry(server.to_owned()).or_default();
        tenants.insert(uid.to_owned());
    }

    /// Adds what the server itself tells: the UIDs that its databases are marked with. `own` is
    /// the one that asks; `live` are the UIDs of all placements that there are.
    pub fn found(
        &mut self,
        server: &str,
        own: &str,
        marked: &BTreeSet<String>,
        live: &BTreeSet<String>,
    ) {
        for uid in marked {
            if uid == own {
                self.own = Some(server.to_owned());
                continue;
            }
            self.put(server, uid);
            if !live.contains(uid) {
                let left = self.left.entry(server.to_owned()).or_default();
                left.insert(uid.clone());
            }
        }
    }

    /// The server could not be looked at.
    pub fn unseen(&mut self, server: &str) {
        self.uncounted.insert(server.to_owned());
    }

    /// Adds the servers that have a database of the tenant's name, which no other tenant holds.
    /// `adopts` says whether it wants no other.
    pub fn named(&mut self, servers: BTreeSet<String>, adopts: bool) {
        self.named = servers;
        self.adopts = adopts;
    }

    /// Whether the server has a database of the tenant's name.
    pub fn has_named(&self, server: &str) -> bool {
        self.named.contains(server)
    }

    /// Whether the tenant wants no other database than one that is there.
    pub fn adopts(&self) -> bool {
        self.adopts
    }

    /// The UIDs of the tenants that the server holds.
    pub fn on(&self, server: &str) -> BTreeSet<&str> {
        let here = self.tenants.get(server).into_iter().flatten();
        here.chain(&self.astray).map(String::as_str).collect()
    }

    /// How many tenants the server holds.
    pub fn count(&self, server: &str) -> u32 {
        u32::try_from(self.on(server).len()).unwrap_or(u32::MAX)
    }

    /// How many of them no placement stands for any more.
    pub fn left(&self, server: &str) -> u32 {
        let left = self.left.get(server).map_or(0, BTreeSet::len);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Whether the server could be looked at.
    pub fn is_counted(&self, server: &str) -> bool {
        !self.uncounted.contains(server)
    }

    /// The server on which the database of the tenant that asks stands already.
    pub fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }
}
