//! The whole lab on this machine: it runs real pods, and leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail it"
)]

#[path = "cluster/own.rs"]
mod own;
#[path = "cluster/pods.rs"]
mod pods;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use domicile_lab::image::pack;
use domicile_lab::process::{Patience, ProcessId};
use domicile_lab::run_in::runtime_in;
use domicile_lab::{Engine, Lab, LabError, Options, Places, Postgres, Setup};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use pods::{apply_pod, await_phase, pod};

const PROGRAM: &str = env!("CARGO_BIN_EXE_domicile-lab");
const SETUP: Setup = Setup {
    postgres: Postgres::System,
    synchronous: true,
    engine: Engine::Plain,
};

#[test]
fn a_lab_runs_pods_and_leaves_nothing_behind() {
    let before = Host::observe();
    let scratch = Scratch::new("whole");
    let lab = Lab::up_with(&scratch.options(SETUP), true, &mut |_| ()).unwrap();
    assert!(!lab.was_running() && lab.healthy().unwrap());
    a_second_start_finds_the_first(&scratch);
    a_packed_program_runs_as_a_restricted_pod(&lab, &scratch);
    a_pod_reaches_apiserver_and_regions_and_writes_to_the_host(&lab);
    the_audit_log_names_who_wrote_what(&lab);
    a_client_of_the_host_reads_the_cluster(&lab);
    own::a_region_gets_a_cluster_of_its_own(&lab, &scratch.dir());
    apply_pod(&lab, "sleeper", "default", "sleep 600");
    let groups = control_groups(&scratch.dir());
    assert!(!groups.is_empty(), "the pods have control groups");
    Lab::down(&scratch.dir()).unwrap();
    assert!(!scratch.dir().exists());
    assert!(groups.iter().all(|group| !group.exists()));
    Lab::down(&scratch.dir()).unwrap();
    assert_eq!(Host::observe(), before);
}

#[test]
fn what_a_dead_lab_left_is_removed() {
    let scratch = Scratch::new("dead");
    let lab = Lab::up_with(&scratch.options(SETUP), true, &mut |_| ()).unwrap();
    apply_pod(&lab, "sleeper", "default", "sleep 600");
    let groups = control_groups(&scratch.dir());
    let init = lab.space().init();
    signal_to("KILL", init.pid as u32);
    let patience = Patience::new("the death of the space", Duration::from_secs(20));
    while init.alive() {
        patience.pause(String::new).unwrap();
    }
    assert!(matches!(
        Lab::open(&scratch.dir()),
        Err(LabError::Missing { .. })
    ));
    Lab::down(&scratch.dir()).unwrap();
    assert!(!scratch.dir().exists());
    assert!(groups.iter().all(|group| !group.exists()));
}

#[test]
fn an_interrupted_start_takes_down_what_it_began() {
    for (signal, step) in [
        ("INT", "space.json"),
        ("TERM", "kube/processes.json"),
        ("INT", "kubelet/plugins"),
    ] {
        let scratch = Scratch::new("interrupted");
        let mut start = Command::new(PROGRAM)
            .args(["--dir", scratch.dir().to_str().unwrap(), "up"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        await_file(&mut start, &scratch.dir().join(step));
        let init = init_of(&scratch.dir());
        signal_to(signal, start.id());
        let ended = start.wait_with_output().unwrap();
        assert!(!ended.status.success());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("interrupted"), "{said}");
        assert!(!scratch.dir().exists(), "after {step}");
        assert!(!init.alive(), "after {step}");
    }
}

#[test]
fn an_owned_lab_ends_with_its_owner() {
    let scratch = Scratch::new("owned");
    fs::create_dir_all(scratch.dir().join("space")).unwrap();
    let mut owner = Command::new("sleep").arg("60").spawn().unwrap();
    let mut begin = Command::new(PROGRAM);
    begin.args(["begin", "--owner", &owner.id().to_string(), "--dir"]);
    let begun = begin.arg(scratch.dir()).output().unwrap();
    let pid: i32 = String::from_utf8(begun.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let init = ProcessId::find(pid).unwrap();
    let record = json!({"init": init, "boot": ""}).to_string();
    fs::write(scratch.dir().join("space.json"), record).unwrap();
    let patience = Patience::new("the start of the space", Duration::from_secs(10));
    while !scratch.dir().join("space/ready").exists() {
        patience.pause(String::new).unwrap();
    }
    assert!(init.alive());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let patience = Patience::new("the end of the space", Duration::from_secs(10));
    while init.alive() {
        patience.pause(String::new).unwrap();
    }
}

#[test]
fn a_folder_with_something_else_is_left_alone() {
    let scratch = Scratch::new("foreign");
    fs::create_dir_all(scratch.dir()).unwrap();
    let note = scratch.dir().join("thesis.txt");
    fs::write(&note, "years of work").unwrap();
    assert!(Lab::up_with(&scratch.options(SETUP), true, &mut |_| ()).is_err());
    assert!(Lab::down(&scratch.dir()).is_err());
    assert!(note.exists());
}

fn a_second_start_finds_the_first(scratch: &Scratch) {
    assert!(
        Lab::up_with(&scratch.options(SETUP), true, &mut |_| ())
            .unwrap()
            .was_running()
    );
    let other = Setup {
        synchronous: false,
        ..SETUP
    };
    let refused = Lab::up(&scratch.options(other), &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("asynchronous"), "{refused}");
}

/// The program is dynamically linked: without its libraries it would not start.
fn a_packed_program_runs_as_a_restricted_pod(lab: &Lab, scratch: &Scratch) {
    let archive = scratch.0.join("image.tar");
    pack("local.test/lab:dev", Path::new(PROGRAM), &[], &archive).unwrap();
    lab.import_image(&archive).unwrap();
    let mut pod = pod("packed", "domicile-system", "");
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!("local.test/lab:dev");
    container["command"] = Value::Null;
    container["args"] = json!(["--version"]);
    lab.cluster().apply(&pod.to_string()).unwrap();
    await_phase(lab, "packed", "domicile-system", "Succeeded");
    let said = lab
        .kubectl(&["logs", "-n", "domicile-system", "packed"])
        .unwrap()
        .stdout;
    assert_eq!(
        said.trim(),
        concat!("domicile-lab ", env!("CARGO_PKG_VERSION"))
    );
}

fn a_pod_reaches_apiserver_and_regions_and_writes_to_the_host(lab: &Lab) {
    let script = "nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && \
                  for n in 1 2 3; do nc -w 5 10.77.0.$n 5432 </dev/null || exit 1; done && \
                  echo row 1 >/acks/rows";
    let mut pod = pod("writer", "default", script);
    pod["spec"]["volumes"] = json!([{"name": "acks", "hostPath": {"path": lab.acks_dir()}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "acks", "mountPath": "/acks"}]);
    lab.cluster().apply(&pod.to_string()).unwrap();
    await_phase(lab, "writer", "default", "Succeeded");
    assert_eq!(
        fs::read_to_string(lab.acks_dir().join("rows")).unwrap(),
        "row 1\n"
    );
}

fn the_audit_log_names_who_wrote_what(lab: &Lab) {
    let log = fs::read_to_string(lab.cluster().audit_log()).unwrap();
    let entries: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let wrote = |entry: &&Value| {
        entry["user"]["username"] == "lab-admin"
            && entry["objectRef"]["resource"] == "pods"
            && entry["objectRef"]["name"] == "writer"
    };
    let writes: Vec<&Value> = entries.iter().filter(wrote).collect();
    assert_eq!(writes.len(), 1, "one apply is one write");
    assert_eq!(writes[0]["verb"], "patch");
    assert!(
        entries
            .iter()
            .all(|entry| entry["verb"] != "get" && entry["verb"] != "list")
    );
    assert!(
        !log.contains("stringData"),
        "bodies, and with them Secrets, stay out"
    );
}

fn a_client_of_the_host_reads_the_cluster(lab: &Lab) {
    let runtime = runtime_in(lab.space(), None).unwrap();
    let nodes = runtime.block_on(async {
        let file = Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        assert_eq!(
            pods.list(&ListParams::default()).await.unwrap().items.len(),
            1
        );
        Api::<Node>::all(client)
            .list(&ListParams::default())
            .await
            .unwrap()
    });
    assert_eq!(nodes.unwrap().items.len(), 1);
}

fn await_file(start: &mut Child, path: &Path) {
    let patience = Patience::new("a step of the start", Duration::from_mins(1));
    while !path.exists() {
        assert!(
            start.try_wait().unwrap().is_none(),
            "it ended before {}",
            path.display()
        );
        patience.pause(String::new).unwrap();
    }
}

fn signal_to(signal: &str, pid: u32) {
    let mut command = Command::new("kill");
    let sent = command
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status();
    assert!(sent.unwrap().success());
}

fn init_of(dir: &Path) -> ProcessId {
    let record = fs::read_to_string(dir.join("space.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    serde_json::from_value(record["init"].clone()).unwrap()
}

/// The control groups of the containers of the lab in `dir`, in all hierarchies.
fn control_groups(dir: &Path) -> Vec<PathBuf> {
    let tasks = dir.join("containerd/io.containerd.runtime.v2.task/k8s.io");
    let containers: Vec<_> = fs::read_dir(tasks)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    hierarchies
        .chain([root.to_owned()])
        .flat_map(|path| {
            containers
                .iter()
                .map(move |id| path.join("k8s.io").join(id))
        })
        .filter(|path| path.exists())
        .collect()
}

/// What a lab must not change on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    mounts: usize,
    devices: BTreeSet<String>,
    settings: Vec<String>,
    folders: Vec<bool>,
}

impl Host {
    fn observe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap();
        let devices = fs::read_dir("/sys/class/net").unwrap();
        let settings = [
            "vm/overcommit_memory",
            "kernel/panic",
            "kernel/panic_on_oops",
        ];
        let folders = [
            "/var/lib/cni",
            "/var/lib/kubelet",
            "/run/netns",
            "/run/containerd",
        ];
        Self {
            mounts: read("/proc/self/mountinfo").lines().count(),
            devices: devices
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect(),
            settings: settings
                .map(|name| read(&format!("/proc/sys/{name}")))
                .to_vec(),
            folders: folders.map(|path| Path::new(path).exists()).to_vec(),
        }
    }
}

/// A folder of a test; what is left of its lab ends with it, also when the test fails.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = format!("domicile-lab-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn dir(&self) -> PathBuf {
        self.0.join("lab")
    }

    fn options(&self, setup: Setup) -> Options {
        let places = Places::from_env(|name| std::env::var_os(name));
        Options {
            places: Places {
                dir: self.dir(),
                ..places
            },
            program: PROGRAM.into(),
            setup,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(Lab::down(&self.dir()));
        drop(fs::remove_dir_all(&self.0));
    }
}
