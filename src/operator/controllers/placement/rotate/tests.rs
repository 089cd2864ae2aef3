use domicile_api::meta;
use domicile_api::placement_status::ConnectionStatus;
use domicile_core::facts::Epoch;
use domicile_core::names::ServerId;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn tenant(credentials: Value, request: Option<&str>) -> TenantPlacement {
    let annotations = request.map(|text| json!({ meta::ROTATE_AT: text }));
    let mut status = json!({});
    if !credentials.is_null() {
        status["credentials"] = credentials;
    }
    serde_json::from_value(json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": { "name": "acme", "creationTimestamp": "1970-01-01T00:00:10Z",
                      "annotations": annotations },
        "spec": { "tenantID": "acme", "credentials": { "rotation": { "intervalDays": 1 } } },
        "status": status,
    }))
    .unwrap()
}

fn served(slot: Slot, new_password: bool) -> Served {
    Served {
        server: ServerId::new("eu-west", "main"),
        epoch: Epoch(1),
        connection: ConnectionStatus {
            host: "10.0.0.1".into(),
            port: 5432,
            database: "tenant_acme".into(),
            role: "tenant_acme_a".into(),
            read_only: None,
            hosts: Vec::new(),
        },
        secret_hash: "ab".into(),
        leads_to: ServerId::new("eu-west", "main"),
        slot,
        new_password,
        answered: None,
    }
}

#[test]
fn the_first_credentials_answer_a_request_that_came_with_them() {
    let tenant = tenant(Value::Null, Some("today"));
    let status = recorded(&tenant, &served(Slot::A, true), false, at(100));
    assert_eq!(status.generation, 1);
    assert_eq!(status.last_rotated, Some(at(100)));
    assert_eq!(status.next_rotation, Some(at(100 + 86_400)));
    assert_eq!(status.answered_request.as_deref(), Some("today"));
    assert_eq!(status.retiring_role, None);
}

#[test]
fn a_rotation_is_recorded_from_what_is_published() {
    let before = json!({ "generation": 3, "activeRole": "A", "lastRotated": at(50) });
    let tenant = tenant(before, Some("now"));
    let status = recorded(&tenant, &served(Slot::B, false), false, at(200));
    assert_eq!(status.generation, 4);
    assert_eq!(status.active_role, RoleSlot::B);
    assert_eq!(status.retiring_role, Some(RoleSlot::A));
    assert_eq!(status.last_rotated, Some(at(200)));
}

#[test]
fn a_settled_pass_records_what_was_recorded() {
    let before = json!({
        "generation": 4, "activeRole": "B", "lastRotated": at(200), "retiringRole": "A",
        "nextRotation": at(200 + 86_400), "answeredRequest": "now",
    });
    let tenant = tenant(before.clone(), Some("later"));
    let status = recorded(&tenant, &served(Slot::B, false), false, at(900));
    assert_eq!(serde_json::to_value(status).unwrap(), before);
    let closed = recorded(&tenant, &served(Slot::B, false), true, at(900));
    assert_eq!(closed.retiring_role, None);
    assert_eq!(closed.last_rotated, Some(at(200)));
}

#[test]
fn credentials_of_an_older_version_are_as_old_as_the_placement() {
    let tenant = tenant(json!({ "generation": 1, "activeRole": "A" }), None);
    let status = recorded(&tenant, &served(Slot::A, false), false, at(900));
    assert_eq!(status.last_rotated, None);
    assert_eq!(status.next_rotation, Some(at(10 + 86_400)));
}

#[test]
fn a_new_password_for_the_same_login_leaves_the_end_of_the_overlap_as_it_was() {
    let before = json!({
        "generation": 4, "activeRole": "B", "lastRotated": at(200), "retiringRole": "A",
    });
    let status = recorded(
        &tenant(before, None),
        &served(Slot::B, true),
        false,
        at(300),
    );
    assert_eq!(status.generation, 5);
    assert_eq!(status.retiring_role, Some(RoleSlot::A));
    assert_eq!(status.last_rotated, Some(at(200)));
}

#[test]
fn a_lost_record_takes_the_other_logins_for_used() {
    let status = recorded(
        &tenant(Value::Null, None),
        &served(Slot::B, false),
        false,
        at(300),
    );
    assert_eq!(status.active_role, RoleSlot::B);
    assert_eq!(status.retiring_role, Some(RoleSlot::A));
    assert_eq!(status.last_rotated, Some(at(300)));
}

#[test]
fn only_the_pass_that_rotates_answers_a_request() {
    let before = json!({ "generation": 3, "activeRole": "A", "answeredRequest": "old" });
    let tenant = tenant(before, Some("now"));
    let cut = recorded(&tenant, &served(Slot::B, false), false, at(200));
    assert_eq!(cut.answered_request.as_deref(), Some("old"));
    let whole = Served {
        answered: Some("now".into()),
        ..served(Slot::B, true)
    };
    let status = recorded(&tenant, &whole, false, at(200));
    assert_eq!(status.answered_request.as_deref(), Some("now"));
    assert_eq!(status.generation, 4);
}

#[test]
fn a_tenant_rests_no_longer_than_until_its_rotation_and_one_that_is_due_shortens_nothing() {
    let known = |next: Value| {
        let credentials = json!({ "generation": 1, "activeRole": "A", "nextRotation": next });
        tenant(credentials, None)
    };
    let next = known(json!(at(100).to_string()));
    assert_eq!(until_next(&next, at(40)), Some(Duration::from_mins(1)));
    assert_eq!(until_next(&next, at(101)), None);
    assert_eq!(until_next(&known(Value::Null), at(40)), None);
    assert_eq!(until_next(&tenant(Value::Null, None), at(40)), None);
}
