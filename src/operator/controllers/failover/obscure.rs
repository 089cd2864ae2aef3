//! Tenants whose placement cannot be read by this version: their law is asked all the same.

use std::collections::BTreeSet;

use domicile_core::facts::Epoch;
use domicile_core::failover::Tenant;
use domicile_core::names::{Jurisdiction, ServerId};
use serde_json::Value;

use crate::kube::cache::Unreadable;

/// The tenant, when it is on one of the servers `mine` or where it is cannot be made out. Its law
/// counts as far as it can be made out, and else no place is lawful. One that was never placed is
/// nowhere. `law_of` answers a region's jurisdiction.
pub(super) fn tenant(
    placement: &Unreadable,
    mine: &BTreeSet<ServerId>,
    law_of: impl Fn(&str) -> Option<Jurisdiction>,
) -> Option<Tenant> {
    let Unreadable { metadata, raw, .. } = placement;
    let status = |field: &str| raw.pointer(&format!("/status/{field}"));
    let here = match (status("activeRegion"), status("server")) {
        (None, None) => false,
        (Some(Value::String(region)), Some(Value::String(server))) => {
            mine.contains(&ServerId::new(region, server))
        }
        _unknown => true,
    };
    let allowed: Option<BTreeSet<_>> = match raw.pointer("/spec/allowedJurisdictions") {
        Some(Value::Array(law)) => {
            let words = law.iter().map(|word| word.as_str().map(Jurisdiction::new));
            words.collect()
        }
        Some(_unknown) => None,
        None => {
            let home = status("homeRegion").and_then(Value::as_str);
            home.and_then(law_of).map(|law| BTreeSet::from([law]))
        }
    };
    let name = |part: &Option<String>| part.clone().unwrap_or_default();
    here.then(|| Tenant {
        name: format!("{}/{}", name(&metadata.namespace), name(&metadata.name)),
        allowed: allowed.unwrap_or_default(),
        repointed: Epoch(status("epoch").and_then(Value::as_i64).unwrap_or_default()),
        stalled: true,
    })
}

#[cfg(test)]
mod tests {
    use domicile_api::TenantPlacement;
    use serde_json::json;

    use super::*;
    use crate::kube::cache::Seen;

    /// What becomes of a placement whose spec has a word that this version does not know.
    fn seen(spec: &Value, status: &Value) -> Option<Tenant> {
        let mut object = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
            "metadata": {"name": "acme", "namespace": "ns", "resourceVersion": "1"},
            "spec": {"tenantID": "acme", "reclaimPolicy": "Teleport"}, "status": status,
        });
        if let (Some(all), Some(more)) = (object["spec"].as_object_mut(), spec.as_object()) {
            all.extend(more.clone());
        }
        let Seen::<TenantPlacement>::Invalid(unreadable) = serde_json::from_value(object).unwrap()
        else {
            panic!("it can be read");
        };
        let mine = BTreeSet::from([ServerId::new("west", "main")]);
        let law_of = |region: &str| (region == "west").then(|| Jurisdiction::new("EU"));
        tenant(&unreadable, &mine, law_of)
    }

    fn law(spec: &Value, status: &Value) -> Option<Vec<String>> {
        let tenant = seen(spec, status)?;
        assert_eq!(tenant.name, "ns/acme");
        Some(tenant.allowed.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_law_of_a_placement_that_cannot_be_read_is_asked() {
        let here = json!({"homeRegion": "west", "activeRegion": "west", "server": "main"});
        let own = json!({"allowedJurisdictions": ["EU", "UK"]});
        assert_eq!(law(&own, &here), Some(vec!["EU".into(), "UK".into()]));
        assert_eq!(
            law(&json!({}), &here),
            Some(vec!["EU".into()]),
            "its home's"
        );
        let strange = json!({"allowedJurisdictions": {"any": ["EU"]}});
        assert_eq!(law(&strange, &here), Some(Vec::new()), "nowhere is lawful");
    }

    #[test]
    fn only_what_is_known_to_be_elsewhere_is_no_tenant() {
        let elsewhere = json!({"activeRegion": "east", "server": "main"});
        assert_eq!(law(&json!({}), &elsewhere), None);
        assert_eq!(law(&json!({}), &json!({})), None);
        let strange = json!({"activeRegion": ["west"], "server": "main"});
        assert_eq!(law(&json!({}), &strange), Some(Vec::new()));
    }
}
