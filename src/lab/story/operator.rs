//! The operator as a process: found, measured, killed.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::objects::{Objects, kinds};
use crate::error::{LabError, Result};
use crate::lab::SYSTEM_NAMESPACE;
use crate::process::ProcessId;
use crate::space::Space;

const PROGRAM: &str = "domicile";
/// Its holder leads.
const LEASE: &str = "domicile-operator";
/// Deeper than any process of the lab is nested.
const MAX_ANCESTORS: usize = 32;

/// The running operator processes of the lab, in no order.
pub fn processes(space: &Space) -> Vec<ProcessId> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter(|pid| read(*pid, "comm").is_some_and(|comm| comm.trim() == PROGRAM))
        .filter(|pid| descends(*pid, space.init().pid))
        .filter_map(ProcessId::find)
        .collect()
}

/// The operator process that leads, by the holder of the Lease. Errors: none does.
pub fn leader(objects: &Objects, space: &Space) -> Result<ProcessId> {
    let lease = objects.get(kinds::LEASE, Some(SYSTEM_NAMESPACE), LEASE)?;
    let holder = lease.as_ref().map(|lease| &lease["spec"]["holderIdentity"]);
    let holder = holder
        .and_then(|holder| holder.as_str())
        .unwrap_or_default();
    // `POD_START`: a process names itself by its pod and the moment of its start.
    let pod = holder.rsplit_once('_').map_or(holder, |(pod, _)| pod);
    let named = format!("POD_NAME={pod}");
    let mut running = processes(space).into_iter();
    let leads = |process: &ProcessId| {
        let variables = read(process.pid, "environ").unwrap_or_default();
        variables.split('\0').any(|variable| variable == named)
    };
    let none = || {
        LabError::State(format!(
            "no process runs in {holder:?}, which holds the lease"
        ))
    };
    running.find(leads).ok_or_else(none)
}

/// Kills these processes at once (SIGKILL).
pub fn kill_all(processes: &[ProcessId]) {
    signal(processes, Signal::SIGKILL);
}

/// Sends a signal to those of these processes that still run.
pub fn signal(processes: &[ProcessId], signal: Signal) {
    for process in processes.iter().filter(|process| process.alive()) {
        // Ended meanwhile: whoever sends it sees that when it looks again.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// Memory that a process holds now, in KiB.
pub fn resident_kib(process: ProcessId) -> Option<u64> {
    let status = read(process.pid, "status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descends(pid: i32, ancestor: i32) -> bool {
    let mut current = pid;
    for _ in 0..MAX_ANCESTORS {
        if current == ancestor {
            return true;
        }
        match parent(current) {
            Some(parent) if parent > 1 => current = parent,
            Some(_) | None => return false,
        }
    }
    false
}

fn parent(pid: i32) -> Option<i32> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn read(pid: i32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_descends_from_its_parent_and_not_from_its_child() {
        let me = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep")
            .arg("5")
            .spawn()
            .unwrap();
        let number = child.id() as i32;
        assert!(descends(number, me));
        assert!(!descends(me, number));
        assert!(resident_kib(ProcessId::find(me).unwrap()).unwrap() > 0);
        kill_all(&[ProcessId::find(number).unwrap()]);
        assert!(!child.wait().unwrap().success());
    }
}
