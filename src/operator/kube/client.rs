//! The connection to the API server. kube's own defaults retry for minutes and wait without limit;
//! here nothing is retried unseen, and every call has a deadline.

use std::future::Future;
use std::time::Duration;

use kube::{Client, Config};
use thiserror::Error;

use crate::clock::Clock;
use crate::error::{Class, Classify};

/// How long a watch runs until it is renewed, in seconds: what is found out within this time is
/// that the other end is gone.
pub const WATCH_SECONDS: u32 = 60;

/// Longest silence on a connection. Longer than a watch, so that only a dead one meets it.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The client could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account was usable.
    #[error("no way to the API server: set KUBECONFIG or run in a pod with a service account")]
    Config(#[source] kube::config::InferConfigError),
    /// The configuration does not give a client.
    #[error("the configuration gives no client")]
    Client(#[source] kube::Error),
}

/// A call to the API server that failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// No answer within the deadline. Whether it took effect is unknown.
    #[error("the API server gave no answer within {0:?}")]
    TimedOut(Duration),
    /// The API server refused, or could not be reached.
    #[error("{}", describe(.0))]
    Kube(#[source] kube::Error),
}

impl CallError {
    /// Somebody else wrote first (409).
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// There is no such object (404).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// We may not (403).
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// A webhook or a policy that is asked at admission says no. Such a denial may have any code.
    pub fn is_denial(&self) -> bool {
        let words = ["admission webhook", "AdmissionPolicy", "denied the request"];
        self.status()
            .is_some_and(|status| words.iter().any(|words| status.message.contains(words)))
    }

    /// We have no right to such objects. A denial at admission may have the same code (403), and is
    /// about one object; a quota has it, too.
    pub fn lacks_right(&self) -> bool {
        let status = self.status().filter(|_| self.is_forbidden());
        !self.is_denial() && status.is_some_and(|status| status.message.contains(" cannot "))
    }

    /// The API server's answer, when it was one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status),
            Self::Kube(_) | Self::TimedOut(_) => None,
        }
    }

    fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }
}

impl Classify for CallError {
    fn class(&self) -> Class {
        match self.code() {
            Some(409) => Class::Conflict,
            Some(400 | 403 | 404 | 405 | 415 | 422) => Class::Config,
            Some(_) | None => Class::Transient,
        }
    }
}

/// Makes a client from `$KUBECONFIG`, `~/.kube/config` or the pod's service account.
pub async fn connect() -> Result<Client, ConnectError> {
    let config = Config::infer().await.map_err(ConnectError::Config)?;
    from_config(config)
}

/// Makes a client from a configuration, with our deadlines in place of kube's.
pub fn from_config(config: Config) -> Result<Client, ConnectError> {
    patient(config, READ_TIMEOUT)
}

/// As [`from_config`], with another longest silence on a connection.
pub(crate) fn patient(mut config: Config, silence: Duration) -> Result<Client, ConnectError> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(ConnectError::Client)
}

/// Waits for the answer to one call, for at most `limit`.
pub async fn call<T>(
    clock: &Clock,
    limit: Duration,
    future: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match clock.within(limit, future).await {
        Ok(answer) => answer.map_err(CallError::Kube),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
}

/// The API server's own words where there are some, without kube's debug text around them.
fn describe(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return format!("the API server cannot be reached: {error}");
    };
    if status.message.is_empty() {
        format!("the API server answered {} {}", status.code, status.reason)
    } else {
        status.message.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answered(code: u16) -> CallError {
        let status = Status::failure("words", "Reason").with_code(code).boxed();
        CallError::Kube(kube::Error::Api(status))
    }

    /// Faults: 35, 40.
    #[test]
    fn answers_fall_into_their_classes() {
        let classes = [409, 403, 422, 429, 500, 503].map(|code| answered(code).class());
        let (config, transient) = (Class::Config, Class::Transient);
        let expected = [
            Class::Conflict,
            config,
            config,
            transient,
            transient,
            transient,
        ];
        assert_eq!(classes, expected);
        assert_eq!(answered(403).to_string(), "words");
    }

    /// Faults: 36.
    #[tokio::test]
    async fn a_call_without_answer_ends_at_its_deadline() {
        let limit = Duration::from_millis(20);
        let never = std::future::pending::<kube::Result<()>>();
        let error = call(&Clock::default(), limit, never).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut(_)));
        assert_eq!(error.class(), Class::Transient);
    }
}
