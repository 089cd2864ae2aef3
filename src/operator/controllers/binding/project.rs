//! What a binding adds to a workload, from the binding, its mapping and the workload: pure.

use domicile_core::binding::{DEFAULT_ROOT, ROOT, folder};
use serde_json::{Map, Value, json};

use super::mapping::{Containers, Template};
use super::places::{self, Key, Place, field, join, list};
use super::plan::Plan;

/// What a workload must carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What the binding asks for.
    pub(super) plan: &'a Plan,
    /// The Secret's name.
    pub(super) secret: &'a str,
    /// The hash of the Secret's content, when it tells one.
    pub(super) hash: Option<&'a str>,
    /// Where a workload of this kind keeps what is added.
    pub(super) template: &'a Template,
}

/// All that is added to one workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Projection {
    /// Where the annotations of its pods are.
    pub(super) annotations_at: Place,
    /// What is added to them; often nothing.
    pub(super) annotations: Map<String, Value>,
    /// Where its volumes are.
    pub(super) volumes_at: Place,
    /// The volume.
    pub(super) volume: Value,
    /// What is added to its containers.
    pub(super) containers: Vec<Bound>,
}

/// All that is added to one container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    /// Where it is.
    pub(super) at: Place,
    /// What it is called, when it has a name.
    pub(super) name: Option<String>,
    /// Where its variables are.
    pub(super) env_at: Place,
    /// The variable of the root, when it is not the workload's own.
    pub(super) root: Option<Value>,
    /// The other variables.
    pub(super) env: Vec<Value>,
    /// Where its mounts are.
    pub(super) mounts_at: Place,
    /// The mount.
    pub(super) mount: Value,
}

impl Bound {
    /// What tells it from the others of its workload.
    pub(super) fn id(&self) -> String {
        id(self.name.as_deref(), &self.at)
    }

    /// All its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &Value> {
        self.root.iter().chain(&self.env)
    }
}

/// What tells a container from the others of its workload.
pub(super) fn id(name: Option<&str>, at: &[Key]) -> String {
    name.map_or_else(|| places::pointer(at), str::to_owned)
}

/// The name of a container.
pub(super) fn name_of(live: &Value, containers: &Containers, at: &[Key]) -> Option<String> {
    let name = field(places::get(live, at)?, containers.name.as_ref()?)?;
    name.as_str().map(str::to_owned)
}

/// What must be added to `live`. `by_bindings` tells whether only bindings set the variable of the
/// root in a container. Refuses when the workload's own root cannot be read.
pub(super) fn project(
    live: &Value,
    wanted: &Wanted<'_>,
    by_bindings: &dyn Fn(&Bound) -> bool,
) -> Result<Projection, String> {
    let Wanted {
        plan,
        secret,
        hash: _,
        template,
    } = wanted;
    let mut containers: Vec<Bound> = Vec::new();
    for kind in &template.containers {
        for at in places::find(live, &kind.path) {
            let name = name_of(live, kind, &at);
            let known = containers.iter().any(|bound| bound.at == at);
            if known || !is_asked_for(plan, name.as_deref()) {
                continue;
            }
            let mut bound = Bound {
                env_at: join(&at, &kind.env),
                mounts_at: join(&at, &kind.mounts),
                root: None,
                env: plan
                    .env
                    .iter()
                    .map(|one| variable(plan, secret, one))
                    .collect(),
                mount: Value::Null,
                at,
                name,
            };
            let root = root_of(live, &bound, by_bindings)?;
            bound.mount = json!({
                "name": plan.names.volume(),
                "mountPath": folder(root.as_deref().unwrap_or(DEFAULT_ROOT), &plan.folder),
                "readOnly": true,
            });
            bound.root = root
                .is_none()
                .then(|| json!({ "name": ROOT, "value": DEFAULT_ROOT }));
            containers.push(bound);
        }
    }
    Ok(Projection {
        annotations_at: join(&[], &template.annotations),
        annotations: annotations(wanted),
        volumes_at: join(&[], &template.volumes),
        volume: volume(plan, secret),
        containers,
    })
}

/// Whether a workload carries all of it already.
pub(super) fn carries(live: &Value, projection: &Projection) -> bool {
    let Projection {
        annotations_at,
        annotations,
        volumes_at,
        volume,
        containers,
    } = projection;
    let has = |at: &[Key], wanted: &Value| {
        let mut list = list(live, at).iter();
        list.any(|one| places::holds(one, wanted))
    };
    let wanted = Value::Object(annotations.clone());
    let annotated = annotations.is_empty()
        || places::get(live, annotations_at).is_some_and(|live| places::holds(live, &wanted));
    annotated
        && has(volumes_at, volume)
        && containers.iter().all(|bound| {
            has(&bound.mounts_at, &bound.mount)
                && bound.variables().all(|one| has(&bound.env_at, one))
        })
}

/// A field of somebody else that stands where the binding must write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    /// The list that it is in.
    pub(super) list: Place,
    /// The name of the variable; absent for a mount.
    pub(super) variable: Option<String>,
    /// The field, for people.
    pub(super) field: String,
}

/// The first field of somebody else in the way. `ours` tells whether a variable is of this binding.
pub(super) fn clash(
    live: &Value,
    projection: &Projection,
    ours: &dyn Fn(&[Key], &str) -> bool,
) -> Option<Clash> {
    for bound in &projection.containers {
        let container = bound.id();
        for wanted in &bound.env {
            let name = wanted["name"].as_str().unwrap_or_default();
            let mut there = list(live, &bound.env_at).iter();
            let other = |one: &&Value| one["name"] == name && !places::holds(one, wanted);
            if there.any(|one| other(&one)) && !ours(&bound.env_at, name) {
                return Some(Clash {
                    list: bound.env_at.clone(),
                    variable: Some(name.to_owned()),
                    field: format!("variable {name} of container {container}"),
                });
            }
        }
        let path = &bound.mount["mountPath"];
        let mut there = list(live, &bound.mounts_at).iter();
        if there.any(|one| one["mountPath"] == *path && one["name"] != bound.mount["name"]) {
            let path = path.as_str().unwrap_or_default();
            return Some(Clash {
                list: bound.mounts_at.clone(),
                variable: None,
                field: format!("mount {path} of container {container}"),
            });
        }
    }
    None
}

/// A container without a name cannot be left out by name.
fn is_asked_for(plan: &Plan, name: Option<&str>) -> bool {
    match (&plan.containers, name) {
        (Some(asked), Some(name)) => asked.contains(name),
        (None, _) | (_, None) => true,
    }
}

/// The workload's own root.
fn root_of(
    live: &Value,
    bound: &Bound,
    by_bindings: &dyn Fn(&Bound) -> bool,
) -> Result<Option<String>, String> {
    let set = list(live, &bound.env_at)
        .iter()
        .find(|one| one["name"] == ROOT);
    let Some(set) = set.filter(|_| !by_bindings(bound)) else {
        return Ok(None);
    };
    let plain = |root: &&str| !root.is_empty() && !root.contains("$(");
    match set["value"].as_str().filter(plain) {
        Some(root) => Ok(Some(root.to_owned())),
        None => Err(format!(
            "{ROOT} of container {} is no plain text; give it a `value`",
            bound.id()
        )),
    }
}

fn variable(plan: &Plan, secret: &str, one: &domicile_api::service_binding::EnvMapping) -> Value {
    let replaced = plan.entries.iter().find(|(entry, _)| *entry == one.key);
    match replaced {
        Some((_, text)) => json!({ "name": one.name, "value": text }),
        None => json!({
            "name": one.name,
            "valueFrom": { "secretKeyRef": { "name": secret, "key": one.key } },
        }),
    }
}

/// The later sources of a projected volume win, and so take the place of the Secret's own entries.
fn volume(plan: &Plan, secret: &str) -> Value {
    let mut sources = vec![json!({ "secret": { "name": secret } })];
    for (entry, _) in &plan.entries {
        let annotation = format!("metadata.annotations['{}']", plan.names.entry(entry));
        let item = json!({ "path": entry, "fieldRef": { "fieldPath": annotation } });
        sources.push(json!({ "downwardAPI": { "items": [item] } }));
    }
    json!({ "name": plan.names.volume(), "projected": { "sources": sources } })
}

/// A changed Secret reaches a folder by itself, and a variable only with a new pod.
fn annotations(wanted: &Wanted<'_>) -> Map<String, Value> {
    let plan = wanted.plan;
    let entries = plan.entries.iter();
    let replaced = entries.map(|(entry, text)| (plan.names.entry(entry), json!(text)));
    let mut annotations: Map<String, Value> = replaced.collect();
    let reads = |one: &domicile_api::service_binding::EnvMapping| {
        plan.entries.iter().all(|(entry, _)| *entry != one.key)
    };
    if let Some(hash) = wanted.hash.filter(|_| plan.env.iter().any(reads)) {
        annotations.insert(plan.names.entry("secret"), json!(hash));
    }
    annotations
}
