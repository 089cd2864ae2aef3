//! What the API server holds, as last seen: one watch per kind, shared by all controllers.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::core::ObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::watch;
use tracing::warn;

use crate::kube::client::WATCH_SECONDS;
use crate::kube::wake::Key;

/// An object as it came: one that our types cannot express does not stop the others.
#[derive(Debug, Clone)]
pub enum Seen<K> {
    /// Readable.
    Valid(Arc<K>),
    /// Not readable by our types.
    Invalid(Box<Unreadable>),
}

/// An object that our types cannot express: one of a newer version, most likely.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What our types stumbled over.
    pub error: String,
    /// All of it, for who must know some of it all the same.
    pub raw: Value,
}

impl<K: Resource + Clone> Resource for Seen<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Valid(object) => object.meta(),
            Self::Invalid(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Valid(object) => Arc::make_mut(object).meta_mut(),
            Self::Invalid(object) => &mut object.metadata,
        }
    }
}

/// As kube's `DeserializeGuard`, and the object is kept.
impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Seen<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        match K::deserialize(&raw) {
            Ok(object) => Ok(Self::Valid(Arc::new(object))),
            Err(problem) => {
                let metadata = ObjectMeta::deserialize(&raw["metadata"]).map_err(Error::custom)?;
                if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
                Ok(Self::Invalid(Box::new(Unreadable {
                    metadata,
                    error: problem.to_string(),
                    raw,
                })))
            }
        }
    }
}

/// A kind that the operator watches.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// All objects of one kind, as last seen, and newer where this process wrote them itself.
pub struct Cache<K: Watched> {
    store: Store<Seen<K>>,
    written: Arc<Mutex<BTreeMap<Key, Arc<K>>>>,
    /// Whether the first list is complete. The store's own sign wakes only the last who waits for
    /// it (kube 5.0), and its `Controller` must be that one.
    filled: Arc<watch::Sender<bool>>,
}

impl<K: Watched> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            written: Arc::clone(&self.written),
            filled: Arc::clone(&self.filled),
        }
    }
}

impl<K: Watched> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("objects", &self.store.len())
            .finish_non_exhaustive()
    }
}

impl<K: Watched> Cache<K> {
    /// An empty cache, and the end that [`follow`] fills it through.
    pub fn new() -> (Self, Writer<Seen<K>>) {
        let (store, writer) = reflector::store();
        (
            Self {
                store,
                written: Arc::default(),
                filled: Arc::new(watch::Sender::new(false)),
            },
            writer,
        )
    }

    /// The cluster-scoped object `name`, when there is one and it is readable.
    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        self.find(&Key::cluster(name))
    }

    /// The object `name` in `namespace`, when there is one and it is readable.
    pub fn get_in(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.find(&Key::namespaced(namespace, name))
    }

    /// The object with `key`, when there is one and it is readable.
    pub fn find(&self, key: &Key) -> Option<Arc<K>> {
        match self.seen(key)?.as_ref() {
            Seen::Valid(object) => Some(self.freshest(object)),
            Seen::Invalid(_) => None,
        }
    }

    /// How many objects there are, those too that this version cannot read.
    pub fn count(&self) -> usize {
        self.store.len()
    }

    /// All readable objects, by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        let mut all = self.unordered();
        all.sort_unstable_by(|one, other| place(one.meta()).cmp(&place(other.meta())));
        all
    }

    /// All readable objects. To put ten thousand in order takes more than all else that is done
    /// here.
    pub fn unordered(&self) -> Vec<Arc<K>> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, as in `freshest`, which asks for each by itself.
        let mut all: Vec<Arc<K>> = self
            .store
            .state()
            .iter()
            .filter_map(|seen| match seen.as_ref() {
                Seen::Valid(object) => Some(Arc::clone(object)),
                Seen::Invalid(_) => None,
            })
            .collect();
        let ours: HashMap<&str, &Arc<K>> = written
            .values()
            .filter_map(|ours| Some((ours.meta().uid.as_deref()?, ours)))
            .collect();
        let mut shown = Vec::new();
        for one in &mut all {
            let uid = one.meta().uid.as_deref().unwrap_or_default();
            match ours.get(uid) {
                Some(ours) if is_newer(ours.meta(), one.meta()) => *one = Arc::clone(ours),
                Some(ours) => shown.push(Key::of(ours.as_ref())),
                None => {}
            }
        }
        for key in shown {
            written.remove(&key);
        }
        all
    }

    /// Whether there is an object with `key`, readable or not.
    pub fn exists(&self, key: &Key) -> bool {
        self.seen(key).is_some()
    }

    fn seen(&self, key: &Key) -> Option<Arc<Seen<K>>> {
        let mut reference = ObjectRef::new(&key.name);
        reference.namespace.clone_from(&key.namespace);
        self.store.get(&reference)
    }

    /// The objects that are not readable, in no order. What they say must not count as unsaid
    /// where a law, or another's property, hangs on it.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        let all = self.store.state().into_iter();
        let unreadable = all.filter_map(|seen| match seen.as_ref() {
            Seen::Invalid(object) => Some(Unreadable::clone(object)),
            Seen::Valid(_) => None,
        });
        unreadable.collect()
    }

    /// Remembers an object as the API server answered our own write, until the watch shows it too.
    pub fn wrote(&self, object: Arc<K>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(Key::of(object.as_ref()), object);
    }

    /// `object`, or what the watch has shown or this process has written over it since. Who asks
    /// later is never answered with something older.
    pub fn freshest(&self, object: &Arc<K>) -> Arc<K> {
        let key = Key::of(object.as_ref());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: between a read before it and now, another reader may have seen that
        // the watch shows our write, and have forgotten it.
        let shown = self.seen(&key);
        let shown = shown.as_deref().and_then(|seen| match seen {
            Seen::Valid(shown) => Some(shown),
            Seen::Invalid(_) => None,
        });
        let newest = shown
            .filter(|shown| is_newer(shown.meta(), object.meta()))
            .unwrap_or(object);
        let Some(ours) = written.get(&key) else {
            return Arc::clone(newest);
        };
        if is_newer(ours.meta(), newest.meta()) {
            return Arc::clone(ours);
        }
        if shown.is_some_and(|shown| !is_newer(ours.meta(), shown.meta())) {
            written.remove(&key);
        }
        Arc::clone(newest)
    }

    /// Waits until the first list is complete.
    pub async fn ready(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// The store beneath, for a `Controller`.
    pub fn store(&self) -> Store<Seen<K>> {
        self.store.clone()
    }

    fn forget(&self, key: &Key) {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// Keeps `cache` true to the API server, and calls `changed` with every object that appeared,
/// changed or went (then with `true`), and with every object of a list once it is complete. Never
/// ends by itself.
pub async fn follow<K: Watched>(
    client: Client,
    cache: Cache<K>,
    writer: Writer<Seen<K>>,
    changed: impl Fn(&Key, &Seen<K>, bool),
) {
    let api: Api<Seen<K>> = Api::all_with(client, &());
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    // Field ownership is of no use here and is the greater half of many objects.
    let prune = |object: &mut Seen<K>| object.meta_mut().managed_fields = None;
    let events = watcher(api, config).modify(prune).reflect(writer);
    let mut events = Box::pin(StreamBackoff::new(events, Reconnect::default()));
    let kind = K::kind(&());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => changed(&Key::of(&object), &object, false),
            Ok(watcher::Event::Delete(object)) => {
                let key = Key::of(&object);
                cache.forget(&key);
                changed(&key, &object, true);
            }
            Ok(watcher::Event::InitDone) => {
                cache.filled.send_replace(true);
                for object in cache.store.state() {
                    changed(&Key::of(object.as_ref()), &object, false);
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Err(error) => warn!(%kind, %error, "Watching again"),
        }
    }
}

/// By what objects are sorted.
fn place(meta: &ObjectMeta) -> (Option<&str>, Option<&str>) {
    (meta.namespace.as_deref(), meta.name.as_deref())
}

/// Resource versions of one object grow; what cannot be compared counts as older.
fn is_newer(ours: &ObjectMeta, seen: &ObjectMeta) -> bool {
    let version = |meta: &ObjectMeta| meta.resource_version.as_ref()?.parse::<u64>().ok();
    ours.uid == seen.uid && version(ours).zip(version(seen)).is_some_and(|(o, s)| o > s)
}

/// Waits between attempts to watch: short at first and never long, because failing over needs it.
#[derive(Debug, Default)]
pub struct Reconnect {
    attempts: u32,
}

impl Iterator for Reconnect {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Duration::from_millis(250).saturating_mul(1 << self.attempts.min(4));
        self.attempts = self.attempts.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Reconnect {
    fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests;
