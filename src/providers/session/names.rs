//! The name that a server's certificate must carry: that of its address, or another one that
//! clients use.

use std::time::Duration;

use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Connector, Identity, translate};
use crate::error::{LOGGING_IN, ProviderError};

/// TLS whose certificate is verified for `name` where there is one, else for the address.
#[derive(Clone)]
pub(super) struct Tls {
    inner: MakeRustlsConnect,
    name: Option<String>,
}

impl Tls {
    pub(super) fn new(inner: MakeRustlsConnect) -> Self {
        Self { inner, name: None }
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    MakeRustlsConnect: MakeTlsConnect<S>,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let Self { inner, name } = self;
        inner.make_tls_connect(name.as_deref().unwrap_or(domain))
    }
}

impl Connector {
    /// The same server, whose certificate must carry this name instead of that of its address.
    pub(crate) fn named(&self, name: &str) -> Self {
        let Self {
            name: server,
            host,
            port,
            tls,
        } = self;
        Self {
            name: server.clone(),
            host: host.clone(),
            port: *port,
            tls: Tls {
                inner: tls.inner.clone(),
                name: Some(name.to_owned()),
            },
        }
    }

    /// Logs in. Answers what the certificate carries where it lacks the name.
    pub(crate) async fn lacks_name(
        &self,
        who: &Identity<'_>,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Option<String>, ProviderError> {
        let config = self.config(who, limit);
        let connecting = Box::pin(config.connect(self.tls.clone()));
        match timeout_at(deadline, connecting).await {
            Err(_) => Err(ProviderError::TimedOut {
                server: self.name.clone(),
                doing: LOGGING_IN,
                after: limit,
            }),
            // Dropped with its connection: the server sees the end of the socket.
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error)) => match other_name(&error) {
                Some(fact) => Ok(Some(fact)),
                None => Err(translate(self.name.clone(), LOGGING_IN, &error)),
            },
        }
    }
}

/// What a certificate carries that was refused for its name, and for nothing else.
fn other_name(error: &tokio_postgres::Error) -> Option<String> {
    let io = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    let inner = io.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(fact) = inner else {
        return None;
    };
    let of_name = matches!(fact, NotValidForName | NotValidForNameContext { .. });
    of_name.then(|| fact.to_string())
}
