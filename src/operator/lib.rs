//! The process: controllers, probes, leader election.

pub mod agent;
pub mod clock;
pub mod context;
pub mod controllers;
pub mod crowd;
pub mod error;
pub mod heartbeats;
pub mod holders;
pub mod http;
pub mod kube;
pub mod leases;
pub mod orphans;
pub mod outlines;
pub mod probes;
mod projection;
pub mod rbac;
pub mod run;
pub mod servers;
pub mod service_bindings;
pub mod settings;
pub mod stores;
pub mod tally;
pub mod telemetry;
pub mod turns;
pub mod workloads;

/// The custom resource definitions, as YAML documents.
pub fn crds() -> Result<String, domicile_api::crd::SchemaError> {
    Ok(joined(domicile_api::crd::files()?))
}

/// The definitions of `servicebinding.io`, as YAML documents.
pub fn service_binding_crds() -> Result<String, domicile_api::crd::SchemaError> {
    Ok(joined(domicile_api::service_binding_crd::files()?))
}

fn joined(files: Vec<(String, String)>) -> String {
    let documents: Vec<_> = files.into_iter().map(|(_, text)| text).collect();
    documents.join("---\n")
}
