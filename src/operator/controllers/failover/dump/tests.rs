use domicile_core::failover::MAX_DATABASES;
use domicile_core::names::RegionName;
use serde_json::{Value, json};

use super::*;

fn of() -> Of {
    Of {
        policy: "eu".to_owned(),
        region: "eu-west".into(),
        epoch: Epoch(7),
    }
}

fn region(admin: &Value) -> Region {
    let region = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region", "metadata": {"name": "eu-west"},
        "spec": {"key": "W", "jurisdiction": "EU", "databaseServers": [{
            "name": "main", "host": "10.0.0.1", "port": 5433, "adminSecretRef": admin,
            "tls": {"caSecretRef": {"name": "west-ca", "key": "root.pem"}}}]},
    });
    serde_json::from_value(region).unwrap()
}

fn template() -> CronJob {
    let template = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "keep"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {
            "metadata": {"labels": {"app": "keep"}},
            "spec": {"backoffLimit": 2, "ttlSecondsAfterFinished": 5, "template": {"spec": {
                "nodeSelector": {"zone": "eu"}, "restartPolicy": "Never",
                "initContainers": [{"name": "dump", "image": "pg", "env": [
                    {"name": "TO", "value": "/out/$(PGHOST)"},
                    {"name": "PGHOST", "value": "elsewhere"}]}],
                "containers": [{"name": "send", "image": "s3"}],
                "volumes": [{"name": "out", "emptyDir": {}}]}}}}},
    });
    serde_json::from_value(template).unwrap()
}

fn built() -> Value {
    let region = region(&json!({"name": "west-admin"}));
    let databases = ["acme".to_owned(), "bolt".to_owned()];
    let server = &region.spec.database_servers[0];
    let job = build(&template(), &of(), server, &databases, &databases[..1]).unwrap();
    serde_json::to_value(job).unwrap()
}

#[test]
fn the_job_is_the_template_and_the_way_to_the_server() {
    let job = built();
    assert_eq!(job["metadata"]["labels"], json!({"app": "keep"}));
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations[domicile_api::meta::DUMP_OF], "eu/eu-west/7");
    assert_eq!(annotations["cronjob.kubernetes.io/instantiate"], "manual");
    // What owns nothing is collected by nobody, and its end is seen however late.
    assert!(job["metadata"]["ownerReferences"].is_null());
    assert!(job["spec"]["ttlSecondsAfterFinished"].is_null());
    assert_eq!(job["spec"]["backoffLimit"], 2);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"zone": "eu"}));
    let from = |key: &str| json!({"secretKeyRef": {"name": "west-admin", "key": key}});
    let variables = json!([
        {"name": "PGHOST", "value": "10.0.0.1"},
        {"name": "PGPORT", "value": "5433"},
        {"name": "PGUSER", "valueFrom": from("username")},
        {"name": "PGPASSWORD", "valueFrom": from("password")},
        {"name": "PGSSLMODE", "value": "verify-full"},
        {"name": "PGSSLROOTCERT", "value": "/etc/domicile/ca.crt"},
        {"name": "DOMICILE_POLICY", "value": "eu"},
        {"name": "DOMICILE_REGION", "value": "eu-west"},
        {"name": "DOMICILE_EPOCH", "value": "7"},
        {"name": "DOMICILE_DATABASES", "value": "acme bolt"},
        {"name": "DOMICILE_TOUCHED", "value": "acme"},
    ]);
    assert_eq!(pod["containers"][0]["env"], variables);
    let mut both = variables.as_array().unwrap().clone();
    both.push(json!({"name": "TO", "value": "/out/$(PGHOST)"}));
    assert_eq!(pod["initContainers"][0]["env"], json!(both));
    let mount = json!({"name": "domicile-ca", "mountPath": "/etc/domicile", "readOnly": true});
    for container in ["containers", "initContainers"] {
        assert_eq!(pod[container][0]["volumeMounts"], json!([mount]));
    }
    let items = json!([{"key": "root.pem", "path": "ca.crt"}]);
    let ca = json!({"name": "domicile-ca", "secret": {"secretName": "west-ca", "items": items}});
    assert_eq!(pod["volumes"], json!([{"name": "out", "emptyDir": {}}, ca]));
}

#[test]
fn a_template_that_is_empty_or_a_list_that_is_too_long_is_told() {
    let region = region(&json!({"name": "west-admin"}));
    let server = &region.spec.database_servers[0];
    let told = build(&CronJob::default(), &of(), server, &[], &[]).unwrap_err();
    assert_eq!(told, "the CronJob has no template");
    let many = vec!["a".repeat(60); 2_000];
    let told = build(&template(), &of(), server, &many, &[]).unwrap_err();
    assert!(told.starts_with("2000 databases"), "{told}");
}

#[test]
fn a_name_is_short_and_of_one_copy_alone() {
    assert_eq!(of().name(), of().name());
    let others = [
        Of {
            epoch: Epoch(8),
            ..of()
        },
        Of {
            policy: "eu-eu".to_owned(),
            region: "west".into(),
            ..of()
        },
        Of {
            region: "eu.west".into(),
            ..of()
        },
    ];
    for other in others {
        assert_ne!(of().name(), other.name());
    }
    let long = Of {
        policy: "p.".repeat(126) + "p",
        region: RegionName::new("r".repeat(253)),
        epoch: Epoch(domicile_api::schema::MAX_EXACT),
    };
    let name = long.name();
    assert!(name.len() <= 63 && !name.contains('.'), "{name}");
    assert!(name.starts_with("dump-p-p-p"), "{name}");
    const { assert!(MAX_DATABASES * 64 < 100_000) };
}

#[test]
fn a_job_says_how_far_it_is_and_one_of_somebody_else_says_nothing() {
    let job = |conditions: Value| -> Job {
        let mut job = built();
        job["status"] = json!({"conditions": conditions});
        serde_json::from_value(job).unwrap()
    };
    let condition = |type_: &str, status: &str| json!([{"type": type_, "status": status}]);
    for (conditions, look) in [
        (json!([]), DumpLook::Running),
        (condition("Complete", "True"), DumpLook::Complete),
        (condition("Complete", "False"), DumpLook::Running),
        (condition("SuccessCriteriaMet", "True"), DumpLook::Running),
        (condition("Failed", "True"), DumpLook::Failed),
        (condition("Suspended", "True"), DumpLook::Running),
    ] {
        assert_eq!(of().look(&job(conditions)), Some(look));
    }
    let mut other = job(json!([]));
    let marks = other.metadata.annotations.as_mut().unwrap();
    marks.insert(
        domicile_api::meta::DUMP_OF.to_owned(),
        "eu/eu-west/6".to_owned(),
    );
    assert_eq!(of().look(&other), None);
    other.metadata.annotations = None;
    assert_eq!(of().look(&other), None);
}

#[test]
fn a_secret_in_another_namespace_is_named() {
    let elsewhere = |admin: &Value| {
        let region = region(admin);
        secret_elsewhere(&region.spec.database_servers[0], "domicile-system")
    };
    assert_eq!(elsewhere(&json!({"name": "a"})), None);
    let same = json!({"name": "a", "namespace": "domicile-system"});
    assert_eq!(elsewhere(&same), None);
    let other = json!({"name": "a", "namespace": "db"});
    assert_eq!(elsewhere(&other), Some("db/a".to_owned()));
}

#[test]
fn a_template_of_the_hub_says_in_whose_jurisdiction_its_copies_stay() {
    let mut template = template();
    assert!(!allows(&template, "EU"), "it says nothing");
    for (said, allowed) in [
        ("EU", true),
        ("US, EU", true),
        ("US", false),
        ("EUX", false),
    ] {
        let annotations = template.annotations_mut();
        annotations.insert(DUMP_JURISDICTIONS.to_owned(), said.to_owned());
        assert_eq!(allows(&template, "EU"), allowed, "{said}");
    }
}
