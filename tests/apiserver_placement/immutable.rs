//! A Secret that the API server does not let anybody change.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::world::{SOON, SPACE, World};

pub(super) fn a_secret_that_cannot_be_changed_is_told(world: &World) {
    let (running, api) = (&world.running, world.secrets());
    let patch = json!({ "immutable": true });
    let patch = Patch::Merge(&patch);
    running
        .block_on(api.patch("acme-db", &PatchParams::default(), &patch))
        .unwrap();
    let include = |groups: &[&str]| {
        let patch = json!({ "spec": { "connection": { "include": groups } } });
        world.patch(SPACE, "acme", &patch);
    };
    include(&[]);
    world.await_ready(SPACE, "acme", "False", "ApiServerError");
    world.await_event(SPACE, "acme", "ApiServerError");
    let before = world.secret("acme-db").unwrap();
    assert!(before.contains_key("DATABASE_REGION"));
    let _ = running
        .block_on(api.delete("acme-db", &DeleteParams::default()))
        .unwrap();
    world.poke("acme", "immutable");
    let after = running.until("another Secret", SOON, || world.secret("acme-db"));
    assert!(!after.contains_key("DATABASE_REGION"));
    world.await_ready(SPACE, "acme", "True", "Placed");
    assert!(world.can_log_in("eu-west", &after));
    include(&["RegionEnv"]);
    running.until("the group is back", SOON, || {
        let data = world.secret("acme-db")?;
        data.contains_key("DATABASE_REGION").then_some(())
    });
}
