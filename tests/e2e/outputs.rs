//! What all the scenarios left in logs, events and statuses, and what an uninstallation leaves.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domicile_lab::checker::{MIN_RATE, contains};
use domicile_lab::clock::monotonic;
use domicile_lab::lab::SYSTEM_NAMESPACE;
use domicile_lab::process::Patience;
use domicile_lab::regions::REGIONS;
use domicile_lab::story::objects::{Kind, kinds};
use domicile_lab::story::stage::RELEASE;
use domicile_lab::{LabError, Result};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::world::{World, ensure, rest};

const LIMIT: Duration = Duration::from_mins(1);
const KINDS: [Kind; 8] = [
    kinds::REGION,
    kinds::PLACEMENT,
    kinds::POLICY,
    kinds::OPERATION,
    kinds::DEPLOYMENT,
    kinds::POD,
    kinds::EVENT,
    kinds::LEASE,
];

/// No password in any log, event or status; no row of an EU tenant in the US.
pub(crate) fn clean(world: &World) -> Result<String> {
    let secrets = passwords(world)?;
    ensure(secrets.len() > REGIONS.len(), || {
        "passwords are missing".to_owned()
    })?;
    let files = files(world)?;
    for secret in &secrets {
        for file in &files {
            let found = holds(file, secret.expose_secret())?;
            ensure(!found, || format!("a password is in {}", file.display()))?;
        }
    }
    for kind in KINDS {
        for object in world.stage.objects.list(kind, None, "")? {
            let (text, name) = (object.to_string(), &object["metadata"]["name"]);
            let found = secrets
                .iter()
                .any(|secret| text.contains(secret.expose_secret()));
            ensure(!found, || format!("a password is in {kind:?} {name}"))?;
        }
    }
    // The same search finds what is known to be there.
    let control = files
        .iter()
        .filter(|file| holds(file, "lab_rows").unwrap_or(false))
        .count();
    ensure(control > 0, || {
        "the search finds not even the tenants' SQL".to_owned()
    })?;
    let residency = world.stage.residency()?;
    let wrong = residency.violations();
    ensure(wrong.is_empty(), || wrong.join("; "))?;
    Ok(format!(
        "{} passwords, {} files, {} packets to the US",
        secrets.len(),
        files.len(),
        residency.packets
    ))
}

/// Uninstalling the operator leaves resources, Secrets, databases and running tenants alone, and
/// a new installation takes over without touching them.
pub(crate) fn uninstall(world: &World) -> Result<String> {
    let stage = &world.stage;
    let before = imprint(world)?;
    stage
        .lab
        .helm(&["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE])?;
    let patience = Patience::new("the end of the operator", LIMIT);
    while !stage
        .objects
        .list(kinds::POD, Some(SYSTEM_NAMESPACE), "")?
        .is_empty()
    {
        patience.pause(|| "its pods are still there".to_owned())?;
    }
    let gone = monotonic()?;
    rest(4000);
    let until = monotonic()?;
    for (name, report) in &stage.judge(gone, &[])? {
        let rate = report.rate(gone, until);
        let untouched = report.restarts(gone, until) == 0 && report.verdict.lost.is_empty();
        ensure(rate >= MIN_RATE && untouched, || {
            format!("{name} was hit: {rate:.1} rows/s")
        })?;
    }
    let without = imprint(world)?;
    ensure(without == before, || {
        format!("before {before:?}, after {without:?}")
    })?;
    stage.install(&mut |_| {})?;
    stage.await_ready(kinds::PLACEMENT)?;
    world.ready()?;
    let again = imprint(world)?;
    ensure(again == before, || {
        format!("before {before:?}, installed again {again:?}")
    })?;
    Ok(format!("{} objects unchanged", before.len()))
}

/// Everything of the tenants that an uninstallation must leave: identities of resources, versions
/// of Secrets and workloads.
fn imprint(world: &World) -> Result<BTreeSet<String>> {
    let stage = &world.stage;
    let mut seen = BTreeSet::new();
    let word = |object: &Value, path: &str| {
        object
            .pointer(path)
            .map(Value::to_string)
            .unwrap_or_default()
    };
    for kind in [kinds::REGION, kinds::PLACEMENT, kinds::POLICY] {
        for object in stage.objects.list(kind, None, "")? {
            seen.insert(format!("{kind:?} {}", word(&object, "/metadata/uid")));
        }
    }
    for tenant in stage.tenants()?.values() {
        let namespace = Some(&*tenant.namespace);
        let secret = stage
            .objects
            .must(kinds::SECRET, namespace, &tenant.secret)?;
        seen.insert(format!(
            "Secret {}",
            word(&secret, "/metadata/resourceVersion")
        ));
        for app in stage.objects.list(kinds::DEPLOYMENT, namespace, "")? {
            seen.insert(format!(
                "Deployment {} {}",
                word(&app, "/metadata/uid"),
                word(&app, "/metadata/generation")
            ));
        }
        let pods = stage.objects.list(kinds::POD, namespace, "")?;
        for pod in pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        {
            seen.insert(format!("Pod {}", word(pod, "/metadata/uid")));
        }
    }
    Ok(seen)
}

/// Every password that the operator was given or made.
fn passwords(world: &World) -> Result<Vec<SecretString>> {
    let stage = &world.stage;
    let mut found = Vec::new();
    for tenant in stage.tenants()?.values() {
        found.push(stage.credential(tenant, "password")?);
    }
    for region in &REGIONS {
        found.push(stage.lab.regions().admin_password(region.name)?.clone());
    }
    Ok(found)
}

/// Logs of pods and servers, and the audit log.
fn files(world: &World) -> Result<Vec<PathBuf>> {
    let stage = &world.stage;
    let mut files: Vec<_> = stage.logs.logs()?.into_iter().map(|log| log.file).collect();
    for region in &REGIONS {
        files.push(stage.lab.regions().server(region.name)?.log());
    }
    files.push(stage.lab.cluster().audit_log());
    Ok(files)
}

fn holds(file: &Path, text: &str) -> Result<bool> {
    File::open(file)
        .and_then(|file| contains(file, text.as_bytes()))
        .map_err(LabError::file("read", file))
}
