//! The process: controllers, probes, leader election.

pub mod agent;
pub mod clock;
pub mod context;
pub mod controllers;
pub mod error;
pub mod heartbeats;
pub mod holders;
pub mod http;
pub mod kube;
pub mod leases;
pub mod probes;
pub mod rbac;
pub mod run;
pub mod servers;
pub mod settings;
pub mod stores;
pub mod telemetry;

/// The custom resource definitions, as YAML documents.
pub fn crds() -> Result<String, domicile_api::crd::SchemaError> {
    let files = domicile_api::crd::files()?;
    let documents: Vec<_> = files.into_iter().map(|(_, text)| text).collect();
    Ok(documents.join("---\n"))
}
