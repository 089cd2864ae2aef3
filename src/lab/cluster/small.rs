//! A region's own cluster, as small as promises and Secrets allow: an API server with its store,
//! inside the region's network, without nodes that run anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::Cluster;
use super::config::{API_PORT, create_folder, write};
use super::fakes;
use crate::error::{LabError, Result};
use crate::pki::{Authority, Usage, signing_key};
use crate::process::{Patience, ProcessId, run, run_input, run_ok, tail};
use crate::regions::Region;
use crate::space::{Daemon, Space};
use crate::state::write_atomically;

const READY_LIMIT: Duration = Duration::from_secs(90);
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// Whom the chart makes for agents and the hub, and where.
const NAMESPACE: &str = "domicile-system";
const PROCESSES_FILE: &str = "processes.json";
/// Every request of every user.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The running cluster of a region. It ends with the space.
#[derive(Debug)]
pub struct SmallCluster {
    pub(super) space: Space,
    region: &'static Region,
    dir: PathBuf,
    ca: String,
    running: BTreeMap<String, ProcessId>,
}

impl SmallCluster {
    /// Starts it and waits until it answers. A start that fails leaves nothing behind but logs.
    /// Errors: the region has one, or a server did not start.
    pub fn start(space: &Space, region: &'static Region) -> Result<Self> {
        let dir = folder(space, region);
        if let Some(old) = Self::open(space, region)? {
            if old.running.values().any(ProcessId::alive) {
                let text = format!("{} has a cluster already", region.name);
                return Err(LabError::State(text));
            }
            old.end()?;
        } else if dir.exists() {
            // What a start left that was killed.
            fs::remove_dir_all(&dir).map_err(LabError::file("remove", &dir))?;
        }
        create_folder(&dir, 0o700)?;
        let authority = Authority::new(&format!("domicile-lab-{}", region.name))?;
        let mut cluster = Self {
            space: space.clone(),
            region,
            ca: authority.cert_pem().to_owned(),
            dir,
            running: BTreeMap::new(),
        };
        match cluster.begin_all(&authority) {
            Ok(()) => Ok(cluster),
            Err(error) => {
                // Why it failed is worth more than why it cannot be cleared away.
                drop(cluster.end());
                Err(error)
            }
        }
    }

    /// Starts it with pods that kwok fakes, as a platform team makes it for tenants, and answers
    /// the name of the hub's Secret with the kubeconfig for `Region.spec.cluster`. What fails
    /// leaves nothing behind.
    pub fn for_tenants(
        hub: &Cluster,
        region: &'static Region,
        (kwok, chart): (&Path, &Path),
        namespaces: &[String],
    ) -> Result<(Self, String)> {
        let mut cluster = Self::start(&hub.space, region)?;
        match cluster.serve(hub, (kwok, chart), namespaces) {
            Ok(secret) => Ok((cluster, secret)),
            Err(error) => {
                // Why it failed is worth more than why it cannot be cleared away.
                drop(cluster.end());
                Err(error)
            }
        }
    }

    /// The cluster of a region in which it was started, if it was.
    pub fn open(space: &Space, region: &'static Region) -> Result<Option<Self>> {
        let dir = folder(space, region);
        let file = dir.join(PROCESSES_FILE);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).map_err(LabError::file("read", &file))?;
        let running = serde_json::from_str(&text).map_err(|source| LabError::Json {
            what: file.display().to_string(),
            source,
        })?;
        let authority = dir.join("ca.crt");
        let ca = fs::read_to_string(&authority).map_err(LabError::file("read", &authority))?;
        Ok(Some(Self {
            space: space.clone(),
            region,
            dir,
            ca,
            running,
        }))
    }

    /// Its servers, to be stopped and continued.
    pub fn servers(&self) -> Vec<ProcessId> {
        self.running.values().copied().collect()
    }

    /// Its servers and whether each runs.
    pub fn processes(&self) -> BTreeMap<String, bool> {
        let named = |(name, process): (&String, &ProcessId)| (name.clone(), process.alive());
        self.running.iter().map(named).collect()
    }

    /// The kubeconfig of its administrator, which serves wherever the region's address is reached.
    pub fn admin(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// The audit log: one JSON object a line, every request of every user.
    pub fn audit_log(&self) -> PathBuf {
        self.log("audit")
    }

    /// Applies JSON or YAML documents, again and again until the apiserver accepts them.
    pub fn apply(&self, documents: &str) -> Result<()> {
        let patience = Patience::new("kubectl apply", Duration::from_secs(20));
        loop {
            let mut command = self.kubectl();
            command.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
            match run_input(&mut command, documents, CALL_LIMIT) {
                Ok(_) => return Ok(()),
                Err(LabError::Program { program, detail }) => {
                    patience.pause(|| format!("{program}: {detail}"))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Installs what a region's platform team installs for promises, and answers a kubeconfig of
    /// the account that it makes.
    pub fn promise_kubeconfig(&self, chart: &Path) -> Result<String> {
        self.install(chart, "promises={eu}")?;
        self.account_kubeconfig("domicile-promise")
    }

    fn install(&self, chart: &Path, values: &str) -> Result<()> {
        let mut helm = self.helm();
        helm.args(["upgrade", "--install", "domicile"]).arg(chart);
        helm.args(["--namespace", NAMESPACE, "--create-namespace"]);
        helm.args(["--set", "replicas=0,crds.enabled=false", "--set", values]);
        run_ok(&mut helm, CALL_LIMIT).map(drop)
    }

    /// A kubeconfig of an account in the operator's namespace.
    pub fn account_kubeconfig(&self, account: &str) -> Result<String> {
        let mut token = self.kubectl();
        token.args([
            "create",
            "token",
            account,
            "--namespace",
            NAMESPACE,
            "--duration=24h",
        ]);
        let token = run_ok(&mut token, CALL_LIMIT)?.stdout;
        let server = format!("https://{}:{API_PORT}", self.region.address);
        Ok(kubeconfig(&server, &self.ca, token.trim()))
    }

    /// A kubectl command with the administrator's rights.
    pub fn kubectl(&self) -> Command {
        let mut command = self.space.command(None, "kubectl");
        command.arg("--kubeconfig").arg(self.admin());
        command.env("KUBECACHEDIR", self.dir.join("cache"));
        command
    }

    /// A helm command with the administrator's rights.
    pub fn helm(&self) -> Command {
        let mut command = self.space.command(None, "helm");
        command.arg("--kubeconfig").arg(self.admin());
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.dir.join("helm"));
        }
        command
    }

    fn serve(
        &mut self,
        hub: &Cluster,
        (kwok, chart): (&Path, &Path),
        namespaces: &[String],
    ) -> Result<String> {
        self.start_fakes(kwok)?;
        for name in namespaces {
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            });
            self.apply(&namespace.to_string())?;
        }
        let names = namespaces.join(",");
        let values = format!("secretNames={{none}},tenantNamespaces={{{names}}}");
        self.install(chart, &values)?;
        let secret = format!("{}-cluster", self.region.name);
        let document = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": secret, "namespace": NAMESPACE},
            "stringData": {"kubeconfig": self.account_kubeconfig("domicile")?},
        });
        hub.apply(&document.to_string())?;
        Ok(secret)
    }

    fn begin_all(&mut self, authority: &Authority) -> Result<()> {
        self.write_files(authority)?;
        self.begin("etcd", &self.etcd_arguments())?;
        self.begin("kube-apiserver", &self.apiserver_arguments())?;
        self.await_api()
    }

    /// Ends its servers and removes what they stored.
    pub fn end(self) -> Result<()> {
        for process in self.running.values() {
            if !process.alive() {
                continue;
            }
            // Ended by itself meanwhile is as good.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        let patience = Patience::firm("the end of a cluster", CALL_LIMIT);
        while self.running.values().any(ProcessId::alive) {
            patience.pause(String::new)?;
        }
        fs::remove_dir_all(&self.dir).map_err(LabError::file("remove", &self.dir))
    }

    fn write_files(&self, authority: &Authority) -> Result<()> {
        let address = self.region.address.to_string();
        let names = ["localhost", "127.0.0.1", &address, "10.96.0.1"];
        let (certificate, key) =
            authority.issue("kube-apiserver", None, &names, &[Usage::Server])?;
        let (private, public) = signing_key()?;
        let admin = authority.issue("lab-admin", Some("system:masters"), &[], &[Usage::Client])?;
        for (name, text) in [
            ("ca.crt", self.ca.as_str()),
            ("apiserver.crt", &certificate),
            ("apiserver.key", &key),
            ("service-account.key", &private),
            ("service-account.pub", &public),
            ("admin.crt", &admin.0),
            ("admin.key", &admin.1),
            ("admin.kubeconfig", &self.admin_kubeconfig()),
            ("audit.yaml", AUDIT_POLICY),
        ] {
            write(&self.file(name), text)?;
        }
        Ok(())
    }

    fn admin_kubeconfig(&self) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{name: lab, cluster: {{server: 'https://{}:{API_PORT}', \
             certificate-authority: {}}}}}]\n\
             users: [{{name: admin, user: {{client-certificate: {}, client-key: {}}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: admin}}}}]\n",
            self.region.address,
            file("ca.crt"),
            file("admin.crt"),
            file("admin.key"),
        )
    }

    fn etcd_arguments(&self) -> Vec<String> {
        vec![
            format!("--data-dir={}", self.dir.join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    fn apiserver_arguments(&self) -> Vec<String> {
        let file = |name: &str| self.file(name).display().to_string();
        vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--secure-port={API_PORT}"),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={}", self.region.address),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("service-account.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", self.log("audit").display()),
            "--audit-log-maxsize=2048".to_owned(),
        ]
    }

    /// Starts a server and remembers it.
    pub(super) fn begin(&mut self, program: &str, arguments: &[String]) -> Result<()> {
        let process = self.space.spawn_daemon(&Daemon {
            netns: Some(self.region.name),
            program: &self.space.dir().join("bin").join(program),
            args: arguments,
            env: fakes::environment(program),
            log: &self.log(program),
            user: None,
        })?;
        self.running.insert(program.to_owned(), process);
        let text = json!(self.running).to_string();
        write_atomically(&self.file(PROCESSES_FILE), text.as_bytes())
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn log(&self, program: &str) -> PathBuf {
        let name = format!("{program}-{}.log", self.region.name);
        self.space.dir().join("log").join(name)
    }

    /// A server that has ended is reported at once, with the end of its log.
    pub(super) fn check(&self) -> Result<()> {
        match self.running.iter().find(|(_, process)| !process.alive()) {
            Some((name, _)) => Err(LabError::Ended {
                process: name.clone(),
                log: tail(&self.log(name)),
            }),
            None => Ok(()),
        }
    }

    fn await_api(&self) -> Result<()> {
        let what = format!("the start of the apiserver of {}", self.region.name);
        let patience = Patience::new(what, READY_LIMIT);
        let ready = || run(self.kubectl().args(["get", "--raw", "/readyz"]), CALL_LIMIT);
        while !ready()?.status.success() {
            self.check()?;
            patience.pause(|| tail(&self.log("kube-apiserver")))?;
        }
        Ok(())
    }
}

fn folder(space: &Space, region: &Region) -> PathBuf {
    space.dir().join("clusters").join(region.name)
}

/// A kubeconfig that holds all it needs.
pub(crate) fn kubeconfig(server: &str, ca_pem: &str, token: &str) -> String {
    let ca = k8s_openapi::ByteString(ca_pem.as_bytes().to_vec());
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {
            "server": server, "certificate-authority-data": ca,
        }}],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    })
    .to_string()
}
