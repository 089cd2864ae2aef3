//! Where placements are measured: the home region, and regions with a server each beside it.

use serde_json::{Value, json};

use super::{HOME, ONE_LIMIT};
use crate::error::{LabError, Result};
use crate::postgres::{Server, ServerSpec};
use crate::story::objects::{kinds, ready};
use crate::story::stage::Stage;

/// Regions, over which placements are spread evenly. The home region's server has a standby; those
/// beside it have none, are reached at its address, and end with the lab.
pub(super) struct Sites {
    beside: Vec<Server>,
}

impl Sites {
    /// `number` regions with the home region, all ready.
    pub(super) fn begin(stage: &Stage, number: usize) -> Result<Self> {
        let home = stage.lab.regions().server(HOME)?.spec();
        let like = stage.objects.must(kinds::REGION, None, HOME)?;
        let beside = (1..number).map(|one| {
            let server = server(home, one)?;
            stage.apply(&[region(&like, server.region(), server.port())])?;
            let place = (kinds::REGION, None, server.region());
            stage.objects.wait(place, "ready", ONE_LIMIT, ready)?;
            Ok(server)
        });
        let beside = beside.collect::<Result<_>>()?;
        Ok(Self { beside })
    }

    /// The regions' names.
    pub(super) fn names(&self) -> Vec<String> {
        let beside = self.beside.iter().map(|server| server.region().to_owned());
        std::iter::once(HOME.to_owned()).chain(beside).collect()
    }

    /// What a number is on all servers together; the home region's server is asked another way.
    pub(super) fn sum(&self, stage: &Stage, (home, beside): (&str, &str)) -> Result<i64> {
        let number = |name: &str, text: &str| {
            let odd = |_| LabError::State(format!("{name} answers {text:?}"));
            text.trim().parse::<i64>().map_err(odd)
        };
        let mut sum = number(HOME, &stage.sql(HOME, home)?)?;
        for server in &self.beside {
            sum += number(server.region(), &server.superuser_sql("postgres", beside)?)?;
        }
        Ok(sum)
    }
}

/// A primary of its own at the address of another.
fn server(home: &ServerSpec, one: usize) -> Result<Server> {
    let region = format!("{HOME}-{one:02}");
    let mut settings = home.settings.clone();
    // Each begins a worker for each of its databases in that time, and all share one machine: with
    // the default of a minute ten servers of 300 databases are to begin fifty a second.
    settings
        .extra
        .insert("autovacuum_naptime".into(), "1h".into());
    Server::primary(ServerSpec {
        dir: home.dir.with_file_name(&region),
        region,
        port: home.port + one as u16,
        peers: Vec::new(),
        settings,
        ..home.clone()
    })
}

/// A Region like another, with the same law and logins.
fn region(like: &Value, name: &str, port: u16) -> Value {
    let mut spec = like["spec"].clone();
    spec["key"] = json!(name.replace('-', "_").to_uppercase());
    spec["databaseServers"][0]["port"] = json!(port);
    json!({
        "apiVersion": like["apiVersion"], "kind": "Region",
        "metadata": {"name": name}, "spec": spec,
    })
}
