//! What the API server itself refuses by the chart's admission policies: residency that a Region
//! already shows to be broken.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test: what fails in them fails the test, and says so"
)]

use domicile_api::conditions::ConditionType;
use domicile_api::{FailoverPolicy, Region};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

#[expect(dead_code, reason = "the helpers of the tests of placements")]
#[path = "apiserver_placement/world.rs"]
mod world;

use world::{EAST, SOON, SPACE, WEST, World, region, tenant};

#[path = "apiserver_admission/backups.rs"]
mod backups;
#[path = "apiserver_admission/in_use.rs"]
mod in_use;

const CENTRAL: &str = "10.77.0.2";

#[test]
fn the_apiserver_keeps_tenants_within_their_law() {
    let world = World::start();
    let _policies = install(&world);
    world.running.onboard(SPACE);
    for (name, law, host) in [
        ("eu-west", "EU", WEST),
        ("eu-central", "EU", CENTRAL),
        ("us-east", "US", EAST),
    ] {
        world.apply(&region(name, law, host, &format!("{name}-admin")));
        world.await_region(name, "Serving");
    }
    a_law_without_the_home_is_refused(&world);
    a_region_that_holds_tenants_is_not_deleted(&world);
    in_use::a_region_that_holds_a_place_is_not_deleted(&world);
    a_standby_outside_the_law_of_a_tenant_is_refused(&world);
    a_tenant_is_kept_off_a_server_with_a_copy_abroad(&world);
    // Its law would refuse them.
    world.delete(SPACE, "globex");
    world.await_gone(SPACE, "globex");
    backups::a_tenant_is_kept_off_a_server_with_backups_abroad(&world);
    backups::a_region_with_tenants_gains_no_backups_abroad(&world);
    a_home_that_was_the_default_stays_the_home(&world);
    for name in ["acme", "initech"] {
        world.delete(SPACE, name);
        world.await_gone(SPACE, name);
    }
}

/// Holds the admission policies while it lives.
struct Installed<'a>(&'a World, Vec<Value>);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        for policy in &self.1 {
            let kind = policy["kind"].as_str().unwrap_or_default();
            let name = policy["metadata"]["name"].as_str().unwrap_or_default();
            let mut kubectl = self.0.running.lab.cluster().kubectl();
            drop(kubectl.args(["delete", kind, name]).output());
        }
    }
}

/// Applies what the chart renders, and waits until the API server has read it without a complaint
/// about the types in it.
fn install(world: &World) -> Installed<'_> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/domicile");
    let only = ["--show-only", "templates/admission.yaml"];
    let arguments = [&["template", "domicile", chart][..], &only].concat();
    let rendered = world.running.lab.helm(&arguments).unwrap().stdout;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    assert_eq!(objects.len(), 8);
    for object in &objects {
        world.apply(object);
    }
    let api: Api<ValidatingAdmissionPolicy> = Api::all(world.running.admin.clone());
    world.running.until("the policies are read", SOON, || {
        let found = world.running.block_on(api.list(&ListParams::default()));
        let policies = found.unwrap().items;
        let read = policies.iter().all(|policy| {
            let status = policy.status.as_ref();
            let checked = status.and_then(|status| status.type_checking.as_ref());
            let warnings = checked.and_then(|checked| checked.expression_warnings.as_ref());
            assert_eq!(warnings, None, "{}", policy.name_any());
            status.and_then(|status| status.observed_generation) == policy.metadata.generation
        });
        (policies.len() == 4 && read).then_some(())
    });
    Installed(world, objects)
}

/// Faults: 6.
fn a_law_without_the_home_is_refused(world: &World) {
    let wrong = json!({
        "tenantID": "acme", "region": "us-east", "allowedJurisdictions": ["EU"],
    });
    // A policy that was just made is not asked yet.
    let told = world.running.until("the law is asked", SOON, || {
        refusal(world, &tenant("acme", &wrong))
    });
    for part in ["spec.allowedJurisdictions", "US", "us-east", "spec.region"] {
        assert!(told.contains(part), "{told}");
    }
    let right = json!({ "tenantID": "acme", "region": "eu-west" });
    world.apply(&tenant("acme", &right));
    world.await_ready(SPACE, "acme", "True", "Placed");
}

/// Faults: 90.
fn a_region_that_holds_tenants_is_not_deleted(world: &World) {
    let regions: Api<Region> = Api::all(world.running.admin.clone());
    let refusal = |name: &str| {
        let dry = DeleteParams::default().dry_run();
        let deleted = world.running.block_on(regions.delete(name, &dry));
        deleted.err().map(|error| error.to_string())
    };
    let told = world
        .running
        .until("the Region is in use", SOON, || refusal("eu-west"));
    for part in [
        "Region eu-west is in use",
        "1 TenantPlacements",
        "status.tenants",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(refusal("us-east"), None);
}

/// Faults: 6.
fn a_standby_outside_the_law_of_a_tenant_is_refused(world: &World) {
    let regions: Api<Region> = Api::all(world.running.admin.clone());
    world.running.until("the Region tells where", SOON, || {
        let region = world.running.block_on(regions.get("eu-west")).unwrap();
        let servers = region.status?.database_servers;
        let closed = servers.first().map(|server| server.closed_to.clone());
        (closed? == ["us-east"]).then_some(())
    });
    let told = world.running.until("the standby is asked about", SOON, || {
        refuse_policy(world, "eu-west", &["eu-central", "us-east"])
    });
    for part in ["spec.standbys", "us-east", "eu-west/main", "closedTo"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(refuse_policy(world, "eu-west", &["eu-central"]), None);
}

/// Faults: 6.
fn a_tenant_is_kept_off_a_server_with_a_copy_abroad(world: &World) {
    // Nobody lives there yet, so nobody minds.
    world.apply(&policy("us-east", &["eu-central"]));
    let regions: Api<Region> = Api::all(world.running.admin.clone());
    world
        .running
        .until("the Region tells its copies", SOON, || {
            let region = world.running.block_on(regions.get("us-east")).unwrap();
            let servers = region.status?.database_servers;
            let copies = servers.first().map(|server| server.copies.clone())?;
            let copy = copies.first()?;
            (copy.region == "eu-central" && copy.jurisdiction == "EU").then_some(())
        });
    let national = json!({ "tenantID": "globex", "region": "us-east" });
    let told = world.running.until("the copies are asked about", SOON, || {
        refusal(world, &tenant("globex", &national))
    });
    for part in ["spec.allowedJurisdictions", "[US]", "us-east", "copies"] {
        assert!(told.contains(part), "{told}");
    }
    let mut spec = national;
    spec["allowedJurisdictions"] = json!(["EU", "US"]);
    world.apply(&tenant("globex", &spec));
    world.await_condition(
        SPACE,
        "globex",
        (
            ConditionType::ResidencyCompliant,
            "True",
            "WithinJurisdiction",
        ),
    );
    // Who is there may narrow the law, and is told what is outside it.
    spec["allowedJurisdictions"] = json!(["US"]);
    world.apply(&tenant("globex", &spec));
    world.await_condition(
        SPACE,
        "globex",
        (
            ConditionType::ResidencyCompliant,
            "False",
            "WouldLeaveJurisdiction",
        ),
    );
    let policies: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let now = DeleteParams::default();
    its_policy_may_be_made_again(world);
    let deleted = world.running.block_on(policies.delete("us-east", &now));
    drop(deleted.unwrap());
    world.running.until("the policy is gone", SOON, || {
        let found = world.running.block_on(policies.get_opt("us-east"));
        found.unwrap().is_none().then_some(())
    });
}

/// The copy that its tenant wants no more is there already; another one would be new.
fn its_policy_may_be_made_again(world: &World) {
    let regions: Api<Region> = Api::all(world.running.admin.clone());
    world.running.until("the Region tells where", SOON, || {
        let region = world.running.block_on(regions.get("us-east")).unwrap();
        let servers = region.status?.database_servers;
        let closed = servers.first().map(|server| server.closed_to.clone());
        (closed? == ["eu-central", "eu-west"]).then_some(())
    });
    world.running.until("another standby is refused", SOON, || {
        refuse_policy(world, "us-east", &["eu-central", "eu-west"])
    });
    assert_eq!(refuse_policy(world, "us-east", &["eu-central"]), None);
}

fn a_home_that_was_the_default_stays_the_home(world: &World) {
    let make_default = |name: &str, host: &str, law: &str, default: bool| {
        let mut region = region(name, law, host, &format!("{name}-admin"));
        region["spec"]["default"] = default.into();
        world.apply(&region);
    };
    make_default("eu-west", WEST, "EU", true);
    let mut spec = json!({ "tenantID": "initech" });
    world.apply(&tenant("initech", &spec));
    world.await_ready(SPACE, "initech", "True", "Placed");
    make_default("eu-west", WEST, "EU", false);
    make_default("us-east", EAST, "US", true);
    spec["allowedJurisdictions"] = json!(["EU", "CH"]);
    world.apply(&tenant("initech", &spec));
    spec["allowedJurisdictions"] = json!(["US"]);
    let told = world
        .running
        .until("the law of the home is asked", SOON, || {
            let patch = Patch::Merge(json!({ "spec": spec }));
            let dry = PatchParams {
                dry_run: true,
                ..PatchParams::default()
            };
            let api = world.placements(SPACE);
            let patched = world.running.block_on(api.patch("initech", &dry, &patch));
            patched.err().map(|error| error.to_string())
        });
    assert!(told.contains("EU") && told.contains("eu-west"), "{told}");
}

/// Why the API server refuses a placement; none when it would take it. Nothing is stored.
fn refusal(world: &World, placement: &Value) -> Option<String> {
    let placement = serde_json::from_value(placement.clone()).unwrap();
    let api = world.placements(SPACE);
    let created = world.running.block_on(api.create(&dry(), &placement));
    created.err().map(|error| error.to_string())
}

fn refuse_policy(world: &World, primary: &str, standbys: &[&str]) -> Option<String> {
    let mut policy = policy(primary, standbys);
    policy["metadata"]["name"] = "another".into();
    let policy = serde_json::from_value(policy).unwrap();
    let api: Api<FailoverPolicy> = Api::all(world.running.admin.clone());
    let created = world.running.block_on(api.create(&dry(), &policy));
    created.err().map(|error| error.to_string())
}

fn dry() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

fn policy(primary: &str, standbys: &[&str]) -> Value {
    let standbys: Vec<Value> = standbys
        .iter()
        .map(|region| json!({ "region": region, "server": "main" }))
        .collect();
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": { "name": primary },
        "spec": {
            "primary": { "region": primary, "server": "main" }, "standbys": standbys,
            "mode": "Manual",
        },
    })
}
