//! Events (`events.k8s.io/v1`): written beside the work, never in its way. A repeated event is one
//! object whose series counts up.

use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::context::Ctx;
use crate::kube::client::CallError;

/// Who reports, in every event.
pub const REPORTER: &str = "domicile.dev/operator";

/// Where events about cluster-scoped objects go: the API server takes them nowhere else.
const CLUSTER_NAMESPACE: &str = "default";
const LONGEST_NOTE: usize = 1000;
const LONGEST_INSTANCE: usize = 128;
/// Most events that wait to be written; one that does not fit is dropped, its condition stays.
const QUEUE: usize = 1024;
/// As many of them are kept free of what is for information: where thousands are placed at once,
/// what is wrong is told all the same.
const FOR_WARNINGS: usize = 256;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// For information.
    Normal,
    /// Something to look at.
    Warning,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened to one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// The object.
    pub regarding: ObjectReference,
    /// How bad it is.
    pub severity: Severity,
    /// A constant in `CamelCase`, the same as the condition's reason.
    pub reason: String,
    /// What was being done, a constant in `CamelCase`.
    pub action: String,
    /// For people: object, fact, next step. Cut at 1,000 bytes. Never a secret.
    pub note: String,
}

/// Takes events from the controllers.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

/// The events that wait to be written.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Receiver<Occurrence>,
}

/// A recorder and the outbox that [`deliver`] empties.
pub fn recorder() -> (Recorder, Outbox) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Recorder { queue: sender }, Outbox { queue: receiver })
}

impl Recorder {
    /// Notes that something happened to `object`. Never waits and never fails.
    pub fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) {
        let mut regarding = object.object_ref(&());
        regarding.resource_version = None;
        let occurrence = Occurrence {
            regarding,
            severity,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: note.into(),
        };
        if severity == Severity::Normal && self.queue.capacity() <= FOR_WARNINGS {
            debug!(reason, "Dropping an event: too many wait");
        } else if self.queue.try_send(occurrence).is_err() {
            warn!(reason, "Dropping an event: too many wait");
        }
    }
}

/// Writes events until the last recorder is gone.
pub async fn deliver(ctx: Arc<Ctx>, mut outbox: Outbox) {
    while let Some(occurrence) = outbox.queue.recv().await {
        let event = build(
            &occurrence,
            ctx.settings.identity(),
            MicroTime(ctx.clock.now().wall),
        );
        if let Err(error) = write(&ctx, &event).await {
            debug!(reason = occurrence.reason, %error, "An event was not written");
        }
    }
}

async fn write(ctx: &Ctx, event: &Event) -> Result<(), CallError> {
    let namespace = event
        .metadata
        .namespace
        .as_deref()
        .unwrap_or(CLUSTER_NAMESPACE);
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), namespace);
    match ctx.call(api.create(&PostParams::default(), event)).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_conflict() => {}
        Err(error) => return Err(error),
    }
    let before = ctx.call(api.get(name)).await?;
    let again = json!({ "series": {
        "count": next_count(&before),
        "lastObservedTime": event.event_time,
    }});
    let parameters = PatchParams::default();
    ctx.call(api.patch(name, &parameters, &Patch::Merge(&again)))
        .await
        .map(|_| ())
}

fn next_count(before: &Event) -> i32 {
    before
        .series
        .as_ref()
        .map_or(2, |series| series.count.saturating_add(1))
}

/// The event as an object. The same occurrence always gets the same name.
pub fn build(occurrence: &Occurrence, instance: &str, time: MicroTime) -> Event {
    let Occurrence {
        regarding,
        severity,
        reason,
        action,
        note,
    } = occurrence;
    let namespace = regarding
        .namespace
        .as_deref()
        .unwrap_or(CLUSTER_NAMESPACE)
        .to_owned();
    Event {
        metadata: ObjectMeta {
            name: Some(name(occurrence)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(action.clone()),
        event_time: Some(time),
        note: Some(cut(note, LONGEST_NOTE).to_owned()),
        reason: Some(reason.clone()),
        regarding: Some(regarding.clone()),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(cut(instance, LONGEST_INSTANCE).to_owned()),
        type_: Some(severity.label().to_owned()),
        ..Event::default()
    }
}

fn name(occurrence: &Occurrence) -> String {
    let Occurrence {
        regarding,
        severity,
        reason,
        action,
        note,
    } = occurrence;
    let uid = regarding.uid.as_deref().unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [uid, severity.label(), reason, action, note] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let object = regarding.name.as_deref().unwrap_or("object");
    let mut name = format!("{}.", cut(object, 200));
    for byte in hash.finalize().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The longest beginning of `text` with at most `limit` bytes that ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::events::v1::EventSeries;

    fn occurrence(namespace: Option<&str>, note: &str) -> Occurrence {
        Occurrence {
            regarding: ObjectReference {
                kind: Some("Region".to_owned()),
                name: Some("eu-west".to_owned()),
                namespace: namespace.map(str::to_owned),
                uid: Some("1".to_owned()),
                ..ObjectReference::default()
            },
            severity: Severity::Warning,
            reason: "Unreachable".to_owned(),
            action: "Probe".to_owned(),
            note: note.to_owned(),
        }
    }

    fn time() -> MicroTime {
        MicroTime(jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn news_leave_room_for_warnings() {
        let (recorder, mut outbox) = recorder();
        let object = k8s_openapi::api::core::v1::ConfigMap::default();
        for severity in [Severity::Normal, Severity::Warning] {
            for _ in 0..=QUEUE {
                recorder.publish(&object, severity, "Reason", "Act", "note");
            }
        }
        let mut counts = [0, 0];
        while let Ok(one) = outbox.queue.try_recv() {
            counts[usize::from(one.severity == Severity::Warning)] += 1;
        }
        assert_eq!(counts, [QUEUE - FOR_WARNINGS, FOR_WARNINGS]);
    }

    #[test]
    fn a_repeated_event_has_one_name_and_another_note_another() {
        let first = build(&occurrence(None, "a"), "x", time());
        assert_eq!(
            first.metadata.name,
            build(&occurrence(None, "a"), "y", time()).metadata.name
        );
        assert_ne!(
            first.metadata.name,
            build(&occurrence(None, "b"), "x", time()).metadata.name
        );
    }

    #[test]
    fn an_event_about_a_cluster_scoped_object_goes_to_default() {
        let namespace = |n| build(&occurrence(n, "a"), "x", time()).metadata.namespace;
        assert_eq!(namespace(None).as_deref(), Some("default"));
        assert_eq!(namespace(Some("tenant")).as_deref(), Some("tenant"));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let event = build(
            &occurrence(None, &"ü".repeat(2000)),
            &"i".repeat(300),
            time(),
        );
        let note = event.note.unwrap_or_default();
        assert!(note.len() <= LONGEST_NOTE && note.chars().all(|c| c == 'ü'));
        assert_eq!(
            event.reporting_instance.map(|i| i.len()),
            Some(LONGEST_INSTANCE)
        );
    }

    #[test]
    fn a_series_starts_at_two_and_counts_up() {
        let mut event = build(&occurrence(None, "a"), "x", time());
        assert_eq!(next_count(&event), 2);
        event.series = Some(EventSeries {
            count: 2,
            last_observed_time: time(),
        });
        assert_eq!(next_count(&event), 3);
    }

    #[test]
    fn a_full_queue_drops_events_and_never_waits() {
        let (recorder, _outbox) = recorder();
        let object = k8s_openapi::api::core::v1::ConfigMap::default();
        for n in 0..2 * QUEUE {
            recorder.publish(&object, Severity::Normal, "R", "A", n.to_string());
        }
    }
}
