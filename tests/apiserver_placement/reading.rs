//! Where the login that only reads leads, with a real replica beside the server.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_api::conditions::ConditionType;
use domicile_api::conditions::find;
use domicile_api::placement_status::{CopyKind, ReadOnlyStatus, ReadTarget};
use domicile_api::{Region, TenantPlacement};
use domicile_core::names::DatabaseName;
use domicile_lab::postgres::Server;
use domicile_providers::{Endpoint, Generic};
use kube::Api;
use kube::api::{Patch, PatchParams};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::world::{EAST, SOON, SPACE, WEST, World, deployment, tenant};

const PORT: u16 = 5433;
/// Three bad looks, each 10 s after the one before, and as long for each to end.
const LEFT: Duration = Duration::from_secs(75);

pub(super) fn a_reading_login_follows_a_replica_that_follows_its_server(world: &World) {
    let replica = beside(world, "eu-west");
    let labels = json!({ "tenant": "reader" });
    world.apply(&deployment("reader", &labels, &json!([])));
    let spec = json!({
        "tenantID": "reader", "region": "eu-west",
        "reclaimPolicy": "Delete", "deletionProtection": false,
        "connection": { "keys": { "RO": "{{ ro.host }}:{{ ro.port }}", "RW": "{{ rw.uri }}" } },
        "injection": { "workloads": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "selector": { "matchLabels": labels },
        }]},
    });
    world.apply(&tenant("reader", &spec));
    world.await_ready(SPACE, "reader", "True", "Placed");
    // It never led elsewhere: its workload was not rolled twice.
    let data = world.secret("reader-db").unwrap();
    assert_eq!(data["port-ro"], PORT.to_string());
    assert_eq!(data["port"], "5432");
    assert_eq!(data["RO"], format!("{WEST}:{PORT}"));
    assert!(data["RW"].contains(":5432/"));
    assert!(reads_at(world, &data), "the published login reads there");
    let told = told(world);
    assert_eq!(
        (told.leads_to, told.port),
        (ReadTarget::ReadReplica, i32::from(PORT))
    );
    let copies = placement(world).status.unwrap().copies;
    let copy = copies
        .iter()
        .find(|copy| copy.kind == CopyKind::ReadReplica);
    assert!(copy.is_some_and(|copy| copy.region == "eu-west" && copy.compliant));
    rotation_keeps_the_replica(world, &data);
    a_new_login_is_waited_for_on_a_replica_that_is_behind(world, &replica);
    a_replica_that_dies_is_left_once(world, &replica);
    a_replica_that_is_another_server_is_not_read_from(world);
    list(world, "eu-west", &json!([]));
    world.delete(SPACE, "reader");
    world.await_gone(SPACE, "reader");
    gone(world, "eu-west", &replica);
}

/// Ends the replica, and what its server keeps for it.
fn gone(world: &World, region: &str, replica: &Server) {
    replica.kill().unwrap();
    let slot = format!("{}_ro", region.replace('-', "_"));
    let drop = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
         WHERE slot_name = '{slot}' AND NOT active"
    );
    let left = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}'");
    world.running.until("the slot is free", SOON, || {
        world.sql(region, &drop);
        (world.sql(region, &left) == "0").then_some(())
    });
}

/// The other logins are published where they work, on the replica as well.
fn rotation_keeps_the_replica(world: &World, before: &BTreeMap<String, String>) {
    let annotation = json!({ "metadata": { "annotations": { "domicile.dev/rotate-at": "1" } } });
    world.patch(SPACE, "reader", &annotation);
    let after = world.running.until("other logins", SOON, || {
        let data = world.secret("reader-db")?;
        (data["username-ro"] != before["username-ro"]).then_some(data)
    });
    assert_eq!(after["port-ro"], PORT.to_string());
    assert!(reads_at(world, &after));
    world.await_ready(SPACE, "reader", "True", "Placed");
}

/// A replica that has yet to replay the login is not taken for one that refuses it.
fn a_new_login_is_waited_for_on_a_replica_that_is_behind(world: &World, replica: &Server) {
    let paused = |sql: &str| replica.superuser_sql("postgres", sql).unwrap();
    paused("SELECT pg_wal_replay_pause()");
    let spec = json!({
        "tenantID": "late", "region": "eu-west",
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("late", &spec));
    world.running.until("its database is there", SOON, || {
        world
            .database_exists("eu-west", "tenant_late")
            .then_some(())
    });
    let waits = world.running.ctx.clock.sleep(Duration::from_secs(15));
    world.running.block_on(waits);
    let ready = || {
        let status = world.placement(SPACE, "late").unwrap().status.unwrap();
        find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == "True")
    };
    assert!(!ready(), "it was published before it was replayed");
    paused("SELECT pg_wal_replay_resume()");
    world.await_ready(SPACE, "late", "True", "Placed");
    let data = world.secret("late-db").unwrap();
    assert_eq!(data["port-ro"], PORT.to_string());
    assert!(reads_at(world, &data), "the published login reads there");
    world.delete(SPACE, "late");
    world.await_gone(SPACE, "late");
}

fn a_replica_that_dies_is_left_once(world: &World, replica: &Server) {
    let version = || {
        let secret = world.running.block_on(world.secrets().get("reader-db"));
        secret.unwrap().metadata.resource_version.unwrap()
    };
    let before = version();
    replica.kill().unwrap();
    // A restart of the replica that ends within three looks is nobody's matter.
    world
        .running
        .block_on(world.running.ctx.clock.sleep(Duration::from_secs(12)));
    replica.start().unwrap();
    world
        .running
        .block_on(world.running.ctx.clock.sleep(Duration::from_secs(12)));
    world.poke("reader", "short");
    world.await_ready(SPACE, "reader", "True", "Placed");
    assert_eq!(version(), before, "one missed look changed the Secret");
    replica.kill().unwrap();
    world.running.until("the replica is left", LEFT, || {
        (world.secret("reader-db")?["port-ro"] == "5432").then_some(())
    });
    world.await_event(SPACE, "reader", "ReadsRerouted");
    let data = world.secret("reader-db").unwrap();
    assert_eq!(data["RO"], format!("{WEST}:5432"));
    assert!(reads_at(world, &data));
    let told = world.running.until("the status tells", SOON, || {
        let told = told(world);
        (told.leads_to == ReadTarget::Primary).then_some(told)
    });
    assert!(
        told.message.contains("10.77.0.1:5433 does not answer"),
        "{}",
        told.message
    );
    await_replicas(world, "eu-west", "ReplicaUnfit");
    world.await_event("default", "eu-west", "ReplicaUnfit");
    // Back again, it is not trusted at once.
    let left = version();
    replica.start().unwrap();
    world
        .running
        .block_on(world.running.ctx.clock.sleep(Duration::from_secs(25)));
    assert_eq!(version(), left, "it came back and was used at once");
    world.running.until("the replica is used again", SOON, || {
        (world.secret("reader-db")?["port-ro"] == PORT.to_string()).then_some(())
    });
}

/// The address leads to the server of another Region: no copy, however well it answers.
fn a_replica_that_is_another_server_is_not_read_from(world: &World) {
    list(world, "eu-west", &json!([{ "host": EAST, "port": 5432 }]));
    world.running.until("it is told what it is", SOON, || {
        let message = await_replicas(world, "eu-west", "ReplicaUnfit");
        message
            .contains("is the database server us-east/main")
            .then_some(())
    });
    world
        .running
        .until("the server is read from itself", SOON, || {
            (world.secret("reader-db")?["host-ro"] == WEST).then_some(())
        });
    world.running.until("the status tells", SOON, || {
        (told(world).leads_to == ReadTarget::Primary).then_some(())
    });
}

/// A replica of the region's server on its own machine, at another port, that the Region lists.
fn beside(world: &World, region: &str) -> Server {
    let server = world.running.lab.regions().server(region).unwrap();
    let mut spec = server.spec().clone();
    spec.region = format!("{region}-ro");
    spec.dir = spec.dir.with_file_name(&spec.region);
    spec.port = PORT;
    let replica = Server::standby(spec, server).unwrap();
    let address = server.address().to_string();
    list(world, region, &json!([{ "host": address, "port": PORT }]));
    await_replicas(world, region, "ReplicasFollow");
    replica
}

fn list(world: &World, region: &str, replicas: &Value) {
    let name = region;
    let api: Api<Region> = Api::all(world.running.admin.clone());
    let mut region = world.running.block_on(api.get(name)).unwrap();
    let server = &mut region.spec.database_servers[0];
    server.read_replicas = serde_json::from_value(replicas.clone()).unwrap();
    let patch = json!({ "spec": { "databaseServers": region.spec.database_servers } });
    let patch = Patch::Merge(patch);
    let _ = world
        .running
        .block_on(api.patch(name, &PatchParams::default(), &patch))
        .unwrap();
}

/// Waits until the Region says this of its replicas. Answers its message.
fn await_replicas(world: &World, region: &str, reason: &str) -> String {
    let api: Api<Region> = Api::all(world.running.admin.clone());
    world.running.until(reason, SOON, || {
        let region = world.running.block_on(api.get(region)).unwrap();
        let conditions = region.status.unwrap_or_default().conditions;
        let found = find(&conditions, ConditionType::ReadReplicasFollow)?;
        (found.reason == reason).then(|| found.message.clone())
    })
}

fn placement(world: &World) -> TenantPlacement {
    world.placement(SPACE, "reader").unwrap()
}

fn told(world: &World) -> ReadOnlyStatus {
    let connection = placement(world).status.unwrap().connection.unwrap();
    connection.read_only.unwrap()
}

/// Whether the reading login of a Secret is let in where its keys lead.
fn reads_at(world: &World, data: &BTreeMap<String, String>) -> bool {
    let password = SecretString::from(data["password-ro"].clone());
    let endpoint = Endpoint {
        host: data["host-ro"].clone(),
        port: data["port-ro"].parse().unwrap(),
        ca_pem: data["certificates"].clone(),
        username: data["username-ro"].clone(),
        password: password.clone(),
        identifiers: Vec::new(),
    };
    let server = Generic::new(endpoint, Duration::from_secs(10)).unwrap();
    let database = DatabaseName::parse(&data["database"]).unwrap();
    let login = server.can_log_in(&database, &data["username-ro"], &password);
    world.running.block_on(login).is_ok()
}
