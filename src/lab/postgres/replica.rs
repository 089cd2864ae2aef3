//! Standbys: cloning a primary, and bringing a former primary back as one.

use std::fs;
use std::time::Duration;

use super::engine::Engine;
use super::files::{make_folder, write};
use super::place::{RunAs, last_lines, run};
use super::process::Activity;
use super::server::{LONG_LIMIT, Server};
use super::settings::{REPLICATOR, slot_name, standby_overrides};
use super::spec::ServerSpec;
use crate::error::{LabError, Result};
use crate::process::{Patience, tail};
use domicile_core::admin::MAINTENANCE_DATABASE;

/// How long a standby that needs no repair may take until it streams.
const FOLLOW_LIMIT: Duration = Duration::from_secs(10);
/// How long a repaired standby may take until it streams.
const STREAM_LIMIT: Duration = Duration::from_mins(5);

/// How a server came back as a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejoined {
    /// Its data was part of the primary's history: it just streams.
    Followed,
    /// `pg_rewind` undid what the primary never had.
    Rewound,
    /// It was made anew by a base backup, for this reason.
    Cloned {
        /// Why nothing less was enough.
        why: String,
    },
}

impl Server {
    /// Makes and starts a standby of `primary` by a base backup; returns when it streams. Its
    /// slot on the primary is named as its region.
    pub fn standby(spec: ServerSpec, primary: &Self) -> Result<Self> {
        let server = Self::prepare(spec)?;
        match server.spec.engine {
            Engine::Plain => server.base_backup(primary)?,
            Engine::Patroni { .. } => server.configure_patroni(Some(primary))?,
        }
        server.start()?;
        server.await_streaming(primary, STREAM_LIMIT)?;
        server.await_login()?;
        Ok(server)
    }

    /// Makes this server, in whatever state it is, a streaming standby of `primary`, as an HA
    /// agent or a person would. It is stopped first. All that it had and `primary` has not is
    /// lost. Errors when `primary` is in recovery or does not answer, and when
    /// Patroni runs this server: that is asked instead.
    pub fn rejoin(&self, primary: &Self) -> Result<Rejoined> {
        if matches!(self.spec.engine, Engine::Patroni { .. }) {
            let region = self.region();
            let why = format!("Patroni runs {region}, and what asks it has to rejoin it");
            return Err(LabError::State(why));
        }
        if primary.replicator_sql("SELECT pg_is_in_recovery()")? != "f" {
            let why = format!("{} is in recovery and cannot be followed", primary.region());
            return Err(LabError::State(why));
        }
        self.stop()?;
        // Without it the result of a rewind does not start on PostgreSQL 15.
        primary.replicator_sql("CHECKPOINT")?;
        self.make_slot(primary)?;
        if self.data_dir().join("standby.signal").exists()
            && self.follow(primary, FOLLOW_LIMIT).is_ok()
        {
            return Ok(Rejoined::Followed);
        }
        self.stop()?;
        match self.rewind(primary) {
            Ok(rejoined) => Ok(rejoined),
            Err(LabError::Interrupted) => Err(LabError::Interrupted),
            Err(error) => {
                self.stop()?;
                self.base_backup(primary)?;
                self.start()?;
                self.await_streaming(primary, STREAM_LIMIT)?;
                Ok(Rejoined::Cloned {
                    why: error.report(),
                })
            }
        }
    }

    /// Makes this standby a primary; returns when it takes writes. Errors after 30 s.
    pub fn promote(&self) -> Result<()> {
        let promoted = self.superuser_sql(MAINTENANCE_DATABASE, "SELECT pg_promote(true, 30)")?;
        if promoted == "t" {
            return Ok(());
        }
        Err(LabError::State(format!(
            "{} was not promoted within 30 s",
            self.region()
        )))
    }

    /// Waits until this standby streams on the primary's timeline and has replayed what the
    /// primary had flushed when the wait began.
    ///
    /// A diverged standby shows `streaming` for moments: only timeline and position together
    /// prove that it follows.
    pub fn await_streaming(&self, primary: &Self, limit: Duration) -> Result<()> {
        let position = primary.replicator_sql(
            "SELECT substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) \
             || ' ' || pg_current_wal_flush_lsn()",
        )?;
        let Some((timeline, lsn)) = position.split_once(' ') else {
            return Err(LabError::State(format!(
                "{} has no position",
                primary.region()
            )));
        };
        let sql = format!(
            "SELECT coalesce((SELECT lpad(to_hex(received_tli), 8, '0') FROM \
             pg_stat_wal_receiver WHERE status = 'streaming'), '-'), \
             coalesce(pg_last_wal_replay_lsn(), '0/0') >= '{lsn}'::pg_lsn"
        );
        let wanted = format!("{}|t", timeline.to_lowercase());
        let patience = Patience::new(format!("streaming of {}", self.region()), limit);
        loop {
            let seen = match self.superuser_sql(MAINTENANCE_DATABASE, &sql) {
                Ok(seen) if seen == wanted => return Ok(()),
                Ok(seen) => seen,
                Err(error) => error.report(),
            };
            if self.activity() == Activity::Ended {
                let process = format!("the server of {}", self.region());
                return Err(LabError::Ended {
                    process,
                    log: tail(&self.log()),
                });
            }
            patience.pause(|| {
                let log = last_lines(&tail(&self.log()), 5);
                format!("timeline|replayed: {seen}, wanted: {wanted}; its log ends:\n{log}")
            })?;
        }
    }

    /// Starts the standby with its own settings and waits until it streams.
    fn follow(&self, primary: &Self, limit: Duration) -> Result<()> {
        self.write_overrides(primary)?;
        self.start()?;
        self.await_streaming(primary, limit)?;
        // Slots of the time as a primary would keep WAL for ever.
        self.superuser_sql(
            MAINTENANCE_DATABASE,
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
        )
        .map(drop)
    }

    fn rewind(&self, primary: &Self) -> Result<Rejoined> {
        let signal = self.data_dir().join("standby.signal");
        // With it the recovery that precedes a rewind refuses to run.
        if signal.exists() {
            fs::remove_file(&signal).map_err(LabError::file("remove", &signal))?;
        }
        let program = self.spec.binaries.program("pg_rewind");
        let mut command = self.spec.place.command(RunAs::Server, LONG_LIMIT, &program);
        command.arg("-D").arg(self.data_dir());
        command.arg(format!(
            "--source-server={} dbname=postgres",
            self.upstream(primary)
        ));
        command.arg(format!(
            "--config-file={}",
            self.spec.dir.join("conf/postgresql.conf").display()
        ));
        let said = run(command, LONG_LIMIT, "")?;
        write(&signal, "", 0o600)?;
        self.follow(primary, STREAM_LIMIT)?;
        // It reports on standard error.
        let needed = !said.stderr.contains("no rewind required");
        Ok(if needed {
            Rejoined::Rewound
        } else {
            Rejoined::Followed
        })
    }

    fn base_backup(&self, primary: &Self) -> Result<()> {
        self.release_shared_memory();
        let data = self.data_dir();
        fs::remove_dir_all(&data).map_err(LabError::file("remove", &data))?;
        make_folder(&data, 0o700)?;
        self.make_slot(primary)?;
        let program = self.spec.binaries.program("pg_basebackup");
        let mut command = self.spec.place.command(RunAs::Server, LONG_LIMIT, &program);
        command
            .arg("-d")
            .arg(self.upstream(primary))
            .arg("-D")
            .arg(&data);
        command.args(["-X", "stream", "-c", "fast", "-R", "--no-password", "-S"]);
        command.arg(slot_name(self.region()));
        run(command, LONG_LIMIT, "")?;
        self.write_overrides(primary)
    }

    fn write_overrides(&self, primary: &Self) -> Result<()> {
        let text = standby_overrides(&self.upstream(primary), &slot_name(self.region()));
        write(&self.data_dir().join("postgresql.auto.conf"), &text, 0o600)
    }

    /// How this server reaches `primary` as its standby.
    fn upstream(&self, primary: &Self) -> String {
        format!(
            "host={} port={} user={REPLICATOR} sslmode=verify-full sslrootcert={tls}/trust.crt \
             passfile={tls}/pgpass application_name={}",
            primary.address(),
            primary.port(),
            self.region(),
            tls = self.spec.dir.join("tls").display(),
        )
    }

    /// Makes this server's slot on `primary`: slots are neither copied nor promoted.
    fn make_slot(&self, primary: &Self) -> Result<()> {
        let slot = slot_name(self.region());
        let sql = format!(
            "SELECT pg_create_physical_replication_slot('{slot}', true) \
             WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{slot}' \
             AND wal_status <> 'lost')"
        );
        primary.replicator_sql(&format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE slot_name = '{slot}' AND wal_status = 'lost' AND NOT active; {sql}"
        ))?;
        Ok(())
    }

    fn replicator_sql(&self, sql: &str) -> Result<String> {
        let password = &self.spec.passwords.replicator;
        self.login_sql(REPLICATOR, password, MAINTENANCE_DATABASE, sql)
    }
}
