//! Watches on services and workloads of any kind, one per namespace and kind that a binding names.
//! Where a watch is refused, bindings are looked at now and then instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domicile_api::service_binding::ServiceBinding;
use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::context::Ctx;
use crate::kube::client::WATCH_SECONDS;
use crate::kube::wake::Key;
use crate::projection::kinds::Kind;

/// Most watches at once; what does not fit is looked at now and then.
const LIMIT: usize = 512;

/// The objects of one kind in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    namespace: String,
    kind: Kind,
}

/// Asks for watches.
#[derive(Debug)]
pub(super) struct Watches {
    /// Each watch, and whether it shows what is.
    running: Arc<Mutex<BTreeMap<Target, bool>>>,
    asked: mpsc::Sender<(Target, ApiResource)>,
}

/// The other end of [`Watches`].
pub(super) struct Asked {
    running: Arc<Mutex<BTreeMap<Target, bool>>>,
    queue: mpsc::Receiver<(Target, ApiResource)>,
}

/// Watches that were not begun yet.
pub(super) fn watches() -> (Watches, Asked) {
    let (asked, queue) = mpsc::channel(LIMIT);
    let running = Arc::default();
    let watches = Watches {
        running: Arc::clone(&running),
        asked,
    };
    (watches, Asked { running, queue })
}

impl Watches {
    /// Makes sure that bindings are woken when an object of a kind changes in their namespace.
    pub(super) fn want(&self, namespace: &str, kind: &Kind, resource: &ApiResource) {
        let target = Target {
            namespace: namespace.to_owned(),
            kind: kind.clone(),
        };
        let mut running = lock(&self.running);
        if running.contains_key(&target) {
            return;
        }
        let full = running.len() >= LIMIT;
        if full
            || self
                .asked
                .try_send((target.clone(), resource.clone()))
                .is_err()
        {
            warn!(namespace, %kind, "Too many watches: looking now and then instead");
            return;
        }
        running.insert(target, false);
    }

    /// Whether a change of an object of that kind is seen at once.
    pub(super) fn sees(&self, namespace: &str, kind: &Kind) -> bool {
        let target = Target {
            namespace: namespace.to_owned(),
            kind: kind.clone(),
        };
        lock(&self.running).get(&target) == Some(&true)
    }
}

/// Carries out the watches and wakes whom a change concerns. Never ends by itself.
pub(super) async fn run(ctx: &Arc<Ctx>, asked: Asked) {
    let Asked { running, mut queue } = asked;
    let mut streams: SelectAll<BoxStream<'_, Target>> = SelectAll::new();
    // Something that never comes keeps the set from ending.
    streams.push(stream::pending().boxed());
    loop {
        tokio::select! {
            Some((target, resource)) = queue.recv() => {
                streams.push(follow(ctx, target, &resource, &running).boxed());
            }
            Some(target) = streams.next() => wake(ctx, &target),
        }
    }
}

/// Yields the target at every change, until no binding names it any more.
fn follow<'a>(
    ctx: &'a Arc<Ctx>,
    target: Target,
    resource: &ApiResource,
    running: &'a Mutex<BTreeMap<Target, bool>>,
) -> impl Stream<Item = Target> + Send + 'a {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(ctx.client.clone(), &target.namespace, resource);
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config).default_backoff();
    let changed = events.map(|event| match event {
        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
        Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {
            Some(true)
        }
        Err(error) => {
            debug!(%error, "A watch of a binding broke off");
            Some(false)
        }
    });
    stream::unfold(
        (changed.boxed(), target),
        move |(mut changed, target)| async move {
            loop {
                let sees = changed.next().await?;
                if !ctx
                    .stores
                    .bindings
                    .all()
                    .iter()
                    .any(|one| concerns(one, &target))
                {
                    lock(running).remove(&target);
                    return None;
                }
                let Some(sees) = sees else { continue };
                lock(running).insert(target.clone(), sees);
                if sees {
                    return Some((target.clone(), (changed, target)));
                }
            }
        },
    )
}

fn wake(ctx: &Ctx, target: &Target) {
    for binding in ctx.stores.bindings.all() {
        if concerns(&binding, target) {
            ctx.wake.bindings.wake(Key::of(binding.as_ref()));
        }
    }
}

fn concerns(binding: &ServiceBinding, target: &Target) -> bool {
    let (service, workload) = (&binding.spec.service, &binding.spec.workload);
    let same = |api_version: &str, kind: &str| {
        Kind::read(api_version, kind).is_ok_and(|kind| kind == target.kind)
    };
    binding.namespace().as_deref() == Some(&target.namespace)
        && (same(&service.api_version, &service.kind)
            || same(&workload.api_version, &workload.kind))
}

fn lock(
    running: &Mutex<BTreeMap<Target, bool>>,
) -> std::sync::MutexGuard<'_, BTreeMap<Target, bool>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
