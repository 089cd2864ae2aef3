//! What the servers of the cluster read: certificates, kubeconfigs and configuration files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};
use crate::pki::{Authority, Usage, signing_key};
use crate::space::{NODE_ADDRESS, POD_NETWORK};

/// Name of the node.
pub const NODE_NAME: &str = "lab-node";
/// Port of the apiserver.
pub const API_PORT: u16 = 6443;
/// Image of the pods' sandboxes, which tests may use, too.
pub const BASE_IMAGE: &str = "local.test/busybox:1";

/// The first address of the Services' network: the apiserver as pods see it.
const API_SERVICE: &str = "10.96.0.1";

/// Who may talk to the apiserver: file name, common name, organisation.
const CLIENTS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "lab-admin", Some("system:masters")),
    (
        "controller-manager",
        "system:kube-controller-manager",
        Some("system:masters"),
    ),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:lab-node", Some("system:nodes")),
    ("proxy", "system:kube-proxy", None),
];

/// The files of the cluster below the state folder.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// State folder of the lab.
    pub(crate) dir: PathBuf,
}

impl Files {
    /// Certificates and keys.
    pub(crate) fn pki(&self, name: &str) -> PathBuf {
        self.dir.join("kube/pki").join(name)
    }

    /// Configuration files.
    pub(crate) fn kube(&self, name: &str) -> PathBuf {
        self.dir.join("kube").join(name)
    }

    /// A kubeconfig; `admin` is for people and tests.
    pub(crate) fn kubeconfig(&self, client: &str) -> PathBuf {
        self.kube(&format!("{client}.kubeconfig"))
    }

    /// A log file.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    /// Makes all folders and writes all files.
    pub(crate) fn write(&self, cni: &Path) -> Result<()> {
        for folder in [
            "kube/pki",
            "kube/cni",
            "log",
            "etcd",
            "containerd",
            "kubelet",
            "podlogs",
        ] {
            create_folder(&self.dir.join(folder), 0o755)?;
        }
        create_folder(&self.dir.join("kube/pki"), 0o700)?;
        create_folder(&self.dir.join("etcd"), 0o700)?;
        // The tenants' applications write here from their pods, as users of their own.
        create_folder(&self.dir.join("acks"), 0o1777)?;
        self.write_pki()?;
        for (name, text) in [
            ("audit.yaml", AUDIT_POLICY.to_owned()),
            ("containerd.toml", self.containerd(cni)),
            ("kubelet.yaml", self.kubelet()),
            ("proxy.yaml", self.proxy()),
            (
                "cni/10-lab.conflist",
                CNI_NETWORK.replace("POD_NETWORK", POD_NETWORK),
            ),
        ] {
            write(&self.kube(name), &text)?;
        }
        Ok(())
    }

    fn write_pki(&self) -> Result<()> {
        let authority = Authority::new("domicile-lab-kubernetes")?;
        let (private, public) = signing_key()?;
        write(&self.pki("ca.crt"), authority.cert_pem())?;
        write(&self.pki("service-account.key"), &private)?;
        write(&self.pki("service-account.pub"), &public)?;
        let names = [
            "localhost",
            "kubernetes.default.svc",
            "127.0.0.1",
            NODE_ADDRESS,
            API_SERVICE,
        ];
        let server = [Usage::Server];
        self.issue(
            &authority,
            "apiserver",
            ("kube-apiserver", None),
            &names,
            &server,
        )?;
        let names = [NODE_NAME, "localhost", "127.0.0.1", NODE_ADDRESS];
        self.issue(
            &authority,
            "kubelet-server",
            (NODE_NAME, None),
            &names,
            &server,
        )?;
        let caller = ("apiserver-kubelet-client", Some("system:masters"));
        self.issue(
            &authority,
            "apiserver-kubelet",
            caller,
            &[],
            &[Usage::Client],
        )?;
        for (name, user, organisation) in CLIENTS {
            self.issue(
                &authority,
                name,
                (user, organisation),
                &[],
                &[Usage::Client],
            )?;
            write(&self.kubeconfig(name), &self.kubeconfig_text(name))?;
        }
        Ok(())
    }

    fn issue(
        &self,
        authority: &Authority,
        file: &str,
        (user, organisation): (&str, Option<&str>),
        names: &[&str],
        usages: &[Usage],
    ) -> Result<()> {
        let (certificate, key) = authority.issue(user, organisation, names, usages)?;
        write(&self.pki(&format!("{file}.crt")), &certificate)?;
        write(&self.pki(&format!("{file}.key")), &key)
    }

    fn kubeconfig_text(&self, client: &str) -> String {
        let (ca, certificate, key) = (
            self.pki("ca.crt"),
            self.pki(&format!("{client}.crt")),
            self.pki(&format!("{client}.key")),
        );
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster:\n    \
             server: https://{NODE_ADDRESS}:{API_PORT}\n    certificate-authority: {}\n\
             users:\n- name: {client}\n  user:\n    client-certificate: {}\n    \
             client-key: {}\ncontexts:\n- name: lab\n  context: {{cluster: lab, user: {client}}}\n\
             current-context: lab\n",
            ca.display(),
            certificate.display(),
            key.display(),
        )
    }

    fn containerd(&self, cni: &Path) -> String {
        CONTAINERD
            .replace("DIR", &self.dir.display().to_string())
            .replace("CNI_PLUGINS", &cni.display().to_string())
            .replace("BASE_IMAGE", BASE_IMAGE)
    }

    fn kubelet(&self) -> String {
        KUBELET
            .replace("DIR", &self.dir.display().to_string())
            .replace("NODE_ADDRESS", NODE_ADDRESS)
    }

    fn proxy(&self) -> String {
        PROXY
            .replace(
                "KUBECONFIG",
                &self.kubeconfig("proxy").display().to_string(),
            )
            .replace("NODE_NAME", NODE_NAME)
            .replace("POD_NETWORK", POD_NETWORK)
    }
}

/// Makes a folder with exactly this mode, whatever the umask.
pub(super) fn create_folder(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).map_err(LabError::file("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(LabError::file("set the mode of", path))
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(LabError::file("write", path))
}

/// Every write, with its user, verb and object, and every read by the operator: tests count them.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [\"system:serviceaccount:domicile-system:domicile\"]
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

const CNI_NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"lab","plugins":[{"type":"ptp",
"ipMasq":false,"ipam":{"type":"host-local","dataDir":"/run/cni",
"ranges":[[{"subnet":"POD_NETWORK"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
"#;

/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` every sandbox fails otherwise. The disabled
/// plugins would write to `/opt` and look for a collector of traces.
const CONTAINERD: &str = r#"version = 2
root = "DIR/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "BASE_IMAGE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "CNI_PLUGINS"
    conf_dir = "DIR/kube/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "DIR/bin/runc"
        SystemdCgroup = false
"#;

/// `failCgroupV1: false`: machines with the old hierarchy serve, too. `cgroupsPerQOS: false`: the
/// groups of all pods lie in one place, `k8s.io`, from where the end of the lab removes them.
const KUBELET: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: NODE_ADDRESS
port: 10250
readOnlyPort: 0
healthzPort: 10248
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: DIR/kube/pki/ca.crt}
authorization: {mode: AlwaysAllow}
tlsCertFile: DIR/kube/pki/kubelet-server.crt
tlsPrivateKeyFile: DIR/kube/pki/kubelet-server.key
clusterDomain: cluster.local
resolvConf: ''
makeIPTablesUtilChains: false
syncFrequency: 5s
fileCheckFrequency: 5s
nodeStatusUpdateFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
imageGCHighThresholdPercent: 100
evictionHard:
  imagefs.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
  memory.available: 50Mi
podLogsDir: DIR/podlogs
volumePluginDir: DIR/kubelet/volumeplugins
";

/// The limits of connection tracking are not writable in a network namespace: zero leaves them.
const PROXY: &str = "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: KUBECONFIG}
clusterCIDR: POD_NETWORK
hostnameOverride: NODE_NAME
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
";
