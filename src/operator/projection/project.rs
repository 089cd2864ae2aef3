//! What a binding adds to a workload, from the binding, its mapping and the workload: pure.

use domicile_core::binding::{DEFAULT_ROOT, Names, ROOT, folder};
use serde_json::{Map, Value, json};

use super::asked::{Asked, Mount};
use super::mapping::{Containers, Template};
use super::places::{self, Key, Place, field, join, list};

/// What a workload must carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// What is asked for.
    pub(crate) asked: &'a Asked,
    /// The Secret's name.
    pub(crate) secret: &'a str,
    /// The hash of the Secret's content, when it tells one.
    pub(crate) hash: Option<&'a str>,
    /// Where a workload of this kind keeps what is added.
    pub(crate) template: &'a Template,
}

/// All that is added to one workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Projection {
    /// Where the annotations of its pods are.
    pub(crate) annotations_at: Place,
    /// What is added to them; often nothing.
    pub(crate) annotations: Map<String, Value>,
    /// Where its volumes are.
    pub(crate) volumes_at: Place,
    /// The volume, if there is one.
    pub(crate) volume: Option<Value>,
    /// What is added to its containers.
    pub(crate) containers: Vec<Bound>,
}

/// All that is added to one container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    /// Where it is.
    pub(crate) at: Place,
    /// What it is called, when it has a name.
    pub(crate) name: Option<String>,
    /// Where its variables are.
    pub(crate) env_at: Place,
    /// The variable of the root, when it is not the workload's own.
    pub(crate) root: Option<Value>,
    /// The other variables.
    pub(crate) env: Vec<Value>,
    /// Where its mounts are.
    pub(crate) mounts_at: Place,
    /// The mount, if there is one.
    pub(crate) mount: Option<Value>,
}

impl Bound {
    /// What tells it from the others of its workload.
    pub(crate) fn id(&self) -> String {
        id(self.name.as_deref(), &self.at)
    }

    /// All its variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Value> {
        self.root.iter().chain(&self.env)
    }
}

/// What tells a container from the others of its workload.
pub(crate) fn id(name: Option<&str>, at: &[Key]) -> String {
    name.map_or_else(|| places::pointer(at), str::to_owned)
}

/// The name of a container.
pub(crate) fn name_of(live: &Value, containers: &Containers, at: &[Key]) -> Option<String> {
    let name = field(places::get(live, at)?, containers.name.as_ref()?)?;
    name.as_str().map(str::to_owned)
}

/// What must be added to `live`. `by_bindings` tells whether only bindings set the variable of the
/// root in a container. Refuses when the workload's own root cannot be read.
pub(crate) fn project(
    live: &Value,
    wanted: &Wanted<'_>,
    by_bindings: &dyn Fn(&Bound) -> bool,
) -> Result<Projection, String> {
    let Wanted {
        asked,
        secret,
        hash: _,
        template,
    } = wanted;
    let mut containers: Vec<Bound> = Vec::new();
    for kind in &template.containers {
        for at in places::find(live, &kind.path) {
            let name = name_of(live, kind, &at);
            let known = containers.iter().any(|bound| bound.at == at);
            if known || !is_asked_for(asked, name.as_deref()) {
                continue;
            }
            let mut bound = Bound {
                env_at: join(&at, &kind.env),
                mounts_at: join(&at, &kind.mounts),
                root: None,
                env: asked
                    .env
                    .iter()
                    .map(|one| variable(asked, secret, one))
                    .collect(),
                mount: None,
                at,
                name,
            };
            mount(live, asked, &mut bound, by_bindings)?;
            containers.push(bound);
        }
    }
    if asked.containers.is_some() && containers.is_empty() {
        return Err(none_named(live, template));
    }
    Ok(Projection {
        annotations_at: join(&[], &template.annotations),
        annotations: annotations(wanted),
        volumes_at: join(&[], &template.volumes),
        volume: (asked.mount != Mount::None).then(|| volume(asked, secret)),
        containers,
    })
}

/// That a list of containers names none that is there.
fn none_named(live: &Value, template: &Template) -> String {
    let mut there: Vec<String> = Vec::new();
    for kind in &template.containers {
        for at in places::find(live, &kind.path) {
            there.extend(name_of(live, kind, &at));
        }
    }
    if there.is_empty() {
        return "it has no containers for `spec.workload.containers` to name".to_owned();
    }
    format!(
        "`spec.workload.containers` names none of its containers; name some of {}",
        there.join(", ")
    )
}

/// The mount of a container, and the variable that tells where it is.
fn mount(
    live: &Value,
    asked: &Asked,
    bound: &mut Bound,
    by_bindings: &dyn Fn(&Bound) -> bool,
) -> Result<(), String> {
    let path = match &asked.mount {
        Mount::None => return Ok(()),
        Mount::At(path) => path.clone(),
        Mount::BelowRoot(name) => {
            let root = root_of(live, bound, by_bindings)?;
            let default = || json!({ "name": ROOT, "value": DEFAULT_ROOT });
            bound.root = root.is_none().then(default);
            folder(root.as_deref().unwrap_or(DEFAULT_ROOT), name)
        }
    };
    let volume = asked.names.volume();
    bound.mount = Some(json!({ "name": volume, "mountPath": path, "readOnly": true }));
    Ok(())
}

/// Whether a workload carries all of it already.
pub(crate) fn carries(live: &Value, projection: &Projection) -> bool {
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
        && volume.iter().all(|volume| has(volumes_at, volume))
        && containers.iter().all(|bound| {
            let mount = bound.mount.as_ref();
            mount.is_none_or(|mount| has(&bound.mounts_at, mount))
                && bound.variables().all(|one| has(&bound.env_at, one))
        })
}

/// A field of somebody else that stands where the binding must write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The list that it is in.
    pub(crate) list: Place,
    /// The name of the variable; absent for a mount.
    pub(crate) variable: Option<String>,
    /// The field, for people.
    pub(crate) field: String,
    /// The volume that is mounted there; absent for a variable.
    pub(crate) volume: Option<String>,
}

impl Clash {
    /// Whose it is: `known` when that is told, else the field manager of the binding whose volume
    /// is in the way.
    pub(crate) fn owner(&self, known: Option<String>) -> String {
        let volume = || Names::of_volume(self.volume.as_ref()?);
        known
            .or_else(|| volume().map(|names| names.manager()))
            .unwrap_or_else(|| "somebody else".to_owned())
    }
}

/// The first field of somebody else in the way. `ours` tells whether a variable is of this binding.
pub(crate) fn clash(
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
                    volume: None,
                });
            }
        }
        let Some(mount) = &bound.mount else { continue };
        let path = &mount["mountPath"];
        let mut there = list(live, &bound.mounts_at).iter();
        let other = |one: &&Value| one["mountPath"] == *path && one["name"] != mount["name"];
        if let Some(other) = there.find(other) {
            let path = path.as_str().unwrap_or_default();
            return Some(Clash {
                list: bound.mounts_at.clone(),
                variable: None,
                field: format!("mount {path} of container {container}"),
                volume: other["name"].as_str().map(str::to_owned),
            });
        }
    }
    None
}

/// A container without a name cannot be left out by name.
fn is_asked_for(asked: &Asked, name: Option<&str>) -> bool {
    match (&asked.containers, name) {
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

fn variable(asked: &Asked, secret: &str, one: &domicile_api::service_binding::EnvMapping) -> Value {
    let replaced = asked.entries.iter().find(|(entry, _)| *entry == one.key);
    match replaced {
        Some((_, text)) => json!({ "name": one.name, "value": text }),
        None => json!({
            "name": one.name,
            "valueFrom": { "secretKeyRef": { "name": secret, "key": one.key } },
        }),
    }
}

/// The later sources of a projected volume win, and so take the place of the Secret's own entries.
fn volume(asked: &Asked, secret: &str) -> Value {
    let mut sources = vec![json!({ "secret": { "name": secret } })];
    for (entry, _) in &asked.entries {
        let annotation = format!("metadata.annotations['{}']", asked.names.entry(entry));
        let item = json!({ "path": entry, "fieldRef": { "fieldPath": annotation } });
        sources.push(json!({ "downwardAPI": { "items": [item] } }));
    }
    json!({ "name": asked.names.volume(), "projected": { "sources": sources } })
}

/// A changed Secret reaches a folder by itself, and a variable only with a new pod. A placement
/// says itself whether its pods are replaced.
fn annotations(wanted: &Wanted<'_>) -> Map<String, Value> {
    let asked = wanted.asked;
    let entries = asked.entries.iter();
    let replaced = entries.map(|(entry, text)| (asked.names.entry(entry), json!(text)));
    let mut annotations: Map<String, Value> = replaced.collect();
    let reads = |one: &domicile_api::service_binding::EnvMapping| {
        asked.entries.iter().all(|(entry, _)| *entry != one.key)
    };
    let restarts = matches!(asked.mount, Mount::At(_)) || asked.env.iter().any(reads);
    if let Some(hash) = wanted.hash.filter(|_| restarts) {
        annotations.insert(asked.names.entry("secret"), json!(hash));
    }
    annotations
}
