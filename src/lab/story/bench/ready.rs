//! When each object of a kind was made, and when it became ready, as its watchers learn it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::story::objects::{Kind, Objects, ready};
use crate::story::times::Times;

const LOOK_UP: Duration = Duration::from_millis(100);
const WATCH_SECONDS: u32 = 290;
/// Between two counts of those that are not ready, for each of them.
const COUNT_EACH: Duration = Duration::from_micros(50);

/// A running watch. Dropping it ends it.
pub(super) struct ReadyWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<BTreeMap<String, Seen>>,
}

/// Monotonic nanoseconds.
#[derive(Clone, Copy)]
struct Seen {
    made: u64,
    ready: Option<u64>,
    /// As it was seen last.
    is_ready: bool,
}

impl ReadyWatch {
    /// Watches all objects of a kind, of which none that is measured is there yet.
    pub(super) fn begin(objects: &Objects, kind: Kind) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (mine, objects) = (Arc::clone(&shared), objects.clone());
        let thread = std::thread::Builder::new()
            .name("ready-watch".to_owned())
            .spawn(move || run(&objects, kind, &mine))
            .map_err(LabError::system("start a thread"))?;
        let thread = Some(thread);
        Ok(Self { shared, thread })
    }

    /// Waits until these are ready, and calls `heed` meanwhile with how many are not.
    pub(super) fn settle(
        &self,
        names: &[String],
        limit: Duration,
        heed: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let patience = Patience::new("placements of the bench", limit);
        loop {
            let waiting = self.waiting(names);
            if waiting == 0 {
                return Ok(());
            }
            heed(waiting)?;
            patience.pause(|| format!("{waiting} of {} are not ready", names.len()))?;
            std::thread::sleep(LOOK_UP.max(COUNT_EACH * names.len() as u32));
        }
    }

    fn waiting(&self, names: &[String]) -> usize {
        let seen = self.shared.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner);
        let is_ready = |name: &String| seen.get(name).is_some_and(|one| one.is_ready);
        names.iter().filter(|name| !is_ready(name)).count()
    }

    /// How long these took to become ready, and when the last one was. Errors: one is not.
    pub(super) fn times(&self, names: &[String]) -> Result<(Times, u64)> {
        // The last ones may be under way still.
        std::thread::sleep(LOOK_UP * 10);
        let seen = self.shared.seen.lock();
        let seen = seen.unwrap_or_else(PoisonError::into_inner);
        let (mut times, mut last) = (Vec::new(), 0);
        for name in names {
            let found = seen.get(name);
            let Some((made, ready)) = found.and_then(|one| Some((one.made, one.ready?))) else {
                let text = format!("{name} was not seen to become ready");
                return Err(LabError::State(text));
            };
            times.push(ready.saturating_sub(made) as f64 / 1e9);
            last = last.max(ready);
        }
        let none = || LabError::State("nothing was waited for".to_owned());
        Ok((Times::of(times).ok_or_else(none)?, last))
    }
}

impl Drop for ReadyWatch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic of a hook was reported by its own thread.
            drop(thread.join());
        }
    }
}

fn run(objects: &Objects, kind: Kind, shared: &Shared) {
    let mut version = "0".to_owned();
    while !shared.stop.load(Ordering::SeqCst) {
        let following = follow(objects, kind, shared, &mut version);
        if objects.runtime().block_on(following).is_err() {
            return;
        }
    }
}

/// One watch, from where the one before ended.
async fn follow(objects: &Objects, kind: Kind, shared: &Shared, version: &mut String) {
    let api = objects.api(kind, None);
    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
    let Ok(stream) = api.watch(&parameters, version).await else {
        return;
    };
    let mut stream = std::pin::pin!(stream);
    while !shared.stop.load(Ordering::SeqCst) {
        match tokio::time::timeout(LOOK_UP, stream.try_next()).await {
            Ok(Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                note(&json!(object), shared);
                *version = object.metadata.resource_version.unwrap_or_default();
            }
            Ok(Ok(Some(WatchEvent::Bookmark(mark)))) => {
                *version = mark.metadata.resource_version;
            }
            Err(_) | Ok(Ok(Some(WatchEvent::Deleted(_)))) => {}
            Ok(Ok(None) | Err(_)) => return,
            // Too old: begin anew; what was seen stays.
            Ok(Ok(Some(WatchEvent::Error(_)))) => {
                "0".clone_into(version);
                return;
            }
        }
    }
}

fn note(object: &Value, shared: &Shared) {
    let (Some(name), Ok(now)) = (object["metadata"]["name"].as_str(), monotonic()) else {
        return;
    };
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let one = seen.entry(name.to_owned()).or_insert(Seen {
        made: now,
        ready: None,
        is_ready: false,
    });
    one.is_ready = ready(object);
    if one.is_ready {
        one.ready.get_or_insert(now);
    }
}
