//! A second real API server: the cluster of a region.

use std::collections::BTreeMap;
use std::fs;

use domicile_api::meta::OWNER_UID;
use domicile_cli::args::OnboardArgs;
use domicile_cli::onboard;
use domicile_lab::cluster::SmallCluster;
use domicile_lab::regions::Region;
use domicile_lab::story::operator::signal;
use domicile_tests::operator::{ACCOUNT, NAMESPACE, client, roles};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::world::{SPACE, World, region};

/// Secret with the kubeconfig of the second cluster.
pub(crate) const CLUSTER: &str = "west-cluster";

/// The cluster, and a client of its administrator.
pub(crate) struct There {
    pub(crate) cluster: SmallCluster,
    admin: Client,
}

impl There {
    /// Starts it in the network of `eu-west`, with the operator's account and roles and without the
    /// namespace of any tenant. The hub has its kubeconfig.
    pub(crate) fn start(world: &World) -> Self {
        let running = &world.running;
        let place = Region::named("eu-west").unwrap();
        let cluster = SmallCluster::start(running.lab.space(), place).unwrap();
        let account = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } },
            { "apiVersion": "v1", "kind": "ServiceAccount",
              "metadata": { "name": "domicile", "namespace": NAMESPACE } },
        ]});
        cluster.apply(&account.to_string()).unwrap();
        cluster.apply(&roles().to_string()).unwrap();
        let kubeconfig = cluster.account_kubeconfig("domicile").unwrap();
        world.apply(&kubeconfig_secret(CLUSTER, &kubeconfig));
        let admin = running.block_on(client(&cluster.admin(), None));
        Self { cluster, admin }
    }

    /// What a platform team does: the namespace, and what the command line prints.
    pub(crate) fn onboard(&self) {
        let space = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SPACE },
        });
        self.cluster.apply(&space.to_string()).unwrap();
        self.cluster.apply(&printed()).unwrap();
    }

    pub(crate) fn apply(&self, document: &Value) {
        self.cluster.apply(&document.to_string()).unwrap();
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), SPACE)
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::namespaced(self.admin.clone(), SPACE)
    }

    pub(crate) fn slices(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.admin.clone(), SPACE)
    }

    /// The names of all Secrets of Domicile there.
    pub(crate) fn names(&self, world: &World) -> Vec<String> {
        let all = ListParams::default();
        let found = world.running.block_on(self.secrets().list(&all)).unwrap();
        let ours = |one: &&Secret| one.annotations().contains_key(OWNER_UID);
        found
            .iter()
            .filter(ours)
            .map(ResourceExt::name_any)
            .collect()
    }

    pub(crate) fn secret(&self, world: &World, name: &str) -> Option<BTreeMap<String, String>> {
        let found = world.running.block_on(self.secrets().get_opt(name));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let data = found.unwrap()?.data.unwrap_or_default();
        Some(
            data.into_iter()
                .map(|(key, value)| (key, text(value.0)))
                .collect(),
        )
    }

    pub(crate) fn deployment(&self, world: &World, name: &str) -> Value {
        let api: Api<Deployment> = Api::namespaced(self.admin.clone(), SPACE);
        serde_json::to_value(world.running.block_on(api.get(name)).unwrap()).unwrap()
    }

    /// Says that all pods run, as no controller does there.
    pub(crate) fn rolled(&self, world: &World, name: &str) {
        let api: Api<Deployment> = Api::namespaced(self.admin.clone(), SPACE);
        let live = self.deployment(world, name);
        let replicas = &live["spec"]["replicas"];
        let status = json!({ "status": {
            "observedGeneration": live["metadata"]["generation"], "replicas": replicas,
            "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        }});
        let patch = Patch::Merge(&status);
        let _ = world
            .running
            .block_on(api.patch_status(name, &PatchParams::default(), &patch))
            .unwrap();
    }

    /// The API server and its store stand still, or go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let word = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        signal(&self.cluster.servers(), word);
    }

    /// All requests of the operator about objects of the tenants' namespace: verb and object.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.cluster.audit_log()).unwrap();
        let request = |line: &str| -> Option<String> {
            let entry: Value = serde_json::from_str(line).ok()?;
            let (by, object) = (&entry["user"]["username"], &entry["objectRef"]);
            let told = format!(
                "{} {}/{}",
                entry["verb"].as_str()?,
                object["resource"].as_str()?,
                object["name"].as_str().unwrap_or_default()
            );
            (by == ACCOUNT && object["namespace"] == SPACE).then_some(told)
        };
        log.lines().filter_map(request).collect()
    }

    /// Those of them that write.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut all = self.requests();
        all.retain(|one| !one.starts_with("get ") && !one.starts_with("list "));
        all
    }
}

/// What `kubectl domicile onboard` prints for the tenants' namespace.
fn printed() -> String {
    onboard::run(&OnboardArgs {
        tenant_namespace: SPACE.to_owned(),
        operator_namespace: NAMESPACE.to_owned(),
        fullname: "domicile".to_owned(),
        bindings_only: false,
    })
}

pub(crate) fn kubeconfig_secret(name: &str, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "stringData": { "kubeconfig": kubeconfig },
    })
}

/// A Region whose own cluster this Secret leads to, and which gets Secrets of tenants.
pub(crate) fn region_with(name: &str, law: &str, host: &str, secret: &str) -> Value {
    let mut region = region(name, law, host, &format!("{name}-admin"));
    region["spec"]["cluster"] = json!({
        "kubeconfigSecretRef": { "name": secret }, "tenants": true,
    });
    region
}
