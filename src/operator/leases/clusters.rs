//! The hub's way to the clusters of the regions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domicile_api::reasons::Reason;
use domicile_core::names::RegionName;
use k8s_openapi::api::coordination::v1::Lease;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::context::Ctx;
use crate::error::{Class, Classify};
use crate::kube::client::{ConnectError, from_config};
use crate::servers::OpenError;

/// Clients of the regions' clusters, each with the kubeconfig that it was made from.
#[derive(Default)]
pub struct Clusters {
    made: Mutex<BTreeMap<RegionName, (SecretString, Client)>>,
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters").finish_non_exhaustive()
    }
}

/// Why a region's cluster cannot be asked.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Its Secret cannot be had.
    #[error(transparent)]
    Secret(#[from] OpenError),
    /// Its kubeconfig is none. The parser's words are left out: they may quote it.
    #[error("Region {0}: the Secret of spec.cluster holds no kubeconfig")]
    Malformed(RegionName),
    /// Its kubeconfig would run a program or read a file of this machine.
    #[error(
        "Region {0}: the kubeconfig of spec.cluster must hold its certificates and its token or \
         key itself: no exec, no authProvider, no file"
    )]
    NotSelfContained(RegionName),
    /// It gives no client.
    #[error("Region {region}: the kubeconfig of spec.cluster gives no client")]
    Client {
        /// The region.
        region: RegionName,
        /// What is wrong.
        source: ConnectError,
    },
}

impl ClusterError {
    /// For conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Secret(error) => error.reason,
            Self::Malformed(_) | Self::NotSelfContained(_) | Self::Client { .. } => {
                Reason::ClusterRefused
            }
        }
    }
}

impl Classify for ClusterError {
    fn class(&self) -> Class {
        match self {
            Self::Secret(error) => error.class(),
            Self::Malformed(_) | Self::NotSelfContained(_) | Self::Client { .. } => Class::Config,
        }
    }
}

impl Ctx {
    /// The Leases in the region's own cluster; `None` when it has none.
    pub async fn region_leases(
        &self,
        region: &RegionName,
    ) -> Result<Option<Api<Lease>>, ClusterError> {
        let client = self.region_client(region).await?;
        Ok(client.map(|client| Api::namespaced(client, self.settings.namespace())))
    }

    /// Makes the client of a region's cluster anew the next time: its connections may be dead.
    pub fn forget_region_client(&self, region: &RegionName) {
        let mut made = self
            .clusters
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        made.remove(region);
    }

    /// A client of the region's own cluster; `None` when it has none.
    pub async fn region_client(&self, region: &RegionName) -> Result<Option<Client>, ClusterError> {
        let Some(text) = self.kubeconfig(region).await? else {
            return Ok(None);
        };
        let known = {
            let made = self
                .clusters
                .made
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let same =
                |(of, _): &&(SecretString, Client)| of.expose_secret() == text.expose_secret();
            made.get(region)
                .filter(same)
                .map(|(_, client)| client.clone())
        };
        let client = if let Some(client) = known {
            client
        } else {
            let client = connect(region, &text).await?;
            let mut made = self
                .clusters
                .made
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            made.insert(region.clone(), (text, client.clone()));
            client
        };
        Ok(Some(client))
    }
}

async fn connect(region: &RegionName, text: &SecretString) -> Result<Client, ClusterError> {
    let malformed = || ClusterError::Malformed(region.clone());
    let parsed = Kubeconfig::from_yaml(text.expose_secret()).map_err(|_| malformed())?;
    if !is_self_contained(&parsed) {
        return Err(ClusterError::NotSelfContained(region.clone()));
    }
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(|_| malformed())?;
    from_config(config).map_err(|source| ClusterError::Client {
        region: region.clone(),
        source,
    })
}

/// A Secret must not make the operator run programs or read its own files.
fn is_self_contained(kubeconfig: &Kubeconfig) -> bool {
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|named| named.auth_info.as_ref());
    let mut clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref());
    clusters.all(|cluster| cluster.certificate_authority.is_none())
        && users.into_iter().all(|user| {
            user.exec.is_none()
                && user.auth_provider.is_none()
                && user.token_file.is_none()
                && user.client_certificate.is_none()
                && user.client_key.is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters: [{{name: a, cluster: {{server: 'https://192.0.2.1'}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             users: [{{name: a, user: {{{user}}}}}]\n"
        )
    }

    #[tokio::test]
    async fn a_kubeconfig_that_runs_a_program_or_reads_a_file_is_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let region = RegionName::new("eu");
        let tried = async |user: &str| connect(&region, &kubeconfig(user).into()).await;
        assert!(tried("token: canary").await.is_ok());
        for user in [
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: id}",
            "tokenFile: /etc/passwd",
            "client-key: /etc/passwd",
        ] {
            let error = tried(user).await.err().unwrap();
            assert!(matches!(error, ClusterError::NotSelfContained(_)), "{user}");
        }
    }

    /// Faults: 28.
    #[tokio::test]
    async fn a_malformed_kubeconfig_is_not_quoted() {
        let error = connect(&RegionName::new("eu"), &"canary: [".to_owned().into()).await;
        let error = error.err().unwrap();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
