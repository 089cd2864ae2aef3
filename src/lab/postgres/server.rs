//! One PostgreSQL server.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_core::admin::{MAINTENANCE_DATABASE, admin_sql};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret as _;

use super::engine::Engine;
use super::files::{check_folder, make_folder, write_configuration};
use super::patroni::check_programs;
use super::place::{Place, RunAs, last_lines, run};
use super::process::{Activity, Process};
use super::settings::{ADMIN, REPLICATOR, SUPERUSER};
use super::spec::{Passwords, ServerSpec};
use crate::error::{LabError, Result};
use crate::process::{Patience, tail};

/// How long initdb, a base backup, or a rewind may take.
pub(crate) const LONG_LIMIT: Duration = Duration::from_mins(10);
/// With a thousand databases the server syncs for minutes before it recovers.
const START_LIMIT: Duration = Duration::from_mins(10);
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A server with its files. On [`Place::Loopback`] it ends with this value; in the space it
/// lives on, and [`Server::open`] finds it again.
#[derive(Debug)]
pub struct Server {
    pub(crate) spec: ServerSpec,
    /// The one that keeps the server up comes first.
    processes: Mutex<Vec<Process>>,
}

impl Server {
    /// Makes and starts a primary with the roles [`ADMIN`] and [`REPLICATOR`]; returns when a
    /// login over verified TLS succeeds. Errors when `spec.dir` already holds a server.
    pub fn primary(spec: ServerSpec) -> Result<Self> {
        let server = Self::prepare(spec)?;
        match server.spec.engine {
            Engine::Plain => server.initdb()?,
            Engine::Patroni { .. } => server.configure_patroni(None)?,
        }
        server.start()?;
        server.await_primary()?;
        if matches!(server.spec.engine, Engine::Patroni { .. }) {
            server.await_bootstrap()?;
        }
        server.create_roles()?;
        server.await_login()?;
        Ok(server)
    }

    fn initdb(&self) -> Result<()> {
        let program = self.spec.binaries.program("initdb");
        let mut command = self.spec.place.command(RunAs::Server, LONG_LIMIT, &program);
        command
            .arg("-D")
            .arg(self.data_dir())
            .args(["-U", SUPERUSER]);
        // Only for the file that it writes beside the data; ours lies elsewhere.
        command.args(["--auth-local=peer", "--auth-host=reject"]);
        command.args([
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        ]);
        run(command, LONG_LIMIT, "").map(drop)
    }

    /// Patroni makes roles of its own after its server takes connections, and gives the server up
    /// when somebody else changes the same ones meanwhile.
    fn await_bootstrap(&self) -> Result<()> {
        let patience = Patience::new(format!("Patroni at {}", self.spec.region), START_LIMIT);
        let said = || fs::read_to_string(self.log()).unwrap_or_default();
        while !said().contains("initialized a new cluster") {
            patience.pause(|| last_lines(&tail(&self.log()), 5))?;
        }
        Ok(())
    }

    /// Patroni promotes a new server some moments after it takes connections.
    fn await_primary(&self) -> Result<()> {
        let patience = Patience::new(format!("writing at {}", self.spec.region), START_LIMIT);
        let sql = "SELECT pg_is_in_recovery()";
        while self
            .superuser_sql(MAINTENANCE_DATABASE, sql)
            .ok()
            .as_deref()
            != Some("f")
        {
            patience.pause(|| last_lines(&tail(&self.log()), 5))?;
        }
        Ok(())
    }

    /// A server that was made earlier, running or not.
    pub fn open(spec: ServerSpec) -> Self {
        let processes = Process::recall(&spec.dir.join("process"));
        Self {
            spec,
            processes: Mutex::new(processes),
        }
    }

    /// Writes the folders and settings of a server that has no data yet.
    pub(crate) fn prepare(spec: ServerSpec) -> Result<Self> {
        let server = Self {
            spec,
            processes: Mutex::new(Vec::new()),
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
        if matches!(server.spec.engine, Engine::Patroni { .. }) {
            check_programs(&server)?;
        }
        Ok(server)
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) -> Result<()> {
        let mut processes = self.processes();
        if processes
            .first_mut()
            .is_some_and(|running| running.activity() != Activity::Ended)
        {
            return Err(LabError::State(format!(
                "{} runs already",
                self.spec.region
            )));
        }
        let started = self.spawn()?;
        let note = self.spec.dir.join("process");
        Process::remember(&started, &note).map_err(LabError::file("write", &note))?;
        *processes = started;
        drop(processes);
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
        self.thaw();
        let mut processes = self.processes();
        let order = match self.spec.engine {
            Engine::Plain => Signal::SIGINT,
            Engine::Patroni { .. } => Signal::SIGTERM,
        };
        for running in processes.iter_mut() {
            running.signal(order);
            if !running.wait_gone(STOP_LIMIT) {
                running.kill();
                self.must_end(running)?;
            }
        }
        processes.clear();
        Ok(())
    }

    /// Ends all processes of the server at once, without a last word.
    pub fn kill(&self) -> Result<()> {
        let mut processes = self.processes();
        // Patroni first, which would start another postmaster.
        let mut all: Vec<Process> = processes.drain(..).collect();
        for running in &all {
            running.freeze();
        }
        all.extend(self.foreign_postmaster());
        for running in &mut all {
            running.kill();
            self.must_end(running)?;
        }
        Ok(())
    }

    /// Stops all processes of the server where they are; its sockets stay open.
    pub fn freeze(&self) {
        for running in self.processes().iter() {
            running.freeze();
        }
        if let Some(postmaster) = self.foreign_postmaster() {
            postmaster.freeze();
        }
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        if let Some(postmaster) = self.foreign_postmaster() {
            postmaster.thaw();
        }
        for running in self.processes().iter().rev() {
            running.thaw();
        }
    }

    fn foreign_postmaster(&self) -> Option<Process> {
        match self.spec.engine {
            Engine::Plain => None,
            Engine::Patroni { .. } => self.postmaster(),
        }
    }

    fn must_end(&self, running: &mut Process) -> Result<()> {
        if running.wait_gone(STOP_LIMIT) {
            return Ok(());
        }
        Err(LabError::State(format!(
            "{} survived SIGKILL",
            self.spec.region
        )))
    }

    /// What the server's processes do now.
    pub fn activity(&self) -> Activity {
        self.processes()
            .first_mut()
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
        let Passwords {
            admin, replicator, ..
        } = &self.spec.passwords;
        let files = "pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), \
                     pg_read_binary_file(text), \
                     pg_read_binary_file(text, bigint, bigint, boolean)";
        let sql = format!(
            "\\set VERBOSITY terse\n\
             SET log_min_error_statement = panic;\n\
             SELECT 'CREATE ROLE {REPLICATOR}' WHERE NOT EXISTS \
             (SELECT FROM pg_roles WHERE rolname = '{REPLICATOR}') \\gexec\n\
             ALTER ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD '{}';\n\
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

    fn ended(&self) -> LabError {
        let process = format!("the server of {}", self.spec.region);
        LabError::Ended {
            process,
            log: tail(&self.log()),
        }
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.spec.place, Place::Loopback) {
            return;
        }
        if matches!(self.spec.engine, Engine::Patroni { .. }) {
            // There is no one to tell of one that survives.
            drop(self.kill());
        }
        for running in self.processes().iter_mut() {
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
