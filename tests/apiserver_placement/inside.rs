//! What is in a tenant's database by its spec, and what differs from it.

use domicile_api::conditions::ConditionType;
use serde_json::{Value, json};

use super::world::{SPACE, WEST, World, region, tenant};

const DRIFTED: ConditionType = ConditionType::Drifted;

pub(super) fn schemas_and_extensions_are_made_as_the_server_allows(world: &World) {
    allow(world, &["pgcrypto"]);
    // Nothing is made for a tenant that asks for what no server lists.
    world.apply(&tenant(
        "outer",
        &spec("outer", &["app"], &["dblink", "pgcrypto"]),
    ));
    let fits = (ConditionType::Ready, "False", "NoServerForPlan");
    let told = world.await_condition(SPACE, "outer", fits);
    assert!(
        told.contains("main: does not list dblink in `extensions`"),
        "{told}"
    );
    world.await_event(SPACE, "outer", "NoServerForPlan");
    let status = world.placement(SPACE, "outer").unwrap().status.unwrap();
    assert_eq!((status.server, world.secret("outer-db")), (None, None));
    assert!(!world.database_exists("eu-west", "tenant_outer"));
    world.delete(SPACE, "outer");
    world.await_gone(SPACE, "outer");

    world.apply(&tenant("inner", &spec("inner", &["app"], &["pgcrypto"])));
    world.await_ready(SPACE, "inner", "True", "Placed");
    assert_eq!(there(world), "app pgcrypto");
    // A served tenant goes on, and none of what it asks for is made in part.
    change(world, &["app"], &["pgcrypto", "citext", "dblink"]);
    let refused = (ConditionType::DatabaseReady, "False", "ExtensionNotAllowed");
    let told = world.await_condition(SPACE, "inner", refused);
    assert!(told.starts_with("`spec.database.extensions`: "), "{told}");
    world.await_ready(SPACE, "inner", "True", "ExtensionNotAllowed");
    world.await_event(SPACE, "inner", "ExtensionNotAllowed");
    assert_eq!(there(world), "app pgcrypto");
    assert!(world.can_log_in("eu-west", &world.secret("inner-db").unwrap()));
    allow(world, &["pgcrypto", "citext", "dblink", "no-such"]);
    let told = world.await_condition(SPACE, "inner", incomplete());
    let statement = "CREATE EXTENSION \"dblink\" SCHEMA public";
    assert!(
        told.contains(statement) && told.contains("superusers only"),
        "{told}"
    );
    assert_eq!(there(world), "app citext pgcrypto");
    sql(world, statement);
    world.poke("inner", "helped");
    world.await_ready(SPACE, "inner", "True", "Placed");
    change(
        world,
        &["app"],
        &["pgcrypto", "citext", "dblink", "no-such"],
    );
    let told = world.await_condition(SPACE, "inner", incomplete());
    assert!(told.contains("has no extension no-such; install"), "{told}");
    change(world, &["app"], &["pgcrypto"]);
    world.await_ready(SPACE, "inner", "True", "Placed");
    world.await_event(SPACE, "inner", "LeftInDatabase");
    assert_eq!(there(world), "app citext dblink pgcrypto");
}

pub(super) fn what_differs_is_put_right_or_told(world: &World) {
    world.await_condition(SPACE, "inner", (DRIFTED, "False", "AsPlanned"));
    sql(
        world,
        "REVOKE CONNECT ON DATABASE tenant_inner FROM tenant_inner_ro; DROP SCHEMA app",
    );
    // Nobody asks for a look: it is the periodic one that finds it.
    let told = world.await_condition(SPACE, "inner", (DRIFTED, "True", "DriftRepaired"));
    for fact in [
        "role tenant_inner_ro had no CONNECT on database tenant_inner",
        "schema app was not there",
    ] {
        assert!(told.contains(fact), "{told}");
    }
    world.await_event(SPACE, "inner", "DriftRepaired");
    assert_eq!(there(world), "app citext dblink pgcrypto");
    world.await_ready(SPACE, "inner", "True", "Placed");
    world.poke("inner", "mended");
    world.await_condition(SPACE, "inner", (DRIFTED, "False", "AsPlanned"));
    sql(world, "ALTER ROLE tenant_inner_a CONNECTION LIMIT 3");
    world.poke("inner", "limited");
    let told = world.await_condition(SPACE, "inner", (DRIFTED, "True", "DriftRepaired"));
    assert!(
        told.contains("login tenant_inner_a had connection limit 3"),
        "{told}"
    );
    // Another owner is not changed back: who relies on it is not known.
    sql(world, "ALTER SCHEMA app OWNER TO postgres");
    world.poke("inner", "owned");
    let told = world.await_condition(SPACE, "inner", (DRIFTED, "True", "DriftLeft"));
    assert!(
        told.contains("schema app belongs to role postgres"),
        "{told}"
    );
    world.await_event(SPACE, "inner", "DriftLeft");
    sql(world, "ALTER SCHEMA app OWNER TO tenant_inner");
    // What the spec itself changes did not drift.
    let patch = json!({ "spec": { "roles": [
        { "name": "rw", "privileges": "ReadWrite", "connectionLimit": 7 },
        { "name": "ro", "privileges": "ReadOnly" },
    ]}});
    world.patch(SPACE, "inner", &patch);
    world.await_condition(SPACE, "inner", (DRIFTED, "False", "AsPlanned"));
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'tenant_inner_a'";
    assert_eq!(world.sql("eu-west", limit), "7");
    world.delete(SPACE, "inner");
    world.await_gone(SPACE, "inner");
    assert!(!world.database_exists("eu-west", "tenant_inner"));
}

fn incomplete() -> (ConditionType, &'static str, &'static str) {
    (ConditionType::DatabaseReady, "False", "DatabaseIncomplete")
}

/// Lists extensions that tenants of the server in eu-west may ask for.
fn allow(world: &World, extensions: &[&str]) {
    let mut region = region("eu-west", "EU", WEST, "eu-west-admin");
    region["spec"]["databaseServers"][0]["extensions"] = json!(extensions);
    world.apply(&region);
}

fn change(world: &World, schemas: &[&str], extensions: &[&str]) {
    let database = json!({ "schemas": schemas, "extensions": extensions });
    world.patch(SPACE, "inner", &json!({ "spec": { "database": database } }));
}

/// The tenant's own schemas and extensions, by name.
fn there(world: &World) -> String {
    sql(
        world,
        "SELECT string_agg(name, ' ' ORDER BY name) FROM (
           SELECT nspname::text COLLATE \"C\" AS name FROM pg_namespace WHERE nspname = 'app'
           UNION ALL SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql') AS all_",
    )
}

/// SQL as a superuser in the tenant's database.
fn sql(world: &World, sql: &str) -> String {
    let server = world.running.lab.regions().server("eu-west").unwrap();
    server
        .superuser_sql("tenant_inner", sql)
        .unwrap()
        .trim()
        .to_owned()
}

fn spec(id: &str, schemas: &[&str], extensions: &[&str]) -> Value {
    json!({
        "tenantID": id, "region": "eu-west", "reclaimPolicy": "Delete", "deletionProtection": false,
        "database": { "schemas": schemas, "extensions": extensions },
    })
}
