//! Asking a server, with `psql`: it can be called from any thread, inside a runtime or not.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::place::{RunAs, run};
use super::server::Server;
use super::settings::SUPERUSER;
use crate::error::Result;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(10);

impl Server {
    /// Runs SQL as superuser over the server's own socket. Returns the rows of all statements,
    /// one a line, columns parted by `|`.
    pub fn superuser_sql(&self, database: &str, sql: &str) -> Result<String> {
        let run_dir = self.spec.dir.join("run");
        let host = run_dir.display();
        let port = self.spec.port;
        let target = format!("host={host} port={port} user={SUPERUSER} dbname={database}");
        self.psql(&target, None, sql)
    }

    /// Runs SQL as `user` over TLS that verifies the server's certificate and address.
    pub fn login_sql(
        &self,
        user: &str,
        password: &SecretString,
        database: &str,
        sql: &str,
    ) -> Result<String> {
        self.psql(
            &format!("{} dbname={database}", self.conninfo(user)),
            Some(password),
            sql,
        )
    }

    /// Runs SQL with a connection string alone, as a tenant's workload does.
    pub fn uri_sql(&self, uri: &str, sql: &str) -> Result<String> {
        self.psql(uri, None, sql)
    }

    /// A connection string (libpq) for `user`, without database and password.
    pub(crate) fn conninfo(&self, user: &str) -> String {
        let trust = self.spec.dir.join("tls/trust.crt");
        let spec = &self.spec;
        format!(
            "host={} port={} user={user} sslmode=verify-full sslrootcert={}",
            spec.address,
            spec.port,
            trust.display()
        )
    }

    fn psql(&self, target: &str, password: Option<&SecretString>, sql: &str) -> Result<String> {
        let program = self.spec.binaries.program("psql");
        let mut command = self.spec.place.command(RunAs::Caller, LIMIT, &program);
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--no-password",
        ]);
        command
            .args(["--set=ON_ERROR_STOP=1", "--file=-"])
            .arg(target);
        command.env("PGCONNECT_TIMEOUT", "3");
        if let Some(password) = password {
            command.env("PGPASSWORD", password.expose_secret());
        }
        Ok(run(command, LIMIT, sql)?.stdout.trim_end().to_owned())
    }
}
