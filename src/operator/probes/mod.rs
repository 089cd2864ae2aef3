//! Sensors: one loop per database server. Samples stay in memory; only what changed wakes a
//! controller.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use domicile_api::reasons::Reason;
use domicile_core::facts::Facts;
use domicile_core::health::{Probe, ProbeFailure, Verdict};
use domicile_core::names::ServerId;
use domicile_core::replica::{Address, Standing};
use domicile_core::time::Mono;

use crate::error::Class;
use crate::probes::engine::EngineReport;
use crate::servers::OpenError;

pub mod engine;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod plan;
pub(crate) mod replicas;
pub mod sense;

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The latest probe; absent while the server cannot even be tried.
    pub probe: Option<Probe>,
    /// Why it cannot be tried.
    pub unopened: Option<OpenError>,
    /// What is believed of it.
    pub verdict: Verdict,
    /// What the last good probe found, however long ago; [`Facts::sampled`] says when.
    pub facts: Option<Arc<Facts>>,
    /// What the first of the failures in a row with one reason said; absent after a success. The
    /// same as long as the reason is, so that telling it causes no write per probe.
    pub detail: Option<String>,
    /// When the latest probe began.
    pub at: Mono,
}

impl Sample {
    /// Whether the server may be worked on, or why not; nothing while neither is known.
    pub fn workable(&self) -> Option<Result<(), String>> {
        if let Some(unopened) = &self.unopened {
            return Some(Err(unopened.message.clone()));
        }
        // The words of the first failure for this reason: each probe may put it differently, and
        // each change would be a write for every tenant of the server.
        let told = || match &self.probe {
            Some(Probe::Failed(failure, text)) => {
                let text = self.detail.as_ref().unwrap_or(text);
                format!("{}: {text}", failure.reason())
            }
            Some(Probe::Answered(_)) | None => "it has not answered often enough yet".to_owned(),
        };
        match self.verdict {
            Verdict::Unknown => None,
            // Work that is conditional on the server's own row does no harm while in doubt.
            Verdict::Up | Verdict::Failing { .. } | Verdict::Recovering { .. } => Some(Ok(())),
            Verdict::Down | Verdict::Refusing(_) => Some(Err(told())),
        }
    }

    /// True while the API server has kept the probe from its login, so that nothing was tried yet.
    /// A Secret that does not exist is something to tell, and counts as tried.
    pub fn is_kept_waiting(&self) -> bool {
        let unopened = self.unopened.as_ref();
        self.facts.is_none() && unopened.is_some_and(|error| error.class == Class::Transient)
    }
}

/// What is known of all servers.
#[derive(Debug, Default)]
pub struct Samples {
    latest: RwLock<BTreeMap<ServerId, Arc<Sample>>>,
    engines: RwLock<BTreeMap<ServerId, EngineReport>>,
    replicas: RwLock<BTreeMap<(ServerId, Address), Standing>>,
}

impl Samples {
    /// What is known of one server; nothing before its first probe.
    pub fn get(&self, id: &ServerId) -> Option<Arc<Sample>> {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// What is known of all servers.
    pub fn all(&self) -> BTreeMap<ServerId, Arc<Sample>> {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What was found of that which promotes the server; nothing before it was asked, or where SQL
    /// does.
    pub fn engine(&self, id: &ServerId) -> Option<EngineReport> {
        self.engines
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// What is believed of a read replica of the server; nothing before it was looked at.
    pub fn replica(&self, id: &ServerId, address: &Address) -> Option<Standing> {
        self.replicas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(id.clone(), address.clone()))
            .cloned()
    }

    fn put_replica(&self, id: &(ServerId, Address), standing: Standing) {
        let mut replicas = self
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        replicas.insert(id.clone(), standing);
    }

    fn remove_replica(&self, id: &(ServerId, Address)) {
        self.replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn put_engine(&self, id: &ServerId, report: EngineReport) {
        let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
        engines.insert(id.clone(), report);
    }

    fn remove_engine(&self, id: &ServerId) {
        self.engines
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn put(&self, id: &ServerId, sample: Arc<Sample>) {
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        latest.insert(id.clone(), sample);
    }

    fn remove(&self, id: &ServerId) {
        self.latest
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// The reason of the latest probe, if it failed.
pub fn reason(sample: &Sample) -> Option<Reason> {
    match (&sample.unopened, &sample.probe) {
        (Some(unopened), _) => Some(unopened.reason),
        (None, Some(Probe::Failed(failure, _))) => Some(Reason::from(*failure)),
        (None, Some(Probe::Answered(_)) | None) => None,
    }
}

/// What a Region's status tells of a sample; the rest changes all the time.
pub(crate) fn visible(sample: &Sample) -> impl PartialEq + use<> {
    let facts = sample.facts.as_ref().map(|facts| {
        let identity = (facts.system_identifier.clone(), facts.version.clone());
        (
            identity,
            facts.role,
            facts.timeline,
            facts.missing_rights.clone(),
            facts.slow_logins,
        )
    });
    (Coarse::from(sample.verdict), reason(sample), facts)
}

/// A verdict without its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coarse {
    Unknown,
    Up,
    Failing,
    Down,
    Recovering,
    Refusing(ProbeFailure),
}

impl From<Verdict> for Coarse {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unknown => Self::Unknown,
            Verdict::Up => Self::Up,
            Verdict::Failing { .. } => Self::Failing,
            Verdict::Down => Self::Down,
            Verdict::Recovering { .. } => Self::Recovering,
            Verdict::Refusing(failure) => Self::Refusing(failure),
        }
    }
}
