//! One session with one server: TLS, SCRAM, and a deadline over all of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domicile_core::health::ProbeFailure;
use futures::TryStreamExt;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{LOGGING_IN, ProviderError};

mod names;
mod startup;

use names::Tls;
use startup::options;
pub(crate) use startup::{HELD_UP, Hosted};

/// What `pg_stat_activity` calls Domicile's own sessions.
const APPLICATION_NAME: &str = "domicile";

/// Oldest PostgreSQL that has what Domicile uses (grants on parameters, `pg_database_owner`).
const OLDEST_MAJOR: u32 = 15;

/// Most rows that the statements of one call may return; more is a fault, not data.
const MAX_ROWS: usize = 100_000;

/// Where a server listens and how Domicile logs in.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// DNS name or IP address. The certificate must carry it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// PEM certificates; no other authority is trusted.
    pub ca_pem: String,
    /// Login role.
    pub username: String,
    /// Its password. Sent only inside SCRAM.
    pub password: SecretString,
    /// The system identifiers that the server may have: each effect asks for it in its own session
    /// first, and another server at this address is not touched. None: any will do.
    pub identifiers: Vec<String>,
}

/// Who logs in where.
pub(crate) struct Identity<'a> {
    pub(crate) database: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: &'a SecretString,
    /// The role that the session acts as from its first moment, `none` for the login itself;
    /// absent to leave it to the settings of the login and the database.
    pub(crate) role: Option<&'a str>,
    /// Whether the session's commits wait for no standby. Without it, a fence hangs exactly when
    /// the standby is cut off.
    pub(crate) local_commit: bool,
    /// The tenant's database that the session is in, if it is in one.
    pub(crate) hosted: Option<Hosted>,
}

/// How to reach one server: made once, used for each session.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) name: String,
    host: String,
    port: u16,
    tls: Tls,
}

impl Connector {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, ProviderError> {
        let name = format!("{}:{}", endpoint.host, endpoint.port);
        let invalid = |fact: String| ProviderError::CaInvalid {
            server: name.clone(),
            fact,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(endpoint.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|e| invalid(e.to_string()))?;
            roots.add(certificate).map_err(|e| invalid(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(invalid("it holds no PEM certificate".into()));
        }
        // The provider is passed on, not installed: a library leaves the process's default alone.
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(|e| invalid(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        Ok(Self {
            name,
            host,
            port,
            tls: Tls::new(MakeRustlsConnect::new(config)),
        })
    }

    fn config(&self, who: &Identity<'_>, limit: Duration) -> Config {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(who.database)
            .user(who.username)
            .password(who.password.expose_secret())
            .application_name(APPLICATION_NAME)
            .ssl_mode(SslMode::Require)
            // Refuses a server that asks for the password in clear text or as MD5.
            .channel_binding(ChannelBinding::Require)
            // Shorter than the whole, to tell "no connection" from "connected, but silent".
            .connect_timeout(limit * 3 / 4)
            .tcp_user_timeout(limit)
            // The kernel counts in whole seconds, and refuses none.
            .keepalives_idle(limit.max(Duration::from_secs(1)))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3)
            .options(options(who, limit));
        config
    }
}

/// A session. Dropped, it is gone at once; what it had in flight is rolled back by the server.
pub(crate) struct Session {
    client: Client,
    pub(crate) server: String,
    pub(crate) major: u32,
    pub(crate) version: String,
    pub(crate) deadline: Instant,
    limit: Duration,
    driver: JoinSet<()>,
}

impl Session {
    /// Connects, verifies the server's certificate, logs in, and checks the version.
    pub(crate) async fn open(
        connector: &Connector,
        who: &Identity<'_>,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Self, ProviderError> {
        let doing = LOGGING_IN;
        let server = connector.name.clone();
        let config = connector.config(who, limit);
        // Boxed: it is large, and every effect holds one or more of them.
        let connecting = Box::pin(config.connect(connector.tls.clone()));
        let connected = timeout_at(deadline, connecting).await;
        let (client, connection) = match connected {
            Err(_) => {
                return Err(ProviderError::TimedOut {
                    server,
                    doing,
                    after: limit,
                });
            }
            Ok(Err(e)) => return Err(translate(server, doing, &e)),
            Ok(Ok(pair)) => pair,
        };
        let version = connection
            .parameter("server_version")
            .unwrap_or_default()
            .to_owned();
        let major = major(&version);
        if major < OLDEST_MAJOR {
            let fact = format!("PostgreSQL {version} is older than {OLDEST_MAJOR}");
            let failure = ProbeFailure::VersionUnsupported;
            return Err(ProviderError::Connect {
                server,
                doing,
                failure,
                fact,
            });
        }
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // The same error reaches the caller through the client.
            drop(connection.await);
        });
        Ok(Self {
            client,
            server,
            major,
            version,
            deadline,
            limit,
            driver,
        })
    }

    /// Runs statements and returns the rows of each, in order. All statements are one transaction
    /// unless they say otherwise.
    pub(crate) async fn query(
        &self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<Vec<SimpleQueryRow>>, ProviderError> {
        let failed = |error: &tokio_postgres::Error| translate(self.server.clone(), doing, error);
        let begun = timeout_at(self.deadline, self.client.simple_query_raw(sql)).await;
        let messages = begun.map_err(|_| self.late(doing))?;
        let mut messages = pin!(messages.map_err(|error| failed(&error))?);
        let (mut results, mut rows, mut count) = (Vec::new(), Vec::new(), 0);
        loop {
            // One by one: an answer without end must not be kept until the deadline.
            let next = timeout_at(self.deadline, messages.try_next()).await;
            let next = next.map_err(|_| self.late(doing))?;
            match next.map_err(|error| failed(&error))? {
                None => break,
                Some(SimpleQueryMessage::Row(_)) if count >= MAX_ROWS => {
                    return Err(self.odd(doing, format!("more than {MAX_ROWS} rows")));
                }
                Some(SimpleQueryMessage::Row(row)) => {
                    count += 1;
                    rows.push(row);
                }
                Some(SimpleQueryMessage::CommandComplete(_)) => {
                    results.push(std::mem::take(&mut rows));
                }
                // The columns of what comes next, and whatever a later protocol adds.
                Some(SimpleQueryMessage::RowDescription(_) | _) => {}
            }
        }
        Ok(results)
    }

    /// The rows of a single statement.
    pub(crate) async fn rows(
        &self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<SimpleQueryRow>, ProviderError> {
        Ok(self.query(doing, sql).await?.pop().unwrap_or_default())
    }

    /// Runs statements for their effect.
    pub(crate) async fn run(&self, doing: &'static str, sql: &str) -> Result<(), ProviderError> {
        self.query(doing, sql).await.map(drop)
    }

    /// Ends the session in order, so that the server has let go of it.
    pub(crate) async fn close(self) {
        let Self {
            client,
            mut driver,
            deadline,
            ..
        } = self;
        drop(client);
        // Past the deadline the socket is closed without a goodbye, which does no harm.
        drop(timeout_at(deadline, driver.join_next()).await);
    }

    pub(crate) fn late(&self, doing: &'static str) -> ProviderError {
        ProviderError::TimedOut {
            server: self.server.clone(),
            doing,
            after: self.limit,
        }
    }

    pub(crate) fn odd(&self, doing: &'static str, fact: impl Into<String>) -> ProviderError {
        ProviderError::Answer {
            server: self.server.clone(),
            doing,
            fact: fact.into(),
        }
    }
}

/// The value of a column, absent when NULL or when there is no such column.
pub(crate) fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Option<&'a str> {
    row.try_get(column).ok().flatten()
}

/// A boolean column; NULL is false.
pub(crate) fn truth(row: &SimpleQueryRow, column: &str) -> bool {
    text(row, column) == Some("t")
}

/// A column in its own type; absent when NULL or of another form.
pub(crate) fn parsed<T: std::str::FromStr>(row: &SimpleQueryRow, column: &str) -> Option<T> {
    text(row, column).and_then(|value| value.parse().ok())
}

/// The major number of `server_version`; 0 when there is none.
fn major(version: &str) -> u32 {
    let end = version.find(|c: char| !c.is_ascii_digit());
    version[..end.unwrap_or(version.len())].parse().unwrap_or(0)
}

fn translate(server: String, doing: &'static str, error: &tokio_postgres::Error) -> ProviderError {
    if let Some(db) = error.as_db_error() {
        return refusal(server, doing, db);
    }
    let shown = error.to_string();
    let source = std::error::Error::source(error);
    let fact = source.map_or_else(|| shown.clone(), |cause| format!("{shown}: {cause}"));
    let io = source.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let certificate = io
        .and_then(std::io::Error::get_ref)
        .is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some());
    // The kind of the error is private; its text is the only mark.
    let failure = if certificate {
        ProbeFailure::CertificateInvalid
    } else if io.is_some() || error.is_closed() {
        ProbeFailure::Unreachable
    } else if shown.contains("TLS") {
        ProbeFailure::CertificateInvalid
    } else if shown.starts_with("authentication") {
        ProbeFailure::CredentialsDenied
    } else if shown.starts_with("error connecting") {
        ProbeFailure::Unreachable
    } else {
        ProbeFailure::Unexpected
    };
    ProviderError::Connect {
        server,
        doing,
        failure,
        fact,
    }
}

/// Only SQLSTATE and primary message: a detail or context may quote a statement.
fn refusal(
    server: String,
    doing: &'static str,
    db: &tokio_postgres::error::DbError,
) -> ProviderError {
    let fact = db.message().to_owned();
    let failure = match db.code().code() {
        "28P01" | "28000" => ProbeFailure::CredentialsDenied,
        "53300" => ProbeFailure::TooManyConnections,
        "57P01" | "57P02" | "57P03" => ProbeFailure::NotAccepting,
        "25P03" => ProbeFailure::Unreachable,
        "25006" => return ProviderError::NotPrimary { server, doing },
        "42501" => {
            return ProviderError::MissingRight {
                server,
                doing,
                fact,
            };
        }
        state => {
            return ProviderError::Sql {
                server,
                doing,
                state: state.to_owned(),
                fact,
            };
        }
    };
    ProviderError::Connect {
        server,
        doing,
        failure,
        fact,
    }
}

#[cfg(test)]
mod tests {
    use super::{OLDEST_MAJOR, major};

    #[test]
    fn versions_before_15_are_told_from_later_ones() {
        for (version, supported) in [
            ("15.18 (Debian 15.18-0+deb12u1)", true),
            ("18.4", true),
            ("16beta1", true),
            ("14.9", false),
            ("9.6.24", false),
            ("", false),
            ("unknown", false),
        ] {
            assert_eq!(major(version) >= OLDEST_MAJOR, supported, "{version}");
        }
    }
}
