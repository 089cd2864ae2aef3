//! Processes and patience: every wait has a limit, and ends early when the user interrupts.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// Set once by the signal thread of the binary; waits of a start end, waits of a teardown go on.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

const TICK: Duration = Duration::from_millis(20);
const TAIL_BYTES: u64 = 2_000;

/// Tells all waits of this process to end with [`LabError::Interrupted`].
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A wait with a limit.
pub struct Patience {
    what: String,
    limit: Duration,
    started: Instant,
    firm: bool,
}

impl Patience {
    /// A wait for `what` of at most `limit`; an interruption ends it.
    pub fn new(what: impl Into<String>, limit: Duration) -> Self {
        Self {
            what: what.into(),
            limit,
            started: now(),
            firm: false,
        }
    }

    /// As [`Patience::new`], but an interruption does not end it: for teardown.
    pub fn firm(what: impl Into<String>, limit: Duration) -> Self {
        Self {
            firm: true,
            ..Self::new(what, limit)
        }
    }

    /// How long the wait has lasted.
    pub fn elapsed(&self) -> Duration {
        now().duration_since(self.started)
    }

    /// Sleeps a moment. Errors: the limit is over (with `detail` as the last state seen), or the
    /// user interrupted.
    pub fn pause(&self, detail: impl FnOnce() -> String) -> Result<()> {
        if !self.firm && interrupted() {
            return Err(LabError::Interrupted);
        }
        if self.elapsed() >= self.limit {
            let seconds = self.limit.as_secs();
            return Err(LabError::Deadline {
                what: self.what.clone(),
                seconds,
                detail: detail(),
            });
        }
        std::thread::sleep(TICK);
        Ok(())
    }
}

/// What a finished program said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, whatever its exit status. It is killed at the limit and when the
/// user interrupts.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    run_with(command, None, limit, false)
}

/// As [`run`]; a failing exit status is an error with the end of the program's output.
pub fn run_ok(command: &mut Command, limit: Duration) -> Result<Output> {
    let output = run_with(command, None, limit, false)?;
    succeeded(command, output)
}

/// As [`run_ok`], for teardown: an interruption does not end it.
pub fn run_firm(command: &mut Command, limit: Duration) -> Result<Output> {
    let output = run_with(command, None, limit, true)?;
    succeeded(command, output)
}

/// As [`run_ok`], with a text on standard input.
pub fn run_input(command: &mut Command, input: &str, limit: Duration) -> Result<Output> {
    let output = run_with(command, Some(input), limit, false)?;
    succeeded(command, output)
}

/// Whether a program can be started. Errors: the user interrupted.
pub(crate) fn installed(program: &str) -> Result<bool> {
    match run(
        Command::new(program).arg("--version"),
        Duration::from_secs(10),
    ) {
        Ok(_) => Ok(true),
        Err(LabError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn run_with(
    command: &mut Command,
    input: Option<&str>,
    limit: Duration,
    firm: bool,
) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            return LabError::missing(&*name, "it is not installed");
        }
        LabError::system(format!("start {name}"))(source)
    })?;
    let writer = child
        .stdin
        .take()
        .zip(input.map(str::to_owned))
        .map(|(mut pipe, text)| {
            // A program that ends without reading says so by its exit status.
            std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())))
        });
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let what = format!("the end of {name}");
    let patience = if firm {
        Patience::firm(what, limit)
    } else {
        Patience::new(what, limit)
    };
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .map_err(LabError::system(format!("await {name}")))?
        {
            break status;
        }
        if let Err(error) = patience.pause(String::new) {
            end(&mut child);
            return Err(error);
        }
    };
    if let Some(writer) = writer {
        drop(writer.join());
    }
    Ok(Output {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn end(child: &mut Child) {
    // It may have ended by itself in the meantime; nothing else can fail here.
    drop(child.kill());
    drop(child.wait());
}

fn succeeded(command: &Command, output: Output) -> Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = if output.stderr.trim().is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let start = said.len().saturating_sub(TAIL_BYTES as usize);
    let tail = said
        .get(said.ceil_char_boundary(start)..)
        .unwrap_or_default()
        .trim();
    Err(LabError::program(
        describe(command),
        format!("{}: {tail}", output.status),
    ))
}

/// The program and its arguments behind `nsenter … --`, cut to one line.
fn describe(command: &Command) -> String {
    let mut words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    if let Some(end) = words.iter().position(|word| word == "--")
        && words
            .first()
            .is_some_and(|program| program.ends_with("nsenter"))
    {
        words.drain(..=end);
    }
    let mut line = words.join(" ");
    if line.len() > 120 {
        line.truncate(line.floor_char_boundary(120));
        line.push('…');
    }
    line
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a broken pipe is the output.
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}

/// A process, told apart from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Number in the PID namespace of the host.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The running process with this number, if there is one.
    pub fn find(pid: i32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { pid, started })
    }

    /// Whether it runs (a zombie does not).
    pub fn alive(&self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, started)| started == self.started && state != 'Z' && state != 'X')
    }
}

fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; the fields after it do not.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((
        fields.first()?.chars().next()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// The end of a log file, for a message.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(no log at {}: {error})", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the lab waits for real processes"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_at_the_limit() {
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, LabError::Deadline { .. }), "{error}");
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let script = "echo broken pipe 1>&2; exit 3";
        let error = run_ok(
            Command::new("sh").args(["-c", script]),
            Duration::from_secs(5),
        );
        assert!(error.unwrap_err().to_string().contains("broken pipe"));
    }

    #[test]
    fn input_reaches_the_program() {
        let output = run_input(&mut Command::new("cat"), "row 1", Duration::from_secs(5));
        assert_eq!(output.unwrap().stdout, "row 1");
    }

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let me = ProcessId::find(std::process::id() as i32).unwrap();
        assert!(me.alive());
        assert!(
            !ProcessId {
                started: me.started + 1,
                ..me
            }
            .alive()
        );
    }
}
