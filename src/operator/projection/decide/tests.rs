use domicile_api::service_binding::ServiceBinding;
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::*;
use crate::controllers::binding::plan;
use crate::projection::Asked;
use crate::projection::mapping;
use crate::projection::mapping::Template;

const MANAGER: &str = "domicile-binding-u1";

fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

fn deployments() -> ApiResource {
    resource("apps", "Deployment")
}

fn plan(more: &Value) -> Asked {
    let mut spec = json!({
        "service": { "apiVersion": "v1", "kind": "Secret", "name": "s" },
        "workload": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let object = json!({ "metadata": { "name": "db", "uid": "u1" }, "spec": spec });
    let binding: ServiceBinding = serde_json::from_value(object).unwrap();
    plan::read(&binding).unwrap().asked
}

fn template() -> Template {
    mapping::choose(None, &deployments()).unwrap()
}

fn wanted<'a>(asked: &'a Asked, template: &'a Template) -> Wanted<'a> {
    Wanted {
        asked,
        secret: "creds",
        hash: None,
        template,
    }
}

fn live(containers: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "api", "uid": "w1", "resourceVersion": "7" },
        "spec": { "template": { "spec": {
            "containers": containers,
            "initContainers": [{ "name": "init" }],
        }}},
    }))
    .unwrap()
}

fn owned(mut live: DynamicObject, manager: &str, operation: &str, env: &[&str]) -> DynamicObject {
    let mut fields = json!({});
    for name in env {
        fields[format!("k:{}", json!({ "name": name }))] = json!({ "f:value": {} });
    }
    let env = json!({ "f:env": fields });
    let lists = json!({
        "f:containers": { "k:{\"name\":\"app\"}": env },
        "f:initContainers": { "k:{\"name\":\"init\"}": env },
    });
    let entry = json!({
        "manager": manager, "operation": operation,
        "fieldsV1": { "f:spec": { "f:template": { "f:spec": lists } } },
    });
    let entries = live.metadata.managed_fields.get_or_insert_default();
    entries.push(serde_json::from_value(entry).unwrap());
    live
}

fn document(decision: &Decision) -> Value {
    let Decision::Apply(document) = decision else {
        panic!("{decision:?}");
    };
    document.clone()
}

fn mounts(document: &Value) -> Vec<String> {
    let spec = &document["spec"]["template"]["spec"];
    let lists = ["containers", "initContainers"].map(|list| spec[list].clone());
    let all = lists
        .iter()
        .flat_map(|list| list.as_array().cloned().unwrap_or_default());
    let one = |container: Value| {
        let path = container["volumeMounts"][0]["mountPath"].as_str();
        format!("{} {}", container["name"].as_str().unwrap(), path.unwrap())
    };
    all.map(one).collect()
}

#[test]
fn every_container_gets_the_secret_and_a_root() {
    let (plan, template) = (plan(&json!({})), template());
    let live = live(&json!([{ "name": "app" }, { "name": "side" }]));
    let document = document(&decide(&live, &deployments(), &wanted(&plan, &template)));
    assert_eq!(
        mounts(&document),
        ["app /bindings/db", "side /bindings/db", "init /bindings/db"]
    );
    let spec = &document["spec"]["template"]["spec"];
    assert_eq!(
        spec["volumes"],
        json!([{
            "name": "binding-u1", "projected": { "sources": [{ "secret": { "name": "creds" } }] },
        }])
    );
    assert_eq!(
        spec["containers"][0]["env"],
        json!([{ "name": "SERVICE_BINDING_ROOT", "value": "/bindings" }])
    );
    assert_eq!(document["metadata"]["uid"], "w1");
    // Nothing is said of pods where nothing must be.
    assert_eq!(document["spec"]["template"]["metadata"], Value::Null);
}

#[test]
fn the_workloads_own_root_is_obeyed_and_left_alone() {
    let (plan, template) = (plan(&json!({ "name": "account" })), template());
    let root = |value: &Value| live(&json!([{ "name": "app", "env": [value] }]));
    let own = root(&json!({ "name": "SERVICE_BINDING_ROOT", "value": "/etc/bound/" }));
    let own = owned(own, "kubectl", "Update", &["SERVICE_BINDING_ROOT"]);
    let document = document(&decide(&own, &deployments(), &wanted(&plan, &template)));
    assert_eq!(mounts(&document)[0], "app /etc/bound/account");
    assert_eq!(
        document["spec"]["template"]["spec"]["containers"][0]["env"],
        Value::Null
    );
    let odd = json!({ "name": "SERVICE_BINDING_ROOT", "valueFrom": { "fieldRef": {} } });
    let decision = decide(&root(&odd), &deployments(), &wanted(&plan, &template));
    assert!(matches!(decision, Decision::Refused(_)), "{decision:?}");
}

#[test]
fn a_root_that_another_binding_set_is_shared() {
    let (plan, template) = (plan(&json!({})), template());
    let env = json!([{ "name": "SERVICE_BINDING_ROOT", "value": "/bindings" }]);
    let live = live(&json!([{ "name": "app", "env": env }]));
    let live = owned(
        live,
        "domicile-binding-u2",
        "Apply",
        &["SERVICE_BINDING_ROOT"],
    );
    let document = document(&decide(&live, &deployments(), &wanted(&plan, &template)));
    assert_eq!(
        document["spec"]["template"]["spec"]["containers"][0]["env"],
        env
    );
}

#[test]
fn only_named_containers_are_bound() {
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "api",
        "containers": ["side", "init", "none"],
    });
    let (plan, template) = (plan(&json!({ "workload": workload })), template());
    let live = live(&json!([{ "name": "app" }, { "name": "side" }]));
    let document = document(&decide(&live, &deployments(), &wanted(&plan, &template)));
    assert_eq!(
        mounts(&document),
        ["side /bindings/db", "init /bindings/db"]
    );
}

#[test]
fn a_list_that_names_no_container_is_told_and_not_taken_for_bound() {
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "containers": ["ap"],
    });
    let (plan, template) = (plan(&json!({ "workload": workload })), template());
    let live = live(&json!([{ "name": "app" }]));
    for resource in [deployments(), resource("example.com", "Thing")] {
        let decision = decide(&live, &resource, &wanted(&plan, &template));
        let Decision::Refused(fact) = &decision else {
            panic!("{decision:?}");
        };
        assert!(fact.contains("`spec.workload.containers`"), "{fact}");
        assert!(fact.ends_with("name some of app, init"), "{fact}");
    }
}

#[test]
fn type_and_provider_take_the_place_of_the_secrets_own() {
    let env = json!([
        { "name": "TYPE", "key": "type" }, { "name": "HOST", "key": "host" },
    ]);
    let more = json!({ "type": "baz", "provider": "me", "env": env });
    let (plan, template) = (plan(&more), template());
    let live = live(&json!([{ "name": "app" }]));
    let mut wanted = wanted(&plan, &template);
    wanted.hash = Some("h1");
    let document = document(&decide(&live, &deployments(), &wanted));
    let pods = &document["spec"]["template"];
    let annotations = json!({
        "binding.domicile.dev/type-u1": "baz", "binding.domicile.dev/provider-u1": "me",
        "binding.domicile.dev/secret-u1": "h1",
    });
    assert_eq!(pods["metadata"]["annotations"], annotations);
    let sources = pods["spec"]["volumes"][0]["projected"]["sources"]
        .as_array()
        .unwrap();
    let item = &sources[1]["downwardAPI"]["items"][0];
    let path = "metadata.annotations['binding.domicile.dev/type-u1']";
    assert_eq!(
        *item,
        json!({ "path": "type", "fieldRef": { "fieldPath": path } })
    );
    let env = &pods["spec"]["containers"][0]["env"];
    assert_eq!(env[1], json!({ "name": "TYPE", "value": "baz" }));
    let reference = json!({ "secretKeyRef": { "name": "creds", "key": "host" } });
    assert_eq!(env[2], json!({ "name": "HOST", "valueFrom": reference }));
}

#[test]
fn a_variable_of_somebody_else_is_a_conflict_and_an_equal_one_is_not() {
    let env = json!([{ "name": "HOST", "key": "host" }]);
    let (plan, template) = (plan(&json!({ "env": env })), template());
    let with = |variable: &Value| {
        let live = live(&json!([{ "name": "app", "env": [variable] }]));
        let live = owned(live, "domicile-inject", "Apply", &["HOST"]);
        decide(&live, &deployments(), &wanted(&plan, &template))
    };
    let expected = Decision::Conflict {
        manager: "domicile-inject".to_owned(),
        field: "variable HOST of container app".to_owned(),
    };
    assert_eq!(with(&json!({ "name": "HOST", "value": "mine" })), expected);
    let reference = json!({ "secretKeyRef": { "name": "creds", "key": "host" } });
    let equal = with(&json!({ "name": "HOST", "valueFrom": reference }));
    assert!(matches!(equal, Decision::Apply(_)), "{equal:?}");
    let mount = json!([{ "name": "other", "mountPath": "/bindings/db" }]);
    let live = live(&json!([{ "name": "app", "volumeMounts": mount }]));
    let decision = decide(&live, &deployments(), &wanted(&plan, &template));
    assert!(
        matches!(decision, Decision::Conflict { .. }),
        "{decision:?}"
    );
}

#[test]
fn a_mount_in_the_way_tells_whose_binding_it_is() {
    let (plan, template) = (plan(&json!({})), template());
    let with = |volume: &str, resource: &ApiResource| {
        let mount = json!([{ "name": volume, "mountPath": "/bindings/db" }]);
        let live = live(&json!([{ "name": "app", "volumeMounts": mount }]));
        let decision = decide(&live, resource, &wanted(&plan, &template));
        let Decision::Conflict { manager, .. } = decision else {
            panic!("{decision:?}");
        };
        manager
    };
    let uid = "0a1b2c3d-0000-4000-8000-0123456789ab";
    for resource in [deployments(), resource("example.com", "Thing")] {
        let volume = format!("binding-{uid}");
        let expected = format!("domicile-binding-{uid}");
        assert_eq!(with(&volume, &resource), expected);
        assert_eq!(with("binding-cache", &resource), "somebody else");
    }
}

/// What the API server makes of an apply: the fields, their owner, and defaults.
fn applied(live: &DynamicObject, document: &Value) -> DynamicObject {
    let mut after = owned(live.clone(), MANAGER, "Apply", &["SERVICE_BINDING_ROOT"]);
    let spec = &document["spec"]["template"]["spec"];
    let mut volume = spec["volumes"][0].clone();
    volume["projected"]["defaultMode"] = json!(420);
    let pods = &mut after.data["spec"]["template"]["spec"];
    pods["volumes"] = json!([volume]);
    for list in ["containers", "initContainers"] {
        pods[list] = spec[list].clone();
    }
    let marks = document["metadata"]["annotations"].clone();
    after.metadata.annotations = serde_json::from_value(marks).unwrap();
    after
}

#[test]
fn what_is_carried_is_not_written_again_and_is_taken_back_whole() {
    let (plan, template) = (plan(&json!({})), template());
    let wanted = wanted(&plan, &template);
    let before = live(&json!([{ "name": "app" }]));
    assert_eq!(release(&before, &deployments(), &plan.names), None);
    assert!(!is_bound(&before, &plan.names));
    let document = document(&decide(&before, &deployments(), &wanted));
    let after = applied(&before, &document);
    assert_eq!(decide(&after, &deployments(), &wanted), Decision::Settled);
    assert!(is_bound(&after, &plan.names));
    let nothing = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "api", "uid": "w1" },
    });
    assert_eq!(
        release(&after, &deployments(), &plan.names),
        Some(Decision::Apply(nothing))
    );
    // Another Secret, a lost mount, a new container: each is seen.
    let other = Wanted {
        secret: "other",
        ..wanted
    };
    assert_ne!(decide(&after, &deployments(), &other), Decision::Settled);
    let mut robbed = after.clone();
    robbed.data["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([]);
    assert_ne!(decide(&robbed, &deployments(), &wanted), Decision::Settled);
    let mut grown = after;
    let list = &mut grown.data["spec"]["template"]["spec"]["containers"];
    list.as_array_mut().unwrap().push(json!({ "name": "new" }));
    assert_ne!(decide(&grown, &deployments(), &wanted), Decision::Settled);
}

#[test]
fn a_mapping_that_needs_the_other_way_first_takes_back_what_was_applied() {
    let (plan, template) = (plan(&json!({})), template());
    let before = live(&json!([{ "name": "app" }]));
    let document = document(&decide(&before, &deployments(), &wanted(&plan, &template)));
    let after = applied(&before, &document);
    // A place without names cannot be applied to.
    let source = json!({ "version": "*", "containers": [{ "path": ".spec.nameless[*]" }] });
    let nameless = mapping::read(serde_json::from_value(source).unwrap()).unwrap();
    let mut after = after;
    after.data["spec"]["nameless"] = json!([{}]);
    let decision = decide(&after, &deployments(), &wanted(&plan, &nameless));
    assert!(matches!(decision, Decision::First(_)), "{decision:?}");
}
