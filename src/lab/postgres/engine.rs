//! What starts a server and keeps it up.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::binaries::link_tree;
use super::files::is_open;
use super::place::server_uid;
use crate::error::Result;
use crate::tools::Patroni;

/// The port of Patroni's REST API, on the server's address.
pub const REST_PORT: u16 = 8008;
pub(crate) const ETCD_CLIENT: u16 = 2379;
pub(crate) const ETCD_PEER: u16 = 2380;

/// What starts a server and keeps it up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Nothing: the lab starts it, and whoever promotes it does so by SQL.
    #[default]
    Plain,
    /// Patroni, with an etcd of its own beside each server: a cluster of one member.
    Patroni {
        /// The Python that runs it.
        python: PathBuf,
        /// The folder of its packages, open to the servers' user.
        packages: PathBuf,
        /// The program of etcd.
        etcd: PathBuf,
    },
}

impl Engine {
    /// The ports that it takes at the server's address beside the server's own.
    pub(crate) fn ports(&self) -> &'static [u16] {
        match self {
            Self::Plain => &[],
            Self::Patroni { .. } => &[REST_PORT, ETCD_CLIENT, ETCD_PEER],
        }
    }

    /// Patroni, with its packages where the servers' user can read them: here, or linked into
    /// `folder`.
    pub fn patroni(patroni: &Patroni, folder: &Path) -> Result<Self> {
        let Patroni {
            python,
            packages,
            etcd,
        } = patroni.clone();
        let closed = server_uid().is_some() && !packages.ancestors().all(is_open);
        let packages = if closed {
            link_tree(&packages, &folder.join("patroni"))?
        } else {
            packages
        };
        Ok(Self::Patroni {
            python,
            packages,
            etcd,
        })
    }
}
