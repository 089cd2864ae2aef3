//! The chart under Helm itself: it lints, refuses bad values, and renders what it should.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use domicile_lab::Places;
use domicile_lab::tools::Tools;
use serde_json::Value;

#[test]
fn the_chart_lints_strictly() {
    let output = helm(&["lint", "--strict", &chart()]);
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let bad = [
        "replicas=-1",
        "replicas=two",
        "image.pullPolicy=Sometimes",
        "image.tag=",
        "tenantNamespaces[0]=Tenant_A",
        "tenantNamespace[0]=a",
        "crds.other=true",
        "serviceBindings.mode=Sometimes",
        "networkPolicy.databasePorts[0]=0",
        "metrics.port=80",
        "secretNames=a",
    ];
    for value in bad {
        let output = helm(&["template", "domicile", &chart(), "--set", value]);
        assert!(!output.status.success(), "{value} was accepted");
        let key = value.split(['=', '[', '.']).next().unwrap_or_default();
        assert!(words(&output).contains(key), "{value}: {}", words(&output));
    }
}

#[test]
fn onboard_prints_what_the_chart_binds() {
    let rendered = render(&[
        "tenantNamespaces={tenant-acme,tenant-globex}",
        "serviceBindings.namespaces={tenant-acme,web}",
    ]);
    for namespace in ["tenant-acme", "tenant-globex", "web"] {
        let printed = domicile_cli::onboard::run(&domicile_cli::args::OnboardArgs {
            tenant_namespace: namespace.to_owned(),
            operator_namespace: "domicile-system".to_owned(),
            fullname: "domicile".to_owned(),
            bindings_only: namespace == "web",
        });
        let printed: Vec<Value> = serde_saphyr::from_multiple(&printed).unwrap();
        let here = |object: &&Value| object["metadata"]["namespace"] == namespace;
        let bound: Vec<Value> = rendered.iter().filter(here).cloned().collect();
        assert_eq!(bound, printed);
    }
}

/// Faults: 20.
#[test]
fn no_right_is_a_wildcard_and_secrets_are_never_cluster_wide() {
    let rendered = render(&["tenantNamespaces={tenant-acme}"]);
    let roles: Vec<&Value> = of_kind(&rendered, "ClusterRole")
        .chain(of_kind(&rendered, "Role"))
        .collect();
    assert!(roles.len() >= 5, "{roles:#?}");
    assert!(
        !roles
            .iter()
            .any(|role| role["rules"].to_string().contains('*'))
    );
    let bound: BTreeSet<String> = of_kind(&rendered, "ClusterRoleBinding")
        .map(|binding| binding["roleRef"]["name"].to_string())
        .collect();
    let cluster_wide = roles.iter().filter(|role| {
        role["kind"] == "ClusterRole" && bound.contains(&role["metadata"]["name"].to_string())
    });
    let cluster_wide: Vec<String> = cluster_wide.map(|role| role["rules"].to_string()).collect();
    // The operator's own kinds, and the watch on workloads, which writes nothing.
    assert_eq!(cluster_wide.len(), 2);
    for rules in &cluster_wide {
        assert!(!rules.contains("\"secrets\""), "{rules}");
        assert!(!rules.contains("\"pods\""), "{rules}");
        let reads = rules.contains(r#""verbs":["list","watch"]"#);
        assert_eq!(rules.contains("\"deployments\""), reads, "{rules}");
    }
}

/// What the operator remembers lies in statuses. Nobody gets a right to them by the roles that
/// Kubernetes collects for those who work in a namespace.
///
/// Faults: 23.
#[test]
fn the_operator_alone_writes_what_it_relies_on() {
    let rendered = render(&["tenantNamespaces={tenant-acme}"]);
    let roles = || of_kind(&rendered, "ClusterRole").chain(of_kind(&rendered, "Role"));
    let mut writers = BTreeSet::new();
    for role in roles() {
        let name = role["metadata"]["name"].as_str().unwrap();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let verbs = rule["verbs"].to_string();
            let writes = verbs.contains("update") || verbs.contains("patch");
            let ours = rule["apiGroups"] == serde_json::json!(["domicile.dev"]);
            let resources = rule["resources"].as_array().into_iter().flatten();
            let resources = resources.filter_map(Value::as_str);
            let told = resources.filter(|one| one.ends_with("/status") && ours && writes);
            writers.extend(told.map(|one| format!("{name} {one}")));
        }
    }
    let expected = [
        "domicile failoveroperations/status",
        "domicile failoverpolicies/status",
        "domicile regions/status",
        "domicile tenantplacements/status",
        "domicile-approver failoveroperations/status",
    ];
    assert_eq!(writers, expected.map(str::to_owned).into());
    let collected = roles().filter(|role| {
        let labels = role["metadata"]["labels"].to_string();
        labels.contains("rbac.authorization.k8s.io/aggregate-to-")
    });
    assert_eq!(collected.count(), 0);
}

#[test]
fn a_list_of_names_narrows_the_right_on_secrets() {
    let secrets = |values: &[&str]| {
        let rendered = render(values);
        let role = of_kind(&rendered, "Role").next().cloned().unwrap();
        let rules = role["rules"].as_array().cloned().unwrap();
        rules
            .into_iter()
            .find(|rule| rule["resources"][0] == "secrets")
            .unwrap()
    };
    assert_eq!(secrets(&[])["resourceNames"], Value::Null);
    let narrowed = secrets(&["secretNames={eu-west-admin,eu-west-ca}"]);
    assert_eq!(
        narrowed["resourceNames"],
        serde_json::json!(["eu-west-admin", "eu-west-ca"])
    );
    assert_eq!(narrowed["verbs"], serde_json::json!(["get"]));
}

/// Who may make Jobs may use every Secret beside them.
#[test]
fn only_who_copies_old_primaries_may_make_jobs() {
    let makers = |values: &[&str]| -> Vec<String> {
        let rendered = render(values);
        let makes = |role: &&Value| role["rules"].to_string().contains("\"jobs\"");
        let roles: Vec<_> = of_kind(&rendered, "Role").filter(makes).collect();
        assert!(!of_kind(&rendered, "ClusterRole").any(|role| makes(&role)));
        let Some(role) = roles.first() else {
            return Vec::new();
        };
        assert_eq!(
            role["rules"][0]["resourceNames"],
            serde_json::json!(["keep"])
        );
        let name = &role["metadata"]["name"];
        let binding = of_kind(&rendered, "RoleBinding").find(|one| one["roleRef"]["name"] == *name);
        let subjects = binding.unwrap()["subjects"].as_array().cloned();
        let subjects = subjects.unwrap().into_iter();
        subjects
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(makers(&["promises={eu}"]).is_empty());
    assert_eq!(makers(&["dumps={keep}"]), ["domicile"]);
    // In a region's cluster the hub comes with one account: `domicile`, which may serve tenants,
    // too, or `domicile-hub`, which may not. No pod there has either, and no agent's kubeconfig.
    let region = ["dumps={keep}", "promises={eu}", "replicas=0"];
    assert_eq!(makers(&region), ["domicile", "domicile-hub"]);
    let agent = "agent.region=eu-west,agent.policies={eu},agent.hubKubeconfigSecret=hub";
    let beside = [region.as_slice(), &[agent]].concat();
    assert_eq!(makers(&beside), ["domicile", "domicile-hub"]);
    let rendered = render(&beside);
    let agents = of_kind(&rendered, "Deployment").filter(|one| one["spec"]["replicas"] != 0);
    let accounts: Vec<_> = agents
        .map(|one| &one["spec"]["template"]["spec"]["serviceAccountName"])
        .collect();
    assert_eq!(accounts, [&Value::Null]);
    let rendered = render(&region);
    let accounts: BTreeSet<&str> = of_kind(&rendered, "ServiceAccount")
        .filter_map(|account| account["metadata"]["name"].as_str())
        .collect();
    assert!(accounts.contains("domicile-hub") && accounts.contains("domicile-promise"));
}

/// `Region.spec.cluster` holds one kubeconfig, whatever the hub does there.
#[test]
fn one_account_of_a_region_s_cluster_serves_tenants_keeps_promises_and_makes_copies() {
    let rendered = render(&[
        "replicas=0",
        "secretNames={none}",
        "tenantNamespaces={tenant-acme}",
        "promises={eu}",
        "dumps={keep}",
    ]);
    let roles = |account: &str| -> BTreeSet<&str> {
        let of_account = |binding: &&Value| {
            let mut subjects = binding["subjects"].as_array().into_iter().flatten();
            subjects.any(|one| one["name"] == account)
        };
        let bindings = of_kind(&rendered, "RoleBinding").filter(of_account);
        bindings
            .filter_map(|one| one["roleRef"]["name"].as_str())
            .collect()
    };
    // Its own role lets it write Leases, promises too.
    let all = [
        "domicile-binding",
        "domicile-dump",
        "domicile-operator",
        "domicile-tenant",
    ];
    assert_eq!(roles("domicile"), all.into());
    assert_eq!(
        roles("domicile-hub"),
        ["domicile-dump", "domicile-promise"].into()
    );
    assert_eq!(roles("domicile-promise"), ["domicile-promise"].into());
}

#[test]
fn workloads_of_the_whole_cluster_are_watched_by_an_operator_that_runs_and_may() {
    let named = |values: &[&str]| {
        let objects = render(values);
        let named = |kind: &str| {
            of_kind(&objects, kind).any(|one| one["metadata"]["name"] == "domicile-workloads")
        };
        (named("ClusterRole"), named("ClusterRoleBinding"))
    };
    assert_eq!(named(&[]), (true, true));
    assert_eq!(named(&["watchWorkloads=false"]), (false, false));
    // In a region's cluster nobody watches.
    assert_eq!(named(&["replicas=0"]), (false, false));
}

#[test]
fn every_container_fits_the_restricted_profile() {
    let rendered = render(&[]);
    let deployment = of_kind(&rendered, "Deployment").next().unwrap();
    let test = of_kind(&rendered, "Pod").next().unwrap();
    for pod in [&deployment["spec"]["template"]["spec"], &test["spec"]] {
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["runAsNonRoot"], true);
            assert_eq!(security["runAsUser"], 65532);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        }
    }
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["args"][0],
        "run"
    );
}

#[test]
fn definitions_are_kept_unless_the_user_lets_them_go() {
    let rendered = render(&[]);
    let expected = domicile_api::crd::files().unwrap();
    assert_eq!(
        of_kind(&rendered, "CustomResourceDefinition").count(),
        expected.len()
    );
    for (name, text) in expected {
        let mut definition: Value = serde_saphyr::from_str(&text).unwrap();
        let annotations = serde_json::json!({"helm.sh/resource-policy": "keep"});
        definition["metadata"]["annotations"] = annotations;
        let same = |found: &Value| *found == definition;
        assert!(
            of_kind(&rendered, "CustomResourceDefinition").any(same),
            "{name} differs"
        );
    }
    let theirs = render(&["crds.serviceBindings=true"]);
    assert_eq!(
        of_kind(&theirs, "CustomResourceDefinition").count(),
        domicile_api::crd::files().unwrap().len() + 2
    );
    let gone = render(&["crds.keep=false"]);
    let kept = |crd: &Value| !crd["metadata"]["annotations"].is_null();
    assert!(!of_kind(&gone, "CustomResourceDefinition").any(kept));
    assert_eq!(
        of_kind(&render(&["crds.enabled=false"]), "CustomResourceDefinition").count(),
        0
    );
}

#[test]
fn optional_parts_come_and_go() {
    let all = render(&["networkPolicy.enabled=true"]);
    assert_eq!(of_kind(&all, "NetworkPolicy").count(), 1);
    assert_eq!(of_kind(&all, "PodDisruptionBudget").count(), 1);
    assert_eq!(of_kind(&all, "Service").count(), 1);
    let few = render(&["replicas=1", "metrics.service.enabled=false"]);
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "Service"] {
        assert_eq!(of_kind(&few, kind).count(), 0, "{kind}");
    }
}

/// A policy that fails denies, so that it must ask about nothing but ours; and not of the spec of a
/// placement again when the operator writes to its metadata.
#[test]
fn admission_is_asked_about_our_kinds_alone_and_can_be_left_out() {
    let all = render(&[]);
    let policies: Vec<_> = of_kind(&all, "ValidatingAdmissionPolicy").collect();
    assert_eq!(policies.len(), 4);
    for policy in policies {
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array();
        for rule in rules.unwrap() {
            assert_eq!(rule["apiGroups"], serde_json::json!(["domicile.dev"]));
            let resources = rule["resources"].to_string();
            assert!(!resources.contains(['*', '/']), "{resources}");
        }
    }
    for off in ["admission.enabled=false", "replicas=0"] {
        let kinds = [
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ];
        let some = render(&[off]);
        assert!(
            kinds.iter().all(|kind| of_kind(&some, kind).count() == 0),
            "{off}"
        );
    }
}

/// The chart's objects under some values.
fn render(values: &[&str]) -> Vec<Value> {
    let chart = chart();
    let mut arguments = vec!["template", "domicile", &chart, "-n", "domicile-system"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let output = helm(&arguments);
    assert!(output.status.success(), "{}", words(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn helm(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

fn words(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Helm as the lab builds it, once; the first time takes minutes.
fn program() -> PathBuf {
    static PROGRAMS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = PROGRAMS.get_or_init(|| {
        let cache = Places::from_env(|name| std::env::var_os(name)).cache;
        let tools = Tools::ensure(&cache, &mut |_| ()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        tools.link_into(&folder.path().join("bin")).unwrap();
        folder
    });
    folder.path().join("bin/helm")
}

fn chart() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("charts/domicile").to_string_lossy().into_owned()
}
