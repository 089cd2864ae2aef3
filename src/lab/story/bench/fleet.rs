//! Placements that are measured together, each with a workload where that is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{HOME, NAMESPACE, apply_all, in_region, limit, make_room};
use crate::cluster::FAKE;
use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::story::objects::{kinds, rolled_out};
use crate::story::stage::Stage;

/// Tenants of one namespace: a look at a placement lists the workloads of its namespace, and
/// real tenants have one of their own.
const NEIGHBOURS: usize = 10;
/// Of every workload of the bench.
const LABEL: (&str, &str) = ("bench", "workload");
/// Calls under way when each placement is asked for.
const CALLS: usize = 16;
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at all workloads, for each of them: a list of thousands costs the API server
/// seconds.
const LOOK_EACH: Duration = Duration::from_millis(2);

/// The placements, in the home region unless they are spread.
pub(super) struct Fleet {
    members: Vec<Member>,
    workloads: bool,
}

struct Member {
    name: String,
    region: String,
    namespace: String,
}

impl Fleet {
    /// `number` placements whose names begin with `prefix`. Without workloads all are in one
    /// namespace.
    pub(super) fn of(prefix: &str, number: usize, workloads: bool) -> Self {
        let member = |one: usize| Member {
            name: format!("{prefix}-{one:05}"),
            region: HOME.to_owned(),
            namespace: if workloads {
                format!("{NAMESPACE}-{prefix}-{:04}", one / NEIGHBOURS)
            } else {
                NAMESPACE.to_owned()
            },
        };
        Self {
            members: (0..number).map(member).collect(),
            workloads,
        }
    }

    /// The same, evenly over these regions.
    pub(super) fn spread(mut self, regions: &[String]) -> Self {
        for (member, region) in self.members.iter_mut().zip(regions.iter().cycle()) {
            member.region.clone_from(region);
        }
        self
    }

    /// The placements' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|one| one.name.clone()).collect()
    }

    /// The placements, to be applied.
    pub(super) fn placements(&self) -> Vec<Value> {
        self.members.iter().map(|one| self.placement(one)).collect()
    }

    /// The placement's namespace and name.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.members.iter();
        members.map(|one| (one.namespace.as_str(), one.name.as_str()))
    }

    /// Makes their namespaces and workloads, and waits until those run.
    pub(super) fn prepare(&self, stage: &Stage) -> Result<()> {
        let namespaces: BTreeSet<&str> = self.places().map(|(namespace, _)| namespace).collect();
        make_room(stage, namespaces)?;
        let workloads: Vec<Value> = self.members.iter().map(workload).collect();
        apply_all(stage, &workloads)?;
        self.await_workloads(stage, rolled_out)
    }

    /// Waits until every workload runs with its variables.
    pub(super) fn await_injected(&self, stage: &Stage) -> Result<()> {
        self.await_workloads(stage, injected)
    }

    /// Errors: a workload does not run any more, so that what was measured was not calm.
    pub(super) fn check(&self, stage: &Stage) -> Result<()> {
        if !self.workloads {
            return Ok(());
        }
        self.heed(stage)?;
        let (run, number) = (self.count(stage, injected)?, self.members.len());
        if run == number {
            return Ok(());
        }
        let text = format!("only {run} of {number} workloads of the bench still run");
        Err(LabError::State(text))
    }

    /// Errors: what makes the workloads run has ended.
    pub(super) fn heed(&self, stage: &Stage) -> Result<()> {
        if self.workloads {
            stage.lab.cluster().check_fakes()?;
        }
        Ok(())
    }

    fn await_workloads(&self, stage: &Stage, done: fn(&Value) -> bool) -> Result<()> {
        let number = self.members.len();
        let patience = Patience::new("workloads of the bench", limit(number));
        loop {
            let run = self.count(stage, done)?;
            if run == number {
                return Ok(());
            }
            self.heed(stage)?;
            patience.pause(|| format!("{run} of {number} run"))?;
            std::thread::sleep(LOOK_EACH * number as u32);
        }
    }

    fn count(&self, stage: &Stage, done: fn(&Value) -> bool) -> Result<usize> {
        let (key, value) = LABEL;
        let names: BTreeSet<&str> = self.places().map(|(_, name)| name).collect();
        let ours = |one: &&Value| {
            let name = one["metadata"]["name"].as_str();
            name.is_some_and(|name| names.contains(name))
        };
        let labels = format!("{key}={value}");
        let found = stage.objects.list(kinds::DEPLOYMENT, None, &labels)?;
        let done = |one: &&Value| done(one);
        Ok(found.iter().filter(ours).filter(done).count())
    }

    /// Asks for a look at each placement of a region, as fast as the API server takes it.
    pub(super) fn ask(&self, stage: &Stage, region: &str) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": {
            "domicile.dev/reconcile-at": "0",
        }}});
        let (patch, parameters) = (Patch::Merge(patch), PatchParams::default());
        let asked = self.members.iter().filter(|one| one.region == region);
        let calls = asked.map(
            |Member {
                 name, namespace, ..
             }| {
                let api = stage.objects.api(kinds::PLACEMENT, Some(namespace));
                let (patch, parameters) = (&patch, &parameters);
                async move {
                    let call = api.patch(name, parameters, patch);
                    match tokio::time::timeout(CALL_LIMIT, call).await {
                        Ok(answer) => answer.map(drop).map_err(|source| LabError::Kubernetes {
                            action: format!("patch TenantPlacement {name}"),
                            source: Box::new(source),
                        }),
                        Err(_) => Err(LabError::State(format!("no answer to a patch of {name}"))),
                    }
                }
            },
        );
        let all = futures::stream::iter(calls).buffer_unordered(CALLS);
        stage.objects.runtime().block_on(all.try_collect::<()>())?
    }

    fn placement(&self, member: &Member) -> Value {
        let Member {
            name,
            namespace,
            region,
        } = member;
        let mut placement = in_region(name, namespace, region);
        if self.workloads {
            placement["spec"]["injection"] = json!({"workloads": [{
                "apiVersion": "apps/v1", "kind": "Deployment",
                "selector": {"matchLabels": {"tenant": name}},
            }]});
        }
        placement
    }
}

/// Whether a workload runs, all of it with the variables.
fn injected(workload: &Value) -> bool {
    rolled_out(workload) && workload.to_string().contains("\"DATABASE_URL\"")
}

/// A Deployment whose pod only the fake node takes.
fn workload(
    Member {
        name, namespace, ..
    }: &Member,
) -> Value {
    let ((label, value), (key, fake)) = (LABEL, FAKE);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {label: value, "tenant": name},
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "nodeSelector": {key: fake},
                    "tolerations": [{"key": key, "operator": "Equal", "value": fake}],
                    "containers": [{"name": "app", "image": "local.test/nothing:1"}],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_few_neighbours_and_their_placement_selects_them() {
        let fleet = Fleet::of("bench", 21, true);
        let namespaces: BTreeSet<&str> = fleet.places().map(|(namespace, _)| namespace).collect();
        assert_eq!(namespaces.len(), 3);
        let placement = &fleet.placements()[20];
        let selector = &placement["spec"]["injection"]["workloads"][0]["selector"]["matchLabels"];
        let workload = workload(&fleet.members[20]);
        assert_eq!(selector["tenant"], workload["metadata"]["labels"]["tenant"]);
        for of in [placement, &workload] {
            assert_eq!(of["metadata"]["namespace"], "bench-bench-0002");
        }
    }

    #[test]
    fn placements_are_spread_evenly() {
        let regions = ["one".to_owned(), "two".to_owned()];
        let placements = Fleet::of("bench", 5, false).spread(&regions).placements();
        let of = |region: &str| {
            let ours = |one: &&Value| one["spec"]["region"] == region;
            placements.iter().filter(ours).count()
        };
        assert_eq!((of("one"), of("two")), (3, 2));
    }

    #[test]
    fn without_workloads_all_share_a_namespace() {
        let fleet = Fleet::of("bench", 21, false);
        assert!(fleet.places().all(|(namespace, _)| namespace == NAMESPACE));
        assert_eq!(fleet.placements()[0]["spec"].get("injection"), None);
    }
}
