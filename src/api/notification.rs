//! Messages that leave the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A message that leaves the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// `type` of the receiver.
    #[serde(rename = "type")]
    pub type_: NotificationType,
    /// `secretRef` names the Secret that holds the receiver's address.
    pub secret_ref: WebhookSecretRef,
}

/// A type of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotificationType {
    /// An HTTP POST with a JSON body.
    Webhook,
}

/// An address in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSecretRef {
    /// `namespace` of the Secret; the operator's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: Option<String>,
    /// `name` of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// `key` within the Secret.
    #[serde(default = "default_url_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub key: String,
}

fn default_url_key() -> String {
    "url".to_owned()
}
