//! A writer inside a region: the tenant's application again, but in the region's own network, so
//! that it goes on when the region is cut off from everyone else.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};

use crate::checker::{Event, Record, parse};
use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::space::Space;

const END_LIMIT: Duration = Duration::from_secs(5);

/// A running writer. Dropping it kills it.
#[derive(Debug)]
pub struct InsideWriter {
    child: Child,
    group: Pid,
}

/// Whose rows it writes, and where.
#[derive(Debug)]
pub struct Task<'a> {
    /// The region whose network it is in.
    pub region: &'a str,
    /// The `domicile-lab-app` binary.
    pub program: &'a Path,
    /// Name of the tenant.
    pub writer: &'a str,
    /// Text stored in each row.
    pub payload: &'a str,
    /// Where it writes.
    pub url: &'a SecretString,
    /// Its log.
    pub log: &'a Path,
}

impl InsideWriter {
    /// Starts it. Errors: the program or its log cannot be had.
    pub fn begin(space: &Space, task: &Task<'_>) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let log = File::create(task.log).map_err(LabError::file("create", task.log))?;
        let child = space
            .command(Some(task.region), task.program)
            .args(["--writer", task.writer, "--payload", task.payload])
            .args(["--rate", "50"])
            .env("DATABASE_URL", task.url.expose_secret())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(LabError::system("start a writer"))?;
        let group = Pid::from_raw(child.id() as i32);
        Ok(Self { child, group })
    }

    /// Asks it to end, and waits until its log is complete. Errors: it ended before, and so saw
    /// nothing of what came after; or it does not end.
    pub fn end(mut self) -> Result<()> {
        let before = self.child.try_wait();
        if let Some(status) = before.map_err(LabError::system("look at a writer"))? {
            let text = format!("the writer inside ended by itself: {status}");
            return Err(LabError::State(text));
        }
        // The program is a child of nsenter, in the same group.
        let _ = killpg(self.group, Signal::SIGTERM);
        let patience = Patience::firm("the end of the writer", END_LIMIT);
        let ended = self.child.wait();
        ended.map_err(LabError::system("wait for a writer"))?;
        while killpg(self.group, None).is_ok() {
            patience.pause(|| format!("process group {} lives on", self.group))?;
        }
        Ok(())
    }
}

impl Drop for InsideWriter {
    fn drop(&mut self) {
        // Gone already is as good as killed.
        let _ = killpg(self.group, Signal::SIGKILL);
        drop(self.child.wait());
    }
}

/// How many rows a writer was told are stored, in a span. Errors: its log cannot be read.
pub fn acknowledged(log: &Path, from: u64, to: u64) -> Result<usize> {
    let text = std::fs::read_to_string(log).map_err(LabError::file("read", log))?;
    let records = parse(&log.display().to_string(), &text)
        .map_err(|error| LabError::State(error.to_string()))?;
    let counts = |record: &&Record| {
        matches!(record.event, Event::Acknowledged { .. }) && (from..to).contains(&record.at)
    };
    Ok(records.iter().filter(counts).count())
}
