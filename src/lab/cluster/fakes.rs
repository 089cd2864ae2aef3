//! A node that is none: kwok says of its pods that they run, so that there can be thousands, or
//! some in a cluster that has no other node.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::config::write;
use super::{CALL_LIMIT, Cluster, SmallCluster};
use crate::error::{LabError, Result};
use crate::process::{Patience, run, tail};

/// The label of the fake node, and the taint that keeps all others from it.
pub const FAKE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

const KWOK: &str = "kwok";
const NODE: &str = "fake-node";
const STAGES: &str = include_str!("../modules/kwok/stages.yaml");
const READY_LIMIT: Duration = Duration::from_mins(1);
/// At its own limit of 20 calls a second, the Deployments of 10,000 tenants would take most of an
/// hour; a cluster of that size has a machine of its own for them.
const QUICK: [&str; 2] = ["--kube-api-qps=500", "--kube-api-burst=1000"];

impl Cluster {
    /// Starts kwok with a node of its own, and lets the controllers and the scheduler be as quick
    /// as thousands of pods need. A pod goes there that selects [`FAKE`] and tolerates it. Errors:
    /// kwok ended, or its node was not Ready in time.
    pub fn start_fakes(&self, kwok: &Path) -> Result<()> {
        link(&self.files.dir, kwok)?;
        let stages = self.files.kube("kwok-stages.yaml");
        write(&stages, STAGES)?;
        let (key, value) = FAKE;
        let taint = json!({"key": key, "value": value, "effect": "NoSchedule"});
        self.apply(&node(&json!({key: value}), &json!([taint])).to_string())?;
        self.hasten()?;
        let arguments = arguments(&self.kubeconfig(), &stages);
        let mut running = self.known()?;
        running.insert(KWOK.to_owned(), self.daemon(KWOK, &arguments)?);
        self.remember(&running)?;
        let patience = Patience::new("a Ready node of kwok", READY_LIMIT);
        while !self.is_ready(NODE)? {
            self.check_fakes()?;
            patience.pause(|| tail(&self.files.log(KWOK)))?;
        }
        Ok(())
    }

    /// Errors: kwok has ended, or was never started, so that its pods wait for ever.
    pub fn check_fakes(&self) -> Result<()> {
        if self.process(KWOK)?.alive() {
            return Ok(());
        }
        Err(LabError::Ended {
            process: KWOK.to_owned(),
            log: tail(&self.files.log(KWOK)),
        })
    }

    /// New controllers and a new scheduler, with a higher limit of calls.
    fn hasten(&self) -> Result<()> {
        let mut running = self.known()?;
        for (name, mut arguments) in [
            (
                "kube-controller-manager",
                self.files.controller_manager_arguments(),
            ),
            ("kube-scheduler", self.files.scheduler_arguments()),
        ] {
            let old = self.process(name)?;
            // Ended by itself already is as good.
            let _ = kill(Pid::from_raw(old.pid), Signal::SIGKILL);
            let patience = Patience::new(format!("the end of {name}"), CALL_LIMIT);
            while old.alive() {
                patience.pause(String::new)?;
            }
            arguments.extend(QUICK.map(str::to_owned));
            running.insert(name.to_owned(), self.daemon(name, &arguments)?);
        }
        self.remember(&running)
    }

    /// Whether a node is Ready.
    pub(super) fn is_ready(&self, node: &str) -> Result<bool> {
        is_ready(self.kubectl(), node)
    }
}

impl SmallCluster {
    /// Starts controllers, a scheduler, and kwok with the only node, which takes every pod. Errors:
    /// one of them ended, or the node was not Ready in time.
    pub fn start_fakes(&mut self, kwok: &Path) -> Result<()> {
        link(self.space.dir(), kwok)?;
        let stages = self.file("kwok-stages.yaml");
        write(&stages, STAGES)?;
        self.apply(&node(&json!({}), &json!([])).to_string())?;
        for (name, arguments) in [
            ("kube-controller-manager", self.controller_arguments()),
            ("kube-scheduler", self.scheduler_arguments()),
            (KWOK, arguments(&self.admin(), &stages).to_vec()),
        ] {
            self.begin(name, &arguments)?;
        }
        let patience = Patience::new("a Ready node of kwok", READY_LIMIT);
        while !is_ready(self.kubectl(), NODE)? {
            self.check()?;
            patience.pause(|| tail(&self.log(KWOK)))?;
        }
        Ok(())
    }

    fn controller_arguments(&self) -> Vec<String> {
        let key = self.file("service-account.key");
        vec![
            format!("--kubeconfig={}", self.admin().display()),
            format!("--service-account-private-key-file={}", key.display()),
            format!("--root-ca-file={}", self.file("ca.crt").display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    }

    fn scheduler_arguments(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.admin().display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    }
}

/// Each of them finds these in its environment.
///
/// Kwok lists its pods and then watches them, as clients did before they asked for both in one
/// watch. For a watch on the pods of one node the API server keeps ten events at most
/// (`suggestedWatchChannelSize` of its watch cache) and ends one that falls behind. With ten
/// thousand pods that come through the watch it falls behind before it has them all, so that after
/// the first time they come anew every few seconds, for ever: a quarter of two cores.
pub(super) fn environment(program: &str) -> &'static [(&'static str, &'static str)] {
    match program {
        KWOK => &[("KUBE_FEATURE_WatchListClient", "false")],
        _ => &[],
    }
}

/// Puts kwok among the programs of the lab in `dir`.
fn link(dir: &Path, kwok: &Path) -> Result<()> {
    let link = dir.join("bin").join(KWOK);
    if link.exists() {
        return Ok(());
    }
    std::os::unix::fs::symlink(kwok, &link).map_err(LabError::file("create", &link))
}

fn arguments(kubeconfig: &Path, stages: &Path) -> [String; 4] {
    [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--config={}", stages.display()),
        format!("--manage-single-node={NODE}"),
        // Without a lease the node is lost after 40 s, and its pods are not ready any more.
        "--node-lease-duration-seconds=40".to_owned(),
    ]
}

fn is_ready(mut kubectl: Command, node: &str) -> Result<bool> {
    let path = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    kubectl.args(["get", "node", node, "-o", &format!("jsonpath={path}")]);
    let output = run(kubectl.args(["--request-timeout", "5s"]), CALL_LIMIT)?;
    Ok(output.stdout == "True")
}

fn node(labels: &Value, taints: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": labels},
        "spec": {"taints": taints},
    })
}
