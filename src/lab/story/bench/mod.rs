//! What can only be known by measuring: placements and failovers by the number of databases, each
//! number in a lab of its own.

mod cost;
pub mod failover;
mod fleet;
mod floor;
mod growth;
mod quiet;
mod ready;
mod sites;
pub mod tenants;
mod trouble;
mod usage;

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::error::{LabError, Result};
use crate::lab::{Lab, Options, SYSTEM_NAMESPACE};

const HOME: &str = "eu-west";
/// Not a tenant's namespace by name: nothing writes there, and no writer is looked for.
const NAMESPACE: &str = "bench";
/// For up to some hundred databases: they take about 0.1 s each on a quiet machine.
const BATCH_LIMIT: Duration = Duration::from_mins(5);
/// For each of more: they take about 0.45 s each with a workload.
const LIMIT_EACH: Duration = Duration::from_millis(750);
/// For one placement alone.
const ONE_LIMIT: Duration = Duration::from_mins(2);
const MEBIBYTE: u64 = 1 << 20;
/// What a database takes in MiB: 7.5 on each of two servers, and its part of logs and WAL.
const DISK_EACH: u64 = 17;
/// What must be left for others, and the lab itself takes.
const DISK_LEFT: u64 = 4096;
/// Documents in one call of `kubectl apply`, which has a minute, and takes far longer for each in a
/// cluster of ten thousand.
const ONE_CALL: usize = 50;

/// How long this many placements may take.
fn limit(number: usize) -> Duration {
    BATCH_LIMIT.max(LIMIT_EACH * number as u32)
}

/// Applies any number of documents.
fn apply_all(stage: &Stage, documents: &[Value]) -> Result<()> {
    documents
        .chunks(ONE_CALL)
        .try_for_each(|some| stage.apply(some))
}

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
        need_disk(&options.places.dir, *number)?;
        let row = measure(*number, say);
        Lab::down(&options.places.dir)?;
        rows.push(row?);
    }
    Ok(rows)
}

/// Errors: the databases do not fit on the disk, which would fill hours later, for all that use it.
fn need_disk(dir: &Path, number: usize) -> Result<()> {
    let there = dir.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(dir);
    let disk = statvfs(there).map_err(LabError::system("ask how much of the disk is free"))?;
    let free = disk.blocks_available() * disk.fragment_size() / MEBIBYTE;
    let needed = DISK_EACH * number as u64 + DISK_LEFT;
    if free >= needed {
        return Ok(());
    }
    let hint = format!(
        "{number} databases with their standbys take {needed} MiB in {}, and {free} MiB are free: \
         name a folder on another disk with --dir",
        dir.display()
    );
    Err(LabError::missing("room on the disk", hint))
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

/// Namespaces of measured placements, with what `kubectl domicile onboard` prints.
fn make_room<'a>(stage: &Stage, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let room = |name: &str| {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "domicile", "namespace": name},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "domicile-tenant",
            },
            "subjects": [{
                "kind": "ServiceAccount", "name": "domicile", "namespace": SYSTEM_NAMESPACE,
            }],
        });
        [namespace, binding]
    };
    let documents: Vec<Value> = names.into_iter().flat_map(room).collect();
    apply_all(stage, &documents)
}

/// A placement without workloads.
fn placement(name: &str) -> Value {
    in_region(name, NAMESPACE, HOME)
}

fn in_region(name: &str, namespace: &str, region: &str) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"tenantID": name, "region": region},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_placements_have_no_more_time_than_before() {
        assert_eq!(limit(60), Duration::from_mins(5));
        assert_eq!(limit(10_000), Duration::from_mins(125));
    }

    #[test]
    fn what_does_not_fit_on_the_disk_is_not_begun() {
        let dir = std::env::temp_dir().join("no/such/folder");
        let error = need_disk(&dir, 1_000_000_000).unwrap_err().to_string();
        assert!(
            error.contains("no/such/folder") && error.contains("--dir"),
            "{error}"
        );
    }
}
