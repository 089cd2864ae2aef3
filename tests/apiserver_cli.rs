//! `kubectl domicile` against a real API server. No operator runs: the test writes the statuses
//! that one would, so that each answer of the CLI is to something known.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on must fail, and says so"
)]

#[path = "apiserver_cli/world.rs"]
mod world;

use std::time::Duration;

use domicile_api::meta::manager;
use domicile_cli::Exit;
use serde_json::{Value, json};
use world::{Person, World};

const NAMESPACE: &str = "cli-test";

#[test]
fn the_cli_does_what_it_says() {
    let world = World::start();
    prepare(&world);
    what_nobody_looked_at_is_shown_as_such(&world);
    a_blocked_policy_is_explained_with_the_command(&world);
    a_plan_is_made_from_the_cluster(&world);
    nothing_moves_without_a_yes(&world);
    the_twin_is_taken_by_the_api_server(&world);
    a_move_is_approved_and_followed_to_its_end(&world);
    a_refused_move_exits_with_three(&world);
    pause_sets_one_field_under_its_own_name(&world);
    onboarding_is_taken_by_the_api_server(&world);
    the_admin_sql_names_the_login_of_the_secret(&world);
    clear(&world);
}

fn prepare(world: &World) {
    clear(world);
    let region = |name: &str, key: &str| {
        json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "Region", "metadata": {"name": name},
            "spec": {"key": key, "jurisdiction": "EU", "databaseServers": [{
                "name": "main", "host": "10.77.0.1", "tls": {"caSecretRef": {"name": "eu-west-ca"}},
                "adminSecretRef": {"name": "eu-west-admin"}}]}
        })
    };
    let policy = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": {"name": "cli-eu"},
        "spec": {"primary": {"region": "cli-west", "server": "main"},
                 "standbys": [{"region": "cli-central", "server": "main"}]}
    });
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        region("cli-west", "CLI_WEST"),
        region("cli-central", "CLI_CENTRAL"),
        policy,
    ];
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    world.lab.cluster().apply(&list.to_string()).unwrap();
}

fn clear(world: &World) {
    for object in [
        "failoverpolicy/cli-eu",
        "region/cli-west",
        "region/cli-central",
    ] {
        world
            .lab
            .kubectl(&["delete", object, "--ignore-not-found"])
            .unwrap();
    }
    for operation in world.operations() {
        let name = operation["metadata"]["name"].as_str().unwrap();
        world
            .lab
            .kubectl(&["delete", "failoveroperation", name])
            .unwrap();
    }
    for object in [
        "clusterrole/cli-approver",
        "clusterrolebinding/cli-approver",
    ] {
        world
            .lab
            .kubectl(&["delete", object, "--ignore-not-found"])
            .unwrap();
    }
}

fn what_nobody_looked_at_is_shown_as_such(world: &World) {
    let all = world.run("status -A -o json").unwrap();
    assert_eq!(all.exit, Exit::Degraded);
    let json: Value = serde_json::from_str(&all.text).unwrap();
    let ours = |row: &&Value| row["policy"] == "cli-eu";
    let row = json["policies"]
        .as_array()
        .unwrap()
        .iter()
        .find(ours)
        .unwrap();
    assert_eq!(row["health"], "Progressing");
    let one = world.run("explain fop/cli-eu").unwrap();
    assert!(one.text.contains("NotObserved"), "{}", one.text);
    let missing = world.run("explain region/nowhere").unwrap_err();
    assert!(
        missing.to_string().contains("\"nowhere\" does not exist"),
        "{missing}"
    );
}

fn a_blocked_policy_is_explained_with_the_command(world: &World) {
    let condition = |kind: &str, status: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": "Blocked", "message": message,
               "lastTransitionTime": "2026-01-01T02:48:00Z", "observedGeneration": 1})
    };
    world.patch_status(
        "failoverpolicy/cli-eu",
        &json!({
            "observedGeneration": 1, "state": "Blocked", "since": "2026-01-01T02:48:00Z",
            "epoch": 4, "homeRegion": "cli-west", "activeRegion": "cli-west",
            "guarantees": {"splitBrain": "Assumed"},
            "guards": [{"name": "FencingProof", "ok": false, "message": "Assumed is too weak"}],
            "conditions": [condition("Ready", "False", "cli-west does not answer"),
                           condition("Stalled", "True", "a guard says no")]
        }),
    );
    for line in ["explain policy/cli-eu", "status cli-eu"] {
        let shown = world.run(line).unwrap();
        assert_eq!(shown.exit, Exit::Degraded);
        for part in [
            "Blocked",
            "12m",
            "Assumed is too weak",
            "--accept UnprovenFencing",
        ] {
            assert!(shown.text.contains(part), "no {part:?} in\n{}", shown.text);
        }
    }
}

fn a_plan_is_made_from_the_cluster(world: &World) {
    let told = world.run("plan --lose cli-west -o json").unwrap();
    let json: Value = serde_json::from_str(&told.text).unwrap();
    assert_eq!(json["policies"][0]["fate"], "Busy", "{}", told.text);
    let steady = json!({"state": "Steady", "claim": {"region": "cli-central", "name": "c"}});
    world.patch_status("failoverpolicy/cli-eu", &steady);
    let told = world.run("plan --lose cli-west").unwrap();
    let expected = "kubectl domicile failover cli-eu --to cli-central";
    assert!(told.text.contains(expected), "{}", told.text);
    assert!(told.text.contains("`spec.mode` is Manual"), "{}", told.text);
    let missing = world.run("plan --lose mars").unwrap_err();
    assert!(
        missing.to_string().contains("cli-central, cli-west"),
        "{missing}"
    );
    let blocked = json!({"state": "Blocked", "claim": null});
    world.patch_status("failoverpolicy/cli-eu", &blocked);
}

fn nothing_moves_without_a_yes(world: &World) {
    let alone = world.run("failover cli-eu").unwrap_err();
    assert_eq!(alone.exit(), Exit::Refused);
    let mut unsure = Person {
        answer: Some("cli-e"),
        ..Person::default()
    };
    let typed = world.inside(world.cli("failover cli-eu", &mut unsure));
    assert_eq!(typed.unwrap_err().exit(), Exit::Refused);
    let said = unsure.seen.join("\n");
    assert!(
        said.contains("guard FencingProof says no: Assumed is too weak"),
        "{said}"
    );
    assert!(
        world.operations().is_empty(),
        "an operation was made without a yes"
    );
}

fn the_twin_is_taken_by_the_api_server(world: &World) {
    let line = "failover cli-eu --accept DataLoss,Cooldown --reason CHG-7 --dry-run";
    let twin = world.run(line).unwrap();
    let file = world.lab.space().dir().join("twin.yaml");
    std::fs::write(&file, &twin.text).unwrap();
    let path = file.display().to_string();
    world
        .lab
        .kubectl(&["create", "--dry-run=server", "-f", &path])
        .unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(world.operations().is_empty(), "a dry run made an operation");
}

fn a_move_is_approved_and_followed_to_its_end(world: &World) {
    approvers_are_those_of_the_chart(world);
    let mut person = Person {
        answer: Some("cli-eu"),
        ..Person::default()
    };
    let (followed, operation) = world.inside(async {
        let moving = world.cli("failover cli-eu --accept UnprovenFencing", &mut person);
        tokio::join!(moving, others(world))
    });
    let ended = followed.unwrap();
    assert_eq!(ended.exit, Exit::Ok);
    for part in [
        operation.as_str(),
        "Succeeded",
        "Fencing",
        "Assumed 3.0s",
        "approved",
        "bob",
    ] {
        assert!(ended.text.contains(part), "no {part:?} in\n{}", ended.text);
    }
    let said = person.seen.join("\n");
    for part in [
        "WAIVED  UnprovenFencing",
        "AwaitingApproval",
        "domicile approve",
        "Fencing",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let made = world.get(&["failoveroperation", &operation]);
    assert_eq!(made["spec"]["expectedEpoch"], 4);
    assert_eq!(made["spec"]["target"], "cli-central");
    let approval = &made["status"]["approvals"][0];
    let expected = json!({"user": "bob", "time": "2026-01-01T03:00:00Z", "evidenceHash": "ab12"});
    assert_eq!(*approval, expected);
    let late = world
        .run(&format!("approve {operation} --yes"))
        .unwrap_err();
    assert_eq!(late.exit(), Exit::Refused);
}

/// What the operator and two people do while the CLI follows: one of them may approve.
async fn others(world: &World) -> String {
    let name = world.operation(0).await;
    let target = format!("failoveroperation/{name}");
    let early = world
        .cli(&format!("approve {name} --yes"), &mut Person::default())
        .await;
    assert_eq!(
        early.unwrap_err().exit(),
        Exit::Refused,
        "it did not await approval yet"
    );
    world.patch_status(
        &target,
        &json!({"observedGeneration": 1, "state": "AwaitingApproval", "evidenceHash": "ab12",
                "message": "cli-west confirmed nothing"}),
    );
    pause().await;
    let eve = format!("approve {name} --yes --as eve");
    let refused = world.cli(&eve, &mut Person::default()).await.unwrap_err();
    assert!(refused.is_forbidden(), "{}", refused.chain());
    let bob = format!("approve {name} --yes --as bob");
    let agreed = world.cli(&bob, &mut Person::default()).await.unwrap();
    assert_eq!(agreed.text, format!("operation/{name} approved by bob\n"));
    world.patch_status(
        &target,
        &json!({"state": "Running", "steps": [{"name": "Fencing", "outcome": "Assumed",
                "started": "2026-01-01T03:00:00Z", "finished": "2026-01-01T03:00:03Z"}]}),
    );
    pause().await;
    world.patch_status(
        &target,
        &json!({"state": "Succeeded", "message": "cli-central serves"}),
    );
    name
}

/// Long enough for the CLI to look once.
async fn pause() {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    ticks.tick().await;
}

/// Bob gets exactly the chart's role of approvers.
fn approvers_are_those_of_the_chart(world: &World) {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/domicile");
    let chart = chart.canonicalize().unwrap().display().to_string();
    let only = [
        "--show-only",
        "templates/people.yaml",
        "--set",
        "fullnameOverride=cli",
    ];
    let rendered = world
        .lab
        .helm(&[&["template", "domicile", &chart], &only[..]].concat());
    world
        .lab
        .cluster()
        .apply(&rendered.unwrap().stdout)
        .unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "cli-approver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "cli-approver"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]
    });
    world.lab.cluster().apply(&binding.to_string()).unwrap();
}

fn a_refused_move_exits_with_three(world: &World) {
    let ended = world.inside(async {
        let mut nobody = Person::default();
        let moving = world.cli("switchover cli-eu --yes --expected-epoch 3", &mut nobody);
        let refusing = async {
            let name = world.operation(1).await;
            let status = json!({"state": "Refused", "message": "epoch 3 is not 4 any more"});
            world.patch_status(&format!("failoveroperation/{name}"), &status);
        };
        tokio::join!(moving, refusing).0
    });
    let ended = ended.unwrap();
    assert_eq!(ended.exit, Exit::Refused);
    assert!(
        ended.text.contains("epoch 3 is not 4 any more"),
        "{}",
        ended.text
    );
}

fn pause_sets_one_field_under_its_own_name(world: &World) {
    let before = world.get(&["failoverpolicy", "cli-eu"])["spec"].clone();
    world.run("pause cli-eu").unwrap();
    let paused = world.get(&["failoverpolicy", "cli-eu"]);
    let mut expected = before.clone();
    expected["paused"] = json!(true);
    assert_eq!(paused["spec"], expected);
    let managers = paused["metadata"]["managedFields"].as_array().unwrap();
    let own = managers
        .iter()
        .find(|m| m["manager"] == manager::CLI)
        .unwrap();
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
    world.run("resume cli-eu").unwrap();
    assert_eq!(world.get(&["failoverpolicy", "cli-eu"])["spec"], before);
}

fn onboarding_is_taken_by_the_api_server(world: &World) {
    let printed = world.run(&format!("onboard {NAMESPACE}")).unwrap();
    world.lab.cluster().apply(&printed.text).unwrap();
    let bound = world.get(&["rolebinding", "domicile", "-n", NAMESPACE]);
    assert_eq!(bound["subjects"][0]["namespace"], "domicile-system");
}

fn the_admin_sql_names_the_login_of_the_secret(world: &World) {
    let sql = world.run("admin-sql cli-west/main").unwrap().text;
    assert!(
        sql.contains("CREATE ROLE \"domicile_admin\" LOGIN"),
        "{sql}"
    );
    let secret = world.get(&["secret", "eu-west-admin", "-n", "domicile-system"]);
    let password = secret["data"]["password"].as_str().unwrap();
    assert!(!sql.contains(password) && password.len() > 10);
}
