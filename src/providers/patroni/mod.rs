//! Patroni: what it does for a server by its REST API. The servers of a region are one cluster, and
//! those of the other regions are its standby clusters.
//!
//! Source: Patroni 4.1, `GET /patroni`, `GET` and `PATCH /config`.

mod rest;

use std::fmt;
use std::time::Duration;

use domicile_core::facts::Lsn;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::applied::Applied;
use crate::error::{EngineFailure, ProviderError};
use rest::Rest;

/// Where a standby cluster of nobody is told to stream from: nothing listens there.
const NOBODY: (&str, u16) = ("127.0.0.1", 1);

/// The server that a standby cluster is to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The slot that it keeps for the follower.
    pub slot: Option<String>,
}

/// How the REST API of a cluster is reached.
#[derive(Clone)]
pub struct PatroniEndpoint {
    /// `host:port` of the database, for messages.
    pub server: String,
    /// The origins of the members' REST APIs, in the order in which they are tried.
    pub urls: Vec<String>,
    /// Authorities that their certificates are trusted by, PEM.
    pub ca_pem: String,
    /// Login of `restapi.authentication`.
    pub username: String,
    /// Its password.
    pub password: SecretString,
}

impl fmt::Debug for PatroniEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatroniEndpoint")
            .field("server", &self.server)
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// One cluster of Patroni's. Holds no connection that must live.
#[derive(Clone)]
pub struct Patroni {
    rest: Rest,
}

impl fmt::Debug for Patroni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patroni")
            .field("server", &self.rest.server())
            .finish_non_exhaustive()
    }
}

impl Patroni {
    /// The cluster at `endpoint`; each request ends within `deadline`.
    ///
    /// # Errors
    /// `Engine` with `Invalid`: an address or the authority cannot be used. Nothing is connected
    /// yet.
    pub fn new(endpoint: PatroniEndpoint, deadline: Duration) -> Result<Self, ProviderError> {
        let rest = Rest::new(endpoint, deadline)?;
        Ok(Self { rest })
    }

    /// Whether Patroni answers, knows the login, and is free to act. Changes nothing: an empty
    /// change is refused for its form, after the login was looked at.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn check(&self) -> Result<(), ProviderError> {
        let doing = "asking for its state";
        let status = self.rest.patch(doing, "/config", &json!({})).await?;
        if status != reqwest::StatusCode::BAD_REQUEST {
            let fact = format!("answers an empty change with {status}");
            return Err(self.rest.refused(doing, fact));
        }
        self.settings(doing).await.map(drop)
    }

    /// Refuses unless one of the members runs the server that started at this moment (microseconds
    /// since 1970). All servers of a policy share one system identifier, so that only this tells
    /// apart two clusters whose addresses were mixed up.
    ///
    /// # Errors
    /// `Engine` with `Invalid`, or `Unreachable` when none answers.
    pub async fn runs(&self, doing: &'static str, started: i64) -> Result<(), ProviderError> {
        let same = |member: &Value| start_of(member) == Some(started);
        let Err(answered) = self.rest.find_member(same).await else {
            return Ok(());
        };
        if answered == 0 {
            let fact = "does not answer".to_owned();
            return Err(self.rest.error(doing, EngineFailure::Unreachable, fact));
        }
        let fact = format!(
            "runs another server: none of the {answered} members that answer started when this \
             one did"
        );
        Err(self.rest.error(doing, EngineFailure::Invalid, fact))
    }

    /// Tells a standby cluster that it is one no more: its leader becomes a primary. Asked once;
    /// when it was asked already, its server is to be looked at.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn promote(&self) -> Result<Applied, ProviderError> {
        let doing = "promoting";
        let settings = self.settings(doing).await?;
        if settings.get("standby_cluster").is_none() {
            return Ok(Applied::Already);
        }
        self.change(doing, &json!({ "standby_cluster": null }))
            .await
    }

    /// Makes the cluster a standby cluster of `upstream`: its leader is stopped, rewound where its
    /// history left that of `upstream`, and follows. `reclone` lets Patroni copy it anew where a
    /// rewind fails. Returns before any of that is done.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn rejoin(
        &self,
        upstream: &Upstream,
        reclone: bool,
    ) -> Result<Applied, ProviderError> {
        let doing = "rejoining";
        let Upstream { host, port, slot } = upstream;
        let mut wanted = json!({ "host": host, "port": port });
        if let Some(slot) = slot {
            wanted["primary_slot_name"] = json!(slot);
        }
        let settings = self.settings(doing).await?;
        // Said either way: what an earlier rejoin allowed would stay allowed for ever.
        let means = json!({
            "use_pg_rewind": true, "remove_data_directory_on_rewind_failure": reclone,
        });
        let told = settings.get("postgresql").unwrap_or(&Value::Null);
        let same = |(key, value): (&String, &Value)| told.get(key) == Some(value);
        let agreed = means
            .as_object()
            .is_some_and(|means| means.iter().all(same));
        if agreed && settings.get("standby_cluster") == Some(&wanted) {
            return Ok(Applied::Already);
        }
        let change = json!({ "standby_cluster": wanted, "postgresql": means });
        self.change(doing, &change).await
    }

    /// One step towards a timeline that no other server has, for a cluster whose leader is in
    /// recovery or not: it is made a standby of nobody, and then promoted again. Returns before
    /// that is done; a cluster that follows another server is left alone.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn outgrow(&self, recovering: bool) -> Result<Applied, ProviderError> {
        let doing = "beginning a timeline of its own";
        let settings = self.settings(doing).await?;
        let now = settings.get("standby_cluster").unwrap_or(&Value::Null);
        let nobody = json!({ "host": NOBODY.0, "port": NOBODY.1 });
        let wanted = match (recovering, now) {
            (false, Value::Null) => nobody,
            (true, now) if *now == nobody => Value::Null,
            // It was asked already, and is about to become what it was asked for.
            _ => return Ok(Applied::Already),
        };
        let change = json!({ "standby_cluster": wanted });
        self.change(doing, &change).await
    }

    /// The timelines of the cluster's leader and where each ended, oldest first. It is kept while
    /// its last number is right before the leader's timeline.
    ///
    /// # Errors
    /// `Engine` says what is wrong.
    pub async fn ends(&self, doing: &'static str) -> Result<Vec<(u32, Lsn)>, ProviderError> {
        let told = self.rest.get(doing, "/history").await?;
        ends(&told).ok_or_else(|| {
            let fact = "/history answers what is no list of timelines".to_owned();
            self.rest.refused(doing, fact)
        })
    }

    async fn change(&self, doing: &'static str, change: &Value) -> Result<Applied, ProviderError> {
        let status = self.rest.patch(doing, "/config", change).await?;
        if !status.is_success() {
            let fact = format!("answers the change of standby_cluster with {status}");
            return Err(self.rest.refused(doing, fact));
        }
        Ok(Applied::Done)
    }

    /// The dynamic configuration. In maintenance mode nothing that is asked would happen.
    async fn settings(&self, doing: &'static str) -> Result<Value, ProviderError> {
        let settings = self.rest.get(doing, "/config").await?;
        if settings.get("pause").and_then(Value::as_bool) == Some(true) {
            let fact = "is in maintenance mode".to_owned();
            return Err(self.rest.error(doing, EngineFailure::Paused, fact));
        }
        Ok(settings)
    }
}

/// Number and end of each timeline, as Patroni writes a history: positions as plain numbers.
fn ends(told: &Value) -> Option<Vec<(u32, Lsn)>> {
    let end = |line: &Value| {
        let (timeline, position) = (line.get(0)?.as_u64()?, line.get(1)?.as_u64()?);
        Some((u32::try_from(timeline).ok()?, Lsn(position)))
    };
    told.as_array()?.iter().map(end).collect()
}

/// When the server beside a member started, in microseconds since 1970.
fn start_of(member: &Value) -> Option<i64> {
    let told = member.get("postmaster_start_time")?.as_str()?;
    let moment: jiff::Timestamp = told.parse().ok()?;
    Some(moment.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_where_each_timeline_ended() {
        let told = json!([
            [
                1,
                50_331_808,
                "no recovery target specified",
                "2026-11-24T21:00:01+00:00",
                "a"
            ],
            [2, 83_886_240, "no recovery target specified"],
        ]);
        let known = vec![(1, Lsn(50_331_808)), (2, Lsn(83_886_240))];
        assert_eq!(ends(&told), Some(known));
        assert_eq!(ends(&json!([])), Some(Vec::new()));
        assert_eq!(ends(&json!([[1, "0/3000060"]])), None);
        assert_eq!(ends(&json!({})), None);
    }

    #[test]
    fn the_start_of_a_server_is_read_as_patroni_writes_it() {
        let start = |told: &str| start_of(&json!({ "postmaster_start_time": told }));
        assert_eq!(
            start("2026-11-24 21:00:01.123456+00:00"),
            Some(1_795_554_001_123_456)
        );
        assert_eq!(
            start("2026-11-24 23:00:01+02:00"),
            Some(1_795_554_001_000_000)
        );
        assert_eq!(start("soon"), None);
        assert_eq!(start_of(&json!({ "state": "starting" })), None);
    }
}
