//! Any PostgreSQL from version 15, by SQL alone and without superuser.

mod authority;
mod logins;
mod probe;
mod promotion;
mod release;
mod returned;
mod seat;
mod sql;
mod tenant;

use std::fmt;
use std::time::Duration;

use domicile_core::admin::MAINTENANCE_DATABASE;
use domicile_core::health::ProbeFailure;
use secrecy::SecretString;
use tokio::time::Instant;

pub use authority::Fenced;
pub use seat::Seat;
pub use tenant::{
    Adoption, Dropped, HeldTenant, Login, Obstacle, Refused, Settled, Standing, TenantPlan, Why,
};

use crate::error::ProviderError;
use crate::generic::sql::TRIGGERS_OFF;
use crate::session::{Connector, Endpoint, Hosted, Identity, Session, text, truth};

/// One PostgreSQL server. Holds no connection: each call opens its own and closes it, within the
/// deadline, which covers connecting, TLS, login and all statements of the call together.
#[derive(Clone)]
pub struct Generic {
    connector: Connector,
    username: String,
    password: SecretString,
    limit: Duration,
    identifiers: Vec<String>,
}

impl fmt::Debug for Generic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generic")
            .field("server", &self.connector.name)
            .field("username", &self.username)
            .field("deadline", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Generic {
    /// The server at `endpoint`; every call ends within `deadline`.
    ///
    /// # Errors
    /// The CA is not PEM or holds no certificate. Nothing is connected yet.
    pub fn new(endpoint: Endpoint, deadline: Duration) -> Result<Self, ProviderError> {
        let connector = Connector::new(&endpoint)?;
        let Endpoint {
            host: _,
            port: _,
            ca_pem: _,
            username,
            password,
            identifiers,
        } = endpoint;
        Ok(Self {
            connector,
            username,
            password,
            limit: deadline,
            identifiers,
        })
    }

    /// The same server with another deadline, such as a longer one for a fence that ends sessions.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            limit: deadline,
            ..self.clone()
        }
    }

    /// The same server, whose certificate must carry this name instead of that of its address: as
    /// a client meets it that reaches it under another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            connector: self.connector.named(name),
            ..self.clone()
        }
    }

    /// Logs in as a client that knows the server by this name. Answers what the certificate says
    /// where it does not carry the name, and nothing where it does.
    ///
    /// # Errors
    /// Whatever else keeps the login from working.
    pub async fn lacks_name(&self, name: &str) -> Result<Option<String>, ProviderError> {
        let who = Identity {
            database: MAINTENANCE_DATABASE,
            username: &self.username,
            password: &self.password,
            role: Some("none"),
            local_commit: true,
            hosted: None,
        };
        let connector = self.connector.named(name);
        connector
            .lacks_name(&who, self.limit, self.deadline())
            .await
    }

    /// `host:port`, as in messages.
    pub fn server(&self) -> &str {
        &self.connector.name
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// A session whose commits wait for no standby.
    async fn effects(&self, deadline: Instant) -> Result<Session, ProviderError> {
        let session = self.session(true, deadline).await?;
        self.recognise(&session).await?;
        Ok(session)
    }

    async fn recognise(&self, session: &Session) -> Result<(), ProviderError> {
        if self.identifiers.is_empty() {
            return Ok(());
        }
        let doing = "asking which server this is";
        let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        let rows = session.rows(doing, sql).await?;
        let found = rows.first().and_then(|row| text(row, "system_identifier"));
        if found.is_some_and(|found| self.identifiers.iter().any(|known| known == found)) {
            return Ok(());
        }
        Err(ProviderError::Connect {
            server: self.connector.name.clone(),
            doing,
            failure: ProbeFailure::WrongServer,
            fact: format!(
                "it has system identifier {}, recorded is {}",
                found.unwrap_or("none"),
                self.identifiers.join(" or ")
            ),
        })
    }

    /// A session in the maintenance database, as the login itself.
    async fn session(
        &self,
        local_commit: bool,
        deadline: Instant,
    ) -> Result<Session, ProviderError> {
        let who = Identity {
            database: MAINTENANCE_DATABASE,
            username: &self.username,
            password: &self.password,
            role: Some("none"),
            local_commit,
            hosted: None,
        };
        Session::open(&self.connector, &who, self.limit, deadline).await
    }

    /// A session in a database that others rule, as `role`, whose commits wait for no standby.
    /// `guard` is a session elsewhere on the same server.
    async fn hosted(
        &self,
        guard: &Session,
        database: &str,
        role: &str,
        deadline: Instant,
    ) -> Result<Session, ProviderError> {
        let major = guard.major;
        let mut triggers_off = false;
        if major >= 17 {
            let doing = "asking whether event triggers can be turned off";
            let sql = format!("SELECT {TRIGGERS_OFF} AS may");
            let rows = guard.rows(doing, &sql).await?;
            triggers_off = rows.first().is_some_and(|row| truth(row, "may"));
        }
        let who = Identity {
            database,
            username: &self.username,
            password: &self.password,
            role: Some(role),
            local_commit: true,
            hosted: Some(Hosted {
                major,
                triggers_off,
            }),
        };
        Session::open(&self.connector, &who, self.limit, deadline).await
    }
}
