//! The stage: a lab with the operator, the regions, the tenants and a policy, all ready.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::collect::Collector;
use super::objects::{Objects, kinds, ready, rolled_out, summary};
use crate::error::{LabError, Result};
use crate::image::pack;
use crate::lab::{Lab, Options, SYSTEM_NAMESPACE};
use crate::regions::REGIONS;
use crate::space::Space;

/// The image of the operator.
pub const OPERATOR_IMAGE: &str = "local.test/domicile:dev";
/// The image of the tenants' application.
pub const APP_IMAGE: &str = "local.test/tenant-app:dev";
/// The operator's Deployment and Helm release.
pub const RELEASE: &str = "domicile";

const READY_LIMIT: Duration = Duration::from_secs(90);
const TENANT_PREFIX: &str = "tenant-";

/// What is put on the stage, all of it built or written before.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Folder of the built programs `domicile`, `domicile-lab-app` and `kubectl-domicile`.
    pub programs: PathBuf,
    /// The repository, for `charts/` and `examples/`.
    pub repository: PathBuf,
    /// The file in `examples/` with the regions.
    pub regions: &'static str,
    /// The file in `examples/` with the policy.
    pub policy: &'static str,
    /// Have the database servers log every statement, before a tenant is placed.
    pub log_statements: bool,
    /// Let the lab end with this process, however that ends.
    pub owned: bool,
    /// The operator's drift interval, in seconds.
    pub drift_seconds: u32,
}

/// A tenant, as found on the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name: that of its namespace without the prefix, and of its writer.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of its `TenantPlacement`.
    pub placement: String,
    /// Name of its Secret.
    pub secret: String,
    /// Its database.
    pub database: String,
    /// Its home region.
    pub home: String,
}

/// The stage.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    /// The cluster's objects.
    pub objects: Objects,
    /// The logs of all pods.
    pub logs: Collector,
    /// What was put on it.
    pub parts: Parts,
    /// The policy's name.
    pub policy: String,
    operator_image: String,
}

impl Stage {
    /// Brings the lab up, installs the operator and applies the examples; returns when all is
    /// ready. What is there already is updated. Errors leave the lab up, to be looked at.
    pub fn begin(options: &Options, parts: Parts, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let lab = Lab::up_with(options, parts.owned, progress)?;
        let dir = lab.space().dir().to_owned();
        let logs = Collector::begin(&dir.join("podlogs"), &lab.acks_dir().join("kept"))?;
        let objects = Objects::open(&lab)?;
        let policy = documents(&parts.example(parts.policy))?;
        let policy = policy.iter().find(|one| one["kind"] == "FailoverPolicy");
        let policy = policy.and_then(|one| one["metadata"]["name"].as_str());
        let policy = policy
            .ok_or_else(|| LabError::State(format!("{} has no FailoverPolicy", parts.policy)))?;
        let mut stage = Self {
            operator_image: String::new(),
            lab,
            objects,
            logs,
            policy: policy.to_owned(),
            parts,
        };
        progress("packing and importing the images");
        stage.operator_image = stage.import("domicile", OPERATOR_IMAGE)?;
        stage.import("domicile-lab-app", APP_IMAGE)?;
        stage.install(progress)?;
        stage.apply_examples(progress)?;
        Ok(stage)
    }

    /// The private space of the lab.
    pub fn space(&self) -> &Space {
        self.lab.space()
    }

    /// The policy as it is now.
    pub fn policy(&self) -> Result<Value> {
        self.objects.must(kinds::POLICY, None, &self.policy)
    }

    /// The region that tenants of the policy are pointed at.
    pub fn active(&self) -> Result<String> {
        let policy = self.policy()?;
        let active = policy
            .pointer("/status/activeRegion")
            .and_then(Value::as_str);
        active
            .map(str::to_owned)
            .ok_or_else(|| LabError::State("the policy names no active region".to_owned()))
    }

    /// The tenants, by name.
    pub fn tenants(&self) -> Result<BTreeMap<String, Tenant>> {
        let placements = self.objects.list(kinds::PLACEMENT, None, "")?;
        let mut tenants = BTreeMap::new();
        for placement in placements {
            let word = |path: &str| {
                let found = placement.pointer(path).and_then(Value::as_str);
                found.unwrap_or_default().to_owned()
            };
            let namespace = word("/metadata/namespace");
            let Some(name) = namespace.strip_prefix(TENANT_PREFIX).map(str::to_owned) else {
                continue;
            };
            let tenant = Tenant {
                name: name.clone(),
                placement: word("/metadata/name"),
                secret: word("/status/binding/name"),
                database: word("/status/connection/database"),
                home: word("/status/homeRegion"),
                namespace,
            };
            tenants.insert(name, tenant);
        }
        Ok(tenants)
    }

    /// A key of a tenant's Secret. Errors: it is not there.
    pub fn credential(&self, tenant: &Tenant, key: &str) -> Result<SecretString> {
        let object = self
            .objects
            .must(kinds::SECRET, Some(&tenant.namespace), &tenant.secret)?;
        let what = format!("Secret {}", tenant.secret);
        let secret: Secret =
            serde_json::from_value(object).map_err(|source| LabError::Json { what, source })?;
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value
            .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
            .map(SecretString::from)
            .ok_or_else(|| LabError::State(format!("Secret {} has no {key}", tenant.secret)))
    }

    /// Waits until the operator's Deployment runs what it should.
    pub fn await_operator(&self) -> Result<()> {
        let deployment = (kinds::DEPLOYMENT, Some(SYSTEM_NAMESPACE), RELEASE);
        let waited = self
            .objects
            .wait(deployment, "rolled out", READY_LIMIT, rolled_out);
        waited.map(drop)
    }

    /// Scales the tenants' applications.
    pub fn scale_apps(&self, replicas: u32) -> Result<()> {
        for tenant in self.tenants()?.values() {
            let patch = json!({"spec": {"replicas": replicas}});
            let namespace = Some(&*tenant.namespace);
            for app in self.objects.list(kinds::DEPLOYMENT, namespace, "")? {
                let name = app["metadata"]["name"].as_str().unwrap_or_default();
                self.objects
                    .merge(kinds::DEPLOYMENT, namespace, name, &patch)?;
                let target = (kinds::DEPLOYMENT, namespace, name);
                self.objects
                    .wait(target, "scaled", READY_LIMIT, rolled_out)?;
            }
        }
        Ok(())
    }

    /// Returns the image's digest.
    fn import(&self, program: &str, image: &str) -> Result<String> {
        let binary = self.parts.programs.join(program);
        if !binary.is_file() {
            let hint = "cargo build --bins";
            return Err(LabError::missing(binary.display().to_string(), hint));
        }
        let archive = self.space().dir().join(format!("{program}.tar"));
        let digest = pack(image, &binary, &[], &archive)?;
        self.lab.import_image(&archive)?;
        fs::remove_file(&archive).map_err(LabError::file("remove", &archive))?;
        Ok(digest)
    }

    /// Installs or updates the operator. Namespaces first: the chart puts a `RoleBinding` into
    /// each.
    pub fn install(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let tenants = documents(&self.parts.example("10-tenants.yaml"))?;
        let namespaces: Vec<_> = tenants
            .into_iter()
            .filter(|document| document["kind"] == "Namespace")
            .collect();
        let names: Vec<_> = namespaces
            .iter()
            .filter_map(|one| one["metadata"]["name"].as_str())
            .collect();
        self.apply(&namespaces)?;
        progress("installing the operator with helm");
        let chart = self.parts.repository.join("charts/domicile");
        let tenants = format!("tenantNamespaces={}", json!(names));
        // The tag stays the same: only this tells the Deployment of another image.
        let annotations = format!("podAnnotations={}", json!({"image": self.operator_image}));
        let drift = format!("driftIntervalSeconds={}", self.parts.drift_seconds);
        self.lab.helm(&[
            "upgrade",
            "--install",
            RELEASE,
            &chart.display().to_string(),
            "--namespace",
            SYSTEM_NAMESPACE,
            "--set-json",
            &tenants,
            "--set-json",
            &annotations,
            "--set-json",
            &agents(),
            // What `examples/patroni/30-dump.yaml` makes.
            "--set-json",
            r#"dumps=["keep-old-primary"]"#,
            "--set",
            &drift,
            "--set",
            "image.repository=local.test/domicile,image.tag=dev,image.pullPolicy=Never",
            // The kernel weighs a container by its request, and against each process of the
            // machine: with the chart's, a build beside the lab stops the probes for seconds.
            "--set",
            "resources.requests.cpu=500m",
        ])?;
        self.await_operator()
    }

    fn apply_examples(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        progress("applying the regions");
        self.apply(&documents(&self.parts.example(self.parts.regions))?)?;
        self.await_ready(kinds::REGION)?;
        if self.parts.log_statements {
            self.log_statements()?;
        }
        progress("placing the tenants");
        self.apply(&documents(&self.parts.example("10-tenants.yaml"))?)?;
        self.await_ready(kinds::PLACEMENT)?;
        progress("applying the failover policy");
        self.apply(&documents(&self.parts.example(self.parts.policy))?)?;
        self.await_ready(kinds::POLICY)?;
        progress("waiting for the tenants' applications");
        for tenant in self.tenants()?.values() {
            let namespace = Some(&*tenant.namespace);
            let target = (kinds::DEPLOYMENT, namespace, "app");
            self.objects
                .wait(target, "rolled out", READY_LIMIT, |app| {
                    rolled_out(app) && app.to_string().contains("\"DATABASE_URL\"")
                })?;
        }
        Ok(())
    }

    fn log_statements(&self) -> Result<()> {
        for region in &REGIONS {
            let server = self.lab.regions().server(region.name)?;
            for sql in [
                "ALTER SYSTEM SET log_statement = 'all'",
                "SELECT pg_reload_conf()",
            ] {
                server.superuser_sql("postgres", sql)?;
            }
        }
        Ok(())
    }

    /// Waits until all objects of a kind are ready.
    pub fn await_ready(&self, kind: super::objects::Kind) -> Result<()> {
        for object in self.objects.list(kind, None, "")? {
            let word = |path: &str| object.pointer(path).and_then(Value::as_str);
            let name = word("/metadata/name").unwrap_or_default();
            let target = (kind, word("/metadata/namespace"), name);
            self.objects.wait(target, "ready", READY_LIMIT, ready)?;
        }
        Ok(())
    }

    /// Applies documents as a user would, without taking fields from the operator.
    pub fn apply(&self, documents: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": documents});
        self.lab.cluster().apply(&list.to_string()).map(drop)
    }

    /// The policy's state and conditions, for messages.
    pub fn policy_summary(&self) -> String {
        match self.policy() {
            Ok(policy) => summary(&policy),
            Err(error) => error.report(),
        }
    }
}

impl Parts {
    /// The path of an example.
    pub fn example(&self, file: &str) -> PathBuf {
        self.repository.join("examples").join(file)
    }
}

/// The agents that may come: one beside each server of the policy, with the names of the examples.
fn agents() -> String {
    let agent = |region: &str| {
        json!({
            "region": region, "policies": ["eu"],
            "secretNames": [format!("{region}-admin"), format!("{region}-ca")],
        })
    };
    format!("agents={}", json!([agent("eu-west"), agent("eu-central")]))
}

/// The documents of a YAML file. Errors: it is not there, or no YAML.
pub fn documents(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    serde_saphyr::from_multiple(&text)
        .map_err(|error| LabError::State(format!("{} is no YAML: {error}", path.display())))
}
