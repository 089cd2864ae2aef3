//! Backups outside the law, as the API server keeps them off.

use domicile_api::Region;
use domicile_api::conditions::ConditionType;
use domicile_api::placement_status::CopyKind;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, tenant};
use super::{refusal, refuse_policy};

/// Faults: 6.
pub(super) fn a_tenant_is_kept_off_a_server_with_backups_abroad(world: &World) {
    // Nobody lives there now, so nobody minds.
    let abroad = json!({ "region": "us-east", "copyRegions": ["eu-west"] });
    world.running.until("nobody minds any more", SOON, || {
        patch(world, "us-east", &abroad).ok()
    });
    told(
        world,
        "us-east",
        &[("eu-west", Some("EU")), ("us-east", Some("US"))],
    );
    let national = json!({
        "tenantID": "vault", "region": "us-east", "allowedJurisdictions": ["US"],
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    let refused = world
        .running
        .until("the backups are asked about", SOON, || {
            refusal(world, &tenant("vault", &national))
        });
    for part in ["spec.allowedJurisdictions", "[US]", "spec.residency.backup"] {
        assert!(refused.contains(part), "{refused}");
    }
    // A region of which nothing is known is within no law, whatever a tenant allows.
    patch(world, "us-east", &json!({ "region": "moon" })).unwrap();
    told(world, "us-east", &[("moon", None)]);
    let mut wide = national.clone();
    wide["allowedJurisdictions"] = json!(["EU", "US"]);
    let _ = world
        .running
        .until("an unknown region is refused", SOON, || {
            refusal(world, &tenant("vault", &wide))
        });
    patch(world, "us-east", &json!({ "region": "us-east" })).unwrap();
    told(world, "us-east", &[("us-east", Some("US"))]);
    world
        .running
        .until("backups at home are nobody's matter", SOON, || {
            refusal(world, &tenant("vault", &national))
                .is_none()
                .then_some(())
        });
    world.apply(&tenant("vault", &national));
    world.await_ready(SPACE, "vault", "True", "Placed");
    let copies = world
        .placement(SPACE, "vault")
        .unwrap()
        .status
        .unwrap()
        .copies;
    let backup = copies.iter().find(|copy| copy.kind == CopyKind::Backup);
    assert!(backup.is_some_and(|copy| copy.region == "us-east" && copy.compliant));
}

/// Faults: 6.
pub(super) fn a_region_with_tenants_gains_no_backups_abroad(world: &World) {
    let abroad = json!({ "region": "us-east", "copyRegions": ["eu-west"] });
    let refused = world.running.until("a backup abroad is refused", SOON, || {
        patch(world, "us-east", &abroad).err()
    });
    for part in ["spec.residency.backup", "eu-west", "closedTo"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Nor does a policy gain a standby whose backups lie abroad.
    patch(world, "eu-central", &json!({ "region": "us-east" })).unwrap();
    let refused = world.running.until("its standby is refused", SOON, || {
        refuse_policy(world, "eu-west", &["eu-central"])
    });
    assert!(refused.contains("eu-central"), "{refused}");
    // What is kept there as a backup is not backed up again.
    patch(world, "eu-west", &json!({ "region": "eu-central" })).unwrap();
    patch(world, "eu-west", &json!(null)).unwrap();
    patch(world, "eu-central", &json!(null)).unwrap();
    // What nobody could refuse, as it names no Region, is told where the tenant is.
    patch(world, "us-east", &json!({ "region": "moon" })).unwrap();
    let wanted = (
        ConditionType::ResidencyCompliant,
        "False",
        "WouldLeaveJurisdiction",
    );
    let message = world.await_condition(SPACE, "vault", wanted);
    assert!(message.contains("backups in moon"), "{message}");
    patch(world, "us-east", &json!(null)).unwrap();
    let wanted = (
        ConditionType::ResidencyCompliant,
        "True",
        "WithinJurisdiction",
    );
    world.await_condition(SPACE, "vault", wanted);
    world.delete(SPACE, "vault");
    world.await_gone(SPACE, "vault");
}

/// Says where backups of a Region lie; `null` takes that back. The error is the API server's.
fn patch(world: &World, region: &str, backup: &Value) -> Result<(), String> {
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let residency = if backup.is_null() {
        Value::Null
    } else {
        json!({ "backup": { "copyRegions": backup["copyRegions"], "region": backup["region"] } })
    };
    let patch = Patch::Merge(json!({ "spec": { "residency": residency } }));
    let parameters = PatchParams::default();
    let patched = world
        .running
        .block_on(api.patch(region, &parameters, &patch));
    patched.map(drop).map_err(|error| error.to_string())
}

/// Waits until a Region tells where the backups of its server lie.
fn told(world: &World, region: &str, wanted: &[(&str, Option<&str>)]) {
    let api: Api<Region> = Api::all(world.running.admin.clone());
    world
        .running
        .until("the Region tells its backups", SOON, || {
            let found = world.running.block_on(api.get(region)).unwrap();
            let servers = found.status?.database_servers;
            let backups = &servers.first()?.backups;
            let told: Vec<_> = backups
                .iter()
                .map(|backup| (backup.region.as_str(), backup.jurisdiction.as_deref()))
                .collect();
            (told == wanted).then_some(())
        });
}
