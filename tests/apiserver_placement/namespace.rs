//! The deletion of a tenant's namespace with all that is in it.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::world::{SOON, World, tenant};

/// It takes the operator's rights away while the operator still has to drop the database.
///
/// Faults: 43.
pub(super) fn a_deleted_namespace_takes_its_placements_along(world: &World) {
    let name = "doomed";
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
    }));
    world.running.onboard(name);
    let mut placement = tenant(
        "end",
        &json!({
            "tenantID": "end", "region": "eu-west",
            "reclaimPolicy": "Delete", "deletionProtection": false,
        }),
    );
    placement["metadata"]["namespace"] = name.into();
    world.apply(&placement);
    world.await_ready(name, "end", "True", "Placed");
    let spaces: Api<Namespace> = Api::all(world.running.admin.clone());
    let _ = world
        .running
        .block_on(spaces.delete(name, &DeleteParams::default()))
        .unwrap();
    world.running.until("the namespace is gone", SOON, || {
        let found = world.running.block_on(spaces.get_opt(name)).unwrap();
        found.is_none().then_some(())
    });
    assert!(!world.database_exists("eu-west", "tenant_end"));
    assert_eq!(world.roles("eu-west", "tenant_end"), "0");
}
