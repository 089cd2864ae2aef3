use serde_json::json;

use super::*;

fn policy() -> Value {
    json!({
        "metadata": {"name": "eu"},
        "spec": {
            "primary": {"region": "eu-west", "server": "main"},
            "standbys": [{"region": "eu-central", "server": "main"}],
            "switchover": {"maxFreezeSeconds": 60}
        },
        "status": {"state": "Steady", "epoch": 7, "activeRegion": "eu-west",
                   "guards": [{"name": "Cooldown", "ok": false, "message": "until 03:00"}]}
    })
}

fn wish(kind: MoveType) -> Wish {
    let (accept, reason) = (Vec::new(), String::new());
    Wish {
        kind,
        to: None,
        expected_epoch: None,
        accept,
        reason,
    }
}

#[test]
fn a_switchover_goes_to_the_only_standby_and_carries_the_epoch() {
    let planned = plan(&policy(), &wish(MoveType::Switchover)).unwrap();
    assert_eq!(planned.spec.target, "eu-central");
    assert_eq!(planned.spec.expected_epoch, 7);
    let yaml = twin(&planned).unwrap();
    let back: FailoverOperation = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(back.spec, planned.spec);
    assert_eq!(back.metadata.generate_name.as_deref(), Some("eu-"));
    assert!(!yaml.contains("status"), "{yaml}");
}

#[test]
fn a_failback_goes_home_and_is_refused_at_home() {
    let refused = plan(&policy(), &wish(MoveType::Failback)).unwrap_err();
    assert_eq!(refused.exit(), Exit::Refused);
    let mut away = policy();
    away["status"]["activeRegion"] = json!("eu-central");
    let planned = plan(&away, &wish(MoveType::Failback)).unwrap();
    assert_eq!(planned.spec.target, "eu-west");
}

#[test]
fn a_foreign_region_or_an_unclear_target_is_not_planned() {
    let to = Some("us-east".to_owned());
    let foreign = Wish {
        to,
        ..wish(MoveType::Failover)
    };
    assert!(
        plan(&policy(), &foreign)
            .unwrap_err()
            .to_string()
            .contains("eu-west, eu-central")
    );
    let mut two = policy();
    let north = json!({"region": "eu-north", "server": "main"});
    two["spec"]["standbys"].as_array_mut().unwrap().push(north);
    let unclear = plan(&two, &wish(MoveType::Failover)).unwrap_err();
    assert!(
        unclear.to_string().contains("eu-central, eu-north"),
        "{unclear}"
    );
}

#[test]
fn a_policy_without_an_epoch_is_not_moved_unless_one_is_named() {
    let mut young = policy();
    young["status"]["epoch"] = Value::Null;
    assert_eq!(
        plan(&young, &wish(MoveType::Switchover))
            .unwrap_err()
            .exit(),
        Exit::Refused
    );
    let named = Wish {
        expected_epoch: Some(3),
        ..wish(MoveType::Switchover)
    };
    assert_eq!(plan(&young, &named).unwrap().spec.expected_epoch, 3);
}

#[test]
fn every_waived_safety_and_failing_guard_is_announced() {
    let accept = vec![AcceptArg::DataLoss, AcceptArg::Cooldown];
    let planned = plan(
        &policy(),
        &Wish {
            accept,
            ..wish(MoveType::Failover)
        },
    )
    .unwrap();
    let lines = announcement(&policy(), &planned.spec).join("\n");
    assert!(
        lines.contains("WAIVED  DataLoss") && lines.contains("WAIVED  Cooldown"),
        "{lines}"
    );
    assert!(
        lines.contains("guard Cooldown says no: until 03:00"),
        "{lines}"
    );
    assert!(
        lines.contains("may lose writes of an unknown time"),
        "{lines}"
    );
}

#[test]
fn a_planned_move_is_not_announced_with_the_guards_of_a_failover() {
    let mut policy = policy();
    let unfit = json!({"name": "StandbyEligible", "ok": false, "message": "eu-central is gone"});
    let guards = policy["status"]["guards"].as_array_mut().unwrap();
    guards.push(unfit);
    let planned = plan(&policy, &wish(MoveType::Switchover)).unwrap();
    let lines = announcement(&policy, &planned.spec).join("\n");
    assert!(lines.contains("StandbyEligible says no"), "{lines}");
    assert!(!lines.contains("Cooldown"), "{lines}");
}

#[test]
fn progress_shows_each_step_once() {
    let mut shown = Progress::default();
    let mut operation = json!({"metadata": {"name": "eu-1"}, "status": {"state": "Running",
        "steps": [{"name": "Draining", "started": "2026-01-01T00:00:00Z"}]}});
    assert_eq!(
        shown.news(&operation),
        ["2026-01-01T00:00:00Z Draining", "Running"]
    );
    assert!(shown.news(&operation).is_empty());
    operation["status"]["state"] = json!("Succeeded");
    assert_eq!(shown.news(&operation), ["Succeeded"]);
    assert_eq!(exit_of("Succeeded"), Exit::Ok);
    assert_eq!(exit_of("Refused"), Exit::Refused);
    assert_eq!(exit_of("Failed"), Exit::Error);
    assert!(shown.trouble("x").is_some() && shown.trouble("x").is_none());
}
