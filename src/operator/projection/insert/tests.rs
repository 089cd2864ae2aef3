use domicile_api::service_binding::ServiceBinding;
use serde_json::json;

use super::*;
use crate::controllers::binding::plan;
use crate::projection::Asked;
use crate::projection::mapping::Template;

fn plan(uid: &str, folder: &str) -> Asked {
    let object = json!({
        "metadata": { "name": folder, "uid": uid },
        "spec": {
            "type": "db",
            "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
            "workload": { "apiVersion": "example.com/v1", "kind": "Thing", "name": "t" },
            "env": [{ "name": format!("HOST_{uid}"), "key": "host" }],
        },
    });
    let binding: ServiceBinding = serde_json::from_value(object).unwrap();
    plan::read(&binding).unwrap().asked
}

fn template() -> Template {
    let source = json!({
        "version": "*",
        "annotations": ".spec.pods.notes",
        "containers": [{ "path": ".spec.boxes[*]", "env": ".vars", "volumeMounts": ".disks.list" }],
        "volumes": ".spec.pods.volumes",
    });
    mapping::read(serde_json::from_value(source).unwrap()).unwrap()
}

fn thing() -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": { "name": "t", "uid": "w", "resourceVersion": "3" },
        "spec": { "size": 2, "boxes": [{ "vars": [{ "name": "MINE", "value": "1" }] }, {}] },
    })
}

fn read(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).unwrap()
}

fn wanted<'a>(asked: &'a Asked, template: &'a Template) -> Wanted<'a> {
    Wanted {
        asked,
        secret: "creds",
        hash: None,
        template,
    }
}

/// What the API server makes of a merge patch.
fn merged(mut before: Value, patch: &Value) -> Value {
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(fields) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, value) in fields {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(name);
            } else {
                merge(&mut target[name.as_str()], value);
            }
        }
    }
    merge(&mut before, patch);
    before
}

fn bound(before: &Value, plan: &Asked, template: &Template) -> Value {
    let decision = decide(&read(before), before, &wanted(plan, template));
    let Decision::Insert(patch) = &decision else {
        panic!("{decision:?}");
    };
    merged(before.clone(), patch)
}

fn unbound(before: &Value, plan: &Asked) -> Value {
    let record = record(&read(before), &plan.names).unwrap();
    let mut after = merged(before.clone(), &take_back(before, &plan.names, &record));
    let metadata = after["metadata"].as_object_mut().unwrap();
    if metadata["annotations"]
        .as_object()
        .is_some_and(Map::is_empty)
    {
        metadata.remove("annotations");
    }
    after
}

#[test]
fn a_kind_of_any_shape_is_bound_and_taken_back_to_what_it_was() {
    let (plan, template) = (plan("u1", "db"), template());
    let before = thing();
    let after = bound(&before, &plan, &template);
    assert_eq!(after["spec"]["size"], 2);
    assert_eq!(after["spec"]["pods"]["volumes"][0]["name"], "binding-u1");
    assert_eq!(
        after["spec"]["pods"]["notes"],
        json!({ "binding.domicile.dev/type-u1": "db" })
    );
    for at in 0..2 {
        let folder = &after["spec"]["boxes"][at]["disks"]["list"][0]["mountPath"];
        assert_eq!(*folder, "/bindings/db");
    }
    assert_eq!(after["spec"]["boxes"][0]["vars"][0]["name"], "MINE");
    assert_eq!(
        after["spec"]["boxes"][0]["vars"].as_array().unwrap().len(),
        3
    );
    let again = decide(&read(&after), &after, &wanted(&plan, &template));
    assert_eq!(again, Decision::Settled);
    assert_eq!(unbound(&after, &plan), before);
}

#[test]
fn two_bindings_share_the_root_and_the_last_takes_it_along() {
    let (one, two, template) = (plan("u1", "a"), plan("u2", "b"), template());
    let before = thing();
    let first = bound(&before, &one, &template);
    let both = bound(&first, &two, &template);
    for plan in [&one, &two] {
        let decision = decide(&read(&both), &both, &wanted(plan, &template));
        assert_eq!(decision, Decision::Settled, "neither undoes the other");
    }
    let second = unbound(&both, &one);
    let vars = second["spec"]["boxes"][1]["vars"].to_string();
    assert!(
        vars.contains("SERVICE_BINDING_ROOT") && !vars.contains("HOST_u1"),
        "{vars}"
    );
    assert_eq!(
        unbound(&second, &two)["spec"]["boxes"],
        before["spec"]["boxes"]
    );
}

#[test]
fn another_mapping_takes_out_by_the_old_one_first() {
    let (plan, old) = (plan("u1", "db"), template());
    let before = thing();
    let after = bound(&before, &plan, &old);
    let source = json!({
        "version": "*", "annotations": ".spec.notes", "volumes": ".spec.volumes",
        "containers": [{ "path": ".spec.boxes[0]" }],
    });
    let new = mapping::read(serde_json::from_value(source).unwrap()).unwrap();
    let moved = bound(&after, &plan, &new);
    assert_eq!(moved["spec"]["pods"], Value::Null);
    assert_eq!(moved["spec"]["boxes"][1], json!({}));
    assert_eq!(
        moved["spec"]["boxes"][0]["volumeMounts"][0]["mountPath"],
        "/bindings/db"
    );
    assert_eq!(unbound(&moved, &plan), before);
}

#[test]
fn what_the_workload_has_itself_stays_when_the_binding_goes() {
    let (plan, template) = (plan("u1", "db"), template());
    let reference = json!({ "secretKeyRef": { "name": "creds", "key": "host" } });
    let mut before = thing();
    before["spec"]["boxes"][0]["vars"] = json!([
        { "name": "SERVICE_BINDING_ROOT", "value": "/own" },
        { "name": "HOST_u1", "valueFrom": reference },
    ]);
    let after = bound(&before, &plan, &template);
    assert_eq!(
        after["spec"]["boxes"][0]["disks"]["list"][0]["mountPath"],
        "/own/db"
    );
    assert_eq!(unbound(&after, &plan), before);
}

#[test]
fn a_place_that_is_something_else_is_refused_and_a_foreign_variable_a_conflict() {
    let (plan, template) = (plan("u1", "db"), template());
    let mut odd = thing();
    odd["spec"]["pods"] = json!({ "volumes": "none" });
    let decision = decide(&read(&odd), &odd, &wanted(&plan, &template));
    assert!(matches!(&decision, Decision::Refused(fact) if fact.contains("/spec/pods/volumes")));
    let mut taken = thing();
    taken["spec"]["boxes"][0]["vars"][0] = json!({ "name": "HOST_u1", "value": "x" });
    let decision = decide(&read(&taken), &taken, &wanted(&plan, &template));
    assert!(
        matches!(decision, Decision::Conflict { .. }),
        "{decision:?}"
    );
}
