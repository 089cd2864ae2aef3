//! A lab without an operator, and the CLI against it, in this process.

use std::io;
use std::time::Duration;

use clap::Parser;
use domicile_cli::{Cli, CliError, Outcome, Terminal};
use domicile_lab::lab::{Lab, Options, find_program};
use domicile_lab::run_in::{SpaceRuntime, runtime_in};
use domicile_lab::setup::{Engine, Postgres, Setup};
use domicile_lab::state::Places;
use serde_json::{Value, json};

/// A person at a terminal, or nobody.
#[derive(Default)]
pub(crate) struct Person {
    pub(crate) answer: Option<&'static str>,
    pub(crate) seen: Vec<String>,
}

impl Terminal for Person {
    fn interactive(&self) -> bool {
        self.answer.is_some()
    }

    fn say(&mut self, line: &str) {
        self.seen.push(line.to_owned());
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        self.seen.push(question.to_owned());
        self.answer
            .map(str::to_owned)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A lab without an operator; ends when dropped, unless it ran before.
pub(crate) struct World {
    pub(crate) lab: Lab,
    runtime: SpaceRuntime,
}

impl World {
    pub(crate) fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let places = Places::from_env(|name| std::env::var_os(name));
        let program = find_program(&std::env::current_exe().unwrap()).unwrap();
        let setup = Setup {
            postgres: Postgres::System,
            synchronous: true,
            engine: Engine::Plain,
        };
        let options = Options {
            places,
            program,
            setup,
        };
        let lab = Lab::up(&options, &mut |line| println!("lab: {line}")).unwrap();
        let runtime = runtime_in(lab.space(), None).unwrap();
        lab.cluster()
            .apply(&domicile_operator::crds().unwrap())
            .unwrap();
        let established = ["wait", "crd", "--all", "--for=condition=Established"];
        lab.kubectl(&established).unwrap();
        Self { lab, runtime }
    }

    /// Runs one command line to its end.
    pub(crate) async fn cli(&self, line: &str, person: &mut Person) -> Result<Outcome, CliError> {
        let kubeconfig = self.lab.kubeconfig().display().to_string();
        let words = ["kubectl-domicile", "--kubeconfig", &kubeconfig];
        let cli = Cli::try_parse_from(words.into_iter().chain(line.split(' '))).unwrap();
        let now = "2026-01-01T03:00:00Z".parse().unwrap();
        domicile_cli::run(cli, now, person).await
    }

    pub(crate) fn run(&self, line: &str) -> Result<Outcome, CliError> {
        self.inside(self.cli(line, &mut Person::default()))
    }

    /// Runs a future inside the lab's network.
    pub(crate) fn inside<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future).unwrap()
    }

    pub(crate) fn get(&self, what: &[&str]) -> Value {
        let arguments = [&["get", "-o", "json", "--show-managed-fields"], what].concat();
        serde_json::from_str(&self.lab.kubectl(&arguments).unwrap().stdout).unwrap()
    }

    pub(crate) fn patch_status(&self, what: &str, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        let arguments = [
            "patch",
            what,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.lab.kubectl(&arguments).unwrap();
    }

    pub(crate) fn operations(&self) -> Vec<Value> {
        let all = self.get(&["failoveroperations"]);
        let ours = |o: &&Value| o["spec"]["policyRef"]["name"] == "cli-eu";
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(ours)
            .cloned()
            .collect()
    }

    /// Waits until the CLI under test has made its operation and answers its name.
    pub(crate) async fn operation(&self, besides: usize) -> String {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        // kubectl blocks; after it the CLI under test must have its turn.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for _ in 0..200 {
            ticks.tick().await;
            let found = self.operations();
            if found.len() > besides {
                let last = found.iter().max_by_key(|o| {
                    o["metadata"]["resourceVersion"]
                        .as_str()
                        .and_then(|v| v.parse::<u64>().ok())
                });
                return last.unwrap()["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned();
            }
        }
        unreachable!("the CLI made no operation in 20 s");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.lab.was_running()
            && let Err(error) = Lab::down(self.lab.space().dir())
        {
            println!("the lab was not taken down: {error}");
        }
    }
}
