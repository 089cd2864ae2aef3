//! The kubeconfigs of an agent. What one leads to is followed while the agent runs: an expired
//! token would have it take the hub for lost, and an agent that began anew would have forgotten
//! what it is pledged to, as would its other replicas, which are given the same files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use thiserror::Error;
use tracing::{info, warn};

use crate::context::Ctx;
use crate::controllers::chain;
use crate::kube::client::{self, ConnectError};
use crate::kube::way::Way;

/// A kubeconfig that gives no client.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read, or is none.
    #[error("{path} is no usable kubeconfig")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: kube::config::KubeconfigError,
    },
    /// It gives no client.
    #[error("{path} gives no client")]
    Client {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConnectError,
    },
}

/// How often the kubeconfigs are read again.
const REREAD: Duration = Duration::from_secs(10);

/// A kubeconfig, what it held, and the way that leads where it says.
#[derive(Debug)]
struct Followed {
    path: PathBuf,
    text: Option<Vec<u8>>,
    way: Way,
}

/// All that an agent was given.
#[derive(Debug, Default)]
pub(super) struct Files {
    followed: Vec<Followed>,
}

impl Files {
    /// A client of the cluster that the file leads to, also once that has changed.
    pub(super) async fn open(&mut self, path: &PathBuf) -> Result<Client, FileError> {
        // Before the client is made: a change in between is found later.
        let text = std::fs::read(path).ok();
        let way = Way::new(from_file(path).await?);
        let client = way.client();
        let path = path.clone();
        self.followed.push(Followed { path, text, way });
        Ok(client)
    }

    /// Reads them again and again until the process ends.
    pub(super) async fn follow(mut self, ctx: Arc<Ctx>) {
        loop {
            ctx.clock.sleep(REREAD).await;
            self.reread().await;
        }
    }

    async fn reread(&mut self) {
        for file in &mut self.followed {
            let Ok(now) = std::fs::read(&file.path) else {
                continue;
            };
            if file.text.as_ref() == Some(&now) {
                continue;
            }
            file.text = Some(now);
            let path = file.path.display();
            match from_file(&file.path).await {
                Ok(client) => {
                    info!(%path, "The kubeconfig has changed: going on with the new one");
                    file.way.lead(client);
                }
                Err(error) => {
                    let error = chain(&error);
                    warn!(%path, error, "The kubeconfig has changed: going on with the old one");
                }
            }
        }
    }
}

async fn from_file(path: &PathBuf) -> Result<Client, FileError> {
    let unusable = |source| FileError::Kubeconfig {
        path: path.clone(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let config = config.await.map_err(unusable)?;
    client::from_config(config).map_err(|source| FileError::Client {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;

    /// An API server that says of itself which one it is.
    async fn server(name: &'static str) -> String {
        let version = format!(
            r#"{{"major":"1","minor":"36","gitVersion":"{name}","gitCommit":"","gitTreeState":"",
                "buildDate":"","goVersion":"","compiler":"","platform":""}}"#
        );
        let routes = Router::new().route("/version", get(move || async { version }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             users: [{{name: a, user: {{}}}}]\n"
        )
    }

    async fn reached(client: &Client) -> String {
        client.apiserver_version().await.unwrap().git_version
    }

    #[tokio::test]
    async fn a_changed_kubeconfig_is_followed_by_the_agent_that_remembers_its_pledge() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (old, new) = (server("old").await, server("new").await);
        let name = format!("domicile-files-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &old).unwrap();
        let mut files = Files::default();
        let client = files.open(&path).await.unwrap();
        assert_eq!(reached(&client).await, "old");
        // Nothing ends, and what cannot be used changes nothing.
        std::fs::write(&path, "clusters: [").unwrap();
        files.reread().await;
        assert_eq!(reached(&client).await, "old");
        std::fs::remove_file(&path).unwrap();
        files.reread().await;
        assert_eq!(reached(&client).await, "old");
        std::fs::write(&path, &new).unwrap();
        files.reread().await;
        assert_eq!(reached(&client).await, "new");
        std::fs::remove_file(&path).unwrap();
    }
}
