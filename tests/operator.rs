//! A running operator: in this process, against the lab's real API server and databases, under
//! exactly the rights of `domicile_operator::rbac`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of tests: what fails here fails the test, and says so"
)]

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use domicile_lab::lab::{Lab, Options, find_program};
use domicile_lab::run_in::{SpaceRuntime, runtime_in};
use domicile_lab::setup::{Engine, Postgres, Setup};
use domicile_lab::state::Places;
use domicile_operator::context::Ctx;
use domicile_operator::kube::client::from_config;
use domicile_operator::rbac::{Rule, Scope, rules};
use domicile_operator::run::{context, lead};
use domicile_operator::settings::{Command, CommandLine, Environment, Settings};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The operator's namespace.
pub const NAMESPACE: &str = "domicile-system";
/// Whom the operator's calls come from.
pub const ACCOUNT: &str = "system:serviceaccount:domicile-system:domicile";

const POLL: Duration = Duration::from_millis(100);

/// A lab with an operator that leads. Ends both when dropped; a lab that ran before stays.
pub struct Running {
    /// The lab.
    pub lab: Lab,
    /// The operator's context.
    pub ctx: Arc<Ctx>,
    /// A client of the cluster's administrator.
    pub admin: Client,
    runtime: SpaceRuntime,
    loops: Option<JoinSet<Result<&'static str, domicile_operator::run::RunError>>>,
}

impl Running {
    /// Brings the lab up, or finds it, and starts an operator. Panics when something is missing:
    /// a test without its servers fails.
    pub fn start() -> Self {
        let places = Places::from_env(|name| std::env::var_os(name));
        let program = find_program(&std::env::current_exe().unwrap()).unwrap();
        let setup = Setup {
            postgres: Postgres::System,
            synchronous: true,
            engine: Engine::Plain,
        };
        let options = Options {
            places,
            program,
            setup,
        };
        let lab = Lab::up(&options, &mut |line| println!("lab: {line}")).unwrap();
        // Only an earlier call could make it fail, and then a provider is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        lab.cluster()
            .apply(&domicile_operator::crds().unwrap())
            .unwrap();
        lab.cluster().apply(&roles().to_string()).unwrap();
        let runtime = runtime_in(lab.space(), None).unwrap();
        let kubeconfig = lab.kubeconfig();
        let mut loops = JoinSet::new();
        let (admin, ctx) = runtime
            .block_on(async {
                let admin = client(&kubeconfig, None).await;
                let operator = client(&kubeconfig, Some(ACCOUNT)).await;
                let (ctx, ends) = context(operator, settings());
                lead(&ctx, ends, &mut loops);
                (admin, ctx)
            })
            .unwrap();
        Self {
            lab,
            ctx,
            admin,
            runtime,
            loops: Some(loops),
        }
    }

    /// Runs a future inside the lab's network.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future).unwrap()
    }

    /// Ends the operator and starts another one, which remembers nothing.
    pub fn restart(&mut self) {
        self.ctx.stop.now();
        let mut loops = self.loops.take().unwrap_or_default();
        let kubeconfig = self.lab.kubeconfig();
        let (ctx, loops) = self.block_on(async {
            loops.shutdown().await;
            let operator = client(&kubeconfig, Some(ACCOUNT)).await;
            let (ctx, ends) = context(operator, settings());
            lead(&ctx, ends, &mut loops);
            (ctx, loops)
        });
        self.ctx = ctx;
        self.loops = Some(loops);
    }

    /// Gives the operator its rights in the namespace of a tenant, which is made if missing.
    pub fn onboard(&self, namespace: &str) {
        let documents = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } },
            binding("RoleBinding", Some(namespace), "ClusterRole", "domicile-tenant"),
            binding("RoleBinding", Some(namespace), "ClusterRole", "domicile-binding"),
        ]});
        self.lab.cluster().apply(&documents.to_string()).unwrap();
    }

    /// Writes to the API server by the operator so far, events and leases aside: verb and object.
    pub fn writes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.lab.cluster().audit_log()).unwrap();
        log.lines()
            .filter_map(|line| write(&serde_json::from_str(line).ok()?))
            .collect()
    }

    /// Waits until `holds` answers something, and fails with `what` after `limit`.
    pub fn until<T>(&self, what: &str, limit: Duration, mut holds: impl FnMut() -> Option<T>) -> T {
        let started = self.ctx.clock.mono();
        loop {
            if let Some(value) = holds() {
                return value;
            }
            let passed = Duration::from_millis(self.ctx.clock.mono().since(started));
            assert!(passed < limit, "not within {limit:?}: {what}");
            self.block_on(self.ctx.clock.sleep(POLL));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ctx.stop.now();
        if let Some(mut loops) = self.loops.take() {
            let _ = self.runtime.block_on(async { loops.shutdown().await });
        }
        if !self.lab.was_running()
            && let Err(error) = Lab::down(self.lab.space().dir())
        {
            println!("the lab was not taken down: {error}");
        }
    }
}

/// Settings of an operator in the lab.
pub fn settings() -> Settings {
    let arguments = [
        "domicile",
        "run",
        "--namespace",
        NAMESPACE,
        "--identity",
        "test",
    ];
    let Command::Run(settings) = CommandLine::parse_from(arguments).command else {
        unreachable!("run was asked for");
    };
    settings.complete(Environment::default(), 1)
}

/// A client of the lab's administrator, or of whom he impersonates.
pub async fn client(kubeconfig: &Path, account: Option<&str>) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    config.auth_info.impersonate = account.map(str::to_owned);
    from_config(config).unwrap()
}

fn write(entry: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (verb, object) = (text(&entry["verb"]), &entry["objectRef"]);
    let resource = text(&object["resource"]);
    let ours = entry["impersonatedUser"]["username"] == ACCOUNT;
    let writes = ["create", "update", "patch", "delete"].contains(&verb.as_str());
    let counted = resource != "events" && resource != "leases";
    let subresource = text(&object["subresource"]);
    let name = text(&object["name"]);
    (ours && writes && counted).then(|| format!("{verb} {resource}/{name} {subresource}"))
}

/// The operator's rights as RBAC objects.
pub fn roles() -> Value {
    let of = |scope| -> Vec<Value> {
        rules()
            .iter()
            .filter(|rule| rule.scope == scope)
            .map(rule)
            .collect()
    };
    let role = |kind: &str, name: &str, namespace: Option<&str>, rules: Vec<Value>| {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": name }, "rules": rules,
        });
        if let Some(namespace) = namespace {
            role["metadata"]["namespace"] = namespace.into();
        }
        role
    };
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        role("ClusterRole", "domicile", None, of(Scope::Cluster)),
        role("ClusterRole", "domicile-workloads", None, of(Scope::Workloads)),
        role("ClusterRole", "domicile-tenant", None, of(Scope::Tenant)),
        labelled(role("ClusterRole", "domicile-binding-rules", None, of(Scope::Binding))),
        aggregated("domicile-binding"),
        role("Role", "domicile", Some(NAMESPACE), of(Scope::Operator)),
        role("Role", "domicile-dump", Some(NAMESPACE), of(Scope::Dump)),
        binding("ClusterRoleBinding", None, "ClusterRole", "domicile"),
        binding("ClusterRoleBinding", None, "ClusterRole", "domicile-workloads"),
        binding("RoleBinding", Some(NAMESPACE), "Role", "domicile"),
        binding("RoleBinding", Some(NAMESPACE), "Role", "domicile-dump"),
    ]})
}

const LABEL: &str = "domicile.dev/binding";

fn labelled(mut role: Value) -> Value {
    role["metadata"]["labels"] = json!({ LABEL: "domicile" });
    role
}

/// A role that the control plane fills in, as the chart writes it.
fn aggregated(name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name },
        "aggregationRule": { "clusterRoleSelectors": [
            { "matchLabels": { LABEL: "domicile" } },
            { "matchLabels": { "servicebinding.io/controller": "true" } },
        ]},
    })
}

fn rule(rule: &Rule) -> Value {
    let Rule {
        scope: _,
        group,
        resources,
        verbs,
        why: _,
    } = rule;
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

fn binding(kind: &str, namespace: Option<&str>, role_kind: &str, role: &str) -> Value {
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": { "name": role },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role,
        },
        "subjects": [
            { "kind": "ServiceAccount", "name": "domicile", "namespace": NAMESPACE },
        ],
    });
    if let Some(namespace) = namespace {
        binding["metadata"]["namespace"] = namespace.into();
    }
    binding
}
