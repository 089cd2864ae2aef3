//! Every state that a policy passes through, with its time: the apiserver tells of each write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::objects::{Objects, kinds};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::process::Patience;

const LOOK_UP: Duration = Duration::from_millis(100);
const WATCH_SECONDS: u32 = 60;

/// A change of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When it was seen (monotonic nanoseconds).
    pub at: u64,
    /// The state entered.
    pub state: String,
    /// The epoch.
    pub epoch: i64,
    /// The region that tenants are pointed at.
    pub active: String,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct PolicyWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Vec<Transition>>,
}

impl PolicyWatch {
    /// Watches the policy `name` from now on; its present state is the first entry.
    /// Errors: the thread cannot start.
    pub fn begin(objects: &Objects, name: &str) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (mine, objects, policy) = (Arc::clone(&shared), objects.clone(), name.to_owned());
        let thread = std::thread::Builder::new()
            .name("policy-watch".to_owned())
            .spawn(move || run(&objects, &policy, &mine))
            .map_err(LabError::system("start a thread"))?;
        let watch = Self {
            shared,
            thread: Some(thread),
        };
        let patience = Patience::new(format!("the state of policy {name}"), LOOK_UP * 300);
        while watch.seen().is_empty() {
            patience.pause(|| "it has none".to_owned())?;
        }
        Ok(watch)
    }

    /// All transitions so far.
    pub fn seen(&self) -> Vec<Transition> {
        let seen = self.shared.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a transition at or after `since` that `is` accepts. Errors: the limit.
    pub fn wait(
        &self,
        what: &str,
        since: u64,
        limit: Duration,
        is: impl Fn(&Transition) -> bool,
    ) -> Result<Transition> {
        let patience = Patience::new(what, limit);
        loop {
            let seen = self.seen();
            let current = seen.last();
            let found = seen.iter().find(|one| one.at >= since && is(one));
            // A state entered before `since` may still hold.
            let found = found.or_else(|| current.filter(|one| is(one)));
            if let Some(found) = found {
                return Ok(found.clone());
            }
            patience.pause(|| path(&seen, since))?;
        }
    }
}

impl Drop for PolicyWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic of a hook was reported by its own thread.
            drop(thread.join());
        }
    }
}

/// The states since a moment, for people.
pub fn path(seen: &[Transition], since: u64) -> String {
    let words: Vec<_> = seen
        .iter()
        .filter(|one| one.at >= since)
        .map(|one| format!("{}@{}", one.state, one.epoch))
        .collect();
    match (words.is_empty(), seen.last()) {
        (true, Some(last)) => format!("still {}@{}", last.state, last.epoch),
        (true, None) => "no state seen".to_owned(),
        (false, _) => words.join(" > "),
    }
}

fn run(objects: &Objects, policy: &str, shared: &Shared) {
    let mut version = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let following = follow(objects, policy, shared, &mut version);
        if objects.runtime().block_on(following).is_err() {
            return;
        }
    }
}

/// One watch, from where the one before ended so that no state falls between the two; the first
/// one, and one that the apiserver refuses to go on with, begins with a look.
async fn follow(objects: &Objects, policy: &str, shared: &Shared, version: &mut Option<String>) {
    let api = objects.api(kinds::POLICY, None);
    let from = if let Some(version) = version.take() {
        version
    } else {
        let Ok(Ok(now)) = tokio::time::timeout(LOOK_UP * 50, api.get(policy)).await else {
            return;
        };
        note(&json!(now), shared);
        now.metadata.resource_version.unwrap_or_default()
    };
    let parameters = WatchParams::default()
        .fields(&format!("metadata.name={policy}"))
        .timeout(WATCH_SECONDS);
    let Ok(stream) = api.watch(&parameters, &from).await else {
        return;
    };
    *version = Some(from);
    let mut stream = std::pin::pin!(stream);
    while !shared.stop.load(Ordering::SeqCst) {
        match tokio::time::timeout(LOOK_UP, stream.try_next()).await {
            Ok(Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                note(&json!(object), shared);
                *version = object.metadata.resource_version;
            }
            Ok(Ok(Some(WatchEvent::Bookmark(mark)))) => {
                *version = Some(mark.metadata.resource_version);
            }
            Err(_) | Ok(Ok(Some(WatchEvent::Deleted(_)))) => {}
            Ok(Ok(None) | Err(_)) => return,
            Ok(Ok(Some(WatchEvent::Error(_)))) => {
                *version = None;
                return;
            }
        }
    }
}

fn note(object: &Value, shared: &Shared) {
    let word = |path: &str| object.pointer(path).and_then(Value::as_str);
    let (Some(state), Ok(at)) = (word("/status/state"), monotonic()) else {
        return;
    };
    let transition = Transition {
        at,
        state: state.to_owned(),
        epoch: object
            .pointer("/status/epoch")
            .and_then(Value::as_i64)
            .unwrap_or(0),
        active: word("/status/activeRegion").unwrap_or_default().to_owned(),
    };
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |last: &Transition| Transition { at, ..last.clone() } == transition;
    if seen.last().is_some_and(same) {
        return;
    }
    seen.push(transition);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_noted() {
        let shared = Shared::default();
        for (state, epoch) in [("Steady", 1), ("Steady", 1), ("Fencing", 2), ("Fencing", 2)] {
            let status = json!({"state": state, "epoch": epoch, "activeRegion": "eu-west"});
            note(&json!({"status": status}), &shared);
        }
        note(&json!({}), &shared);
        let seen = shared.seen.into_inner().unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(path(&seen, 0), "Steady@1 > Fencing@2");
        assert_eq!(path(&seen, u64::MAX), "still Fencing@2");
    }
}
