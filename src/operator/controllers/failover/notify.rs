//! One message per edge of a failover, to the receivers that the policy names.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::policy::{FailoverPolicy, NotificationType, WebhookSecretRef};
use domicile_core::failover::{Decision, Observation, State, Stored};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::context::Ctx;

/// Most messages that wait; one that does not fit is dropped and logged.
const QUEUE: usize = 256;
const ATTEMPTS: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) type Sender = mpsc::Sender<Message>;
pub(super) type Receiver = mpsc::Receiver<Message>;

/// What a receiver is told. `text` alone is what a Slack webhook shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notice {
    /// For people.
    text: String,
    policy: String,
    state: String,
    previous_state: String,
    epoch: i64,
    active_region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    reason: String,
    message: String,
    time: String,
}

/// A notice on its way to one receiver.
#[derive(Debug)]
pub(super) struct Message {
    receiver: WebhookSecretRef,
    notice: Notice,
}

pub(super) fn channel() -> (Sender, Receiver) {
    mpsc::channel(QUEUE)
}

/// The notice of a change of state, when it is an edge: an outage and its end, a move and its end,
/// and whatever waits for a person. The steps in between are told by events.
pub(super) fn notice(seen: &Observation, next: &Stored, decision: &Decision) -> Option<Notice> {
    let before = &seen.stored;
    let edge = match next.state {
        State::Outage
        | State::Blocked
        | State::AwaitingApproval
        | State::Draining
        | State::Aborting
        | State::Halted => true,
        State::Fencing => before.state != State::Draining,
        State::Steady => before.state != State::Suspect,
        State::Suspect
        | State::CatchingUp
        | State::Promoting
        | State::Rerouting
        | State::Verifying => false,
    };
    let journal = next.journal.as_ref().or(before.journal.as_ref());
    let policy = &seen.settings.name;
    edge.then(|| Notice {
        text: format!("[{policy}] {}: {}", next.state, decision.message),
        policy: policy.clone(),
        state: next.state.to_string(),
        previous_state: before.state.to_string(),
        epoch: next.epoch.0,
        active_region: next.active.to_string(),
        operation: journal.map(|journal| journal.operation.clone()),
        reason: decision.reason.to_owned(),
        message: decision.message.clone(),
        time: seen.now.wall.to_string(),
    })
}

/// Hands the notice over for each receiver of the policy. Never waits.
pub(super) fn send(sender: &Sender, policy: &FailoverPolicy, notice: &Notice) {
    for notification in &policy.spec.notifications {
        let NotificationType::Webhook = notification.type_;
        let message = Message {
            receiver: notification.secret_ref.clone(),
            notice: notice.clone(),
        };
        if sender.try_send(message).is_err() {
            warn!(
                policy = policy.name_any(),
                "Dropping a notification: too many wait"
            );
        }
    }
}

/// Sends what was handed over until the process ends.
pub(super) async fn deliver(ctx: Arc<Ctx>, mut receiver: Receiver) {
    let client = match client() {
        Ok(client) => client,
        Err(error) => {
            // Nothing waits for a notification: the machine goes on, and this is in the log.
            error!(%error, "Notifications cannot be sent");
            return;
        }
    };
    while let Some(message) = receiver.recv().await {
        for attempt in 1..=ATTEMPTS {
            match post(&ctx, &client, &message).await {
                Ok(()) => {
                    info!(
                        policy = message.notice.policy,
                        state = message.notice.state,
                        "Notified"
                    );
                    break;
                }
                Err(error) => {
                    warn!(
                        policy = message.notice.policy,
                        attempt, error, "Not notified"
                    );
                    ctx.clock.sleep(Duration::from_secs(1) * attempt).await;
                }
            }
        }
    }
}

/// The image holds no certificates of its own, so the public roots come with the program.
fn client() -> reqwest::Result<reqwest::Client> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let roots = roots
        .map(|root| reqwest::Certificate::from_der(root))
        .collect::<Result<Vec<_>, _>>()?;
    reqwest::Client::builder()
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(roots)
        .build()
}

/// The address is a secret: it never reaches an error.
async fn post(ctx: &Ctx, client: &reqwest::Client, message: &Message) -> Result<(), String> {
    let url = address(ctx, &message.receiver).await?;
    let request = client.post(url.expose_secret()).json(&message.notice);
    let answer = request
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the receiver answered {status}"))
    }
}

async fn address(ctx: &Ctx, receiver: &WebhookSecretRef) -> Result<SecretString, String> {
    let namespace = receiver
        .namespace
        .as_deref()
        .unwrap_or_else(|| ctx.settings.namespace());
    let named = || format!("Secret {namespace}/{}", receiver.name);
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let found = ctx.call(api.get_opt(&receiver.name)).await;
    let secret = found
        .map_err(|error| format!("{} cannot be read: {error}", named()))?
        .ok_or_else(|| format!("{} does not exist", named()))?;
    let value = secret.data.and_then(|mut data| data.remove(&receiver.key));
    let value = value.ok_or_else(|| format!("{} lacks the key {}", named(), receiver.key))?;
    let text = String::from_utf8(value.0).map_err(|_| format!("{} holds no text", named()))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_client_needs_no_file_of_the_image() {
        // As `main` does, before anything speaks TLS; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert!(super::client().is_ok());
    }
}
