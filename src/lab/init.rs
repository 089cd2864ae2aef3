//! What runs inside the private space: its first process, and the step that begins it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::error::{LabError, Result};
use crate::process::{Patience, run_ok};
use crate::space::{MADE_FILE, READY_FILE, RECORD_FILE, SPACE_FOLDER};

/// kubelet sets these for the whole machine; in the space it writes to these files instead.
const SHADOWED_SYSCTLS: [(&str, &str); 3] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];

/// kubelet and CNI write here, wherever their own folders are; in the space these are in memory.
const SHADOWED_FOLDERS: [&str; 3] = ["/var/lib/cni", "/var/lib/kubelet", "/var/log"];

/// Leaves all namespaces but user and cgroup, and starts `program init` as the first process of
/// the new ones. Returns its number as the host sees it. Only for a process with one thread.
pub fn begin(program: &Path, dir: &Path) -> Result<u32> {
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .map_err(LabError::system("make private namespaces"))?;
    let log = dir.join(SPACE_FOLDER).join("init.log");
    let log = fs::File::create(&log).map_err(LabError::file("create", &log))?;
    let errors = log
        .try_clone()
        .map_err(LabError::system("share the log file"))?;
    let child = Command::new(program)
        .args(["init", "--dir"])
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(LabError::system("start the first process of the space"))?;
    Ok(child.id())
}

/// The first process of the space: prepares mounts and loopback, then reaps until SIGTERM.
pub fn init(dir: &Path) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGCHLD);
    signals
        .thread_block()
        .map_err(LabError::system("block signals"))?;
    // A session of its own: the terminal of the starter must not end the lab.
    nix::unistd::setsid().map_err(LabError::system("begin a session"))?;
    await_record(dir)?;
    prepare(dir)?;
    let ready = dir.join(SPACE_FOLDER).join(READY_FILE);
    fs::write(&ready, "").map_err(LabError::file("write", &ready))?;
    loop {
        match signals.wait().map_err(LabError::system("await a signal"))? {
            Signal::SIGCHLD => reap(),
            _ => return Ok(()),
        }
    }
}

/// The starter writes the record first, so that a space that nobody knows of cannot live on.
fn await_record(dir: &Path) -> Result<()> {
    let patience = Patience::new("the record of the space", Duration::from_secs(10));
    while !dir.join(RECORD_FILE).exists() {
        patience.pause(|| "the starter has ended".to_owned())?;
    }
    Ok(())
}

fn prepare(dir: &Path) -> Result<()> {
    let none: Option<&str> = None;
    let mounting = |what: &str| LabError::system::<nix::Error>(format!("mount {what}"));
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(mounting("/"))?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
        .map_err(mounting("/proc"))?;
    for (name, value) in SHADOWED_SYSCTLS {
        let shadow = dir.join(SPACE_FOLDER).join(name.replace('/', "_"));
        fs::write(&shadow, format!("{value}\n")).map_err(LabError::file("write", &shadow))?;
        let target = format!("/proc/sys/{name}");
        mount(Some(&shadow), target.as_str(), none, MsFlags::MS_BIND, none)
            .map_err(mounting(&target))?;
    }
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .map_err(mounting("/run"))?;
    shadow_folders(dir)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).map_err(mounting("/"))?;
    for (name, value) in [
        ("kernel/hostname", "domicile-lab"),
        ("net/ipv4/ip_forward", "1"),
    ] {
        let path = Path::new("/proc/sys").join(name);
        fs::write(&path, value).map_err(LabError::file("write", &path))?;
    }
    run_ok(
        Command::new("ip").args(["link", "set", "lo", "up"]),
        Duration::from_secs(10),
    )?;
    Ok(())
}

fn shadow_folders(dir: &Path) -> Result<()> {
    let absent = SHADOWED_FOLDERS
        .iter()
        .filter(|folder| !Path::new(folder).exists());
    let absent: Vec<_> = absent.copied().collect();
    // Noted first: what is not noted stays on the host.
    let note = dir.join(SPACE_FOLDER).join(MADE_FILE);
    fs::write(&note, absent.join("\n")).map_err(LabError::file("write", &note))?;
    for folder in SHADOWED_FOLDERS {
        fs::create_dir_all(folder).map_err(LabError::file("create", Path::new(folder)))?;
        mount(
            Some("tmpfs"),
            folder,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )
        .map_err(LabError::system(format!("mount {folder}")))?;
    }
    Ok(())
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}
