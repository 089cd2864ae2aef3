use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::args::{Cli, Verb};
use crate::output::Exit;
use clap::Parser;

const NOW: &str = "2026-01-01T03:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn region(name: &str, law: &str, role: &str) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": {"name": name},
        "spec": {
            "key": "K", "jurisdiction": law,
            "databaseServers": [{
                "name": "main", "host": "10.0.0.1", "tls": {"caSecretRef": {"name": "ca"}},
                "adminSecretRef": {"name": "admin"},
            }],
        },
        "status": {"databaseServers": [{
            "name": "main", "reachable": "True", "version": "18.4", "systemIdentifier": "7",
            "role": role, "timeline": 3,
        }]},
    })
}

fn placement(name: &str, allowed: &[&str]) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": {"name": name, "namespace": "tenants"},
        "spec": {"tenantID": name, "region": "west", "allowedJurisdictions": allowed},
        "status": {"homeRegion": "west", "activeRegion": "west", "server": "main", "epoch": 4},
    })
}

/// `west` serves two tenants, `central` follows it synchronously, `east` is elsewhere.
fn world() -> World {
    let policy = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": {"name": "eu"},
        "spec": {
            "primary": {"region": "west", "server": "main"},
            "standbys": [{"region": "central", "server": "main"}], "mode": "Automatic",
        },
        "status": {
            "state": "Steady", "since": NOW, "epoch": 4, "homeRegion": "west",
            "activeRegion": "west", "claim": {"region": "central", "name": "central"},
            "replication": [{
                "region": "central", "state": "Streaming", "synchronous": true,
                "lossBoundSeconds": 0,
            }],
        },
    });
    World {
        regions: vec![
            region("west", "EU", "Primary"),
            region("central", "EU", "Standby"),
            region("east", "US", "Primary"),
        ],
        placements: vec![placement("a", &["EU"]), placement("b", &["EU"])],
        policies: vec![policy],
        ..World::default()
    }
}

fn lose(world: &World, region: &str) -> Plan {
    plan(world, region, false, now()).unwrap()
}

fn fates(plan: &Plan) -> Vec<(&str, &str)> {
    let rows = plan.tenants.iter();
    rows.map(|row| (row.placement.as_str(), row.fate)).collect()
}

#[test]
fn what_the_cluster_knows_needs_no_assumption() {
    let plan = lose(&world(), "west");
    assert_eq!(fates(&plan), [("a", "Moves"), ("b", "Moves")]);
    assert_eq!(plan.assumed, Vec::<String>::new());
    assert_eq!(plan.health, Health::Healthy);
    let policy = &plan.policies[0];
    let losses = (policy.crash_loss.as_str(), policy.partition_loss.as_str());
    assert_eq!(
        (policy.proof.as_str(), losses),
        ("SynchronousReplication", ("0", "0"))
    );
    // The sum of `failover.md` at the defaults, without the wait for a lease.
    assert_eq!(
        policy.rto.map(|rto| rto.total),
        Some(90 + 10 + 30 + 30 + 60)
    );
}

#[test]
fn each_tenant_is_told_whether_its_own_law_or_another_ones_keeps_it_down() {
    let mut world = world();
    world.regions[1] = region("central", "US", "Standby");
    world.placements[1] = placement("b", &["EU", "US"]);
    let plan = lose(&world, "west");
    assert_eq!(fates(&plan), [("a", "StaysDown"), ("b", "StaysDown")]);
    let why = |index: usize| plan.tenants[index].why.as_str();
    assert!(why(0).starts_with("by law: central is in US"), "{}", why(0));
    assert!(why(1).contains("TenantPlacement tenants/a"), "{}", why(1));
    assert_eq!(
        plan.next,
        Vec::<String>::new(),
        "no command overrides a law"
    );
    assert_eq!(plan.health, Health::Degraded);
}

#[test]
fn backups_of_the_standby_that_lie_abroad_keep_a_tenant_down_by_law() {
    for (backup, place) in [("east", "lie in east"), ("moon", "lie in moon")] {
        let mut world = world();
        world.regions[1]["spec"]["residency"] = json!({"backup": {"region": backup}});
        let plan = lose(&world, "west");
        assert_eq!(fates(&plan), [("a", "StaysDown"), ("b", "StaysDown")]);
        let why = &plan.tenants[0].why;
        assert!(why.starts_with("by law: backups of central"), "{why}");
        assert!(why.contains(place), "{why}");
        assert_eq!(
            plan.next,
            Vec::<String>::new(),
            "no command overrides a law"
        );
    }
    let mut world = world();
    world.regions[1]["spec"]["residency"] = json!({"backup": {"region": "west"}});
    assert_eq!(
        fates(&lose(&world, "west")),
        [("a", "Moves"), ("b", "Moves")]
    );
}

#[test]
fn what_a_person_may_accept_is_offered_as_a_command() {
    let mut world = world();
    world.policies[0]["status"]["claim"] = Value::Null;
    world.policies[0]["status"]["replication"][0]["lossBoundSeconds"] = Value::Null;
    let plan = lose(&world, "west");
    let expected = "kubectl domicile failover eu --to central --accept DataLoss,UnprovenFencing";
    assert_eq!(plan.next, [expected]);
}

#[test]
fn a_lost_standby_stops_the_writes_that_wait_for_it() {
    let mut world = world();
    let plan = lose(&world, "central");
    assert_eq!(fates(&plan), [("a", "WritesWait"), ("b", "WritesWait")]);
    assert_eq!(plan.health, Health::Degraded);
    world.policies[0]["status"]["claim"] = Value::Null;
    let plan = lose(&world, "central");
    assert_eq!(fates(&plan), [("a", "Unprotected"), ("b", "Unprotected")]);
    assert_eq!(plan.health, Health::Healthy);
}

#[test]
fn tenants_without_a_policy_stay_down_and_others_are_not_told_of() {
    let mut world = world();
    world.placements[1]["status"]["activeRegion"] = json!("east");
    let plan = lose(&world, "east");
    assert_eq!(fates(&plan), [("b", "StaysDown")]);
    assert_eq!(plan.tenants[0].why, "no FailoverPolicy covers east/main");
    assert!(plan.summary.ends_with("1 untouched"), "{}", plan.summary);
}

#[test]
fn a_policy_that_claims_anothers_server_moves_nobody() {
    let mut world = world();
    let mut second = world.policies[0].clone();
    second["metadata"]["name"] = json!("zz");
    world.policies.push(second);
    let plan = lose(&world, "west");
    let told = plan
        .policies
        .iter()
        .map(|row| (row.policy.as_str(), row.fate));
    let told: Vec<_> = told.collect();
    assert_eq!(told, [("eu", "Moves"), ("zz", "StaysDown")]);
}

#[test]
fn what_cannot_be_read_is_said_and_is_not_healthy() {
    let mut world = world();
    world.placements[0]["spec"]["tenantID"] = json!(7);
    let plan = lose(&world, "west");
    assert_eq!(plan.unread.len(), 1);
    assert_eq!(plan.health, Health::Degraded);
}

#[test]
fn an_approval_that_is_waited_for_is_said_with_its_command() {
    let mut world = world();
    world.policies[0]["spec"]["mode"] = json!("SemiAutomatic");
    let plan = lose(&world, "west");
    assert_eq!(
        fates(&plan),
        [("a", "AsksThenMoves"), ("b", "AsksThenMoves")]
    );
    assert_eq!(plan.next, ["kubectl domicile approve eu-5"]);
    assert_eq!(plan.health, Health::Degraded);
}

#[test]
fn nothing_is_promised_of_a_policy_that_cannot_be_followed_or_has_not_begun() {
    let mut typo = world();
    typo.policies[0]["spec"]["standbys"][0]["server"] = json!("mian");
    assert_eq!(lose(&typo, "west").policies[0].fate, "StaysDown");
    let mut waiting = world();
    waiting.policies[0]["status"] = json!({"conditions": []});
    let plan = lose(&waiting, "west");
    assert_eq!(fates(&plan), [("a", "StaysDown"), ("b", "StaysDown")]);
    assert_eq!(plan.unread.len(), 1);
}

#[test]
fn what_the_region_says_of_a_server_counts() {
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut world = world();
        change(&mut world.regions[1]["status"]);
        lose(&world, "west").policies[0].fate
    };
    let lacks = json!([{
        "type": "AdminPrivilegesSufficient", "status": "False", "reason": "PrivilegesMissing",
        "message": "central/main: the login lacks pg_promote", "lastTransitionTime": NOW,
    }]);
    assert_eq!(
        broken(&|status| status["conditions"] = lacks.clone()),
        "StaysDown"
    );
    let unopened = |status: &mut Value| {
        status["databaseServers"][0]["reachable"] = json!("Unknown");
        status["databaseServers"][0]["reason"] = json!("SecretNotFound");
    };
    assert_eq!(broken(&unopened), "StaysDown");
    assert_eq!(broken(&|_| {}), "Moves");
}

#[test]
fn a_mistake_in_a_file_shows_no_line_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.yaml");
    let text = "kind: Secret\nstringData:\n  password: canary-11\n bad: [\n";
    std::fs::write(&file, text).unwrap();
    let args = arguments(&format!("--lose west -f {}", file.display()));
    let told = offline(&args, now(), Format::Text).unwrap_err().to_string();
    assert!(!told.contains("canary"), "{told}");
}

fn arguments(line: &str) -> PlanArgs {
    let words = ["kubectl-domicile", "plan"].into_iter();
    let Verb::Plan(args) = Cli::parse_from(words.chain(line.split(' '))).verb else {
        panic!("a plan was asked for");
    };
    args
}

fn examples() -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let file = |name: &str| folder.join(name).display().to_string();
    format!(
        "-f {} -f {} -f {}",
        file("00-regions.yaml"),
        file("10-tenants.yaml"),
        file("21-policy-defaults.yaml")
    )
}

#[test]
fn files_are_enough_and_what_they_lack_is_assumed_aloud() {
    let args = arguments(&format!("--lose eu-west --synchronous {}", examples()));
    let told = offline(&args, now(), Format::Text).unwrap();
    assert_eq!(told.exit, Exit::Ok);
    for part in [
        "without eu-west  Healthy  2 move, 0 once approved, 0 stay down",
        "policy/eu  Moves  eu-central  2 tenants  eu-central serves 0 now",
        "against two writers: SynchronousReplication; loss: 0 s if it dies, 0 s if it is cut off",
        "about 220 s = detect 90 + confirm 10 + fence 0 + catch up 30 + promote 30 + reroute 60",
        "FailoverPolicy eu has no status: taken as steady at home, replicating synchronously",
    ] {
        assert!(told.text.contains(part), "no {part:?} in\n{}", told.text);
    }
    let args = arguments(&format!("--lose eu-west {}", examples()));
    let told = offline(&args, now(), Format::Json).unwrap();
    assert_eq!(told.exit, Exit::Degraded);
    let json: Value = serde_json::from_str(&told.text).unwrap();
    assert_eq!(json["policies"][0]["fate"], "StaysDown");
}

#[test]
fn a_list_as_kubectl_writes_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let world = world();
    let all = [world.regions, world.placements, world.policies].concat();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
    std::fs::write(folder.path().join("all.json"), list.to_string()).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "{").unwrap();
    let line = format!("--lose west -f {}", folder.path().display());
    let told = offline(&arguments(&line), now(), Format::Text).unwrap();
    assert_eq!(told.exit, Exit::Ok);
    assert!(!told.text.contains("ASSUMED"), "{}", told.text);
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let unknown = arguments(&format!("--lose mars {}", examples()));
    let missing = arguments("--lose west -f /nowhere.yaml");
    let error = |args| offline(args, now(), Format::Text).unwrap_err().to_string();
    assert!(error(&unknown).contains("known are: eu-central, eu-west, us-east"));
    assert!(error(&missing).starts_with("cannot read /nowhere.yaml"));
}

/// Placements that are only files get servers one after the other, within their limits.
#[test]
fn tenants_that_are_not_placed_yet_are_foretold_within_the_limits() {
    let mut world = world();
    world.regions[0]["spec"]["databaseServers"][0]["maxTenants"] = json!(1);
    for placement in &mut world.placements {
        placement["status"] = Value::Null;
        placement["spec"]["region"] = json!("west");
    }
    let plan = lose(&world, "west");
    assert_eq!(fates(&plan), [("a", "Moves"), ("b", "Unknown")]);
    let why = &plan.tenants[1].why;
    assert!(why.contains("main: holds 1 of 1 tenants"), "{why}");
}

#[test]
fn a_standby_with_a_lower_limit_is_told_and_holds_back_nobody() {
    let mut world = world();
    world.regions[1]["spec"]["databaseServers"][0]["maxTenants"] = json!(1);
    let plan = lose(&world, "west");
    assert_eq!(fates(&plan), [("a", "Moves"), ("b", "Moves")]);
    let why = &plan.policies[0].why;
    assert!(
        why[0].starts_with("central/main will hold 2 tenants, and its limit is 1"),
        "{why:?}"
    );
}

#[test]
fn a_new_tenant_is_foretold_where_the_state_of_its_home_puts_it() {
    let mut world = world();
    let placement = &mut world.placements[1];
    placement["status"] = Value::Null;
    placement["spec"]["region"] = json!("east");
    placement["spec"]["allowedJurisdictions"] = json!(["EU", "US"]);
    world.regions[2]["spec"]["state"] = json!("MetadataOnly");
    world.regions[2]["spec"]["servedBy"] = json!("west");
    assert_eq!(
        fates(&lose(&world, "west")),
        [("a", "Moves"), ("b", "Moves")]
    );
    world.regions[2]["spec"]["state"] = json!("Planned");
    let plan = lose(&world, "west");
    assert_eq!(fates(&plan), [("a", "Moves"), ("b", "Unknown")]);
    assert!(
        plan.tenants[1].why.contains("is Planned"),
        "{:?}",
        plan.tenants
    );
}
