//! What kind of lab it is: the databases, what runs them, and how they replicate.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::postgres::{Binaries, Settings};
use crate::regions::RegionOptions;
use crate::tools::Patroni;

/// Which PostgreSQL the regions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Postgres {
    /// The system's own, 15 or newer.
    System,
    /// 18.4.
    V18,
}

/// What starts the regions' servers and keeps them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The lab.
    Plain,
    /// Patroni, one cluster and one etcd a region. The regions replicate asynchronously: Patroni
    /// knows of no synchronous standby outside its cluster.
    Patroni,
}

/// What kind of lab it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The databases' version.
    pub postgres: Postgres,
    /// Whether the primary of the EU waits for its standby. Not with [`Engine::Patroni`].
    pub synchronous: bool,
    /// What runs the databases.
    pub engine: Engine,
}

impl Setup {
    /// Finds or installs the databases' programs.
    pub(crate) fn regions(
        self,
        cache: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<RegionOptions> {
        let binaries = match self.postgres {
            Postgres::System => Binaries::system()?,
            Postgres::V18 => Binaries::v18(cache)?,
        };
        if self.synchronous && self.engine == Engine::Patroni {
            let why = "under Patroni the regions replicate asynchronously: use --async";
            return Err(LabError::State(why.to_owned()));
        }
        progress(&format!("PostgreSQL {}", binaries.version()));
        let patroni = match self.engine {
            Engine::Plain => None,
            Engine::Patroni => Some(Patroni::ensure(cache, progress)?),
        };
        Ok(RegionOptions {
            binaries,
            synchronous: self.synchronous,
            settings: Settings::default(),
            patroni,
        })
    }
}

impl std::fmt::Display for Setup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let postgres = match self.postgres {
            Postgres::System => "the system's PostgreSQL",
            Postgres::V18 => "PostgreSQL 18",
        };
        let replication = if self.synchronous {
            "synchronous"
        } else {
            "asynchronous"
        };
        let engine = match self.engine {
            Engine::Plain => "",
            Engine::Patroni => " under Patroni",
        };
        write!(
            formatter,
            "{postgres}{engine} and {replication} replication"
        )
    }
}
