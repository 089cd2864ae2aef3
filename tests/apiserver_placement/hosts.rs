//! A Secret that names all servers, for clients that find the one that takes writes:
//! `tests/clients` has the clients.

use domicile_api::FailoverPolicy;
use domicile_api::conditions::ConditionType;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

use super::moves::{CENTRAL, operate, policy};
use super::world::{EAST, SOON, SPACE, WEST, World, region, tenant};

#[test]
fn a_secret_names_all_servers_where_the_fence_is_proven() {
    let world = World::start();
    world.running.onboard(SPACE);
    for (name, law, host) in [
        ("eu-west", "EU", WEST),
        ("eu-central", "EU", CENTRAL),
        ("us-east", "US", EAST),
    ] {
        world.apply(&region(name, law, host, &format!("{name}-admin")));
        world.await_region(name, "Serving");
    }
    without_a_policy_there_is_one_server(&world);
    world.apply(&policy());
    let armed = (ConditionType::FailoverProtected, "True", "Armed");
    a_fence_that_proves_nothing_is_refused(&world);
    let named = a_proven_fence_names_both(&world);
    world.await_condition(SPACE, "listed", armed);
    assert_eq!(world.secret("listed-db").unwrap(), named);
    a_policy_that_is_weakened_takes_nothing_away(&world);
    a_move_puts_the_new_server_first(&world);
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let _ = world
        .running
        .block_on(api.delete("eu", &DeleteParams::default()))
        .unwrap();
}

type Data = std::collections::BTreeMap<String, String>;

fn without_a_policy_there_is_one_server(world: &World) {
    let spec = json!({
        "tenantID": "lone", "region": "us-east", "connection": { "endpoint": "MultiHost" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("lone", &spec));
    world.await_ready(SPACE, "lone", "True", "Placed");
    let data = world.secret("lone-db").unwrap();
    assert_eq!(data["libpq-uri"], data["uri"]);
    assert_eq!(hosts(world, "lone"), [EAST]);
    world.delete(SPACE, "lone");
    world.await_gone(SPACE, "lone");
}

fn a_fence_that_proves_nothing_is_refused(world: &World) {
    minimum(world, "Assumed");
    let spec = json!({
        "tenantID": "listed", "region": "eu-west", "connection": { "endpoint": "MultiHost" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    world.apply(&tenant("listed", &spec));
    world.await_ready(SPACE, "listed", "False", "EndpointUnsuited");
    world.await_event(SPACE, "listed", "EndpointUnsuited");
    let current = ConditionType::CredentialsCurrent;
    let unsuited = (current, "False", "EndpointUnsuited");
    let message = world.await_condition(SPACE, "listed", unsuited);
    for part in [
        "`spec.connection.endpoint`",
        "FailoverPolicy eu",
        "`spec.fencing.minimumProof` Assumed",
        "SynchronousReplication",
        "Direct",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.secret("listed-db"), None);
    assert!(!world.database_exists("eu-west", "tenant_listed"));

    // What works stays as it is.
    endpoint(world, "Direct");
    world.await_ready(SPACE, "listed", "True", "Placed");
    let direct = world.secret("listed-db").unwrap();
    assert!(!direct.contains_key("libpq-uri"));
    endpoint(world, "MultiHost");
    world.await_ready(SPACE, "listed", "True", "EndpointUnsuited");
    assert_eq!(world.secret("listed-db").unwrap(), direct);
    assert_eq!(hosts(world, "listed"), Vec::<String>::new());
}

fn a_proven_fence_names_both(world: &World) -> Data {
    minimum(world, "SynchronousReplication");
    world.poke("listed", "proven");
    world.await_ready(SPACE, "listed", "True", "Placed");
    let data = world.secret("listed-db").unwrap();
    assert_eq!(data["host"], WEST);
    assert_eq!(listed(&data), [WEST, CENTRAL]);
    assert_eq!(hosts(world, "listed"), [WEST, CENTRAL]);
    assert_eq!(data["DATABASE_URL"], data["libpq-uri"]);
    let both = format!("//{WEST}:5432,{CENTRAL}:5432/tenant_listed?");
    assert!(data["jdbc-url"].contains(&both), "another list");
    assert!(data["jdbc-url"].ends_with("&targetServerType=primary"));
    let authority = "-----BEGIN CERTIFICATE-----";
    assert_eq!(data["certificates"].matches(authority).count(), 2);
    assert!(!data["uri-ro"].contains(CENTRAL));
    data
}

fn a_policy_that_is_weakened_takes_nothing_away(world: &World) {
    let before = world.secret("listed-db").unwrap();
    minimum(world, "Assumed");
    world.poke("listed", "weakened");
    world.await_ready(SPACE, "listed", "True", "EndpointUnsuited");
    assert_eq!(world.secret("listed-db").unwrap(), before);
    minimum(world, "LeaseExpired");
    world.poke("listed", "lease");
    world.await_ready(SPACE, "listed", "True", "Placed");
    assert_eq!(world.secret("listed-db").unwrap(), before);
    minimum(world, "SynchronousReplication");
}

/// The one that was left confirmed its fence, so it stays in the list; it answers, and libpq would
/// end its search there, so it stands behind.
fn a_move_puts_the_new_server_first(world: &World) {
    let before = world.secret("listed-db").unwrap();
    operate(world, "listed-there", "Switchover", "eu-central");
    // The move ends when the tenants are pointed at the new server.
    let after = world.secret("listed-db").unwrap();
    assert_eq!(listed(&after), [CENTRAL, WEST]);
    assert_eq!(after["host"], CENTRAL);
    for key in ["password", "username", "certificates"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    world.await_ready(SPACE, "listed", "True", "Placed");
    assert_eq!(world.secret("listed-db").unwrap(), after);
    assert_eq!(hosts(world, "listed"), [CENTRAL, WEST]);
    assert!(world.can_log_in("eu-central", &after));
    world.delete(SPACE, "listed");
    world.await_gone(SPACE, "listed");
}

/// The servers of `libpq-uri`, as a client reads them, which chooses the one that takes writes.
fn listed(data: &Data) -> Vec<String> {
    let read: Config = data["libpq-uri"].parse().unwrap();
    let attrs = read.get_target_session_attrs();
    assert_eq!(attrs, TargetSessionAttrs::ReadWrite);
    assert_eq!(read.get_ports(), [5432, 5432]);
    let hosts = read.get_hosts().iter();
    hosts
        .filter_map(|host| match host {
            Host::Tcp(name) => Some(name.clone()),
            Host::Unix(_) => None,
        })
        .collect()
}

/// The servers that the status says the Secret names.
fn hosts(world: &World, name: &str) -> Vec<String> {
    let status = world.placement(SPACE, name).unwrap().status.unwrap();
    let hosts = status.connection.unwrap().hosts.into_iter();
    hosts.map(|one| one.host).collect()
}

fn endpoint(world: &World, kind: &str) {
    let patch = json!({ "spec": { "connection": { "endpoint": kind } } });
    world.patch(SPACE, "listed", &patch);
}

/// Sets the policy's proof, and waits until the operator has seen it.
fn minimum(world: &World, proof: &str) {
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let patch = Patch::Merge(json!({ "spec": { "fencing": { "minimumProof": proof } } }));
    let _ = world
        .running
        .block_on(api.patch("eu", &PatchParams::default(), &patch))
        .unwrap();
    world.running.until(proof, SOON, || {
        let seen = world.running.ctx.stores.policies.get("eu")?;
        let now = serde_json::to_value(seen.spec.fencing.minimum_proof).unwrap();
        (now == proof && seen.status.as_ref()?.state.is_some()).then_some(())
    });
}
