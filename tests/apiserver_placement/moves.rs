//! A tenant follows its server to the standby and home again, as planned.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_api::conditions::{ConditionType, find, is_true};
use domicile_api::meta::SECRET_HASH;
use domicile_api::{FailoverOperation, FailoverPolicy, Region};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::changed;
use super::world::{SOON, SPACE, World, deployment, region, tenant};

#[path = "../apiserver_region/modes.rs"]
mod modes;
#[path = "moves/obscured.rs"]
mod obscured;

pub(super) const CENTRAL: &str = "10.77.0.2";
pub(super) const MOVE: Duration = Duration::from_mins(2);

/// Faults: 89, 92.
pub(super) fn a_tenant_follows_its_server_and_keeps_its_credentials(world: &World) {
    world.apply(&region("eu-central", "EU", CENTRAL, "eu-central-admin"));
    world.await_region("eu-central", "Serving");
    place(world);
    world.await_condition(
        SPACE,
        "mover",
        (ConditionType::FailoverProtected, "False", "NoPolicy"),
    );
    let home = world.secret("mover-db").unwrap();
    // Pods whose server is gone wait for no wave: here no pod ever ends one.
    let reload = json!({ "wave": 1, "pauseSeconds": 86_400 });
    world.patch(
        SPACE,
        "mover",
        &json!({ "spec": { "injection": { "reload": reload } } }),
    );

    world.apply(&policy());
    world.await_condition(
        SPACE,
        "mover",
        (ConditionType::FailoverProtected, "True", "Armed"),
    );
    world.await_ready(SPACE, "mover", "True", "Placed");
    assert_eq!(world.secret("mover-db").unwrap(), home);
    obscured::nothing_changes_while_the_policy_cannot_be_read(world);
    world.await_condition(
        SPACE,
        "mover",
        (ConditionType::FailoverProtected, "True", "Armed"),
    );

    let left = retain(world);
    changed::place(world);
    intrude(world);
    let kept = changed::change(world);
    operate(world, "there", "Switchover", "eu-central");
    let away = serves(world, "eu-central", CENTRAL, &home);
    changed::is_left(world, &kept, CENTRAL);
    changed::remove(world);
    let message = "a login on the former server still works";
    assert!(!world.can_log_in("eu-west", &home), "{message}");

    an_orphan_is_cleaned_up_where_its_server_was_moved(world, &left);

    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    remove(world, &api, "intruder");
    obscured::nothing_changes_while_the_policy_cannot_be_read(world);
    // Without its policy the tenant stays where it is, and nothing is changed.
    remove(world, &api, "eu");
    world.await_ready(SPACE, "mover", "False", "PolicyNotFound");
    assert_eq!(world.secret("mover-db").unwrap(), away);
    world.apply(&policy());
    world.await_ready(SPACE, "mover", "True", "Placed");
    assert_eq!(world.secret("mover-db").unwrap(), away);

    world.running.lab.regions().rejoin("eu-west").unwrap();
    world.running.until("the way home is open", MOVE, || {
        let conditions = policy_status(world).conditions;
        is_true(&conditions, ConditionType::FailbackReady).then_some(())
    });
    the_policy_is_deleted_on_the_way_home(world, &api);
    assert_eq!(world.secret("mover-db").unwrap(), home);
    assert!(world.can_log_in("eu-west", &home));
    world.running.lab.regions().rejoin("eu-central").unwrap();
    world.delete(SPACE, "mover");
    world.await_gone(SPACE, "mover");
    assert!(!world.database_exists("eu-west", "tenant_mover"));
}

/// It stays until the move has ended, and takes nothing of it along.
fn the_policy_is_deleted_on_the_way_home(world: &World, api: &Api<FailoverPolicy>) {
    begin(world, "back", "Failback", "eu-west");
    world.running.until("the move has begun", MOVE, || {
        policy_status(world).journal.map(drop)
    });
    remove(world, api, "eu");
    let kept = world.running.block_on(api.get_opt("eu")).unwrap();
    let deleted = kept.and_then(|policy| policy.metadata.deletion_timestamp);
    assert!(deleted.is_some(), "the policy went before its move");
    ends(world, "back");
    world.running.until("the policy is gone", MOVE, || {
        let found = world.running.block_on(api.get_opt("eu")).unwrap();
        found.is_none().then_some(())
    });
    world.poke("mover", "home");
    world.await_ready(SPACE, "mover", "True", "Placed");
    let status = world.placement(SPACE, "mover").unwrap().status.unwrap();
    assert_eq!(status.active_region.as_deref(), Some("eu-west"));
    let row = "SELECT epoch, writable FROM domicile.authority";
    let epoch = status.epoch.unwrap();
    assert_eq!(world.sql("eu-west", row), format!("{epoch}|t"));
}

/// Makes the tenant with two workloads. Where their server is gone they wait for no wave: none ever
/// ends here, as no pod is ever available.
fn place(world: &World) {
    let labels = json!({ "tenant": "mover" });
    for name in ["mover", "mover-2"] {
        world.apply(&deployment(name, &labels, &json!([])));
    }
    let workloads = json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "selector": { "matchLabels": labels },
    }]);
    let spec = json!({
        "tenantID": "mover", "region": "eu-west", "injection": { "workloads": workloads },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("mover", &spec));
    world.await_condition(
        SPACE,
        "mover",
        (ConditionType::Injected, "True", "InjectionComplete"),
    );
    let reload = json!({ "wave": 1, "pauseSeconds": 86_400 });
    world.patch(
        SPACE,
        "mover",
        &json!({ "spec": { "injection": { "reload": reload } } }),
    );
}

/// Makes a tenant at home and lets go of it, so that its database stays. Answers its UID.
fn retain(world: &World) -> String {
    let spec = json!({ "tenantID": "left", "region": "eu-west" });
    world.apply(&tenant("left", &spec));
    world.await_ready(SPACE, "left", "True", "Placed");
    let uid = world.placement(SPACE, "left").unwrap().metadata.uid;
    world.delete(SPACE, "left");
    world.await_gone(SPACE, "left");
    uid.unwrap()
}

/// The entry is in the Region that was home then; the server that was promoted instead is cleaned.
fn an_orphan_is_cleaned_up_where_its_server_was_moved(world: &World, uid: &str) {
    for region in ["eu-west", "eu-central"] {
        assert!(world.database_exists(region, "tenant_left"), "{region}");
    }
    let orphan = json!({
        "uid": uid, "namespace": SPACE, "name": "left", "server": "main",
        "database": "tenant_left", "cleanup": "Drop", "since": "2026-11-29T12:00:00Z",
    });
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let patch = Patch::Merge(json!({ "status": { "orphans": [orphan] } }));
    let _ = world
        .running
        .block_on(api.patch_status("eu-west", &PatchParams::default(), &patch))
        .unwrap();
    world.running.until("the orphan is gone", SOON, || {
        let region = world.running.block_on(api.get("eu-west")).unwrap();
        region.status?.orphans.is_empty().then_some(())
    });
    assert!(!world.database_exists("eu-central", "tenant_left"));
    assert_eq!(world.roles("eu-central", "tenant_left"), "0");
    // The former server is fenced, and not written to.
    assert!(world.database_exists("eu-west", "tenant_left"));
}

/// Makes a second policy of the same servers. It is refused, and the tenant must not heed it.
fn intrude(world: &World) {
    let mut second = policy();
    second["metadata"]["name"] = "intruder".into();
    world.apply(&second);
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    world
        .running
        .until("the second policy is refused", SOON, || {
            let status = world
                .running
                .block_on(api.get("intruder"))
                .unwrap()
                .status?;
            let stalled = find(&status.conditions, ConditionType::Stalled)?;
            (stalled.status == "True" && stalled.reason == "ServerInTwoPolicies").then_some(())
        });
    world.await_event("default", "intruder", "ServerInTwoPolicies");
    world.poke("mover", "intruder");
    world.await_ready(SPACE, "mover", "True", "Placed");
}

pub(super) fn remove(world: &World, api: &Api<FailoverPolicy>, name: &str) {
    let _ = world
        .running
        .block_on(api.delete(name, &DeleteParams::default()))
        .unwrap();
}

/// Waits until a region serves the tenant, and checks all that must and must not have changed.
fn serves(
    world: &World,
    name: &str,
    host: &str,
    before: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    world.running.until(&format!("{name} serves"), MOVE, || {
        let status = world.placement(SPACE, "mover")?.status?;
        let policy = policy_status(world);
        let served = status.active_region.as_deref() == Some(name) && status.epoch == policy.epoch;
        // The epoch comes last: whoever waits for it finds the Secret and the workload done.
        served.then(|| {
            let data = world.secret("mover-db").unwrap();
            assert_eq!(data["host"], host);
            let live = world.deployment("mover");
            let hash = &live["spec"]["template"]["metadata"]["annotations"][SECRET_HASH];
            assert_eq!(hash.as_str(), status.secret_hash.as_deref());
            assert_eq!(status.home_region.as_deref(), Some("eu-west"));
            assert_eq!(
                status.credentials.map(|credentials| credentials.generation),
                Some(1)
            );
        })
    });
    world.await_condition(
        SPACE,
        "mover",
        (ConditionType::Injected, "True", "InjectionComplete"),
    );
    world.await_ready(SPACE, "mover", "True", "Placed");
    let data = world.secret("mover-db").unwrap();
    assert!(world.can_log_in(name, &data));
    assert_eq!(
        data.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    for key in [
        "username",
        "password",
        "username-ro",
        "password-ro",
        "DATABASE_REGION",
    ] {
        assert_eq!(data[key], before[key], "{key}");
    }
    data
}

pub(super) fn operate(world: &World, name: &str, type_: &str, target: &str) {
    begin(world, name, type_, target);
    ends(world, name);
}

fn begin(world: &World, name: &str, type_: &str, target: &str) {
    world.running.until("the policy is steady", SOON, || {
        let state = policy_status(world).state?;
        (state.as_str() == "Steady").then_some(())
    });
    world.apply(&json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverOperation",
        "metadata": { "name": name },
        "spec": {
            "policyRef": { "name": "eu" }, "type": type_, "target": target,
            "expectedEpoch": policy_status(world).epoch.unwrap_or(0), "reason": "a test",
        },
    }));
}

fn ends(world: &World, name: &str) {
    let api: Api<FailoverOperation> = Api::all(world.running.admin.clone());
    world
        .running
        .until(&format!("the operation {name} ends"), MOVE, || {
            let status = world.running.block_on(api.get(name)).unwrap().status?;
            let state = status.state?.as_str();
            let ended = !["Pending", "AwaitingApproval", "Running"].contains(&state);
            ended.then(|| assert_eq!(state, "Succeeded", "{:?}", status.message))
        });
}

pub(super) fn policy_status(world: &World) -> domicile_api::FailoverPolicyStatus {
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    world
        .running
        .block_on(api.get("eu"))
        .unwrap()
        .status
        .unwrap_or_default()
}

pub(super) fn policy() -> serde_json::Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "eu" },
        "spec": {
            "primary": { "region": "eu-west", "server": "main" },
            "standbys": [{ "region": "eu-central", "server": "main" }],
            "mode": "Automatic",
            "detection": { "intervalSeconds": 1, "timeoutSeconds": 1 },
            "objectives": { "heartbeatSeconds": 1 },
            "switchover": { "drainSeconds": 1, "maxFreezeSeconds": 30 },
            "failback": { "stableSeconds": 2, "maxStableSeconds": 60 },
        },
    })
}
