//! A Region that neither figure of its own tells to be in use, as the API server keeps it.

use domicile_api::Region;
use domicile_api::conditions::{ConditionType, find};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::world::{SOON, SPACE, World, tenant};

/// A tenant belongs to a Region without servers, is held by another one, and was moved away: the
/// one that holds it is the only way to its data, and is neither its home nor where it is served.
pub(super) fn a_region_that_holds_a_place_is_not_deleted(world: &World) {
    world.apply(&json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": { "name": "us-paper" },
        "spec": {
            "key": "US_PAPER", "jurisdiction": "US", "databaseServers": [],
            "state": "MetadataOnly", "servedBy": "us-east",
        },
    }));
    world.await_region("us-paper", "MetadataOnly");
    let spec = json!({
        "tenantID": "nomad", "region": "us-paper", "allowedJurisdictions": ["US", "EU"],
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("nomad", &spec));
    world.await_ready(SPACE, "nomad", "True", "Placed");
    // As after a failover whose policy is gone: so it stays where the status says it is.
    serve_in(world, "eu-west", "PolicyNotFound");
    let told = world.running.until("the place is asked about", SOON, || {
        refusal(world, "us-east").filter(|told| told.contains("0 are active here"))
    });
    for part in [
        "Region us-east is in use",
        "0 TenantPlacements belong here",
        "status.databaseServers.tenants",
        "[main]",
        "delete them first",
    ] {
        assert!(told.contains(part), "{told}");
    }
    serve_in(world, "us-east", "Placed");
    world.delete(SPACE, "nomad");
    world.await_gone(SPACE, "nomad");
    for name in ["us-east", "us-paper"] {
        world.running.until("nobody has a place there", SOON, || {
            refusal(world, name).is_none().then_some(())
        });
    }
    let delete = DeleteParams::default();
    let _ = world
        .running
        .block_on(regions(world).delete("us-paper", &delete))
        .unwrap();
}

/// Makes the status say where the tenant is served, until a pass has seen that.
fn serve_in(world: &World, region: &str, reason: &str) {
    let patch = Patch::Merge(json!({ "status": { "activeRegion": region } }));
    world.running.until(reason, SOON, || {
        let (api, parameters) = (world.placements(SPACE), PatchParams::default());
        let patched = api.patch_status("nomad", &parameters, &patch);
        let status = world.running.block_on(patched).unwrap().status?;
        let ready = find(&status.conditions, ConditionType::Ready)?;
        (ready.reason == reason).then_some(())
    });
}

/// Why the API server refuses to delete a Region; none when it would. Nothing is deleted.
fn refusal(world: &World, name: &str) -> Option<String> {
    let dry = DeleteParams::default().dry_run();
    let deleted = world.running.block_on(regions(world).delete(name, &dry));
    deleted.err().map(|error| error.to_string())
}

fn regions(world: &World) -> Api<Region> {
    Api::all(world.running.admin.clone())
}
