//! Placements that are deleted while their region is lost.

use std::time::Duration;

use domicile_api::Region;
use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::SKIP_CLEANUP;
use domicile_api::orphan::{Cleanup, Orphan};
use domicile_api::region::RegionStatus;
use domicile_lab::regions::How;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::world::{SOON, SPACE, World, tenant};

const LOST: &str = "us-east";

/// Faults: 89, 44.
pub(super) fn a_deletion_waits_a_while_for_a_lost_region(world: &World) {
    for name in ["returns", "skips", "keeps", "waits"] {
        let keeps = name == "keeps";
        world.apply(&tenant(
            name,
            &if keeps { kept(name) } else { dropped(name) },
        ));
        world.await_ready(SPACE, name, "True", "Placed");
    }
    let regions = world.running.lab.regions();
    regions.lose(LOST, How::Freeze).unwrap();
    world.await_region(LOST, "ProbeTimedOut");
    for name in ["returns", "skips", "keeps"] {
        world.delete(SPACE, name);
    }
    world.await_gone(SPACE, "keeps");
    for name in ["returns", "skips"] {
        world.await_ready(SPACE, name, "False", "RegionUnreachable");
        world.await_event(SPACE, name, "RegionUnreachable");
    }
    let skip = json!({ "metadata": { "annotations": { SKIP_CLEANUP: "true" } } });
    world.patch(SPACE, "skips", &skip);
    world.await_gone(SPACE, "skips");
    assert_eq!(status(world).orphans, []);
    // A server that comes back in time is waited for.
    regions.restore(LOST).unwrap();
    world.await_gone(SPACE, "returns");
    assert!(!world.database_exists(LOST, "tenant_returns"));
    for name in ["skips", "keeps"] {
        let database = format!("tenant_{name}");
        assert!(world.database_exists(LOST, &database), "{name}");
    }
    recorded_and_cleaned(world);
}

/// One that does not is not waited for for ever.
fn recorded_and_cleaned(world: &World) {
    world.await_region(LOST, "Serving");
    world.apply(&tenant("turned", &kept("turned")));
    world.await_ready(SPACE, "turned", "True", "Placed");
    let before = world.secret("turned-db").unwrap();
    let ask = json!({ "metadata": { "annotations": { "domicile.dev/rotate-at": "1" } } });
    world.patch(SPACE, "turned", &ask);
    world.running.until("other logins are published", SOON, || {
        (world.secret("turned-db").unwrap()["username"] != before["username"]).then_some(())
    });
    world.await_ready(SPACE, "turned", "True", "Placed");
    let after = world.secret("turned-db").unwrap();
    let regions = world.running.lab.regions();
    regions.lose(LOST, How::Freeze).unwrap();
    world.await_region(LOST, "ProbeTimedOut");
    world.delete(SPACE, "waits");
    world.delete(SPACE, "turned");
    world.await_gone(SPACE, "turned");
    world.await_ready(SPACE, "waits", "False", "RegionUnreachable");
    world.await_gone(SPACE, "waits");
    assert_eq!(world.secret("waits-db"), None);
    world.await_event(SPACE, "waits", "OrphanRecorded");
    world.await_event("default", LOST, "OrphanRecorded");
    let listed = |name: &str| -> Option<Orphan> {
        let orphans = status(world).orphans;
        orphans.into_iter().find(|one| one.name == name)
    };
    assert_eq!(listed("waits").unwrap().cleanup, Cleanup::Drop);
    assert_eq!(listed("turned").unwrap().cleanup, Cleanup::CloseLogins);
    await_pending(world, Some("OrphanRecorded"));
    regions.restore(LOST).unwrap();
    await_pending(world, None);
    world.await_event("default", LOST, "OrphanCleaned");
    assert!(!world.database_exists(LOST, "tenant_waits"));
    assert_eq!(world.roles(LOST, "tenant_waits"), "0");
    // What was kept is kept, and only the logins that were published are open.
    assert!(world.can_log_in(LOST, &after));
    assert!(!world.can_log_in(LOST, &before));
    let left = world
        .running
        .block_on(world.placements(SPACE).list(&ListParams::default()))
        .unwrap();
    assert!(left.items.is_empty());
}

/// Faults: 91.
pub(super) fn a_name_is_free_once_its_orphan_is_gone(world: &World) {
    world.apply(&tenant("again", &dropped("again")));
    world.await_ready(SPACE, "again", "True", "Placed");
    let server = world.running.lab.regions().server(LOST).unwrap();
    std::thread::scope(|scope| {
        // It keeps the database from being dropped, so that the name stays taken.
        let session = scope.spawn(|| server.superuser_sql("tenant_again", "SELECT pg_sleep(240)"));
        let held = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = 'tenant_again' AND usename = 'postgres' AND state = 'active'";
        world.running.until("the session is there", SOON, || {
            (world.sql(LOST, held) == "1").then_some(())
        });
        taken_until_cleaned(world);
        assert!(session.join().unwrap().is_err());
    });
    world.await_ready(SPACE, "again", "True", "Placed");
    await_pending(world, None);
    assert!(world.can_log_in(LOST, &world.secret("again-db").unwrap()));
    world.delete(SPACE, "again");
    world.await_gone(SPACE, "again");
    assert!(!world.database_exists(LOST, "tenant_again"));
}

/// Ends with the session that blocked the cleanup.
fn taken_until_cleaned(world: &World) {
    let regions = world.running.lab.regions();
    regions.lose(LOST, How::Freeze).unwrap();
    world.await_region(LOST, "ProbeTimedOut");
    world.delete(SPACE, "again");
    world.await_gone(SPACE, "again");
    world.apply(&tenant("again", &dropped("again")));
    world.await_ready(SPACE, "again", "False", "RegionNotReady");
    regions.restore(LOST).unwrap();
    let taken = (ConditionType::DatabaseReady, "False", "DatabaseNameTaken");
    let told = world.await_condition(SPACE, "again", taken);
    assert!(told.contains("tenant-acme/again left it"), "{told}");
    await_pending(world, Some("CleanupBlocked"));
    let problem = status(world).orphans[0].problem.clone().unwrap_or_default();
    assert!(problem.contains("session with process ID"), "{problem}");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = 'tenant_again' AND usename = 'postgres'";
    world.sql(LOST, end);
}

/// As an operator leaves it that dies after the entry is stored: the entry is there, and so is the
/// placement, which a person then wants kept.
/// Faults: 44, 89.
pub(super) fn a_placement_that_is_still_there_governs(world: &World) {
    world.apply(&tenant("here", &kept("here")));
    world.await_ready(SPACE, "here", "True", "Placed");
    let uid = world.placement(SPACE, "here").unwrap().metadata.uid;
    let orphan = json!({
        "uid": uid, "namespace": SPACE, "name": "here", "server": "main",
        "database": "tenant_here", "cleanup": "Drop", "since": "2026-11-29T12:00:00Z",
    });
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let patch = Patch::Merge(json!({ "status": { "orphans": [orphan] } }));
    let _ = world
        .running
        .block_on(api.patch_status(LOST, &PatchParams::default(), &patch))
        .unwrap();
    await_pending(world, Some("OrphanRecorded"));
    let pause = world.running.ctx.clock.sleep(Duration::from_secs(12));
    world.running.block_on(pause);
    assert_eq!(status(world).orphans.len(), 1);
    assert!(world.can_log_in(LOST, &world.secret("here-db").unwrap()));
    world.delete(SPACE, "here");
    world.await_gone(SPACE, "here");
    await_pending(world, None);
    assert!(world.can_log_in(LOST, &world.secret("here-db").unwrap()));
}

fn status(world: &World) -> RegionStatus {
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let region = world.running.block_on(api.get(LOST)).unwrap();
    region.status.unwrap_or_default()
}

/// Waits until the Region says this of its orphans, or lists none and says nothing.
fn await_pending(world: &World, reason: Option<&str>) {
    let patience = SOON + Duration::from_mins(1);
    world
        .running
        .until(&format!("orphans: {reason:?}"), patience, || {
            let status = status(world);
            let found = find(&status.conditions, ConditionType::CleanupPending);
            let said = found.map(|condition| condition.reason.as_str());
            (said == reason && status.orphans.is_empty() == reason.is_none()).then_some(())
        });
}

fn dropped(id: &str) -> Value {
    json!({
        "tenantID": id, "region": LOST, "reclaimPolicy": "Delete", "deletionProtection": false,
    })
}

fn kept(id: &str) -> Value {
    json!({ "tenantID": id, "region": LOST })
}
