//! What runs inside the private space: its first process, and the step that begins it.

use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::error::{LabError, Result};
use crate::process::{Patience, run_ok};
use crate::space::{READY_FILE, RECORD_FILE, SPACE_FOLDER};

/// kubelet sets these for the whole machine; in the space it writes to these files instead.
const SHADOWED_SYSCTLS: [(&str, &str); 3] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];

/// kubelet and CNI write here, wherever their own folders are; in the space that is memory.
const HIDDEN_FOLDERS: [&str; 2] = ["cni", "kubelet"];
const LIBRARY: &str = "/var/lib";

/// Leaves all namespaces but user and cgroup, and starts `program init` as the first process of
/// the new ones. Returns its number as the host sees it. Only for a process with one thread.
/// The space ends with the process `owner`, if one is given.
pub fn begin(program: &Path, dir: &Path, owner: Option<u32>) -> Result<u32> {
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
    let mut init = Command::new(program);
    init.args(["init", "--dir"]).arg(dir);
    if let Some(owner) = owner {
        init.args(["--owner", &owner.to_string()]);
    }
    let child = init
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(LabError::system("start the first process of the space"))?;
    Ok(child.id())
}

/// The first process of the space: prepares mounts and loopback, then reaps until SIGTERM or the
/// end of the process `owner` (its number on the host).
pub fn init(dir: &Path, owner: Option<u32>) -> Result<()> {
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
    if let Some(owner) = owner {
        end_with(owner)?;
    }
    prepare(dir)?;
    let ready = dir.join(SPACE_FOLDER).join(READY_FILE);
    fs::write(&ready, "").map_err(LabError::file("write", &ready))?;
    loop {
        if signals.wait().map_err(LabError::system("await a signal"))? != Signal::SIGCHLD {
            return Ok(());
        }
        reap();
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

/// The host's processes are out of sight once the space has its own `/proc`, but a file of theirs
/// that is open stays readable for as long as the process is there.
fn end_with(owner: u32) -> Result<()> {
    let path = format!("/proc/{owner}/stat");
    let mut file = fs::File::open(&path).map_err(LabError::file("open", Path::new(&path)))?;
    std::thread::spawn(move || {
        let mut state = String::new();
        let mut lives = || {
            state.clear();
            file.rewind()?;
            file.read_to_string(&mut state)?;
            // The state follows the name, which may hold anything: a zombie has ended.
            Ok::<_, std::io::Error>(!state.contains(") Z"))
        };
        while lives().unwrap_or(false) {
            std::thread::sleep(Duration::from_millis(200));
        }
        std::process::exit(0);
    });
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
    shadow_folders()?;
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

/// Puts memory over `/var/log`, and over `/var/lib` with all its entries bound in again but
/// [`HIDDEN_FOLDERS`]: a folder that the host lacks cannot be covered without making it there.
fn shadow_folders() -> Result<()> {
    let none: Option<&str> = None;
    let memory = |path: &str| {
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )
        .map_err(LabError::system(format!("mount {path}")))
    };
    memory("/var/log")?;
    let host = Path::new("/run/host-library");
    fs::create_dir(host).map_err(LabError::file("create", host))?;
    mount(
        Some(LIBRARY),
        host,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .map_err(LabError::system("move the host's folders aside"))?;
    memory(LIBRARY)?;
    let entries = fs::read_dir(host).map_err(LabError::file("read", host))?;
    for entry in entries.flatten() {
        let (source, name) = (entry.path(), entry.file_name());
        let target = Path::new(LIBRARY).join(&name);
        let kind = entry
            .file_type()
            .map_err(LabError::file("examine", &source))?;
        if HIDDEN_FOLDERS.iter().any(|hidden| name == *hidden) {
            continue;
        }
        if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(LabError::file("read", &source))?;
            symlink(link, &target).map_err(LabError::file("create", &target))?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target).map_err(LabError::file("create", &target))?;
        } else {
            fs::write(&target, "").map_err(LabError::file("create", &target))?;
        }
        mount(
            Some(&source),
            &target,
            none,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none,
        )
        .map_err(LabError::system(format!("mount {}", target.display())))?;
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
