//! The placements that hold a place on a server.

use std::collections::BTreeSet;

use domicile_api::convert::holder;
use domicile_core::names::{RegionName, ServerId};
use domicile_core::placement::Holder;
use kube::ResourceExt;

use crate::context::Ctx;
use crate::kube::cache::Unreadable;
use crate::orphans;

/// Every placement that has a server; those too that this version cannot read.
pub fn holders(ctx: &Ctx) -> Vec<Holder> {
    let placements = ctx.stores.placements.unordered();
    let readable = placements.iter().filter_map(|placement| holder(placement));
    let unreadable = ctx.stores.placements.unreadable();
    readable
        .chain(unreadable.iter().filter_map(holder_of))
        .collect()
}

/// The UIDs of all placements.
pub fn live(ctx: &Ctx) -> BTreeSet<String> {
    let placements = ctx.stores.placements.unordered();
    let readable = placements.iter().filter_map(|placement| placement.uid());
    let unreadable = ctx.stores.placements.unreadable().into_iter();
    readable
        .chain(unreadable.filter_map(|one| one.metadata.uid))
        .collect()
}

/// Whether the placement that a mark names is gone, and nothing is to be cleaned up after it.
pub fn is_gone(ctx: &Ctx, uid: &str) -> bool {
    let uid = uid.to_owned();
    !live(ctx).contains(&uid) && orphans::drops(ctx, &uid).is_none()
}

fn holder_of(placement: &Unreadable) -> Option<Holder> {
    let field = |name: &str| placement.raw["status"][name].as_str();
    Some(Holder {
        uid: placement.metadata.uid.clone()?,
        // As `convert::holder` has it: where its home has no servers, another region holds it.
        home: field("servedBy")
            .or_else(|| field("homeRegion"))
            .map(RegionName::from),
        server: ServerId::new(field("activeRegion")?, field("server")?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube::cache::Seen;

    #[test]
    fn a_placement_that_cannot_be_read_holds_its_place_where_its_home_has_none() {
        let placement = |status| {
            let object = json!({
                "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
                "metadata": { "name": "acme", "namespace": "ns", "uid": "u" },
                "spec": { "tenantID": "acme", "reclaimPolicy": "Teleport" }, "status": status,
            });
            match serde_json::from_value(object).unwrap() {
                Seen::<domicile_api::TenantPlacement>::Invalid(unreadable) => *unreadable,
                Seen::Valid(_) => panic!("it can be read"),
            }
        };
        let moved = json!({
            "homeRegion": "eu-paper", "servedBy": "eu-west", "activeRegion": "us-east",
            "server": "main",
        });
        let held = holder_of(&placement(moved)).unwrap();
        assert_eq!(held.home, Some(RegionName::from("eu-west")));
        assert_eq!(held.server, ServerId::new("us-east", "main"));
        let at_home = json!({
            "homeRegion": "eu-west", "activeRegion": "us-east", "server": "main",
        });
        let held = holder_of(&placement(at_home)).unwrap();
        assert_eq!(held.home, Some(RegionName::from("eu-west")));
        assert_eq!(
            holder_of(&placement(json!({ "homeRegion": "eu-west" }))),
            None
        );
    }
}
