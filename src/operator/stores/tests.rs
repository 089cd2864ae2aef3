use domicile_core::placement::Glimpse;
use serde_json::{Value, json};

use super::*;
use crate::kube::cache::Unreadable;

/// A placement of `eu-west` that is served there, with copies in these regions.
fn placed(copies: &[&str]) -> TenantPlacement {
    let copy = |region: &&str| {
        let mut copy = json!({ "kind": "Standby", "jurisdiction": "EU", "compliant": true });
        copy["region"] = json!(region);
        copy
    };
    let copies: Vec<Value> = copies.iter().map(copy).collect();
    let placement = json!({
        "metadata": { "name": "acme", "namespace": "space" },
        "spec": { "tenantID": "acme", "region": "eu-west" },
        "status": { "homeRegion": "eu-west", "activeRegion": "eu-west", "copies": copies },
    });
    serde_json::from_value(placement).unwrap()
}

#[test]
fn a_region_concerns_the_tenants_of_which_it_holds_a_copy() {
    let placement = placed(&["eu-central", "eu-north"]);
    for region in ["eu-west", "eu-central", "eu-north"] {
        assert!(is_concerned(&placement, region), "{region}");
    }
    assert!(!is_concerned(&placement, "us-east"));
    // What is copied there is nobody's figure there.
    assert!(!regions_of(&placement).contains(&"eu-central"));
}

#[test]
fn any_region_concerns_who_waits_for_the_default() {
    let mut placement = placed(&[]);
    placement.spec.region = None;
    placement.status = None;
    assert!(is_concerned(&placement, "us-east"));
}

/// A policy with such servers that this version cannot read.
fn unreadable(primary: &Value, standbys: &Value) -> Unreadable {
    let policy = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "newer" },
        "spec": { "primary": primary, "standbys": standbys, "mode": "Telepathic" },
    });
    match serde_json::from_value(policy).unwrap() {
        Seen::<FailoverPolicy>::Invalid(policy) => *policy,
        Seen::Valid(_) => panic!("it can be read"),
    }
}

#[test]
fn a_policy_that_cannot_be_read_tells_the_servers_that_are_where_they_were() {
    let server = |region: &str| json!({ "region": region, "server": "main", "weight": "new" });
    let id = |region: &str| ServerId::new(region, "main");
    let seen = glimpse(&unreadable(&server("eu-west"), &json!([server("us-east")])));
    assert_eq!(seen.primary, Some(id("eu-west")));
    assert_eq!(seen.standbys, Some([id("us-east")].into()));
    let strange = json!([server("us-east"), { "pool": "all" }]);
    let seen = glimpse(&unreadable(&json!({ "pool": "eu" }), &strange));
    assert_eq!(seen, Glimpse::default());
}
