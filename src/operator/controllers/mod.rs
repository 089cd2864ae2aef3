//! The controllers, and what all of them share: one loop around one `reconcile`.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tracing::{Instrument, error, info, info_span, warn};

use crate::context::Ctx;
use crate::error::{Class, Classify, label};
use crate::kube::cache::{Cache, Seen, Unreadable, Watched};
use crate::kube::invalid;
use crate::kube::wake::Queue;
use crate::telemetry::{ControllerLabels, ErrorLabels, seconds};

pub mod binding;
pub mod failover;
pub mod orphan;
pub mod placement;
pub mod region;

/// How soon an object is looked at again that nothing but a change concerns: heals a silent watch.
pub const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Longest time until an object is looked at again, whatever its controller says.
const LONGEST_REST: Duration = Duration::from_hours(1);

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
/// may rest when nothing happens, an hour at most. A panic, an error and a passed
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
            return Ok(Action::requeue(rest.min(LONGEST_REST)));
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
    reason: &Unreadable,
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;
    use kube::{Client, Config as ClientConfig};

    use super::*;
    use crate::kube::wake::Key;
    use crate::run::context;
    use crate::settings::{Command, CommandLine};
    use clap::Parser;

    #[derive(Debug, Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, Error)]
    #[error("inner")]
    struct Inner;

    impl Classify for Outer {
        fn class(&self) -> Class {
            Class::Config
        }
    }

    fn offline() -> Arc<Ctx> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Command::Run(settings) = CommandLine::parse_from(["domicile", "run"]).command else {
            panic!("run was asked for");
        };
        let config = ClientConfig::new("http://127.0.0.1:1".parse().unwrap());
        context(Client::try_from(config).unwrap(), settings).0
    }

    fn config_map(name: &str) -> Seen<ConfigMap> {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = Some(name.to_owned());
        Seen::Valid(Arc::new(object))
    }

    #[test]
    fn an_error_tells_all_that_led_to_it() {
        assert_eq!(chain(&Outer(Inner)), "outer: inner");
    }

    /// Faults: 50.
    #[tokio::test]
    async fn what_goes_wrong_with_one_object_stops_no_other() {
        let ctx = offline();
        let (cache, mut writer) = Cache::<ConfigMap>::new();
        let queue = Arc::new(Queue::default());
        writer.apply_watcher_event(&Event::Init);
        for name in ["a-panics", "b-fails", "c-hangs", "d-works"] {
            writer.apply_watcher_event(&Event::InitApply(config_map(name)));
            queue.wake(Key::cluster(name));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let worked = Arc::new(Mutex::new(0_u32));
        let (counter, waker) = (Arc::clone(&worked), Arc::clone(&queue));
        let reconcile = move |object: Arc<ConfigMap>, ctx: Arc<Ctx>| {
            let (counter, waker) = (Arc::clone(&counter), Arc::clone(&waker));
            async move {
                match object.name_any().as_str() {
                    "a-panics" => panic!("on purpose"),
                    "b-fails" => return Err(Outer(Inner)),
                    "c-hangs" => std::future::pending().await,
                    _ => {}
                }
                let mut counter = counter.lock().unwrap();
                *counter += 1;
                if *counter < 3 {
                    waker.wake(Key::cluster("d-works"));
                } else {
                    ctx.stop.now();
                }
                Ok(LONGEST_WAIT)
            }
        };
        let deadline = Duration::from_millis(50);
        let work = Work {
            name: "test",
            cache,
            queue,
            deadline,
        };
        let driven = drive(Arc::clone(&ctx), work, reconcile);
        assert!(
            ctx.clock
                .within(Duration::from_secs(20), driven)
                .await
                .is_ok()
        );
        assert!(*worked.lock().unwrap() >= 3);
        let failed = |class| {
            let labels = ErrorLabels {
                controller: "test".to_owned(),
                class,
            };
            ctx.metrics.reconcile_errors.get_or_create(&labels).get()
        };
        assert_eq!(
            [failed("bug"), failed("config"), failed("transient")],
            [1, 1, 1]
        );
        assert!(ctx.stop.is_idle());
    }
}
