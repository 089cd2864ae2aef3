//! What the operator's processes take from the machine.

use std::fs;

use crate::error::{LabError, Result};
use crate::space::Space;
use crate::story::operator::processes;

/// Ticks of `/proc/PID/stat` in a second, on every Linux of today.
const TICKS: f64 = 100.0;

/// What all processes of the operator took so far; agents count as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time, in seconds.
    pub(super) cpu: f64,
    /// Memory that the largest of them holds, in MiB.
    pub(super) resident: f64,
    /// The most that one of them ever held, in MiB.
    pub(super) peak: f64,
}

impl Usage {
    pub(super) fn now(space: &Space) -> Result<Self> {
        let mut sum = Self::default();
        let found = processes(space);
        for process in &found {
            let one = Self::of(process.pid).ok_or_else(|| {
                LabError::State(format!("process {} of the operator ended", process.pid))
            })?;
            sum.cpu += one.cpu;
            sum.resident = sum.resident.max(one.resident);
            sum.peak = sum.peak.max(one.peak);
        }
        if found.is_empty() {
            return Err(LabError::State("the operator does not run".to_owned()));
        }
        Ok(sum)
    }

    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Self::parse(&stat, &status)
    }

    /// From the two files of a process. The name in the first may hold anything but ends with the
    /// last parenthesis; user and system time are the 12th and 13th words after it.
    fn parse(stat: &str, status: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |place: usize| words.get(place)?.parse::<f64>().ok();
        let mebibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kibibytes = line.split_whitespace().next()?.parse::<f64>().ok()?;
            Some(kibibytes / 1024.0)
        };
        Some(Self {
            cpu: (ticks(11)? + ticks(12)?) / TICKS,
            resident: mebibytes("VmRSS:")?,
            peak: mebibytes("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_understood() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 99";
        let status = "Name:\tx\nVmHWM:\t   4096 kB\nVmRSS:\t   2048 kB\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert!((usage.cpu - 3.0).abs() < 1e-9);
        assert!((usage.resident - 2.0).abs() < 1e-9 && (usage.peak - 4.0).abs() < 1e-9);
    }
}
