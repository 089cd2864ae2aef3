//! Status writes by compare-and-swap: what was decided on an older object is refused.

use std::fmt::Debug;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::PostParams;
use kube::core::object::HasStatus;
use serde::Serialize;
use thiserror::Error;

use crate::context::Ctx;
use crate::error::{Class, Classify};
use crate::kube::cache::{Cache, Watched};
use crate::kube::client::CallError;

/// A status that was not written.
#[derive(Debug, Error)]
pub enum CasError {
    /// The object changed since it was read: read again and decide anew.
    #[error("{0} was changed by somebody else first")]
    Lost(String),
    /// The object is gone.
    #[error("{0} no longer exists")]
    Gone(String),
    /// The call failed; whether the write took effect is unknown when it timed out.
    #[error("the status of {object} was not written")]
    Call {
        /// Kind and name.
        object: String,
        /// What happened.
        source: CallError,
    },
    /// The object cannot be put on the wire.
    #[error("the status of {object} cannot be sent")]
    Wire {
        /// Kind and name.
        object: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classify for CasError {
    fn class(&self) -> Class {
        match self {
            Self::Lost(_) | Self::Gone(_) => Class::Conflict,
            Self::Call { source, .. } => source.class(),
            Self::Wire { .. } => Class::Bug,
        }
    }
}

/// Replaces the status of `current` by `next` if the object is still exactly `current`, and
/// answers the object as it is then. Equal statuses cost no call. `cache` shows the new object at
/// once. `manager` is the field manager of the concern (`domicile_api::meta::manager`).
pub async fn write_status<K>(
    ctx: &Ctx,
    cache: &Cache<K>,
    manager: &str,
    current: &Arc<K>,
    next: K::Status,
) -> Result<Arc<K>, CasError>
where
    K: Watched + HasStatus + Serialize,
    K::Status: PartialEq + Debug,
{
    if current.status() == Some(&next) {
        return Ok(Arc::clone(current));
    }
    let object = || format!("{}/{}", K::kind(&()), current.name_any());
    let wire = |source: Box<dyn std::error::Error + Send + Sync>| CasError::Wire {
        object: object(),
        source,
    };
    let mut wanted = K::clone(current);
    *wanted.status_mut() = Some(next);
    wanted.meta_mut().managed_fields = None;
    let body = serde_json::to_vec(&wanted).map_err(|e| wire(Box::new(e)))?;
    let parameters = PostParams {
        field_manager: Some(manager.to_owned()),
        dry_run: false,
    };
    let url = K::url_path(&(), current.namespace().as_deref());
    let request = kube::core::Request::new(url)
        .replace_subresource("status", &current.name_any(), &parameters, body)
        .map_err(|e| wire(Box::new(e)))?;
    match ctx.call(ctx.client.request::<K>(request)).await {
        Ok(written) => {
            let written = Arc::new(written);
            cache.wrote(Arc::clone(&written));
            Ok(written)
        }
        Err(error) if error.is_conflict() => Err(CasError::Lost(object())),
        Err(error) if error.is_not_found() => Err(CasError::Gone(object())),
        Err(source) => Err(CasError::Call {
            object: object(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
