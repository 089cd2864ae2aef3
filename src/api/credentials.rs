//! A tenant's credentials: when they change, and which are published.

use domicile_core::names::Slot;
use domicile_core::rotation::{Credentials, Wish};
use jiff::Timestamp;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta;
use crate::placement::TenantPlacement;
use crate::schema::{self, rules};
use crate::words::words;

/// Most characters of a request for a rotation that count.
const MAX_REQUEST: usize = 64;

/// How the tenant's credentials change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.passwordSecretRef) || !has(self.rotation) || !has(self.rotation.intervalDays)",
    "`rotation.intervalDays` must not be set beside `passwordSecretRef`: the password changes when \
     that Secret does",
)])))]
pub struct CredentialsSpec {
    /// `rotation` says when new logins are published and for how long those before stay open.
    pub rotation: RotationSpec,
    /// `passwordSecretRef` names a Secret of the placement's namespace that holds the password of
    /// the login that writes (of the one that reads, where there is no other). When it changes,
    /// the other login is published with it. Passwords are made when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordSecretRef>,
}

/// A password in a Secret of the placement's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretRef {
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `key` within the Secret.
    #[serde(default = "default_password_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub key: String,
}

fn default_password_key() -> String {
    "password".to_owned()
}

/// When logins change places. Two alternate, so that no client meets one that does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RotationSpec {
    /// `intervalDays` are the days from one rotation to the next; when absent, logins change only
    /// when the annotation `domicile.dev/rotate-at` gets a new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub interval_days: Option<i32>,
    /// `overlapSeconds` is the longest time for which the logins before stay open. They are closed
    /// earlier when every selected workload has taken up the new ones and no session uses them.
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: i32,
}

impl Default for RotationSpec {
    fn default() -> Self {
        Self {
            interval_days: None,
            overlap_seconds: 86_400,
        }
    }
}

/// Which logins are published, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// `generation` grows with each new password.
    #[schemars(range(min = 0, max = schema::MAX_EXACT))]
    pub generation: i64,
    /// `activeRole` is the one of the two alternating logins that the Secret carries.
    pub active_role: RoleSlot,
    /// `lastRotated` is when these logins took the place of others, or were made; absent for those
    /// of an older version of Domicile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_rotated: Option<Timestamp>,
    /// `nextRotation` is when others take their place by the calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_rotation: Option<Timestamp>,
    /// `retiringRole` is the login before, while it is still open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RoleSlot")]
    pub retiring_role: Option<RoleSlot>,
    /// `answeredRequest` is the last value of the annotation `domicile.dev/rotate-at` that was
    /// answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = schema::TEXT))]
    pub answered_request: Option<String>,
}

words! {
    /// One of the two alternating logins.
    RoleSlot = Slot {
        /// The login whose name ends in `_a`.
        A,
        /// The login whose name ends in `_b`.
        B,
    }
}

impl TenantPlacement {
    /// What the user wants of the credentials.
    pub fn rotation(&self) -> Wish {
        let RotationSpec {
            interval_days,
            overlap_seconds,
        } = self.spec.credentials.rotation;
        Wish {
            interval_days: interval_days.and_then(|days| u32::try_from(days).ok()),
            overlap_seconds: u32::try_from(overlap_seconds).unwrap_or(0),
            request: self.rotation_request(),
        }
    }

    /// What is recorded of the credentials. Of logins whose age is not known, the placement's own
    /// age is taken.
    pub fn credentials(&self) -> Option<Credentials> {
        let known = self.status.as_ref()?.credentials.as_ref()?;
        let created = self.creation_timestamp().map(|time| time.0);
        Some(Credentials {
            since: known.last_rotated.or(created).unwrap_or_default(),
            retiring: known
                .retiring_role
                .filter(|role| *role != known.active_role)
                .map(Slot::from),
            answered: known.answered_request.clone(),
        })
    }

    /// The slot that is published by what is recorded.
    pub fn active_slot(&self) -> Slot {
        let known = self.status.as_ref().and_then(|s| s.credentials.as_ref());
        known.map_or(Slot::A, |known| known.active_role.into())
    }

    /// The present request for a rotation, as far as it counts.
    pub fn rotation_request(&self) -> Option<String> {
        let text = self.annotations().get(meta::ROTATE_AT)?;
        let kept = text.chars().filter(|c| !c.is_control()).take(MAX_REQUEST);
        Some(kept.collect())
    }
}
