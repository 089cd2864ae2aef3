//! The workloads of one kind that is not of `apps/v1`.

use std::collections::BTreeSet;

use domicile_api::conditions::Reason;
use domicile_api::injection::ReloadStrategy;
use domicile_api::meta::manager;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::OtherWorkload;
use domicile_api::service_binding::EnvMapping;
use domicile_core::binding::Names;
use domicile_core::json_path::Step;
use kube::api::{ApiResource, DynamicObject};
use kube::core::SelectorExt;
use kube::{Api, ResourceExt};
use serde_json::Value;
use tracing::info;

use super::{Gift, Trouble, found, is_alike, recorded};
use crate::context::Ctx;
use crate::controllers::placement::SOON;
use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::inject::Content;
use crate::controllers::placement::memory::Memory;
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Stop, Until};
use crate::controllers::placement::serve::namespace;
use crate::controllers::placement::workloads::conclude::Seen;
use crate::controllers::placement::workloads::patience::Tries;
use crate::controllers::placement::workloads::refusal::{Refusal, Refused, halt, losing};
use crate::controllers::placement::workloads::{Selection, asked};
use crate::error::Classify;
use crate::kube::client::CallError;
use crate::kube::{apply, pages};
use crate::projection::decide::{Decision, value_of};
use crate::projection::kinds::{self, Kind};
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
        let resource = match found::resource((ctx, memory), kind, meant).await? {
            Ok(Some(resource)) => resource,
            Ok(None) => return Ok(Ok(None)),
            Err(trouble) => return Ok(Err(trouble)),
        };
        let template = match found::template(ctx, &resource, meant).await? {
            Ok(template) => template,
            Err(trouble) => return Ok(Err(trouble)),
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

    /// Gives the selected ones what they must carry, and takes it back from the others. False when
    /// some still carry it that are not shown. The error is of all workloads of the kind.
    pub(super) async fn inject(
        &self,
        tries: &Tries<'_>,
        selections: &[Selection<'_>],
        gift: &Gift<'_>,
        seen: &mut Seen<'_>,
    ) -> Result<bool, Trouble> {
        let mut released = true;
        for live in &self.live {
            let matches = |one: &&Selection<'_>| {
                let kind = Kind::read(&one.spec.api_version, &one.spec.kind);
                kind.is_ok_and(|kind| is_alike(&kind, self.kind))
                    && one.selector.matches(live.labels())
            };
            let chosen = asked(selections.iter().filter(matches));
            if let (Some(containers), Some(content)) = (&chosen, gift.content) {
                let gift = (gift, content, tries);
                released &= self.give(live, containers.clone(), gift, seen).await?;
                continue;
            }
            let done = self.take_back(live, tries, seen).await?;
            released &= done;
            if chosen.is_some() && done && seen.has_room() {
                seen.others.push(self.shown(live, None));
            }
        }
        Ok(released)
    }

    /// Gives a workload what it must carry. What keeps it from that is told. False when it carries
    /// something and is not shown.
    async fn give(
        &self,
        live: &DynamicObject,
        containers: Vec<String>,
        (gift, content, tries): (&Gift<'_>, Content<'_>, &Tries<'_>),
        seen: &mut Seen<'_>,
    ) -> Result<bool, Trouble> {
        if !seen.has_room() {
            return Ok(self.without(live).is_none());
        }
        let name = self.called(live);
        let root = value_of(live);
        seen.others.push(self.shown(live, self.carried(&root)));
        let missing = missing(&root, &self.template, &containers);
        if !missing.is_empty() {
            seen.missing.push(format!("{name}: {}", missing.join(", ")));
            return Ok(true);
        }
        if containers_in(&root, &self.template) == 0 {
            let mapping = mapping::name_for(&self.resource);
            let message = format!(
                "{name} has no containers where they were looked for; say where they are in \
                 ClusterWorkloadResourceMapping {mapping}"
            );
            seen.troubles.push((Reason::InvalidMapping, message));
            return Ok(true);
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
                let message = format!("{name}: {fact}");
                seen.troubles.push((Reason::InvalidMapping, message));
            }
            // It is recorded first that a workload of this kind may carry something.
            Decision::Insert(_) if !recorded(self.tenant).contains(self.kind) => {
                seen.others_begin = true;
            }
            Decision::Insert(patch) => {
                if let Some(times) = tries.undone(live, &patch) {
                    seen.undo(&name, live, times);
                    return Ok(true);
                }
                let written = self.attempt(&name, (live, &patch), tries, seen).await?;
                if written {
                    tries.written(live, &patch);
                }
                if let (true, Some(shown)) = (written, seen.others.last_mut()) {
                    shown.observed_hash = restarts.then(|| gift.hash.to_owned());
                }
            }
            // The last two are answered only where an apply takes part.
            Decision::Settled | Decision::Apply(_) | Decision::First(_) => tries.done(live),
        }
        Ok(true)
    }

    /// Takes back what a workload carries. False when it still carries it, which is told.
    async fn take_back(
        &self,
        live: &DynamicObject,
        tries: &Tries<'_>,
        seen: &mut Seen<'_>,
    ) -> Result<bool, Trouble> {
        let Some(patch) = self.without(live) else {
            return Ok(true);
        };
        let doing = losing(&self.called(live));
        let done = self.attempt(&doing, (live, &patch), tries, seen).await?;
        if done {
            tries.released(live);
        }
        Ok(done)
    }

    /// Takes back what a workload carries, for a deletion.
    pub(super) async fn release(&self, live: &DynamicObject) -> Result<(), Halt> {
        let Some(patch) = self.without(live) else {
            return Ok(());
        };
        let Err(error) = self.write(live, &patch).await else {
            return Ok(());
        };
        if Refusal::of(&error) == Some(Refusal::Moved) {
            return Err(Halt::Later(SOON));
        }
        let doing = losing(&self.called(live));
        let at = Place::hub(self.ctx, self.tenant);
        Err(halt(&at, &doing, error, || {
            let (reason, message) = forbidden("change", self.kind, &namespace(self.tenant));
            Stop::new(Until::Person, reason, message)
        }))
    }

    /// The patch that takes back what a workload carries, if it carries anything.
    fn without(&self, live: &DynamicObject) -> Option<Value> {
        if !live.annotations().contains_key(&self.names.mark()) {
            return None;
        }
        let record = insert::record(live, &self.names).unwrap_or_default();
        Some(insert::take_back(&value_of(live), &self.names, &record))
    }

    /// Writes to a workload, unless it rests. False when it was not written, which is told.
    async fn attempt(
        &self,
        doing: &str,
        (live, patch): (&DynamicObject, &Value),
        tries: &Tries<'_>,
        seen: &mut Seen<'_>,
    ) -> Result<bool, Trouble> {
        if seen.silent {
            seen.untried += 1;
            return Ok(false);
        }
        if let Some(refused) = tries.rests(live, patch) {
            seen.refused.push(refused);
            return Ok(false);
        }
        let Err(error) = self.write(live, patch).await else {
            tries.done(live);
            return Ok(true);
        };
        match Refusal::of(&error) {
            None if error.is_forbidden() => {
                return Err(forbidden("change", self.kind, &namespace(self.tenant)));
            }
            None => {
                let message = format!("writing {doing}: {error}");
                return Err((Reason::ApiServerError, message));
            }
            // It was changed, deleted or made anew meanwhile: the next pass looks again.
            Some(Refusal::Moved) => seen.others_begin = true,
            Some(what) => {
                let one = Refused::new(what, doing, &error);
                let one = tries.failed((live, patch), one, error.class(), rand::random());
                seen.silent |= what == Refusal::Silent || tries.took_long();
                seen.refused.push(one);
            }
        }
        Ok(false)
    }

    async fn write(&self, live: &DynamicObject, patch: &Value) -> Result<(), CallError> {
        let (kind, name) = (&self.resource.kind, live.name_any());
        info!(kind, workload = name, "Writing to a workload");
        let written = apply::merge(self.ctx, &self.api, &name, manager::INJECT, patch).await;
        written.map(drop)
    }

    /// A workload, for people.
    fn called(&self, live: &DynamicObject) -> String {
        format!("{} {}", self.resource.kind, live.name_any())
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
