//! The private space: mount, network, PID, UTS and IPC namespaces that hold the whole lab, so
//! that the host sees none of it and the end of one process ends it all.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::process::{Patience, ProcessId, installed, run_ok, tail};

/// Address of the node on the wide-area network of the lab.
pub const NODE_ADDRESS: &str = "10.77.0.9";
/// Addresses of the pods.
pub const POD_NETWORK: &str = "10.244.0.0/24";
/// Addresses of the Kubernetes Services.
pub const SERVICE_NETWORK: &str = "10.96.0.0/16";

pub(crate) const SPACE_FOLDER: &str = "space";
pub(crate) const RECORD_FILE: &str = "space.json";
pub(crate) const READY_FILE: &str = "ready";
/// The namespace of the bridge that joins regions and node.
pub const WAN: &str = "wan";

const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const STEP: Duration = Duration::from_secs(10);

/// A running private space.
#[derive(Clone, Debug)]
pub struct Space {
    dir: PathBuf,
    init: ProcessId,
}

/// What is written before the space does anything.
#[derive(Serialize, Deserialize)]
struct Record {
    init: ProcessId,
    boot: String,
}

/// A server to start in the space.
#[derive(Clone, Debug)]
pub struct Daemon<'a> {
    /// Network namespace, or none for the node's.
    pub netns: Option<&'a str>,
    /// Absolute path of the program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [String],
    /// What it finds in its environment beside ours.
    pub env: &'a [(&'a str, &'a str)],
    /// Where its output goes (appended).
    pub log: &'a Path,
    /// User and group to run as; none is root.
    pub user: Option<(u32, u32)>,
}

impl Space {
    /// Begins a space whose files live in `dir` (an existing folder). `program` is the
    /// `domicile-lab` binary, whose hidden subcommands do it. Errors leave nothing behind.
    pub fn create(dir: &Path, program: &Path) -> Result<Self> {
        Self::create_with(dir, program, false)
    }

    /// As [`Space::create`]; when `owned`, the space ends with the calling process, however that
    /// ends. Its files stay.
    pub fn create_with(dir: &Path, program: &Path, owned: bool) -> Result<Self> {
        let folder = dir.join(SPACE_FOLDER);
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let mut begin = Command::new(program);
        begin.arg("begin").arg("--dir").arg(dir);
        if owned {
            begin.arg("--owner").arg(std::process::id().to_string());
        }
        let begun = run_ok(&mut begin, STEP)?;
        let init = begun.stdout.trim().parse().ok().and_then(ProcessId::find);
        let log = folder.join("init.log");
        let gone = || LabError::Ended {
            process: "the space".to_owned(),
            log: tail(&log),
        };
        let init = init.ok_or_else(gone)?;
        let space = Self {
            dir: dir.to_owned(),
            init,
        };
        let built = space
            .record()
            .and_then(|()| space.await_ready())
            .and_then(|()| space.wire());
        match built {
            Ok(()) => Ok(space),
            Err(error) => {
                space.destroy()?;
                Err(error)
            }
        }
    }

    /// The space that runs from `dir`, if one does.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(RECORD_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LabError::file("read", &path)(source)),
        };
        let record: Record = serde_json::from_str(&text).map_err(|source| LabError::Json {
            what: path.display().to_string(),
            source,
        })?;
        let lives = record.boot == boot()? && record.init.alive();
        Ok(lives.then(|| Self {
            dir: dir.to_owned(),
            init: record.init,
        }))
    }

    /// Ends all processes of the space, and with them its mounts and networks. Files stay.
    pub fn destroy(self) -> Result<()> {
        // Already gone is as good as ended.
        let _ = kill(Pid::from_raw(self.init.pid), Signal::SIGKILL);
        let patience = Patience::firm("the end of the space", Duration::from_secs(20));
        while self.init.alive() {
            patience.pause(|| format!("process {} lives on", self.init.pid))?;
        }
        Ok(())
    }

    /// The folder of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its first process.
    pub fn init(&self) -> ProcessId {
        self.init
    }

    /// Adds the network namespace `name` with `address` (IPv4) on the wide-area network and a
    /// route back to the pods. Its device is `eth0`; the bridge's end in [`WAN`] is called `name`.
    pub fn add_region_network(&self, name: &str, address: &str) -> Result<()> {
        self.ip(&format!("netns add {name}"))?;
        self.ip(&format!("-n {name} link set lo up"))?;
        self.ip(&format!(
            "-n {name} link add eth0 type veth peer name {name} netns {WAN}"
        ))?;
        self.ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
        self.ip(&format!("-n {name} link set eth0 up"))?;
        self.ip(&format!("-n {WAN} link set {name} master br0 up"))?;
        self.ip(&format!(
            "-n {name} route add {POD_NETWORK} via {NODE_ADDRESS}"
        ))
    }

    /// A command that runs `program` inside the space, in the network namespace `netns` or the
    /// node's. The working folder is `/`: use absolute paths. Killing the command does not end a
    /// program that hangs: that is done by the end of the space.
    pub fn command(&self, netns: Option<&str>, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init.pid));
        command.args(["--mount", "--uts", "--ipc", "--pid"]);
        command.arg(format!("--net={}", self.netns_path(netns).display()));
        command
            .arg("--")
            .arg(program)
            .env("PATH", self.search_path())
            .current_dir("/");
        command
    }

    /// Starts a server that outlives this process. It leads a process group and session of its
    /// own, and its parent is the first process of the space.
    pub fn spawn_daemon(&self, daemon: &Daemon<'_>) -> Result<ProcessId> {
        let name = daemon.program.display().to_string();
        let script = r#"log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!"#;
        let mut command = self.command(daemon.netns, "sh");
        command.args(["-c", script, "sh"]).arg(daemon.log);
        command.envs(daemon.env.iter().copied());
        if let Some((user, group)) = daemon.user {
            // libpq fails on a home that it may not enter.
            command.env("HOME", "/");
            command
                .arg("setpriv")
                .args(["--clear-groups", "--reuid", &user.to_string()]);
            command.args(["--regid", &group.to_string(), "--"]);
        }
        command.arg(daemon.program).args(daemon.args);
        let said = run_ok(&mut command, STEP)?.stdout;
        let inner: i32 = said
            .trim()
            .parse()
            .map_err(|_| LabError::program(&*name, format!("no process number in {said:?}")))?;
        self.host_process(inner).ok_or_else(|| LabError::Ended {
            process: name,
            log: tail(daemon.log),
        })
    }

    /// A network namespace of the space, for `setns` by a thread of the host.
    pub fn net_fd(&self, netns: Option<&str>) -> Result<OwnedFd> {
        let path = self.netns_path(netns);
        Ok(fs::File::open(&path)
            .map_err(LabError::file("open", &path))?
            .into())
    }

    /// The file of the space that is `path` inside it (its `/run` is not the host's).
    pub fn inner_path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init.pid))
    }

    fn netns_path(&self, netns: Option<&str>) -> PathBuf {
        match netns {
            Some(name) => self.inner_path(&format!("/run/netns/{name}")),
            None => PathBuf::from(format!("/proc/{}/ns/net", self.init.pid)),
        }
    }

    fn search_path(&self) -> String {
        format!("{}:{SYSTEM_PATH}", self.dir.join("bin").display())
    }

    fn record(&self) -> Result<()> {
        let record = Record {
            init: self.init,
            boot: boot()?,
        };
        let what = "the record of the space";
        let text = serde_json::to_string(&record).map_err(|source| LabError::Json {
            what: what.to_owned(),
            source,
        })?;
        crate::state::write_atomically(&self.dir.join(RECORD_FILE), text.as_bytes())
    }

    fn await_ready(&self) -> Result<()> {
        let folder = self.dir.join(SPACE_FOLDER);
        let patience = Patience::new("the start of the space", STEP);
        while !folder.join(READY_FILE).exists() {
            if !self.init.alive() {
                let log = tail(&folder.join("init.log"));
                return Err(LabError::Ended {
                    process: "the space".to_owned(),
                    log,
                });
            }
            patience.pause(|| tail(&folder.join("init.log")))?;
        }
        Ok(())
    }

    fn wire(&self) -> Result<()> {
        self.ip(&format!("netns add {WAN}"))?;
        self.ip(&format!("-n {WAN} link set lo up"))?;
        self.ip(&format!("-n {WAN} link add br0 type bridge"))?;
        self.ip(&format!("-n {WAN} link set br0 up"))?;
        self.ip(&format!(
            "link add wan0 type veth peer name node netns {WAN}"
        ))?;
        self.ip(&format!("addr add {NODE_ADDRESS}/24 dev wan0"))?;
        self.ip("link set wan0 up")?;
        self.ip(&format!("-n {WAN} link set node master br0 up"))?;
        // Without a route the node's own calls to a Service fail before kube-proxy's rules.
        self.ip(&format!(
            "route add {SERVICE_NETWORK} dev lo src {NODE_ADDRESS}"
        ))
    }

    fn ip(&self, args: &str) -> Result<()> {
        run_ok(self.command(None, "ip").args(args.split(' ')), STEP).map(drop)
    }

    /// The process that has the number `inner` inside the space.
    pub(crate) fn host_process(&self, inner: i32) -> Option<ProcessId> {
        let home = fs::read_link(format!("/proc/{}/ns/pid", self.init.pid)).ok()?;
        let processes = fs::read_dir("/proc").ok()?;
        processes.flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            if fs::read_link(format!("/proc/{pid}/ns/pid")).ok()? != home {
                return None;
            }
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let numbers = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))?;
            let own: i32 = numbers.split_whitespace().last()?.parse().ok()?;
            (own == inner).then(|| ProcessId::find(pid)).flatten()
        })
    }
}

fn boot() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map_err(LabError::file("read", path))
}

/// Checks that the system has what a space needs, and installs the one package that a small
/// Debian may lack. The error names what is missing, and how to get it.
pub fn ensure_prerequisites() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        let hint = "run it as root, it makes namespaces and mounts; without, `make check` and the \
                    tests of core and api work";
        return Err(LabError::missing("root", hint));
    }
    if !installed("ip")? && installed("apt-get")? {
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-q", "--no-install-recommends", "iproute2"]);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        run_ok(&mut install, Duration::from_mins(5))?;
    }
    for (program, package) in [
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
        ("ip", "iproute2"),
        ("ldd", "libc-bin"),
    ] {
        if !installed(program)? {
            return Err(LabError::missing(
                program,
                format!("apt-get install {package}"),
            ));
        }
    }
    Ok(())
}
