//! Who must be looked at again: one set of keys per kind, so that a thousand wakes of one object
//! are one, and nothing is ever lost or queued without limit.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use futures::stream;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;
use tracing::warn;

/// Most keys that wait at once. What does not fit is found by its next resync.
const LIMIT: usize = 65_536;

/// An object's name within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Absent for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self {
            namespace: None,
            name: name.into(),
        }
    }

    /// The key of an object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    /// The key of `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace(),
            name: object.name_any(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// The keys of one kind that wait to be reconciled.
#[derive(Debug, Default)]
pub struct Queue {
    keys: Mutex<BTreeSet<Key>>,
    arrived: Notify,
}

impl Queue {
    /// Asks for a reconcile of `key`. Never waits.
    pub fn wake(&self, key: Key) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= LIMIT && !keys.contains(&key) {
            warn!(object = %key, "Dropping a wake: too many objects wait");
            return;
        }
        keys.insert(key);
        self.arrived.notify_one();
    }

    /// The keys, as they come. For one reader.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = Key> + Send + 'static {
        stream::unfold(self, |queue| async move {
            loop {
                if let Some(key) = queue.pop() {
                    return Some((key, queue));
                }
                queue.arrived.notified().await;
            }
        })
    }

    fn pop(&self) -> Option<Key> {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_first()
    }
}

/// The queues of all kinds.
#[derive(Debug, Default)]
pub struct Wake {
    /// `Region`.
    pub regions: Arc<Queue>,
    /// `Region`, for what deleted placements left there.
    pub orphans: Arc<Queue>,
    /// `Region`, for the Secrets of deleted placements in its cluster.
    pub leftovers: Arc<Queue>,
    /// `TenantPlacement`.
    pub placements: Arc<Queue>,
    /// `TenantPlacement`, for its part in the clusters of regions.
    pub regional: Arc<Queue>,
    /// `FailoverPolicy`.
    pub policies: Arc<Queue>,
    /// `FailoverOperation`.
    pub operations: Arc<Queue>,
    /// `ServiceBinding`.
    pub bindings: Arc<Queue>,
}

impl Wake {
    /// Asks for a reconcile of a `Region`.
    pub fn region(&self, name: &str) {
        self.regions.wake(Key::cluster(name));
    }

    /// Asks for a reconcile of a `TenantPlacement`.
    pub fn placement(&self, namespace: &str, name: &str) {
        self.placements.wake(Key::namespaced(namespace, name));
    }

    /// Asks for a reconcile of a `FailoverPolicy`.
    pub fn policy(&self, name: &str) {
        self.policies.wake(Key::cluster(name));
    }

    /// Asks for a reconcile of a `FailoverOperation`.
    pub fn operation(&self, name: &str) {
        self.operations.wake(Key::cluster(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    #[tokio::test]
    async fn a_thousand_wakes_of_one_object_are_one() {
        let queue = Arc::new(Queue::default());
        for _ in 0..1000 {
            queue.wake(Key::cluster("eu-west"));
        }
        let mut keys = Box::pin(Arc::clone(&queue).stream());
        assert_eq!(keys.next().await, Some(Key::cluster("eu-west")));
        assert_eq!(keys.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_wake_reaches_a_reader_that_already_waits() {
        let queue = Arc::new(Queue::default());
        let mut keys = Box::pin(Arc::clone(&queue).stream());
        let (key, ()) = tokio::join!(keys.next(), async {
            tokio::task::yield_now().await;
            queue.wake(Key::namespaced("a", "b"));
        });
        assert_eq!(key, Some(Key::namespaced("a", "b")));
    }
}
