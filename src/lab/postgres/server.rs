//! One PostgreSQL server.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_core::admin::{MAINTENANCE_DATABASE, admin_sql};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret as _;

use super::files::{check_folder, make_folder, write_configuration};
use super::place::{
    ENVIRONMENT, Place, RunAs, clean_environment, drop_privileges, run, server_uid,
};
use super::process::{Activity, Process, spawn_owned};
use super::settings::{ADMIN, REPLICATOR, SUPERUSER};
use super::spec::{Passwords, ServerSpec};
use crate::error::{LabError, Result};
use crate::process::{self, Patience, run_firm, tail};
use crate::space::Daemon;

/// How long initdb, a base backup, or a rewind may take.
pub(crate) const LONG_LIMIT: Duration = Duration::from_mins(2);
const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A server with its files. On [`Place::Loopback`] it ends with this value; in the space it
/// lives on, and [`Server::open`] finds it again.
#[derive(Debug)]
pub struct Server {
    pub(crate) spec: ServerSpec,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Makes and starts a primary with the roles [`ADMIN`] and [`REPLICATOR`]; returns when a
    /// login over verified TLS succeeds. Errors when `spec.dir` already holds a server.
    pub fn primary(spec: ServerSpec) -> Result<Self> {
        let server = Self::prepare(spec)?;
        let program = server.spec.binaries.program("initdb");
        let mut command = server
            .spec
            .place
            .command(RunAs::Server, LONG_LIMIT, &program);
        command
            .arg("-D")
            .arg(server.data_dir())
            .args(["-U", SUPERUSER]);
        // Only for the file that it writes beside the data; ours lies elsewhere.
        command.args(["--auth-local=peer", "--auth-host=reject"]);
        command.args([
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ]);
        run(command, LONG_LIMIT, "")?;
        server.start()?;
        server.create_roles()?;
        server.await_login()?;
        Ok(server)
    }

    /// A server that was made earlier, running or not.
    pub fn open(spec: ServerSpec) -> Self {
        let process = Process::recall(&spec.dir.join("process"));
        Self {
            spec,
            process: Mutex::new(process),
        }
    }

    /// Writes the folders and settings of a server that has no data yet.
    pub(crate) fn prepare(spec: ServerSpec) -> Result<Self> {
        let server = Self {
            spec,
            process: Mutex::new(None),
        };
        if server.data_dir().exists() {
            let held = format!("{} already holds a server", server.spec.dir.display());
            return Err(LabError::State(held));
        }
        make_folder(&server.spec.dir, 0o711)?;
        check_folder(&server.spec.dir)?;
        for (name, mode) in [
            ("data", 0o700),
            ("conf", 0o755),
            ("run", 0o711),
            ("tls", 0o711),
        ] {
            make_folder(&server.spec.dir.join(name), mode)?;
        }
        write_configuration(&server.spec)?;
        Ok(server)
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) -> Result<()> {
        let mut process = self.process();
        if process
            .as_mut()
            .is_some_and(|running| running.activity() != Activity::Ended)
        {
            return Err(LabError::State(format!(
                "{} runs already",
                self.spec.region
            )));
        }
        let started = self.spawn()?;
        let note = self.spec.dir.join("process");
        started
            .remember(&note)
            .map_err(LabError::file("write", &note))?;
        *process = Some(started);
        drop(process);
        let patience = Patience::new(format!("the start of {}", self.spec.region), START_LIMIT);
        while let Err(error) = self.superuser_sql(MAINTENANCE_DATABASE, "SELECT 1") {
            if self.activity() == Activity::Ended {
                return Err(self.ended());
            }
            patience.pause(|| error.report())?;
        }
        Ok(())
    }

    /// Stops the server in good order, thawing it first. A server that does not stop is killed.
    pub fn stop(&self) -> Result<()> {
        let mut process = self.process();
        let Some(running) = process.as_mut() else {
            return Ok(());
        };
        running.thaw();
        running.signal(Signal::SIGINT);
        if !running.wait_gone(STOP_LIMIT) {
            running.kill();
            if !running.wait_gone(STOP_LIMIT) {
                return Err(LabError::State(format!(
                    "{} does not end",
                    self.spec.region
                )));
            }
        }
        *process = None;
        Ok(())
    }

    /// Ends all processes of the server at once, without a last word.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process();
        let Some(running) = process.as_mut() else {
            return Ok(());
        };
        running.kill();
        if !running.wait_gone(STOP_LIMIT) {
            return Err(LabError::State(format!(
                "{} survived SIGKILL",
                self.spec.region
            )));
        }
        *process = None;
        Ok(())
    }

    /// Stops all processes of the server where they are; its sockets stay open.
    pub fn freeze(&self) {
        if let Some(running) = self.process().as_ref() {
            running.freeze();
        }
    }

    /// Has the kernel refuse every further byte that the server would write to a file, until it is
    /// started anew. Errors: the limit cannot be set.
    pub fn fill(&self) -> Result<()> {
        let Some(family) = self.process().as_ref().map(Process::family) else {
            return Ok(());
        };
        for pid in family {
            // Only the owner of a process may lower its limits where root lacks CAP_SYS_RESOURCE.
            let mut command = Command::new("/usr/bin/setpriv");
            clean_environment(&mut command);
            command.args(server_uid().map(drop_privileges).into_iter().flatten());
            command.args(["prlimit", "--fsize=0:0", "--pid", &pid.to_string()]);
            match process::run_ok(&mut command, STOP_LIMIT) {
                // A child may end meanwhile; its parent forks the next one under the limit.
                Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => {}
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        if let Some(running) = self.process().as_ref() {
            running.thaw();
        }
    }

    /// What the server's processes do now.
    pub fn activity(&self) -> Activity {
        self.process()
            .as_mut()
            .map_or(Activity::Ended, Process::activity)
    }

    /// The server's region.
    pub fn region(&self) -> &str {
        &self.spec.region
    }

    /// The address it listens on.
    pub fn address(&self) -> Ipv4Addr {
        self.spec.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// The spec it was made from.
    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// Folder with all the server's data, its WAL too.
    pub fn data_dir(&self) -> PathBuf {
        self.spec.dir.join("data")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.spec.dir.join("server.log")
    }

    /// The roles of a new primary. Statements with a password reach neither the log nor an error,
    /// not even when they fail.
    fn create_roles(&self) -> Result<()> {
        let Passwords { admin, replicator } = &self.spec.passwords;
        let files = "pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), \
                     pg_read_binary_file(text), \
                     pg_read_binary_file(text, bigint, bigint, boolean)";
        let sql = format!(
            "\\set VERBOSITY terse\n\
             SET log_min_error_statement = panic;\n\
             CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD '{}';\n\
             GRANT pg_checkpoint, pg_monitor TO {REPLICATOR};\n\
             GRANT EXECUTE ON FUNCTION {files} TO {REPLICATOR};\n\
             {}\n\
             ALTER ROLE {ADMIN} PASSWORD '{}';\n",
            replicator.expose_secret(),
            admin_sql(ADMIN),
            admin.expose_secret(),
        );
        self.superuser_sql(MAINTENANCE_DATABASE, &sql).map(drop)
    }

    /// Waits for a login over verified TLS.
    pub(crate) fn await_login(&self) -> Result<()> {
        let patience = Patience::new(format!("a login at {}", self.spec.region), START_LIMIT);
        let password = &self.spec.passwords.admin;
        while let Err(error) = self.login_sql(ADMIN, password, MAINTENANCE_DATABASE, "SELECT 1") {
            if self.activity() == Activity::Ended {
                return Err(self.ended());
            }
            patience.pause(|| error.report())?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Process> {
        let spec = &self.spec;
        let program = spec.binaries.program("postgres");
        let conf = spec.dir.join("conf/postgresql.conf");
        let arguments = ["-c".to_owned(), format!("config_file={}", conf.display())];
        let uid = server_uid();
        match &spec.place {
            Place::Loopback => {
                let mut command = Command::new("/usr/bin/setpriv");
                clean_environment(&mut command);
                command
                    .arg("--pdeathsig=QUIT")
                    .args(uid.map(drop_privileges).into_iter().flatten());
                command.arg(program).args(arguments);
                let log = fs::File::options()
                    .create(true)
                    .append(true)
                    .open(self.log());
                let log = log.map_err(LabError::file("open", &self.log()))?;
                let error_log = log
                    .try_clone()
                    .map_err(LabError::file("open", &self.log()))?;
                command.stdin(Stdio::null()).stdout(log).stderr(error_log);
                spawn_owned(command)
                    .and_then(Process::owned)
                    .map_err(LabError::system("start postgres"))
            }
            Place::Space { space, netns } => {
                let clean = ENVIRONMENT.map(|(name, value)| format!("{name}={value}"));
                let mut args = vec!["--ignore-environment".to_owned()];
                args.extend(clean);
                args.push(program.display().to_string());
                args.extend(arguments);
                let daemon = Daemon {
                    netns: Some(netns),
                    program: Path::new("/usr/bin/env"),
                    args: &args,
                    log: &self.log(),
                    user: uid.map(|uid| (uid, uid)),
                };
                space.spawn_daemon(&daemon).map(Process::foreign)
            }
        }
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

    fn ended(&self) -> LabError {
        let process = format!("the server of {}", self.spec.region);
        LabError::Ended {
            process,
            log: tail(&self.log()),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.spec.place, Place::Loopback) {
            return;
        }
        if let Some(running) = self.process().as_mut() {
            running.thaw();
            running.signal(Signal::SIGQUIT);
            if !running.wait_gone(Duration::from_secs(2)) {
                running.kill();
                running.wait_gone(Duration::from_secs(2));
            }
        }
        self.release_shared_memory();
    }
}
