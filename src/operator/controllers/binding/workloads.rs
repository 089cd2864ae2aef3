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
use super::report::Finding;
use super::service::Found;
use super::{State, hold, not_allowed};
use crate::context::Ctx;
use crate::kube::apply::{self, Ownership};
use crate::kube::pages;
use crate::projection::decide::{self, Decision};
use crate::projection::kinds::{self, Kind, NoKind};
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
    let live = match pages::list(ctx, &api).await {
        Ok(live) => live,
        Err(error) if error.is_forbidden() => {
            let message = not_allowed("list", &kind.to_string(), &namespace);
            return Ok(Outcome::bad(BindingReason::WorkloadForbidden, message));
        }
        Err(error) => return Err(BindingError::call(format!("listing {kind}"), error)),
    };
    let mut round = Round {
        ctx,
        api: &api,
        resource: &resource,
        names: &plan.asked.names,
        tally: Tally::default(),
    };
    for one in present(&live) {
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
    let missing = |message| Ok(Err(Outcome::bad(BindingReason::WorkloadNotFound, message)));
    let resource = match state.kinds.find(ctx, kind).await {
        Ok(resource) => resource,
        Err(NoKind::NotServed) => {
            return missing(format!("the API server does not serve {kind}; install it"));
        }
        Err(NoKind::ClusterScoped) => {
            return missing(format!(
                "{kind} is in no namespace; name one of {namespace}"
            ));
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

/// Takes a binding back from all workloads of a kind. False when the operator may not.
pub(super) async fn release(
    ctx: &Ctx,
    state: &State,
    namespace: &str,
    kind: &Kind,
    names: &Names,
) -> Result<bool, BindingError> {
    let resource = match state.kinds.find(ctx, kind).await {
        Ok(resource) => resource,
        // Without the kind there is no workload of it.
        Err(NoKind::NotServed | NoKind::ClusterScoped) => return Ok(true),
        Err(NoKind::Call(error)) => {
            return Err(BindingError::call(format!("looking {kind} up"), error));
        }
    };
    let api = kinds::api(ctx, namespace, &resource);
    let live = match pages::list(ctx, &api).await {
        Ok(live) => live,
        Err(error) if error.is_forbidden() => return Ok(false),
        Err(error) => return Err(BindingError::call(format!("listing {kind}"), error)),
    };
    let mut round = Round {
        ctx,
        api: &api,
        resource: &resource,
        names,
        tally: Tally::default(),
    };
    for one in present(&live) {
        round.give_back(one).await?;
    }
    let Tally {
        problems, again, ..
    } = round.tally;
    if again {
        let doing = format!("releasing {kind}");
        return Err(BindingError::Again(doing));
    }
    Ok(problems.is_empty())
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
                let message = format!("{name}: {field} belongs to {manager}; take it out there");
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
            let message = format!(
                "{kind} {name}: {} belongs to {}; take it out there",
                first.field, first.manager
            );
            (BindingReason::FieldConflict, message)
        } else if error.is_forbidden() {
            let namespace = live.namespace().unwrap_or_default();
            let message = not_allowed("change", kind, &namespace);
            (BindingReason::WorkloadForbidden, message)
        } else if code == 400 || code == 422 {
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
