//! The world that scenarios act in: the stage, a watch on the policy, a webhook receiver.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domicile_cli::plan::{PolicyPlan, plan};
use domicile_lab::checker::{MIN_RATE, Phase, first_acknowledgement};
use domicile_lab::clock::monotonic;
use domicile_lab::lab::find_program;
use domicile_lab::process::run_ok;
use domicile_lab::regions::Region;
use domicile_lab::story::hands::in_sync;
use domicile_lab::story::objects::{is, kinds, summary};
use domicile_lab::story::watch::{PolicyWatch, path};
use domicile_lab::story::writer::InsideWriter;
use domicile_lab::story::{Moved, Parts, Stage, TenantReport};
use domicile_lab::{Engine, Lab, LabError, Options, Places, Postgres, Result, Setup};
use serde_json::{Value, json};

use super::receiver::Receiver;

pub(crate) const HOME: &str = "eu-west";
pub(crate) const OTHER: &str = "eu-central";
const ELSEWHERE: &str = "us-east";
/// A machine that many share holds everything up for some seconds now and then; a tenant whose
/// server is fenced or lost is silent for longer.
pub(crate) const HELD_UP_SECONDS: f64 = 10.0;
const CLI_LIMIT: Duration = Duration::from_secs(30);
const WEBHOOK_SECRET: &str = "e2e-webhook";

/// All that a scenario needs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) watch: PolicyWatch,
    pub(crate) receiver: Receiver,
    dir: PathBuf,
}

/// Fails the scenario unless something holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(LabError::State(otherwise()))
    }
}

/// Lets time pass.
pub(crate) fn rest(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

impl World {
    /// A new lab with all on it. What an earlier run left is taken down first.
    pub(crate) fn begin(
        postgres: Postgres,
        engine: Engine,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let mut places = Places::from_env(|name| std::env::var_os(name));
        // Not the folder of a lab that a person has up.
        places.dir.set_extension("e2e");
        let dir = places.dir.clone();
        Lab::down(&dir)?;
        let program = std::env::current_exe().map_err(LabError::system("find the test program"))?;
        let program = find_program(&program)?;
        let programs = program
            .parent()
            .unwrap_or_else(|| Path::new("/"))
            .to_owned();
        let setup = Setup {
            postgres,
            synchronous: engine == Engine::Plain,
            engine,
        };
        let options = Options {
            places,
            program,
            setup,
        };
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let (regions, policy) = match engine {
            Engine::Plain => ("00-regions.yaml", "20-policy-demo.yaml"),
            Engine::Patroni => ("patroni/00-regions.yaml", "patroni/20-policy-demo.yaml"),
        };
        let parts = Parts {
            programs,
            repository,
            regions,
            policy,
            log_statements: true,
            owned: true,
            drift_seconds: 600,
        };
        let begun = Self::put(&options, parts, &dir, progress);
        if begun.is_err() {
            Lab::down(&dir)?;
        }
        begun
    }

    fn put(
        options: &Options,
        parts: Parts,
        dir: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let stage = Stage::begin(options, parts, progress)?;
        let receiver = Receiver::begin(stage.space())?;
        stage.apply(&[json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": WEBHOOK_SECRET, "namespace": "domicile-system"},
            "stringData": {"url": Receiver::url()},
        })])?;
        let watch = PolicyWatch::begin(&stage.objects, &stage.policy)?;
        let world = Self {
            stage,
            watch,
            receiver,
            dir: dir.to_owned(),
        };
        let notification = json!([{"type": "Webhook", "secretRef": {
            "namespace": "domicile-system", "name": WEBHOOK_SECRET,
        }}]);
        world.change_policy(&json!({"notifications": notification}))?;
        Ok(world)
    }

    /// Takes the lab down.
    pub(crate) fn end(self) -> Result<()> {
        let Self {
            stage,
            watch,
            receiver,
            dir,
        } = self;
        drop((stage, watch, receiver));
        Lab::down(&dir)
    }

    /// Where each scenario begins: at home, synchronous, steady.
    pub(crate) fn ready(&self) -> Result<()> {
        self.stage
            .await_policy("at home, in sync, steady", |policy| {
                let status = &policy["status"];
                status["activeRegion"] == HOME
                    && status["state"] == "Steady"
                    && in_sync(policy, OTHER, self.stage.lab.setup().synchronous)
                    && is(policy, "StandbyHealthy", "True")
            })
    }

    /// Changes the policy's spec by a merge patch, and waits until the operator has seen it.
    pub(crate) fn change_policy(&self, spec: &Value) -> Result<()> {
        self.stage.change_policy(spec)
    }

    /// Turns synchronous replication of the home server on or off, as a DBA would.
    pub(crate) fn set_synchronous(&self, on: bool) -> Result<()> {
        self.stage.set_synchronous(HOME, OTHER, on)
    }

    /// Runs SQL as superuser of a region's server.
    pub(crate) fn sql(&self, region: &str, sql: &str) -> Result<String> {
        self.stage.sql(region, sql)
    }

    /// Runs `kubectl domicile` with nobody at the terminal. Errors: it did not end well.
    pub(crate) fn cli(&self, words: &[&str]) -> Result<()> {
        let program = self.stage.parts.programs.join("kubectl-domicile");
        let mut command = self.stage.space().command(None, program);
        command.arg("--kubeconfig").arg(self.stage.lab.kubeconfig());
        run_ok(command.args(words), CLI_LIMIT).map(drop)
    }

    /// What `kubectl domicile plan` foretells of the policy when the home region is lost.
    #[expect(
        clippy::disallowed_methods,
        reason = "the story runs by the real clock"
    )]
    pub(crate) fn foretold(&self) -> Result<PolicyPlan> {
        let list = |kind| self.stage.objects.list(kind, None, "");
        let objects = domicile_cli::world::World {
            regions: list(kinds::REGION)?,
            placements: list(kinds::PLACEMENT)?,
            policies: list(kinds::POLICY)?,
            operations: list(kinds::OPERATION)?,
            unread: Vec::new(),
        };
        let now = jiff::Timestamp::now();
        let plan =
            plan(&objects, HOME, false, now).map_err(|error| LabError::State(error.to_string()))?;
        ensure(plan.assumed.is_empty() && plan.unread.is_empty(), || {
            format!("the plan assumes: {plan:?}")
        })?;
        let mut policies = plan.policies.into_iter();
        let found = policies.find(|row| row.policy == self.stage.policy);
        found.ok_or_else(|| LabError::State("the plan lacks the policy".to_owned()))
    }

    /// A writer inside the home region, for the tenant `acme`.
    pub(crate) fn write_inside(&self) -> Result<(InsideWriter, PathBuf)> {
        self.stage.write_inside(HOME)
    }

    /// Rejoins the old primary, brings tenants home, and makes the other server a standby again.
    pub(crate) fn go_home(&self, synchronous: bool) -> Result<Moved> {
        self.stage.rejoin(HOME, synchronous)?;
        let moved = self.stage.fail_back(&self.watch, HOME)?;
        rest(1000);
        self.stage.rejoin(OTHER, synchronous)?;
        Ok(moved)
    }

    /// The reports of the tenants of the policy, by name; the US tenant is checked on the way:
    /// nothing may have happened to it.
    pub(crate) fn judge(
        &self,
        since: u64,
        phases: &[Phase],
    ) -> Result<BTreeMap<String, TenantReport>> {
        let reports = self.stage.judge(since, phases)?;
        let (others, moving): (BTreeMap<_, _>, BTreeMap<_, _>) = reports
            .into_iter()
            .partition(|(_, report)| report.tenant.home == ELSEWHERE);
        ensure(!others.is_empty() && moving.len() > 1, || {
            "tenants are missing".to_owned()
        })?;
        for (name, report) in &others {
            let (restarts, lost) = (report.restarts(since, u64::MAX), report.verdict.lost.len());
            let now = monotonic()?;
            let (silence, refused) = (report.silence(since, now), report.refused(since, now));
            let wrong = report.verdict.violations();
            let calm = restarts == 0 && lost == 0 && refused == 0 && wrong.is_empty();
            ensure(calm && silence < HELD_UP_SECONDS, || {
                format!(
                    "tenant {name} was hit: {restarts} restarts, {lost} lost, {refused} refused, \
                     {silence} s"
                )
            })?;
        }
        // Whatever is done to a server's tenants is done under an epoch that its row tells.
        let row = "SELECT epoch::text || ' ' || writable::text FROM domicile.authority";
        let row = self.sql(ELSEWHERE, row)?;
        ensure(row.trim() == "0 true", || {
            format!("{ELSEWHERE} has epoch {row}")
        })?;
        Ok(moving)
    }

    /// What helps to understand a failure.
    pub(crate) fn diagnosis(&self) -> String {
        let mut lines = vec![format!("states: {}", path(&self.watch.seen(), 0))];
        lines.push(format!("policy: {}", self.stage.policy_summary()));
        for kind in [kinds::PLACEMENT, kinds::OPERATION, kinds::REGION] {
            for object in self.stage.objects.list(kind, None, "").unwrap_or_default() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                lines.push(format!("{name}: {}", summary(&object)));
            }
        }
        for log in self.stage.logs.logs().unwrap_or_default() {
            if log.namespace == "domicile-system" {
                lines.push(format!("log {}:", log.file.display()));
                lines.push(domicile_lab::process::tail(&log.file));
            }
        }
        lines.join("\n  ")
    }
}

/// One line about the time of a move. Errors: a tenant never wrote again.
pub(crate) fn recovery(moved: &Moved, reports: &BTreeMap<String, TenantReport>) -> Result<String> {
    let address = Region::named(&moved.to)?.address.to_string();
    for (name, report) in reports {
        let first = first_acknowledgement(&report.history, moved.fencing, Some(&address));
        ensure(first.is_some(), || {
            format!("{name} never wrote again in {}", moved.to)
        })?;
    }
    let reports: Vec<_> = reports.values().collect();
    let told = domicile_lab::story::screen::recovery(moved, &reports, &address);
    Ok(told.map(|one| one.to_string()).unwrap_or_default())
}

/// What holds for each tenant after a move that may lose nothing.
pub(crate) fn lossless(
    reports: &BTreeMap<String, TenantReport>,
    start: u64,
    fault: u64,
) -> Result<()> {
    for (name, report) in reports {
        let rate = report.rate(start, fault);
        ensure(rate >= MIN_RATE, || {
            format!("void: {name} wrote {rate:.1} rows per second")
        })?;
        let lost = &report.verdict.lost;
        let first = lost.first();
        ensure(lost.is_empty(), || {
            format!(
                "{name} lost {} acknowledged rows, the first {first:?}",
                lost.len()
            )
        })?;
        one_writer(name, report)?;
    }
    Ok(())
}

/// No tenant had two writers, and the evidence is complete.
pub(crate) fn one_writer(name: &str, report: &TenantReport) -> Result<()> {
    let wrong = report.verdict.violations();
    let first = report.verdict.dual.first();
    ensure(wrong.is_empty(), || {
        format!("{name}: {} {first:?}", wrong.join("; "))
    })
}
