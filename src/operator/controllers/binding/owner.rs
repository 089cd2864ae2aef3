//! Whose a field of a workload is that stands where a binding must write.

use domicile_core::binding::{MANAGER_PREFIX, Names};

use crate::context::Ctx;
use crate::kube::cache::{Cache, Watched};

/// Says whose `field` is, and what to do about it. `named` answers what is there with a UID.
pub(super) fn tell(field: &str, manager: &str, named: impl Fn(&str) -> Option<String>) -> String {
    let Some(uid) = manager.strip_prefix(MANAGER_PREFIX) else {
        return format!("{field} belongs to {manager}; take it out there");
    };
    match named(uid) {
        Some(owner) => format!("{field} belongs to {owner}; take it out there"),
        None => format!(
            "{field} belongs to a ServiceBinding that does not exist any more; take it out of the \
             workload by hand, with volume {} and its mounts",
            Names::of(uid).volume()
        ),
    }
}

/// The binding, or the placement, with a UID in a namespace, also one that this version cannot
/// read.
pub(super) fn named(ctx: &Ctx, namespace: &str, uid: &str) -> Option<String> {
    let binding = name_in(&ctx.stores.bindings, namespace, uid);
    let binding = binding.map(|name| format!("ServiceBinding {name}"));
    binding.or_else(|| {
        let placement = name_in(&ctx.stores.placements, namespace, uid)?;
        Some(format!("TenantPlacement {placement}"))
    })
}

fn name_in<K: Watched>(cache: &Cache<K>, namespace: &str, uid: &str) -> Option<String> {
    let (readable, unreadable) = (cache.unordered(), cache.unreadable());
    let readable = readable.iter().map(|one| one.meta());
    let mut all = readable.chain(unreadable.iter().map(|one| &one.metadata));
    let found = all.find(|meta| {
        meta.uid.as_deref() == Some(uid) && meta.namespace.as_deref() == Some(namespace)
    });
    found?.name.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_is_gone_is_told_from_one_that_is_there() {
        let named = |uid: &str| (uid == "u1").then(|| "ServiceBinding db".to_owned());
        let told = |manager| tell("mount /a", manager, named);
        assert_eq!(
            told("kubectl"),
            "mount /a belongs to kubectl; take it out there"
        );
        assert_eq!(
            told("domicile-binding-u1"),
            "mount /a belongs to ServiceBinding db; take it out there"
        );
        let gone = told("domicile-binding-u2");
        assert!(gone.contains("does not exist any more"), "{gone}");
        assert!(gone.contains("volume binding-u2"), "{gone}");
    }
}
