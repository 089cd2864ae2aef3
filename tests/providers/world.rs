//! A server with the operator's login, and short names for what the tests do with it.

use std::time::Duration;

use domicile_core::facts::{Epoch, Facts};
use domicile_core::health::Probe;
use domicile_core::names::{Access, DatabaseName, Slot};
use domicile_core::time::Mono;
use domicile_lab::postgres::{ADMIN, Binaries, Loopback, Server, Settings};
use domicile_lab::tools::Patroni;
use domicile_providers::{Endpoint, Generic, TenantPlan, Verifier, scram_verifier};
use secrecy::SecretString;

/// Limit of a provider's call, unless a test is about the limit.
pub(crate) const LIMIT: Duration = Duration::from_secs(8);

/// The password of every tenant's login. It must never be found in a log.
pub(crate) const CANARY: &str = "canary7Kq2vXw9";

/// Runs each test on the system's PostgreSQL and on version 18.
macro_rules! on_both_versions {
    ($($name:ident),+ $(,)?) => {
        mod on_system {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::world::system()).await;
            })+
        }
        mod on_18 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::world::v18()).await;
            })+
        }
    };
}
pub(crate) use on_both_versions;

pub(crate) fn system() -> Binaries {
    Binaries::system().unwrap()
}

pub(crate) fn v18() -> Binaries {
    let home = std::env::home_dir().unwrap();
    Binaries::v18(&home.join(".cache/domicile-lab")).unwrap()
}

/// One primary, and whatever a test adds. Servers end before their folder is removed.
pub(crate) struct World {
    pub(crate) primary: Server,
    pub(crate) lab: Loopback,
}

impl World {
    pub(crate) fn new(binaries: &Binaries) -> Self {
        Self::with(binaries, &[])
    }

    /// As [`World::new`], with more settings of the servers.
    pub(crate) fn with(binaries: &Binaries, extra: &[(&str, &str)]) -> Self {
        let mut settings = Self::settings();
        for (name, value) in extra {
            settings.extra.insert((*name).into(), (*value).into());
        }
        let lab = Loopback::new(binaries, settings).unwrap();
        let primary = lab.primary("eu-west").unwrap();
        Self { primary, lab }
    }

    /// As [`World::new`], with servers that Patroni runs.
    pub(crate) fn under_patroni(peers: &[&str]) -> Self {
        let cache = std::env::home_dir().unwrap().join(".cache/domicile-lab");
        let patroni = Patroni::ensure(&cache, &mut |_| ()).unwrap();
        let lab = Loopback::with_patroni(&system(), Self::settings(), &patroni, peers).unwrap();
        let primary = lab.primary("eu-west").unwrap();
        Self { primary, lab }
    }

    fn settings() -> Settings {
        let mut settings = Settings {
            fsync: false,
            ..Settings::default()
        };
        // Its transactions would count as writes; every statement is logged, to look for secrets.
        for (name, value) in [("autovacuum", "off"), ("log_statement", "all")] {
            settings.extra.insert(name.into(), value.into());
        }
        settings
    }

    pub(crate) fn endpoint(&self, server: &Server) -> Endpoint {
        Endpoint {
            host: server.address().to_string(),
            port: server.port(),
            ca_pem: self.lab.ca_pem().to_owned(),
            username: ADMIN.to_owned(),
            password: self.lab.passwords().admin.clone(),
            identifiers: Vec::new(),
        }
    }

    /// The provider of the primary.
    pub(crate) fn provider(&self) -> Generic {
        self.provider_of(&self.primary)
    }

    pub(crate) fn provider_of(&self, server: &Server) -> Generic {
        Generic::new(self.endpoint(server), LIMIT).unwrap()
    }

    /// SQL as superuser on the primary.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.primary.superuser_sql(database, sql).unwrap()
    }

    /// The next transaction number: it grows with each transaction that writes anything.
    pub(crate) fn next_transaction(&self) -> String {
        self.sql("postgres", "SELECT pg_snapshot_xmax(pg_current_snapshot())")
    }

    /// SQL as a tenant's login.
    pub(crate) fn as_tenant(
        &self,
        login: &str,
        database: &str,
        sql: &str,
    ) -> Result<String, String> {
        let password = SecretString::from(CANARY);
        let said = self.primary.login_sql(login, &password, database, sql);
        said.map_err(|error| error.report())
    }

    /// A session of a tenant that runs `sql` in the background until it ends or is ended.
    pub(crate) fn session<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        (login, database): (&'scope str, &'scope str),
        sql: &'scope str,
    ) -> std::thread::ScopedJoinHandle<'scope, Result<String, String>> {
        let before = self.sessions_of(login);
        let handle = scope.spawn(move || self.as_tenant(login, database, sql));
        eventually("the session is there", || self.sessions_of(login) > before);
        handle
    }

    pub(crate) fn sessions_of(&self, login: &str) -> u32 {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{login}' AND state <> 'idle'"
        );
        self.sql("postgres", &sql).parse().unwrap()
    }
}

/// A plan for both accesses.
pub(crate) fn plan(database: &str, uid: &str) -> TenantPlan {
    TenantPlan {
        access: vec![(Access::ReadWrite, 20), (Access::ReadOnly, 20)],
        ..TenantPlan::bare(uid.to_owned(), DatabaseName::parse(database).unwrap())
    }
}

/// The canary as password for the first login of each access.
pub(crate) fn verifiers() -> std::collections::BTreeMap<(Access, Slot), Verifier> {
    let verifier = || scram_verifier(&SecretString::from(CANARY));
    [Access::ReadWrite, Access::ReadOnly]
        .map(|access| ((access, Slot::A), verifier()))
        .into()
}

/// Makes a tenant at `epoch`.
pub(crate) async fn place(provider: &Generic, plan: &TenantPlan, epoch: i64) {
    provider
        .ensure_tenant(plan, Epoch(epoch), &verifiers())
        .await
        .unwrap();
}

pub(crate) async fn facts(provider: &Generic) -> Facts {
    match provider.probe(Mono(1)).await {
        Probe::Answered(facts) => *facts,
        Probe::Failed(failure, text) => panic!("{failure:?}: {text}"),
    }
}

/// Waits until `holds`, at most 10 s.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within 10 s: {what}");
}
