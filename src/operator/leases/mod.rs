//! Write leases and promises on the API server: `coordination.k8s.io/Lease` objects whose record is
//! one annotation, changed by compare-and-swap alone.

pub mod clusters;
pub mod sightings;
mod wire;

use std::time::Duration;

use domicile_api::meta::{POLICY_LABEL, manager};
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::time::Now;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use thiserror::Error;

use crate::clock::Clock;
use crate::kube::client::{self, CallError};

pub use wire::{Record, WireError};

/// Why a record could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The object is there and holds no record of ours.
    #[error("Lease {name} cannot be understood; look at it, and delete it if nobody needs it")]
    Wire {
        /// Its name.
        name: String,
        /// What is wrong.
        source: WireError,
    },
}

/// The name of the write lease of `policy`.
pub fn write_lease(policy: &str) -> String {
    format!("{policy}-write")
}

/// The name of the promise for `policy`.
pub fn promise(policy: &str) -> String {
    format!("{policy}-promise")
}

/// Leases of one cluster, each call within a deadline.
#[derive(Debug, Clone)]
pub struct Book<'a> {
    /// Where they lie.
    pub api: Api<Lease>,
    /// The clock of the deadline.
    pub clock: &'a Clock,
    /// Longest wait for one answer.
    pub limit: Duration,
}

impl Book<'_> {
    /// The write lease of `policy` with its version; `None` when there is none.
    pub async fn write_lease(
        &self,
        policy: &str,
    ) -> Result<Option<(WriteLease, String)>, ReadError> {
        self.read(&write_lease(policy)).await
    }

    /// The promise for `policy` with its version; `None` when there is none.
    pub async fn promise(&self, policy: &str) -> Result<Option<(Promise, String)>, ReadError> {
        self.read(&promise(policy)).await
    }

    async fn read<R: Record>(&self, name: &str) -> Result<Option<(R, String)>, ReadError> {
        let Some(lease) = client::call(self.clock, self.limit, self.api.get_opt(name)).await?
        else {
            return Ok(None);
        };
        let record = wire::read(&lease).map_err(|source| ReadError::Wire {
            name: name.to_owned(),
            source,
        })?;
        Ok(Some((record, lease.resource_version().unwrap_or_default())))
    }

    /// Writes `record` if the object is still of `version`, or, without one, if there is none.
    /// Answers the new version.
    pub async fn write<R: Record>(
        &self,
        policy: &str,
        record: &R,
        version: Option<&str>,
        owner: Option<OwnerReference>,
    ) -> Result<String, CallError> {
        let name = R::name(policy);
        let now = self.clock.now();
        let lease = match version {
            Some(version) => {
                let patch = Patch::Merge(wire::patch(record, version, now));
                let parameters = PatchParams {
                    field_manager: Some(manager::LEASE.to_owned()),
                    ..PatchParams::default()
                };
                let asked = self.api.patch(&name, &parameters, &patch);
                client::call(self.clock, self.limit, asked).await?
            }
            None => self.create(&name, policy, record, owner, now).await?,
        };
        Ok(lease.resource_version().unwrap_or_default())
    }

    async fn create<R: Record>(
        &self,
        name: &str,
        policy: &str,
        record: &R,
        owner: Option<OwnerReference>,
        now: Now,
    ) -> Result<Lease, CallError> {
        let mut lease = wire::object(record, now);
        lease.metadata.name = Some(name.to_owned());
        lease.metadata.labels = Some([(POLICY_LABEL.to_owned(), policy.to_owned())].into());
        lease.metadata.owner_references = owner.map(|owner| vec![owner]);
        let parameters = PostParams {
            field_manager: Some(manager::LEASE.to_owned()),
            ..PostParams::default()
        };
        client::call(self.clock, self.limit, self.api.create(&parameters, &lease)).await
    }
}
