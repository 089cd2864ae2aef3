//! Which kinds are looked at, and what stays recorded of them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn tenant(meant: &[&str], recorded: &[(&str, &str)]) -> TenantPlacement {
    let workload = |version: &&str| {
        json!({ "apiVersion": version, "kind": "Gadget",
        "selector": { "matchLabels": { "a": "b" } } })
    };
    let workloads: Vec<Value> = meant.iter().map(workload).collect();
    let shown = |(version, name): &(&str, &str)| {
        json!({ "apiVersion": version, "kind": "Gadget",
        "name": name })
    };
    let shown: Vec<Value> = recorded.iter().map(shown).collect();
    serde_json::from_value(json!({
        "metadata": { "name": "acme", "uid": "p" },
        "spec": { "tenantID": "acme", "injection": { "workloads": workloads } },
        "status": { "otherWorkloads": shown },
    }))
    .unwrap()
}

fn looked_at(tenant: &TenantPlacement) -> Vec<(String, bool)> {
    let mut seen = Seen::in_cluster((tenant, None), "h", None, Timestamp::UNIX_EPOCH);
    let kinds = kinds_of(tenant, &mut seen).into_iter();
    kinds.map(|(kind, meant)| (kind.version, meant)).collect()
}

/// What one version gives another would take away: both lead to the same objects.
#[test]
fn a_kind_is_looked_at_in_one_version() {
    let (old, new) = ("a.example.com/v1alpha1", "a.example.com/v1");
    let one = |version: &str, meant| vec![(version.to_owned(), meant)];
    let changed = tenant(&[new], &[(old, "g")]);
    assert_eq!(looked_at(&changed), one("v1", true));
    let gone = tenant(&[], &[(old, "g")]);
    assert_eq!(looked_at(&gone), one("v1alpha1", false));
    let both = tenant(&[old, new], &[(new, "g")]);
    assert_eq!(looked_at(&both), one("v1alpha1", true));
    let another = tenant(&[new], &[("b.example.com/v1", "g")]);
    assert_eq!(looked_at(&another).len(), 2, "of another group");
}

#[test]
fn what_could_not_be_looked_at_stays_recorded_under_its_version() {
    let (old, new) = ("a.example.com/v1alpha1", "a.example.com/v1");
    let tenant = tenant(&[new], &[(old, "g"), (old, "h")]);
    let mut seen = Seen::in_cluster((&tenant, None), "h", None, Timestamp::UNIX_EPOCH);
    let mut shown = tenant.status.as_ref().unwrap().other_workloads[0].clone();
    shown.api_version = new.to_owned();
    seen.others.push(shown);
    keep(&tenant, &Kind::read(new, "Gadget").unwrap(), &mut seen);
    let names = seen.others.iter();
    let names: Vec<_> = names.map(|one| (&*one.api_version, &*one.name)).collect();
    assert_eq!(names, [(new, "g"), (old, "h")]);
}
