//! The placement controller on a real API server with real databases.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test: what fails in them fails the test, and says so"
)]

use domicile_api::conditions::ConditionType;
use domicile_api::meta::{OWNER_UID, SECRET_HASH};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

#[path = "apiserver_placement/address.rs"]
mod address;
#[path = "apiserver_placement/adopted.rs"]
mod adopted;
#[path = "apiserver_placement/capacity.rs"]
mod capacity;
#[path = "apiserver_placement/changed.rs"]
mod changed;
#[path = "apiserver_placement/clients.rs"]
mod clients;
#[path = "apiserver_placement/crowd.rs"]
mod crowd;
#[path = "apiserver_placement/denied.rs"]
mod denied;
#[path = "apiserver_placement/endpoint.rs"]
mod endpoint;
#[path = "apiserver_placement/forged.rs"]
mod forged;
#[path = "apiserver_placement/full.rs"]
mod full;
#[path = "apiserver_placement/given.rs"]
mod given;
#[path = "apiserver_placement/gone.rs"]
mod gone;
#[path = "apiserver_placement/hosts.rs"]
mod hosts;
#[path = "apiserver_placement/immutable.rs"]
mod immutable;
#[path = "apiserver_placement/injection.rs"]
mod injection;
#[path = "apiserver_placement/inside.rs"]
mod inside;
#[path = "apiserver_placement/kinds.rs"]
mod kinds;
#[path = "apiserver_placement/lost.rs"]
mod lost;
#[path = "apiserver_placement/moves.rs"]
mod moves;
#[path = "apiserver_placement/namespace.rs"]
mod namespace;
#[path = "apiserver_placement/orphans.rs"]
mod orphans;
#[path = "apiserver_placement/reading.rs"]
mod reading;
#[path = "apiserver_placement/refused.rs"]
mod refused;
#[path = "apiserver_placement/regional.rs"]
mod regional;
#[path = "apiserver_placement/reload.rs"]
mod reload;
#[path = "apiserver_placement/renamed.rs"]
mod renamed;
#[path = "apiserver_placement/resisting.rs"]
mod resisting;
#[path = "apiserver_placement/retained.rs"]
mod retained;
#[path = "apiserver_placement/rotation.rs"]
mod rotation;
#[path = "apiserver_placement/settled.rs"]
mod settled;
#[path = "apiserver_placement/states.rs"]
mod states;
#[path = "apiserver_placement/watched.rs"]
mod watched;
#[path = "apiserver_placement/waves.rs"]
mod waves;
#[path = "apiserver_placement/world.rs"]
mod world;

use world::{EAST, SOON, SPACE, WEST, World, deployment, region, tenant};

#[test]
fn tenants_are_placed_and_let_go() {
    let world = World::start();
    world.running.onboard(SPACE);
    refused::a_placement_without_any_region_waits(&world);
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.apply(&region("us-east", "US", EAST, "us-east-admin"));
    for name in ["eu-west", "us-east"] {
        world.await_region(name, "Serving");
        world.sql(name, "ALTER SYSTEM SET autovacuum = off");
        world.sql(name, "SELECT pg_reload_conf()");
    }
    a_tenant_gets_a_database_a_secret_and_its_workload_the_variables(&world);
    settled::a_new_tenant_is_looked_at_once(&world);
    settled::a_settled_world_writes_nothing(&world);
    a_secret_edited_by_hand_is_put_back(&world);
    immutable::a_secret_that_cannot_be_changed_is_told(&world);
    lost::a_deleted_secret_comes_back_and_no_login_fails(&world);
    rotation::a_password_changed_on_the_server_is_told_and_left(&world);
    a_field_of_somebody_else_is_left_alone(&world);
    a_workload_that_is_no_longer_selected_is_released(&world);
    rotation::no_login_ever_fails(&world);
    rotation::the_overlap_ends_though_a_session_is_left(&world);
    rotation::the_calendar_rotates(&world);
    rotation::a_rotation_that_was_cut_is_completed(&world);
    rotation::a_request_is_answered_once_though_its_pass_was_killed(&world);
    rotation::an_old_secret_that_is_put_back_revives_nothing(&world);
    given::a_password_is_taken_from_another_secret(&world);
    address::an_address_that_leads_to_another_server_makes_nothing_there(&world);
    refused::each_bad_placement_has_its_own_reason(&world);
    refused::a_template_that_cannot_be_rendered_names_its_field(&world);
    refused::a_foreign_secret_is_left_alone_and_nothing_is_made(&world);
    refused::a_database_belongs_to_who_came_first(&world);
    adopted::nothing_is_made_where_there_is_nothing_to_adopt(&world);
    adopted::a_database_of_others_is_taken_over_once_an_administrator_agreed(&world);
    refused::an_operator_without_rights_leaves_nothing_behind(&world);
    forged::a_workload_of_another_namespace_is_not_selected(&world);
    forged::what_a_secret_says_of_itself_neither_gives_nor_takes(&world);
    forged::a_forged_memory_changes_nothing_on_the_server(&world);
    gone::a_region_that_is_deleted_leaves_its_tenants_as_they_are(&world);
    gone::a_placement_that_is_deleted_while_it_is_made_leaves_nothing(&world);
    refused::a_standby_abroad_keeps_a_tenant_out(&world);
    capacity::no_server_takes_more_than_it_may(&world);
    capacity::a_plan_gets_the_server_that_takes_it(&world);
    retained::what_a_placement_left_is_found_and_adopted(&world);
    full::a_tenant_that_uses_all_its_connections_stays_ready(&world);
    reading::a_reading_login_follows_a_replica_that_follows_its_server(&world);
    states::a_region_takes_tenants_while_it_is_active(&world);
    states::another_region_holds_the_tenants_of_one_without_servers(&world);
    inside::schemas_and_extensions_are_made_as_the_server_allows(&world);
    inside::what_differs_is_put_right_or_told(&world);
    refused::no_output_holds_a_password(&world);
    a_retained_placement_leaves_all_behind(&world);
    namespace::a_deleted_namespace_takes_its_placements_along(&world);
    a_protected_placement_stays(&world);
    orphans::a_deletion_waits_a_while_for_a_lost_region(&world);
    orphans::a_name_is_free_once_its_orphan_is_gone(&world);
    orphans::a_placement_that_is_still_there_governs(&world);
    moves::a_tenant_follows_its_server_and_keeps_its_credentials(&world);
    for name in ["eu-west", "us-east"] {
        world.sql(name, "ALTER SYSTEM RESET autovacuum");
        world.sql(name, "SELECT pg_reload_conf()");
    }
}

#[test]
fn a_secret_changes_its_name() {
    let world = World::start();
    world.running.onboard(SPACE);
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.await_region("eu-west", "Serving");
    renamed::the_secret_before_goes_after_its_last_reader(&world);
    renamed::what_is_not_ours_under_a_name_before_is_left(&world);
}

#[test]
fn a_crowd_holds_up_itself_alone() {
    let world = World::start();
    world.running.onboard(SPACE);
    for (name, law, host) in [("eu-west", "EU", WEST), ("us-east", "US", EAST)] {
        world.apply(&region(name, law, host, &format!("{name}-admin")));
        world.await_region(name, "Serving");
    }
    crowd::a_server_that_is_silent_holds_up_its_own_tenants_alone(&world);
    crowd::a_namespace_that_is_silent_holds_up_its_own_tenants_alone(&world);
}

#[test]
fn the_clusters_of_regions_get_their_part() {
    let world = World::start();
    world.running.onboard(SPACE);
    let there = regional::There::start(&world);
    world.apply(&regional::home());
    world.await_region("eu-west", "Serving");
    regional::a_namespace_that_is_missing_there_is_told_and_not_made(&world, &there);
    regional::the_secret_arrives_and_a_workload_gets_it(&world, &there);
    regional::a_settled_world_writes_nothing_there(&world, &there);
    regional::a_cluster_that_is_down_keeps_the_name_before_alone(&world, &there);
    regional::what_somebody_changed_there_is_put_back(&world, &there);
    regional::a_foreign_secret_there_is_left_alone(&world, &there);
    regional::a_cluster_that_is_the_hub_itself_keeps_the_hubs_secret(&world);
    regional::a_cluster_that_is_down_delays_its_own_part_alone(&world, &there);
    regional::a_deletion_takes_back_what_is_there(&world, &there);
    regional::a_deletion_does_not_wait_for_a_cluster_for_ever(&world, &there);
    regional::a_cluster_outside_the_law_is_never_reached(&world, &there);
    regional::a_region_that_is_lost_with_its_cluster_holds_up_no_failover(&world, &there);
    regional::a_law_that_is_narrowed_then_is_answered_for(&world, &there);
}

fn a_tenant_gets_a_database_a_secret_and_its_workload_the_variables(world: &World) {
    let labels = json!({ "tenant": "acme" });
    world.apply(&deployment(
        "api",
        &labels,
        &json!([{ "name": "MINE", "value": "1" }]),
    ));
    let workloads = json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "selector": { "matchLabels": labels },
    }]);
    let spec = json!({
        "tenantID": "acme", "region": "eu-west", "injection": { "workloads": workloads },
    });
    world.apply(&tenant("acme", &spec));
    world.await_ready(SPACE, "acme", "True", "Placed");
    world.await_event(SPACE, "acme", "Placed");

    let data = world.secret("acme-db").unwrap();
    assert_eq!(
        (data["host"].as_str(), data["database"].as_str()),
        (WEST, "tenant_acme")
    );
    assert_eq!(data["DATABASE_URL"], data["uri"]);
    assert_eq!(data["DATABASE_URL"], data["DATABASE_URL_EU_WEST"]);
    assert_ne!(data["password"], data["password-ro"]);
    assert!(world.can_log_in("eu-west", &data));
    // Nobody else may connect: PUBLIC has no right, and the second slot has no password.
    let public = "SELECT has_database_privilege('public', 'tenant_acme', 'CONNECT')";
    assert_eq!(world.sql("eu-west", public), "f");

    let complete = (ConditionType::Injected, "True", "InjectionComplete");
    world.await_condition(SPACE, "acme", complete);
    let live = world.deployment("api");
    let env = &live["spec"]["template"]["spec"]["containers"][0]["env"];
    let reference = json!({
        "name": "DATABASE_URL",
        "valueFrom": { "secretKeyRef": { "name": "acme-db", "key": "DATABASE_URL" } },
    });
    let env = env.as_array().unwrap();
    assert!(env.contains(&reference) && env.contains(&json!({ "name": "MINE", "value": "1" })));
    let status = world.placement(SPACE, "acme").unwrap().status.unwrap();
    let hash = &live["spec"]["template"]["metadata"]["annotations"][SECRET_HASH];
    assert_eq!(hash.as_str(), status.secret_hash.as_deref());
    let words = (
        status.home_region.as_deref(),
        status.active_region.as_deref(),
    );
    assert_eq!(words, (Some("eu-west"), Some("eu-west")));
    assert_eq!(
        status.binding.map(|binding| binding.name).as_deref(),
        Some("acme-db")
    );
}

/// Faults: 43.
fn a_secret_edited_by_hand_is_put_back(world: &World) {
    let before = world.secret("acme-db").unwrap();
    let patch = json!({ "stringData": { "password": "mine", "EXTRA": "x", "host": "1.2.3.4" } });
    let api = world.secrets();
    let patch = Patch::Merge(&patch);
    world
        .running
        .block_on(api.patch("acme-db", &PatchParams::default(), &patch))
        .unwrap();
    world.poke("acme", "edited");
    world.running.until("the Secret is as before", SOON, || {
        (world.secret("acme-db").unwrap() == before).then_some(())
    });
    world.await_ready(SPACE, "acme", "True", "Placed");
}

fn a_field_of_somebody_else_is_left_alone(world: &World) {
    let own = json!([{ "name": "DATABASE_URL", "value": "postgresql://mine" }]);
    world.apply(&deployment("own", &json!({ "tenant": "acme" }), &own));
    let conflict = (ConditionType::Injected, "False", "FieldConflict");
    let message = world.await_condition(SPACE, "acme", conflict);
    assert!(
        message.contains("env[name=\"DATABASE_URL\"] belongs to kubectl"),
        "{message}"
    );
    world.await_event(SPACE, "acme", "FieldConflict");
    let live = world.deployment("own");
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][0]["env"],
        own
    );
    let api = world.deployments();
    let _ = world
        .running
        .block_on(api.delete("own", &DeleteParams::default()))
        .unwrap();
    let complete = (ConditionType::Injected, "True", "InjectionComplete");
    world.await_condition(SPACE, "acme", complete);
}

fn a_workload_that_is_no_longer_selected_is_released(world: &World) {
    let label = |value: &str| {
        let patch = json!({ "metadata": { "labels": { "tenant": value } } });
        world.patch_deployment("api", &patch);
    };
    let names = || -> Vec<String> {
        let live = world.deployment("api");
        let env = live["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let env = env.as_array().cloned().unwrap_or_default();
        env.iter()
            .map(|entry| entry["name"].as_str().unwrap().to_owned())
            .collect()
    };
    label("other");
    world.poke("acme", "released");
    world.running.until("the variables are gone", SOON, || {
        (names() == ["MINE"]).then_some(())
    });
    let annotations = &world.deployment("api")["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations[SECRET_HASH].is_null(), "{annotations}");
    world.await_condition(
        SPACE,
        "acme",
        (ConditionType::Injected, "False", "NoWorkloads"),
    );
    label("acme");
    world.poke("acme", "selected");
    world.running.until("the variables are back", SOON, || {
        (names().len() > 1).then_some(())
    });
}

/// Faults: 21, 34.
fn a_retained_placement_leaves_all_behind(world: &World) {
    world.delete(SPACE, "acme");
    world.await_gone(SPACE, "acme");
    assert!(world.can_log_in("eu-west", &world.secret("acme-db").unwrap()));
    let env = &world.deployment("api")["spec"]["template"]["spec"]["containers"][0]["env"];
    assert!(env.as_array().unwrap().len() > 1);
    // Another placement of the same name is not the same tenant.
    world.apply(&tenant(
        "acme",
        &json!({ "tenantID": "acme", "region": "eu-west" }),
    ));
    world.await_ready(SPACE, "acme", "False", "SecretOwnedByOther");
    world.delete(SPACE, "acme");
    world.await_gone(SPACE, "acme");
    let secret = world
        .running
        .block_on(world.secrets().get("acme-db"))
        .unwrap();
    assert!(secret.metadata.annotations.unwrap().contains_key(OWNER_UID));
}

fn a_protected_placement_stays(world: &World) {
    let labels = json!({ "tenant": "globex" });
    world.apply(&deployment("globex", &labels, &json!([])));
    let workloads = json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "selector": { "matchLabels": labels },
    }]);
    let spec = json!({
        "tenantID": "globex", "region": "eu-west", "reclaimPolicy": "Delete",
        "injection": { "workloads": workloads },
    });
    world.apply(&tenant("globex", &spec));
    world.await_condition(
        SPACE,
        "globex",
        (ConditionType::Injected, "True", "InjectionComplete"),
    );
    world.delete(SPACE, "globex");
    world.await_ready(SPACE, "globex", "True", "DeletionProtected");
    world.await_event(SPACE, "globex", "DeletionProtected");
    assert!(world.can_log_in("eu-west", &world.secret("globex-db").unwrap()));
    world.patch(
        SPACE,
        "globex",
        &json!({ "spec": { "deletionProtection": false } }),
    );
    world.await_gone(SPACE, "globex");
    assert!(!world.database_exists("eu-west", "tenant_globex"));
    assert_eq!(world.roles("eu-west", "tenant_globex"), "0");
    assert_eq!(world.secret("globex-db"), None);
    let env = &world.deployment("globex")["spec"]["template"]["spec"]["containers"][0]["env"];
    assert!(env.is_null(), "{env}");
}
