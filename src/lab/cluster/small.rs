//! A region's own cluster, as small as promises and Secrets allow: an API server with its store,
//! inside the region's network, without nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::config::{API_PORT, create_folder, write};
use crate::error::{LabError, Result};
use crate::pki::{Authority, Usage, signing_key};
use crate::process::{Patience, ProcessId, run, run_input, run_ok, tail};
use crate::regions::Region;
use crate::space::{Daemon, Space};

const READY_LIMIT: Duration = Duration::from_secs(90);
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// Whom the chart makes for agents and the hub, and where.
const NAMESPACE: &str = "domicile-system";
/// Every request of every user.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The running cluster of a region. It ends with the space.
#[derive(Debug)]
pub struct SmallCluster {
    space: Space,
    region: &'static Region,
    dir: PathBuf,
    ca: String,
    servers: Vec<ProcessId>,
}

impl SmallCluster {
    /// Starts it and waits until it answers.
    pub fn start(space: &Space, region: &'static Region) -> Result<Self> {
        let dir = space.dir().join("clusters").join(region.name);
        create_folder(&dir, 0o700)?;
        let authority = Authority::new(&format!("domicile-lab-{}", region.name))?;
        let mut cluster = Self {
            space: space.clone(),
            region,
            ca: authority.cert_pem().to_owned(),
            dir,
            servers: Vec::new(),
        };
        cluster.write_files(&authority)?;
        let etcd = cluster.daemon("etcd", &cluster.etcd_arguments())?;
        let apiserver = cluster.daemon("kube-apiserver", &cluster.apiserver_arguments())?;
        cluster.await_api(&[("etcd", etcd), ("kube-apiserver", apiserver)])?;
        cluster.servers = vec![etcd, apiserver];
        Ok(cluster)
    }

    /// Its servers, to be stopped and continued.
    pub fn servers(&self) -> &[ProcessId] {
        &self.servers
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
        let mut helm = self.space.command(None, "helm");
        helm.arg("--kubeconfig").arg(self.admin());
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(variable, self.dir.join("helm"));
        }
        helm.args(["upgrade", "--install", "domicile"]).arg(chart);
        helm.args(["--namespace", NAMESPACE, "--create-namespace"]);
        helm.args(["--set", "promises={eu},replicas=0,crds.enabled=false"]);
        run_ok(&mut helm, CALL_LIMIT)?;
        self.account_kubeconfig("domicile-promise")
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
            write(&self.dir.join(name), text)?;
        }
        Ok(())
    }

    fn admin_kubeconfig(&self) -> String {
        let file = |name: &str| self.dir.join(name).display().to_string();
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
        let file = |name: &str| self.dir.join(name).display().to_string();
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

    fn daemon(&self, program: &str, arguments: &[String]) -> Result<ProcessId> {
        self.space.spawn_daemon(&Daemon {
            netns: Some(self.region.name),
            program: &self.space.dir().join("bin").join(program),
            args: arguments,
            log: &self.log(program),
            user: None,
        })
    }

    fn log(&self, program: &str) -> PathBuf {
        let name = format!("{program}-{}.log", self.region.name);
        self.space.dir().join("log").join(name)
    }

    fn await_api(&self, running: &[(&str, ProcessId)]) -> Result<()> {
        let what = format!("the start of the apiserver of {}", self.region.name);
        let patience = Patience::new(what, READY_LIMIT);
        let ready = || run(self.kubectl().args(["get", "--raw", "/readyz"]), CALL_LIMIT);
        while !ready()?.status.success() {
            if let Some((name, _)) = running.iter().find(|(_, process)| !process.alive()) {
                return Err(LabError::Ended {
                    process: (*name).to_owned(),
                    log: tail(&self.log(name)),
                });
            }
            patience.pause(|| tail(&self.log("kube-apiserver")))?;
        }
        Ok(())
    }
}

/// A kubeconfig that holds all it needs.
pub(crate) fn kubeconfig(server: &str, ca_pem: &str, token: &str) -> String {
    let ca = k8s_openapi::ByteString(ca_pem.as_bytes().to_vec());
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {
            "server": server, "certificate-authority-data": ca,
        }}],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    })
    .to_string()
}
