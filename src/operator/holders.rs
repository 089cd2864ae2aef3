//! The placements that hold a place on a server.

use std::collections::BTreeSet;

use domicile_api::convert::holder;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::placement::Holder;
use kube::ResourceExt;

use crate::context::Ctx;
use crate::kube::cache::Unreadable;

/// Every placement that has a server; those too that this version cannot read.
pub fn holders(ctx: &Ctx) -> Vec<Holder> {
    let placements = ctx.stores.placements.all();
    let readable = placements.iter().filter_map(|placement| holder(placement));
    let unreadable = ctx.stores.placements.unreadable();
    readable
        .chain(unreadable.iter().filter_map(holder_of))
        .collect()
}

/// The UIDs of all placements.
pub fn live(ctx: &Ctx) -> BTreeSet<String> {
    let placements = ctx.stores.placements.all();
    let readable = placements.iter().filter_map(|placement| placement.uid());
    let unreadable = ctx.stores.placements.unreadable().into_iter();
    readable
        .chain(unreadable.filter_map(|one| one.metadata.uid))
        .collect()
}

fn holder_of(placement: &Unreadable) -> Option<Holder> {
    let field = |name: &str| placement.raw["status"][name].as_str();
    Some(Holder {
        uid: placement.metadata.uid.clone()?,
        home: field("homeRegion").map(RegionName::from),
        server: ServerId::new(field("activeRegion")?, field("server")?),
    })
}
