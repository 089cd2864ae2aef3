//! What is to be added to workloads.

use std::collections::BTreeSet;

use domicile_api::service_binding::EnvMapping;
use domicile_core::binding::Names;

/// What is to be added to workloads.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The names of what is added.
    pub(crate) names: Names,
    /// Where the Secret is seen as files.
    pub(crate) mount: Mount,
    /// Entries of the Secret that other texts take the place of.
    pub(crate) entries: Vec<(&'static str, String)>,
    /// The containers that get it; all when absent.
    pub(crate) containers: Option<BTreeSet<String>>,
    /// The variables.
    pub(crate) env: Vec<EnvMapping>,
}

/// Where the Secret is seen as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    /// In this folder of the root of all bindings, which each workload may choose.
    BelowRoot(String),
    /// In this folder.
    At(String),
    /// Nowhere.
    None,
}
