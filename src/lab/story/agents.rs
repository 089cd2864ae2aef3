//! Agents beside the database servers of a region: the operator's program in the region's own
//! network, with the account that the chart made for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use super::objects::kinds;
use super::stage::{RELEASE, Stage};
use crate::cluster::{SmallCluster, hub_kubeconfig};
use crate::error::{LabError, Result};
use crate::lab::SYSTEM_NAMESPACE;
use crate::process::{Patience, run_ok};
use crate::regions::Region;

const CALL_LIMIT: Duration = Duration::from_mins(1);
const END_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PORT: u16 = 18_080;
/// What a replica logs when it gets the seat.
const ACTING: &str = "Acting: this replica has the seat";
/// What it logs when it gets the seat, leaves it, has not got it, or cannot know.
const ROLES: [&str; 4] = [
    ACTING,
    "The hub confirms nothing: the seat is left",
    "Standing by: another replica acts",
    "The own server is silent",
];

/// The running replicas of a region's agent. Dropping them kills them.
#[derive(Debug)]
pub struct Agents {
    region: String,
    hub: PathBuf,
    standbys: Vec<(String, PathBuf)>,
    replicas: Vec<Replica>,
    logs: Vec<PathBuf>,
}

#[derive(Debug)]
struct Replica {
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Replica {
    /// Whether it was the last thing it said of itself that it has the seat.
    fn acts(&self) -> bool {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let of_itself = |line: &&str| ROLES.iter().any(|word| line.contains(word));
        let last = said.lines().rev().find(of_itself);
        last.is_some_and(|line| line.contains(ACTING))
    }
}

impl Agents {
    /// Starts two replicas for `region`, one after the other, so that the first one acts.
    /// `standbys` are kubeconfigs of the clusters of standbys' regions.
    pub fn begin(stage: &Stage, region: &str, standbys: &[(&str, PathBuf)]) -> Result<Self> {
        let dir = folder(stage)?;
        let account = format!("{RELEASE}-agent-{region}");
        let mut kubectl = stage.lab.cluster().kubectl();
        kubectl.args(["create", "token", &account, "--namespace", SYSTEM_NAMESPACE]);
        let token = run_ok(kubectl.arg("--duration=24h"), CALL_LIMIT)?.stdout;
        let hub = dir.join(format!("{region}-hub.kubeconfig"));
        secret_file(&hub, &hub_kubeconfig(stage.space(), token.trim())?)?;
        let standbys = standbys.iter();
        let mut agents = Self {
            region: region.to_owned(),
            hub,
            standbys: standbys
                .map(|(name, file)| ((*name).to_owned(), file.clone()))
                .collect(),
            replicas: Vec::new(),
            logs: Vec::new(),
        };
        let first = agents.spawn(stage)?;
        await_word(&first, "Acting")?;
        agents.fill(stage)?;
        Ok(agents)
    }

    /// Starts a replica in the place of one that was killed; fine when there are two.
    pub fn fill(&mut self, stage: &Stage) -> Result<()> {
        while self.replicas.len() < 2 {
            let log = self.spawn(stage)?;
            await_word(&log, "Standing by")?;
        }
        Ok(())
    }

    /// Starts a replica; returns its log.
    fn spawn(&mut self, stage: &Stage) -> Result<PathBuf> {
        use std::os::unix::process::CommandExt;
        let (region, number) = (&self.region, self.logs.len() as u16);
        let log = folder(stage)?.join(format!("{region}-{number}.log"));
        let output = File::create(&log).map_err(LabError::file("create", &log))?;
        let errors = output.try_clone().map_err(LabError::file("share", &log))?;
        let mut command = stage
            .space()
            .command(Some(region), stage.parts.programs.join("domicile"));
        command.args(["agent", "--region", region, "--policy", &stage.policy]);
        command
            .args(["--namespace", SYSTEM_NAMESPACE, "--hub-kubeconfig"])
            .arg(&self.hub);
        command.arg(format!("--listen=127.0.0.1:{}", FIRST_PORT + number));
        command.arg("--log=info,domicile_operator=debug");
        for (standby, file) in &self.standbys {
            command.arg(format!("--standby-cluster={standby}={}", file.display()));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(LabError::system("start an agent"))?;
        let group = Pid::from_raw(child.id() as i32);
        self.logs.push(log.clone());
        self.replicas.push(Replica {
            child,
            group,
            log: log.clone(),
        });
        Ok(log)
    }

    /// Kills the replica that acts, without a goodbye; the other one is left. Errors: by their logs
    /// none does.
    pub fn kill_acting(&mut self) -> Result<()> {
        let acting = self.replicas.iter().position(Replica::acts);
        let none = || {
            LabError::State(format!(
                "no agent of {} acts:\n{}",
                self.region,
                self.told()
            ))
        };
        let acting = acting.ok_or_else(none)?;
        drop(self.replicas.remove(acting));
        Ok(())
    }

    /// Stops both replicas where they are, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        for replica in &self.replicas {
            // One that ended is missed when its region's lease is.
            let _ = killpg(replica.group, signal);
        }
    }

    /// The logs of all replicas that there were.
    pub fn logs(&self) -> &[PathBuf] {
        &self.logs
    }

    /// What the replicas have logged, for messages.
    pub fn told(&self) -> String {
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        let told: Vec<_> = self.logs.iter().map(read).collect();
        told.join("\n")
    }
}

fn await_word(log: &Path, word: &str) -> Result<()> {
    let patience = Patience::new(format!("an agent that says {word:?}"), END_LIMIT);
    let said = || fs::read_to_string(log).unwrap_or_default();
    while !said().contains(word) {
        patience.pause(said)?;
    }
    Ok(())
}

impl Drop for Replica {
    fn drop(&mut self) {
        // The program is a child of nsenter, in the same group; gone already is as good.
        let _ = killpg(self.group, Signal::SIGKILL);
        drop(self.child.wait());
    }
}

/// Gives a region a cluster of its own that holds promises, tells its Region, and answers the file
/// by which agents reach it.
pub fn give_cluster(stage: &Stage, region: &'static Region) -> Result<(SmallCluster, PathBuf)> {
    let cluster = SmallCluster::start(stage.space(), region)?;
    let chart = stage.parts.repository.join("charts/domicile");
    let text = cluster.promise_kubeconfig(&chart)?;
    let file = folder(stage)?.join(format!("{}-promise.kubeconfig", region.name));
    secret_file(&file, &text)?;
    let secret = format!("{}-cluster", region.name);
    stage.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": secret, "namespace": SYSTEM_NAMESPACE},
        "stringData": {"kubeconfig": text},
    })])?;
    let patch = json!({"spec": {"cluster": {
        "kubeconfigSecretRef": {"name": secret}, "tenants": false,
    }}});
    stage
        .objects
        .merge(kinds::REGION, None, region.name, &patch)?;
    Ok((cluster, file))
}

fn folder(stage: &Stage) -> Result<PathBuf> {
    let dir = stage.space().dir().join("agents");
    fs::create_dir_all(&dir).map_err(LabError::file("create", &dir))?;
    Ok(dir)
}

fn secret_file(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).map_err(LabError::file("create", path))?;
    file.write_all(text.as_bytes())
        .map_err(LabError::file("write", path))
}
