//! The way to the tenant's Secret, and what it means when it is barred.

use std::fmt;

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use domicile_core::facts::Epoch;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use tracing::info;

use super::endpoint::Front;
use super::error::{Halt, PlacementError};
use super::place::Place;
use super::progress::{Progress, Stop, Until};
use super::secret::{self, Refusal, Write};
use crate::kube::client::CallError;

/// The way to the tenant's Secret in one cluster.
pub(super) struct Store<'a> {
    pub(super) at: &'a Place<'a>,
    /// The hash that the Secret had, by its own account.
    pub(super) live_hash: Option<&'a str>,
    /// The Service, if there is one.
    pub(super) front: Option<&'a Front>,
}

impl Store<'_> {
    pub(super) async fn write(&self, write: Write, progress: &mut Progress) -> Result<(), Halt> {
        let (ctx, secrets) = (self.at.ctx, self.at.secrets());
        let field_manager = Some(meta::manager::SECRET.to_owned());
        let written = match write {
            Write::Nothing => return Ok(()),
            Write::Create(secret) => {
                info!(secret = self.at.secret(), "Creating the Secret");
                let parameters = PostParams {
                    field_manager,
                    ..PostParams::default()
                };
                ctx.call(secrets.create(&parameters, &secret)).await
            }
            Write::Patch(patch) => {
                info!(secret = self.at.secret(), "Updating the Secret");
                let parameters = PatchParams {
                    field_manager,
                    ..PatchParams::default()
                };
                let name = self.at.tenant.secret_name();
                ctx.call(secrets.patch(&name, &parameters, &Patch::Merge(Unshown(patch))))
                    .await
            }
        };
        written.map_err(|error| secret_call(self.at, "writing", error, progress))?;
        progress.wrote = true;
        Ok(())
    }

    /// Makes the Service lead to the server, if there is one.
    pub(super) async fn turn(&self, progress: &mut Progress) -> Result<(), Halt> {
        match self.front {
            Some(front) => front.turn(self.at, progress).await,
            None => Ok(()),
        }
    }
}

/// Whether a Secret is the placement's own, by the UID that it carries.
pub(super) fn is_of(tenant: &TenantPlacement, live: &Secret) -> bool {
    let owner = live.annotations().get(meta::OWNER_UID);
    owner.is_some_and(|uid| Some(uid) == tenant.metadata.uid.as_ref())
}

/// Whether the Secret in a cluster may be written.
pub(super) fn admit(at: &Place<'_>, epoch: Epoch, live: Option<&Secret>) -> Result<(), Stop> {
    let uid = at.tenant.uid().unwrap_or_default();
    let secret = at.secret();
    let refusal = secret::admit(live, &uid, epoch).err();
    match refusal {
        None => Ok(()),
        Some(Refusal::NotOurs(owner)) => {
            // Never "delete it": it may hold the only password of a database that was retained.
            let owner = owner.map_or_else(
                || "was not made by Domicile".to_owned(),
                |uid| {
                    format!(
                        "belongs to the TenantPlacement with UID {uid} (if that is gone, it left \
                         its database, too, which `spec.adoption.policy: Adopt` takes over)"
                    )
                },
            );
            let message = format!(
                "{secret} exists and {owner}; it was left alone, set another \
                 `spec.connection.secretName`"
            );
            Err(Stop::new(
                Until::Person,
                Reason::SecretOwnedByOther,
                message,
            ))
        }
        Some(Refusal::Newer(newer)) => {
            let message = format!(
                "{secret} was written under epoch {newer}, newer than {epoch}; it was left alone"
            );
            Err(Stop::new(Until::Moved, Reason::StaleEpoch, message))
        }
    }
}

/// A patch that holds secrets and so does not print.
#[derive(Serialize)]
#[serde(transparent)]
struct Unshown(serde_json::Value);

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unshown(..)")
    }
}

/// What a failed call about the Secret means.
pub(super) fn secret_call(
    at: &Place<'_>,
    doing: &str,
    error: CallError,
    progress: &mut Progress,
) -> Halt {
    if error.lacks_right() {
        let stop = at.not_onboarded();
        return progress
            .deny(ConditionType::CredentialsCurrent, stop)
            .into();
    }
    let object = at.secret();
    if error.is_forbidden() {
        let message = format!(
            "{doing} {object} is refused at admission: {error}; change the policy or the quota \
             that keeps it"
        );
        let stop = Stop::new(Until::Person, Reason::ApiServerError, message);
        return progress
            .deny(ConditionType::CredentialsCurrent, stop)
            .into();
    }
    if error.status().is_some_and(|status| status.code == 422) {
        let message = format!(
            "the API server refuses {doing} {object}: {error}; delete it if it is immutable, and \
             it is made anew with a new password"
        );
        let stop = Stop::new(Until::Person, Reason::ApiServerError, message);
        return progress
            .deny(ConditionType::CredentialsCurrent, stop)
            .into();
    }
    PlacementError::call(format!("{doing} {object}"), error).into()
}
