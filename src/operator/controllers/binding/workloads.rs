//! The workloads of a binding: found, given what they must carry, and released when they are no
//! longer meant.

use std::sync::Arc;

use domicile_api::service_binding::{BindingReason, ServiceBinding};
use domicile_core::binding::Names;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use tracing::info;

use super::error::BindingError;
use super::plan::{Plan, Selection};
use super::released::Released;
use super::report::Finding;
use super::service::Found;
use super::{State, hold, not_allowed, owner};
use crate::context::Ctx;
use crate::kube::apply::{self, Ownership};
use crate::kube::pages;
use crate::projection::decide::{self, Decision};
use crate::projection::kinds::{self, Kind, Kinds, NoKind};
use crate::projection::mapping::{self, Template};
use crate::projection::project::Wanted;

/// What became of the workloads.
#[derive(Debug)]
pub(super) struct Outcome {
    /// About all of them.
    pub(super) finding: Finding,
    /// Whether to look again at once.
    pub(super) again: bool,
}

impl Outcome {
    fn bad(reason: BindingReason, message: String) -> Self {
        Self {
            finding: Finding::bad(reason, message),
            again: false,
        }
    }
}

/// Gives every workload that is meant what it must carry, when the Secret is known, and takes it
/// back from the others. `binding` is the object as last written.
pub(super) async fn bind(
    ctx: &Ctx,
    state: &State,
    binding: &mut Arc<ServiceBinding>,
    plan: &Plan,
    found: Option<&Found>,
) -> Result<Outcome, BindingError> {
    let namespace = binding.namespace().unwrap_or_default();
    let kind = &plan.kind;
    let (resource, template) = match places_of(ctx, state, &namespace, kind).await? {
        Ok(places) => places,
        Err(outcome) => return Ok(outcome),
    };
    let api = kinds::api(ctx, &namespace, &resource);
    let live = match list(ctx, state, kind, &api).await? {
        Ok(live) => live,
        Err(Unlisted::NotServed) => return Ok(not_served(kind)),
        Err(Unlisted::Forbidden) => {
            let message = not_allowed("list", &kind.to_string(), &namespace);
            return Ok(Outcome::bad(BindingReason::WorkloadForbidden, message));
        }
    };
    let names = &plan.asked.names;
    let mut round = Round {
        ctx,
        api: &api,
        resource: &resource,
        names,
        tally: Tally::default(),
    };
    for one in present(&live) {
        // Also where nothing is to be written: a finalizer that somebody took out comes back.
        if decide::is_bound(one, names) {
            *binding = hold::hold(ctx, Arc::clone(binding), kind).await?;
        }
        if !plan.selection.selects(one) {
            round.give_back(one).await?;
            continue;
        }
        round.tally.meant += 1;
        let Some(found) = found else { continue };
        let wanted = Wanted {
            asked: &plan.asked,
            secret: &found.secret,
            hash: found.hash.as_deref(),
            template: &template,
        };
        let decision = decide::decide(one, &resource, &wanted);
        if decision.writes() {
            *binding = hold::hold(ctx, Arc::clone(binding), kind).await?;
        }
        round.give(one, decision).await?;
    }
    let tally = round.tally;
    Ok(Outcome {
        again: tally.again,
        finding: conclude(plan, &namespace, tally, found.is_some()),
    })
}

/// What a kind is called, and the places in its objects; or why they are not known.
async fn places_of(
    ctx: &Ctx,
    state: &State,
    namespace: &str,
    kind: &Kind,
) -> Result<Result<(ApiResource, Template), Outcome>, BindingError> {
    let resource = match state.kinds.find(ctx, kind).await {
        Ok(resource) => resource,
        Err(NoKind::NotServed) => return Ok(Err(not_served(kind))),
        Err(NoKind::ClusterScoped) => {
            let message = format!("{kind} is in no namespace; name one of {namespace}");
            return Ok(Err(Outcome::bad(BindingReason::WorkloadNotFound, message)));
        }
        Err(NoKind::Call(error)) => {
            return Err(BindingError::call(format!("looking {kind} up"), error));
        }
    };
    state.watches.want(namespace, kind, &resource);
    let name = mapping::name_for(&resource);
    let chosen = ctx.stores.mappings.get(&name);
    let template = mapping::choose(chosen.as_ref().map(|one| &one.spec), &resource);
    Ok(template
        .map(|template| (resource, template))
        .map_err(|fact| {
            let message = format!("ClusterWorkloadResourceMapping {name}: {fact}");
            Outcome::bad(BindingReason::InvalidMapping, message)
        }))
}

fn not_served(kind: &Kind) -> Outcome {
    let message = format!("the API server does not serve {kind}; install it");
    Outcome::bad(BindingReason::WorkloadNotFound, message)
}

/// Why the workloads of a kind cannot be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unlisted {
    /// The API server does not serve the kind any more.
    NotServed,
    /// The operator may not.
    Forbidden,
}

/// The workloads of a kind. Where they cannot be listed the kind is looked up anew next time:
/// whoever takes a definition away often takes the right with it.
async fn list(
    ctx: &Ctx,
    state: &State,
    kind: &Kind,
    api: &Api<DynamicObject>,
) -> Result<Result<Vec<DynamicObject>, Unlisted>, BindingError> {
    let error = match pages::list(ctx, api).await {
        Ok(live) => return Ok(Ok(live)),
        Err(error) => error,
    };
    let why = if error.is_not_found() {
        Unlisted::NotServed
    } else if error.is_forbidden() {
        Unlisted::Forbidden
    } else {
        return Err(BindingError::call(format!("listing {kind}"), error));
    };
    state.kinds.forget(kind);
    Ok(Err(why))
}

/// Takes a binding back from all workloads of a kind, in whichever version it is served by now.
pub(super) async fn release(
    ctx: &Ctx,
    state: &State,
    namespace: &str,
    kind: &Kind,
    names: &Names,
) -> Result<Released, BindingError> {
    for recorded in [true, false] {
        let found = if recorded {
            state.kinds.find(ctx, kind).await
        } else {
            // What was bound in a version that is gone is served in another one.
            Kinds::find_served(ctx, kind).await
        };
        let resource = match found {
            Ok(resource) => resource,
            Err(NoKind::NotServed | NoKind::ClusterScoped) => continue,
            Err(NoKind::Call(error)) => {
                return Err(BindingError::call(format!("looking {kind} up"), error));
            }
        };
        let api = kinds::api(ctx, namespace, &resource);
        match list(ctx, state, kind, &api).await? {
            Ok(live) => return take_back(ctx, &api, &resource, names, &live).await,
            Err(Unlisted::Forbidden) => return Ok(Released::NoRights),
            Err(Unlisted::NotServed) => {}
        }
    }
    // Without the kind there is no workload of it.
    Ok(Released::All)
}

async fn take_back(
    ctx: &Ctx,
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    names: &Names,
    live: &[DynamicObject],
) -> Result<Released, BindingError> {
    let mut round = Round {
        ctx,
        api,
        resource,
        names,
        tally: Tally::default(),
    };
    for one in present(live) {
        round.give_back(one).await?;
    }
    let Tally {
        problems, again, ..
    } = round.tally;
    if again {
        let doing = format!("releasing {}", resource.kind);
        return Err(BindingError::Again(doing));
    }
    Ok(Released::of(problems))
}

/// One round over the workloads of a kind.
struct Round<'a> {
    ctx: &'a Ctx,
    api: &'a Api<DynamicObject>,
    resource: &'a ApiResource,
    names: &'a Names,
    tally: Tally,
}

/// What was counted on the way.
#[derive(Debug, Default)]
struct Tally {
    meant: usize,
    bound: usize,
    problems: Vec<(BindingReason, String)>,
    again: bool,
}

impl Round<'_> {
    async fn give(&mut self, live: &DynamicObject, decision: Decision) -> Result<(), BindingError> {
        let name = format!("{} {}", self.resource.kind, live.name_any());
        match decision {
            Decision::Settled => self.tally.bound += 1,
            Decision::Conflict { manager, field } => {
                let message = format!("{name}: {}", self.tell(live, &field, &manager));
                self.tally
                    .problems
                    .push((BindingReason::FieldConflict, message));
            }
            Decision::Refused(fact) => {
                let message = format!("{name}: {fact}");
                self.tally
                    .problems
                    .push((BindingReason::WorkloadRefused, message));
            }
            Decision::First(first) => {
                if self.write(live, *first).await? {
                    self.tally.again = true;
                }
            }
            Decision::Apply(_) | Decision::Insert(_) => {
                if self.write(live, decision).await? {
                    self.tally.bound += 1;
                }
            }
        }
        Ok(())
    }

    async fn give_back(&mut self, live: &DynamicObject) -> Result<(), BindingError> {
        if let Some(decision) = decide::release(live, self.resource, self.names) {
            self.write(live, decision).await?;
        }
        Ok(())
    }

    /// Whose a field is, and what to do about it.
    fn tell(&self, live: &DynamicObject, field: &str, manager: &str) -> String {
        let namespace = live.namespace().unwrap_or_default();
        owner::tell(field, manager, |uid| {
            owner::named(self.ctx, &namespace, uid)
        })
    }

    /// Writes to a workload. True when it is as it was decided.
    async fn write(
        &mut self,
        live: &DynamicObject,
        decision: Decision,
    ) -> Result<bool, BindingError> {
        let (kind, name) = (&self.resource.kind, live.name_any());
        let manager = self.names.manager();
        info!(kind, workload = name, "Writing a binding to a workload");
        let written = match &decision {
            Decision::Apply(document) => {
                let respect = Ownership::Respect;
                apply::apply(self.ctx, self.api, &name, &manager, respect, document).await
            }
            Decision::Insert(patch) => {
                apply::merge(self.ctx, self.api, &name, &manager, patch).await
            }
            Decision::Settled
            | Decision::First(_)
            | Decision::Conflict { .. }
            | Decision::Refused(_) => return Ok(false),
        };
        let Err(error) = written else { return Ok(true) };
        let conflicts = apply::conflicts(&error);
        let code = error.status().map_or(0, |status| status.code);
        let problem = if let Some(first) = conflicts.first() {
            let told = self.tell(live, &first.field, &first.manager);
            (
                BindingReason::FieldConflict,
                format!("{kind} {name}: {told}"),
            )
        } else if error.lacks_right() {
            let namespace = live.namespace().unwrap_or_default();
            let message = not_allowed("change", kind, &namespace);
            (BindingReason::WorkloadForbidden, message)
        } else if error.is_denial() || matches!(code, 400 | 403 | 422) {
            (
                BindingReason::WorkloadRefused,
                format!("{kind} {name}: {error}"),
            )
        } else if error.is_conflict() || error.is_not_found() {
            // It was changed, deleted or made anew meanwhile.
            self.tally.again = true;
            return Ok(false);
        } else {
            return Err(BindingError::call(format!("writing {kind} {name}"), error));
        };
        self.tally.problems.push(problem);
        Ok(false)
    }
}

/// What all of it comes to: a part that failed is told, however many others did not.
fn conclude(plan: &Plan, namespace: &str, tally: Tally, secret: bool) -> Finding {
    let Tally {
        meant,
        bound,
        problems,
        // The pass after this one tells.
        again: _,
    } = tally;
    let kind = &plan.kind;
    if meant == 0 {
        let message = match &plan.selection {
            Selection::Name(name) => format!("{kind} {namespace}/{name} does not exist; create it"),
            Selection::Labels(_) => {
                format!("no {kind} in {namespace} matches `spec.workload.selector`")
            }
        };
        return Finding::bad(BindingReason::WorkloadNotFound, message);
    }
    if let Some((reason, _)) = problems.first() {
        let texts: Vec<&str> = problems.iter().map(|(_, text)| text.as_str()).collect();
        let message = format!("{bound} of {meant} are bound; {}", texts.join("; "));
        return Finding::bad(*reason, message);
    }
    if !secret {
        let message = format!("{meant} found; they are bound once the service tells its Secret");
        return Finding::unknown(BindingReason::NotEvaluated, message);
    }
    let message = format!(
        "the Secret is in {bound} {}",
        if bound == 1 { "workload" } else { "workloads" }
    );
    Finding::good(BindingReason::Projected, message)
}

/// Those that are not being deleted.
fn present(live: &[DynamicObject]) -> impl Iterator<Item = &DynamicObject> {
    let stays = |one: &&DynamicObject| one.metadata.deletion_timestamp.is_none();
    live.iter().filter(stays)
}
