//! The processes of one server: the postmaster and all its children.
//!
//! A postmaster puts each of its children into a session of its own, so a signal to its process
//! group reaches only itself: children are found by their parent instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use crate::process::{Patience, ProcessId};

/// A running, frozen, or ended server process.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    child: Option<Child>,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It runs.
    Running,
    /// It is stopped by a signal and can be continued.
    Frozen,
    /// It has ended.
    Ended,
}

impl Process {
    /// Takes over a child of this process.
    pub(crate) fn owned(child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // It is not reaped yet, so that it is found even when it ended at once.
        let id = ProcessId::find(pid).ok_or_else(|| io::Error::other("no such process"))?;
        Ok(Self {
            id,
            child: Some(child),
        })
    }

    /// A process that somebody else started and reaps.
    pub(crate) fn foreign(id: ProcessId) -> Self {
        Self { id, child: None }
    }

    /// Reads the note that [`Self::remember`] left; without those processes that have ended.
    pub(crate) fn recall(file: &Path) -> Vec<Self> {
        let note = fs::read_to_string(file).unwrap_or_default();
        let ids = note.lines().filter_map(|line| {
            let (pid, started) = line.trim().split_once(' ')?;
            Some(ProcessId {
                pid: pid.parse().ok()?,
                started: started.parse().ok()?,
            })
        });
        ids.filter(ProcessId::alive).map(Self::foreign).collect()
    }

    /// Leaves a note by which another process finds these.
    pub(crate) fn remember(processes: &[Self], file: &Path) -> io::Result<()> {
        let line = |one: &Self| format!("{} {}\n", one.id.pid, one.id.started);
        fs::write(file, processes.iter().map(line).collect::<String>())
    }

    /// What the process does now. Reaps it when it is a child that has ended.
    pub(crate) fn activity(&mut self) -> Activity {
        if let Some(child) = &mut self.child
            && !matches!(child.try_wait(), Ok(None))
        {
            return Activity::Ended;
        }
        match self.stat().map(|stat| stat.state) {
            None | Some('Z' | 'X') => Activity::Ended,
            Some('T' | 't') => Activity::Frozen,
            Some(_) => Activity::Running,
        }
    }

    /// Sends one signal to the postmaster alone.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.stat().is_some() {
            send(self.id.pid, signal);
        }
    }

    /// The postmaster and then its children, as they are now.
    pub(crate) fn family(&self) -> Vec<i32> {
        let mut family = vec![self.id.pid];
        family.extend(descendants(self.id.pid));
        family
    }

    /// Stops the postmaster and all its children.
    pub(crate) fn freeze(&self) {
        for pid in self.stop_all() {
            send(pid, Signal::SIGSTOP);
        }
    }

    /// Continues the children, then the postmaster.
    pub(crate) fn thaw(&self) {
        if self.stat().is_some() {
            for pid in descendants(self.id.pid) {
                send(pid, Signal::SIGCONT);
            }
            send(self.id.pid, Signal::SIGCONT);
        }
    }

    /// Ends the postmaster and all its children at once, as a crash of the machine would.
    pub(crate) fn kill(&self) {
        for pid in self.stop_all() {
            send(pid, Signal::SIGKILL);
        }
        self.signal(Signal::SIGKILL);
    }

    /// Waits until the process is gone from the process table; says whether it is.
    pub(crate) fn wait_gone(&mut self, limit: Duration) -> bool {
        let patience = Patience::firm("the end of the server", limit);
        loop {
            let reaped = match &mut self.child {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => false,
            };
            if reaped || self.stat().is_none() {
                return true;
            }
            if patience.pause(String::new).is_err() {
                return false;
            }
        }
    }

    /// Stops the postmaster first, so that it starts no more children, and then each child.
    /// Returns the children.
    fn stop_all(&self) -> BTreeSet<i32> {
        self.signal(Signal::SIGSTOP);
        let mut seen = BTreeSet::new();
        loop {
            let new: Vec<i32> = match self.stat() {
                Some(_) => descendants(self.id.pid)
                    .difference(&seen)
                    .copied()
                    .collect(),
                None => Vec::new(),
            };
            if new.is_empty() {
                return seen;
            }
            for pid in new {
                send(pid, Signal::SIGSTOP);
                seen.insert(pid);
            }
        }
    }

    fn stat(&self) -> Option<Stat> {
        stat(self.id.pid).filter(|stat| stat.started == self.id.started)
    }
}

/// Starts a child from a thread that lives as long as this process.
///
/// The kernel ends a child with `--pdeathsig` when the *thread* that started it ends, and the
/// threads of a test harness end long before the servers that the tests share.
pub(crate) fn spawn_owned(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<SyncSender<Job>>> = OnceLock::new();
    let (answer, answered) = sync_channel(1);
    let spawner = SPAWNER.get_or_init(|| Mutex::new(start_spawner()));
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

type Job = (Command, SyncSender<io::Result<Child>>);

fn start_spawner() -> SyncSender<Job> {
    let (jobs, queue) = sync_channel::<Job>(16);
    thread::spawn(move || {
        for (mut command, answer) in queue {
            // A caller that no longer listens drops the child's handle; the child itself ends
            // with this process.
            let _unheard = answer.send(command.spawn());
        }
    });
    jobs
}

fn send(pid: i32, signal: Signal) {
    // The process may have ended since it was looked up, which is what most callers want.
    let _gone = kill(Pid::from_raw(pid), signal);
}

#[derive(Debug, Clone, Copy)]
struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn descendants(of: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            && let Some(stat) = stat(pid)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![of];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found
}
