//! A pass that could not be carried through.

use thiserror::Error;

use crate::error::{Class, Classify};
use crate::kube::cas::CasError;
use crate::kube::client::CallError;

/// A pass that could not be carried through. It is tried again by its class.
#[derive(Debug, Error)]
pub(super) enum BindingError {
    /// A call to the API server failed.
    #[error("{doing} failed")]
    Call {
        /// What was being done, and to what.
        doing: String,
        /// What happened.
        source: CallError,
    },
    /// An object changed while it was written.
    #[error("{0}: it was changed by somebody else first")]
    Again(String),
    /// A workload that carries the binding is not let go of it.
    #[error("taking the binding back is refused: {0}")]
    Refused(String),
    /// The status was not written.
    #[error(transparent)]
    Status(#[from] CasError),
}

impl BindingError {
    pub(super) fn call(doing: impl Into<String>, source: CallError) -> Self {
        Self::Call {
            doing: doing.into(),
            source,
        }
    }
}

impl Classify for BindingError {
    fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => source.class(),
            Self::Again(_) => Class::Conflict,
            Self::Refused(_) => Class::Config,
            Self::Status(error) => error.class(),
        }
    }
}
