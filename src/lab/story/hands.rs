//! What people and DBAs do on the stage while the story runs, by SQL, YAML or the clock.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::moves::replication;
use super::objects::kinds;
use super::stage::{Stage, Tenant};
use super::writer::{InsideWriter, Task};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::lab::SYSTEM_NAMESPACE;

/// The tenant that a writer inside a region writes for, and what its rows carry.
const INSIDE: (&str, &str) = ("acme", "resident-of-eu-acme");

impl Stage {
    /// Runs SQL as superuser of a region's server.
    pub fn sql(&self, region: &str, sql: &str) -> Result<String> {
        let server = self.lab.regions().server(region)?;
        server.superuser_sql("postgres", sql)
    }

    /// Changes the policy's spec by a merge patch, and waits until the operator has seen it.
    pub fn change_policy(&self, spec: &Value) -> Result<()> {
        let patch = json!({"spec": spec});
        let changed = self
            .objects
            .merge(kinds::POLICY, None, &self.policy, &patch)?;
        let generation = &changed["metadata"]["generation"];
        self.await_policy("the change is observed", |policy| {
            policy["status"]["observedGeneration"] == *generation
        })
    }

    /// Has a primary wait for its standby before it acknowledges a commit, or not any more, and
    /// waits until the policy says so.
    pub fn set_synchronous(&self, primary: &str, standby: &str, on: bool) -> Result<()> {
        let names = if on {
            format!("\"{standby}\"")
        } else {
            String::new()
        };
        self.sql(
            primary,
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"),
        )?;
        self.sql(primary, "SELECT pg_reload_conf()")?;
        self.await_policy("the policy notices", |policy| in_sync(policy, standby, on))
    }

    /// Has a standby hear nothing more from its primary, which goes on. Returns what it followed,
    /// for [`Stage::follow`].
    pub fn stop_following(&self, standby: &str) -> Result<String> {
        let followed = self.sql(standby, "SHOW primary_conninfo")?;
        self.follow(standby, "")?;
        Ok(followed)
    }

    /// Sets what a standby follows, from now on or, on a primary, once it is a standby again.
    pub fn follow(&self, standby: &str, primary: &str) -> Result<()> {
        let primary = primary.replace('\'', "''");
        self.sql(
            standby,
            &format!("ALTER SYSTEM SET primary_conninfo = '{primary}'"),
        )?;
        self.sql(standby, "SELECT pg_reload_conf()").map(drop)
    }

    /// The loss bound in seconds that the policy's history tells of the last move. Errors: none.
    pub fn told_loss(&self) -> Result<i64> {
        let policy = self.policy()?;
        let past = policy.pointer("/status/history/0").unwrap_or(&Value::Null);
        let untold = || LabError::State(format!("the history tells no loss: {past}"));
        past["lossSeconds"].as_i64().ok_or_else(untold)
    }

    /// A writer inside a region, for one tenant, with the credential of this moment; and its log.
    pub fn write_inside(&self, region: &str) -> Result<(InsideWriter, PathBuf)> {
        let (name, payload) = INSIDE;
        let tenant = self.tenant(name)?;
        let url = self.credential(&tenant, "DATABASE_URL")?;
        let log = self.logs.file(&format!("inside-{}.log", monotonic()?));
        let task = Task {
            region,
            program: &self.parts.programs.join("domicile-lab-app"),
            writer: &tenant.name,
            payload,
            url: &url,
            log: &log,
        };
        let writer = InsideWriter::begin(self.space(), &task)?;
        self.logs.add(&tenant.namespace, &log)?;
        Ok((writer, log))
    }

    /// A tenant by its name. Errors: there is none.
    pub fn tenant(&self, name: &str) -> Result<Tenant> {
        let absent = || LabError::State(format!("there is no tenant {name}"));
        self.tenants()?.remove(name).ok_or_else(absent)
    }

    /// The addresses of the operator's pods. Errors: they have none.
    pub fn operator_addresses(&self) -> Result<Vec<String>> {
        let pods = self.objects.list(kinds::POD, Some(SYSTEM_NAMESPACE), "")?;
        let address = |pod: &Value| Some(pod.pointer("/status/podIP")?.as_str()?.to_owned());
        let addresses: Vec<_> = pods.iter().filter_map(address).collect();
        if addresses.is_empty() {
            let text = "the operator's pods have no address";
            return Err(LabError::State(text.to_owned()));
        }
        Ok(addresses)
    }

    /// New pods of the operator, as containers that were killed wait longer each time.
    pub fn renew_operator(&self) -> Result<()> {
        let namespace = Some(SYSTEM_NAMESPACE);
        for pod in self.objects.list(kinds::POD, namespace, "")? {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            self.objects.delete(kinds::POD, namespace, name, true)?;
        }
        self.await_operator()
    }
}

/// Whether the policy says that a region streams, and as synchronously as that.
pub fn in_sync(policy: &Value, region: &str, synchronous: bool) -> bool {
    replication(policy, region)
        .is_some_and(|one| one["state"] == "Streaming" && one["synchronous"] == synchronous)
}
