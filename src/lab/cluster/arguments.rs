//! The command line of each server of the cluster.

use super::config::{API_PORT, Files, NODE_NAME};
use crate::space::{NODE_ADDRESS, SERVICE_NETWORK};

impl Files {
    pub(super) fn containerd_arguments(&self) -> Vec<String> {
        vec![
            "--config".to_owned(),
            self.kube("containerd.toml").display().to_string(),
        ]
    }

    pub(super) fn etcd_arguments(&self) -> Vec<String> {
        vec![
            format!("--data-dir={}", self.dir.join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    pub(super) fn apiserver_arguments(&self) -> Vec<String> {
        let pki = |name: &str| self.pki(name).display().to_string();
        vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--secure-port={API_PORT}"),
            "--bind-address=0.0.0.0".to_owned(),
            // A namespace without a default route has no address of its own to find.
            format!("--advertise-address={NODE_ADDRESS}"),
            format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--service-account-key-file={}", pki("service-account.pub")),
            format!(
                "--service-account-signing-key-file={}",
                pki("service-account.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"
                .to_owned(),
            "--allow-privileged=true".to_owned(),
            "--enable-aggregator-routing=false".to_owned(),
            "--endpoint-reconciler-type=lease".to_owned(),
            format!(
                "--kubelet-client-certificate={}",
                pki("apiserver-kubelet.crt")
            ),
            format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
            format!("--kubelet-certificate-authority={}", pki("ca.crt")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--audit-policy-file={}", self.kube("audit.yaml").display()),
            format!("--audit-log-path={}", self.log("audit").display()),
            // In mebibytes; it is read from its beginning, and thousands of tenants fill gigabytes.
            "--audit-log-maxsize=32768".to_owned(),
        ]
    }

    pub(super) fn controller_manager_arguments(&self) -> Vec<String> {
        vec![
            format!(
                "--kubeconfig={}",
                self.kubeconfig("controller-manager").display()
            ),
            format!(
                "--service-account-private-key-file={}",
                self.pki("service-account.key").display()
            ),
            format!("--root-ca-file={}", self.pki("ca.crt").display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            "--allocate-node-cidrs=true".to_owned(),
            "--cluster-cidr=10.244.0.0/16".to_owned(),
            format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
        ]
    }

    pub(super) fn scheduler_arguments(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.kubeconfig("scheduler").display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    }

    pub(super) fn kubelet_arguments(&self) -> Vec<String> {
        vec![
            format!("--config={}", self.kube("kubelet.yaml").display()),
            format!("--kubeconfig={}", self.kubeconfig("kubelet").display()),
            format!("--root-dir={}", self.dir.join("kubelet").display()),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE_ADDRESS}"),
            "--v=2".to_owned(),
        ]
    }

    pub(super) fn proxy_arguments(&self) -> Vec<String> {
        vec![format!("--config={}", self.kube("proxy.yaml").display())]
    }
}
