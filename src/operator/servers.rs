//! The way to a database server: its entry in the Region, and its Secrets, by name.

mod engine;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domicile_api::reasons::Reason;
use domicile_api::region::{DatabaseServer, Region};
use domicile_core::names::{RegionName, ServerId};
use domicile_core::time::Mono;
use domicile_providers::{Endpoint, Generic, ProviderError};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use thiserror::Error;

use crate::context::Ctx;
use crate::error::{Class, Classify};
use crate::kube::client::{self, CallError};
use crate::probes::plan::identifiers;

pub(crate) use engine::patroni;

/// How long a Secret is believed, in milliseconds. A refused login ends it at once.
const FRESH_MS: u64 = 60_000;
/// Longest wait for a newer version of a Secret that is known: a probe waits for it.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// Most Secrets that are kept.
const LIMIT: usize = 4096;

/// Why a server cannot even be tried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct OpenError {
    /// For conditions.
    pub reason: Reason,
    /// For people: object, fact, next step. No secret.
    pub message: String,
    /// What may help.
    pub class: Class,
}

impl Classify for OpenError {
    fn class(&self) -> Class {
        self.class
    }
}

/// Secrets as last fetched.
#[derive(Debug, Default)]
pub struct Servers {
    secrets: Mutex<BTreeMap<SecretKey, Fetched>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SecretKey {
    namespace: String,
    name: String,
}

#[derive(Debug, Clone)]
struct Fetched {
    at: Mono,
    values: BTreeMap<String, SecretSlice<u8>>,
}

impl Ctx {
    /// A way to the server `id`, each of whose calls ends within `deadline`.
    pub async fn open(&self, id: &ServerId, deadline: Duration) -> Result<Generic, OpenError> {
        let region = self.stores.regions.get(id.region.as_str());
        let region = region.ok_or_else(|| region_not_found(id))?;
        self.open_in(&region, id, deadline).await
    }

    /// The same, by the Region as the caller read it.
    pub async fn open_in(
        &self,
        region: &Region,
        id: &ServerId,
        deadline: Duration,
    ) -> Result<Generic, OpenError> {
        let endpoint = self.endpoint_in(region, id).await?;
        Generic::new(endpoint, deadline).map_err(|error| unopened(id, &error))
    }

    /// Where the server `id` listens, what it is trusted by, the operator's own login, and which
    /// server is recorded: an address that was changed a moment ago may lead to another one, and no
    /// probe has told yet.
    pub async fn endpoint(&self, id: &ServerId) -> Result<Endpoint, OpenError> {
        let region = self.stores.regions.get(id.region.as_str());
        let region = region.ok_or_else(|| region_not_found(id))?;
        self.endpoint_in(&region, id).await
    }

    async fn endpoint_in(&self, region: &Region, id: &ServerId) -> Result<Endpoint, OpenError> {
        let server = entry(region, id)?;
        let of = format!("Server {id}");
        let ca = &server.tls.ca_secret_ref;
        let ca_key = self.key(ca.namespace.as_deref(), &ca.name);
        let login = &server.admin_secret_ref;
        let login_key = self.key(login.namespace.as_deref(), &login.name);
        let ca_secret = self.secret(&of, &ca_key).await?;
        let login_secret = self.secret(&of, &login_key).await?;
        Ok(Endpoint {
            host: server.host.clone(),
            port: u16::try_from(server.port).map_err(|_| port_invalid(id, server.port))?,
            ca_pem: text(&of, &ca_key, &ca_secret, &ca.key)?
                .expose_secret()
                .to_owned(),
            username: text(&of, &login_key, &login_secret, "username")?
                .expose_secret()
                .to_owned(),
            password: text(&of, &login_key, &login_secret, "password")?,
            identifiers: identifiers(region, &id.server),
        })
    }

    /// The kubeconfig of the region's own cluster; `None` when it has none.
    pub async fn kubeconfig(&self, name: &RegionName) -> Result<Option<SecretString>, OpenError> {
        let region = self.stores.regions.get(name.as_str());
        let of = format!("Region {name}");
        let reference = region
            .as_ref()
            .and_then(|region| region.spec.cluster.as_ref());
        let Some(cluster) = reference else {
            return Ok(None);
        };
        let reference = &cluster.kubeconfig_secret_ref;
        let key = self.key(reference.namespace.as_deref(), &reference.name);
        let secret = self.secret(&of, &key).await?;
        text(&of, &key, &secret, &reference.key).map(Some)
    }

    /// Fetches the login of the server `id` anew the next time: the server refused it.
    pub fn forget_login(&self, id: &ServerId) {
        let Some(region) = self.stores.regions.get(id.region.as_str()) else {
            return;
        };
        let Ok(server) = entry(&region, id) else {
            return;
        };
        let login = &server.admin_secret_ref;
        let ca = &server.tls.ca_secret_ref;
        let mut secrets = self
            .servers
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (namespace, name) in [(&login.namespace, &login.name), (&ca.namespace, &ca.name)] {
            secrets.remove(&self.key(namespace.as_deref(), name));
        }
    }

    fn key(&self, namespace: Option<&str>, name: &str) -> SecretKey {
        let namespace = namespace
            .unwrap_or_else(|| self.settings.namespace())
            .to_owned();
        SecretKey {
            namespace,
            name: name.to_owned(),
        }
    }

    /// The Secret, from memory while it is fresh, and also when the API server cannot be asked:
    /// probes go on without it.
    async fn secret(&self, of: &str, key: &SecretKey) -> Result<Fetched, OpenError> {
        let known = self.servers.known(key);
        let now = self.clock.mono();
        if let Some(fetched) = &known
            && now.since(fetched.at) < FRESH_MS
        {
            return Ok(fetched.clone());
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let asked = api.get_opt(&key.name);
        let answer = match &known {
            Some(_) => client::call(&self.clock, REFRESH_LIMIT, asked).await,
            None => self.call(asked).await,
        };
        let fetched = match answer {
            Ok(Some(secret)) => Fetched {
                at: now,
                values: values(secret),
            },
            Ok(None) => {
                self.servers.remove(key);
                return Err(secret_not_found(of, key));
            }
            Err(error) => match known {
                Some(known) if error.class() == Class::Transient => Fetched { at: now, ..known },
                Some(_) | None => {
                    let home = self.settings.namespace();
                    return Err(secret_unreadable(of, key, &error, home));
                }
            },
        };
        self.servers.keep(key, &fetched);
        Ok(fetched)
    }
}

impl Servers {
    fn known(&self, key: &SecretKey) -> Option<Fetched> {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn remove(&self, key: &SecretKey) {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn keep(&self, key: &SecretKey, fetched: &Fetched) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if secrets.len() >= LIMIT && !secrets.contains_key(key) {
            secrets.clear();
        }
        secrets.insert(key.clone(), fetched.clone());
    }
}

fn values(secret: Secret) -> BTreeMap<String, SecretSlice<u8>> {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        .map(|(key, value)| (key, SecretSlice::from(value.0)))
        .collect()
}

fn unopened(id: &ServerId, error: &ProviderError) -> OpenError {
    OpenError {
        reason: Reason::parse(error.reason()).unwrap_or(Reason::SecretInvalid),
        class: error.class(),
        message: format!("Server {id}: {error}"),
    }
}

pub(crate) fn entry<'a>(
    region: &'a Region,
    id: &ServerId,
) -> Result<&'a DatabaseServer, OpenError> {
    let mut servers = region.spec.database_servers.iter();
    servers.find(|server| server.name == id.server).ok_or_else(|| OpenError {
        reason: Reason::ServerNotFound,
        message: format!(
            "Region {} has no database server {}: add it to spec.databaseServers or correct the \
             reference",
            id.region, id.server
        ),
        class: Class::Config,
    })
}

fn text(
    of: &str,
    secret: &SecretKey,
    fetched: &Fetched,
    key: &str,
) -> Result<SecretString, OpenError> {
    let invalid = |fact: &str| OpenError {
        reason: Reason::SecretInvalid,
        message: format!(
            "{of}: Secret {}/{} {fact}: correct its key {key}",
            secret.namespace, secret.name
        ),
        class: Class::Config,
    };
    let value = fetched
        .values
        .get(key)
        .ok_or_else(|| invalid("lacks a key"))?
        .expose_secret();
    let value = std::str::from_utf8(value).map_err(|_| invalid("holds what is no text"))?;
    if value.is_empty() {
        return Err(invalid("holds an empty value"));
    }
    Ok(SecretString::from(value))
}

fn region_not_found(id: &ServerId) -> OpenError {
    OpenError {
        reason: Reason::RegionNotFound,
        message: format!(
            "There is no Region {}: create it or correct the reference",
            id.region
        ),
        class: Class::Config,
    }
}

fn port_invalid(id: &ServerId, port: i32) -> OpenError {
    OpenError {
        reason: Reason::ServerNotFound,
        message: format!("Server {id}: {port} is not a TCP port: correct spec.databaseServers"),
        class: Class::Config,
    }
}

fn secret_not_found(of: &str, key: &SecretKey) -> OpenError {
    OpenError {
        reason: Reason::SecretNotFound,
        message: format!(
            "{of}: there is no Secret {}/{}: create it or correct the reference",
            key.namespace, key.name
        ),
        class: Class::Config,
    }
}

/// `home` is the operator's own namespace, the only one in which the chart lets it read these.
fn secret_unreadable(of: &str, key: &SecretKey, error: &CallError, home: &str) -> OpenError {
    let next = match (error.is_forbidden(), key.namespace == home) {
        (true, true) => format!(
            ": list {} in the chart's value `secretNames`, of an agent in its entry of `agents`",
            key.name
        ),
        (true, false) => format!(
            ": the chart lets Domicile read such Secrets in {home} alone: put it there, list it \
             in the value `secretNames`, and correct the reference"
        ),
        (false, _) => String::new(),
    };
    OpenError {
        reason: Reason::ApiServerError,
        message: format!(
            "{of}: Secret {}/{} cannot be read: {error}{next}",
            key.namespace, key.name
        ),
        class: error.class(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(key: &str, value: &[u8]) -> Fetched {
        let value = SecretSlice::from(value.to_vec());
        Fetched {
            at: Mono(0),
            values: BTreeMap::from([(key.to_owned(), value)]),
        }
    }

    #[test]
    fn a_secret_that_may_not_be_read_names_the_value_that_lets_it() {
        let refused = |namespace: &str, code: u16| {
            let key = SecretKey {
                namespace: namespace.to_owned(),
                name: "eu-west-cluster".to_owned(),
            };
            let status = kube::core::Status::failure("words", "Reason").with_code(code);
            let error = CallError::Kube(kube::Error::Api(status.boxed()));
            secret_unreadable("Region eu-west", &key, &error, "home").message
        };
        let here = refused("home", 403);
        assert!(here.contains("list eu-west-cluster in the chart's value `secretNames`"));
        let elsewhere = refused("other", 403);
        assert!(
            elsewhere.contains("in home alone: put it there"),
            "{elsewhere}"
        );
        assert!(!refused("home", 500).contains("secretNames"));
    }

    /// Faults: 28.
    #[test]
    fn a_bad_secret_is_named_and_its_content_is_not() {
        let of = "Server eu/main";
        let key = SecretKey {
            namespace: "ns".to_owned(),
            name: "admin".to_owned(),
        };
        for (name, value) in [
            ("other", b"canary".as_slice()),
            ("password", b"can\xffary"),
            ("password", b""),
        ] {
            let secret = fetched(name, value);
            let error = text(of, &key, &secret, "password").unwrap_err();
            assert_eq!(error.reason, Reason::SecretInvalid);
            let shown = format!("{error} {error:?} {secret:?}");
            assert!(shown.contains("ns/admin"), "{shown}");
            assert!(
                !shown.contains("can") && !shown.contains("99, 97"),
                "{shown}"
            );
        }
    }
}
