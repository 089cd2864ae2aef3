//! Kubernetes without Docker: its servers as processes of the space, and a node with real pods.

mod arguments;
mod config;
mod fakes;
mod small;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

pub use config::{API_PORT, BASE_IMAGE, NODE_NAME};
pub use fakes::FAKE;
pub use small::SmallCluster;

use config::Files;

use crate::error::{LabError, Result};
use crate::image::{self, Content, ImageFile, ImageSpec};
use crate::process::{Output, Patience, ProcessId, run, run_input, run_ok, tail};
use crate::space::{Daemon, NODE_ADDRESS, Space};
use crate::state::write_atomically;

const READY_LIMIT: Duration = Duration::from_secs(90);
const CALL_LIMIT: Duration = Duration::from_mins(1);
const SOCKET: &str = "/run/containerd/containerd.sock";
const PROCESSES_FILE: &str = "kube/processes.json";

/// A kubeconfig of the cluster of a space, for the account that `token` is of.
pub fn hub_kubeconfig(space: &Space, token: &str) -> Result<String> {
    let path = Cluster::open(space).files.pki("ca.crt");
    let ca = fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
    let server = format!("https://{NODE_ADDRESS}:{API_PORT}");
    Ok(small::kubeconfig(&server, &ca, token))
}

/// The running cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    space: Space,
    files: Files,
}

impl Cluster {
    /// Starts all servers and waits until the node is Ready. `cni` is the folder of the plugins;
    /// the programs are in the `bin` folder of the space.
    pub fn start(space: &Space, cni: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let cluster = Self::open(space);
        let files = &cluster.files;
        files.write(cni)?;
        let mut running = BTreeMap::new();
        for (name, arguments) in [
            ("containerd", files.containerd_arguments()),
            ("etcd", files.etcd_arguments()),
            ("kube-apiserver", files.apiserver_arguments()),
        ] {
            running.insert(name.to_owned(), cluster.daemon(name, &arguments)?);
        }
        cluster.remember(&running)?;
        cluster.await_containerd(&running)?;
        cluster.import_base_image()?;
        cluster.await_api(&running)?;
        progress("starting the node");
        for (name, arguments) in [
            (
                "kube-controller-manager",
                files.controller_manager_arguments(),
            ),
            ("kube-scheduler", files.scheduler_arguments()),
            ("kubelet", files.kubelet_arguments()),
            ("kube-proxy", files.proxy_arguments()),
        ] {
            running.insert(name.to_owned(), cluster.daemon(name, &arguments)?);
        }
        cluster.remember(&running)?;
        cluster.await_node(&running)?;
        Ok(cluster)
    }

    /// The cluster of a space in which it was started.
    pub fn open(space: &Space) -> Self {
        Self {
            space: space.clone(),
            files: Files {
                dir: space.dir().to_owned(),
            },
        }
    }

    /// Kubeconfig of the administrator. It serves inside the space, and for a client of the host
    /// whose threads are there (see [`crate::run_in`]).
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig("admin")
    }

    /// The audit log of the apiserver: one JSON object a line, every write of every user.
    pub fn audit_log(&self) -> PathBuf {
        self.files.log("audit")
    }

    /// A kubectl command that runs in the space.
    pub fn kubectl(&self) -> Command {
        let mut command = self.space.command(None, "kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command.env("KUBECACHEDIR", self.files.dir.join("kube/cache"));
        command
    }

    /// A helm command that runs in the space.
    pub fn helm(&self) -> Command {
        let mut command = self.space.command(None, "helm");
        command.arg("--kubeconfig").arg(self.kubeconfig());
        // Its caches must not outlive the lab.
        command.env("KUBECACHEDIR", self.files.dir.join("kube/cache"));
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(variable, self.files.dir.join("helm").join(folder));
        }
        command
    }

    /// Applies JSON or YAML documents, again and again until the apiserver accepts them: for a
    /// moment after its start it refuses some.
    pub fn apply(&self, documents: &str) -> Result<Output> {
        let patience = Patience::new("kubectl apply", Duration::from_secs(20));
        loop {
            let mut command = self.kubectl();
            command.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
            match run_input(&mut command, documents, CALL_LIMIT) {
                Ok(output) => return Ok(output),
                Err(LabError::Program { program, detail }) => {
                    patience.pause(|| format!("{program}: {detail}"))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Imports an image archive for pods with `imagePullPolicy: Never`.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let mut command = self.ctr();
        command.args(["images", "import"]).arg(archive);
        run_ok(&mut command, CALL_LIMIT).map(drop)
    }

    /// The servers and whether each runs.
    pub fn processes(&self) -> Result<BTreeMap<String, bool>> {
        let known = self.known()?.into_iter();
        Ok(known
            .map(|(name, process)| (name, process.alive()))
            .collect())
    }

    /// The process of a server, such as `kube-apiserver`. Errors: there is none.
    pub fn process(&self, name: &str) -> Result<ProcessId> {
        let absent = || LabError::State(format!("the cluster has no {name}"));
        self.known()?.remove(name).ok_or_else(absent)
    }

    fn known(&self) -> Result<BTreeMap<String, ProcessId>> {
        let path = self.files.dir.join(PROCESSES_FILE);
        let text = fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
        serde_json::from_str(&text).map_err(|source| LabError::Json {
            what: path.display().to_string(),
            source,
        })
    }

    /// Whether all servers run and the node is Ready.
    pub fn healthy(&self) -> Result<bool> {
        Ok(self.processes()?.values().all(|runs| *runs) && self.is_ready(NODE_NAME)?)
    }

    fn daemon(&self, name: &str, arguments: &[String]) -> Result<ProcessId> {
        self.space.spawn_daemon(&Daemon {
            netns: None,
            program: &self.files.dir.join("bin").join(name),
            args: arguments,
            env: fakes::environment(name),
            log: &self.files.log(name),
            user: None,
        })
    }

    fn remember(&self, running: &BTreeMap<String, ProcessId>) -> Result<()> {
        let text = json!(running).to_string();
        write_atomically(&self.files.dir.join(PROCESSES_FILE), text.as_bytes())
    }

    /// A server that has ended is reported at once, with the end of its log.
    fn check(&self, running: &BTreeMap<String, ProcessId>) -> Result<()> {
        match running.iter().find(|(_, process)| !process.alive()) {
            Some((name, _)) => Err(LabError::Ended {
                process: name.clone(),
                log: tail(&self.files.log(name)),
            }),
            None => Ok(()),
        }
    }

    fn await_containerd(&self, running: &BTreeMap<String, ProcessId>) -> Result<()> {
        let patience = Patience::new("the start of containerd", READY_LIMIT);
        while !run(self.ctr().arg("version"), CALL_LIMIT)?.status.success() {
            self.check(running)?;
            patience.pause(|| tail(&self.files.log("containerd")))?;
        }
        Ok(())
    }

    fn await_api(&self, running: &BTreeMap<String, ProcessId>) -> Result<()> {
        let patience = Patience::new("the start of the apiserver", READY_LIMIT);
        let ready = || run(self.kubectl().args(["get", "--raw", "/readyz"]), CALL_LIMIT);
        while !ready()?.status.success() {
            self.check(running)?;
            patience.pause(|| tail(&self.files.log("kube-apiserver")))?;
        }
        Ok(())
    }

    fn await_node(&self, running: &BTreeMap<String, ProcessId>) -> Result<()> {
        let patience = Patience::new("a Ready node", READY_LIMIT);
        while !self.is_ready(NODE_NAME)? {
            self.check(running)?;
            patience.pause(|| tail(&self.files.log("kubelet")))?;
        }
        Ok(())
    }

    fn import_base_image(&self) -> Result<()> {
        let archive = self.files.dir.join("images/busybox.tar");
        let folder = self.files.dir.join("images");
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let busybox = fs::canonicalize(self.files.dir.join("bin/busybox"))
            .map_err(LabError::file("find", &self.files.dir.join("bin/busybox")))?;
        let copy = ImageFile {
            path: "/bin/busybox".to_owned(),
            content: Content::Copy(busybox),
        };
        let links = [
            "sh", "cat", "echo", "ls", "nc", "rm", "sleep", "wget", "mkdir", "test",
        ];
        let links = links.map(|name| ImageFile {
            path: format!("/bin/{name}"),
            content: Content::Link("busybox".to_owned()),
        });
        let spec = ImageSpec {
            name: BASE_IMAGE,
            entrypoint: &["/bin/busybox"],
            arguments: &["sleep", "2147483647"],
            user: image::IMAGE_USER,
        };
        let files: Vec<_> = std::iter::once(copy).chain(links).collect();
        image::write(&spec, &files, &archive)?;
        self.import_image(&archive)
    }

    fn ctr(&self) -> Command {
        let mut command = self.space.command(None, "ctr");
        command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
        command
    }
}
