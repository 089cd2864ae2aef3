//! `ServiceBinding`: the Secret of a service in the workloads that ask for it, as Service Binding
//! for Kubernetes says, where no other implementation does it (ADR 21).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_api::service_binding::{BindingReason, ServiceBinding};
use domicile_core::binding::Names;
use kube::{Api, ResourceExt};
use tracing::info;

use crate::context::Ctx;
use crate::controllers::{LONGEST_WAIT, Work, drive};
use crate::kube::events::Severity;
use crate::projection::kinds::Kinds;
use crate::service_bindings::Definitions;
use crate::settings::ServiceBindings;

mod error;
mod hold;
mod owner;
pub(crate) mod plan;
mod released;
mod report;
mod service;
mod table;
mod watches;
mod workloads;

use error::BindingError;

use plan::Plan;
use released::Released;
use report::{Finding, Verdict};
use watches::Watches;

/// Longest time for one pass: calls to the API server, one per workload.
const DEADLINE: Duration = Duration::from_mins(2);
/// When to look again at what is missing, and at the earliest at what cannot be watched.
const LATER: Duration = Duration::from_secs(10);
/// When to go on with what was begun.
const AGAIN: Duration = Duration::from_millis(200);

/// What passes remember.
struct State {
    kinds: Kinds,
    watches: Watches,
    /// The bindings of others that were told of.
    told: Mutex<BTreeSet<String>>,
}

/// Runs the controller until the process ends. It begins when the definitions are served.
pub async fn run(ctx: Arc<Ctx>) {
    ctx.service_bindings.served().await;
    // A mapping that was not looked at yet would be taken for absent.
    ctx.stores.mappings.ready().await;
    ctx.stores.bindings.ready().await;
    let (watches, asked) = watches::watches();
    let state = Arc::new(State {
        kinds: Kinds::default(),
        watches,
        told: Mutex::default(),
    });
    let work = Work {
        name: "binding",
        cache: ctx.stores.bindings.clone(),
        queue: Arc::clone(&ctx.wake.bindings),
        deadline: DEADLINE,
    };
    let reconcile = move |binding, ctx| {
        let state = Arc::clone(&state);
        async move { reconcile(binding, ctx, state).await }
    };
    tokio::select! {
        () = drive(Arc::clone(&ctx), work, reconcile) => {}
        () = watches::run(&ctx, asked) => {}
    }
}

async fn reconcile(
    binding: Arc<ServiceBinding>,
    ctx: Arc<Ctx>,
    state: Arc<State>,
) -> Result<Duration, BindingError> {
    let held = hold::is_held(&binding);
    if binding.metadata.deletion_timestamp.is_some() {
        if held {
            end(&ctx, &state, &binding).await?;
        }
        return Ok(Duration::MAX);
    }
    if !is_ours(&ctx, &state, &binding, held).await? {
        return Ok(LONGEST_WAIT);
    }
    let mut binding = binding;
    let plan = match plan::read(&binding) {
        Ok(plan) => plan,
        Err(fact) => {
            report::write(&ctx, &binding, &Verdict::invalid(&fact)).await?;
            return Ok(LONGEST_WAIT);
        }
    };
    let (verdict, again) = bind(&ctx, &state, &mut binding, &plan).await?;
    if again {
        return Ok(AGAIN);
    }
    report::write(&ctx, &binding, &verdict).await?;
    Ok(rest(&state, &binding, &plan, &verdict))
}

/// Service, workloads, and what carried the binding before.
async fn bind(
    ctx: &Ctx,
    state: &State,
    binding: &mut Arc<ServiceBinding>,
    plan: &Plan,
) -> Result<(Verdict, bool), BindingError> {
    let namespace = binding.namespace().unwrap_or_default();
    let service = service::look(ctx, state, &namespace, plan).await?;
    let found = service.as_ref().ok();
    let outcome = workloads::bind(ctx, state, binding, plan, found).await?;
    let before = hold::kinds(binding);
    let mut left = Vec::new();
    for kind in &before {
        // Another version of it leads to the same workloads.
        let present = kind.is_same(&plan.kind);
        let gone = !present && {
            let released = workloads::release(ctx, state, &namespace, kind, &plan.asked.names);
            released.await? == Released::All
        };
        if !gone {
            left.push(kind.clone());
        }
    }
    if left != before {
        *binding = hold::only(ctx, Arc::clone(binding), &left).await?;
    }
    let secret = found.map(|found| found.secret.clone());
    let service = match service {
        Ok(found) => {
            let message = format!("the Secret is {namespace}/{}", found.secret);
            Finding::good(BindingReason::SecretResolved, message)
        }
        Err(finding) => finding,
    };
    let verdict = Verdict {
        service,
        workload: outcome.finding,
        secret,
    };
    Ok((verdict, outcome.again))
}

fn rest(state: &State, binding: &ServiceBinding, plan: &Plan, verdict: &Verdict) -> Duration {
    let namespace = binding.namespace().unwrap_or_default();
    let sees = |kind| state.watches.sees(&namespace, kind);
    let settled = verdict.ready().reason == BindingReason::Projected;
    let service = &plan.service_kind;
    // A Secret is never watched, and a placement always.
    let told = service.is_secret() || service.is_placement() || sees(service);
    if !(told && sees(&plan.kind)) {
        state.watches.rest()
    } else if settled {
        LONGEST_WAIT
    } else {
        LATER
    }
}

/// Whether a binding is for us. One that another implementation works on is given back.
async fn is_ours(
    ctx: &Ctx,
    state: &State,
    binding: &ServiceBinding,
    held: bool,
) -> Result<bool, BindingError> {
    match ctx.settings.service_bindings {
        ServiceBindings::Always => return Ok(true),
        ServiceBindings::Never => return Ok(false),
        ServiceBindings::Auto => {}
    }
    if hold::is_foreign(&binding.metadata) {
        if held {
            end(ctx, state, binding).await?;
        }
        tell_of_another(ctx, state, binding);
        return Ok(false);
    }
    if held {
        return Ok(true);
    }
    if ctx.service_bindings.found() != Definitions::Ours {
        return Ok(false);
    }
    let namespace = binding.namespace().unwrap_or_default();
    let api: Api<ServiceBinding> = Api::namespaced(ctx.client.clone(), &namespace);
    let metadata = ctx.call(api.get_metadata_opt(&binding.name_any())).await;
    let metadata = metadata.map_err(|error| BindingError::call("reading the binding", error))?;
    let Some(metadata) = metadata else {
        return Ok(false);
    };
    let foreign = hold::is_foreign(&metadata.metadata);
    if foreign {
        tell_of_another(ctx, state, binding);
    }
    Ok(!foreign)
}

fn tell_of_another(ctx: &Ctx, state: &State, binding: &ServiceBinding) {
    let uid = binding.uid().unwrap_or_default();
    let mut told = state.told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() >= MOST_TOLD {
        told.clear();
    }
    if !told.insert(uid) {
        return;
    }
    info!(
        namespace = binding.namespace(),
        name = binding.name_any(),
        "Leaving a binding to others"
    );
    let note = "another implementation of Service Binding works on this binding; it is left to it. \
                When there is none any more, set the chart's `serviceBindings.mode` to Always";
    let reason = BindingReason::OtherImplementation.as_str();
    ctx.events
        .publish(binding, Severity::Normal, reason, "Bind", note);
}

/// Most bindings of others that are remembered as told of.
const MOST_TOLD: usize = 4096;

/// Takes a binding back from all workloads and lets it go.
async fn end(ctx: &Ctx, state: &State, binding: &ServiceBinding) -> Result<(), BindingError> {
    let namespace = binding.namespace().unwrap_or_default();
    let names = Names::of(&binding.uid().unwrap_or_default());
    let warn = |reason: BindingReason, note: String| {
        let reason = reason.as_str();
        ctx.events
            .publish(binding, Severity::Warning, reason, "Release", note);
    };
    let mut refused = Vec::new();
    for kind in hold::last_kinds(binding) {
        match workloads::release(ctx, state, &namespace, &kind, &names).await? {
            Released::All => {}
            Released::Refused(fact) => refused.push(fact),
            // The deletion of a namespace takes the operator's rights in it, too: waiting for them
            // would keep both for ever.
            Released::NoRights => {
                let note = format!(
                    "{kind} in {namespace} may still carry the binding, because the operator may \
                     not change them; take volume {} out by hand",
                    names.volume()
                );
                warn(BindingReason::NamespaceNotOnboarded, note);
            }
        }
    }
    if !refused.is_empty() {
        let fact = refused.join("; ");
        let note = format!(
            "the deletion waits until the binding can be taken back: {fact}; let the policy or \
             webhook admit that, or take volume {} out and the finalizer off by hand",
            names.volume()
        );
        warn(BindingReason::WorkloadRefused, note);
        return Err(BindingError::Refused(fact));
    }
    hold::release(ctx, binding).await
}

/// What a refusal for want of rights means.
fn not_allowed(doing: &str, what: &str, namespace: &str) -> String {
    format!(
        "the operator may not {doing} {what} in namespace {namespace}; apply what \
         `kubectl domicile onboard {namespace}` prints, and for kinds that are not of Kubernetes \
         itself label a ClusterRole servicebinding.io/controller=true"
    )
}
