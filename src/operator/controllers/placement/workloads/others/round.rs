//! The workloads of one kind that is not of `apps/v1`.

use std::collections::BTreeSet;

use domicile_api::conditions::Reason;
use domicile_api::injection::ReloadStrategy;
use domicile_api::meta::manager;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::OtherWorkload;
use domicile_api::service_binding::{ClusterWorkloadResourceMapping, EnvMapping};
use domicile_core::binding::Names;
use domicile_core::json_path::Step;
use kube::api::{ApiResource, DynamicObject};
use kube::core::SelectorExt;
use kube::{Api, ResourceExt};
use serde_json::Value;
use tracing::info;

use super::{Gift, Trouble, recorded};
use crate::context::Ctx;
use crate::controllers::placement::SOON;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::inject::Content;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::serve::namespace;
use crate::controllers::placement::workloads::conclude::Seen;
use crate::controllers::placement::workloads::{Selection, asked};
use crate::kube::client::CallError;
use crate::kube::{apply, pages};
use crate::projection::decide::{Decision, value_of};
use crate::projection::kinds::{self, Kind, NoKind};
use crate::projection::mapping::{self, Template};
use crate::projection::project::{Wanted, name_of};
use crate::projection::{Asked, Mount, insert, places};

/// The workloads of one kind.
pub(super) struct Round<'a> {
    ctx: &'a Ctx,
    tenant: &'a TenantPlacement,
    kind: &'a Kind,
    resource: ApiResource,
    template: Template,
    api: Api<DynamicObject>,
    pub(super) live: Vec<DynamicObject>,
    names: Names,
}

impl<'a> Round<'a> {
    /// Looks at the workloads of a kind; nothing where there is no such kind and none is `meant`.
    pub(super) async fn begin(
        (ctx, memory): (&'a Ctx, &Memory),
        tenant: &'a TenantPlacement,
        kind: &'a Kind,
        meant: bool,
    ) -> Result<Result<Option<Self>, Trouble>, Halt> {
        let field = "`spec.injection.workloads`";
        let unknown = |message| Ok(Err((Reason::WorkloadKindUnknown, message)));
        let resource = match memory.kinds.find(ctx, kind).await {
            Ok(resource) => resource,
            // Without the kind there is no workload of it.
            Err(NoKind::NotServed | NoKind::ClusterScoped) if !meant => return Ok(Ok(None)),
            Err(NoKind::NotServed) => {
                return unknown(format!(
                    "the API server does not serve {kind}; install it, or take it out of {field}"
                ));
            }
            Err(NoKind::ClusterScoped) => {
                return unknown(format!("{kind} is in no namespace; take it out of {field}"));
            }
            Err(NoKind::Call(error)) => {
                return Err(PlacementError::call(format!("looking {kind} up"), error).into());
            }
        };
        let template = match template(ctx, &resource).await? {
            Ok(template) => template,
            // What is taken back is told by the record on the workload.
            Err(trouble) if meant => return Ok(Err(trouble)),
            Err(trouble) => match mapping::choose(None, &resource) {
                Ok(template) => template,
                Err(_) => return Ok(Err(trouble)),
            },
        };
        let namespace = namespace(tenant);
        let api = kinds::api(ctx, &namespace, &resource);
        let mut live = match pages::list(ctx, &api).await {
            Ok(live) => live,
            Err(error) if error.is_forbidden() => {
                return Ok(Err(forbidden("list", kind, &namespace)));
            }
            // It was served when it was looked up, and is not any more.
            Err(error) if error.is_not_found() => {
                memory.kinds.forget(kind);
                return Err(Halt::Later(SOON));
            }
            Err(error) => {
                return Err(PlacementError::call(format!("listing {kind}"), error).into());
            }
        };
        live.retain(|live| live.metadata.deletion_timestamp.is_none());
        Ok(Ok(Some(Self {
            ctx,
            tenant,
            kind,
            resource,
            template,
            api,
            live,
            names: Names::of(&tenant.uid().unwrap_or_default()),
        })))
    }

    /// Gives the selected ones what they must carry, and takes it back from the others.
    pub(super) async fn inject(
        &self,
        selections: &[Selection<'_>],
        gift: &Gift<'_>,
        seen: &mut Seen<'_>,
    ) -> Result<Result<(), Trouble>, Halt> {
        for live in &self.live {
            let matches = |one: &&Selection<'_>| {
                let kind = Kind::read(&one.spec.api_version, &one.spec.kind);
                kind.as_ref() == Ok(self.kind) && one.selector.matches(live.labels())
            };
            let chosen = asked(selections.iter().filter(matches));
            let done = match (chosen, gift.content) {
                (Some(containers), Some(content)) => {
                    self.give(live, containers, (gift, content), seen).await?
                }
                (chosen, _) => {
                    let done = self.give_back(live).await?;
                    if chosen.is_some() && done.is_ok() && seen.has_room() {
                        seen.others.push(self.shown(live, None));
                    }
                    done
                }
            };
            if let Err(trouble) = done {
                return Ok(Err(trouble));
            }
        }
        Ok(Ok(()))
    }

    /// Gives a workload what it must carry.
    async fn give(
        &self,
        live: &DynamicObject,
        containers: Vec<String>,
        (gift, content): (&Gift<'_>, Content<'_>),
        seen: &mut Seen<'_>,
    ) -> Result<Result<(), Trouble>, Halt> {
        if !seen.has_room() {
            return Ok(Ok(()));
        }
        let name = format!("{} {}", self.resource.kind, live.name_any());
        let root = value_of(live);
        seen.others.push(self.shown(live, self.carried(&root)));
        let missing = missing(&root, &self.template, &containers);
        if !missing.is_empty() {
            seen.missing.push(format!("{name}: {}", missing.join(", ")));
            return Ok(Ok(()));
        }
        if containers_in(&root, &self.template) == 0 {
            let mapping = mapping::name_for(&self.resource);
            let message = format!(
                "{name} has no containers where they were looked for; say where they are in \
                 ClusterWorkloadResourceMapping {mapping}"
            );
            return Ok(Err((Reason::InvalidMapping, message)));
        }
        let restarts = self.tenant.reload_strategy() == ReloadStrategy::RollingRestart;
        let template = meant(&self.template, &containers);
        let asked = ask(self.names.clone(), containers, content);
        let wanted = Wanted {
            asked: &asked,
            secret: gift.secret,
            hash: restarts.then_some(gift.hash),
            template: &template,
        };
        match insert::decide(live, &root, &wanted) {
            Decision::Conflict { manager, field } => seen.conflict(&name, &field, &manager),
            Decision::Refused(fact) => {
                return Ok(Err((Reason::InvalidMapping, format!("{name}: {fact}"))));
            }
            // It is recorded first that a workload of this kind may carry something.
            Decision::Insert(_) if !recorded(self.tenant).contains(self.kind) => {
                seen.others_begin = true;
            }
            Decision::Insert(patch) => {
                let written = self.write(live, &patch).await?;
                if let (Ok(()), Some(shown)) = (&written, seen.others.last_mut()) {
                    shown.observed_hash = restarts.then(|| gift.hash.to_owned());
                }
                return Ok(written);
            }
            // The last two are answered only where an apply takes part.
            Decision::Settled | Decision::Apply(_) | Decision::First(_) => {}
        }
        Ok(Ok(()))
    }

    /// Takes back what a workload carries.
    pub(super) async fn give_back(
        &self,
        live: &DynamicObject,
    ) -> Result<Result<(), Trouble>, Halt> {
        if !live.annotations().contains_key(&self.names.mark()) {
            return Ok(Ok(()));
        }
        let record = insert::record(live, &self.names).unwrap_or_default();
        let patch = insert::take_back(&value_of(live), &self.names, &record);
        self.write(live, &patch).await
    }

    async fn write(
        &self,
        live: &DynamicObject,
        patch: &Value,
    ) -> Result<Result<(), Trouble>, Halt> {
        let (kind, name) = (&self.resource.kind, live.name_any());
        info!(kind, workload = name, "Writing to a workload");
        let written = apply::merge(self.ctx, &self.api, &name, manager::INJECT, patch).await;
        let Err(error) = written else {
            return Ok(Ok(()));
        };
        let code = error.status().map_or(0, |status| status.code);
        if error.is_forbidden() {
            let namespace = namespace(self.tenant);
            return Ok(Err(forbidden("change", self.kind, &namespace)));
        }
        if code == 400 || code == 422 {
            let message =
                format!("the API server refuses what is injected into {kind} {name}: {error}");
            return Ok(Err((Reason::InvalidSpec, message)));
        }
        if error.is_conflict() || error.is_not_found() {
            // It was changed, deleted or made anew meanwhile: the next pass looks again.
            return Err(Halt::Later(SOON));
        }
        Err(PlacementError::call(format!("writing {kind} {name}"), error).into())
    }

    /// The hash that its pods are to have.
    fn carried(&self, root: &Value) -> Option<String> {
        let at = places::join(&[], &self.template.annotations);
        let hash = &places::get(root, &at)?[self.names.entry("secret")];
        hash.as_str().map(str::to_owned)
    }

    fn shown(&self, live: &DynamicObject, observed_hash: Option<String>) -> OtherWorkload {
        OtherWorkload {
            api_version: self.resource.api_version.clone(),
            kind: self.resource.kind.clone(),
            name: live.name_any(),
            observed_hash,
        }
    }
}

/// Where a kind keeps what a pod template keeps. The mapping is read each time, since it is not
/// known whether the definition of mappings is installed.
async fn template(ctx: &Ctx, resource: &ApiResource) -> Result<Result<Template, Trouble>, Halt> {
    let name = mapping::name_for(resource);
    let api: Api<ClusterWorkloadResourceMapping> = Api::all(ctx.client.clone());
    let found = match ctx.call(api.get_opt(&name)).await {
        Ok(found) => found,
        // Also where the definition of mappings is not installed.
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(unread(&name, error)),
    };
    let chosen = mapping::choose(found.as_ref().map(|found| &found.spec), resource);
    Ok(chosen.map_err(|fact| {
        let message = format!("ClusterWorkloadResourceMapping {name}: {fact}");
        (Reason::InvalidMapping, message)
    }))
}

fn unread(name: &str, error: CallError) -> Halt {
    PlacementError::call(
        format!("reading ClusterWorkloadResourceMapping {name}"),
        error,
    )
    .into()
}

fn containers_in(root: &Value, template: &Template) -> usize {
    let kinds = template.containers.iter();
    kinds.map(|kind| places::find(root, &kind.path).len()).sum()
}

/// The named containers that are not there.
fn missing(root: &Value, template: &Template, asked: &[String]) -> Vec<String> {
    let mut there = BTreeSet::new();
    for kind in &template.containers {
        for at in places::find(root, &kind.path) {
            there.extend(name_of(root, kind, &at));
        }
    }
    let missing = asked.iter().filter(|name| !there.contains(*name));
    missing.cloned().collect()
}

/// The containers that get the Secret: where none is named, all but init containers.
fn meant(template: &Template, asked: &[String]) -> Template {
    let mut template = template.clone();
    let init = |step: &Step| *step == Step::Field("initContainers".to_owned());
    let all = asked.is_empty();
    template
        .containers
        .retain(|kind| !all || !kind.path.iter().any(init));
    template
}

fn ask(names: Names, containers: Vec<String>, content: Content<'_>) -> Asked {
    let (mount, env) = match content {
        Content::Files(path) => (Mount::At(path.to_owned()), Vec::new()),
        Content::Variables(variables) => {
            let one = |name: &String| EnvMapping {
                name: name.clone(),
                key: name.clone(),
            };
            (Mount::None, variables.iter().map(one).collect())
        }
    };
    Asked {
        names,
        mount,
        entries: Vec::new(),
        containers: (!containers.is_empty()).then(|| containers.into_iter().collect()),
        env,
    }
}

/// What a refusal for want of rights means.
fn forbidden(doing: &str, kind: &Kind, namespace: &str) -> Trouble {
    let message = format!(
        "the operator may not {doing} {kind} in namespace {namespace}; label a ClusterRole that \
         lets it get, list and patch them servicebinding.io/controller=true, and apply what \
         `kubectl domicile onboard {namespace}` prints"
    );
    (Reason::WorkloadForbidden, message)
}
