//! The judgement of a story: what the checker says of each tenant, and where its bytes went.

use std::collections::BTreeMap;

use serde_json::Value;

use super::objects::kinds;
use super::stage::{Stage, Tenant};
use crate::checker::{History, Outcome, Phase, Verdict, audit, judge, longest_silence, rate};
use crate::error::{LabError, Result};

/// What is said of one tenant.
#[derive(Clone, Debug)]
pub struct TenantReport {
    /// The tenant.
    pub tenant: Tenant,
    /// The checker's verdict against the server that is active now.
    pub verdict: Verdict,
    /// What the writers did since the story began.
    pub history: History,
}

/// Where the bytes of tenants are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// Files of the US server with rows of EU tenants. Must be 0.
    pub strays: usize,
    /// Packets between the US server and those of the EU. Must be 0.
    pub packets: u64,
    /// Control: files of the active EU server with rows of EU tenants. 0 means a blind search.
    pub at_home: usize,
}

/// What a tenant that nothing should happen to looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouched {
    pods: Vec<(String, i64)>,
    secret: Value,
    region: Value,
    epoch: Value,
}

impl TenantReport {
    /// Acknowledgements per second in a span. Below [`crate::checker::MIN_RATE`] a run is void.
    pub fn rate(&self, from: u64, to: u64) -> f64 {
        rate(&self.history, from, to)
    }

    /// Longest time without an acknowledgement in a span, in seconds.
    pub fn silence(&self, from: u64, to: u64) -> f64 {
        longest_silence(&self.history, from, to) as f64 / 1e9
    }

    /// Rows of a span that the server refused, as one does whose tenants are fenced.
    pub fn refused(&self, from: u64, to: u64) -> usize {
        let attempts = self.history.attempts.iter();
        let within = attempts.filter(|attempt| (from..to).contains(&attempt.sent));
        within
            .filter(|attempt| matches!(attempt.outcome, Outcome::Failed { .. }))
            .count()
    }

    /// Seconds between the first and the last acknowledged row that was lost: where a primary that
    /// is cut off goes on for a while, these come after the fault.
    pub fn lost_span(&self) -> f64 {
        let times = self.verdict.lost.iter().map(|row| row.at);
        let (first, last) = (times.clone().min(), times.max());
        first
            .zip(last)
            .map_or(0.0, |(first, last)| (last - first) as f64 / 1e9)
    }

    /// Writers that began in a span: pods that were restarted or replaced.
    pub fn restarts(&self, from: u64, to: u64) -> usize {
        let within = |at: &&u64| (from..to).contains(*at);
        self.history.starts.iter().filter(within).count()
    }
}

impl Residency {
    /// What is wrong with it.
    pub fn violations(&self) -> Vec<String> {
        let Self {
            strays,
            packets,
            at_home,
        } = *self;
        let mut found = Vec::new();
        if strays > 0 {
            found.push(format!("{strays} files in us-east hold rows of EU tenants"));
        }
        if packets > 0 {
            found.push(format!("{packets} packets went between us-east and the EU"));
        }
        if at_home == 0 {
            found.push("the search finds EU rows not even in the EU".to_owned());
        }
        found
    }
}

impl Stage {
    /// Judges all tenants: rows sent since `since`, against the servers that are active now. Logs
    /// are read before tables, so that writers may go on meanwhile.
    pub fn judge(&self, since: u64, phases: &[Phase]) -> Result<BTreeMap<String, TenantReport>> {
        let mut histories = self.logs.histories()?;
        let active = self.active()?;
        let policy = self.policy()?;
        let servers = regions_of(&policy);
        let mut reports = BTreeMap::new();
        for (name, tenant) in self.tenants()? {
            let silent = || LabError::State(format!("the application of {name} logged nothing"));
            let history = histories.remove(&name).ok_or_else(silent)?.since(since);
            let moves = servers.contains(&tenant.home);
            let region = if moves { &active } else { &tenant.home };
            let (stored, books) = self.holdings(region, &tenant)?;
            let report = TenantReport {
                verdict: Verdict {
                    books: audit(&history, &stored, &books),
                    ..judge(&history, &stored, phases)
                },
                tenant,
                history,
            };
            reports.insert(name, report);
        }
        match histories.keys().next() {
            None => Ok(reports),
            Some(writer) => Err(LabError::State(format!(
                "rows of a writer {writer} appeared"
            ))),
        }
    }

    /// Searches the US server for rows of EU tenants.
    pub fn residency(&self) -> Result<Residency> {
        let (active, american) = (self.active()?, "us-east");
        let mut residency = Residency::default();
        for tenant in self
            .tenants()?
            .values()
            .filter(|tenant| tenant.home != american)
        {
            for marker in self.markers(&active, tenant)? {
                residency.strays += self.files_with(american, &marker)?;
                residency.at_home += self.files_with(&active, &marker)?;
            }
        }
        for region in ["eu-west", "eu-central"] {
            residency.packets += self
                .lab
                .regions()
                .traffic_between(region, american)?
                .packets;
        }
        Ok(residency)
    }

    /// What must not change for a tenant that the story does not concern.
    pub fn untouched(&self, tenant: &Tenant) -> Result<Untouched> {
        let namespace = Some(&*tenant.namespace);
        let placement = self
            .objects
            .must(kinds::PLACEMENT, namespace, &tenant.placement)?;
        let secret = self
            .objects
            .must(kinds::SECRET, namespace, &tenant.secret)?;
        let pods = self.objects.list(kinds::POD, namespace, "")?;
        // The pod that ended for want of DATABASE_URL may still be going.
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let mut pods: Vec<_> = pods.iter().filter(stays).map(identity).collect();
        pods.sort();
        let status = |key: &str| placement["status"][key].clone();
        Ok(Untouched {
            pods,
            secret: secret["metadata"]["resourceVersion"].clone(),
            region: status("activeRegion"),
            epoch: status("epoch"),
        })
    }
}

fn regions_of(policy: &Value) -> Vec<String> {
    let spec = &policy["spec"];
    let standbys = spec["standbys"].as_array().into_iter().flatten();
    std::iter::once(&spec["primary"])
        .chain(standbys)
        .filter_map(|one| one["region"].as_str().map(str::to_owned))
        .collect()
}

fn identity(pod: &Value) -> (String, i64) {
    let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
    (
        pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        restarts.and_then(Value::as_i64).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_file_a_packet_and_a_blind_search_are_violations() {
        let fine = Residency {
            at_home: 3,
            ..Residency::default()
        };
        assert!(fine.violations().is_empty());
        assert_eq!(Residency::default().violations().len(), 1);
        let strays = Residency { strays: 1, ..fine };
        assert_eq!(strays.violations().len(), 1);
        let packets = Residency { packets: 9, ..fine };
        assert_eq!(packets.violations().len(), 1);
    }
}
