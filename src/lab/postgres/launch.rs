//! Starting a server's programs, and what a killed one leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::engine::Engine;
use super::place::{ENVIRONMENT, Place, clean_environment, drop_privileges, server_uid};
use super::process::{Process, spawn_owned};
use super::server::{STOP_LIMIT, Server};
use crate::error::{LabError, Result};
use crate::process::{run_firm, run_ok};
use crate::space::Daemon;

/// One program of a server.
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: Vec<String>,
    /// All of its environment, as `NAME=value`.
    pub(crate) environment: Vec<String>,
    pub(crate) log: PathBuf,
    /// It gives up root.
    pub(crate) unprivileged: bool,
    /// The signal that ends it, with what it started, when the lab on loopback ends.
    pub(crate) last_order: &'static str,
}

impl Server {
    /// Starts what keeps the server up; that comes first.
    pub(crate) fn spawn(&self) -> Result<Vec<Process>> {
        if let Some(started) = self.spawn_patroni()? {
            return Ok(started);
        }
        let program = self.spec.binaries.program("postgres");
        let conf = self.spec.dir.join("conf/postgresql.conf");
        let postgres = Program {
            path: &program,
            arguments: vec!["-c".to_owned(), format!("config_file={}", conf.display())],
            environment: ENVIRONMENT
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            log: self.log(),
            unprivileged: true,
            last_order: "QUIT",
        };
        Ok(vec![self.spawn_program(&postgres)?])
    }

    /// Starts one of the server's programs in its place.
    pub(crate) fn spawn_program(&self, wanted: &Program<'_>) -> Result<Process> {
        let uid = server_uid().filter(|_| wanted.unprivileged);
        let mut arguments = vec!["--ignore-environment".to_owned()];
        arguments.extend(wanted.environment.iter().cloned());
        arguments.push(wanted.path.display().to_string());
        arguments.extend(wanted.arguments.iter().cloned());
        let env = Path::new("/usr/bin/env");
        match &self.spec.place {
            Place::Loopback => {
                let mut command = Command::new("/usr/bin/setpriv");
                clean_environment(&mut command);
                command
                    .arg(format!("--pdeathsig={}", wanted.last_order))
                    .args(uid.map(drop_privileges).into_iter().flatten());
                command.arg(env).args(arguments);
                let log = fs::File::options()
                    .create(true)
                    .append(true)
                    .open(&wanted.log);
                let log = log.map_err(LabError::file("open", &wanted.log))?;
                let error_log = log
                    .try_clone()
                    .map_err(LabError::file("open", &wanted.log))?;
                command.stdin(Stdio::null()).stdout(log).stderr(error_log);
                spawn_owned(command)
                    .and_then(Process::owned)
                    .map_err(LabError::system("start a server"))
            }
            Place::Space { space, netns } => {
                let daemon = Daemon {
                    netns: Some(netns),
                    program: env,
                    args: &arguments,
                    env: &[],
                    log: &wanted.log,
                    user: uid.map(|uid| (uid, uid)),
                };
                space.spawn_daemon(&daemon).map(Process::foreign)
            }
        }
    }

    /// Has the kernel refuse every further byte that the server would write to a file, until it is
    /// started anew. Errors: the limit cannot be set.
    pub fn fill(&self) -> Result<()> {
        let family = match self.spec.engine {
            Engine::Plain => self.processes().first().map(Process::family),
            Engine::Patroni { .. } => self.postmaster().as_ref().map(Process::family),
        };
        for pid in family.into_iter().flatten() {
            // Only the owner of a process may lower its limits where root lacks CAP_SYS_RESOURCE.
            let mut command = Command::new("/usr/bin/setpriv");
            clean_environment(&mut command);
            command.args(server_uid().map(drop_privileges).into_iter().flatten());
            command.args(["prlimit", "--fsize=0:0", "--pid", &pid.to_string()]);
            match run_ok(&mut command, STOP_LIMIT) {
                // A child may end meanwhile; its parent forks the next one under the limit.
                Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => {}
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    /// Gives back the segment of System V memory that a killed server leaves until its next
    /// start: its lock file names it. In the space such segments end with the space, and their
    /// numbers mean others here.
    pub(crate) fn release_shared_memory(&self) {
        if !matches!(self.spec.place, Place::Loopback) {
            return;
        }
        let lock = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let segment = lock
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1));
        if let Some(id) = segment {
            // It is gone already when the server ended in good order.
            drop(run_firm(
                Command::new("ipcrm").args(["-m", id]),
                Duration::from_secs(2),
            ));
        }
    }
}
