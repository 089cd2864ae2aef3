//! Patroni's REST API, as far as it is used: over TLS that is verified, with a deadline and a limit
//! to what is read.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::PatroniEndpoint;
use crate::error::{EngineFailure, ProviderError};

/// Longest time for one request: Patroni answers from memory or from its store.
const LONGEST: Duration = Duration::from_secs(10);

/// Most bytes of an answer that are read.
const MAX_BYTES: usize = 1 << 20;

/// A way to the members of one cluster.
#[derive(Clone)]
pub(super) struct Rest {
    server: String,
    client: Client,
    urls: Vec<Url>,
    username: String,
    password: SecretString,
}

impl Rest {
    pub(super) fn new(
        endpoint: PatroniEndpoint,
        deadline: Duration,
    ) -> Result<Self, ProviderError> {
        let PatroniEndpoint {
            server,
            urls,
            ca_pem,
            username,
            password,
        } = endpoint;
        let invalid = |fact: String| ProviderError::Engine {
            server: server.clone(),
            doing: "preparing its REST API",
            failure: EngineFailure::Invalid,
            fact,
        };
        let parse = |text: &String| match Url::parse(text) {
            Ok(url) if url.scheme() == "https" && url.has_host() => Ok(url),
            Ok(_) => Err(invalid(format!("{text} is no https address"))),
            Err(error) => Err(invalid(format!("{text} is no address: {error}"))),
        };
        let urls = urls.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let roots = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes())
            .map_err(|error| invalid(format!("has no usable CA certificate: {error}")))?;
        if roots.is_empty() {
            return Err(invalid("has no CA certificate".to_owned()));
        }
        // One that takes no connection leaves time for the next, and a request that nobody waits
        // for any more is not sent again by the kernel.
        let limit = deadline.min(LONGEST);
        let members = u32::try_from(urls.len()).unwrap_or(u32::MAX);
        let client = Client::builder()
            .timeout(limit)
            .connect_timeout(limit / members.saturating_add(1))
            .tcp_user_timeout(limit)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_only(roots)
            .build()
            .map_err(|error| invalid(format!("cannot be asked: {error}")))?;
        Ok(Self {
            server,
            client,
            urls,
            username,
            password,
        })
    }

    /// `host:port` of the database, as in messages.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// What `path` says.
    pub(super) async fn get(
        &self,
        doing: &'static str,
        path: &str,
    ) -> Result<Value, ProviderError> {
        let (status, text) = self.send(doing, Method::GET, path, None).await?;
        if matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE
        ) {
            // Patroni is starting, or its store does not answer.
            let fact = format!("knows no cluster, {path} answers {status}");
            return Err(self.error(doing, EngineFailure::Unreachable, fact));
        }
        if status != StatusCode::OK {
            return Err(self.refused(doing, format!("{path} answers {status}")));
        }
        serde_json::from_str(&text)
            .map_err(|_| self.refused(doing, format!("{path} answers what is no JSON")))
    }

    /// Asks for a change, and says how that was answered.
    pub(super) async fn patch(
        &self,
        doing: &'static str,
        path: &str,
        change: &Value,
    ) -> Result<StatusCode, ProviderError> {
        let (status, _) = self.send(doing, Method::PATCH, path, Some(change)).await?;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let fact = format!("answers {status}");
            return Err(self.error(doing, EngineFailure::Denied, fact));
        }
        Ok(status)
    }

    pub(super) fn refused(&self, doing: &'static str, fact: String) -> ProviderError {
        self.error(doing, EngineFailure::Refused, fact)
    }

    pub(super) fn error(
        &self,
        doing: &'static str,
        failure: EngineFailure,
        fact: String,
    ) -> ProviderError {
        ProviderError::Engine {
            server: self.server.clone(),
            doing,
            failure,
            fact,
        }
    }

    /// Looks for a member of whose server `wanted` holds. When there is none, how many answered.
    pub(super) async fn find_member(&self, wanted: impl Fn(&Value) -> bool) -> Result<(), usize> {
        let mut answered = 0;
        for url in &self.urls {
            let mut target = url.clone();
            target.set_path("/patroni");
            let Ok(answer) = self.client.get(target).send().await else {
                continue;
            };
            let Ok((_, text)) = self.read("asking for its state", answer).await else {
                continue;
            };
            answered += 1;
            if serde_json::from_str(&text).is_ok_and(|told| wanted(&told)) {
                return Ok(());
            }
        }
        Err(answered)
    }

    /// Only a member that takes no connection is passed over: one that took the request may have
    /// done it.
    async fn send(
        &self,
        doing: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), ProviderError> {
        let mut unreachable = "has no address".to_owned();
        for url in &self.urls {
            let mut target = url.clone();
            target.set_path(path);
            let mut request = self.client.request(method.clone(), target);
            if let Some(body) = body {
                let password = Some(self.password.expose_secret());
                request = request.basic_auth(&self.username, password).json(body);
            }
            match request.send().await {
                Ok(answer) => return self.read(doing, answer).await,
                Err(error) if error.is_connect() => {
                    let origin = url.origin().ascii_serialization();
                    unreachable = format!("does not answer at {origin}: {}", cause(&error));
                }
                Err(error) => {
                    let fact = format!("gave no answer: {}", cause(&error));
                    return Err(self.error(doing, EngineFailure::Unreachable, fact));
                }
            }
        }
        Err(self.error(doing, EngineFailure::Unreachable, unreachable))
    }

    async fn read(
        &self,
        doing: &'static str,
        mut answer: reqwest::Response,
    ) -> Result<(StatusCode, String), ProviderError> {
        let status = answer.status();
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    let fact = format!("broke off its answer: {}", cause(&error));
                    return Err(self.error(doing, EngineFailure::Unreachable, fact));
                }
            }
            if bytes.len() > MAX_BYTES {
                return Err(self.refused(doing, format!("answers more than {MAX_BYTES} bytes")));
            }
        }
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The innermost cause, which says what happened; without the address, which is told already.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
