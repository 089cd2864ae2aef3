//! A pass that could not be carried through.

use std::time::Duration;

use thiserror::Error;

use crate::error::{Class, Classify};
use crate::kube::cas::CasError;
use crate::kube::client::CallError;

/// A pass that could not be carried through. It is tried again by its class.
#[derive(Debug, Error)]
pub(super) enum PlacementError {
    /// A call to the API server failed.
    #[error("{doing} failed")]
    Call {
        /// What was being done, and to what.
        doing: String,
        /// What happened.
        source: CallError,
    },
    /// The status was not written.
    #[error(transparent)]
    Status(#[from] CasError),
}

impl PlacementError {
    pub(super) fn call(doing: impl Into<String>, source: CallError) -> Self {
        Self::Call {
            doing: doing.into(),
            source,
        }
    }
}

impl Classify for PlacementError {
    fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => source.class(),
            Self::Status(error) => error.class(),
        }
    }
}

/// How a step of a pass ends it.
#[derive(Debug)]
pub(super) enum Halt {
    /// The status says why.
    Stop(super::progress::Stop),
    /// Too early to say anything: try again after this rest.
    Later(Duration),
    /// The pass is tried again without a word in the status.
    Failed(PlacementError),
}

impl From<super::progress::Stop> for Halt {
    fn from(stop: super::progress::Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<CasError> for Halt {
    fn from(error: CasError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<PlacementError> for Halt {
    fn from(error: PlacementError) -> Self {
        Self::Failed(error)
    }
}
