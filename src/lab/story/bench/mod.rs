//! What can only be known by measuring: placements and failovers by the number of databases, each
//! number in a lab of its own.

mod cost;
pub mod failover;
mod floor;
mod ready;
pub mod tenants;
mod trouble;
mod usage;

use std::time::Duration;

use serde_json::{Value, json};

use super::objects::{kinds, ready};
use super::stage::Stage;
use crate::error::Result;
use crate::lab::{Lab, Options, SYSTEM_NAMESPACE};
use crate::process::Patience;

const HOME: &str = "eu-west";
/// Not a tenant's namespace by name: nothing writes there, and no writer is looked for.
const NAMESPACE: &str = "bench";
/// For the databases of one call of `kubectl apply`: about 0.1 s each on a quiet machine.
const BATCH_LIMIT: Duration = Duration::from_mins(5);

/// Measures each number in order, in a new lab that is down afterwards.
fn each<Row>(
    options: &Options,
    numbers: &[usize],
    say: &mut dyn FnMut(&str),
    mut measure: impl FnMut(usize, &mut dyn FnMut(&str)) -> Result<Row>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for number in numbers {
        say(&format!("{number} databases"));
        Lab::down(&options.places.dir)?;
        let row = measure(*number, say);
        Lab::down(&options.places.dir)?;
        rows.push(row?);
    }
    Ok(rows)
}

/// Rows in Markdown: names, then for each row its number and its figures.
fn markdown(names: &[&str], rows: impl Iterator<Item = (usize, Vec<f64>)>) -> Vec<String> {
    let line = |words: Vec<String>| format!("| {} |", words.join(" | "));
    let head = line(names.iter().map(|name| (*name).to_owned()).collect());
    let rule = format!("|{}", "---:|".repeat(names.len()));
    let of = |(number, figures): (usize, Vec<f64>)| {
        let words = figures.iter().map(|one| format!("{one:.2}"));
        line(std::iter::once(number.to_string()).chain(words).collect())
    };
    [head, rule].into_iter().chain(rows.map(of)).collect()
}

/// The namespace of the measured placements, with what `kubectl domicile onboard` prints.
fn make_room(stage: &Stage) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "domicile", "namespace": NAMESPACE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "domicile-tenant",
        },
        "subjects": [{
            "kind": "ServiceAccount", "name": "domicile", "namespace": SYSTEM_NAMESPACE,
        }],
    });
    stage.apply(&[namespace, binding])
}

/// A placement without workloads.
fn placement(name: &str) -> Value {
    in_region(name, HOME)
}

fn in_region(name: &str, region: &str) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"tenantID": name, "region": region},
    })
}

/// Between two looks at all placements.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);

/// Waits until all placements are ready. Answers how many there are.
fn await_placed(stage: &Stage) -> Result<usize> {
    let patience = Patience::new("placements of the bench", BATCH_LIMIT);
    loop {
        let placed = stage.objects.list(kinds::PLACEMENT, Some(NAMESPACE), "")?;
        let waiting = placed.iter().filter(|one| !ready(one)).count();
        if waiting == 0 {
            return Ok(placed.len());
        }
        patience.pause(|| format!("{waiting} are not ready"))?;
        // To list a thousand costs the API server more than to make one.
        std::thread::sleep(BETWEEN_LISTS);
    }
}
