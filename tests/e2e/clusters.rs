//! Each region has a cluster of its own, and is lost with it.

use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::cluster::SmallCluster;
use domicile_lab::process::{Patience, run_ok};
use domicile_lab::regions::{How, Region};
use domicile_lab::story::objects::{condition, is, kinds, rolled_out, summary};
use domicile_lab::{LabError, Places, Result, tools};
use serde_json::{Value, json};

use super::world::{HOME, OTHER, World, ensure, lossless, recovery, rest};

const CALL: Duration = Duration::from_mins(1);
/// An errand to a cluster that does not answer is tried again a minute later at most.
const SOON: Duration = Duration::from_mins(3);
const TENANT: &str = "tenant-acme";
const PLACEMENT: &str = "acme";
const APP: &str = "app";

/// The standby's cluster is pointed at the new primary although that of the lost region is silent;
/// that one follows when it is back, and both give the Secret back when they are told to.
pub(crate) fn lost_with_its_region(world: &World) -> Result<String> {
    let stage = &world.stage;
    let places = Places::from_env(|name| std::env::var_os(name));
    let kwok = tools::kwok(&places.cache, &mut |_| ())?;
    let chart = stage.parts.repository.join("charts/domicile");
    let own = |region: &str| -> Result<SmallCluster> {
        let (hub, region) = (stage.lab.cluster(), Region::named(region)?);
        let tenants = [TENANT.to_owned(), "tenant-globex".to_owned()];
        let (cluster, secret) = SmallCluster::for_tenants(&hub, region, (&kwok, &chart), &tenants)?;
        cluster.apply(&app().to_string())?;
        let spec = json!({"spec": {"cluster": {
            "kubeconfigSecretRef": {"name": secret}, "tenants": true,
        }}});
        stage
            .objects
            .merge(kinds::REGION, None, region.name, &spec)?;
        Ok(cluster)
    };
    let (home, other) = (own(HOME)?, own(OTHER)?);
    for cluster in [&home, &other] {
        serves(world, cluster, HOME)?;
    }
    await_injected(world, "True", "InjectionComplete", "")?;

    let start = monotonic()?;
    rest(3000);
    let fault = stage.lose(HOME, How::Cut)?;
    let moved = stage.await_moved(&world.watch, HOME, fault)?;
    serves(world, &other, OTHER)?;
    let there = monotonic()?;
    await_injected(world, "False", "ClusterUnreachable", HOME)?;
    let placed = placement(world)?;
    ensure(is(&placed, "Ready", "True"), || summary(&placed))?;
    stage.restore(HOME)?;
    serves(world, &home, OTHER)?;
    await_injected(world, "True", "InjectionComplete", "")?;
    world.go_home(true)?;
    for cluster in [&home, &other] {
        serves(world, cluster, HOME)?;
    }
    let reports = world.judge(start, &[])?;
    lossless(&reports, start, fault)?;

    for (cluster, region) in [(home, HOME), (other, OTHER)] {
        let closed = json!({"spec": {"cluster": {"tenants": false}}});
        stage.objects.merge(kinds::REGION, None, region, &closed)?;
        await_gone(world, &cluster)?;
        let none = json!({"spec": {"cluster": null}});
        stage.objects.merge(kinds::REGION, None, region, &none)?;
        cluster.end()?;
    }
    let seconds = there.saturating_sub(fault) as f64 / 1e9;
    let told = recovery(&moved, &reports)?;
    Ok(format!(
        "pods of the standby's cluster rolled {seconds:.1} s after the cut; {told}"
    ))
}

/// The cluster's Secret leads to a region's server, and its workload runs with it.
fn serves(world: &World, cluster: &SmallCluster, region: &str) -> Result<()> {
    let address = Region::named(region)?.address.to_string();
    let patience = Patience::new(format!("a workload that is told {region}"), SOON);
    loop {
        let placed = placement(world)?;
        let secret = objects(cluster, "secrets")?;
        let apps = objects(cluster, "deployments")?;
        let led = secret
            .iter()
            .any(|one| host(one).as_deref() == Some(&*address));
        let hash = &placed["status"]["secretHash"];
        let rolled = apps.iter().any(|one| {
            let template = &one["spec"]["template"]["metadata"]["annotations"];
            rolled_out(one) && template["domicile.dev/secret-hash"] == *hash
        });
        if led && rolled {
            return Ok(());
        }
        patience.pause(|| format!("led {led}, rolled {rolled}: {}", summary(&placed)))?;
    }
}

fn placement(world: &World) -> Result<Value> {
    let objects = &world.stage.objects;
    let found = objects.get(kinds::PLACEMENT, Some(TENANT), PLACEMENT)?;
    found.ok_or_else(|| LabError::State(format!("no placement {PLACEMENT}")))
}

fn await_injected(world: &World, status: &str, reason: &str, told: &str) -> Result<()> {
    let right = |placed: &Value| {
        condition(placed, "Injected").is_some_and(|found| {
            let message = found["message"].as_str().unwrap_or_default();
            found["status"] == status && found["reason"] == reason && message.contains(told)
        })
    };
    let place = (kinds::PLACEMENT, Some(TENANT), PLACEMENT);
    let objects = &world.stage.objects;
    let waited = objects.wait(place, &format!("Injected {reason}"), SOON, right);
    waited.map(drop)
}

fn await_gone(world: &World, cluster: &SmallCluster) -> Result<()> {
    let patience = Patience::new("a Secret that is taken back", SOON);
    while objects(cluster, "secrets")?
        .iter()
        .any(|one| host(one).is_some())
    {
        patience.pause(|| world.stage.policy_summary())?;
    }
    Ok(())
}

/// The server that a Secret of ours names.
fn host(secret: &Value) -> Option<String> {
    let encoded = secret["data"]["host"].clone();
    let bytes: k8s_openapi::ByteString = serde_json::from_value(encoded).ok()?;
    String::from_utf8(bytes.0).ok()
}

fn objects(cluster: &SmallCluster, kind: &str) -> Result<Vec<Value>> {
    let mut kubectl = cluster.kubectl();
    kubectl.args(["--namespace", TENANT, "get", kind, "-o", "json"]);
    let text = run_ok(&mut kubectl, CALL)?.stdout;
    let list: Value = serde_json::from_str(&text).map_err(|source| LabError::Json {
        what: kind.to_owned(),
        source,
    })?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// What a team runs in each cluster; kwok says that it runs.
fn app() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": APP, "namespace": TENANT, "labels": {"tenant": PLACEMENT}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": APP}},
            "template": {
                "metadata": {"labels": {"app": APP}},
                "spec": {"containers": [{"name": "app", "image": "local.test/nothing:1"}]},
            },
        },
    })
}
