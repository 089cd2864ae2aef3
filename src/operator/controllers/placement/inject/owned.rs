//! Who owns what of a workload, by the API server's own record: pure.

use std::collections::BTreeSet;

use domicile_api::meta::{self, manager};
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::items::{Container, Item, List};

/// What our field manager owns of a workload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    /// The elements of lists.
    pub(super) items: BTreeSet<Item>,
    /// The annotations of the workload itself.
    pub(super) marks: BTreeSet<&'static str>,
    /// The annotation of the pod template.
    pub(super) hash: bool,
}

/// Reads what our field manager owns.
pub(super) fn owned(live: &DynamicObject) -> Owned {
    let mut owned = Owned::default();
    for entry in live.managed_fields() {
        let ours = entry.manager.as_deref() == Some(manager::INJECT)
            && entry.operation.as_deref() == Some("Apply");
        let Some(fields) = entry.fields_v1.as_ref().filter(|_| ours) else {
            continue;
        };
        let fields = &fields.0;
        let marks = [
            meta::PLACEMENT_LABEL,
            meta::SECRET_ORIGIN,
            meta::SECRET_HASH,
        ];
        let ours = |name: &&'static str| annotation(fields, name);
        owned.marks.extend(marks.into_iter().filter(ours));
        owned.hash |= annotation(&fields["f:spec"]["f:template"], meta::SECRET_HASH);
        owned.items.append(&mut items_in(fields));
    }
    owned
}

/// Which other manager owns an element.
pub(super) fn manager_of(live: &DynamicObject, item: &Item) -> String {
    let others = live.managed_fields().iter();
    let mut others = others.filter(|entry| entry.manager.as_deref() != Some(manager::INJECT));
    let entry = others.find(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| items_in(&fields.0).contains(item))
    });
    entry
        .and_then(|entry| entry.manager.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn annotation(fields: &Value, name: &str) -> bool {
    !fields["f:metadata"]["f:annotations"][format!("f:{name}")].is_null()
}

fn items_in(fields: &Value) -> BTreeSet<Item> {
    let spec = &fields["f:spec"]["f:template"]["f:spec"];
    let volumes = keyed(&spec["f:volumes"], "name");
    let mut items: BTreeSet<Item> = volumes.map(|(name, _)| Item::Volume(name)).collect();
    for list in List::ALL {
        for (name, fields) in keyed(&spec[format!("f:{}", list.as_str())], "name") {
            let container = Container { list, name };
            let of = |name| Item::Variable(container.clone(), name);
            items.extend(keyed(&fields["f:env"], "name").map(|(name, _)| of(name)));
            let of = |path| Item::Mount(container.clone(), path);
            items.extend(keyed(&fields["f:volumeMounts"], "mountPath").map(|(path, _)| of(path)));
        }
    }
    items
}

/// The elements in a field set, whose keys are written `k:{"name":"…"}`.
fn keyed<'a>(fields: &'a Value, key: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    let read = move |(field, value): (&String, &'a Value)| {
        let names: Value = serde_json::from_str(field.strip_prefix("k:")?).ok()?;
        Some((names[key].as_str()?.to_owned(), value))
    };
    fields.as_object().into_iter().flatten().filter_map(read)
}
