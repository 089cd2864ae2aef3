//! The controllers, and what all of them share: one loop around one `reconcile`.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tracing::{Instrument, error, info, info_span, warn};

use crate::context::Ctx;
use crate::error::{Class, Classify, label};
use crate::kube::cache::{Cache, Seen, Watched};
use crate::kube::invalid;
use crate::kube::wake::Queue;
use crate::telemetry::{ControllerLabels, ErrorLabels, seconds};

pub mod failover;
pub mod placement;
pub mod region;

/// Longest time until an object is looked at again, whatever happened: heals a silent watch.
pub const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How often an idle loop says that it lives.
const BEAT: Duration = Duration::from_secs(10);

/// What one controller works on.
#[derive(Debug)]
pub struct Work<K: Watched> {
    /// Its name in logs, metrics and `/livez`.
    pub name: &'static str,
    /// Its objects.
    pub cache: Cache<K>,
    /// Who must be looked at.
    pub queue: Arc<Queue>,
    /// Longest time that one reconcile may take.
    pub deadline: Duration,
}

/// A reconcile that failed, as the loop sees it.
#[derive(Debug, Error)]
#[error("reconcile failed ({})", label(*.0))]
struct Failed(Class);

/// Reconciles whatever is woken, until the process ends. `reconcile` answers how long the object
/// may rest when nothing happens, at most [`LONGEST_WAIT`]. A panic, an error and a passed
/// deadline stay with their object, which is tried again later each time.
pub async fn drive<K, F, Fut, E>(ctx: Arc<Ctx>, work: Work<K>, reconcile: F)
where
    K: Watched,
    F: Fn(Arc<K>, Arc<Ctx>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Duration, E>> + Send + 'static,
    E: Classify + Error + Send + Sync + 'static,
{
    let Work {
        name,
        cache,
        queue,
        deadline,
    } = work;
    let store = cache.store();
    let keys = queue.stream().map(|key| {
        let mut reference = ObjectRef::<Seen<K>>::new(&key.name);
        reference.namespace = key.namespace;
        reference
    });
    let one = move |seen: Arc<Seen<K>>, ctx: Arc<Ctx>| {
        let (cache, reconcile) = (cache.clone(), reconcile.clone());
        let span = info_span!(
            "reconcile",
            controller = name,
            namespace = seen.namespace().unwrap_or_default(),
            object = seen.name_any(),
        );
        let pass = async move {
            let object = match seen.as_ref() {
                Seen::Valid(object) => cache.freshest(object),
                Seen::Invalid(reason) => return unreadable(&ctx, &seen, reason).await,
            };
            let pass = Pass {
                name,
                deadline,
                uid: object.uid().unwrap_or_default(),
            };
            guarded(&ctx, pass, reconcile(object, Arc::clone(&ctx))).await
        };
        pass.instrument(span)
    };
    let retry = |seen: Arc<Seen<K>>, failed: &Failed, ctx: Arc<Ctx>| {
        let uid = seen.uid().unwrap_or_default();
        Action::requeue(ctx.backoff.failed(&uid, failed.0, rand::random()))
    };
    let mut passes = Controller::for_stream(stream::pending(), store)
        .reconcile_on(keys)
        .with_config(Config::default().concurrency(ctx.settings.concurrency))
        .graceful_shutdown_on(ctx.stop.asked())
        .run(one, retry, Arc::clone(&ctx))
        .boxed();
    info!(controller = name, "Starting a controller");
    ctx.stop.enter();
    loop {
        // The loop beats itself, so that a beat proves that it is polled.
        ctx.pulse.beat(name, ctx.clock.mono());
        if let Ok(None) = ctx.clock.within(BEAT, passes.next()).await {
            break;
        }
    }
    ctx.pulse.retire(name);
    ctx.stop.leave();
}

/// One pass over one object.
struct Pass {
    name: &'static str,
    deadline: Duration,
    uid: String,
}

async fn guarded<E: Classify + Error>(
    ctx: &Ctx,
    pass: Pass,
    reconcile: impl Future<Output = Result<Duration, E>>,
) -> Result<Action, Failed> {
    let Pass {
        name,
        deadline,
        uid,
    } = pass;
    let controller = ControllerLabels {
        controller: name.to_owned(),
    };
    let started = ctx.clock.mono();
    let contained = AssertUnwindSafe(reconcile).catch_unwind();
    let outcome = ctx.clock.within(deadline, contained).await;
    let took = seconds(ctx.clock.mono().since(started));
    ctx.metrics.reconciles.get_or_create(&controller).inc();
    ctx.metrics
        .reconcile_duration
        .get_or_create(&controller)
        .observe(took);
    let class = match outcome {
        Ok(Ok(Ok(rest))) => {
            ctx.backoff.reset(&uid);
            return Ok(Action::requeue(rest.min(LONGEST_WAIT)));
        }
        Ok(Ok(Err(error))) => {
            let class = error.class();
            let error = chain(&error);
            match class {
                Class::Conflict => info!(error, "Reconciling again: the world moved on"),
                Class::Transient | Class::Config | Class::Provider => {
                    warn!(error, class = label(class), "Reconciling again later");
                }
                Class::Bug => error!(error, "Reconciling failed by a fault of ours"),
            }
            class
        }
        Ok(Err(_panic)) => {
            error!("A reconcile panicked");
            Class::Bug
        }
        Err(passed) => {
            warn!(error = %passed, "A reconcile took too long");
            Class::Transient
        }
    };
    let errors = ErrorLabels {
        controller: name.to_owned(),
        class: label(class),
    };
    ctx.metrics.reconcile_errors.get_or_create(&errors).inc();
    Err(Failed(class))
}

async fn unreadable<K: Watched>(
    ctx: &Ctx,
    seen: &Seen<K>,
    reason: &InvalidObject,
) -> Result<Action, Failed> {
    match invalid::report(ctx, seen, reason).await {
        Ok(()) => Ok(Action::requeue(LONGEST_WAIT)),
        Err(error) => {
            warn!(%error, "An unreadable object could not be marked");
            Err(Failed(error.class()))
        }
    }
}

/// An error and all that led to it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
