//! Watches on services and workloads of any kind, one per namespace and kind that a binding names.
//! Where a watch is refused, bindings are looked at now and then instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_api::service_binding::ServiceBinding;
use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::LATER;
use super::table::{Room, Table, Target};
use crate::context::Ctx;
use crate::controllers::LONGEST_WAIT;
use crate::kube::client::WATCH_SECONDS;
use crate::kube::wake::Key;
use crate::projection::kinds::Kind;

/// Most watches at once; what does not fit is looked at now and then.
const LIMIT: usize = 512;
/// About how many looks a second all that is not watched may cost.
const LOOKS: u64 = 10;

/// Asks for watches.
#[derive(Debug)]
pub(super) struct Watches {
    table: Arc<Mutex<Table>>,
    asked: mpsc::Sender<(Target, ApiResource)>,
}

/// The other end of [`Watches`].
pub(super) struct Asked {
    table: Arc<Mutex<Table>>,
    queue: mpsc::Receiver<(Target, ApiResource)>,
}

/// Watches that were not begun yet.
pub(super) fn watches() -> (Watches, Asked) {
    let (asked, queue) = mpsc::channel(LIMIT);
    let table = Arc::default();
    let watches = Watches {
        table: Arc::clone(&table),
        asked,
    };
    (watches, Asked { table, queue })
}

impl Watches {
    /// Makes sure that bindings are woken when an object of a kind changes in their namespace.
    pub(super) fn want(&self, namespace: &str, kind: &Kind, resource: &ApiResource) {
        let target = Target {
            namespace: namespace.to_owned(),
            kind: kind.clone(),
        };
        let send = |target: &Target| {
            let asked = (target.clone(), resource.clone());
            self.asked.try_send(asked).is_ok()
        };
        if lock(&self.table).take(target, LIMIT, send) == Room::FullAnew {
            warn!(
                limit = LIMIT,
                namespace,
                %kind,
                "Too many watches: looking now and then at what has none"
            );
        }
    }

    /// Whether a change of an object of that kind is seen at once.
    pub(super) fn sees(&self, namespace: &str, kind: &Kind) -> bool {
        let target = Target {
            namespace: namespace.to_owned(),
            kind: kind.clone(),
        };
        lock(&self.table).sees(&target)
    }

    /// How long a binding rests that is not woken by what it depends on.
    pub(super) fn rest(&self) -> Duration {
        rest(lock(&self.table).blind())
    }
}

/// The rest of each of `blind` that are looked at now and then.
fn rest(blind: usize) -> Duration {
    Duration::from_secs(blind as u64 / LOOKS).clamp(LATER, LONGEST_WAIT)
}

/// Carries out the watches and wakes whom a change concerns. Never ends by itself.
pub(super) async fn run(ctx: &Arc<Ctx>, asked: Asked) {
    let Asked { table, mut queue } = asked;
    let mut streams: SelectAll<BoxStream<'_, Target>> = SelectAll::new();
    // Something that never comes keeps the set from ending.
    streams.push(stream::pending().boxed());
    loop {
        tokio::select! {
            Some((target, resource)) = queue.recv() => {
                streams.push(follow(ctx, target, &resource, &table).boxed());
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
    table: &'a Mutex<Table>,
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
                // Where nothing happens, too, its place may be needed by another.
                let news = ctx.clock.within(LONGEST_WAIT, changed.next()).await;
                let bindings = ctx.stores.bindings.all();
                let ended = matches!(news, Ok(None));
                if ended || !bindings.iter().any(|one| concerns(one, &target)) {
                    lock(table).end(&target);
                    return None;
                }
                let Ok(Some(news)) = news else {
                    let needed = || bindings.iter().flat_map(|one| targets(one)).collect();
                    lock(table).keep(needed);
                    continue;
                };
                let Some(sees) = news else { continue };
                lock(table).saw(&target, sees);
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
    if binding.metadata.namespace.as_deref() != Some(&target.namespace) {
        return false;
    }
    targets(binding).any(|one| one.kind == target.kind)
}

/// What a binding names.
fn targets(binding: &ServiceBinding) -> impl Iterator<Item = Target> {
    let (service, workload) = (&binding.spec.service, &binding.spec.workload);
    let kinds = [
        Kind::read(&service.api_version, &service.kind),
        Kind::read(&workload.api_version, &workload.kind),
    ];
    let namespace = binding.metadata.namespace.as_deref().unwrap_or_default();
    kinds.into_iter().flatten().map(|kind| Target {
        namespace: namespace.to_owned(),
        kind,
    })
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_are_not_watched_the_longer_each_of_them_rests() {
        let seconds = |blind| rest(blind).as_secs();
        assert_eq!([0, 1, 100].map(seconds), [10, 10, 10]);
        assert_eq!([500, 1_500].map(seconds), [50, 150]);
        assert_eq!([3_000, 100_000].map(seconds), [300, 300]);
    }
}
