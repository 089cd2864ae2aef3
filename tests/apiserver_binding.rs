//! Service bindings on a real API server: what the specification asks for, and the steps of each
//! scenario of its conformance suite, as far as they can be seen without a running pod.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test: what fails in them fails the test, and says so"
)]

use domicile_tests::operator::Running;
use serde_json::{Value, json};

#[path = "apiserver_binding/held.rs"]
mod held;
#[path = "apiserver_binding/kinds.rs"]
mod kinds;
#[path = "apiserver_binding/others.rs"]
mod others;
#[path = "apiserver_binding/selected.rs"]
mod selected;
#[path = "apiserver_binding/served.rs"]
mod served;
#[path = "apiserver_binding/world.rs"]
mod world;

use world::{SOON, SPACE, World, app, binding, deployment, mounts, secret, to_secret};

#[test]
fn services_are_bound_and_let_go() {
    let world = World {
        running: Running::start(),
    };
    let definitions = domicile_operator::service_binding_crds().unwrap();
    world.cluster().apply(&definitions).unwrap();
    world.running.onboard(SPACE);
    world.apply(&secret(
        "creds",
        &json!({ "username": "foo", "password": "bar", "type": "db" }),
    ));
    a_provisioned_service_is_bound(&world);
    type_and_provider_are_replaced(&world);
    the_workloads_own_root_is_used(&world);
    a_changed_secret_needs_no_write(&world);
    variables_containers_and_init_containers(&world);
    what_comes_late_is_bound(&world);
    a_secret_of_domicile_rolls_workloads_with_variables(&world);
    selected::all_that_match_are_bound(&world);
    selected::what_matches_later_is_bound(&world);
    selected::a_changed_label_unbinds(&world);
    selected::a_part_that_fails_is_told(&world);
    kinds::a_cron_job_is_bound_without_a_mapping(&world);
    kinds::any_kind_is_bound_by_its_mapping(&world);
    kinds::another_kind_of_workload_releases_the_old_one(&world);
    served::another_version_of_a_kind_stays_bound(&world);
    served::a_version_that_is_gone_leaves_nothing(&world);
    served::a_kind_that_is_gone_holds_no_binding(&world);
    held::what_is_taken_out_of_a_binding_comes_back(&world);
    held::what_a_binding_left_that_is_gone_is_told(&world);
    held::a_denied_release_is_waited_for(&world);
    others::a_field_of_somebody_else_is_left_alone(&world);
    others::an_injection_and_two_bindings_live_together(&world);
    others::what_cannot_be_obeyed_is_told(&world);
    others::a_binding_of_another_implementation_is_left_alone(&world);
    others::without_rights_it_says_which(&world);
    others::a_settled_world_writes_nothing(&world);
    held::a_placement_wakes_its_bindings(&world);
    others::a_deleted_namespace_takes_its_bindings_along(&world);
}

fn backend() -> Value {
    let text = json!({ "type": "string" });
    let status = json!({ "type": "object", "properties": {
        "binding": { "type": "object", "properties": { "name": text } },
    }});
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "backends.stable.example.com" },
            "spec": {
                "group": "stable.example.com", "scope": "Namespaced",
                "names": { "plural": "backends", "singular": "backend", "kind": "Backend" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": { "type": "object", "properties": { "status": status } },
                }}],
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {
                "name": "backends", "labels": { "servicebinding.io/controller": "true" },
            },
            "rules": [{
                "apiGroups": ["stable.example.com"], "resources": ["*"], "verbs": ["get", "list"],
            }],
        },
    ]})
}

fn a_provisioned_service_is_bound(world: &World) {
    world.apply(&backend());
    world.apply(&deployment("api", "one", &app(&json!([]))));
    let deployments = world.deployments();
    let before = world.spec(&deployments, "api");
    let service = json!({ "apiVersion": "stable.example.com/v1", "kind": "Backend", "name": "db" });
    let named = json!({ "name": "api" });
    world.apply(&binding("bound", &service, &named, &json!({})));
    world.await_refused("bound", "ServiceNotFound");
    let custom = |status: Value| {
        json!({
            "apiVersion": "stable.example.com/v1", "kind": "Backend",
            "metadata": { "name": "db", "namespace": SPACE }, "status": status,
        })
    };
    world.apply(&custom(json!({})));
    world.await_condition(
        "bound",
        ("ServiceAvailable", "Unknown", "ServiceMissingBinding"),
    );
    world.await_refused("bound", "ServiceMissingBinding");
    world.apply(&custom(json!({ "binding": { "name": "none" } })));
    world.await_refused("bound", "SecretNotFound");
    assert_eq!(world.spec(&deployments, "api"), before);
    world.apply(&custom(json!({ "binding": { "name": "creds" } })));
    world.await_ready("bound");
    world.await_condition("bound", ("ServiceAvailable", "True", "SecretResolved"));
    world.await_condition("bound", ("WorkloadAvailable", "True", "Projected"));
    world.await_event("bound", "Projected");
    let status = world.binding("bound").unwrap().status.unwrap();
    assert_eq!(status.binding.unwrap().name, "creds");
    let pod = world.spec(&deployments, "api")["template"]["spec"].clone();
    assert_eq!(mounts(&pod["containers"][0]), ["/bindings/bound"]);
    let sources = &pod["volumes"][0]["projected"]["sources"];
    assert_eq!(*sources, json!([{ "secret": { "name": "creds" } }]));
    let root = json!([{ "name": "SERVICE_BINDING_ROOT", "value": "/bindings" }]);
    assert_eq!(pod["containers"][0]["env"], root);

    // A user who applies his manifest again takes nothing away.
    world.apply(&deployment("api", "one", &app(&json!([]))));
    assert_eq!(world.spec(&deployments, "api")["template"]["spec"], pod);
    world.unbind("bound");
    assert_eq!(world.spec(&deployments, "api"), before);
    let live = world.running.block_on(deployments.get("api")).unwrap();
    let annotations = live.metadata.annotations.unwrap_or_default();
    assert!(
        !annotations.keys().any(|key| key.starts_with("binding.")),
        "{annotations:?}"
    );
}

fn type_and_provider_are_replaced(world: &World) {
    let more = json!({
        "type": "baz", "provider": "me", "env": [{ "name": "KIND", "key": "type" }],
    });
    let deployments = world.deployments();
    let before = world.spec(&deployments, "api");
    let named = json!({ "name": "api" });
    world.apply(&binding("typed", &to_secret("creds"), &named, &more));
    world.await_ready("typed");
    let uid = world.binding("typed").unwrap().metadata.uid.unwrap();
    let template = world.spec(&deployments, "api")["template"].clone();
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(
        annotations[format!("binding.domicile.dev/type-{uid}")],
        "baz"
    );
    assert_eq!(
        annotations[format!("binding.domicile.dev/provider-{uid}")],
        "me"
    );
    let sources = template["spec"]["volumes"][0]["projected"]["sources"]
        .as_array()
        .unwrap();
    assert_eq!(sources.len(), 3);
    assert_eq!(sources[2]["downwardAPI"]["items"][0]["path"], "provider");
    let env = template["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&json!({ "name": "KIND", "value": "baz" })));
    world.unbind("typed");
    assert_eq!(world.spec(&deployments, "api"), before);
}

fn the_workloads_own_root_is_used(world: &World) {
    let own = json!([{ "name": "SERVICE_BINDING_ROOT", "value": "/bindings/external" }]);
    world.apply(&deployment("rooted", "one", &app(&own)));
    let named = json!({ "name": "rooted" });
    world.apply(&binding(
        "root",
        &to_secret("creds"),
        &named,
        &json!({ "name": "account" }),
    ));
    world.await_ready("root");
    world.await_mount("rooted", "/bindings/external/account", true);
    // Another root, set later, is followed.
    let moved = json!([{ "name": "SERVICE_BINDING_ROOT", "value": "/srv" }]);
    world.apply(&deployment("rooted", "one", &app(&moved)));
    world.await_mount("rooted", "/srv/account", true);
    world.await_mount("rooted", "/bindings/external/account", false);
    world.unbind("root");
    let spec = world.spec(&world.deployments(), "rooted");
    assert_eq!(spec["template"]["spec"]["containers"][0]["env"], moved);
}

/// The kubelet brings a changed Secret into the folder; the workload is not touched.
fn a_changed_secret_needs_no_write(world: &World) {
    let named = json!({ "name": "api" });
    world.apply(&binding("direct", &to_secret("creds"), &named, &json!({})));
    world.await_ready("direct");
    let before = world
        .running
        .block_on(world.deployments().get("api"))
        .unwrap();
    world.apply(&secret(
        "creds",
        &json!({ "username": "spam", "type": "ham" }),
    ));
    let poke = json!({ "metadata": { "annotations": { "domicile.dev/reconcile-at": "1" } } });
    world.merge(&world.bindings(), "direct", &poke);
    world.running.block_on(
        world
            .running
            .ctx
            .clock
            .sleep(std::time::Duration::from_secs(2)),
    );
    let after = world
        .running
        .block_on(world.deployments().get("api"))
        .unwrap();
    assert_eq!(after.metadata.generation, before.metadata.generation);
    world.unbind("direct");
}

fn variables_containers_and_init_containers(world: &World) {
    let mut parts = deployment(
        "parts",
        "one",
        &json!([{ "name": "app", "image": "x" }, { "name": "side", "image": "x" }]),
    );
    let pod = &mut parts["spec"]["template"]["spec"];
    pod["initContainers"] = json!([{ "name": "init", "image": "x" }]);
    world.apply(&parts);
    let env = json!({ "env": [{ "name": "USER_NAME", "key": "username" }] });
    let named = json!({ "name": "parts" });
    world.apply(&binding("parts", &to_secret("creds"), &named, &env));
    world.await_ready("parts");
    let deployments = world.deployments();
    let bound = || {
        let pod = world.spec(&deployments, "parts")["template"]["spec"].clone();
        let all = [
            &pod["containers"][0],
            &pod["containers"][1],
            &pod["initContainers"][0],
        ];
        all.map(|container| (mounts(container).len(), container["env"].to_string()))
    };
    let reference = json!({ "secretKeyRef": { "name": "creds", "key": "username" } });
    let reference = json!({ "name": "USER_NAME", "valueFrom": reference }).to_string();
    assert!(
        bound()
            .iter()
            .all(|(count, env)| *count == 1 && env.contains(&reference))
    );
    let some = json!({ "name": "parts", "containers": ["side", "init", "none"] });
    world.apply(&binding("parts", &to_secret("creds"), &some, &env));
    world.running.until("only the named are bound", SOON, || {
        (bound().map(|(count, _)| count) == [0, 1, 1]).then_some(())
    });
    world.await_ready("parts");
    assert_eq!(bound()[0].1, "null");
    world.unbind("parts");
}

fn what_comes_late_is_bound(world: &World) {
    let named = json!({ "name": "late" });
    world.apply(&binding("late", &to_secret("later"), &named, &json!({})));
    world.await_refused("late", "ServiceNotFound");
    world.apply(&secret("later", &json!({ "type": "db" })));
    let message = world.await_refused("late", "WorkloadNotFound");
    assert!(
        message.contains("apps/v1/Deployment bindings/late does not exist"),
        "{message}"
    );
    world.apply(&deployment("late", "one", &app(&json!([]))));
    world.await_ready("late");
    world.await_mount("late", "/bindings/late", true);
    // A binding whose service is gone leaves the workload as it is, and says so.
    world.delete(&world.api("v1", "Secret"), "later");
    let poke = json!({ "metadata": { "annotations": { "domicile.dev/reconcile-at": "1" } } });
    world.merge(&world.bindings(), "late", &poke);
    world.await_refused("late", "ServiceNotFound");
    world.await_mount("late", "/bindings/late", true);
    world.unbind("late");
    world.await_mount("late", "/bindings/late", false);
}

/// As after a failover, when the Secret of a placement tells another hash.
fn a_secret_of_domicile_rolls_workloads_with_variables(world: &World) {
    let mut hashed = secret("hashed", &json!({ "host": "a", "type": "postgresql" }));
    hashed["metadata"]["annotations"] = json!({ "domicile.dev/secret-hash": "one" });
    world.apply(&hashed);
    let named = json!({ "name": "api" });
    world.apply(&binding("folder", &to_secret("hashed"), &named, &json!({})));
    let env = json!({ "env": [{ "name": "HOST", "key": "host" }] });
    world.apply(&binding("hashed", &to_secret("hashed"), &named, &env));
    world.await_ready("folder");
    world.await_ready("hashed");
    let hashes = || -> Vec<String> {
        let spec = world.spec(&world.deployments(), "api");
        let all = spec["template"]["metadata"]["annotations"]
            .as_object()
            .cloned();
        let all = all.unwrap_or_default().into_iter();
        let ours = all.filter(|(key, _)| key.starts_with("binding.domicile.dev/secret-"));
        ours.map(|(_, value)| value.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(hashes(), ["one"], "only the binding with variables rolls");
    hashed["metadata"]["annotations"]["domicile.dev/secret-hash"] = json!("two");
    world.apply(&hashed);
    let poke = json!({ "metadata": { "annotations": { "domicile.dev/reconcile-at": "2" } } });
    world.merge(&world.bindings(), "hashed", &poke);
    world.running.until("the pods are told", SOON, || {
        (hashes() == ["two"]).then_some(())
    });
    world.unbind("folder");
    world.unbind("hashed");
    assert!(hashes().is_empty());
}
