//! What the tests of placements make, read and wait for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_api::conditions::{ConditionType, find};
use domicile_api::meta::RECONCILE_AT;
use domicile_api::{Region, TenantPlacement};
use domicile_core::names::DatabaseName;
use domicile_operator::tally::Tally;
use domicile_providers::{Endpoint, Generic};
use domicile_tests::operator::{NAMESPACE, Running};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use secrecy::SecretString;
use serde_json::{Value, json};

pub(super) const SPACE: &str = "tenant-acme";
pub(super) const WEST: &str = "10.77.0.1";
pub(super) const EAST: &str = "10.77.0.3";
pub(super) const SOON: Duration = Duration::from_mins(2);

/// The lab with an operator, and short ways to its objects.
pub(super) struct World {
    pub(super) running: Running,
    _alone: MutexGuard<'static, ()>,
}

/// There is one lab at a time.
static LAB: Mutex<()> = Mutex::new(());

impl World {
    /// Waits until no other test has the lab, and starts it.
    pub(super) fn start() -> Self {
        let alone = LAB.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            running: Running::start(),
            _alone: alone,
        }
    }

    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.running.admin.clone(), SPACE)
    }

    pub(super) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.running.admin.clone(), SPACE)
    }

    pub(super) fn placements(&self, namespace: &str) -> Api<TenantPlacement> {
        Api::namespaced(self.running.admin.clone(), namespace)
    }

    pub(super) fn apply(&self, document: &Value) {
        self.running
            .lab
            .cluster()
            .apply(&document.to_string())
            .unwrap();
    }

    /// SQL as a superuser of a region's server, in the maintenance database.
    pub(super) fn sql(&self, region: &str, sql: &str) -> String {
        let server = self.running.lab.regions().server(region).unwrap();
        server
            .superuser_sql("postgres", sql)
            .unwrap()
            .trim()
            .to_owned()
    }

    pub(super) fn secret(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let secret = self
            .running
            .block_on(self.secrets().get_opt(name))
            .unwrap()?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let data = secret.data.unwrap_or_default();
        Some(
            data.into_iter()
                .map(|(key, value)| (key, text(value.0)))
                .collect(),
        )
    }

    pub(super) fn deployment(&self, name: &str) -> Value {
        let found = self.running.block_on(self.deployments().get(name)).unwrap();
        serde_json::to_value(found).unwrap()
    }

    pub(super) fn patch_deployment(&self, name: &str, patch: &Value) {
        let (api, patch) = (self.deployments(), Patch::Merge(patch));
        self.running
            .block_on(api.patch(name, &PatchParams::default(), &patch))
            .unwrap();
    }

    pub(super) fn placement(&self, namespace: &str, name: &str) -> Option<TenantPlacement> {
        self.running
            .block_on(self.placements(namespace).get_opt(name))
            .unwrap()
    }

    pub(super) fn patch(&self, namespace: &str, name: &str, patch: &Value) {
        let api = self.placements(namespace);
        let patch = Patch::Merge(patch);
        self.running
            .block_on(api.patch(name, &PatchParams::default(), &patch))
            .unwrap();
    }

    /// Asks for a pass now.
    pub(super) fn poke(&self, name: &str, token: &str) {
        self.patch(
            SPACE,
            name,
            &json!({ "metadata": { "annotations": { RECONCILE_AT: token } } }),
        );
    }

    pub(super) fn delete(&self, namespace: &str, name: &str) {
        let api = self.placements(namespace);
        let _ = self
            .running
            .block_on(api.delete(name, &DeleteParams::default()))
            .unwrap();
    }

    pub(super) fn await_gone(&self, namespace: &str, name: &str) {
        self.running.until(&format!("{name} is gone"), SOON, || {
            self.placement(namespace, name).is_none().then_some(())
        });
    }

    /// Waits until `Ready` has this status and reason for the present generation.
    pub(super) fn await_ready(&self, namespace: &str, name: &str, status: &str, reason: &str) {
        let wanted = (ConditionType::Ready, status, reason);
        self.await_condition(namespace, name, wanted);
    }

    /// Waits until a condition has this status and reason for the present generation. Answers its
    /// message.
    pub(super) fn await_condition(
        &self,
        namespace: &str,
        name: &str,
        (type_, status, reason): (ConditionType, &str, &str),
    ) -> String {
        let mut last = String::new();
        let started = self.running.ctx.clock.mono();
        loop {
            let placement = self.placement(namespace, name).unwrap();
            let conditions = placement.status.clone().unwrap_or_default().conditions;
            if let Some(found) = find(&conditions, type_) {
                let current = found.observed_generation == placement.metadata.generation;
                if current && found.status == status && found.reason == reason {
                    return found.message.clone();
                }
                last = format!("{} {}: {}", found.status, found.reason, found.message);
            }
            let passed = self.running.ctx.clock.mono().since(started);
            let limit = u64::try_from(SOON.as_millis()).unwrap();
            let word = type_.as_str();
            assert!(
                passed < limit,
                "{name}: {word} is not {status} {reason} but {last}"
            );
            self.running
                .block_on(self.running.ctx.clock.sleep(Duration::from_millis(100)));
        }
    }

    /// Waits for an event of a placement with this reason.
    pub(super) fn await_event(&self, namespace: &str, name: &str, reason: &str) {
        let api: Api<Event> = Api::namespaced(self.running.admin.clone(), namespace);
        self.running
            .until(&format!("{name}: an event {reason}"), SOON, || {
                let events = self
                    .running
                    .block_on(api.list(&ListParams::default()))
                    .unwrap();
                let matches = |event: &Event| {
                    let about = event
                        .regarding
                        .as_ref()
                        .and_then(|object| object.name.as_deref());
                    about == Some(name) && event.reason.as_deref() == Some(reason)
                };
                events.items.iter().any(matches).then_some(())
            });
    }

    /// Logs in with what a Secret holds. Answers whether it worked.
    pub(super) fn can_log_in(&self, region: &str, data: &BTreeMap<String, String>) -> bool {
        let password = SecretString::from(data["password"].clone());
        let endpoint = Endpoint {
            host: data["host"].clone(),
            port: data["port"].parse().unwrap(),
            ca_pem: self
                .running
                .lab
                .regions()
                .ca_pem(region)
                .unwrap()
                .to_owned(),
            username: data["username"].clone(),
            password: password.clone(),
            identifiers: Vec::new(),
        };
        let server = Generic::new(endpoint, Duration::from_secs(10)).unwrap();
        let database = DatabaseName::parse(&data["database"]).unwrap();
        let login = server.can_log_in(&database, &data["username"], &password);
        self.running
            .block_on(login)
            .is_ok_and(|login| login.writable)
    }

    pub(super) fn database_exists(&self, region: &str, name: &str) -> bool {
        let sql = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        self.sql(region, &sql) == "1"
    }

    pub(super) fn roles(&self, region: &str, prefix: &str) -> String {
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname ^@ '{prefix}'");
        self.sql(region, &sql)
    }

    pub(super) fn await_region(&self, name: &str, reason: &str) {
        let api: Api<Region> = Api::all(self.running.admin.clone());
        self.running
            .until(&format!("Region {name} is {reason}"), SOON, || {
                let region = self.running.block_on(api.get(name)).unwrap();
                let conditions = region.status.unwrap_or_default().conditions;
                (find(&conditions, ConditionType::Ready)?.reason == reason).then_some(())
            });
    }

    /// All text that anyone may read: objects, events and the operator's figures.
    pub(super) fn everything(&self) -> String {
        let all = ListParams::default();
        let placements: Api<TenantPlacement> = Api::all(self.running.admin.clone());
        let events: Api<Event> = Api::all(self.running.admin.clone());
        let deployments: Api<Deployment> = Api::all(self.running.admin.clone());
        let placements = self.running.block_on(placements.list(&all)).unwrap();
        let events = self.running.block_on(events.list(&all)).unwrap();
        let deployments = self.running.block_on(deployments.list(&all)).unwrap();
        assert!(
            events
                .items
                .iter()
                .any(|event| event.reporting_controller.is_some())
        );
        let named = placements
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>();
        assert!(!named.is_empty());
        let ctx = &self.running.ctx;
        let metrics = ctx.metrics.text(&Tally::of(&ctx.stores.placements));
        assert!(metrics.contains("domicile_placements{"), "{metrics}");
        format!("{placements:?} {events:?} {deployments:?} {metrics}")
    }
}

pub(super) fn region(name: &str, law: &str, host: &str, login: &str) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Region",
        "metadata": { "name": name },
        "spec": {
            "key": name.to_uppercase().replace('-', "_"),
            "jurisdiction": law,
            "databaseServers": [{
                "name": "main", "host": host, "port": 5432,
                "tls": { "caSecretRef": { "name": format!("{name}-ca") } },
                "adminSecretRef": { "name": login },
            }],
        },
    })
}

pub(super) fn tenant(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": { "name": name, "namespace": SPACE },
        "spec": spec,
    })
}

pub(super) fn deployment(name: &str, labels: &Value, env: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": SPACE, "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": "app", "image": "local.test/none:dev",
                    "imagePullPolicy": "Never", "env": env,
                }]},
            },
        },
    })
}

pub(super) fn admin_secret(name: &str, username: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "stringData": { "username": username, "password": password },
    })
}
