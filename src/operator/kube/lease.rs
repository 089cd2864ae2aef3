//! Leader election: one Lease, changed only by compare-and-swap. It elects who works; it is no
//! lock, and so the process ends when it loses it, and databases have epochs of their own.

use std::sync::Arc;
use std::time::Duration;

use domicile_core::time::Mono;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use thiserror::Error;
use tracing::{info, warn};

use crate::context::Ctx;
use crate::kube::client::CallError;

/// How long others wait after the last renewal that they saw.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(5);
/// How long the holder believes in a renewal, counted from *sending* it: shorter than others wait.
const TRUST: Duration = Duration::from_secs(11);
/// How often others look.
const LOOK: Duration = Duration::from_secs(2);

/// The lease went to somebody else, or could not be renewed in time. The process must end.
#[derive(Debug, Error)]
pub enum Lost {
    /// Another replica holds it.
    #[error("the lease is held by {0}")]
    Taken(String),
    /// Not renewed in time.
    #[error("the lease was not renewed for {} s", TRUST.as_secs())]
    Expired,
}

/// A lease as this process saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Who holds it; empty when released.
    pub holder: String,
    /// How often it changed hands.
    pub transitions: i32,
    /// Its resource version: any change of it is a sign of life of the holder.
    pub version: String,
    /// When this process first saw this version.
    pub since: Mono,
}

/// What to do about the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// There is none: make it.
    Create,
    /// Take or renew it, with this many transitions.
    Write(i32),
    /// Another holds it.
    Wait,
}

/// Decides from what was seen. A holder's silence is measured by the watcher's own clock, so that
/// the clocks of two machines are never compared.
pub fn decide(sight: Option<&Sight>, me: &str, now: Mono) -> Act {
    let Some(Sight {
        holder,
        transitions,
        version: _,
        since,
    }) = sight
    else {
        return Act::Create;
    };
    let silent = Duration::from_millis(now.since(*since));
    if holder == me {
        Act::Write(*transitions)
    } else if holder.is_empty() || silent >= DURATION {
        Act::Write(transitions.saturating_add(1))
    } else {
        Act::Wait
    }
}

/// What is known after another look: a new version starts the silence anew.
pub fn look(before: Option<Sight>, lease: &Lease, now: Mono) -> Sight {
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    match before {
        Some(sight) if sight.version == version => sight,
        Some(_) | None => {
            let spec = lease.spec.clone().unwrap_or_default();
            Sight {
                holder: spec.holder_identity.unwrap_or_default(),
                transitions: spec.lease_transitions.unwrap_or(0),
                version,
                since: now,
            }
        }
    }
}

/// A held lease.
#[derive(Debug)]
pub struct Held {
    api: Api<Lease>,
    sight: Sight,
    /// When the last successful renewal was sent.
    sent: Mono,
}

impl Held {
    /// The number of this leadership: it grows with every new leader.
    pub fn token(&self) -> i32 {
        self.sight.transitions
    }
}

/// Waits until this process holds the lease.
pub async fn acquire(ctx: &Arc<Ctx>) -> Held {
    let api: Api<Lease> = Api::namespaced(ctx.client.clone(), ctx.settings.namespace());
    let mut sight = None;
    loop {
        ctx.pulse.beat("lease", ctx.clock.mono());
        match attempt(ctx, &api, &mut sight).await {
            Ok(Some(held)) => {
                let holder = ctx.settings.identity();
                info!(holder, token = held.token(), "Leading");
                return held;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "The lease cannot be read or written"),
        }
        ctx.clock.sleep(LOOK).await;
    }
}

/// Renews the lease until it is lost. Never answers while it is held.
pub async fn keep(ctx: &Arc<Ctx>, held: &mut Held) -> Lost {
    loop {
        ctx.clock.sleep(RENEW).await;
        if let Err(lost) = renew(ctx, held).await {
            return lost;
        }
        ctx.pulse.beat("lease", ctx.clock.mono());
    }
}

/// Gives the lease up, so that the next leader need not wait.
pub async fn release(ctx: &Ctx, held: &Held) {
    let document = document(ctx, "", held.sight.transitions, &held.sight.version);
    match patch(ctx, &held.api, &document).await {
        Ok(_) => info!("Released the lease"),
        Err(error) => warn!(%error, "The lease was not released"),
    }
}

async fn attempt(
    ctx: &Ctx,
    api: &Api<Lease>,
    sight: &mut Option<Sight>,
) -> Result<Option<Held>, CallError> {
    let Some(lease) = ctx.call(api.get_opt(&ctx.settings.lease)).await? else {
        return create(ctx, api).await;
    };
    let now = ctx.clock.mono();
    let seen = look(sight.take(), &lease, now);
    let act = decide(Some(&seen), ctx.settings.identity(), now);
    let version = seen.version.clone();
    *sight = Some(seen);
    match act {
        Act::Create | Act::Wait => Ok(None),
        Act::Write(transitions) => {
            let document = document(ctx, ctx.settings.identity(), transitions, &version);
            match patch(ctx, api, &document).await {
                Ok(lease) => Ok(Some(held(api, &lease, now))),
                Err(error) if error.is_conflict() => Ok(None),
                Err(error) => Err(error),
            }
        }
    }
}

async fn create(ctx: &Ctx, api: &Api<Lease>) -> Result<Option<Held>, CallError> {
    let now = ctx.clock.now();
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(ctx.settings.lease.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            acquire_time: Some(MicroTime(now.wall)),
            holder_identity: Some(ctx.settings.identity().to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(1),
            renew_time: Some(MicroTime(now.wall)),
            ..LeaseSpec::default()
        }),
    };
    match ctx.call(api.create(&PostParams::default(), &lease)).await {
        Ok(lease) => Ok(Some(held(api, &lease, now.mono))),
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn renew(ctx: &Ctx, held: &mut Held) -> Result<(), Lost> {
    loop {
        let sent = ctx.clock.mono();
        let left = TRUST.saturating_sub(Duration::from_millis(sent.since(held.sent)));
        if left.is_zero() {
            return Err(Lost::Expired);
        }
        let me = ctx.settings.identity();
        let document = document(ctx, me, held.sight.transitions, &held.sight.version);
        let attempt = ctx
            .clock
            .within(left, patch(ctx, &held.api, &document))
            .await;
        match attempt {
            Ok(Ok(lease)) => {
                held.sight = look(None, &lease, sent);
                held.sent = sent;
                return Ok(());
            }
            // Either another took it, or an earlier renewal took effect without an answer.
            Ok(Err(error)) if error.is_conflict() => reread(ctx, held).await?,
            Ok(Err(error)) => warn!(%error, "The lease was not renewed"),
            Err(_) => return Err(Lost::Expired),
        }
        ctx.clock.sleep(Duration::from_secs(1).min(left)).await;
    }
}

async fn reread(ctx: &Ctx, held: &mut Held) -> Result<(), Lost> {
    let Ok(Some(lease)) = ctx.call(held.api.get_opt(&ctx.settings.lease)).await else {
        return Ok(());
    };
    let sight = look(None, &lease, held.sent);
    if sight.holder != ctx.settings.identity() || sight.transitions != held.sight.transitions {
        return Err(Lost::Taken(sight.holder));
    }
    held.sight = sight;
    Ok(())
}

async fn patch(
    ctx: &Ctx,
    api: &Api<Lease>,
    document: &serde_json::Value,
) -> Result<Lease, CallError> {
    let parameters = PatchParams::default();
    ctx.call(api.patch(&ctx.settings.lease, &parameters, &Patch::Merge(document)))
        .await
}

/// The resource version makes the patch a compare-and-swap.
fn document(ctx: &Ctx, holder: &str, transitions: i32, version: &str) -> serde_json::Value {
    json!({
        "metadata": { "resourceVersion": version },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION.as_secs(),
            "leaseTransitions": transitions,
            "renewTime": MicroTime(ctx.clock.now().wall),
        },
    })
}

fn held(api: &Api<Lease>, lease: &Lease, sent: Mono) -> Held {
    Held {
        api: api.clone(),
        sight: look(None, lease, sent),
        sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(holder: &str, since: u64) -> Sight {
        Sight {
            holder: holder.to_owned(),
            transitions: 4,
            version: "7".to_owned(),
            since: Mono(since),
        }
    }

    fn lease(holder: &str, version: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.to_owned());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            ..LeaseSpec::default()
        });
        lease
    }

    #[test]
    fn a_living_holder_is_left_alone() {
        assert_eq!(
            decide(Some(&sight("other", 1_000)), "me", Mono(15_999)),
            Act::Wait
        );
    }

    /// Faults: 46.
    #[test]
    fn a_silent_holder_is_followed_under_a_higher_token() {
        assert_eq!(
            decide(Some(&sight("other", 1_000)), "me", Mono(16_000)),
            Act::Write(5)
        );
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        assert_eq!(
            decide(Some(&sight("", 1_000)), "me", Mono(1_000)),
            Act::Write(5)
        );
    }

    #[test]
    fn our_own_lease_keeps_its_token() {
        assert_eq!(
            decide(Some(&sight("me", 1_000)), "me", Mono(99_000)),
            Act::Write(4)
        );
        assert_eq!(decide(None, "me", Mono(0)), Act::Create);
    }

    #[test]
    fn every_renewal_starts_the_silence_anew() {
        let first = look(None, &lease("other", "7"), Mono(0));
        let same = look(Some(first.clone()), &lease("other", "7"), Mono(14_000));
        assert_eq!(same.since, Mono(0));
        let renewed = look(Some(first), &lease("other", "8"), Mono(14_000));
        assert_eq!(renewed.since, Mono(14_000));
    }

    /// Faults: 47, 48.
    #[test]
    fn the_holder_stops_before_another_may_begin() {
        assert!(TRUST < DURATION);
    }
}
