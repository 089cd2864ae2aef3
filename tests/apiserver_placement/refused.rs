//! Bad input: each ends in a condition and an event, and leaves nothing behind.

use domicile_api::conditions::ConditionType;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::world::{EAST, SPACE, WEST, World, admin_secret, region, tenant};

/// A password that may appear nowhere.
const CANARY: &str = "canary-5e1f00dc0de";

/// Faults: 3.
pub(super) fn a_placement_without_any_region_waits(world: &World) {
    world.apply(&tenant("early", &json!({ "tenantID": "early" })));
    expect(world, "early", "NoDefaultRegion");
    world.apply(&tenant(
        "named",
        &json!({ "tenantID": "named", "region": "eu-west" }),
    ));
    expect(world, "named", "RegionNotFound");
    // It comes by itself once the region is there.
    world.apply(&region("eu-west", "EU", WEST, "eu-west-admin"));
    world.await_ready(SPACE, "named", "True", "Placed");
    drop_placement(world, "early");
    drop_placement(world, "named");
    assert!(!world.database_exists("eu-west", "tenant_early"));
    assert!(!world.database_exists("eu-west", "tenant_named"));
}

/// Faults: 9, 20, 40.
pub(super) fn each_bad_placement_has_its_own_reason(world: &World) {
    // Two defaults are none.
    for (name, law, host) in [("eu-west", "EU", WEST), ("us-east", "US", EAST)] {
        set_default(world, name, law, host, true);
    }
    world.apply(&tenant("torn", &json!({ "tenantID": "torn" })));
    expect(world, "torn", "DuplicateDefault");
    set_default(world, "us-east", "US", EAST, false);
    world.await_ready(SPACE, "torn", "True", "Placed");
    let status = world.placement(SPACE, "torn").unwrap().status.unwrap();
    assert_eq!(status.home_region.as_deref(), Some("eu-west"));
    // The home is for ever, wherever the default goes.
    set_default(world, "eu-west", "EU", WEST, false);
    set_default(world, "us-east", "US", EAST, true);
    world.poke("torn", "other-default");
    world.await_ready(SPACE, "torn", "True", "Placed");
    let status = world.placement(SPACE, "torn").unwrap().status.unwrap();
    assert_eq!(status.home_region.as_deref(), Some("eu-west"));
    set_default(world, "us-east", "US", EAST, false);
    drop_placement(world, "torn");

    let abroad = json!({
        "tenantID": "abroad", "region": "us-east", "allowedJurisdictions": ["EU"],
    });
    refused(world, "abroad", &abroad, "WouldLeaveJurisdiction");
    assert!(!world.database_exists("us-east", "tenant_abroad"));

    // Nobody gave the operator rights here.
    let foreign = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "stranger" },
    });
    world.apply(&foreign);
    let mut stranger = tenant("lost", &json!({ "tenantID": "lost", "region": "eu-west" }));
    stranger["metadata"]["namespace"] = "stranger".into();
    world.apply(&stranger);
    let denied = (ConditionType::Ready, "False", "NamespaceNotOnboarded");
    let message = world.await_condition("stranger", "lost", denied);
    assert!(
        message.contains("kubectl domicile onboard stranger"),
        "{message}"
    );
    world.await_event("stranger", "lost", "NamespaceNotOnboarded");
    assert!(!world.database_exists("eu-west", "tenant_lost"));
    world.running.onboard("stranger");
    world.await_ready("stranger", "lost", "True", "Placed");
    world.delete("stranger", "lost");
    world.await_gone("stranger", "lost");
}

pub(super) fn a_template_that_cannot_be_rendered_names_its_field(world: &World) {
    let spec = |keys: Value| {
        let connection = json!({ "keys": keys });
        json!({ "tenantID": "keys", "region": "eu-west", "connection": connection })
    };
    for (keys, text) in [
        (
            json!({ "A": "{{ rw.nothing }}" }),
            "spec.connection.keys[\"A\"]",
        ),
        (json!({ "{{ rw.password }}": "x" }), "holds a secret"),
        (json!({ "password": "x" }), "Domicile writes itself"),
        (
            json!({ "B_EU_WEST": "x", "B_{{ region.key }}": "y" }),
            "gives too",
        ),
    ] {
        world.apply(&tenant("keys", &spec(keys)));
        let wrong = (ConditionType::Ready, "False", "InvalidTemplate");
        let message = world.await_condition(SPACE, "keys", wrong);
        assert!(message.contains(text), "{message}");
        drop_placement(world, "keys");
    }
    world.apply(&tenant(
        "keys",
        &spec(json!({ "URL_{{ region.key }}": "{{ rw.jdbc-url }}", "FILE": "{{ ca-file }}" })),
    ));
    world.await_ready(SPACE, "keys", "True", "Placed");
    let data = world.secret("keys-db").unwrap();
    assert_eq!(data["URL_EU_WEST"], data["jdbc-url"]);
    let file = "/var/run/secrets/domicile/keys-db/certificates";
    assert_eq!(data["FILE"], file);
    assert!(!data.contains_key("DATABASE_URL"));
    drop_placement(world, "keys");
}

/// Faults: 21.
pub(super) fn a_foreign_secret_is_left_alone_and_nothing_is_made(world: &World) {
    let mine = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "mine", "namespace": SPACE },
        "stringData": { "precious": "value" },
    });
    world.apply(&mine);
    let spec = json!({
        "tenantID": "greedy", "region": "eu-west", "connection": { "secretName": "mine" },
        "reclaimPolicy": "Delete", "deletionProtection": false,
    });
    refused(world, "greedy", &spec, "SecretOwnedByOther");
    let data = world.secret("mine").unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["precious"]);
    assert!(!world.database_exists("eu-west", "tenant_greedy"));
}

/// Faults: 10.
pub(super) fn a_database_belongs_to_who_came_first(world: &World) {
    let spec = |id: &str| {
        json!({
            "tenantID": id, "region": "eu-west", "database": { "name": "shared" },
            "reclaimPolicy": "Delete", "deletionProtection": false,
        })
    };
    world.apply(&tenant("first", &spec("first")));
    world.await_ready(SPACE, "first", "True", "Placed");
    refused(world, "second", &spec("second"), "DatabaseNameTaken");
    assert_eq!(world.secret("second-db"), None);
    world.poke("first", "again");
    world.await_ready(SPACE, "first", "True", "Placed");
    assert!(world.can_log_in("eu-west", &world.secret("first-db").unwrap()));
    drop_placement(world, "first");
    assert!(!world.database_exists("eu-west", "shared"));

    // A database that Domicile did not make is nobody's to take.
    world.sql("eu-west", "CREATE DATABASE tenant_legacy");
    refused(world, "legacy", &dropped("legacy"), "DatabaseNameTaken");
    assert!(world.database_exists("eu-west", "tenant_legacy"));
    let mut observes = dropped("legacy");
    observes["adoption"] = json!({ "policy": "Observe" });
    world.apply(&tenant("legacy", &observes));
    let seen = (ConditionType::DatabaseReady, "False", "AdoptionObserved");
    let told = world.await_condition(SPACE, "legacy", seen);
    let fact = "database tenant_legacy belongs to role postgres, not to tenant_legacy";
    assert!(told.contains(fact), "{told}");
    refused(world, "legacy", &observes, "AdoptionObserved");
    assert_eq!(world.roles("eu-west", "tenant_legacy"), "0");
    world.sql("eu-west", "DROP DATABASE tenant_legacy");
}

pub(super) fn an_operator_without_rights_leaves_nothing_behind(world: &World) {
    world.sql(
        "us-east",
        &format!("CREATE ROLE weak LOGIN PASSWORD '{CANARY}'"),
    );
    world.apply(&admin_secret("weak", "weak", CANARY));
    let mut weak = region("us-east", "US", EAST, "weak");
    weak["metadata"]["name"] = "us-weak".into();
    weak["spec"]["key"] = "US_WEAK".into();
    world.apply(&weak);
    world.apply(&tenant(
        "poor",
        &json!({ "tenantID": "poor", "region": "us-weak" }),
    ));
    let denied = (ConditionType::DatabaseReady, "False", "PrivilegesMissing");
    let message = world.await_condition(SPACE, "poor", denied);
    assert!(message.contains("kubectl domicile admin-sql"), "{message}");
    world.await_event(SPACE, "poor", "PrivilegesMissing");
    assert!(!world.everything().contains(CANARY));
    // Its deletion needs rights, too, and goes on once they are there.
    let patch = json!({ "spec": { "reclaimPolicy": "Delete", "deletionProtection": false } });
    world.patch(SPACE, "poor", &patch);
    world.delete(SPACE, "poor");
    world.await_ready(SPACE, "poor", "False", "PrivilegesMissing");
    let login = &mut weak["spec"]["databaseServers"][0]["adminSecretRef"]["name"];
    *login = "us-east-admin".into();
    world.apply(&weak);
    world.await_gone(SPACE, "poor");
    assert!(!world.database_exists("us-east", "tenant_poor"));
    assert_eq!(world.roles("us-east", "tenant_poor"), "0");
    assert_eq!(world.secret("poor-db"), None);
    remove_region(world, "us-weak");
    world.sql("us-east", "DROP ROLE weak");

    // A certificate of somebody else, and no server at all.
    for (name, ca, port, fact) in [
        ("us-odd", "eu-west-ca", 5432, "CertificateInvalid"),
        ("us-shut", "us-east-ca", 1, ""),
    ] {
        let mut odd = region("us-east", "US", EAST, "us-east-admin");
        odd["metadata"]["name"] = name.into();
        odd["spec"]["key"] = name.to_uppercase().replace('-', "_").into();
        let server = &mut odd["spec"]["databaseServers"][0];
        server["tls"]["caSecretRef"]["name"] = ca.into();
        server["port"] = port.into();
        world.apply(&odd);
        world.apply(&tenant(
            "odd",
            &json!({ "tenantID": "odd", "region": name }),
        ));
        let unready = (ConditionType::Ready, "False", "RegionNotReady");
        world
            .running
            .until("the probe's own reason", super::SOON, || {
                world
                    .await_condition(SPACE, "odd", unready)
                    .contains(fact)
                    .then_some(())
            });
        drop_placement(world, "odd");
        remove_region(world, name);
    }
}

/// Faults: 6, 9.
pub(super) fn a_standby_abroad_keeps_a_tenant_out(world: &World) {
    world.apply(&json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": "abroad" },
        "spec": {
            "primary": { "region": "eu-west", "server": "main" },
            "standbys": [{ "region": "us-east", "server": "main" }],
        },
    }));
    refused(
        world,
        "inside",
        &dropped("inside"),
        "WouldLeaveJurisdiction",
    );
    assert!(!world.database_exists("eu-west", "tenant_inside"));
    // A tenant that was there before is told, and keeps its credentials.
    let outside = (
        ConditionType::ResidencyCompliant,
        "False",
        "WouldLeaveJurisdiction",
    );
    world.poke("acme", "abroad");
    let before = world.secret("acme-db").unwrap();
    let message = world.await_condition(SPACE, "acme", outside);
    assert!(message.contains("us-east"), "{message}");
    assert_eq!(world.secret("acme-db").unwrap(), before);
    let policies: Api<domicile_api::FailoverPolicy> = Api::all(world.running.admin.clone());
    let _ = world
        .running
        .block_on(policies.delete("abroad", &DeleteParams::default()))
        .unwrap();
    world.running.until("the policy is gone", super::SOON, || {
        let found = world.running.block_on(policies.get_opt("abroad")).unwrap();
        found.is_none().then_some(())
    });
    world.poke("acme", "home-again");
    world.await_ready(SPACE, "acme", "True", "Placed");
    let inside = (
        ConditionType::ResidencyCompliant,
        "True",
        "WithinJurisdiction",
    );
    world.await_condition(SPACE, "acme", inside);
}

/// Faults: 28.
pub(super) fn no_output_holds_a_password(world: &World) {
    let data = world.secret("acme-db").unwrap();
    let everything = world.everything();
    for key in ["password", "password-ro", "uri"] {
        assert!(!everything.contains(&data[key]), "{key} is in some output");
    }
    let audit = std::fs::read_to_string(world.running.lab.cluster().audit_log()).unwrap();
    assert!(!audit.contains(&data["password"]));
    let log = world.running.lab.regions().server("eu-west").unwrap().log();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains(&data["password"]));
}

pub(super) fn dropped(id: &str) -> Value {
    json!({
        "tenantID": id, "region": "eu-west",
        "reclaimPolicy": "Delete", "deletionProtection": false,
    })
}

/// The placement is refused for `reason`, says so, and its deletion ends at once.
fn refused(world: &World, name: &str, spec: &Value, reason: &str) {
    world.apply(&tenant(name, spec));
    expect(world, name, reason);
    world.delete(SPACE, name);
    world.await_gone(SPACE, name);
}

pub(super) fn expect(world: &World, name: &str, reason: &str) {
    world.await_ready(SPACE, name, "False", reason);
    world.await_event(SPACE, name, reason);
}

/// Deletes a placement with its database.
pub(super) fn drop_placement(world: &World, name: &str) {
    let patch = json!({ "spec": { "reclaimPolicy": "Delete", "deletionProtection": false } });
    world.patch(SPACE, name, &patch);
    world.delete(SPACE, name);
    world.await_gone(SPACE, name);
}

fn set_default(world: &World, name: &str, law: &str, host: &str, default: bool) {
    let mut document = region(name, law, host, &format!("{name}-admin"));
    document["spec"]["default"] = default.into();
    world.apply(&document);
    world
        .running
        .until("the region's default is seen", super::SOON, || {
            let seen = world.running.ctx.stores.regions.get(name)?;
            (seen.spec.default == default).then_some(())
        });
}

pub(super) fn remove_region(world: &World, name: &str) {
    let regions: Api<domicile_api::Region> = Api::all(world.running.admin.clone());
    let _ = world
        .running
        .block_on(regions.delete(name, &DeleteParams::default()))
        .unwrap();
    world
        .running
        .until("the region is forgotten", super::SOON, || {
            world
                .running
                .ctx
                .stores
                .regions
                .get(name)
                .is_none()
                .then_some(())
        });
}
